"""The load client, as the harness sees it."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any, Self

from benchmarks.fanout_parts.machine import ROOT

LINE_LIMIT = 1 << 22


class LoadClientError(Exception):
    """The load client could not do what it was told."""


class LoadClient:
    """An async context manager: the process runs inside."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int:
        return self._running.pid

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.fanout_parts.load"), stdin=PIPE, stdout=PIPE, cwd=ROOT, limit=LINE_LIMIT
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Its end of stdin tells it to end."""
        process = self._running
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def open(self, group: str, clients: int, *, within_s: float = 120, **options: Any) -> None:
        """Until all are open; what `options` are is said in load.py. Raises LoadClientError."""
        answer = await self.ask("open", within_s, group=group, clients=clients, **options)
        if "failed" in answer:
            raise LoadClientError(f"a client could not connect: {answer['failed']}")

    async def report(self, body_bytes: int = 0, host: str = "") -> dict[str, Any]:
        """Group → what it has seen since the mark."""
        return await self.ask("report", body_bytes=body_bytes, host=host)

    async def ask(self, command: str, within_s: float = 60, **fields: Any) -> dict[str, Any]:
        process = self._running
        assert process.stdin is not None
        assert process.stdout is not None
        async with self._turn:
            process.stdin.write(json.dumps({"do": command, **fields}).encode() + b"\n")
            try:
                async with asyncio.timeout(within_s):
                    line = await process.stdout.readline()
            except TimeoutError:
                raise LoadClientError(f"{command}: no answer within {within_s:g} s") from None
        if not line:
            raise LoadClientError(f"{command}: the load client ended with exit code {await process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise RuntimeError("the load client was not started")
        return self._process
