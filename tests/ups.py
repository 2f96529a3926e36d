"""A real `fleetcast up` for tests: its own state directory, free ports, real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil

from common.setting_kinds import VERBS
from tests.edges import Socket, connect
from tests.support import eventually, free_ports


class RunningUp:
    """One `up` and the processes it started."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, edges: int, log: Path) -> None:
        self.process = process
        self.ports = range(port, port + edges)
        self.log = log

    def ws(self, edge: int = 0) -> str:
        return f"ws://127.0.0.1:{self.ports[edge]}/api/ws"

    async def is_ready(self, edge: int = 0) -> bool:
        async with httpx.AsyncClient() as http:
            try:
                return (await http.get(f"http://127.0.0.1:{self.ports[edge]}/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def find(self, *words: str) -> psutil.Process | None:
        """The child whose command line has these words in it."""
        for process in self.processes():
            try:
                if " ".join(words) in " ".join(process.cmdline()):
                    return process
            except psutil.NoSuchProcess:
                continue
        return None

    @asynccontextmanager
    async def client(self, *channels: str, edge: int = 0) -> AsyncIterator[Socket]:
        async with connect(self.ws(edge)) as connection:
            client = Socket(connection)
            await client.get("connected")
            await client.send({"type": "subscribe", "channels": list(channels)})
            yield client


@asynccontextmanager
async def running_up(
    state_dir: Path, *, edges: int = 1, environment: dict[str, str] | None = None
) -> AsyncIterator[RunningUp]:
    port = free_ports(edges)
    log = state_dir.with_suffix(".log")
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.cli", "up", "--state-dir", str(state_dir)),
            *("--port", str(port), "--edges", str(edges), "--host-id", "here"),
            stdout=out,
            stderr=out,
            env={**os.environ, "FLEETCAST_ALLOW_ACTIONS": ",".join(VERBS), **(environment or {})},
        )
    up = RunningUp(process, port, edges, log)
    try:
        for edge in range(edges):
            await eventually(lambda edge=edge: up.is_ready(edge), what=f"edge {edge} to be ready")
        yield up
    finally:
        left = up.processes()
        process.send_signal(signal.SIGTERM)
        await process.wait()
        alive = [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        assert not alive, f"left behind: {alive}"
