"""One run: a bus of its own, one system that serves, one load client, and the figures of what they did."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from os import getpid
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchmarks.fanout_parts.bodies import Fleet
from benchmarks.fanout_parts.driver import LoadClient
from benchmarks.fanout_parts.machine import Cores, cpu_seconds, rss_bytes
from benchmarks.fanout_parts.publishing import Timetable, follow
from benchmarks.fanout_parts.systems import Serving, Site, System
from services.embedded import EmbeddedServer

Figures = dict[str, Any]
"""What one run found: numbers by name, and `notes`, a list of what makes them worth less."""

CLIENTS = "clients"
"""The group of connections that a workload is about."""

QUIET_S = 0.4
"""Nothing has come for so long: nothing more will."""

LATE_S = 0.25
"""A publisher behind its timetable by more than this has not published what the workload says."""

BOUND = 0.9
"""Share of a core above which whoever drives a system is what limits it."""


class NotPrimedError(Exception):
    """The clients of a system do not get what is published."""


class Usage(NamedTuple):
    """CPU seconds so far, and when that was."""

    at: float
    server: float
    load: float
    rest: float
    """Of the bus and of the harness, which publishes."""

    def since(self, before: "Usage") -> "Usage":
        return Usage(*(now - then for now, then in zip(self, before, strict=True)))


@dataclass
class Stage:
    """What a workload plays on."""

    site: Site
    system: System
    serving: Serving
    load: LoadClient

    async def open(
        self, clients: int, *, group: str = CLIENTS, probes: int, channels: tuple[str, ...], **kind: Any
    ) -> None:
        """Clients that are connected and have asked for their channels; `kind` is of connection.Kind."""
        options = {"dialect": self.system.dialect, "ports": self.serving.ports, "channels": channels, **kind}
        await self.load.open(group, clients, probes=min(probes, clients), **options)

    def usage(self) -> Usage:
        rest = [getpid()] + ([self.site.valkey.pid] if self.site.valkey.pid else [])
        return Usage(time.monotonic(), cpu_seconds(self.serving.pids), cpu_seconds([self.load.pid]), cpu_seconds(rest))

    def rss(self) -> int:
        return rss_bytes(self.serving.pids)

    async def mark(self) -> None:
        """Starts the figures of the clients anew."""
        await self.load.ask("mark")

    async def report(self, fleet: Fleet, group: str = CLIENTS) -> dict[str, Any]:
        """What a group of clients has seen since the mark; the keys are those of load.report."""
        found: dict[str, Any] = (await self.load.report(fleet.body_bytes, fleet.hosts[0]))[group]
        return found

    async def settle(self, fleet: Fleet, *, until: float = float("inf"), within_s: float = 3.0) -> dict[str, Any]:
        """The report once so many bodies have come, or nothing more comes, or `within_s` have passed."""
        deadline = time.monotonic() + within_s
        quiet_since, before = time.monotonic(), -1
        while True:
            seen = await self.report(fleet)
            now = time.monotonic()
            if seen["delivered"] != before:
                quiet_since, before = now, seen["delivered"]
            if before >= until or now - quiet_since >= QUIET_S or now >= deadline:
                return seen
            await asyncio.sleep(0.05)

    async def rest(self, within_s: float = 10.0) -> None:
        """Until the server has little to do."""
        deadline = time.monotonic() + within_s
        busy = True
        while busy and time.monotonic() < deadline:
            before = self.usage()
            await asyncio.sleep(0.25)
            used = self.usage().since(before)
            busy = used.server / used.at > 0.3

    async def prime(self, fleet: Fleet, timetable: Timetable, within_s: float = 60.0) -> None:
        """Publishes until everybody gets something of every host: the subscriptions reach all the way. Raises
        NotPrimedError."""
        deadline = time.monotonic() + within_s
        seen = await self.settle(fleet)
        while time.monotonic() < deadline:
            await self.mark()
            await follow(timetable, self.serving.publisher, timetable.period_s)
            seen = await self.settle(fleet)
            if seen["least_frames"] and seen["hosts"] == len(fleet.hosts):
                return
        raise NotPrimedError(f"of {len(fleet.hosts)} hosts a probe saw {seen['hosts']}; closed: {seen['closes']}")

    async def play(self, fleet: Fleet, timetable: Timetable, seconds: float, clients: int) -> Figures:
        """Publishes by the timetable to primed clients, so many, that get every state, and says what that took."""
        await self.mark()
        before = self.usage()
        published = await follow(timetable, self.serving.publisher, seconds)
        expected = published.states * clients
        seen = await self.settle(fleet, until=expected)
        used = self.usage().since(before)
        figures: Figures = {
            "us_per_delivery": used.server / seen["delivered"] * 1e6 if seen["delivered"] else None,
            "delivered": seen["delivered"] / expected,
            "published": published.states,
            "deliveries": seen["delivered"],
            "wire_mb": seen["wire_bytes"] / 1e6,
            "server_cpu_s": used.server,
            "disordered": seen["disordered"],
            "closes": seen["closes"],
            "late_s": published.late_s,
            **ages(seen),
            **self.shares(used),
        }
        if published.late_s > LATE_S:
            figures["notes"].append(f"published {published.late_s:.1f} s late")
        if seen["closes"]:
            figures["notes"].append(f"closed: {seen['closes']}")
        return figures

    def shares(self, used: Usage) -> Figures:
        """How busy everybody's cores were, with a note where that was too much to trust the rest."""
        rest_of_cores = (used.load + used.rest) / used.at / max(1, len(self.site.cores.others))
        notes = []
        if used.load / used.at > BOUND:
            notes.append("client-bound")
        elif rest_of_cores > BOUND:
            notes.append("crowded beside the server")
        return {
            "server_share": used.server / used.at,
            "load_share": used.load / used.at,
            "rest_share": used.rest / used.at,
            "notes": notes,
        }


def ages(seen: dict[str, Any]) -> Figures:
    found = seen["ages_ms"]
    return {"p50_ms": found.get("p50"), "p99_ms": found.get("p99"), "max_ms": found.get("max")}


class Sampler:
    """Takes a value every so often while the context is open."""

    def __init__(self, take: Callable[[], float], every_s: float = 0.25) -> None:
        self._take = take
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self.values: list[float] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        self.values.append(self._take())

    async def _run(self) -> None:
        while True:
            self.values.append(self._take())
            await asyncio.sleep(self._every_s)


@asynccontextmanager
async def staged(system: System, cores: Cores, tools: Path) -> AsyncIterator[Stage]:
    """A system that serves, with all that is needed to drive it. Call it from a thread that is on the other cores."""
    with tempfile.TemporaryDirectory(prefix="fanout-") as directory:
        async with EmbeddedServer(Path(directory)) as valkey:
            site = Site(cores, valkey, Path(directory), tools)
            # The load client ends last: a server that closes ten thousand connections is none of its business.
            async with LoadClient() as load, system.serving(site) as serving:
                yield Stage(site, system, serving, load)
