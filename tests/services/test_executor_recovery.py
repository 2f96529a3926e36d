"""What an executor that died, or was thought to be dead, had begun: it is looked at, and never repeated blindly."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.bus import Bus
from common.docker import Docker
from common.models import ActionOrder, ActionVerb
from common.setting_kinds import VERBS
from services.embedded import EmbeddedServer
from services.executor import performer
from services.executor.sighting import Sighting
from tests.conftest import Containers, docker
from tests.engine import EngineProxy
from tests.services.executor_driver import DOCKER, HOST, VERIFY_KEY, Driver, executor, started_at, state
from tests.support import eventually

pytestmark = pytest.mark.docker

DEAD = "1 machine dead 1-0"


@pytest.fixture
def driver(bus: Bus, docker_engine: None) -> Driver:
    return Driver(bus)


async def begin_and_die(driver: Driver, order: ActionOrder, until_s: float = 0) -> None:
    """Takes an order and claims it as an executor does that is gone before it has asked Docker. `until_s`: how long
    from now on Docker may still be at it."""
    await driver.put(order)
    await driver.take_as_dead_executor()
    engine = Docker(DOCKER)
    before = Sighting.of(await engine.inspect(order.container_id)).to_json()
    await engine.close()
    patience_ms = round(until_s * 1000)
    verdict = await driver.actions.claim(order, DEAD, executor="dead", before=before, patience_ms=patience_ms)
    assert verdict == "claimed"


@pytest.mark.parametrize(
    ("verb", "then"), [("restart", "running"), ("stop", "exited"), ("kill", "exited"), ("pause", "paused")]
)
async def test_what_docker_has_done_has_succeeded_and_is_not_done_again(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, verb: ActionVerb, then: str
) -> None:
    name = await containers.run(options=("--stop-timeout", "0"))
    order = await driver.order(name, verb)
    await begin_and_die(driver, order, until_s=30)
    await docker(verb, name)
    after = await started_at(name)
    async with executor(valkey.url):
        record = await driver.outcome(order)
    assert (record.status, record.error) == ("succeeded", None)
    assert record.executor != "dead"
    assert (await state(name), await started_at(name)) == (then, after)
    assert [entry["status"] for entry in await driver.audit()] == ["succeeded"]
    assert await driver.left_in_stream() == 0


async def test_what_docker_is_still_at_is_waited_for(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    order = await driver.order(name, "restart", timeout_sec=2)
    await begin_and_die(driver, order, until_s=30)
    before = await started_at(name)
    async with executor(valkey.url), asyncio.TaskGroup() as tasks:
        restarting = tasks.create_task(docker("restart", "--time", "2", name))
        assert (await driver.outcome(order)).status == "succeeded"
        await restarting
        after = await started_at(name)
        assert (await driver.act(name, "pause")).status == "succeeded"
    assert after > before
    assert await started_at(name) == after


@pytest.mark.parametrize("verb", ["restart", "stop", "kill"])
async def test_what_provably_was_not_begun_is_done_now_once(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, verb: ActionVerb
) -> None:
    name = await containers.run()
    before = await started_at(name)
    order = await driver.order(name, verb, timeout_sec=0)
    await begin_and_die(driver, order)
    async with driver.acks() as acks, executor(valkey.url):
        assert (await driver.outcome(order)).status == "succeeded"
        await eventually(lambda: acks, what="the last ack")
    assert [ack["status"] for ack in acks] == ["succeeded"]  # it had been told to be running
    if verb == "restart":
        assert await started_at(name) > before
    else:
        assert await state(name) == "exited"
    assert await driver.left_in_stream() == 0


async def test_what_was_not_begun_and_is_late_by_now_expires(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    order = await driver.order(name, "kill", expires_s=1)
    await begin_and_die(driver, order, until_s=1.2)
    async with executor(valkey.url):
        record = await driver.outcome(order)
    assert record.status == "expired"
    assert await state(name) == "running"


async def test_what_leaves_no_trace_is_unknown_with_what_was_seen(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    order = await driver.order(name, "pause")
    await begin_and_die(driver, order)
    async with executor(valkey.url):
        record = await driver.outcome(order)
    assert record.status == "unknown"
    assert record.error is not None
    assert record.error.startswith("the executor was interrupted while doing this; the container is running since 20")
    assert await state(name) == "running"


@pytest.mark.parametrize(("verb", "status"), [("restart", "unknown"), ("remove", "succeeded"), ("stop", "succeeded")])
async def test_a_container_that_is_gone_meanwhile(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, verb: ActionVerb, status: str
) -> None:
    name = await containers.run()
    order = await driver.order(name, verb)
    await begin_and_die(driver, order)
    await docker("rm", "-f", name)
    async with executor(valkey.url):
        record = await driver.outcome(order)
    assert record.status == status
    assert status == "succeeded" or "the container is gone" in (record.error or "")


@pytest.mark.parametrize("before", ["", "nonsense", "[]", "[" * 50_000])
async def test_rubbish_in_what_was_written_down_proves_nothing(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, before: str
) -> None:
    name = await containers.run()
    was = await started_at(name)
    order = await driver.order(name, "restart")
    await begin_and_die(driver, order)
    with driver.bus.reaching() as redis:
        await redis.hset(driver.bus.keys.action(*order.key), mapping={"before": before, "until": "rubbish"})
    async with executor(valkey.url):
        assert (await driver.outcome(order)).status == "unknown"
    assert await started_at(name) == was


async def test_a_look_holds_up_no_other_container_but_its_own(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    looked_at, other = await containers.run(), await containers.run()
    order = await driver.order(looked_at, "stop")
    await begin_and_die(driver, order, until_s=60)
    async with executor(valkey.url, parallel=1):
        behind = await driver.submit(looked_at, "start")
        assert (await driver.act(other, "pause")).status == "succeeded"
        assert (await driver.actions.read(order.key)).status == "running"
        assert (await driver.actions.read(behind.key)).status == "accepted"
        await docker("kill", looked_at)
        assert (await driver.outcome(order)).status == "succeeded"
        assert (await driver.outcome(behind)).status == "succeeded"


async def test_an_engine_that_is_away_when_it_matters_is_waited_for(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, tmp_path: Path
) -> None:
    name = await containers.run()
    order = await driver.order(name, "kill")
    await begin_and_die(driver, order, until_s=60)
    async with EngineProxy(tmp_path / "docker.sock") as engine:
        await engine.vanish()
        async with executor(valkey.url, engine.address):
            await eventually(lambda: _link(driver, "gone docker-unreachable"), what="the fault")
            await docker("kill", name)
            await engine.appear()
            assert (await driver.outcome(order)).status == "succeeded"


async def test_an_engine_that_stays_away_is_not_waited_for_for_ever(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performer, "ENGINE_AWAY_MS", 500)
    order = await driver.order(await containers.run(), "kill")
    await begin_and_die(driver, order)
    async with executor(valkey.url, f"unix://{tmp_path}/nothing.sock"):
        record = await driver.outcome(order)
    assert record.status == "unknown"
    assert "cannot be told" in (record.error or "")


async def _link(driver: Driver, fault: str) -> bool:
    return await driver.link() == fault


@asynccontextmanager
async def executor_process(url: str, instance: str) -> AsyncIterator[Process]:
    """`fleetcast executor` as a process of its own."""
    environment = {
        **os.environ,
        "FLEETCAST_REDIS_URL": url,
        "FLEETCAST_HOST_ID": HOST,
        "FLEETCAST_INSTANCE": instance,
        "FLEETCAST_ACTION_VERIFY_KEY": VERIFY_KEY,
        "FLEETCAST_ALLOW_ACTIONS": ",".join(VERBS),
    }
    command = (sys.executable, "-m", "services.cli", "executor", "--docker-host", DOCKER)
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_stand_by_takes_up_what_a_dead_or_frozen_executor_was_at(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, number: signal.Signals
) -> None:
    stopping = await containers.run("sh", "-c", "trap 'touch /asked' TERM; while :; do sleep 0.1; done")
    waiting = await containers.run()

    async def is_being_stopped() -> bool:
        return "asked" in await docker("exec", stopping, "ls", "/")

    async with executor_process(valkey.url, "first") as first:
        assert (await driver.act(stopping, "pause")).status == "succeeded"
        assert (await driver.act(stopping, "unpause")).status == "succeeded"
        async with executor_process(valkey.url, "second"):
            order = await driver.submit(stopping, "stop", timeout_sec=8)
            await eventually(is_being_stopped, what="Docker at the stop")
            first.send_signal(number)
            later = await driver.submit(waiting, "kill")
            assert (await driver.outcome(later)).status == "succeeded"
            record = await driver.outcome(order, within_s=30)
            assert (record.status, (record.executor or "").split()[-1]) == ("succeeded", "second")
            if number == signal.SIGSTOP:
                first.send_signal(signal.SIGCONT)  # it hears from Docker now, and has nothing to say any more
                assert (await driver.act(waiting, "start")).status == "succeeded"
    statuses = [(entry["action"], entry["status"]) for entry in await driver.audit()]
    assert statuses.count(("stop", "succeeded")) == 1
    assert len(statuses) == 4 + (number == signal.SIGSTOP)
    assert await state(stopping) == "exited"


async def test_on_a_claim_that_is_old_by_now_nothing_is_asked_of_docker(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performer, "CLAIM_HOLDS_S", -1.0)  # as if the process had stood still after each claim
    name = await containers.run()
    async with executor(valkey.url):
        record = await driver.act(name, "kill", expires_s=1)
    assert record.status == "expired"
    assert await state(name) == "running"
