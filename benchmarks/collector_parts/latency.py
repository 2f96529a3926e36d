"""How long after Docker's own event a client of an edge knows that a container has ended."""

import asyncio
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from benchmarks.collector_parts.engine import LABEL, DockerEvent, Engine, heard
from benchmarks.collector_parts.ours import WATCHED, collectors
from benchmarks.collector_parts.report import Target, at_most
from benchmarks.collector_parts.viewer import Viewer, viewer
from common.models import ContainerState
from common.protocol import ContainersMessage, EventMessage

P99_MS = 400.0
WITHIN_S = 5.0
"""What has not come by then counts as missed."""

_SETTLE_S = 3.0


@dataclass(frozen=True)
class Options:
    stops: int = 50
    idle_s: tuple[float, float] = (0.5, 1.5)
    """Between two stops, at least and at most: when the next one comes fits no clock of the collectors."""
    seed: int = 1
    log: BinaryIO | None = None


@dataclass
class Findings:
    """Milliseconds from when the harness heard Docker's `die` to when the client had the message, negative where that
    came first; None where it did not come."""

    containers: int
    event_ms: list[float | None] = field(default_factory=list)
    list_ms: list[float | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def series(self) -> dict[str, list[float | None]]:
        return {"the `event` message": self.event_ms, "the `containers` message": self.list_ms}

    def targets(self) -> list[Target]:
        return [
            at_most(
                f"docker stop to {name}: p99 at most {P99_MS:g} ms after docker events",
                percentile(delays, 99),
                P99_MS,
                " ms",
                0,
            )
            for name, delays in self.series().items()
        ]


def percentile(delays: Sequence[float | None], percent: int) -> float | None:
    """What was missed took for ever."""
    if not delays:
        return None
    ordered = sorted(float("inf") if delay is None else delay for delay in delays)
    if ordered[-1] == float("inf") or len(ordered) == 1:
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
    return statistics.quantiles(ordered, n=100, method="inclusive")[percent - 1]


async def measure(
    engine: Engine, run: str, made: Mapping[str, str], options: Options, say: Callable[[str], None]
) -> Findings:
    """`made`: the containers of the run, name → id. Raises NotReadyError."""
    findings = Findings(len(made))
    ids = list(made.values())
    dice = random.Random(options.seed)  # noqa: S311 - so that two runs are alike
    async with collectors(with_edge=True, log=options.log) as ours:
        await ours.until(lambda: ours.sees(ids), "the collectors do not see all containers")
        channels = ["events", "hosts", *WATCHED]
        async with (
            engine.events(f"label={LABEL}={run}") as docker,
            viewer(ours.url, channels) as seen,
            ours.watched(),
        ):
            await asyncio.sleep(_SETTLE_S)
            for number in range(options.stops):
                victim = ids[number % len(ids)]
                await asyncio.sleep(dice.uniform(*options.idle_s))
                died = docker.first(lambda event, id=victim: _is(event, id, "die"))  # type: ignore[misc]
                told = seen.events.first(lambda event, id=victim: _to(event, id, "exited"))  # type: ignore[misc]
                listed = seen.lists.first(lambda found, id=victim: _has(found, id, "exited"))  # type: ignore[misc]
                await engine.stop(victim)
                died_s = await heard(died, WITHIN_S)
                told_s, listed_s = await asyncio.gather(heard(told, WITHIN_S), heard(listed, WITHIN_S))
                if died_s is None:
                    findings.notes.append(f"stop {number + 1}: docker events did not show it")
                else:
                    findings.event_ms.append(None if told_s is None else (told_s - died_s) * 1000)
                    findings.list_ms.append(None if listed_s is None else (listed_s - died_s) * 1000)
                await _start_again(engine, seen, victim)
                if (number + 1) % 10 == 0:
                    say(f"latency: {number + 1} of {options.stops} stops")
            findings.notes += [*seen.errors, *ours.errors()]
            ours.check()
    return findings


async def _start_again(engine: Engine, seen: Viewer, victim: str) -> None:
    running = seen.lists.first(lambda found: _has(found, victim, "running"))
    await engine.start(victim)
    await heard(running, WITHIN_S)


def _is(event: DockerEvent, container_id: str, action: str) -> bool:
    return event.container_id == container_id and event.action == action


def _to(event: EventMessage, container_id: str, state: ContainerState) -> bool:
    return event.container_id == container_id and event.to == state


def _has(listed: ContainersMessage, container_id: str, state: ContainerState) -> bool:
    return any(found.id == container_id and found.state == state for found in listed.data)
