"""Points of a history: what they hold, their way into a stream and out of it, and what is done with foreign bytes."""

import contextlib
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import history
from common.bus import Bus
from common.errors import BusUnavailableError, MalformedError
from common.history import (
    MAX_POINT_BYTES,
    MOST_CONTAINERS,
    MetricsPoint,
    UsagePoint,
    decode_metrics,
    decode_usage,
    encode,
    metrics_point,
    read_points,
    usage_point,
)
from common.models import Cpu, Disk, DiskIo, NetworkInterface, Temperature, Usage
from services.embedded import EmbeddedServer
from tests.samples import ID_A, ID_B, host_metrics

# A point's round trip

wholes = st.integers(0, 2**63 - 1)
percents = st.floats(0, 1e6)
degrees = st.floats(-300, 300)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)

metrics_points = st.builds(
    MetricsPoint,
    wholes,
    st.none() | percents,
    st.lists(st.none() | percents, max_size=5).map(tuple),
    st.none() | percents,
    *[st.none() | wholes] * 3,
    st.lists(st.tuples(names, percents), max_size=3).map(tuple),
    *[st.none() | wholes] * 4,
    st.lists(st.tuples(names, degrees), max_size=3).map(tuple),
)


@st.composite
def usage_points(draw: st.DrawFn) -> UsagePoint:
    ids = draw(st.lists(st.text("0123456789abcdef", min_size=12, max_size=12), max_size=5).map(tuple))

    def column(values: st.SearchStrategy[float]) -> tuple[float | None, ...]:
        return draw(st.lists(st.none() | values, min_size=len(ids), max_size=len(ids)).map(tuple))

    return UsagePoint(draw(wholes), ids, column(percents), *(column(wholes) for _ in range(5)))  # type: ignore[arg-type]


@given(metrics_points)
def test_a_metrics_point_comes_back_as_it_was(point: MetricsPoint) -> None:
    assert decode_metrics(encode(point)) == point


@given(usage_points())
def test_a_usage_point_comes_back_as_it_was(point: UsagePoint) -> None:
    assert decode_usage(encode(point)) == point


# What a point holds


def test_a_sample_becomes_a_point_with_no_more_digits_than_a_chart_shows() -> None:
    data = host_metrics(
        cpu=Cpu(percent=12.345, per_core_percent=(24.0, 0.66), cores=2, load=(1.239, 5.0, 15.0)),
        disks=(Disk(mount="/", total_bytes=10, used_bytes=5, percent=50.04),),
        disk_io=DiskIo(read_bytes_per_sec=10.6, write_bytes_per_sec=0.2),
        network=(
            NetworkInterface(interface="eth0", rx_bytes_per_sec=100.4, tx_bytes_per_sec=1.0),
            NetworkInterface(interface="eth1", rx_bytes_per_sec=200.4, tx_bytes_per_sec=2.0),
        ),
        temperatures=(Temperature(sensor="coretemp Core 0", celsius=41.25),),
    )
    assert metrics_point(5, data) == MetricsPoint(
        sampled_at=5,
        cpu_percent=12.3,
        per_core_percent=(24, 0.7),
        load1=1.24,
        memory_used_bytes=2_000,
        memory_total_bytes=8_000,
        swap_used_bytes=0,
        disks=(("/", 50),),
        read_bytes_per_sec=11,
        write_bytes_per_sec=0,
        rx_bytes_per_sec=301,
        tx_bytes_per_sec=3,
        temperatures=(("coretemp Core 0", 41.3),),
    )


def test_a_part_that_was_not_read_in_time_is_not_known() -> None:
    data = host_metrics(disks=(Disk(mount="/", total_bytes=10, used_bytes=5, percent=50.0),))
    everything = ("cpu", "memory", "swap", "disks", "diskIo", "network", "temperatures", "uptimeSec", "processes")
    point = metrics_point(5, data.model_copy(update={"stale": everything}))
    assert all(value is None or value == () for value in point[1:])
    assert metrics_point(5, data.model_copy(update={"stale": ("network",)})).rx_bytes_per_sec is None
    assert metrics_point(5, data.model_copy(update={"stale": ("network",)})).disks == (("/", 50),)


def usage(*ids: str, cpu_percent: float | None = 12.34, memory_bytes: int | None = 10_000) -> Usage:
    n = len(ids)
    return Usage(
        cores=2,
        ids=ids,
        cpu_percent=(cpu_percent,) * n,
        memory_bytes=(memory_bytes,) * n,
        memory_limit_bytes=(None,) * n,
        rx_bytes_per_sec=(1.6,) * n,
        tx_bytes_per_sec=(None,) * n,
        read_bytes_per_sec=(0.0,) * n,
        write_bytes_per_sec=(3.2,) * n,
        pids=(1,) * n,
    )


def test_usage_becomes_a_point_under_short_ids_with_what_is_not_known_left_so() -> None:
    point = usage_point(7, usage(ID_A, ID_B))
    assert point.ids == (ID_A[:12], ID_B[:12])
    assert point == UsagePoint(7, point.ids, (12.3, 12.3), (9, 9), (2, 2), (None, None), (0, 0), (3, 3))


def test_of_very_many_containers_a_point_holds_the_first() -> None:
    point = usage_point(7, usage(*(f"{i:064x}" for i in range(MOST_CONTAINERS + 5))))
    assert {len(column) for column in (point.ids, *point.columns)} == {MOST_CONTAINERS}


# Foreign bytes


def packed(value: object) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b"1" + zlib.compress(text)


FOREIGN = {
    "nothing": b"",
    "no format": b"{}",
    "a later format": b"2" + zlib.compress(b"[]"),
    "no zlib": b"1rubbish",
    "cut off": encode(usage_point(1, usage(ID_A)))[:-6],
    "without all of its checksum": packed([1, [], [], [], [], [], [], []])[:-2],
    "no JSON": packed(b"rubbish"),
    "an object": packed({"sampled_at": "x"}),
    "too short": packed([1]),
    "not a number": packed(b"[1,[],[NaN],[],[],[],[],[]]"),
    "infinite": packed([1, [ID_A[:12]], [float("inf")], [1], [1], [1], [1], [1]]),
    "infinite by its exponent": packed(b'[1,["a1a1a1a1a1a1"],[1e999],[1],[1],[1],[1],[1]]'),
    "negative": packed([-1, [], [], [], [], [], [], []]),
    "no whole number": packed([1.5, [], [], [], [], [], [], []]),
    "larger than a number may be": packed([1, [ID_A[:12]], [1], [2**70], [1], [1], [1], [1]]),
    "true": packed([True, [], [], [], [], [], [], []]),
    "a long id": packed([1, [ID_A], [1], [1], [1], [1], [1], [1]]),
    "columns that differ": packed([1, [ID_A[:12]], [1], [1], [1], [1], [1], []]),
    "deep": packed(b"[" * 100_000),
    "a bomb": packed(b"[" + b" " * (2 * MAX_POINT_BYTES) + b"]"),
}


@pytest.mark.parametrize("payload", FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_point_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_usage(payload)
    with pytest.raises(MalformedError):
        decode_metrics(payload)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_malformed_at_worst(noise: bytes, is_packed: bool) -> None:
    for decode in (decode_metrics, decode_usage):
        with contextlib.suppress(MalformedError):
            decode(packed(noise) if is_packed else b"1" + noise)


# Out of Redis


async def add(bus: Bus, *entries: tuple[int, bytes]) -> None:
    key = bus.keys.history("web-1", "usage", "full")
    with bus.reaching() as redis:
        pipeline = redis.pipeline(transaction=False)
        for at, payload in entries:
            pipeline.xadd(key, {"p": payload}, id=f"{at}-*")
        await pipeline.execute()


async def test_what_was_added_since_a_time_is_read_newest_first_page_by_page(bus: Bus) -> None:
    await add(bus, *((1_000 + i // 3, b"%d" % i) for i in range(1_000)))  # three in each millisecond: pages end within
    found = await read_points(bus, "web-1", "usage", "full", 1_100)
    assert [entry.payload for entry in found] == [b"%d" % i for i in range(999, 299, -1)]
    assert (found[0].added_at, found[-1].added_at) == (1_333, 1_100)
    assert await read_points(bus, "web-1", "usage", "full", 2_000) == []
    assert await read_points(bus, "web-1", "usage", "minute", 0) == []


async def test_of_more_than_may_be_read_the_newest_are(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    await add(bus, *((1_000 + i, b"x" * 1_000) for i in range(1_000)))
    monkeypatch.setattr(history, "MOST_READ", 250)
    assert [entry.added_at for entry in await read_points(bus, "web-1", "usage", "full", 0)] == list(
        range(1_999, 1_749, -1)
    )
    monkeypatch.setattr(history, "MAX_BYTES_READ", 150_000)
    assert len(await read_points(bus, "web-1", "usage", "full", 0)) == 200, (
        "the page that reaches the bound is the last"
    )


async def test_an_entry_of_somebody_else_is_read_as_nothing(bus: Bus) -> None:
    with bus.reaching() as redis:
        await redis.xadd(bus.keys.history("web-1", "usage", "full"), {"other": "thing"}, id="5-1")
    assert await read_points(bus, "web-1", "usage", "full", 0) == [(5, b"")]


async def test_without_redis_reading_says_so(bus: Bus, valkey: EmbeddedServer) -> None:
    await valkey.stop()
    with pytest.raises(BusUnavailableError):
        await read_points(bus, "web-1", "usage", "full", 0)
