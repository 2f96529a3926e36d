"""What has been told of each container, and what there is to tell: from Docker's events and from snapshots to
transitions. Pure.

Docker's events say each step and when; they may be lost. Snapshots say how things are; steps between two of them do not
show. So both are followed: an event moves a container on from what was told of it, and a snapshot tells whatever no
event did. Nothing is told twice: an event that is not later than what was told of its container is passed over.

Times are Docker's own, in nanoseconds.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from common.models import Container, ContainerState, Health
from services.collector.engine_events import EngineEvent

ALIVE = frozenset[ContainerState]({"running", "paused"})
_DOWN = frozenset[ContainerState]({"exited", "restarting", "removing", "dead"})
"""What a container may be found in that has died."""

_MS = 1_000_000


@dataclass(frozen=True)
class Transition:
    """One step of a container; see EventMessage."""

    container_id: str
    name: str
    before: ContainerState | None
    after: ContainerState | None
    at_ns: int | None
    """On Docker's clock; None where nobody saw when: some time before now."""
    exit_code: int | None = None
    oom_killed: bool | None = None
    health: Health | None = None


class _Told(NamedTuple):
    """What has been told of a container."""

    name: str
    state: ContainerState
    health: Health | None
    until_ns: int
    """Of all that happened up to then."""
    started_at: int | None
    """Names its run, as snapshots have it, in ms; None of a run that no snapshot has shown yet."""
    oom: bool = False
    """It ran out of memory in this run."""


class Transitions:
    """Of one host. Feed it events in their order, and then a snapshot that was asked for after they had come."""

    def __init__(self, before: Iterable[Container] = ()) -> None:
        """`before`: what was last told, by whoever told it."""
        self._told = {container.id: _told(container) for container in before}
        self._knows_all = bool(self._told)
        self._pending: list[Transition] = []

    def on_event(self, event: EngineEvent) -> None:
        """Moves its container on."""
        told = self._told.get(event.container_id)
        if told is None:
            if event.action == "create":
                self._pending.append(Transition(event.container_id, event.name, None, "created", event.at_ns))
                self._told[event.container_id] = _Told(event.name, "created", None, event.at_ns, None)
            return
        if event.at_ns <= told.until_ns:
            return
        told = told._replace(name=event.name or told.name)
        match event.action:
            case "start" if told.state not in ALIVE:
                self._move(event, told, "running")
            case "die" if told.state in ALIVE:
                self._move(event, told, "exited")
            case "pause" if told.state == "running":
                self._move(event, told, "paused")
            case "unpause" if told.state == "paused":
                self._move(event, told, "running")
            case "destroy":
                self._pending.append(Transition(event.container_id, told.name, told.state, None, event.at_ns))
                del self._told[event.container_id]
            case "health_status" if told.state in ALIVE and event.health not in (None, "starting", told.health):
                self._pending.append(
                    Transition(event.container_id, told.name, told.state, told.state, event.at_ns, health=event.health)
                )
                self._told[event.container_id] = told._replace(health=event.health, until_ns=event.at_ns)
            case "oom":
                self._told[event.container_id] = told._replace(oom=True)
            case _:
                self._told[event.container_id] = told

    def _move(self, event: EngineEvent, told: _Told, state: ContainerState) -> None:
        begins = state == "running" and told.state not in ALIVE
        step = Transition(event.container_id, told.name, told.state, state, event.at_ns)
        if state == "exited":
            step = replace(step, exit_code=event.exit_code, oom_killed=True if told.oom and event.exit_code else None)
        self._pending.append(step)
        self._told[event.container_id] = told._replace(
            state=state,
            until_ns=event.at_ns,
            started_at=None if begins else told.started_at,
            health=told.health if state in ALIVE and not begins else None,
            oom=told.oom and not begins,
        )

    def on_snapshot(
        self, containers: Sequence[Container], unreadable: Collection[str] = (), moving: Collection[str] = ()
    ) -> set[str]:
        """Tells what no event did; returns the ids of those that it was about. `unreadable`: ids of those that are
        there too. `moving`: ids of those of which events have come since the snapshot was asked for; these will tell.
        The first snapshot of all, with nothing to compare it with, tells nothing."""
        pending = len(self._pending)
        for container in containers:
            if self._knows_all and container.id in moving:
                continue
            told = self._told.get(container.id)
            if told is None:
                if self._knows_all:
                    at_ns = _ns(container.created_at) if container.state == "created" else _ns(container.started_at)
                    self._pending.append(_step(container, None, at_ns))
                self._told[container.id] = _told(container)
            else:
                self._told[container.id] = self._compare(container, told)
        there = {*unreadable, *moving, *(container.id for container in containers)}
        for gone in [container_id for container_id in self._told if container_id not in there]:
            told = self._told.pop(gone)
            self._pending.append(Transition(gone, told.name, told.state, None, None))
        self._knows_all = True
        return {step.container_id for step in self._pending[pending:]}

    def _compare(self, container: Container, told: _Told) -> _Told:
        """What is to be told of a container that is known, from what was told of it to what it is."""
        is_other_run = told.started_at is not None and container.started_at not in (None, told.started_at)
        if is_other_run:
            if told.state in ALIVE:
                self._pending.append(Transition(container.id, container.name, told.state, "exited", None))
                told = told._replace(state="exited", oom=False)
            begun = Transition(container.id, container.name, told.state, "running", _ns(container.started_at))
            self._pending.append(begun)
            told = told._replace(state="running", health=None, until_ns=max(told.until_ns, begun.at_ns or 0))
        if container.state != told.state:
            if not (told.state == "exited" and container.state in _DOWN and self._amend(container)):
                at_ns = _ns(container.finished_at) if container.state in _DOWN and told.state in ALIVE else None
                self._pending.append(_step(container, told.state, at_ns))
        elif container.health not in (None, "starting", told.health):
            self._pending.append(
                Transition(container.id, container.name, told.state, told.state, None, health=container.health)
            )
        elif container.state == "exited":
            self._amend(container)
        return _told(container, told.until_ns, oom=told.oom)

    def _amend(self, container: Container) -> bool:
        """Adds what the inspection says to the container's last step, where that was its end: what it is in now, and
        whether memory was the reason. False where there is no such step."""
        for index in range(len(self._pending) - 1, -1, -1):
            step = self._pending[index]
            if step.container_id == container.id:
                if step.after != "exited":
                    return False
                exit_code = step.exit_code if step.exit_code is not None else container.exit_code
                oom_killed = True if container.oom_killed else None
                self._pending[index] = replace(
                    step, after=container.state, exit_code=exit_code, oom_killed=oom_killed or step.oom_killed
                )
                return True
        return False

    def take(self) -> list[Transition]:
        """What there is to tell, in its order; it is taken as told."""
        pending, self._pending = self._pending, []
        return pending


def _step(container: Container, before: ContainerState | None, at_ns: int | None) -> Transition:
    """From something to what a container is."""
    ended = container.state in _DOWN
    return Transition(
        container.id,
        container.name,
        before,
        container.state,
        at_ns,
        exit_code=container.exit_code if ended else None,
        oom_killed=True if ended and container.oom_killed else None,
        health=container.health if container.health != "starting" else None,
    )


def _told(container: Container, until_ns: int = 0, *, oom: bool = False) -> _Told:
    times = (container.created_at, container.started_at or 0, container.finished_at or 0)
    until_ns = max(until_ns, max(times) * _MS)
    return _Told(container.name, container.state, container.health, until_ns, container.started_at, oom)


def _ns(at_ms: int | None) -> int | None:
    return at_ms * _MS if at_ms is not None else None


def to_ms(at_ns: int | None, offset_ms: int, now_ms: int) -> int:
    """A transition's time on Redis' clock, which is ahead of Docker's by `offset_ms`; never later than now."""
    return now_ms if at_ns is None else max(0, min(now_ms, at_ns // _MS + offset_ms))
