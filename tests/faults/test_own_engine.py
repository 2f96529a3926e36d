"""The engine that other tests break does what they want of it, and leaves nothing behind."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import docker
from tests.own_engine import OwnEngine, own_engine
from tests.support import eventually

pytestmark = pytest.mark.docker


@pytest.fixture
async def engine(docker_engine: None) -> AsyncIterator[OwnEngine]:
    async with own_engine() as engine:
        yield engine


async def is_running(engine: OwnEngine, container: str) -> bool:
    return await engine.docker("inspect", "-f", "{{.State.Running}}", container) == "true"


async def test_its_containers_are_its_own_and_come_back_after_a_restart(engine: OwnEngine) -> None:
    name = await engine.run_container(options=("--restart", "always"))
    assert name not in await docker("ps", "-a", "--format", "{{.Names}}")
    first, pid = engine.pid, await engine.pid_of(name)
    await engine.restart()
    assert engine.pid != first
    await eventually(lambda: is_running(engine, name))
    assert await engine.pid_of(name) != pid


async def test_it_has_its_own_network_and_lets_the_machines_bridge_alone(docker_engine: None) -> None:
    bridge = Path("/sys/class/net/docker0/ifindex")
    before = bridge.read_text() if bridge.exists() else None
    async with own_engine() as engine:
        assert os.readlink(f"/proc/{engine.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert (bridge.read_text() if bridge.exists() else None) == before


async def test_frozen_it_answers_nothing_until_it_is_thawed_and_then_knows_what_happened(engine: OwnEngine) -> None:
    name = await engine.run_container()
    pid = await engine.pid_of(name)
    engine.freeze()
    asked = asyncio.create_task(engine.docker("ps"))
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: pid not in engine.processes())
    assert not asked.done()
    engine.thaw()
    await asked
    await eventually(lambda: _exited(engine, name))


async def _exited(engine: OwnEngine, name: str) -> bool:
    return await engine.docker("inspect", "-f", "{{.State.ExitCode}}", name) == "137"


async def test_killed_it_leaves_its_containers_and_starts_again(engine: OwnEngine) -> None:
    name = await engine.run_container(options=("--restart", "always"))
    pid = await engine.pid_of(name)
    await engine.kill()
    assert pid in engine.processes()
    await engine.start()
    await eventually(lambda: is_running(engine, name))


@pytest.mark.parametrize("state", ["running", "stopped", "frozen", "killed"])
async def test_nothing_is_left_of_it(docker_engine: None, state: str) -> None:
    async with own_engine() as engine:
        paused = await engine.run_container()
        await engine.run_container("sh", "-c", "sleep 3600 & sleep 3600")
        await engine.docker("pause", paused)
        shims = [Path(address) for address in sockets_of_shims(engine)]
        assert len(shims) == 2
        assert len(engine.processes()) >= 2 + 2 + 3, "dockerd, containerd; the shims; what the containers run"
        assert engine.mounts()
        assert engine.control_groups()
        match state:
            case "stopped":
                await engine.stop()
            case "frozen":
                engine.freeze()
            case "killed":
                await engine.kill()
    assert engine.processes() == []
    assert engine.mounts() == []
    assert engine.control_groups() == []
    assert not engine.root.exists()
    assert not any(shim.exists() for shim in shims)


def sockets_of_shims(engine: OwnEngine) -> list[str]:
    return [bundle.read_text().removeprefix("unix://") for bundle in engine.root.glob("exec/**/moby/*/address")]


async def test_a_test_that_fails_leaves_nothing_either(docker_engine: None) -> None:
    engine: OwnEngine | None = None
    with pytest.raises(AssertionError, match="the test has failed"):
        async with own_engine() as engine:
            await engine.run_container()
            raise AssertionError("the test has failed")
    assert engine is not None
    assert engine.processes() == []
    assert not engine.root.exists()
