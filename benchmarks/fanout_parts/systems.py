"""The systems under test: how each is started on its core, published to and ended.

Those of this module are ours: the floor, Fleetcast's edge, and the small servers that one would write first. `peers`
has the others.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import httpx

from benchmarks.fanout_parts.bodies import State
from benchmarks.fanout_parts.machine import ROOT, Cores, children, first_line, free_port, pinned
from benchmarks.fanout_parts.publishing import BusPublisher, ChannelPublisher, Publisher, RedisPipe, StreamPublisher
from common.keys import Keys
from services.embedded import EmbeddedServer
from services.processes import describe_exit, end, spawn

START_WITHIN_S = 30.0
END_WITHIN_S = 2.0
_CHANNEL = "fanout"


class NotServingError(Exception):
    """A system did not start."""


@dataclass(frozen=True)
class Site:
    """Where a run takes place."""

    cores: Cores
    valkey: EmbeddedServer
    directory: Path
    """The run's own."""
    tools: Path
    """Of all runs: what had to be installed for them."""


@dataclass(frozen=True)
class Serving:
    """A system that serves."""

    ports: tuple[int, ...]
    pids: tuple[int, ...]
    """Of the processes that serve clients."""
    publisher: Publisher
    processes: tuple[Process, ...] = ()
    """Those behind `ports`, in the same order, where there can be several."""


class System(ABC):
    """One that can be started any number of times, one after the other."""

    name: str

    @property
    def dialect(self) -> str:
        """Its key in dialects.DIALECTS."""
        return self.name

    async def missing(self, tools: Path) -> str | None:
        """Why it cannot run here, or None. May install what it needs in `tools`."""
        return None

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def serving(self, site: Site) -> AbstractAsyncContextManager[Serving]:
        """Serves inside of the context. Raises NotServingError."""


@asynccontextmanager
async def server_process(
    site: Site,
    argv: Sequence[str],
    serves: Callable[[], Awaitable[bool]],
    *,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Process]:
    """A process on the server's core, inside of the context, from when `serves` has become true; what that raises as
    an OSError or httpx.TransportError is a no. Raises NotServingError with what the process said last."""
    descriptor, log = tempfile.mkstemp(suffix=".log", dir=site.directory)
    with os.fdopen(descriptor, "wb") as output, pinned(site.cores.server):
        process = await spawn(
            argv, env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})}, cwd=ROOT, stdout=output, stderr=output
        )
    try:
        try:
            async with asyncio.timeout(START_WITHIN_S):
                while not await _true(serves):
                    if process.returncode is not None:
                        raise NotServingError(f"{describe_exit(process.returncode)}: {_last_line(log)}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise NotServingError(f"does not serve after {START_WITHIN_S:g} s: {_last_line(log)}") from None
        yield process
    finally:
        await end(process, END_WITHIN_S)


def accepts(port: int) -> Callable[[], Awaitable[bool]]:
    """Whether something accepts connections there."""

    async def connects() -> bool:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True

    return connects


def answers(port: int, path: str = "/", *, successfully: bool = False) -> Callable[[], Awaitable[bool]]:
    """Whether a GET is answered at all, or successfully."""

    async def get() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.get(f"http://127.0.0.1:{port}{path}")
        return response.is_success or not successfully

    return get


async def _true(serves: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await serves()
    except (OSError, httpx.TransportError):
        return False


def _last_line(log: str | Path) -> str:
    lines = [line for line in Path(log).read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


class Floor(System):
    """The bare cost of the system calls."""

    name = "floor"

    def version(self) -> str:
        return f"Python {sys.version.split()[0]}"

    @asynccontextmanager
    async def serving(self, site: Site) -> AsyncIterator[Serving]:
        port, publishing_port = free_port(), free_port()
        publishers: list[Publisher] = []

        async def takes_publisher() -> bool:
            publishers.append(await StreamPublisher.connect(publishing_port, _with_length))
            return True

        argv = (sys.executable, "-m", "benchmarks.fanout_parts.floor", str(port), str(publishing_port))
        async with server_process(site, argv, takes_publisher) as process:
            with closing(publishers[0]):
                yield Serving((port,), (process.pid,), publishers[0])


def _with_length(state: State) -> bytes:
    return len(state.body).to_bytes(4, "big") + state.body


class Fleetcast(System):
    """Edges of this checkout over one bus."""

    name = "fleetcast"

    _settings: Mapping[str, str] = {
        "FLEETCAST_LOG_LEVEL": "warning",
        # What protects an edge from a crowd would be measured instead of what the crowd costs.
        "FLEETCAST_MAX_CLIENTS": "20000",
        "FLEETCAST_MAX_HANDSHAKES_PER_SEC": "100000",
    }

    def __init__(
        self, *, edges: int = 1, settings: Mapping[str, str] | None = None, with_containers: bool = False
    ) -> None:
        """`with_containers`: clients subscribe to the containers of each host too."""
        self._edges = edges
        self._with_containers = with_containers
        self._environ = {**self._settings, **(settings or {})}

    @property
    def dialect(self) -> str:
        return "fleetcast containers" if self._with_containers else "fleetcast"

    def version(self) -> str:
        commit = first_line("git", "describe", "--always", "--dirty", "--exclude=*")
        return f"{version('fleetcast')} ({commit})"

    @asynccontextmanager
    async def serving(self, site: Site) -> AsyncIterator[Serving]:
        ports = tuple(free_port() for _ in range(self._edges))
        async with AsyncExitStack() as stack:
            processes = []
            for port in ports:
                argv = (sys.executable, "-m", "services.cli", "edge", "--port", str(port))
                environ = {**self._environ, "FLEETCAST_REDIS_URL": site.valkey.url}
                serving = server_process(site, argv, answers(port, "/readyz", successfully=True), environ=environ)
                processes.append(await stack.enter_async_context(serving))
            publisher = BusPublisher(await RedisPipe.connect(str(site.valkey.socket_path)), Keys())
            with closing(publisher):
                pids = tuple(pid for process in processes for pid in (process.pid, *children(process.pid)))
                yield Serving(ports, pids, publisher, tuple(processes))


class FastApi(System):
    """FastAPI on uvicorn, with uvicorn's defaults but for its log lines: they would cost more than the rest."""

    name = "fastapi"

    def version(self) -> str:
        return f"{version('fastapi')}, uvicorn {version('uvicorn')}, uvloop {version('uvloop')}"

    @asynccontextmanager
    async def serving(self, site: Site) -> AsyncIterator[Serving]:
        port = free_port()
        app = "benchmarks.fanout_parts.fastapi_app:app"
        argv = (sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning")
        environ = {"REDIS_URL": site.valkey.url, "REDIS_CHANNEL": _CHANNEL}
        async with server_process(site, argv, accepts(port), environ=environ) as process:
            publisher = ChannelPublisher(await RedisPipe.connect(str(site.valkey.socket_path)), _CHANNEL)
            with closing(publisher):
                yield Serving((port,), (process.pid,), publisher)


class Node(System):
    """Node with `ws` and `redis`, which npm installs for the time of the benchmark."""

    name = "node"
    _packages = ("ws@8", "redis@5")

    def __init__(self) -> None:
        self._installed = ""

    def version(self) -> str:
        return f"{first_line('node', '--version')}, {self._installed}"

    async def missing(self, tools: Path) -> str | None:
        if shutil.which("node") is None or shutil.which("npm") is None:
            return "no node or no npm on the path"
        shutil.copy(Path(__file__).with_name("node_app.mjs"), tools)
        command = ("npm", "install", "--no-audit", "--no-fund", "--prefix", str(tools), *self._packages)
        log = tools / "npm.log"
        with log.open("wb") as output:
            npm = await spawn(command, cwd=tools, stdout=output, stderr=output)
        try:
            async with asyncio.timeout(120):
                failed = await npm.wait() != 0
        except TimeoutError:
            failed = True
            await end(npm, END_WITHIN_S)
        if failed:
            return f"npm did not install {' and '.join(self._packages)}: {_last_line(log)}"
        self._installed = ", ".join(self._packages)
        return None

    @asynccontextmanager
    async def serving(self, site: Site) -> AsyncIterator[Serving]:
        port = free_port()
        environ = {"PORT": str(port), "REDIS_SOCKET": str(site.valkey.socket_path), "REDIS_CHANNEL": _CHANNEL}
        argv = ("node", str(site.tools / "node_app.mjs"))
        async with server_process(site, argv, accepts(port), environ=environ) as process:
            publisher = ChannelPublisher(await RedisPipe.connect(str(site.valkey.socket_path)), _CHANNEL)
            with closing(publisher):
                yield Serving((port,), (process.pid,), publisher)
