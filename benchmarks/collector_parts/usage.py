"""What it costs to know what the containers use: CPU of whoever asks, and of the engine that is asked.

The rows run in turn, round after round, so that whatever else happens on the machine hits all alike. Before and after
each of them nothing runs for as long, and what the engine uses then is subtracted from what it uses in the row: what
shims use by themselves changes within minutes, and after each system that has asked them something.
"""

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from benchmarks.collector_parts.engine import Engine
from benchmarks.collector_parts.meter import EngineProcesses, Groups, NotReadyError, memory_bytes, read, tree
from benchmarks.collector_parts.ours import COLLECTORS, Ours, collectors
from benchmarks.collector_parts.peers import Peer, docker_stats, glances, installed_glances
from benchmarks.collector_parts.report import Target, at_least, at_most


class Row(StrEnum):
    IDLE = "nothing but the containers"
    STATS = "docker stats"
    GLANCES = "glances"
    GLANCES_ONLY = "glances, only its container plugin"
    UNWATCHED = "fleetcast, unwatched"
    WATCHED = "fleetcast, watched"


OURS = (Row.UNWATCHED, Row.WATCHED)
GLANCES = (Row.GLANCES, Row.GLANCES_ONLY)

STATS_SHARE = 30
GLANCES_SHARE = 20
WATCHED_PERCENT = 2.0
UNWATCHED_PERCENT = 0.3
MEMORY_MB = 60.0
PERIOD_S = 30.0
"""Every shim frees its memory this often (its debug.FreeOSMemory, some 15 ms of CPU), and the collectors list all
containers this often: a window that is no multiple of it has more or less of both than its share."""

FAST_PER_S = 0.95
"""Of a clock that ticks once a second; one tick may fall just outside of a window."""
SLOW_PER_S = 0.2

_USAGE_WITHIN_S = 20.0
"""Longer than the time between two samples of what nobody watches."""


@dataclass(frozen=True)
class Options:
    rounds: int = 3
    seconds: float = PERIOD_S
    """Of each window."""
    settle_s: float = 5.0
    """From when all is seen to the beginning of the window."""
    rows: tuple[Row, ...] = tuple(Row)
    log: BinaryIO | None = None


class Window(NamedTuple):
    """What one row used in one round. CPU in percent of one core."""

    own: Mapping[str, float]
    """By process, what it has started with it."""
    engine: Mapping[str, float]
    """Of dockerd, containerd and the shims."""
    machine: float
    """Of everything on this machine, the containers too."""
    memory_bytes: Mapping[str, int]
    """Resident at the end, by process."""
    per_s: Mapping[str, float]
    """How often each kind of news came."""
    idle_before: int
    """So many windows in which nothing runs came before it."""


@dataclass
class Findings:
    containers: int
    options: Options
    rows: dict[Row, list[Window]] = field(default_factory=dict)
    missing: dict[Row, str] = field(default_factory=dict)
    """Why a row was left out."""
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def median(self, row: Row, of: Callable[[Window], float]) -> float | None:
        windows = self.rows.get(row)
        return statistics.median(map(of, windows)) if windows else None

    def engine_added(self, row: Row) -> list[float]:
        """What the engine used more than in the windows before and after, in which nothing ran."""
        if row is Row.IDLE:
            return []
        idle = [sum(window.engine.values()) for window in self.rows.get(Row.IDLE, ())]
        return [
            sum(window.engine.values()) - statistics.mean(idle[window.idle_before - 1 : window.idle_before + 1])
            for window in self.rows.get(row, ())
        ]

    def cost(self, row: Row) -> float | None:
        """Medians of own CPU and of what the engine used for it. Less than the engine uses idle counts as nothing, not
        as a gain."""
        own, added = self.median(row, lambda window: sum(window.own.values())), self.engine_added(row)
        return own + max(0.0, statistics.median(added)) if own is not None and added else None

    def targets(self) -> list[Target]:
        mine = self.cost(Row.WATCHED)
        targets = [
            self._share(mine, Row.STATS, STATS_SHARE),
            *(self._share(mine, row, GLANCES_SHARE) for row in GLANCES),
        ]
        for row, limit in ((Row.WATCHED, WATCHED_PERCENT), (Row.UNWATCHED, UNWATCHED_PERCENT)):
            for name in COLLECTORS:
                own = self.median(row, lambda window, name=name: window.own[name])  # type: ignore[misc]
                targets.append(at_most(f"{row}: the {name} collector's own CPU at most {limit:g} %", own, limit, " %"))
        for name in COLLECTORS:
            sizes = [window.memory_bytes[name] / 1e6 for row in OURS for window in self.rows.get(row, ())]
            targets.append(
                at_most(f"memory of the {name} collector at most {MEMORY_MB:g} MB", max(sizes, default=None), MEMORY_MB)
            )
        for kind in ("metrics", "usage"):
            fast = self.median(Row.WATCHED, lambda window, kind=kind: window.per_s[kind])  # type: ignore[misc]
            slow = self.median(Row.UNWATCHED, lambda window, kind=kind: window.per_s[kind])  # type: ignore[misc]
            targets.append(at_least(f"{Row.WATCHED}: {kind} every second", fast, FAST_PER_S, " a second"))
            targets.append(at_most(f"{Row.UNWATCHED}: {kind} rarely", slow, SLOW_PER_S, " a second"))
        return targets

    def _share(self, mine: float | None, row: Row, share: int) -> Target:
        theirs = self.cost(row)
        found = theirs / mine if mine and theirs is not None else None
        return at_least(f"{Row.WATCHED}: at most 1/{share} of {row}, with the engine's part", found, share, " times", 1)


class _Runs(NamedTuple):
    """A row while it runs."""

    pids: Mapping[str, int]
    counted: Callable[[], Any]
    """Awaitable: news of each kind so far."""
    check: Callable[[], Any]
    """Awaitable: what is wrong with it after the window, empty where nothing is. Raises NotReadyError."""


async def measure(engine: Engine, made: Mapping[str, str], options: Options, say: Callable[[str], None]) -> Findings:
    """`made`: the containers, name → id. Raises NotReadyError where ours do not run; a peer that does not is left out,
    loudly."""
    findings = Findings(len(made), options)
    findings.versions["docker"] = await engine.version()
    async with AsyncExitStack() as stack:
        binary = Path()
        if any(row in GLANCES for row in options.rows):
            say("installing glances from PyPI")
            try:
                binary, findings.versions["glances"] = await stack.enter_async_context(installed_glances())
            except NotReadyError as error:
                _leave_out(findings, GLANCES, str(error), say)
        others = len(set(await engine.running()) - set(made.values()))
        if others:
            findings.notes.append(f"{others} more containers run on this engine: everybody looks at those too")
        if options.seconds % PERIOD_S:
            findings.notes.append(f"the windows are no multiple of {PERIOD_S:g} s: the engine's figures mean nothing")
        processes = EngineProcesses(engine.socket_path)
        asking = [row for row in options.rows if row is not Row.IDLE]
        turns = [turn for _ in range(options.rounds) for row in asking for turn in (Row.IDLE, row)] + [Row.IDLE]
        for number, row in enumerate(turns, 1):
            if row in findings.missing:
                continue
            say(f"usage {number}/{len(turns)}: {row}")
            try:
                async with _running(row, binary, made, options.log) as runs:
                    await asyncio.sleep(options.settle_s)
                    running = await engine.running()
                    idle_before = len(findings.rows.get(Row.IDLE, ()))
                    window = await _window(runs, processes.groups(running), options.seconds, idle_before)
                    notes = await runs.check()
                    if set(await engine.running()) != set(running):
                        notes.append("other containers came or went meanwhile: the engine's figures are not ours")
            except NotReadyError as error:
                if row in OURS:
                    raise
                _leave_out(findings, (row,), str(error), say)
                continue
            findings.rows.setdefault(row, []).append(window)
            for note in notes:
                say(f"{row}: {note}")
                findings.notes.append(f"{row}, {number} of {len(turns)}: {note}")
    return findings


def _leave_out(findings: Findings, rows: tuple[Row, ...], why: str, say: Callable[[str], None]) -> None:
    for row in rows:
        findings.rows.pop(row, None)
        findings.missing[row] = why
        say(f"NOT MEASURED: {row}: {why}")


async def _window(runs: _Runs, engine: Groups, seconds: float, idle_before: int) -> Window:
    def groups() -> Groups:
        return {**{name: tree(pid) for name, pid in runs.pids.items()}, **engine}

    counts_before = await runs.counted()
    before = read(groups())
    await asyncio.sleep(seconds)
    after = read(groups())
    counts = await runs.counted()
    used = after.percent_since(before)
    return Window(
        own={name: used[name] for name in runs.pids},
        engine={name: used[name] for name in engine},
        machine=after.machine_percent_since(before),
        memory_bytes={name: memory_bytes(pid) for name, pid in runs.pids.items()},
        per_s={kind: (counts[kind] - counts_before[kind]) / (after.at_s - before.at_s) for kind in counts},
        idle_before=idle_before,
    )


def _running(
    row: Row, binary: Path, made: Mapping[str, str], log: BinaryIO | None
) -> AbstractAsyncContextManager[_Runs]:
    match row:
        case Row.IDLE:
            return _nothing()
        case Row.STATS:
            return _peer(docker_stats(), row, made)
        case Row.GLANCES | Row.GLANCES_ONLY:
            return _peer(glances(binary, only_containers=row is Row.GLANCES_ONLY), row, made)
        case Row.UNWATCHED | Row.WATCHED:
            return _ours(row, made, log)


@asynccontextmanager
async def _nothing() -> AsyncIterator[_Runs]:
    async def no_news() -> dict[str, int]:
        return {}

    async def fine() -> list[str]:
        return []

    yield _Runs({}, no_news, fine)


@asynccontextmanager
async def _peer(running: AbstractAsyncContextManager[Peer], row: Row, made: Mapping[str, str]) -> AsyncIterator[_Runs]:
    async with running as peer:

        async def rounds() -> dict[str, int]:
            return {"rounds": peer.rounds}

        async def check() -> list[str]:
            missing = peer.missing(made)
            return [f"lately it said nothing of {len(missing)} of {len(made)} containers"] if missing else []

        await peer.ready(list(made))
        yield _Runs({str(row): peer.pid}, rounds, check)


@asynccontextmanager
async def _ours(row: Row, made: Mapping[str, str], log: BinaryIO | None) -> AsyncIterator[_Runs]:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(collectors(log=log))
        ids = list(made.values())
        await ours.until(lambda: ours.sees(ids), "the collectors do not see all containers")
        if row is Row.WATCHED:
            await stack.enter_async_context(ours.watched())
        unseen = await _usage_missing(ours, ids)

        async def check() -> list[str]:
            ours.check()
            return [*([unseen] if unseen else []), *ours.errors()]

        yield _Runs(ours.pids, ours.published, check)


async def _usage_missing(ours: Ours, ids: list[str]) -> str | None:
    """What usage does not tell of these containers, in the time that it may take for a second sample."""
    problem: str | None = None

    async def complete() -> bool:
        nonlocal problem
        usage = await ours.usage()
        if usage is None:
            problem = "no usage is published"
            return False
        known = {id for id, cpu in zip(usage.ids, usage.cpu_percent, strict=True) if cpu is not None}
        missing = len(set(ids) - known)
        problem = f"usage has no CPU of {missing} of {len(ids)} containers" if missing else None
        return problem is None

    try:
        await ours.until(complete, "usage", _USAGE_WITHIN_S)
    except NotReadyError:
        ours.check()
    return problem
