"""What collectors add to a history: every sample, the mean of each minute, and how many of them are kept."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from common.bus import Bus, Point
from common.envelope import Version
from common.history import (
    MAX_BYTES,
    MOST_CONTAINERS,
    HistoryKind,
    MetricsPoint,
    UsagePoint,
    decode_metrics,
    decode_usage,
    read_points,
)
from common.keys import Grain
from common.models import Cpu, Disk, HostMetrics, Temperature, Usage
from services.collector.history import MetricsHistory, UsageHistory
from tests.edges import host_worker
from tests.samples import ID_A, ID_B, host_metrics

NOON = 1_764_072_000_000
SECOND = 1_000
MINUTE = 60_000


def usage(cpu_percent: dict[str, float | None], **columns: Sequence[Any]) -> Usage:
    n = len(cpu_percent)
    quantities: dict[str, Any] = dict.fromkeys(Usage.model_fields.keys() - {"cores", "ids", "cpu_percent"}, (None,) * n)
    return Usage(cores=2, ids=tuple(cpu_percent), cpu_percent=tuple(cpu_percent.values()), **(quantities | columns))


def metrics_means(points: Sequence[Point]) -> list[MetricsPoint]:
    return [decode_metrics(point.payload) for point in points if point.grain == "minute"]


def usage_means(points: Sequence[Point]) -> list[UsagePoint]:
    return [decode_usage(point.payload) for point in points if point.grain == "minute"]


# Minutes


def test_every_sample_is_a_point_and_every_ended_minute_another() -> None:
    history = MetricsHistory()
    found = [history.points(NOON + i * 10 * SECOND, host_metrics(float(i)), 10.0) for i in range(13)]
    assert [[point.grain for point in points] for points in found] == [
        ["full", "minute"] if i in (6, 12) else ["full"] for i in range(13)
    ]
    fulls = [decode_metrics(points[0].payload) for points in found]
    assert [(point.sampled_at, point.cpu_percent) for point in fulls] == [
        (NOON + i * 10 * SECOND, float(i)) for i in range(13)
    ]
    means = [mean for points in found for mean in metrics_means(points)]
    assert [(mean.sampled_at, mean.cpu_percent) for mean in means] == [(NOON, 2.5), (NOON + MINUTE, 8.5)]


def test_a_mean_is_of_what_was_known() -> None:
    history = MetricsHistory()
    cpu = Cpu(percent=10.0, per_core_percent=(20.0, 0.0), cores=2, load=(1.0, 0.0, 0.0))
    disk = Disk(mount="/", total_bytes=10, used_bytes=5, percent=50.0)
    data = Disk(mount="/data", total_bytes=10, used_bytes=5, percent=10.0)
    sensor = Temperature(sensor="cpu", celsius=40.0)
    more_cores = Cpu(percent=30.0, per_core_percent=(40.0, 10.0, 30.0), cores=3, load=(2.0, 0.0, 0.0))
    history.points(NOON, host_metrics(cpu=cpu, disks=(disk,), temperatures=(sensor,)), 1.0)
    history.points(NOON + 1, host_metrics(cpu=cpu, disks=(data,), stale=("cpu", "temperatures", "memory")), 1.0)
    history.points(
        NOON + 2,
        host_metrics(cpu=more_cores, disks=(disk.model_copy(update={"percent": 60.0}),), stale=("memory",)),
        1.0,
    )
    [mean] = metrics_means(history.points(NOON + MINUTE, host_metrics(), 1.0))
    assert mean.cpu_percent == 20.0
    assert mean.load1 == 1.5
    assert mean.per_core_percent == (30.0, 5.0, 30.0)
    assert mean.disks == (("/", 55.0), ("/data", 10.0))
    assert mean.temperatures == (("cpu", 40.0),)
    assert mean.memory_used_bytes == 2_000


def test_what_nobody_knew_in_a_minute_has_no_mean() -> None:
    history = MetricsHistory()
    for second in range(3):
        history.points(NOON + second, host_metrics(stale=("cpu", "swap", "diskIo")), 1.0)
    [mean] = metrics_means(history.points(NOON + MINUTE, host_metrics(), 1.0))
    assert (mean.cpu_percent, mean.load1, mean.swap_used_bytes, mean.read_bytes_per_sec) == (None, None, None, None)
    assert mean.memory_total_bytes == 8_000


def test_containers_that_came_or_went_have_the_mean_of_their_own_time() -> None:
    history = UsageHistory()
    history.points(NOON, usage({ID_A: 10.0}, memory_bytes=(2048,), rx_bytes_per_sec=(5.0,)), 1.0)
    history.points(NOON + 1, usage({ID_A: None, ID_B: 50.0}, memory_bytes=(4096, None)), 1.0)
    history.points(NOON + 2, usage({ID_B: 70.0}), 1.0)
    [mean] = usage_means(history.points(NOON + MINUTE, usage({}), 1.0))
    nobody_knows = (None, None)
    assert mean == UsagePoint(
        NOON,
        (ID_A[:12], ID_B[:12]),
        (10.0, 60.0),
        (3, None),
        (5, None),
        nobody_knows,
        nobody_knows,
        nobody_knows,
    )


def test_a_minute_with_one_sample_has_it_as_its_mean_and_one_without_has_none() -> None:
    history = MetricsHistory()
    assert metrics_means(history.points(NOON + 5 * SECOND, host_metrics(7.0), 300.0)) == []
    [mean] = metrics_means(history.points(NOON + 10 * MINUTE, host_metrics(9.0), 300.0))
    assert (mean.sampled_at, mean.cpu_percent) == (NOON, 7.0)
    [mean] = metrics_means(history.points(NOON + 11 * MINUTE, host_metrics(9.0), 300.0))
    assert (mean.sampled_at, mean.cpu_percent) == (NOON + 10 * MINUTE, 9.0)


def test_a_clock_that_steps_back_ends_the_minute_and_begins_an_earlier_one() -> None:
    history = MetricsHistory()
    steps = [(NOON, 1.0), (NOON + SECOND, 3.0), (NOON - 5 * MINUTE, 5.0), (NOON - 4 * MINUTE, 7.0)]
    means = [mean for at, percent in steps for mean in metrics_means(history.points(at, host_metrics(percent), 1.0))]
    assert [(mean.sampled_at, mean.cpu_percent) for mean in means] == [(NOON, 2.0), (NOON - 5 * MINUTE, 5.0)]


def test_a_host_of_very_many_containers_is_cut_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    history = UsageHistory()
    crowd: dict[str, float | None] = {f"{i:012x}" + 52 * "0": 1.0 for i in range(MOST_CONTAINERS + 1)}
    others: dict[str, float | None] = {f"{i:012x}" + 52 * "0": 1.0 for i in range(5_000, 5_005)}
    assert len(decode_usage(history.points(NOON, usage(crowd), 1.0)[0].payload).ids) == MOST_CONTAINERS
    history.points(NOON + 1, usage(crowd), 1.0)
    history.points(NOON + 2, usage(others), 1.0)
    [mean] = usage_means(history.points(NOON + MINUTE, usage({}), 1.0))
    assert len(mean.ids) == MOST_CONTAINERS
    assert [record.getMessage() for record in caplog.records] == [
        "1001 containers: the history has the first 1000 only"
    ]


# How much is kept


def kept(points: Sequence[Point], grain: Grain = "full") -> int:
    [one] = [point.kept for point in points if point.grain == grain]
    return one


def noisy_usage(containers: int, seed: int = 1) -> Usage:
    """Of a host whose containers are all busy: hardly anything of it can be compressed."""
    chance = random.Random(seed)
    ids = {f"{chance.getrandbits(48):012x}{i:052x}": chance.uniform(0, 100) for i in range(containers)}
    rates = {
        name: tuple(chance.uniform(0, 1e6) for _ in ids)
        for name in ("rx_bytes_per_sec", "tx_bytes_per_sec", "read_bytes_per_sec", "write_bytes_per_sec")
    }
    return usage(dict(ids), memory_bytes=tuple(chance.randrange(10**9) for _ in ids), **rates)


def test_the_points_of_the_span_are_kept_whatever_the_interval_is() -> None:
    history = MetricsHistory()
    sample = host_metrics()
    at = NOON
    for _ in range(2_000):
        at += SECOND
        points = history.points(at, sample, 1.0)
    assert kept(points) == 900
    for slow in range(1, 90):
        at += 10 * SECOND
        points = history.points(at, sample, 10.0)
        assert kept(points) == 900 - 10 * slow + slow, "a slower interval drops nothing that is in the span still"
    assert kept(history.points(at + 3_600 * SECOND, sample, 10.0)) == 1


def test_the_bytes_of_a_stream_bound_what_is_kept() -> None:
    history = UsageHistory()
    samples = [noisy_usage(1_000, seed) for seed in range(3)]
    sizes = []
    for i in range(250):  # 20 minutes: more than the span, which alone would keep 180
        points = history.points(NOON + i * 5 * SECOND, samples[i % 3], 5.0)
        sizes.append(len(points[0].payload))
        newest = sizes[-kept(points) :]
        assert i < 10 or sum(newest) <= MAX_BYTES["usage", "full"]
    assert kept(points) < 150
    assert sum(newest) > 0.9 * MAX_BYTES["usage", "full"]


def test_one_large_point_costs_no_more_than_its_own_share() -> None:
    history = UsageHistory()
    small, large = noisy_usage(20), noisy_usage(1_000)
    before = [kept(history.points(NOON + second * SECOND, small, 1.0)) for second in range(900)][-1]
    assert before >= 900
    assert kept(history.points(NOON + 900 * SECOND, large, 1.0)) == 900


def test_a_collector_that_begins_anew_keeps_what_an_earlier_one_has_left() -> None:
    history = UsageHistory()
    large, small = noisy_usage(1_000), noisy_usage(20)
    assert kept(history.points(NOON, large, 1.0)) > 100_000, "one point does not tell how large the others are"
    found = [kept(history.points(NOON + second * SECOND, small, 1.0)) for second in range(1, 899)]
    assert min(found) >= 900, "the earlier ones of the span have room"
    found = [kept(history.points(NOON + second * SECOND, small, 1.0)) for second in range(901, 905)]
    assert max(found) <= 900, "now the span is this one's own"


def test_a_stream_goes_with_the_time_it_spans_and_the_next_sample_still_finds_it() -> None:
    history = MetricsHistory()
    history.points(NOON, host_metrics(), 1.0)
    points = history.points(NOON + MINUTE, host_metrics(), 0.5)
    assert {point.grain: point.ttl_s for point in points} == {"full": 901, "minute": 86_401}
    assert history.points(NOON + MINUTE, host_metrics(), 3_600.0)[0].ttl_s == 900 + 3_600


# In a real stream


async def write(
    bus: Bus, kind: HistoryKind, points_at: Callable[[int], list[Point]], at_ms: Sequence[int]
) -> dict[Grain, tuple[int, int]]:
    """Entries and bytes of memory, by grain."""
    async with host_worker(bus, "web-1", "metrics" if kind == "metrics" else "containers") as tenure:
        for seq, at in enumerate(at_ms, 1):
            points = points_at(at)
            version = Version(tenure.epoch, seq)
            assert await bus.publish_state("web-1", kind, tenure.token, version, b"{}", points)
    found: dict[Grain, tuple[int, int]] = {}
    grains: tuple[Grain, ...] = ("full", "minute")
    for grain in grains:
        key = bus.keys.history("web-1", kind, grain)
        with bus.reaching() as redis:
            found[grain] = await redis.xlen(key), await redis.memory_usage(key, samples=0) or 0
            assert 0 < await redis.ttl(key) <= (86_401 if grain == "minute" else 901)
    return found


def metrics_of(second: int) -> HostMetrics:
    cpu = Cpu(percent=second % 100, per_core_percent=(second % 77 + 0.3,) * 8, cores=8, load=(1.5, 0.0, 0.0))
    return host_metrics(cpu=cpu)


async def test_three_thousand_seconds_leave_the_last_fifteen_minutes_and_their_minutes(bus: Bus) -> None:
    history = MetricsHistory()
    found = await write(
        bus,
        "metrics",
        lambda at: history.points(at, metrics_of(at // SECOND), 1.0),
        range(NOON, NOON + 3_000_000, 1_000),
    )
    entries, memory = found["full"]
    assert 900 <= entries <= 1_000, "Redis trims by whole blocks of at most a hundred"
    assert memory < 200_000
    assert found["minute"][0] == 49
    full = [decode_metrics(entry.payload) for entry in await read_points(bus, "web-1", "metrics", "full", 0)]
    assert [point.sampled_at for point in full[:900]] == [NOON + (2_999 - i) * SECOND for i in range(900)]
    minutes = [decode_metrics(entry.payload) for entry in await read_points(bus, "web-1", "metrics", "minute", 0)]
    assert [point.sampled_at for point in minutes] == [NOON + i * MINUTE for i in range(48, -1, -1)]


async def test_a_crowded_host_takes_the_memory_that_is_allowed_and_no_more(bus: Bus) -> None:
    history = UsageHistory()
    samples = [noisy_usage(700, seed) for seed in range(3)]
    at_ms = [NOON + i * MINUTE for i in range(330)]
    at_ms += [at_ms[-1] + i * SECOND for i in range(1, 220)]
    made = {at: history.points(at, samples[i % 3], 1.0) for i, at in enumerate(at_ms)}
    found = await write(bus, "usage", made.__getitem__, at_ms)
    for grain, (entries, memory) in found.items():
        assert 0.85 * MAX_BYTES["usage", grain] < memory <= 1.02 * MAX_BYTES["usage", grain], (grain, entries)
