"""Actions while executor, edges and Redis are killed in turn, and the books of what came of them.

Only processes of the run's own `fleetcast up` are killed, by their ids; it brings them back.
"""

import asyncio
import random
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import psutil

from benchmarks.actions_parts.books import (
    TRUTH,
    DockerEvent,
    Evidence,
    Violation,
    Window,
    audit,
    latest_begin_ms,
    match,
)
from benchmarks.actions_parts.client import Client
from benchmarks.actions_parts.containers import containers
from benchmarks.actions_parts.plan import Lane, Step, plan
from benchmarks.actions_parts.stage import ALLOW_ALL, HOST, NO_RATE_LIMIT, Stage, staged
from benchmarks.actions_parts.witness import Witness
from common.models import FINAL_STATUSES, ActionKey
from common.protocol import ContainerAck

PATIENCE_S = 150.0
"""No action has ended for so long: those that are left will not end."""

SAY_EVERY_S = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How much of it."""

    actions: int = 1_000
    containers: int = 20
    clients: int = 4
    edges: int = 2
    kill_every_s: float = 3.0
    """Between two kills, on average. Much shorter, and `up` waits so long before it starts something again that little
    but outages is left."""
    seed: int = 1
    """Of the plan and the times of kills. What happens in between is not repeatable."""
    log: BinaryIO | None = None


@dataclass
class Findings:
    """What came of a run."""

    actions: int
    took_s: float = 0.0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(verb, status) → actions."""
    kills: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    """Every action that was begun, for whoever looks into a violation."""
    events: list[DockerEvent] = field(default_factory=list)
    """All of them, likewise."""

    def story(self) -> str:
        """What was begun on the containers that the violations are of, a line each: who did not see the run can tell
        from it whether an action, Docker or the books were wrong."""
        texts = [violation.text for violation in self.violations]
        concerned = {
            window.record.container_id
            for window in self.windows
            if any(window.record.request_id in text or window.record.container_id[:12] in text for text in texts)
        }
        windows = sorted(self.windows, key=lambda window: (window.record.container_id, window.begin_ms))
        return "\n".join([*texts, *(str(window) for window in windows if window.record.container_id in concerned)])


class Chaos:
    """One run, with everything it needs there already."""

    def __init__(self, options: Options, stage: Stage, witness: Witness, container_ids: list[str], say: Say) -> None:
        self._options = options
        self._stage = stage
        self._witness = witness
        self._say = say
        self._dice = random.Random(options.seed)  # noqa: S311 - no secrets
        self._container_ids = container_ids
        self._lanes = plan(container_ids, options.actions, options.clients, self._dice)
        self._clients = [Client(stage.urls, number) for number in range(options.clients)]
        self._refused: list[Violation] = []
        self._settled = 0
        self._settled_at = time.monotonic()
        self._executor_killed_ms: list[float] = []
        self._findings = Findings(options.actions)

    async def run(self) -> Findings:
        began = time.monotonic()
        await self._witness.look_at(self._container_ids)
        async with asyncio.TaskGroup() as background:
            running = [background.create_task(client.run()) for client in self._clients]
            killing = background.create_task(self._kill_in_turn())
            telling = background.create_task(self._tell(began))
            await self._walk()
            self._findings.took_s = time.monotonic() - began
            for task in (killing, telling, *running):
                task.cancel()
        self._say("everything is settled, or given up; waiting for all parts to be there")
        await self._stage.ready()
        self._close(await self._gather())
        return self._findings

    async def _walk(self) -> None:
        """All lanes to their ends, or until nothing has come to an end for PATIENCE_S."""
        lanes = [asyncio.create_task(self._follow(lane)) for lane in self._lanes]
        try:
            while any(not lane.done() for lane in lanes):
                await asyncio.wait(lanes, timeout=1.0)
                if time.monotonic() - self._settled_at > PATIENCE_S:
                    self._say(f"nothing has come to an end for {PATIENCE_S:g} s: giving up")
                    return
            for lane in lanes:
                lane.result()
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.wait(lanes)

    async def _follow(self, lane: Lane) -> None:
        for step in lane.steps:
            askers = [self._clients[lane.client]]
            if step.twice:
                askers.append(self._clients[(lane.client + 1) % len(self._clients)])
            for answer in await asyncio.gather(*(asker.act(step.message(HOST)) for asker in askers)):
                if not isinstance(answer, ContainerAck):
                    said = f"{step.request_id} {step.verb}: {answer.code}, {answer.message}"
                    self._refused.append(Violation("refused for good", said))
            self._settled += 1
            self._settled_at = time.monotonic()

    async def _kill_in_turn(self) -> None:
        """Round after round, each in another order, so that every outage meets every other one. What is still on its
        way back when its turn comes is passed over."""
        while True:
            parts = ["executor", "redis", *self._stage.edges]
            self._dice.shuffle(parts)
            for part in parts:
                await self._kill_next(part)

    async def _kill_next(self, part: str) -> None:
        await asyncio.sleep(self._options.kill_every_s * self._dice.uniform(0.7, 1.3))
        process = self._stage.process(part)
        if process is None:
            return
        try:
            process.kill()
        except psutil.NoSuchProcess:
            return
        kind = part.partition("-")[0]
        self._findings.kills[kind] += 1
        if kind == "executor":
            self._executor_killed_ms.append(time.time() * 1000)

    async def _tell(self, began: float) -> None:
        while True:
            await asyncio.sleep(SAY_EVERY_S)
            self._say(
                f"{self._settled} of {self._options.actions} actions settled after {time.monotonic() - began:.0f} s, "
                f"killed: {_listed(self._findings.kills)}"
            )

    async def _gather(self) -> Evidence:
        """Everybody's word, once nothing is under way any more."""
        steps: dict[ActionKey, Step] = {step.key(HOST): step for lane in self._lanes for step in lane.steps}
        await self._wait_for_empty_stream()
        await self._witness.look_at(self._container_ids)
        await self._witness.catch_up(self._container_ids[0])
        answers = {TRUTH: await self._stage.records(list(steps))}
        for number, name in enumerate(self._stage.edges):
            answers[name] = await self._stage.answers(number, steps)
        heard = defaultdict(list)
        for client in self._clients:
            for request_id, statuses in client.heard.items():
                heard[ActionKey(HOST, request_id)].append(statuses)
        return Evidence(
            steps=steps,
            heard=heard,
            answers=answers,
            audit=await self._stage.audit(),
            events=self._witness.events,
            started_at={id: frozenset(seen) for id, seen in self._witness.started_at.items()},
        )

    async def _wait_for_empty_stream(self, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while left := await self._stage.left_in_stream():
            if time.monotonic() > deadline:
                text = f"{left} orders, {within_s:g} s after the last outcome"
                self._findings.violations.append(Violation("left in the stream", text))
                return
            await asyncio.sleep(0.2)

    def _close(self, evidence: Evidence) -> None:
        """Closes the books."""
        found = self._findings
        found.violations += [
            *self._refused,
            *audit(evidence),
            *(Violation("a part failed", line) for line in self._stage.errors()),
        ]
        for record in evidence.answers[TRUTH].values():
            if record is not None and record.status in FINAL_STATUSES:
                found.outcomes[record.action, record.status] += 1
        windows, _ = match(evidence)
        found.windows, found.events = windows, list(evidence.events)
        kinds = Counter(event.kind for event in evidence.events)
        found.figures = {
            "events": dict(sorted(kinds.items())),
            "changes_of_started_at": sum(len(seen) - 1 for seen in evidence.started_at.values()),
            "succeeded_without_change": sum(
                bool(record and record.noop) for record in evidence.answers[TRUTH].values()
            ),
            "interrupted": sum(
                any(window.begin_ms <= killed_ms <= window.end_ms for killed_ms in self._executor_killed_ms)
                for window in windows
            ),
            "latest_begin_after_deadline_ms": latest_begin_ms(windows),
            "asked_for_by_two_clients": sum(step.twice for step in evidence.steps.values()),
            "messages_sent": sum(client.sent for client in self._clients),
            "connections": sum(client.connections for client in self._clients),
            "told_only_when_asked": sum(client.reminders for client in self._clients),
        }


async def run_chaos(options: Options, say: Say) -> Findings:
    """Starts everything, runs, and ends everything, whatever happens. Raises NotReadyError and DockerFailedError."""
    run = uuid.uuid4().hex[:8]
    async with AsyncExitStack() as stack:
        say(f"starting {options.containers} containers and `fleetcast up` with {options.edges} edges")
        container_ids = await stack.enter_async_context(containers(run, options.containers))
        stage = await stack.enter_async_context(staged(options.edges, {**ALLOW_ALL, **NO_RATE_LIMIT}, options.log))
        witness = await stack.enter_async_context(Witness(run))
        findings = await Chaos(options, stage, witness, container_ids, say).run()
        say("removing the containers, ending all processes")
    return findings


def _listed(kills: Counter[str]) -> str:
    return ", ".join(f"{part} {count}" for part, count in sorted(kills.items())) or "none yet"
