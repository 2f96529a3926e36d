"""The executor when Redis, Docker, the stream or the executor itself fails in the middle."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from common.actions import Outcome
from common.bus import Bus
from common.docker import Docker
from common.models import ActionVerb
from common.setting_kinds import VERBS
from common.settings import ProtectionSettings
from common.telemetry import malformed
from common.tenure import Tenure
from common.whereabouts import Guard
from common.worker import HostWorker
from services.embedded import EmbeddedServer
from services.executor.admission import Admission
from services.executor.ledger import Ledger
from services.executor.worker import DRAIN_S, Executor
from services.local import Limits
from tests.conftest import Containers, docker
from tests.engine import DROP, HANG, MUTE, PASS, SWALLOW, EngineProxy, http
from tests.services.executor_driver import DOCKER, HOST, SIGNER, Driver, executor, started_at, state
from tests.support import PATIENCE_S, eventually

pytestmark = pytest.mark.docker


@pytest.fixture
def driver(bus: Bus, docker_engine: None) -> Driver:
    return Driver(bus)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineProxy]:
    """The real engine behind a proxy; a test changes its rule, or makes it vanish."""
    async with EngineProxy(tmp_path / "docker.sock") as proxy:
        yield proxy


def impatient_executor(
    bus: Bus, docker_host: str, act_margin_s: float = 0.5
) -> AbstractAsyncContextManager["asyncio.Task[None]"]:
    """An executor that gives Docker less time than production does."""
    return _executor(bus, Docker(docker_host, act_margin_s=act_margin_s))


def patient_executor(bus: Bus) -> AbstractAsyncContextManager["asyncio.Task[None]"]:
    """An executor that waits long for what is under way when it ends."""
    return _executor(bus, Docker(DOCKER), drain_s=PATIENCE_S)


@asynccontextmanager
async def _executor(bus: Bus, engine: Docker, drain_s: float = DRAIN_S) -> AsyncIterator["asyncio.Task[None]"]:
    admission = Admission(HOST, None, frozenset(VERBS))
    guard = Guard(ProtectionSettings())
    ledger = Ledger()

    async def job(tenure: Tenure) -> None:
        await Executor(tenure, engine, admission, guard, ledger, drain_s=drain_s).work()

    task = asyncio.create_task(HostWorker(bus, HOST, "executor").run(job))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.close()


def counted(what: str) -> float:
    return malformed.labels(what)._value.get()


def warnings(caplog: pytest.LogCaptureFixture, about: str) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and about in record.getMessage()
    ]


# The stream


async def test_entries_that_are_no_actions_are_counted_and_skipped(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, caplog: pytest.LogCaptureFixture
) -> None:
    name = await containers.run()
    before = counted("stream entry")
    foreign = await driver.order(name, "kill", host="another-host")
    for fields in (
        {"order": "{"},
        {"order": "[]"},
        {"other": "x"},
        {b"\xff": b"\xfe"},
        {"order": "[" * 50_000},
        {"order": foreign.model_dump_json()},
    ):
        await driver.add_entry(fields)
    async with executor(valkey.url) as task:
        assert (await driver.act(name, "pause")).status == "succeeded"
        await driver.add_entry({"order": "nonsense"})
        assert (await driver.act(name, "unpause")).status == "succeeded"
        assert not task.done()
    assert counted("stream entry") - before == 7
    assert await driver.left_in_stream() == 0
    assert await state(name) == "running"
    assert len(warnings(caplog, "skipped")) <= 2  # one a read, not one an entry
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


async def test_an_order_that_was_never_accepted_is_not_done(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    before = counted("action record")
    order = await driver.order(name, "kill")
    await driver.add_entry({"order": SIGNER.sign(order.model_dump_json().encode())})
    async with executor(valkey.url):
        assert (await driver.act(name, "pause")).status == "succeeded"
    assert await state(name) == "paused"
    assert counted("action record") - before == 1
    assert await driver.left_in_stream() == 0


@pytest.mark.parametrize("kind", ["hash", "string"])
async def test_garbage_in_a_record_costs_that_action_only(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, kind: str
) -> None:
    name = await containers.run()
    order = await driver.submit(name, "kill")
    key = driver.bus.keys.action(HOST, order.request_id)
    with driver.bus.reaching() as redis:
        await redis.delete(key)
        if kind == "hash":
            await redis.hset(key, "colour", "red")
        else:
            await redis.set(key, "not a hash")
    before = counted("action record")
    async with executor(valkey.url) as task:
        assert (await driver.act(name, "pause")).status == "succeeded"
        assert not task.done()
    assert counted("action record") - before == 1
    assert await state(name) == "paused"
    assert await driver.left_in_stream() == 0


# What an earlier executor left behind


async def test_what_was_submitted_while_no_executor_was_there_is_done_later(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    order = await driver.submit(name, "pause")
    async with executor(valkey.url):
        assert (await driver.outcome(order)).status == "succeeded"


async def test_what_was_delivered_and_not_begun_is_done_once_and_first(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    delivered = await driver.submit(name, "pause")
    await driver.take_as_dead_executor()
    newer = await driver.submit(name, "unpause")
    async with executor(valkey.url):
        assert (await driver.outcome(newer)).status == "succeeded"
        assert (await driver.outcome(delivered)).status == "succeeded"
    assert [entry["action"] for entry in await driver.audit()] == ["pause", "unpause"]


async def test_what_was_delivered_and_is_late_by_now_expires(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    order = await driver.submit(name, "kill", expires_s=-1)
    await driver.take_as_dead_executor()
    async with executor(valkey.url):
        assert (await driver.outcome(order)).status == "expired"
    assert await state(name) == "running"


async def test_what_was_running_and_cannot_be_told_is_unknown_and_not_done_again(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    before = await started_at(name)
    order = await driver.submit(name, "restart")
    await driver.take_as_dead_executor()
    assert await driver.actions.claim(order, "1 machine dead 1-0") == "claimed"
    async with driver.acks() as acks, executor(valkey.url):
        record = await driver.outcome(order)
        assert record.status == "unknown"
        assert record.error is not None
        assert "interrupted" in record.error
        assert (await driver.act(name, "pause")).status == "succeeded"
        await eventually(lambda: len(acks) == 4, what="all acks")
    assert acks[0]["status"] == "unknown"
    assert await started_at(name) == before
    assert await driver.left_in_stream() == 0
    assert [entry["status"] for entry in await driver.audit()] == ["unknown", "succeeded"]


async def test_what_was_running_is_settled_although_the_group_was_lost(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    order = await driver.submit(name, "kill")
    await driver.actions.claim(order, "1 machine dead 1-0")  # its entry is in the stream, but pending nowhere
    async with executor(valkey.url):
        assert (await driver.outcome(order)).status == "unknown"
    assert await state(name) == "running"


async def test_pending_entries_that_are_settled_missing_or_trimmed_are_dropped(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    settled = await driver.submit(name, "kill")
    await driver.take_as_dead_executor()
    await driver.actions.settle(settled, "0-0", "", Outcome("rejected"))
    missing = await driver.submit(name, "kill")
    await driver.take_as_dead_executor()
    await driver.submit(name, "kill")
    trimmed = await driver.take_as_dead_executor()
    stream = driver.bus.keys.actions(HOST)
    with driver.bus.reaching() as redis:
        await redis.delete(driver.bus.keys.action(HOST, missing.request_id))
        await redis.xdel(stream, trimmed)
    async with executor(valkey.url):
        assert (await driver.act(name, "pause")).status == "succeeded"
    with driver.bus.reaching() as redis:
        assert (await redis.xpending(stream, "executor"))["pending"] == 0
    assert await driver.left_in_stream() == 0
    assert await state(name) == "paused"


async def test_an_executor_restarted_again_and_again_does_everything_once(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    names = [await containers.run("true") for _ in range(6)]
    for name in names:
        await docker("wait", name)
    async with executor(valkey.url):
        first = await driver.submit(names[0], "remove")
        await driver.outcome(first)
    orders = [await driver.submit(name, "remove") for name in names[1:]]
    for _ in range(3):
        async with executor(valkey.url):
            await eventually(lambda: _some_settled(driver), what="some progress")
    async with executor(valkey.url):
        records = [await driver.outcome(order) for order in orders]
    # A second removal would be "no such container"; one that was cut off would be unknown.
    assert {record.status for record in records} <= {"succeeded", "unknown"}
    assert len(await driver.audit()) == len(names)


async def _some_settled(driver: Driver) -> bool:
    return len(await driver.audit()) > 1


# Redis


async def test_a_flush_while_idle_costs_nothing(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, caplog: pytest.LogCaptureFixture
) -> None:
    name = await containers.run()
    async with executor(valkey.url) as task:
        assert (await driver.act(name, "pause")).status == "succeeded"
        with driver.bus.reaching() as redis:
            await redis.flushall()
        assert (await driver.act(name, "unpause")).status == "succeeded"
        assert not task.done()
    assert len(warnings(caplog, "consumer group is gone")) <= 1


async def test_a_flush_in_the_middle_of_an_action_does_not_hide_its_outcome(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    async with executor(valkey.url), driver.acks() as acks:
        order = await driver.submit(name, "stop", timeout_sec=2)
        await driver.reaches(order, "running")
        with driver.bus.reaching() as redis:
            await redis.flushall()
        assert (await driver.outcome(order)).status == "succeeded"
        assert (await driver.act(name, "start")).status == "succeeded"
        await eventually(lambda: len(acks) == 6, what="all acks")
    assert [ack["status"] for ack in acks] == ["accepted", "running", "succeeded"] * 2
    assert len(await driver.audit()) == 2


async def test_a_restart_of_redis_in_the_middle_of_an_action_loses_nothing(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, caplog: pytest.LogCaptureFixture
) -> None:
    name = await containers.run()
    async with executor(valkey.url) as task:
        order = await driver.submit(name, "stop", timeout_sec=1)
        queued = await driver.submit(name, "start")
        await driver.reaches(order, "running")
        await valkey.stop()
        await eventually(lambda: _is(name, "exited"), what="the stop")  # done, but it cannot be told yet
        await valkey.start()
        assert (await driver.outcome(order)).status == "succeeded"
        assert (await driver.outcome(queued)).status == "succeeded"
        assert (await driver.act(name, "pause")).status == "succeeded"
        assert not task.done()
    assert [entry["action"] for entry in await driver.audit()] == ["stop", "start", "pause"]
    # The executor's bus and the test's own each say it.
    assert len(warnings(caplog, "is not available")) <= 2


async def _is(name: str, wanted: str) -> bool:
    return await state(name) == wanted


async def test_a_redis_that_is_absent_at_the_start_is_waited_for(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    await valkey.stop()
    async with executor(valkey.url) as task:
        await valkey.start()
        assert (await driver.act(name, "pause")).status == "succeeded"
        assert not task.done()


async def test_a_full_redis_takes_outcomes_and_lets_nothing_new_begin(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, caplog: pytest.LogCaptureFixture
) -> None:
    name = await containers.run()
    async with patient_executor(driver.bus):
        order = await driver.submit(name, "stop", timeout_sec=1)
        waiting = await driver.submit(name, "start")
        await driver.reaches(order, "running")
        with driver.bus.reaching() as redis:
            await redis.config_set("maxmemory", "1")
        assert (await driver.outcome(order)).status == "succeeded"
        await eventually(lambda: warnings(caplog, "consent to the actions"), what="the refusal")
        assert await state(name) == "exited"
        with driver.bus.reaching() as redis:
            await redis.config_set("maxmemory", "0")
        assert (await driver.outcome(waiting)).status == "succeeded"
    assert len(warnings(caplog, "consent to the actions")) == 1


async def test_a_killed_connection_of_the_reader_loses_nothing(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    async with executor(valkey.url):
        assert (await driver.act(name, "pause")).status == "succeeded"
        for verb in ("unpause", "pause", "unpause"):
            with driver.bus.reaching() as redis:
                await redis.client_kill_filter(_type="normal", skipme=True)
            assert (await driver.act(name, verb)).status == "succeeded"


# Docker


async def test_without_an_engine_actions_wait_and_are_done_when_it_appears(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, engine: EngineProxy
) -> None:
    name = await containers.run()
    await engine.vanish()
    async with executor(valkey.url, engine.address):
        await eventually(lambda: _link(driver, "gone docker-unreachable"), what="the fault in the roster")
        order = await driver.submit(name, "pause")
        hopeless = await driver.submit(name, "unpause", expires_s=1)
        record = await driver.outcome(hopeless)
        assert record.status == "expired"
        assert record.error is not None
        assert "no Docker engine answers" in record.error
        await engine.appear()
        assert (await driver.outcome(order)).status == "succeeded"
        await eventually(lambda: _link(driver, None), what="the recovery in the roster")
    assert engine.asked("unpause") == []


async def _link(driver: Driver, fault: str | None) -> bool:
    return await driver.link() == fault


async def test_an_engine_that_vanishes_before_it_was_asked_is_waited_for(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, engine: EngineProxy
) -> None:
    name = await containers.run()
    engine.rule = lambda request: DROP if "/json" in request else PASS  # it pings, but cannot be looked at
    async with executor(valkey.url, engine.address):
        hopeless = await driver.submit(name, "kill", expires_s=1)
        record = await driver.outcome(hopeless)
        assert record.status == "expired"
        asked = len(engine.asked("/json"))
        order = await driver.submit(name, "pause")
        await eventually(lambda: len(engine.asked("/json")) > asked, what="a look at the container")
        engine.rule = lambda _: PASS
        assert (await driver.outcome(order)).status == "succeeded"
    assert engine.asked("/kill") == []


async def test_an_engine_that_does_not_say_what_it_sees_in_time_is_not_asked_to_act(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, engine: EngineProxy
) -> None:
    name = await containers.run()
    engine.rule = lambda request: HANG if "/json" in request else PASS
    async with executor(valkey.url, engine.address):
        order = await driver.submit(name, "kill", expires_s=1)
        record = await driver.outcome(order)
    assert record.status == "expired"
    assert record.error is not None
    assert "did not say in time" in record.error
    assert engine.asked("/kill") == []


@pytest.mark.parametrize("fault", [SWALLOW, MUTE])
async def test_an_action_whose_answer_is_lost_is_looked_at_and_not_repeated(
    driver: Driver, bus: Bus, containers: Containers, engine: EngineProxy, fault: str
) -> None:
    name = await containers.run()
    before = await started_at(name)
    engine.rule = lambda request: fault if "/restart" in request else PASS
    async with impatient_executor(bus, engine.address):
        record = await driver.act(name, "restart", timeout_sec=0)
        assert (record.status, record.error) == ("succeeded", None)
        after = await started_at(name)
        assert after > before
        assert (await driver.act(name, "pause")).status == "succeeded"
    assert await started_at(name) == after
    assert len(engine.asked("/restart")) == 1


@pytest.mark.parametrize("verb", ["restart", "stop", "pause"])
async def test_an_action_that_the_engine_cut_off_undone_is_unknown_and_not_repeated(
    driver: Driver, bus: Bus, containers: Containers, engine: EngineProxy, verb: ActionVerb
) -> None:
    name = await containers.run()
    before = await started_at(name)
    engine.rule = lambda request: DROP if f"/{verb}" in request else PASS
    async with impatient_executor(bus, engine.address):
        record = await driver.act(name, verb, timeout_sec=0)
    assert record.status == "unknown"
    assert record.error is not None
    assert "did not answer to the end" in record.error
    assert "the container is running since" in record.error
    assert (await state(name), await started_at(name)) == ("running", before)
    assert len(engine.asked(f"/{verb}")) == 1


async def test_a_hanging_action_holds_up_no_other_container(
    driver: Driver, bus: Bus, containers: Containers, engine: EngineProxy
) -> None:
    stuck, other = await containers.run(), await containers.run()
    engine.rule = lambda request: HANG if "/pause" in request else PASS
    async with impatient_executor(bus, engine.address, act_margin_s=3):
        hanging = await driver.submit(stuck, "pause")
        await eventually(lambda: engine.asked("/pause"), what="the hanging action")
        assert (await driver.act(other, "kill")).status == "succeeded"
        assert (await driver.actions.read(hanging.key)).status == "running"
        assert (await driver.outcome(hanging)).status == "unknown"


@pytest.mark.parametrize("fault", [HANG, DROP, b"SSH-2.0-OpenSSH_9.6\r\n"])
async def test_an_engine_that_stops_answering_is_said_in_the_roster_until_it_answers(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, engine: EngineProxy, fault: str | bytes
) -> None:
    name = await containers.run()
    async with executor(valkey.url, engine.address):
        assert (await driver.act(name, "pause")).status == "succeeded"
        assert await driver.link() is None
        engine.rule = lambda _: fault
        await eventually(lambda: _link(driver, "gone docker-unreachable"), what="the fault")
        engine.rule = lambda _: PASS
        await eventually(lambda: _link(driver, None), what="the recovery")
        assert (await driver.act(name, "unpause")).status == "succeeded"


async def test_what_answers_and_is_no_engine_fails_actions_with_a_clear_word(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, engine: EngineProxy
) -> None:
    name = await containers.run()
    engine.rule = lambda _: http("<html>It works!</html>")
    async with executor(valkey.url, engine.address):
        record = await driver.act(name, "kill")
        assert record.status == "failed"
        assert record.error is not None
        assert "no Docker engine" in record.error
    assert await state(name) == "running"


async def test_an_inspection_of_an_odd_shape_acts_on_nothing(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, engine: EngineProxy
) -> None:
    name = await containers.run()
    for odd in ("{}", '{"Config": 3}', '{"Config": {"Labels": 3}}', '{"Id": "\\ud800", "Config": {}}'):
        engine.rule = lambda request, odd=odd: http(odd) if "/json" in request else PASS
        async with executor(valkey.url, engine.address):
            assert (await driver.act(name, "kill")).status == "rejected"
    assert engine.asked("/kill") == []


# Ending


async def test_what_ends_soon_after_the_stop_of_the_executor_gets_its_outcome(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    async with executor(valkey.url):
        order = await driver.submit(name, "stop", timeout_sec=1)
        waiting = await driver.submit(name, "start")
        await driver.reaches(order, "running")
    assert (await driver.actions.read(order.key)).status == "succeeded"
    assert (await driver.actions.read(waiting.key)).status == "accepted"
    async with executor(valkey.url):
        assert (await driver.outcome(waiting)).status == "succeeded"


async def test_what_takes_longer_is_left_running_and_settled_by_the_next_executor(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    async with executor(valkey.url):
        order = await driver.submit(name, "stop", timeout_sec=60)
        await driver.reaches(order, "running")
    assert (await driver.actions.read(order.key)).status == "running"
    assert Limits().stop_parts_s > DRAIN_S, "`fleetcast up` would kill it before"
    async with executor(valkey.url):
        await docker("kill", name)
        assert (await driver.outcome(order)).status == "succeeded"
    assert await state(name) == "exited"


async def test_an_action_that_waits_for_the_engine_when_the_executor_stops_is_left_to_the_next(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, engine: EngineProxy
) -> None:
    name = await containers.run()
    engine.rule = lambda request: DROP if "/json" in request else PASS
    async with executor(valkey.url, engine.address):
        order = await driver.submit(name, "kill")
        await eventually(lambda: engine.asked("/json"), what="a look at the container")
    assert (await driver.actions.read(order.key)).status == "accepted"
    async with executor(valkey.url):
        assert (await driver.outcome(order)).status == "succeeded"


async def test_an_executor_ends_whenever_it_is_stopped(valkey: EmbeddedServer, docker_engine: None) -> None:
    async def live_and_end(number: int) -> None:
        async with executor(valkey.url) as task:
            for _ in range(number):  # a different instant of its start each time
                await asyncio.sleep(0)
            task.cancel()
            ended, _ = await asyncio.wait([task], timeout=PATIENCE_S)
            assert ended, f"still there after being stopped in step {number}"

    for number in range(0, 120, 3):
        await live_and_end(number)


async def test_of_two_executors_one_works_and_the_other_takes_over(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    async with executor(valkey.url):
        assert (await driver.act(name, "pause")).status == "succeeded"
        async with executor(valkey.url, DOCKER):
            for verb in ("unpause", "pause"):
                assert (await driver.act(name, verb)).status == "succeeded"
    async with executor(valkey.url):
        assert (await driver.act(name, "unpause")).status == "succeeded"
    assert len(await driver.audit()) == 4
