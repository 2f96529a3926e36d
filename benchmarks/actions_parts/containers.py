"""Containers to act on: they start at once, end at once, and are removed at the end, however that comes."""

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.command import remove_containers

LABEL = "fleetcast-benchmark"

_ENDS_AT_ONCE = 'trap "exit 0" TERM; while :; do sleep 1 & wait; done'

_GRACE_S = 2
"""Not 0: where SIGKILL comes just when SIGTERM has ended the container, Docker 26 finds nothing to kill, waits for the
grace, finds the next run of the container, and takes that for dead although it lives."""

_STARTED_AT_ONCE = 4


class DockerFailedError(Exception):
    """The docker command did not do it; the text is its own complaint."""


@asynccontextmanager
async def containers(run: str, count: int) -> AsyncIterator[list[str]]:
    """The ids of so many running containers of the run. Raises DockerFailedError."""
    some = asyncio.Semaphore(_STARTED_AT_ONCE)

    async def start(number: int) -> str:
        async with some:
            return await docker(
                *("run", "--detach", "--name", f"{LABEL}-{run}-{number}", "--label", f"{LABEL}={run}"),
                *("--network", "none", "--stop-timeout", str(_GRACE_S), "busybox:1", "sh", "-c", _ENDS_AT_ONCE),
            )

    try:
        yield await asyncio.gather(*(start(number) for number in range(count)))
    finally:
        remove_containers(f"{LABEL}={run}")


async def docker(*arguments: str) -> str:
    """What the docker command says. Raises DockerFailedError."""
    try:
        process = await asyncio.create_subprocess_exec(
            "docker", *arguments, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
    except OSError as error:
        raise DockerFailedError(f"the docker command does not run: {error.strerror}") from error
    said, complaint = await process.communicate()
    if process.returncode:
        raise DockerFailedError(f"docker {arguments[0]}: {complaint.decode(errors='replace').strip()}")
    return said.decode().strip()
