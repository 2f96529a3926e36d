"""Whether what was asked for, what was said of it and what Docker did add up. Pure.

An executor does one thing at a time to a container, so what Docker did belongs to the action that was running then:
from when its record says that it began to when it was settled. Docker and Redis are on one machine here and share its
clock. Every rule that is broken gives a Violation for each action, or each event, that breaks it.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

from benchmarks.actions_parts.plan import Step
from common.models import FINAL_STATUSES, ActionKey, ActionRecord, ActionStatus, ActionVerb

TRUTH = "Redis"
"""Whose answers times are taken from."""

CLOCK_TOLERANCE_MS = 250
"""How far an executor's idea of Redis' clock, which records are dated by, may be off on a busy machine."""

BEGIN_WITHIN_MS = 1_000
"""A busy machine may take this long between a claim, which looks at the deadline, and Docker's first event."""

ECHO_WITHIN_MS = 1_000
"""Docker may say so long after the end of a pause that there was one more."""

_TRACES: Mapping[ActionVerb, Sequence[str]] = {
    "start": ("start",),
    "stop": ("unpause", "kill", "stop"),
    "restart": ("unpause", "kill", "stop", "start", "restart"),
    "kill": ("unpause", "kill"),
    "pause": ("pause",),
    "unpause": ("unpause",),
    "remove": ("kill", "destroy"),
}
"""The events that each verb may cause; the last one for certain, when it is done. `die` is none of them: it may come
after the answer to what caused it."""

_EVENTS = frozenset(chain.from_iterable(_TRACES.values()))


@dataclass(frozen=True)
class DockerEvent:
    container_id: str
    kind: str
    at_ms: float
    detail: str = ""
    """Of a `kill` its signal, of a `die` its exit code."""


@dataclass(frozen=True)
class Violation:
    """A rule, and what broke it."""

    rule: str
    text: str


@dataclass
class Evidence:
    """All that is known after a run."""

    steps: Mapping[ActionKey, Step]
    """What was asked for."""
    heard: Mapping[ActionKey, Sequence[Sequence[ActionStatus]]]
    """What each client that asked for it was told, in order."""
    answers: Mapping[str, Mapping[ActionKey, ActionRecord | None]]
    """Who was asked in the end (each edge, Redis itself) → its answers."""
    audit: Sequence[ActionRecord]
    events: Sequence[DockerEvent]
    started_at: Mapping[str, frozenset[str]]
    """Container → the different StartedAt that inspections have shown."""


@dataclass
class Window:
    """An action that was begun, and what Docker did meanwhile."""

    record: ActionRecord
    begin_ms: int
    end_ms: int
    events: list[DockerEvent] = field(default_factory=list)

    def is_off_by(self, at_ms: float) -> float:
        """How far a moment is outside of it, ms."""
        return max(0.0, self.begin_ms - at_ms, at_ms - self.end_ms)

    @property
    def is_over(self) -> bool:
        """What Docker has not done by then, it has left out: an ended container is restarted without a `kill`."""
        return any(event.kind == _TRACES[self.record.action][-1] for event in self.events)

    @property
    def owes(self) -> bool:
        """Whether there is more to come, by what was said of it."""
        return self.record.status == "succeeded" and not self.record.noop and not self.is_over

    def lacks(self, kind: str) -> bool:
        """Whether Docker may still do this in the course of it."""
        done = {event.kind for event in self.events}
        return kind in _TRACES[self.record.action] and kind not in done and not self.is_over

    def __str__(self) -> str:
        record = self.record
        done = ", ".join(f"{event.kind} {event.at_ms - self.begin_ms:+.0f}" for event in self.events) or "nothing"
        took = f"{self.begin_ms} +{self.end_ms - self.begin_ms} ms"
        said = f"{record.status}{' (noop)' if record.noop else ''}{f' ({record.error})' if record.error else ''}"
        return f"{record.request_id} {record.action} {record.container_id:.12} {said}, begun {took}: {done}"


def audit(evidence: Evidence) -> list[Violation]:
    """Everything that does not add up."""
    windows, strays = match(evidence)
    return [
        *_one_final_status(evidence),
        *_audited_once(evidence),
        *(Violation("Docker did what no action was running for", _describe(event)) for event in strays),
        *_done_as_said(windows),
        *_one_at_a_time(windows),
        *_in_time(windows),
        *_no_event_missed(evidence),
    ]


def match(evidence: Evidence) -> tuple[list[Window], list[DockerEvent]]:
    """Every action that was begun with what Docker did meanwhile, and what Docker did while none was running."""
    windows: dict[str, list[Window]] = defaultdict(list)
    for record in evidence.answers[TRUTH].values():
        if record is not None and record.started_at is not None:
            windows[record.container_id].append(Window(record, record.started_at, record.at))
    events: dict[str, list[DockerEvent]] = defaultdict(list)
    for event in evidence.events:
        if event.kind in _EVENTS:
            events[event.container_id].append(event)
    strays = []
    for container_id, done in events.items():
        of_container = windows[container_id]
        of_container.sort(key=lambda window: (window.begin_ms, window.end_ms))
        for event in _without_echoes(done, of_container):
            window = _window_of(event, of_container)
            (strays if window is None else window.events).append(event)
    return [window for of_container in windows.values() for window in of_container], strays


def _without_echoes(events: Sequence[DockerEvent], windows: Sequence[Window]) -> list[DockerEvent]:
    """What Docker did to one container, without the pauses that it says twice. What containerd tells of a pause and its
    end Docker takes for news where it comes late, after both: as another `pause` and `unpause`, right after the
    `unpause`. (Nobody but `POST .../pause` and `.../unpause`, in turn, on a busy machine: 2,309 pauses, 61 more said.)
    Only as many are left out as are beyond what was asked for, those first that follow soonest."""
    asked = sum(
        window.record.action == "pause" and window.record.status in {"succeeded", "unknown"} and not window.record.noop
        for window in windows
    )
    beyond = sum(event.kind == "pause" for event in events) - asked
    lengths = sorted(
        (last.at_ms - first.at_ms, at)
        for at, (first, again, last) in enumerate(zip(events, events[1:], events[2:], strict=False))
        if (first.kind, again.kind, last.kind) == ("unpause", "pause", "unpause")
    )
    echoes: set[int] = set()
    for length_ms, at in lengths:
        if len(echoes) < 2 * beyond and length_ms <= ECHO_WITHIN_MS and echoes.isdisjoint({at + 1, at + 2}):
            echoes |= {at + 1, at + 2}
    return [event for number, event in enumerate(events) if number not in echoes]


def latest_begin_ms(windows: Sequence[Window]) -> float | None:
    """By how much Docker's first event of an action came after the action's deadline, at most; negative: before."""
    return max((window.events[0].at_ms - window.record.deadline for window in windows if window.events), default=None)


def _window_of(event: DockerEvent, windows: Sequence[Window]) -> Window | None:
    """Of those that it is near to and that still lack such an event, the first that owes one, or else the first of all;
    where none lacks it, the nearest."""
    after = bisect_right(windows, event.at_ms, key=lambda window: window.begin_ms)
    around = windows[max(0, after - 2) : after + 1]
    near = [window for window in around if window.is_off_by(event.at_ms) <= CLOCK_TOLERANCE_MS]
    lacking = [window for window in near if window.lacks(event.kind)]
    if lacking:
        return next((window for window in lacking if window.owes), lacking[0])
    return min(near, key=lambda window: window.is_off_by(event.at_ms), default=None)


def _one_final_status(evidence: Evidence) -> Iterator[Violation]:
    """The client, both edges and the record say the same."""
    for key, step in evidence.steps.items():
        said: dict[str, str] = {}
        for who, answers in evidence.answers.items():
            record = answers.get(key)
            said[who] = record.status if record else "no such action"
            if record and (record.container_id, record.action) != (step.container_id, step.verb):
                yield Violation("another action than was asked for", f"{key} by {who}: {record}")
        for number, heard in enumerate(evidence.heard.get(key, [()]), start=1):
            finals = sorted({status for status in heard if status in FINAL_STATUSES})
            said[f"client {number}"] = " and ".join(finals) or "no final status"
            first_final = next((at for at, status in enumerate(heard) if status in FINAL_STATUSES), len(heard))
            if any(status not in FINAL_STATUSES for status in heard[first_final:]):
                yield Violation("a final status was taken back", f"{key} {step.verb}: {' → '.join(heard)}")
        if len(set(said.values())) > 1 or not set(said.values()) <= FINAL_STATUSES:
            told = ", ".join(f"{who}: {status}" for who, status in said.items())
            yield Violation("not one final status", f"{key} {step.verb}: {told}")


def _audited_once(evidence: Evidence) -> Iterator[Violation]:
    entries = defaultdict(list)
    for entry in evidence.audit:
        entries[entry.key].append(entry.status)
    for key, record in evidence.answers[TRUTH].items():
        found = entries.pop(key, [])
        if record is not None and found != [record.status]:
            yield Violation("not in the audit once", f"{key} {record.status}: the audit has {found}")
    for key, found in entries.items():
        yield Violation("in the audit, but never asked for", f"{key}: {found}")


def _done_as_said(windows: Sequence[Window]) -> Iterator[Violation]:
    """Succeeded is exactly once, or not at all where it was so already; unknown is at most once; the rest is never."""
    for window in windows:
        record = window.record
        kinds = Counter(event.kind for event in window.events)
        if foreign := kinds.keys() - set(_TRACES[record.action]):
            yield Violation("Docker did something else", f"{sorted(foreign)}: {window}")
        times = kinds[_TRACES[record.action][-1]]
        # A stop, and a restart's, is one `kill` for each of its two signals.
        if times > 1 or any(count > 1 for kind, count in kinds.items() if kind != "kill"):
            yield Violation("done twice", str(window))
        if record.status == "succeeded" and times != (0 if record.noop else 1):
            yield Violation("succeeded, but not done exactly once", str(window))
        if record.status in {"expired", "rejected"} and kinds:
            yield Violation(f"{record.status}, but Docker was touched", str(window))
        if record.status == "failed" and times:
            yield Violation("failed, but done", str(window))


def _one_at_a_time(windows: Sequence[Window]) -> Iterator[Violation]:
    for before, after in pairwise(windows):
        same = before.record.container_id == after.record.container_id
        if same and after.begin_ms < before.end_ms - CLOCK_TOLERANCE_MS:
            yield Violation("two at a time on one container", f"{before} / {after}")


def _in_time(windows: Sequence[Window]) -> Iterator[Violation]:
    for window in windows:
        deadline = window.record.deadline
        if window.begin_ms > deadline + CLOCK_TOLERANCE_MS:
            yield Violation("claimed after its deadline", f"by {window.begin_ms - deadline} ms: {window}")
        elif window.events and window.events[0].at_ms > deadline + BEGIN_WITHIN_MS:
            yield Violation("begun after its deadline", f"by {window.events[0].at_ms - deadline:.0f} ms: {window}")


def _no_event_missed(evidence: Evidence) -> Iterator[Violation]:
    """Two witnesses: a container has started as often as Docker says only if no more starts than that were seen."""
    starts = Counter(event.container_id for event in evidence.events if event.kind == "start")
    for container_id, seen in evidence.started_at.items():
        if len(seen) > starts[container_id] + 1:  # it was running before the events began
            yield Violation(
                "Docker's events miss a start",
                f"{container_id:.12}: {starts[container_id]} events, {len(seen) - 1} changes of StartedAt",
            )


def _describe(event: DockerEvent) -> str:
    return f"{event.kind} of {event.container_id:.12} at {event.at_ms:.0f}"
