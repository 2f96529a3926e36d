import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from common.bus import Bus
from common.envelope import Version, unwrap, wrap
from common.errors import HostIdConflictError
from common.health import Health, read
from common.keys import Keys, StateKind
from common.roster import About
from common.settings import WorkerSettings
from common.telemetry import lease_held, malformed, unpublished
from common.tenure import StatePublisher, Tenure
from common.worker import HostWorker, machine_id
from services.embedded import EmbeddedServer
from tests.rosters import faults
from tests.support import PATIENCE_S, eventually

HOST = "web-1"
TTL_MS = 600
LONG_MS = 60_000
RENEW_S = 0.05


class Job:
    """Notes its tenures and works until it is cancelled."""

    def __init__(self) -> None:
        self.tenures: list[Tenure] = []
        self.working = 0

    async def __call__(self, tenure: Tenure) -> None:
        self.tenures.append(tenure)
        self.working += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.working -= 1

    async def tenure(self, number: int = 1) -> Tenure:
        """The n-th one, once it has begun."""
        await eventually(lambda: len(self.tenures) >= number)
        return self.tenures[number - 1]


def worker(bus: Bus, kind: StateKind = "metrics", **changes: Any) -> HostWorker:
    options: dict[str, Any] = {"renew_s": RENEW_S, "lease_ttl_ms": TTL_MS} | changes
    return HostWorker(bus, HOST, kind, **options)


@asynccontextmanager
async def running(service: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(service)
        yield task
        task.cancel()


@pytest.fixture
async def other_bus(valkey: EmbeddedServer) -> AsyncIterator[Bus]:
    bus = Bus(valkey.url, Keys())
    yield bus
    await bus.close()


async def holder(bus: Bus, kind: StateKind = "metrics") -> str | None:
    with bus.reaching() as redis:
        found = await redis.get(bus.keys.lease(HOST, kind))
    return found.decode() if found else None


async def take_lease(bus: Bus, token: str, ttl_ms: int = TTL_MS) -> None:
    """As somebody else would who does not ask."""
    with bus.reaching() as redis:
        await redis.set(bus.keys.lease(HOST, "metrics"), token, px=ttl_ms)


def body(version: Version) -> bytes:
    return b'{"type":"metrics","host":"web-1","seq":%d}' % version.seq


async def last_version(bus: Bus) -> Version | None:
    [payload] = await bus.last_states([(HOST, "metrics")])
    return unwrap(payload)[0] if payload else None


# The lease


async def test_a_worker_takes_the_lease_and_stands_in_the_roster(bus: Bus) -> None:
    job = Job()
    async with running(worker(bus).run(job)):
        tenure = await job.tenure()
        assert await holder(bus) == tenure.token == f"{tenure.epoch} {machine_id()} {tenure.token.split()[-1]}"
        assert lease_held.labels("metrics")._value.get() == 1

        async def seen() -> bool:
            return HOST in (await bus.read_roster()).seen["metrics"]

        await eventually(seen)
    assert lease_held.labels("metrics")._value.get() == 0


async def test_what_the_settings_say_of_the_host_stands_in_the_roster(bus: Bus) -> None:
    settings = WorkerSettings(host_id=HOST, host_labels="env=prod, region=eu-1")
    async with running(HostWorker.of(settings, bus, "executor", actions=("stop",)).run(Job())):

        async def said() -> About | None:
            return (await bus.read_roster()).about["executor"].get(HOST)

        about = await eventually(said)
    assert about.labels == (("env", "prod"), ("region", "eu-1"))
    assert about.actions == ("stop",)


async def test_a_lease_is_renewed_for_longer_than_its_time(bus: Bus) -> None:
    job = Job()
    async with running(worker(bus, lease_ttl_ms=700).run(job)):
        tenure = await job.tenure()

        async def outlived() -> bool:
            assert await holder(bus) == tenure.token
            await bus.sync_clock()
            return bus.clock.now_ms() > tenure.epoch + 1500

        await eventually(outlived)
        assert job.tenures == [tenure]


async def test_a_second_worker_stands_by_and_takes_over_at_once_when_the_first_leaves(
    bus: Bus, other_bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "common.worker")
    first, second = Job(), Job()
    async with running(worker(bus, lease_ttl_ms=60_000).run(first)) as first_task:
        tenure = await first.tenure()
        async with running(worker(other_bus, lease_ttl_ms=60_000).run(second)):
            await eventually(lambda: "another process is at work, standing by" in caplog.text)
            assert second.tenures == []
            first_task.cancel()
            successor = await second.tenure()
            assert first.working == 0
            assert successor.epoch > tenure.epoch


async def test_a_worker_that_died_is_succeeded_when_its_lease_runs_out(bus: Bus) -> None:
    await take_lease(bus, f"1 {machine_id()} dead", ttl_ms=400)
    job = Job()
    async with running(worker(bus).run(job)):
        await job.tenure()


async def test_a_worker_that_comes_back_under_its_name_takes_its_own_lease_over_at_once(bus: Bus) -> None:
    await take_lease(bus, f"1 {machine_id()} up-1", ttl_ms=60_000)
    job = Job()
    async with running(worker(bus, instance="up-1").run(job)):
        tenure = await job.tenure()
        assert tenure.token.endswith(f" {machine_id()} up-1")


async def test_a_name_that_only_ends_alike_is_another_worker(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "common.worker")
    await take_lease(bus, f"1 {machine_id()} set-up-1", ttl_ms=60_000)
    job = Job()
    async with running(worker(bus, instance="up-1").run(job)):
        await eventually(lambda: "another process is at work" in caplog.text)
        assert job.tenures == []


async def test_workers_of_other_kinds_and_hosts_have_leases_of_their_own(bus: Bus) -> None:
    metrics, containers, elsewhere = Job(), Job(), Job()
    async with (
        running(worker(bus).run(metrics)),
        running(worker(bus, "containers").run(containers)),
        running(HostWorker(bus, "web-2", "metrics", renew_s=RENEW_S).run(elsewhere)),
    ):
        for job in (metrics, containers, elsewhere):
            await job.tenure()


async def test_another_machine_under_the_same_host_id_is_a_loud_error(bus: Bus, other_bus: Bus) -> None:
    job, foreign = Job(), Job()
    async with running(worker(bus, machine="machine-a").run(job)):
        tenure = await job.tenure()
        with pytest.raises(HostIdConflictError) as conflict:
            await worker(other_bus, machine="machine-b").run(foreign)
        assert "machine-a" in conflict.value.holder
        assert "--host-id" in str(conflict.value)
        assert foreign.tenures == []
        assert job.tenures == [tenure]


async def test_another_machines_dead_lease_is_waited_out(bus: Bus) -> None:
    await take_lease(bus, "1 machine-a dead")
    job = Job()
    async with running(worker(bus, machine="machine-b").run(job)):
        await job.tenure()


async def test_a_worker_that_loses_its_lease_stops_and_stands_by(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    job = Job()
    async with running(worker(bus).run(job)):
        first = await job.tenure()
        await take_lease(bus, f"1 {machine_id()} usurper")
        await eventually(lambda: job.working == 0)
        assert "usurper: standing by" in caplog.text
        assert await holder(bus) == f"1 {machine_id()} usurper", "it does not release what is not its own"
        second = await job.tenure(2)
        assert second.epoch > first.epoch


async def test_whoever_leaves_says_so_in_the_roster(bus: Bus) -> None:
    job = Job()
    async with running(worker(bus).run(job)):
        await job.tenure()
    assert await holder(bus) is None
    assert await faults(bus, "metrics") == {HOST: "gone stopped"}


async def test_a_worker_that_is_cancelled_ends_although_its_job_fails_at_that(bus: Bus) -> None:
    began = asyncio.Event()

    async def job(tenure: Tenure) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("broken")

    task = asyncio.create_task(worker(bus).run(job))
    await began.wait()
    task.cancel()
    ended, _ = await asyncio.wait([task], timeout=PATIENCE_S)
    assert ended
    assert task.cancelled()


async def test_a_worker_that_is_cancelled_ends_whatever_it_was_doing(bus: Bus) -> None:
    for yields in range(150):
        task = asyncio.create_task(worker(bus, renew_s=0.001).run(Job()))
        for _ in range(yields):
            await asyncio.sleep(0)
        task.cancel()
        ended, _ = await asyncio.wait([task], timeout=PATIENCE_S)
        assert ended, f"still there after it was cancelled at step {yields}"


# Epochs


async def test_an_epoch_is_redis_time(bus: Bus) -> None:
    job = Job()
    async with running(worker(bus).run(job)):
        tenure = await job.tenure()
        await bus.sync_clock()
        assert 0 <= bus.clock.now_ms() - tenure.epoch < 10_000


async def test_an_epoch_is_higher_than_the_last_states_although_the_clock_was_set_back(bus: Bus) -> None:
    ahead = 4_000_000_000_000
    with bus.reaching() as redis:
        await redis.set(bus.keys.last(HOST, "metrics"), wrap(Version(ahead, 77), b"{}"))
    job = Job()
    async with running(worker(bus).run(job)):
        assert (await job.tenure()).epoch == ahead + 1


async def test_a_malformed_last_state_is_counted_and_ignored(bus: Bus) -> None:
    counter = malformed.labels("last state")._value
    before = counter.get()
    with bus.reaching() as redis:
        await redis.set(bus.keys.last(HOST, "metrics"), b"\xff what is this")
    job = Job()
    async with running(worker(bus).run(job)):
        await job.tenure()
    assert counter.get() == before + 1


# Faults


async def test_a_fault_is_in_the_roster_at_once_and_so_is_its_end(bus: Bus) -> None:
    job = Job()

    async def is_told(expected: dict[str, str]) -> bool:
        return await faults(bus, "metrics") == expected

    async with running(worker(bus, renew_s=3600, lease_ttl_ms=7_200_000).run(job)):
        tenure = await job.tenure()
        tenure.fault = "gone docker-unreachable"
        await eventually(lambda: is_told({HOST: "gone docker-unreachable"}))
        tenure.fault = "stalled docker-error"
        await eventually(lambda: is_told({HOST: "stalled docker-error"}))
        tenure.fault = None
        await eventually(lambda: is_told({}))


async def test_a_new_tenure_begins_without_the_last_ones_fault(bus: Bus) -> None:
    job = Job()
    async with running(worker(bus).run(job)):
        tenure = await job.tenure()
        tenure.fault = "gone docker-unreachable"
        await take_lease(bus, f"1 {machine_id()} usurper", ttl_ms=100)
        await job.tenure(2)

        async def no_fault() -> bool:
            return not await faults(bus, "metrics")

        await eventually(no_fault)


# A Redis that goes away


async def test_a_tenure_survives_flushall(bus: Bus) -> None:
    job = Job()
    async with running(worker(bus).run(job)):
        tenure = await job.tenure()
        with bus.reaching() as redis:
            await redis.flushall()

        async def held_again() -> bool:
            return await holder(bus) == tenure.token

        await eventually(held_again)
        publisher = StatePublisher(tenure, "metrics")
        assert await publisher.publish(body)
        assert job.tenures == [tenure]


async def test_whoever_cannot_publish_looks_at_once_whether_the_lease_is_held_and_is_told_that_it_was_forgotten(
    bus: Bus,
) -> None:
    job = Job()
    async with running(worker(bus, renew_s=3600, lease_ttl_ms=7_200_000).run(job)):
        tenure = await job.tenure()
        forgotten: list[str] = []
        tenure.when_forgotten(lambda: forgotten.append("forgotten"))
        publisher = StatePublisher(tenure, "metrics")
        assert await publisher.publish(body)
        with bus.reaching() as redis:
            await redis.flushall()
        assert not await publisher.publish(body), "nobody holds the lease"
        await eventually(lambda: forgotten)
        assert await publisher.publish(body)
        assert (forgotten, job.tenures) == (["forgotten"], [tenure])


async def test_a_tenure_survives_a_restart_of_redis(bus: Bus, valkey: EmbeddedServer) -> None:
    job = Job()
    async with running(worker(bus).run(job)):
        tenure = await job.tenure()
        await valkey.stop()
        await eventually(lambda: not bus.available)
        await valkey.start()

        async def held_again() -> bool:
            return bus.available and await holder(bus) == tenure.token

        await eventually(held_again)
        assert job.tenures == [tenure]


async def test_a_redis_that_is_absent_at_the_start_is_waited_for_and_said_once(
    bus: Bus, valkey: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    await valkey.stop()
    job = Job()
    async with running(worker(bus).run(job)):
        await eventually(lambda: "waiting for it" in caplog.text)
        await valkey.start()
        await job.tenure()
    assert caplog.text.count("waiting for it") == 1


# Jobs that fail


async def test_a_job_that_raises_is_logged_and_tried_again_in_a_new_tenure(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    job = Job()

    async def fail_once(tenure: Tenure) -> None:
        if not job.tenures:
            job.tenures.append(tenure)
            raise ZeroDivisionError("by accident")
        await job(tenure)

    async with running(worker(bus).run(fail_once)):
        second = await job.tenure(2)
        assert second.epoch > job.tenures[0].epoch
    assert "metrics on web-1 failed; trying again" in caplog.text
    assert "ZeroDivisionError: by accident" in caplog.text


# Publishing


async def published(bus: Bus, use: Callable[[StatePublisher], Coroutine[Any, Any, None]]) -> None:
    """Runs `use` in a tenure."""
    job = Job()
    async with running(worker(bus).run(job)):
        await use(StatePublisher(await job.tenure(), "metrics"))


async def test_states_are_numbered_from_one_without_gaps(bus: Bus) -> None:
    async def use(publisher: StatePublisher) -> None:
        for seq in (1, 2, 3):
            assert await publisher.publish(body)
            version = await last_version(bus)
            assert version is not None
            assert version.seq == seq

    await published(bus, use)


async def test_without_the_lease_nothing_is_published_and_no_number_is_used(bus: Bus) -> None:
    lost = unpublished.labels("metrics")._value
    token = f"7 {machine_id()} us"
    publisher = StatePublisher(Tenure(bus, HOST, "metrics", 7, token, About()), "metrics")
    await take_lease(bus, token, LONG_MS)
    assert await publisher.publish(body)
    before, counted = await last_version(bus), lost.get()
    await take_lease(bus, f"1 {machine_id()} usurper", LONG_MS)
    assert not await publisher.publish(body)
    assert await last_version(bus) == before
    assert lost.get() == counted + 1
    await take_lease(bus, token, LONG_MS)
    assert await publisher.publish(body)
    assert before is not None
    assert await last_version(bus) == before._replace(seq=2)


async def test_a_state_lost_on_the_way_uses_up_its_number(bus: Bus, valkey: EmbeddedServer) -> None:
    async def use(publisher: StatePublisher) -> None:
        assert await publisher.publish(body)
        await valkey.stop()
        assert not await publisher.publish(body)
        await valkey.start()
        await eventually(lambda: publisher.publish(body))
        version = await last_version(bus)
        assert version is not None
        assert version.seq >= 3

    await published(bus, use)


# Getting something done


async def test_a_job_that_gets_nothing_done_is_stalled_although_its_process_lives(bus: Bus, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def job(tenure: Tenure) -> None:
        await go_on.wait()
        while True:
            tenure.note_done()
            await asyncio.sleep(0.05)

    async def fault() -> str | None:
        return (await faults(bus, "metrics")).get("web-1")

    def health() -> Health | None:
        found = read(tmp_path, "metrics")
        return found[0] if found else None

    service = HostWorker(bus, "web-1", "metrics", renew_s=0.1, overdue_s=3, run_dir=tmp_path)
    async with running(service.run(job)):
        await eventually(lambda: health() == Health("metrics", "working", beat_s=0.1))
        assert await fault() is None
        await eventually(lambda: health() == Health("metrics", "working", "stalled overdue", 0.1))
        await eventually(fault)  # with the beat after, where the time was over during one
        assert await fault() == "stalled overdue"
        go_on.set()
        await eventually(lambda: health() == Health("metrics", "working", beat_s=0.1))
        await eventually(lambda: not_any(fault))


async def not_any(ask: Callable[[], Coroutine[Any, Any, str | None]]) -> bool:
    return await ask() is None


async def test_a_worker_says_in_its_health_file_that_redis_is_away(
    bus: Bus, valkey: EmbeddedServer, tmp_path: Path
) -> None:
    async def job(tenure: Tenure) -> None:
        while True:
            tenure.note_done()
            await asyncio.sleep(0.05)

    def phase() -> str | None:
        found = read(tmp_path, "metrics")
        return found[0].phase if found else None

    service = HostWorker(bus, "web-1", "metrics", renew_s=0.1, run_dir=tmp_path)
    async with running(service.run(job)):
        await eventually(lambda: phase() == "working")
        await valkey.stop()
        await eventually(lambda: phase() == "without Redis")
        await valkey.start()
        await eventually(lambda: phase() == "working")
