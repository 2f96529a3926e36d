"""Real servers for tests: an embedded Valkey per test that wants one, Docker where there is an engine."""

import asyncio
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from common.bus import Bus
from common.keys import Keys
from services.embedded import EmbeddedServer


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A Valkey server of this test's own."""
    async with EmbeddedServer(tmp_path / "valkey-state") as server:
        yield server


@pytest.fixture
async def bus(valkey: EmbeddedServer) -> AsyncIterator[Bus]:
    bus = Bus(valkey.url, Keys())
    yield bus
    await bus.close()


def _docker_missing() -> str | None:
    """Why tests cannot use Docker, or None where they can."""
    try:
        answer = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no Docker engine: {error}"
    if answer.returncode:
        return f"no Docker engine: {answer.stderr.strip().splitlines()[-1]}"
    return None


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """Skips the test where no Docker engine answers, or fails it where FLEETCAST_REQUIRE_DOCKER=1."""
    missing = _docker_missing()
    if missing and os.environ.get("FLEETCAST_REQUIRE_DOCKER") == "1":
        pytest.fail(f"FLEETCAST_REQUIRE_DOCKER=1, but {missing}")
    if missing:
        pytest.skip(missing)


class Containers:
    """Containers of one test, by names that are its own, removed at its end."""

    def __init__(self) -> None:
        self._names: list[str] = []

    async def run(self, *command: str, options: tuple[str, ...] = (), image: str = "busybox:1") -> str:
        """Starts a container and returns its name."""
        name = f"fleetcast-test-{uuid.uuid4().hex[:10]}"
        self._names.append(name)
        await docker("run", "-d", "--name", name, *options, image, *(command or ("sleep", "3600")))
        return name

    def remove(self) -> None:
        if self._names:
            subprocess.run(["docker", "rm", "-f", "-v", *self._names], capture_output=True, timeout=60, check=False)


@pytest.fixture
def containers(docker_engine: None) -> Iterator[Containers]:
    """Real containers on the real engine."""
    made = Containers()
    try:
        yield made
    finally:
        made.remove()


async def docker(*arguments: str) -> str:
    """The docker command's output; AssertionError with its complaint where it fails."""
    process = await asyncio.create_subprocess_exec(
        "docker", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, complaint = await process.communicate()
    assert process.returncode == 0, f"docker {' '.join(arguments)}: {complaint.decode()}"
    return out.decode().strip()
