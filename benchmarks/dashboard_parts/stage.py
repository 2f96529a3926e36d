"""A simulated fleet with its own Redis and edge, and a browser: for the dashboard's benchmark and its pictures."""

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import async_playwright

from benchmarks.dashboard_parts.chromium import CHROMIUM, FLAGS
from benchmarks.fanout_parts.machine import ROOT, free_port
from services.embedded import EmbeddedServer
from services.processes import describe_exit, end, spawn

READY_WITHIN_S = 300.0
_END_WITHIN_S = 5.0
_POLL_S = 0.2


class StageError(Exception):
    """What is needed is not there, or not in time."""


class Fleet:
    """What runs, and the edge's address."""

    def __init__(self, url: str, processes: dict[str, Process], log: Path) -> None:
        self.url = url
        self._processes = processes
        self._log = log

    async def has_live_hosts(self, number: int) -> bool:
        """Raises StageError where a process has ended."""
        for name, process in self._processes.items():
            if process.returncode is not None:
                said = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
                raise StageError(f"{name} {describe_exit(process.returncode)}: {said[-1] if said else 'silently'}")
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                answer = await http.get(f"{self.url}/api/hosts")
        except httpx.HTTPError:
            return False
        return answer.is_success and sum(one["status"] == "live" for one in answer.json()["hosts"]) >= number


@asynccontextmanager
async def simulated_fleet(hosts: int, containers: int, *options: str) -> AsyncIterator[Fleet]:
    """`options`: more ones of `fleetcast simulate`. Raises StageError."""
    with tempfile.TemporaryDirectory(prefix="fleetcast-stage-", ignore_cleanup_errors=True) as directory:
        log = Path(directory) / "log"
        processes: dict[str, Process] = {}
        port = free_port()
        fleet = Fleet(f"http://127.0.0.1:{port}", processes, log)
        async with EmbeddedServer(Path(directory)) as valkey:
            environ = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCAST_")}
            environ |= {"FLEETCAST_REDIS_URL": valkey.url, "PYTHONPATH": str(ROOT), "FLEETCAST_DRAIN_SEC": "0"}
            simulate = ("simulate", "--hosts", str(hosts), "--containers", str(containers), *options)
            try:
                with log.open("wb") as out:
                    for command in (("edge", "--port", str(port)), simulate):
                        processes[command[0]] = await spawn(
                            (sys.executable, "-P", "-m", "services.cli", *command), env=environ, stdout=out, stderr=out
                        )
                    await until(lambda: fleet.has_live_hosts(hosts), f"{hosts} live hosts")
                    yield fleet
            finally:
                await asyncio.gather(*(end(process, _END_WITHIN_S) for process in processes.values()))


@asynccontextmanager
async def browser(flags: Sequence[str] = ()) -> AsyncIterator[Any]:
    """Raises StageError where there is none."""
    if CHROMIUM is None:
        raise StageError("there is no chromium on the path: apt-get install chromium")
    async with async_playwright() as driver:
        chromium = await driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        try:
            yield chromium
        finally:
            await chromium.close()


async def until(condition: Callable[[], Awaitable[bool]], what: str, within_s: float = READY_WITHIN_S) -> None:
    """Raises StageError."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                if await condition():
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise StageError(f"no {what} within {within_s:g} s") from None
