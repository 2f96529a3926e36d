"""The containers collector while its engine restarts, hangs or is out of reach: the roster says so meanwhile, and
afterwards what happened is told, step by step, and the snapshot is right."""

import os
import signal
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from common.bus import Bus
from common.envelope import body_prefix, unwrap
from common.models import Container
from common.protocol import ContainersMessage, EventMessage
from common.settings import ContainersCollectorSettings
from services.collector.containers import run_containers_collector
from services.embedded import EmbeddedServer
from tests.conftest import Containers, docker
from tests.own_engine import OwnEngine, own_engine
from tests.services.collector_support import HOST, LastState, engine_proxy, fault, running
from tests.support import eventually

pytestmark = pytest.mark.docker

BEAT_S = 1.0


@pytest.fixture
async def engine(docker_engine: None) -> AsyncIterator[OwnEngine]:
    async with own_engine() as engine:
        yield engine


def collector_of(address: str, valkey: EmbeddedServer) -> ContainersCollectorSettings:
    return ContainersCollectorSettings(
        redis_url=valkey.url, host_id=HOST, docker_host=address, interval=0.1, beat=BEAT_S
    )


class Told:
    """What the bus has of the host."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._last = LastState(bus, "containers", ContainersMessage)

    async def fault_is(self, expected: str | None) -> bool:
        return await fault(self._bus, "containers") == expected

    async def has_fault(self) -> bool:
        return await fault(self._bus, "containers") is not None

    async def is_listed(self, name: str, state: str = "running") -> Container | None:
        """The container, once it is there and so."""
        message = await self._last.read()
        found = [container for container in message.data if container.name == name] if message else []
        return found[0] if found and found[0].state == state else None

    async def steps(self, name: str) -> list[EventMessage]:
        """The transitions of a container, each of which begins where the one before it ended."""
        [payloads] = await self._bus.last_events([HOST])
        unwrapped = [unwrap(payload, body_prefix("event", HOST)) for payload in payloads]
        assert all(one[0] < next_one[0] for one, next_one in pairwise(unwrapped)), "each has a version of its own"
        messages = [EventMessage.model_validate_json(body) for _, body in unwrapped]
        steps = [message for message in messages if message.name == name]
        assert all(one.to == next_one.from_ for one, next_one in pairwise(steps)), steps
        return steps

    async def has_come_to(self, name: str, state: str) -> bool:
        """Whether the last transition of a container was to this state."""
        return [step.to for step in await self.steps(name)][-1:] == [state]

    async def beats(self) -> int:
        """When its worker was last seen, in beats."""
        return round((await self._bus.read_roster()).seen["containers"][HOST] / (1000 * BEAT_S))


@pytest.fixture
def told(bus: Bus) -> Told:
    return Told(bus)


async def test_what_a_restart_of_the_engine_did_is_told(valkey: EmbeddedServer, told: Told, engine: OwnEngine) -> None:
    comes_back = await engine.run_container(options=("--restart", "always"))
    stays_down = await engine.run_container()
    async with running(run_containers_collector(collector_of(engine.address, valkey))):
        before = await eventually(lambda: told.is_listed(comes_back))
        await eventually(lambda: told.is_listed(stays_down))
        await engine.stop()
        await eventually(lambda: told.fault_is("gone docker-unreachable"))
        await engine.start()
        await eventually(lambda: told.fault_is(None))

        await eventually(lambda: told.has_come_to(comes_back, "running"))
        steps = await told.steps(comes_back)
        assert steps[0].from_ == "running"
        assert "exited" in [step.to for step in steps]
        assert {step.cause for step in steps} == {"docker"}
        after = await eventually(lambda: told.is_listed(comes_back))
        assert after.id == before.id
        assert after.started_at > before.started_at

        await eventually(lambda: told.has_come_to(stays_down, "exited"))
        [ended] = await told.steps(stays_down)
        assert (ended.from_, ended.exit_code) == ("running", 137)
        assert await told.is_listed(stays_down, "exited")


async def test_what_happened_while_the_engine_hung_is_told_when_it_answers_again(
    valkey: EmbeddedServer, told: Told, engine: OwnEngine
) -> None:
    dies, lives = await engine.run_container(), await engine.run_container()
    pid = await engine.pid_of(dies)
    async with running(run_containers_collector(collector_of(engine.address, valkey))):
        await eventually(lambda: told.is_listed(dies))
        engine.freeze()
        os.kill(pid, signal.SIGKILL)
        # An engine that says nothing is found by asking it, so this takes the patience for an answer.
        await eventually(told.has_fault)
        beats = await told.beats()

        async def has_beaten_on() -> bool:
            assert await told.has_fault()
            return await told.beats() >= beats + 3

        await eventually(has_beaten_on)
        assert await told.is_listed(dies), "what was last known stays"
        assert await told.steps(dies) == []
        engine.thaw()
        await eventually(lambda: told.fault_is(None))
        await eventually(lambda: told.has_come_to(dies, "exited"))
        [ended] = await told.steps(dies)
        assert (ended.from_, ended.exit_code, ended.cause) == ("running", 137, "docker")
        assert await eventually(lambda: told.is_listed(dies, "exited"))
        assert await told.is_listed(lives)
        assert await told.steps(lives) == []


async def test_a_container_that_dies_while_the_engine_is_out_of_reach_is_told_afterwards(
    valkey: EmbeddedServer, told: Told, containers: Containers, tmp_path: Path
) -> None:
    dies, comes_back = await containers.run(), await containers.run()
    path = tmp_path / "docker.sock"
    async with running(run_containers_collector(collector_of(f"unix://{path}", valkey))):
        async with engine_proxy(path):
            await eventually(lambda: told.is_listed(dies))
            before = await eventually(lambda: told.is_listed(comes_back))
        await eventually(lambda: told.fault_is("gone docker-unreachable"))
        await docker("kill", dies, comes_back)
        await docker("start", comes_back)
        assert await told.steps(dies) == await told.steps(comes_back) == []
        async with engine_proxy(path):
            await eventually(lambda: told.has_come_to(dies, "exited"))
            [ended] = await told.steps(dies)
            assert (ended.from_, ended.exit_code, ended.cause) == ("running", 137, "docker")
            assert await told.is_listed(dies, "exited")
            await eventually(lambda: told.has_come_to(comes_back, "running"))
            assert [step.to for step in await told.steps(comes_back)] == ["exited", "running"]
            after = await eventually(lambda: told.is_listed(comes_back))
            assert after.started_at > before.started_at
            await eventually(lambda: told.fault_is(None))
