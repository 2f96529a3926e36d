"""A real `fleetcast up` in a directory of its own: its processes, its edges, its Redis."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import psutil

from common.actions import Actions, parse_record
from common.bus import Bus
from common.errors import MalformedError
from common.keys import Keys
from common.models import ActionKey, ActionRecord
from services.embedded import EmbeddedServer
from services.processes import describe_exit, end, spawn
from tests.support import free_ports
from tests.ups import RunningUp

ROOT = Path(__file__).resolve().parents[2]
"""The checkout that is measured."""

HOST = "bench"

START_WITHIN_S = 60.0
END_WITHIN_S = 8.0

ALLOW_ALL = {"FLEETCAST_ALLOW_ACTIONS": "start,stop,restart,kill,pause,unpause"}

NO_RATE_LIMIT = {"FLEETCAST_MAX_ACTIONS_PER_SEC": "1000000", "FLEETCAST_MAX_MESSAGES_PER_SEC": "1000000"}


_KEEPS_ALL = {"FLEETCAST_AUDIT_MAX": "1000000"}

Records = dict[ActionKey, ActionRecord | None]
"""None: there is no such action."""

_READ_AT_ONCE = 200


class NotReadyError(Exception):
    """A part is not there, or not in time."""


class Stage:
    """What runs here. `parts` are executor, redis, edge-1, edge-2, ..."""

    def __init__(self, up: RunningUp, bus: Bus) -> None:
        self.up = up
        self.bus = bus
        self._actions = Actions(bus)

    @property
    def edges(self) -> list[str]:
        return [f"edge-{number}" for number in range(1, len(self.up.ports) + 1)]

    @property
    def urls(self) -> list[str]:
        return [self.up.ws(number) for number in range(len(self.up.ports))]

    def process(self, part: str) -> psutil.Process | None:
        """The one that runs now, if it does."""
        for process in self.up.processes():
            try:
                if _is(process, part):
                    return process
            except psutil.Error:
                continue  # it has just ended
        return None

    async def ready(self, within_s: float = START_WITHIN_S) -> None:
        """Until every edge and the executor do their job. Raises NotReadyError."""
        try:
            async with asyncio.timeout(within_s):
                while why := await self._not_ready():
                    if self.up.process.returncode is not None:
                        raise NotReadyError(
                            f"`fleetcast up` {describe_exit(self.up.process.returncode)}: {self._last_line()}"
                        )
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise NotReadyError(f"{why} after {within_s:g} s") from None

    async def records(self, keys: Sequence[ActionKey]) -> Records:
        """What Redis knows of these. Raises BusError; what cannot be read is missing."""
        found: Records = {}
        for start in range(0, len(keys), _READ_AT_ONCE):
            some = keys[start : start + _READ_AT_ONCE]
            for key, record in zip(some, await self._actions.read_all(some), strict=True):
                if not isinstance(record, MalformedError):
                    found[key] = record
        return found

    async def answers(self, edge: int, keys: Iterable[ActionKey]) -> Records:
        """What an edge says of these when it is asked."""
        base = f"http://127.0.0.1:{self.up.ports[edge]}/api/actions"
        said: Records = {}
        async with httpx.AsyncClient(trust_env=False) as http:
            for key in keys:
                answer = await http.get(f"{base}/{key.host}/{key.request_id}")
                found = answer.status_code == httpx.codes.OK
                said[key] = ActionRecord.model_validate_json(answer.content) if found else None
        return said

    async def audit(self) -> list[ActionRecord]:
        """The whole audit of the host. Raises BusError and MalformedError."""
        with self.bus.reaching() as redis:
            entries: list[tuple[bytes, dict[bytes, bytes]]] = await redis.xrange(self.bus.keys.audit(HOST))
        return [parse_record(fields) for _, fields in entries]

    async def left_in_stream(self) -> int:
        """Orders that no executor is through with. Raises BusError."""
        with self.bus.reaching() as redis:
            return int(await redis.xlen(self.bus.keys.actions(HOST)))

    async def _not_ready(self) -> str:
        """What is not there yet, empty where all is."""
        for number, name in enumerate(self.edges):
            if not await self.up.is_ready(number):
                return f"{name} is not ready"
        async with httpx.AsyncClient(trust_env=False) as http:
            try:
                roster: Any = (await http.get(f"http://127.0.0.1:{self.up.ports[0]}/api/hosts")).json()
            except (httpx.HTTPError, ValueError):
                return f"{self.edges[0]} does not answer"
        states = [one["links"]["executor"]["state"] for one in roster.get("hosts", ()) if one["host"] == HOST]
        return "" if states == ["live"] else "the executor is not live"

    def errors(self) -> list[str]:
        """What the parts said that nobody expected."""
        lines = self.up.log.read_text(errors="replace").splitlines()
        return [line for line in lines if " ERROR " in line or "Traceback (most recent" in line]

    def _last_line(self) -> str:
        lines = [line for line in self.up.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


@asynccontextmanager
async def staged(edges: int, settings: Mapping[str, str], log: BinaryIO | None = None) -> AsyncIterator[Stage]:
    """Runs while the context is open. `settings` are variables for all of its parts, beside which none of the user's
    count. `log` keeps what they said. Raises NotReadyError."""
    with tempfile.TemporaryDirectory(prefix="fleetcast-actions-", ignore_cleanup_errors=True) as directory:
        state, said = Path(directory) / "state", Path(directory) / "up.log"
        port = free_ports(edges)
        command = (sys.executable, "-P", "-m", "services.cli", "up", "--state-dir", str(state), "--host-id", HOST)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCAST_")}
        with said.open("wb") as out:
            process = await spawn(
                (*command, "--port", str(port), "--edges", str(edges)),
                env={**environ, "PYTHONPATH": str(ROOT), **_KEEPS_ALL, **settings},
                stdout=out,
                stderr=out,
            )
        bus = Bus(EmbeddedServer(state).url, Keys())
        stage = Stage(RunningUp(process, port, edges, said), bus)
        try:
            await stage.ready()
            yield stage
        finally:
            await bus.close()
            await end(process, END_WITHIN_S)
            if log is not None:
                log.write(said.read_bytes())


def _is(process: psutil.Process, part: str) -> bool:
    command = process.cmdline()
    if part == "redis":
        return bool(command) and Path(command[0]).name in {"valkey-server", "redis-server"}
    if part == "executor":
        return command[-2:] == ["services.cli", "executor"]
    return command[-2:] == ["services.cli", "edge"] and process.environ().get("FLEETCAST_EDGE_ID") == part
