"""The two collectors as real processes, with a Redis of their own, somebody who watches, and an edge where one is
needed."""

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO, get_args

import httpx

from benchmarks.collector_parts.meter import NotReadyError
from benchmarks.fanout_parts.machine import ROOT, free_port
from common.bus import Bus
from common.envelope import unwrap
from common.keys import WATCH_TTL_S, Keys, StateKind
from common.models import Usage
from common.protocol import ContainersMessage, UsageMessage, parse_server_message
from services.embedded import EmbeddedServer
from services.processes import describe_exit, end, spawn

HOST = "bench"
COLLECTORS = ("metrics", "containers")
WATCHED: Sequence[StateKind] = ("metrics", "containers", "usage")

READY_WITHIN_S = 60.0
_END_WITHIN_S = 5.0
_POLL_S = 0.1


class Ours:
    """What runs. `pids` are the collectors', by name."""

    def __init__(self, bus: Bus, processes: dict[str, Process], log: Path) -> None:
        self.bus = bus
        self._processes = processes
        self._log = log
        self.url = ""
        """The edge's WebSocket, where there is an edge."""

    @property
    def pids(self) -> dict[str, int]:
        return {name: self._processes[name].pid for name in COLLECTORS}

    async def published(self) -> dict[StateKind, int]:
        """How many states of each kind have been published so far."""
        kinds: tuple[StateKind, ...] = get_args(StateKind)
        found = await self.bus.last_states([(HOST, kind) for kind in kinds])
        return {kind: unwrap(payload)[0].seq if payload else 0 for kind, payload in zip(kinds, found, strict=True)}

    async def sees(self, container_ids: Sequence[str]) -> bool:
        """Whether both collectors have published, and all of these as running."""
        metrics, listed = await self.bus.last_states([(HOST, "metrics"), (HOST, "containers")])
        if metrics is None or listed is None:
            return False
        message = parse_server_message(unwrap(listed)[1])
        assert isinstance(message, ContainersMessage)
        return set(container_ids) <= {found.id for found in message.data if found.state == "running"}

    async def usage(self) -> Usage | None:
        """The last one published."""
        [payload] = await self.bus.last_states([(HOST, "usage")])
        if payload is None:
            return None
        message = parse_server_message(unwrap(payload)[1])
        assert isinstance(message, UsageMessage)
        return message.data

    async def until(
        self, condition: Callable[[], Awaitable[bool]], what: str, within_s: float = READY_WITHIN_S
    ) -> None:
        """Raises NotReadyError."""
        try:
            async with asyncio.timeout(within_s):
                while not await condition():
                    self.check()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise NotReadyError(f"{what} after {within_s:g} s: {self._last_line()}") from None

    def check(self) -> None:
        """Raises NotReadyError where a process has ended."""
        for name, process in self._processes.items():
            if process.returncode is not None:
                raise NotReadyError(f"{name} {describe_exit(process.returncode)}: {self._last_line()}")

    def errors(self) -> list[str]:
        """What the processes said that nobody expected."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if " ERROR " in line or "Traceback (most recent" in line]

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """As if somebody watched this host on some edge: the keys are kept, and the collectors woken, as an edge does
        it, without the cost of one."""
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(self._keep_watching(), name="watching")
            yield
            keeping.cancel()

    async def _keep_watching(self) -> None:
        wake = True
        while True:
            with self.bus.reaching() as redis:
                for kind in WATCHED:
                    await redis.set(self.bus.keys.watch(HOST, kind), 1, ex=WATCH_TTL_S)
                    if wake:
                        await redis.execute_command("SPUBLISH", self.bus.keys.wake(HOST), kind)
            wake = False
            await asyncio.sleep(WATCH_TTL_S / 3)

    def _last_line(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "they said nothing"


@asynccontextmanager
async def collectors(*, with_edge: bool = False, log: BinaryIO | None = None) -> AsyncIterator[Ours]:
    """Runs while the context is open; none of the user's settings count but DOCKER_HOST. `log` keeps what the processes
    said. Raises NotReadyError."""
    with tempfile.TemporaryDirectory(prefix="fleetcast-collector-", ignore_cleanup_errors=True) as directory:
        said = Path(directory) / "log"
        processes: dict[str, Process] = {}
        async with EmbeddedServer(Path(directory)) as valkey:
            bus = Bus(valkey.url, Keys())
            ours = Ours(bus, processes, said)
            environ = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCAST_")}
            environ |= {"FLEETCAST_REDIS_URL": valkey.url, "PYTHONPATH": str(ROOT)}
            worker = {**environ, "FLEETCAST_HOST_ID": HOST}
            try:
                with _kept(said, log) as out:
                    for name in COLLECTORS:
                        processes[name] = await _start(("collector", name), worker, out)
                    if with_edge:
                        port = free_port()
                        edge = {**environ, "FLEETCAST_PORT": str(port), "FLEETCAST_DRAIN_SEC": "0"}
                        processes["edge"] = await _start(("edge",), edge, out)
                        ours.url = f"ws://127.0.0.1:{port}/api/ws"
                        await ours.until(lambda: _is_ready(port), "the edge is not ready")
                    yield ours
            finally:
                await bus.close()
                await asyncio.gather(*(end(process, _END_WITHIN_S) for process in processes.values()))


async def _start(command: Sequence[str], environ: dict[str, str], out: BinaryIO) -> Process:
    return await spawn((sys.executable, "-P", "-m", "services.cli", *command), env=environ, stdout=out, stderr=out)


@contextmanager
def _kept(said: Path, log: BinaryIO | None) -> Iterator[BinaryIO]:
    try:
        with said.open("wb") as out:
            yield out
    finally:
        if log is not None:
            log.write(said.read_bytes())
            log.flush()


async def _is_ready(port: int) -> bool:
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            return (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False
