import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from common import host_id
from common.bus import Bus
from common.clock import RedisClock
from common.errors import SettingsError
from common.models import Disk, HostMetrics, Memory
from common.protocol import MetricsMessage
from common.settings import MetricsCollectorSettings
from common.tenure import Tenure
from common.worker import HostWorker
from services.collector.host import HostSampler, Readings
from services.collector.metrics import collect_metrics, run_metrics_collector
from services.embedded import EmbeddedServer
from tests.edges import host_worker
from tests.services.collector_support import HOST, LastState, fault, running
from tests.support import eventually


@pytest.fixture
def settings(valkey: EmbeddedServer) -> MetricsCollectorSettings:
    return MetricsCollectorSettings(redis_url=valkey.url, host_id=HOST, interval=0.1, idle_interval=0.1)


@pytest.fixture
def last(bus: Bus) -> LastState[MetricsMessage]:
    return LastState(bus, "metrics", MetricsMessage)


async def test_samples_of_this_machine_are_published(
    settings: MetricsCollectorSettings, last: LastState[MetricsMessage], bus: Bus
) -> None:
    await bus.sync_clock()
    began = bus.clock.now_ms()
    async with running(run_metrics_collector(settings)):
        message = await eventually(last.that(lambda message: message.seq >= 3))
        assert began - 1000 < message.sampled_at < bus.clock.now_ms() + 1000, "two clocks, each off by a round trip"
        assert message.data.memory.total_bytes > 0
        assert message.data.stale == ()
        assert HOST in (await bus.read_roster()).seen["metrics"]


async def test_subscribers_hear_each_sample_once_and_in_order(settings: MetricsCollectorSettings, bus: Bus) -> None:
    pubsub = bus.pubsub()
    await pubsub.ssubscribe(bus.keys.channel(HOST, "metrics"))
    heard: list[MetricsMessage] = []

    async def listen() -> bool:
        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
        if message is not None:
            heard.append(MetricsMessage.model_validate_json(message["data"].partition(b"\n")[2]))
        return len(heard) >= 5

    try:
        async with running(run_metrics_collector(settings)):
            await eventually(listen)
    finally:
        await pubsub.aclose()
    assert [message.seq for message in heard] == [1, 2, 3, 4, 5]
    assert len({message.epoch for message in heard}) == 1
    gaps = [later.sampled_at - earlier.sampled_at for earlier, later in pairwise(heard)]
    assert all(gap >= 0 for gap in gaps)


async def test_a_redis_that_went_away_resumes_with_the_same_epoch(
    settings: MetricsCollectorSettings, last: LastState[MetricsMessage], valkey: EmbeddedServer
) -> None:
    async with running(run_metrics_collector(settings)):
        before = await eventually(last.that(lambda message: message.seq >= 2))
        await valkey.stop()
        await valkey.start()
        after = await eventually(last.that(lambda message: message.seq > before.seq + 1))
        assert after.epoch == before.epoch
        assert after.sampled_at > before.sampled_at


async def test_a_redis_that_lost_everything_is_filled_again_with_the_same_epoch(
    settings: MetricsCollectorSettings, last: LastState[MetricsMessage], bus: Bus
) -> None:
    async with running(run_metrics_collector(settings)):
        before = await eventually(last.that(lambda message: True))
        with bus.reaching() as redis:
            await redis.flushall()
        after = await eventually(last.that(lambda message: message.seq > before.seq))
        assert after.epoch == before.epoch


async def test_a_redis_that_is_absent_at_the_start_is_waited_for(
    settings: MetricsCollectorSettings, last: LastState[MetricsMessage], valkey: EmbeddedServer
) -> None:
    await valkey.stop()
    async with running(run_metrics_collector(settings)) as collector:
        await asyncio.wait([collector], timeout=0.3)
        assert not collector.done()
        await valkey.start()
        await eventually(last.that(lambda message: True))


async def test_a_second_collector_stands_by_and_takes_over_when_the_first_one_leaves(
    settings: MetricsCollectorSettings, last: LastState[MetricsMessage], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "common.worker")
    async with running(run_metrics_collector(settings)) as first:
        before = await eventually(last.that(lambda message: True))
        async with running(run_metrics_collector(settings)):
            await eventually(lambda: "standing by" in caplog.text)
            still = await eventually(last.that(lambda message: message.seq > before.seq + 3))
            assert still.epoch == before.epoch
            first.cancel()
            after = await eventually(last.that(lambda message: message.epoch != before.epoch))
            assert after.epoch > before.epoch


@asynccontextmanager
async def process_of_its_own(settings: MetricsCollectorSettings) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import asyncio, sys\n"
        "from common.settings import MetricsCollectorSettings\n"
        "from services.collector.metrics import run_metrics_collector\n"
        "asyncio.run(run_metrics_collector(MetricsCollectorSettings.model_validate_json(sys.argv[1])))",
        settings.model_dump_json(),
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_second_collector_takes_over_when_the_first_one_is_killed(
    settings: MetricsCollectorSettings, last: LastState[MetricsMessage]
) -> None:
    async with process_of_its_own(settings) as first:
        before = await eventually(last.that(lambda message: True))
        async with running(run_metrics_collector(settings)):
            first.kill()
            after = await eventually(last.that(lambda message: message.epoch != before.epoch))
            assert after.epoch > before.epoch
            assert after.sampled_at > before.sampled_at


async def test_without_memory_nothing_is_published_and_the_fault_says_so(bus: Bus) -> None:
    broken = True

    def read() -> Memory:
        if broken:
            raise OSError("no /proc")
        return Memory(total_bytes=2, used_bytes=1, available_bytes=1, percent=50.0)

    sampler = HostSampler(Readings(memory=read))

    async def job(tenure: Tenure) -> None:
        await collect_metrics(tenure, sampler, fast_s=0.05, slow_s=0.05)

    async def has_fault(expected: str | None) -> bool:
        return await fault(bus, "metrics") == expected

    last = LastState(bus, "metrics", MetricsMessage)
    async with running(HostWorker(bus, HOST, "metrics").run(job)):
        await eventually(lambda: has_fault("stalled unreadable"))
        assert await last.read() is None
        broken = False
        await eventually(last.that(lambda message: message.data.memory.total_bytes == 2))
        await eventually(lambda: has_fault(None))


async def test_sampling_goes_on_while_redis_is_away(
    settings: MetricsCollectorSettings, bus: Bus, valkey: EmbeddedServer
) -> None:
    samples = 0

    class Counting(HostSampler):
        async def sample(self) -> HostMetrics | None:
            nonlocal samples
            samples += 1
            return await super().sample()

    async def job(tenure: Tenure) -> None:
        await collect_metrics(tenure, Counting(), fast_s=0.05, slow_s=0.05)

    async with running(HostWorker(bus, HOST, "metrics").run(job)):
        await eventually(lambda: samples >= 3)
        await valkey.stop()
        seen = samples
        await eventually(lambda: samples >= seen + 3)


async def test_sampled_at_is_on_redis_clock(valkey: EmbeddedServer, bus: Bus) -> None:
    an_hour_slow = RedisClock(wall=lambda: 1.0)
    bus.clock = an_hour_slow

    async def job(tenure: Tenure) -> None:
        await collect_metrics(tenure, HostSampler(), fast_s=0.05, slow_s=0.05)

    last = LastState(bus, "metrics", MetricsMessage)
    async with running(HostWorker(bus, HOST, "metrics").run(job)):
        message = await eventually(last.that(lambda message: True))
        assert message.sampled_at > 1_700_000_000_000


async def test_a_wake_up_right_after_a_sample_leaves_the_counters_time_to_move(bus: Bus) -> None:
    began_s: list[float] = []

    class Noting(HostSampler):
        async def sample(self) -> HostMetrics | None:
            began_s.append(asyncio.get_running_loop().time())
            return await super().sample()

    async with host_worker(bus, HOST, "metrics") as tenure:
        async with running(collect_metrics(tenure, Noting(), fast_s=3600, slow_s=3600)):
            await eventually(lambda: len(began_s) == 2, every_s=0.001)
            await asyncio.sleep(0)
            tenure.interest.note_woken("metrics")
            await eventually(lambda: len(began_s) == 3)
    assert began_s[2] - began_s[1] >= 0.2


async def test_a_probe_that_hangs_marks_its_part_stale_on_the_wire(bus: Bus, last: LastState[MetricsMessage]) -> None:
    free = threading.Event()

    def read() -> tuple[Disk, ...]:
        free.wait()
        return ()

    sampler = HostSampler(Readings(disks=read), deadline_s=0.05, slow_every_s=0.0)

    async def job(tenure: Tenure) -> None:
        await collect_metrics(tenure, sampler, fast_s=0.05, slow_s=0.05)

    try:
        async with running(HostWorker(bus, HOST, "metrics").run(job)):
            await eventually(last.that(lambda message: message.seq >= 3 and message.data.stale == ("disks",)))
            free.set()
            await eventually(last.that(lambda message: message.data.stale == ()))
    finally:
        free.set()


async def test_a_host_id_that_cannot_be_had_ends_the_start(
    settings: MetricsCollectorSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_id.socket, "gethostname", lambda: "8cf4" * 3)
    monkeypatch.setattr(host_id, "own_container_id", lambda: "8cf4" * 16)
    unnamed = MetricsCollectorSettings(redis_url=settings.redis_url)
    with pytest.raises(SettingsError, match="FLEETCAST_HOST_ID"):
        await run_metrics_collector(unnamed)


def test_a_hosts_places_are_taken_from_the_environment_and_resolved(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").touch()
    (tmp_path / "link").symlink_to("proc")
    environ = {"FLEETCAST_HOST_PROC": f"{tmp_path}/link/", "FLEETCAST_HOST_ROOT": str(tmp_path)}
    settings = MetricsCollectorSettings.load({}, environ)
    assert settings.host_proc == Path(os.path.realpath(tmp_path / "proc"))
    assert settings.host_root == Path(os.path.realpath(tmp_path))


@pytest.mark.parametrize("variable", ["FLEETCAST_HOST_PROC", "FLEETCAST_HOST_ROOT"])
@pytest.mark.parametrize("place", ["missing", "file", "loop", "file/below"])
def test_a_place_where_nothing_of_the_hosts_is_ends_the_start_with_one_line(
    tmp_path: Path, variable: str, place: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SettingsError) as refused:
        MetricsCollectorSettings.load({}, {variable: str(tmp_path / place)})
    said = str(refused.value)
    assert said.startswith("--host-")
    assert place in said
    assert "\n" not in said


def test_a_folder_that_is_no_proc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no /proc of a host"):
        MetricsCollectorSettings.load({}, {"FLEETCAST_HOST_PROC": str(tmp_path)})
