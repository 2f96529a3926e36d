"""The Docker engine of this machine: containers to look at, and its own account of what happens to them.

Its API is spoken directly, not through common/docker.py, which is part of what is measured.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx

from benchmarks.collector_parts.meter import NotReadyError
from benchmarks.command import remove_containers
from common.setting_kinds import default_docker_host

LABEL = "fleetcast-benchmark"
IMAGE = "busybox:1"

# As process 1 it ignores SIGTERM, so that `stop -t 0` always ends it by SIGKILL.
_COMMAND = ["sh", "-c", "while :; do sleep 5; done"]

_STARTED_AT_ONCE = 4
_TIMEOUT_S = 120.0

T = TypeVar("T")


class EngineFailedError(Exception):
    """The engine did not do it; the text is its own complaint."""


class Moments(Generic[T]):
    """Things that happen, each with when it was heard of, and who waits for one."""

    def __init__(self) -> None:
        self.all: list[tuple[float, T]] = []
        self._waiting: list[tuple[Callable[[T], bool], asyncio.Future[float]]] = []

    def tell(self, at_s: float, item: T) -> None:
        self.all.append((at_s, item))
        for wanted, future in self._waiting:
            if not future.done() and wanted(item):
                future.set_result(at_s)
        self._waiting = [waiting for waiting in self._waiting if not waiting[1].done()]

    def first(self, wanted: Callable[[T], bool]) -> "asyncio.Future[float]":
        """When the first such thing from now on was heard of, in monotonic seconds."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, future))
        return future


async def heard(moment: "asyncio.Future[float]", within_s: float) -> float | None:
    """None where it does not come in time."""
    try:
        return await asyncio.wait_for(moment, within_s)
    except TimeoutError:
        return None


@dataclass(frozen=True)
class DockerEvent:
    """A container's event."""

    container_id: str
    action: str
    exit_code: int | None


class Engine:
    """Its API over its Unix socket. Every call raises EngineFailedError."""

    def __init__(self, docker_host: str | None = None) -> None:
        """Raises NotReadyError for an engine that is not on this machine."""
        parts = urlsplit(docker_host or default_docker_host())
        if parts.scheme != "unix":
            raise NotReadyError("the engine must be on this machine: DOCKER_HOST is no unix:// address")
        self.socket_path = parts.path
        self._http = httpx.AsyncClient(
            base_url="http://docker", transport=httpx.AsyncHTTPTransport(uds=parts.path), timeout=_TIMEOUT_S
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def version(self) -> str:
        return str((await self._ask("GET", "/version")).json()["Version"])

    async def running(self) -> list[str]:
        """Ids of all containers that run here, whosever they are."""
        return [found["Id"] for found in (await self._ask("GET", "/containers/json")).json()]

    async def inspect(self, container_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self._ask("GET", f"/containers/{container_id}/json")).json()
        return found

    async def run(self, name: str, run: str, network: str) -> str:
        """Creates and starts a container of the run; its id."""
        body = {"Image": IMAGE, "Cmd": _COMMAND, "Labels": {LABEL: run}, "HostConfig": {"NetworkMode": network}}
        made = await self._ask("POST", f"/containers/create?name={name}", body)
        container_id = str(made.json()["Id"])
        await self.start(container_id)
        return container_id

    async def start(self, container_id: str) -> None:
        await self._ask("POST", f"/containers/{container_id}/start")

    async def stop(self, container_id: str) -> None:
        """Without grace: `docker stop -t 0`."""
        await self._ask("POST", f"/containers/{container_id}/stop?t=0")

    async def restart(self, container_id: str) -> None:
        await self._ask("POST", f"/containers/{container_id}/restart?t=0")

    async def kill(self, container_id: str) -> None:
        """Returns once it has ended."""
        await self._ask("POST", f"/containers/{container_id}/kill")
        await self._ask("POST", f"/containers/{container_id}/wait")

    async def remove(self, container_id: str) -> None:
        await self._ask("DELETE", f"/containers/{container_id}?force=1&v=1")

    @asynccontextmanager
    async def events(self, *filters: str) -> AsyncIterator[Moments[DockerEvent]]:
        """What `docker events --filter type=container --filter FILTER` shows while the context is open."""
        wanted: dict[str, list[str]] = {"type": ["container"]}
        for one in filters:
            name, _, value = one.partition("=")
            wanted.setdefault(name, []).append(value)
        moments: Moments[DockerEvent] = Moments()
        request = self._http.stream("GET", "/events", params={"filters": json.dumps(wanted)}, timeout=None)
        async with request as answer:
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(_listen(answer, moments), name="docker events")
                yield moments
                listening.cancel()

    async def _ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise EngineFailedError(f"{method} {path.partition('?')[0]}: {error!r}") from error
        if answer.is_error:
            raise EngineFailedError(f"{method} {path.partition('?')[0]}: {answer.text.strip()}")
        return answer


async def _listen(answer: httpx.Response, moments: Moments[DockerEvent]) -> None:
    async for line in answer.aiter_lines():
        at_s = time.monotonic()
        said = json.loads(line)
        exit_code = said["Actor"]["Attributes"].get("exitCode")
        moments.tell(
            at_s, DockerEvent(said["Actor"]["ID"], said["Action"], int(exit_code) if exit_code is not None else None)
        )
    raise EngineFailedError("the engine has ended its stream of events")


@asynccontextmanager
async def containers(engine: Engine, run: str, count: int) -> AsyncIterator[dict[str, str]]:
    """So many running containers of the run, name → id, half of them on the bridge and half without a network; removed
    at the end, however that comes, and with them whatever else carries the run's label."""
    names = [f"{LABEL}-{run}-{number:04}" for number in range(count)]

    async def make(number: int, name: str) -> str:
        return await engine.run(name, run, "bridge" if number % 2 else "none")

    try:
        ids = await bounded([lambda n=n, name=name: make(n, name) for n, name in enumerate(names)], _STARTED_AT_ONCE)
        yield dict(zip(names, ids, strict=True))
    finally:
        remove_containers(f"{LABEL}={run}")


async def bounded(works: Sequence[Callable[[], Awaitable[T]]], at_once: int) -> list[T]:
    """Their results, in order."""
    turns = asyncio.Semaphore(at_once)

    async def one(work: Callable[[], Awaitable[T]]) -> T:
        async with turns:
            return await work()

    async with asyncio.TaskGroup() as tasks:
        begun = [tasks.create_task(one(work)) for work in works]
    return [task.result() for task in begun]
