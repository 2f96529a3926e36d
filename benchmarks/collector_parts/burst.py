"""Very many containers that come and go at once, and others that stay: does anybody lose sight of those?

What is done to the survivors is known here, for nobody else does anything to them: it is what the client must have been
told, each transition, in order.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

from benchmarks.collector_parts.engine import LABEL, Engine, bounded
from benchmarks.collector_parts.meter import EngineProcesses, Reading, memory_bytes, read, tree
from benchmarks.collector_parts.ours import COLLECTORS, WATCHED, Ours, collectors
from benchmarks.collector_parts.report import Target, at_most
from benchmarks.collector_parts.usage import MEMORY_MB
from benchmarks.collector_parts.viewer import Viewer, viewer
from common.docker import parse_time
from common.models import Container, ContainerState

BUSY_PERCENT = 50.0

REPAIR_WITHIN_S = 45.0
"""The full list that repairs what was lost is made every 30 s."""

_SETTLE_S = 3.0
_KILLED = 137


@dataclass(frozen=True)
class Options:
    burst: int = 200
    survivors: int = 20
    at_once: int = 16
    seed: int = 1
    log: BinaryIO | None = None


class Transition(NamedTuple):
    to: ContainerState | None
    exit_code: int | None


_ENDED = Transition("exited", _KILLED)
_BEGUN = Transition("running", None)


@dataclass
class Findings:
    burst: int
    survivors: int
    took_s: float = 0.0
    transitions: int = 0
    """Of survivors, all in all."""
    docker_events: int = 0
    """Of those, the ones that `docker events` showed."""
    missed: int = 0
    invented: int = 0
    differing: list[str] = field(default_factory=list)
    """Where the client's view of a survivor, or of who is there at all, is not Docker's, after the repair."""
    equal_after_s: float | None = None
    """From the end of the burst; None where it never was."""
    cpu_percent: dict[str, float] = field(default_factory=dict)
    """Of one core, over the burst, by group; `peak` is the busiest second of both collectors together."""
    memory_bytes: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """Messages to the client, by type."""
    notes: list[str] = field(default_factory=list)

    def targets(self) -> list[Target]:
        return [
            at_most(f"transitions of survivors missed, of {self.transitions}", self.missed, 0, digits=0),
            at_most("transitions told that were none", self.invented, 0, digits=0),
            at_most(
                "containers seen otherwise than Docker has them, after the repair", len(self.differing), 0, digits=0
            ),
            *(
                at_most(
                    f"CPU of the {name} collector in the burst at most {BUSY_PERCENT:g} %",
                    self.cpu_percent.get(name),
                    BUSY_PERCENT,
                    " %",
                    1,
                )
                for name in COLLECTORS
            ),
            *(
                at_most(
                    f"memory of the {name} collector after the burst at most {MEMORY_MB:g} MB",
                    self.memory_bytes.get(name, 0) / 1e6,
                    MEMORY_MB,
                    " MB",
                    1,
                )
                for name in COLLECTORS
            ),
        ]


async def measure(
    engine: Engine, run: str, made: Mapping[str, str], options: Options, say: Callable[[str], None]
) -> Findings:
    """`made`: the survivors, name → id. Raises NotReadyError."""
    findings = Findings(options.burst, len(made))
    survivors = list(made.values())
    processes = EngineProcesses(engine.socket_path)
    async with collectors(with_edge=True, log=options.log) as ours:
        await ours.until(lambda: ours.sees(survivors), "the collectors do not see all containers")
        async with (
            engine.events(*(f"container={id}" for id in survivors)) as docker,
            viewer(ours.url, ["events", "hosts", *WATCHED]) as seen,
            ours.watched(),
        ):
            await asyncio.sleep(_SETTLE_S)
            seen.events.all.clear()
            say(f"burst: {options.burst} containers come and go, {len(survivors)} stay")
            done, readings = await _burst(engine, run, ours, processes, survivors, options)
            ended_s = time.monotonic()
            findings.took_s = readings[-1].at_s - readings[0].at_s
            findings.cpu_percent = {**readings[-1].percent_since(readings[0]), "peak": _peak(readings)}
            expected = {id: transitions for id, transitions in done.items() if transitions}
            findings.transitions = sum(map(len, expected.values()))
            findings.differing, findings.equal_after_s = await _repaired(engine, seen, survivors, expected, ended_s)
            findings.docker_events = sum(event.action in {"die", "start"} for _, event in docker.all)
            for id in survivors:
                told, wanted = _told(seen, id), done[id]
                common = _common(wanted, told)
                findings.missed += len(wanted) - common
                findings.invented += len(told) - common
            findings.memory_bytes = {name: memory_bytes(pid) for name, pid in ours.pids.items()}
            findings.counts = dict(seen.counts)
            findings.notes += [*seen.errors, *ours.errors()]
            ours.check()
    return findings


async def _burst(
    engine: Engine, run: str, ours: Ours, processes: EngineProcesses, survivors: Sequence[str], options: Options
) -> tuple[dict[str, list[Transition]], list[Reading]]:
    """What was done to each survivor meanwhile, and CPU readings once a second from the beginning to the end."""
    groups = {name: tree(pid) for name, pid in ours.pids.items()}
    groups |= {"dockerd": [processes.dockerd], "containerd": [processes.containerd]}
    readings = [read(groups)]
    done: dict[str, list[Transition]] = {id: [] for id in survivors}
    over = asyncio.Event()

    async def come_and_go(number: int) -> None:
        await engine.remove(await engine.run(f"{LABEL}-{run}-burst-{number:04}", run, "none"))

    async def watch_cpu() -> None:
        while True:
            await asyncio.sleep(1.0)
            readings.append(read(groups))

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch_cpu())
        # Every second survivor is left alone.
        for number, id in enumerate(survivors[::2]):
            dice = random.Random(options.seed + number)  # noqa: S311 - so that two runs are alike
            tasks.create_task(_disturb(engine, id, done[id], dice, over, ends_stopped=number % 4 == 3))
        await bounded([lambda n=n: come_and_go(n) for n in range(options.burst)], options.at_once)  # type: ignore[misc]
        over.set()
        watching.cancel()
        readings.append(read(groups))
    return done, readings


async def _disturb(
    engine: Engine,
    container_id: str,
    done: list[Transition],
    dice: random.Random,
    over: asyncio.Event,
    *,
    ends_stopped: bool,
) -> None:
    """Restarts, stops and kills it, once at least and until it is over; notes what became of it."""
    while True:
        verb = dice.choice(("restart", "stop", "kill"))
        if verb == "restart":
            await engine.restart(container_id)
        else:
            await (engine.stop if verb == "stop" else engine.kill)(container_id)
            await asyncio.sleep(dice.uniform(0.0, 0.3))
            await engine.start(container_id)
        done += (_ENDED, _BEGUN)
        try:
            await asyncio.wait_for(over.wait(), dice.uniform(0.2, 2.0))
        except TimeoutError:
            continue
        break
    if ends_stopped:
        await engine.stop(container_id)
        done.append(_ENDED)


async def _repaired(
    engine: Engine, seen: Viewer, survivors: Sequence[str], expected: Mapping[str, list[Transition]], ended_s: float
) -> tuple[list[str], float | None]:
    """Waits for the client to see what Docker has, and to have been told all; what differs at the end of the time that
    this may take, and how long after `ended_s` nothing differed."""
    inspected = {id: await engine.inspect(id) for id in survivors}
    running = set(await engine.running())
    equal_after_s: float | None = None
    deadline_s = ended_s + REPAIR_WITHIN_S
    while True:
        differing = _differing(inspected, running, seen.containers)
        now_s = time.monotonic()
        if not differing and equal_after_s is None:
            equal_after_s = max(0.0, now_s - ended_s)
        elif differing:
            equal_after_s = None
        told = all(_told(seen, id) == transitions for id, transitions in expected.items())
        if (not differing and told) or now_s > deadline_s:
            return differing, equal_after_s
        await asyncio.sleep(0.1)


def _differing(
    inspected: Mapping[str, dict[str, Any]], running: set[str], containers: Mapping[str, Container]
) -> list[str]:
    """In words, one for each container. `running`: all that run at the engine."""
    found = [
        f"{known.name}: is there no more"
        for id, known in containers.items()
        if id not in inspected and id not in running and known.state == "running"
    ]
    for id, docker in inspected.items():
        known = containers.get(id)
        name = str(docker["Name"]).removeprefix("/")
        if known is None:
            found.append(f"{name}: not seen at all")
            continue
        state = docker["State"]
        theirs = (
            state["Status"],
            parse_time(state["StartedAt"]),
            parse_time(state["FinishedAt"]),
            None if state["Running"] else state["ExitCode"],
        )
        ours = (known.state, known.started_at, known.finished_at, known.exit_code)
        if theirs != ours:
            found.append(f"{name}: Docker says {theirs}, the client sees {ours}")
    return found


def _told(seen: Viewer, container_id: str) -> list[Transition]:
    """What the client was told of it; changes of health alone are none."""
    return [
        Transition(event.to, event.exit_code)
        for _, event in seen.events.all
        if event.container_id == container_id and event.from_ != event.to
    ]


def _common(wanted: Sequence[Transition], told: Sequence[Transition]) -> int:
    """Length of the longest sequence that is part of both, in order."""
    row = [0] * (len(told) + 1)
    for one in wanted:
        before = row[:]
        for place, other in enumerate(told, start=1):
            row[place] = before[place - 1] + 1 if one == other else max(before[place], row[place - 1])
    return row[-1]


def _peak(readings: Sequence[Reading]) -> float:
    spans = [after.percent_since(before) for before, after in pairwise(readings) if after.at_s - before.at_s > 0.5]
    return max((sum(used[name] for name in COLLECTORS) for used in spans), default=0.0)
