"""Docker's own account of what happened to the containers of a run: its events, and what inspections show of starts."""

import asyncio
import json
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import defaultdict
from types import TracebackType
from typing import Self

from benchmarks.actions_parts.books import DockerEvent
from benchmarks.actions_parts.containers import LABEL, docker
from common.docker import Docker
from common.errors import DockerApiError, DockerUnreachableError
from common.setting_kinds import default_docker_host
from services.processes import end

_SENTINEL = "rename"
"""Nothing else here causes it: when it has come, so has everything before it."""


class Witness:
    """Listens while the context is open."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._docker = Docker(default_docker_host())
        self._process: Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._inspections = asyncio.TaskGroup()
        self._sentinel = asyncio.Event()
        self.events: list[DockerEvent] = []
        self.started_at: dict[str, set[str]] = defaultdict(set)
        """Container → every different StartedAt that was seen of it."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *("docker", "events", "--since", f"{time.time():.3f}", "--format", "{{json .}}"),
            *("--filter", "type=container", "--filter", f"label={LABEL}={self._run}"),
            stdout=PIPE,
            stderr=DEVNULL,
            start_new_session=True,
        )
        self._listening = asyncio.create_task(self._listen(), name="docker events")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._listening is not None
        self._listening.cancel()
        await asyncio.wait([self._listening])
        await end(self._process, 2.0)
        await self._docker.close()

    async def look_at(self, container_ids: list[str]) -> None:
        """Notes when each of them was started last."""
        for container_id in container_ids:
            await self._inspect(container_id)

    async def catch_up(self, container_id: str, within_s: float = 30.0) -> None:
        """Until everything that has happened so far has been heard of. Raises TimeoutError, and what listening failed
        with."""
        assert self._listening is not None
        if self._listening.done():
            self._listening.result()
        self._sentinel.clear()
        await docker("rename", container_id, f"{LABEL}-{self._run}-{time.monotonic_ns()}")
        async with asyncio.timeout(within_s):
            await self._sentinel.wait()

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async with self._inspections:
            async for line in self._process.stdout:
                said = json.loads(line)
                about = said["Actor"]["Attributes"]
                detail = about.get("signal") or about.get("exitCode", "")
                event = DockerEvent(said["Actor"]["ID"], said["Action"], said["timeNano"] / 1e6, detail)
                if event.kind == _SENTINEL:
                    self._sentinel.set()
                    continue
                self.events.append(event)
                if event.kind == "start":
                    self._inspections.create_task(self._inspect(event.container_id))

    async def _inspect(self, container_id: str) -> None:
        try:
            inspected = await self._docker.inspect(container_id)
        except (DockerUnreachableError, DockerApiError):
            return  # a start that was not seen here is still among the events
        self.started_at[container_id].add(str(inspected["State"]["StartedAt"]))
