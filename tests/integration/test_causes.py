"""What happens to real containers and who caused it: an executor that does, a collector that sees."""

from collections.abc import AsyncIterator

import pytest

from common.bus import Bus
from common.deeds import Begun, Ended, read_deeds
from common.models import Cause
from common.protocol import EventMessage
from common.settings import ContainersCollectorSettings
from services.collector.containers import run_containers_collector
from services.embedded import EmbeddedServer
from tests.conftest import Containers, docker
from tests.services.collector_support import fault, running, told
from tests.services.executor_driver import DOCKER, HOST, Driver, executor
from tests.support import eventually

pytestmark = pytest.mark.docker


@pytest.fixture
async def driver(valkey: EmbeddedServer, bus: Bus) -> AsyncIterator[Driver]:
    """An executor and a collector of one host at work."""
    settings = ContainersCollectorSettings(redis_url=valkey.url, host_id=HOST, docker_host=DOCKER)
    async with executor(valkey.url), running(run_containers_collector(settings)):

        async def is_listed() -> bool:
            return (await bus.last_states([(HOST, "containers")])) != [None]

        await eventually(is_listed)
        yield Driver(bus)


async def events_of(bus: Bus, name: str, count: int) -> list[EventMessage]:
    """The container's first events, once there are so many."""

    async def enough() -> list[EventMessage] | None:
        found = [event for event in await told(bus, HOST) if event.name == name]
        return found if len(found) >= count else None

    found: list[EventMessage] = await eventually(enough, what=f"{count} events of {name}")
    return found


def shown(events: list[EventMessage]) -> list[tuple[str | None, str | None, str]]:
    return [
        (event.from_, event.to, event.cause.actor if isinstance(event.cause, Cause) else event.cause)
        for event in events
    ]


CAME = [(None, "created", "docker"), ("created", "running", "docker")]


async def test_what_an_action_did_has_its_actor_and_what_docker_did_has_not(
    driver: Driver, bus: Bus, containers: Containers
) -> None:
    name = await containers.run("sh", "-c", "trap 'exit 7' USR1; while :; do sleep 0.05; done")
    await events_of(bus, name, 2)
    order = await driver.submit(name, "restart", timeout_sec=0)
    assert (await driver.outcome(order)).status == "succeeded"
    await docker("restart", "-t", "0", name)
    await docker("kill", "-s", "USR1", name)
    events = await events_of(bus, name, 7)
    assert shown(events) == [
        *CAME,
        ("running", "exited", "ops"),
        ("exited", "running", "ops"),
        ("running", "exited", "docker"),
        ("exited", "running", "docker"),
        ("running", "exited", "docker"),
    ]
    cause = events[2].cause
    assert isinstance(cause, Cause)
    assert (cause.request_id, cause.action) == (order.request_id, "restart")
    assert events[6].exit_code == 7
    assert [event.at for event in events] == sorted(event.at for event in events)


async def test_a_restart_by_ops_and_a_crash_out_of_memory_are_told_apart(
    driver: Driver, bus: Bus, containers: Containers
) -> None:
    eats = "trap 'head -c 50m /dev/zero | tail' USR1; while :; do sleep 0.05; done"
    name = await containers.run("sh", "-c", f"{eats}", options=("-m", "32m"))
    await events_of(bus, name, 2)
    await driver.act(name, "restart", timeout_sec=0)
    await docker("exec", name, "sh", "-c", "head -c 50m /dev/zero | tail > /dev/null; kill -9 1 || true")
    await docker("kill", name)
    events = await events_of(bus, name, 5)
    assert shown(events)[2:5] == [
        ("running", "exited", "ops"),
        ("exited", "running", "ops"),
        ("running", "exited", "docker"),
    ]
    assert [event.oom_killed for event in events[2:5]] == [None, None, True]
    assert events[4].exit_code == 137


async def test_each_verb_is_the_cause_of_its_own_step(driver: Driver, bus: Bus, containers: Containers) -> None:
    name = await containers.run()
    await events_of(bus, name, 2)
    for number, verb in enumerate(("pause", "unpause", "kill", "start", "stop", "remove"), start=3):
        assert (await driver.act(name, verb, timeout_sec=0)).status == "succeeded"
        await events_of(bus, name, number)  # or a busy collector sees two steps as one

    async def told_until_it_is_gone() -> list[EventMessage] | None:
        events = await events_of(bus, name, 8)
        return events if events[-1].to is None else None

    steps = shown(await eventually(told_until_it_is_gone))
    if len(steps) == 9:  # the collector has looked just while it was being removed
        assert steps.pop(7) == ("exited", "removing", "ops")
        steps[7] = ("exited", *steps[7][1:])
    assert steps == [
        *CAME,
        ("running", "paused", "ops"),
        ("paused", "running", "ops"),
        ("running", "exited", "ops"),
        ("exited", "running", "ops"),
        ("running", "exited", "ops"),
        ("exited", None, "ops"),
    ]
    deeds, _ = await read_deeds(bus, HOST, "0-0")
    assert [type(deed.what) for deed in deeds] == [Begun, Ended] * 6
    assert await fault(bus, "containers", HOST) is None


async def test_a_stream_of_deeds_that_is_something_else_keeps_no_action_from_being_done(
    driver: Driver, bus: Bus, containers: Containers
) -> None:
    name = await containers.run()
    await events_of(bus, name, 2)
    with bus.reaching() as redis:
        await redis.set(bus.keys.deeds(HOST), "not a stream")
    assert (await driver.act(name, "restart", timeout_sec=0)).status == "succeeded"
    assert shown(await events_of(bus, name, 4))[2:] == [
        ("running", "exited", "docker"),
        ("exited", "running", "docker"),
    ]
