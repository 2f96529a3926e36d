"""What is known of a host's containers between two lists: which have to be inspected again, and what to publish. Pure.

An inspection costs the engine about a millisecond, a list of any length two. So one is made only where it may say
something new: of a container that is new, that an event names, whose state is another one, or whose status text
betrays what no event has told. Docker's text says for how long a container has been up, and with what it ended: one
that has been up for less than the time since it was last inspected has been started anew.
"""

import logging
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from common.errors import MalformedError
from common.models import Container
from common.protection import Facts, Protection, facts_of_listed
from common.telemetry import malformed
from services.collector.snapshot import (
    NOTHING_SAID,
    Inspected,
    LabelFilter,
    Listed,
    as_inspected,
    describe,
    read_inspected,
    read_listed,
)

logger = logging.getLogger(__name__)

Inspection = Mapping[str, Any] | None
"""What Docker answered; None where the container was gone by then."""

_NOT_ASKED: Inspection = {}

_FOR = re.compile(
    r"(?:Up|(?:Exited|Restarting) \(-?\d+\)) "
    r"(?:About |Less than )?(an?|\d{1,5}) (second|minute|hour|day|week|month|year)s?\b"
)
_UNIT_S = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
    "week": 604_800,
    "month": 2_678_400,
    "year": 31_622_400,
}

_SLACK_S = 2.0
"""Between Docker's clock, which counts whole seconds, and ours."""

_YOUNG_S = 5.0
_SETTLED_S = 4.0
"""A change right after another one does not show in the text. Who was inspected when young is inspected once more."""


class Entry(NamedTuple):
    """A container in a list."""

    raw: Mapping[str, Any]
    listed: Listed
    facts: Facts


@dataclass(frozen=True)
class _Known:
    inspected: Inspected
    entry: Entry
    """The list's, for which it was inspected or which said nothing new since."""
    inspected_at_s: float
    was_young: bool


class Inventory:
    """Of one host, fed with list after list. Times are monotonic seconds."""

    def __init__(self, label_filter: LabelFilter) -> None:
        self._label_filter = label_filter
        self._known: dict[str, _Known] = {}
        self._doubted: set[str] = set()
        """Those that may have changed unseen since they were inspected."""
        self._described: dict[str, tuple[_Known, Protection, Container]] = {}
        self._said: set[str] = set()
        """Ids of containers that could not be read, as far as they are still listed."""
        self.unreadable: frozenset[str] = frozenset()
        """Ids of the last list's containers that are not in its snapshot."""

    def doubt(self) -> None:
        """Changes may have been missed: everything is inspected anew."""
        self._doubted.update(self._known)

    def read(self, raw_list: Iterable[Mapping[str, Any]]) -> list[Entry]:
        """The entries of a list that can be read."""
        raw_list = list(raw_list)
        self._said &= {_claimed_id(raw) for raw in raw_list}
        entries = []
        unreadable = set()
        for raw in raw_list:
            known = self._known.get(_claimed_id(raw))
            if known is not None and known.entry.raw == raw:
                entries.append(known.entry)
                continue
            try:
                entries.append(Entry(raw, read_listed(raw), facts_of_listed(raw)))
            except MalformedError as error:
                unreadable.add(_claimed_id(raw))
                self._skip(_claimed_id(raw), error)
        self.unreadable = frozenset(unreadable)
        return entries

    def to_inspect(self, entries: Sequence[Entry], named: Collection[str], now_s: float) -> list[str]:
        """Ids of those that the last inspection may say nothing of any more; `named`: by events."""
        return [entry.listed.id for entry in entries if entry.listed.id in named or self._is_in_doubt(entry, now_s)]

    def _is_in_doubt(self, entry: Entry, now_s: float) -> bool:
        known = self._known.get(entry.listed.id)
        if known is None or entry.listed.id in self._doubted:
            return True
        since_s = now_s - known.inspected_at_s
        if known.was_young and since_s >= _SETTLED_S:
            return True
        return betrays(known.entry.listed, entry.listed, since_s)

    def have_moved(self, entries: Sequence[Entry], inspections: Mapping[str, Inspection]) -> bool:
        """Whether any container's state was another one when it was inspected than it was in the list."""
        return any(
            (inspection := inspections.get(listed.id)) is not None and state_of(inspection) not in (None, listed.state)
            for _, listed, _ in entries
        )

    def snapshot(
        self,
        entries: Sequence[Entry],
        inspections: Mapping[str, Inspection],
        protection: Protection,
        now_s: float,
    ) -> tuple[Container, ...]:
        """The containers in order of their names.

        `inspections` answers `to_inspect` for the same list, which was made at `now_s`. Of a container that is missing
        there although it was asked about (Docker is at it), the last inspection holds a while longer, but for its state
        where that is another one now; where there is none, only the list's word is told.
        """
        present = [entry for entry in entries if inspections.get(entry.listed.id, _NOT_ASKED) is not None]
        known = {entry.listed.id: self._learn(entry, inspections, now_s) for entry in present}
        self._known = {id: now_known for id, now_known in known.items() if now_known is not None}
        self._doubted &= self._known.keys()
        described = {id: self._describe(now_known, protection) for id, now_known in self._known.items()}
        self._described = {id: found for id, found in described.items() if found is not None}
        self.unreadable |= {entry.listed.id for entry in present} - self._described.keys()
        containers = [container for _, _, container in self._described.values()]
        return tuple(sorted(containers, key=lambda container: (container.name, container.id)))

    def inspected(self, container_id: str) -> Inspected | None:
        """What the last inspection of a container in the last snapshot said."""
        known = self._known.get(container_id)
        return known.inspected if known is not None else None

    def _learn(self, entry: Entry, inspections: Mapping[str, Inspection], now_s: float) -> _Known | None:
        container_id = entry.listed.id
        inspection = inspections.get(container_id)
        known = self._known.get(container_id)
        try:
            if inspection is not None:
                return self._inspected(entry, read_inspected(inspection), now_s)
        except MalformedError as error:
            self._skip(container_id, error)
            return None
        if known is None:
            self._doubted.add(container_id)
            return _Known(NOTHING_SAID, entry, now_s, was_young=False)
        if entry is known.entry:
            return known
        if self._is_in_doubt(entry, now_s):
            self._doubted.add(container_id)
        if entry.listed.state != known.entry.listed.state:
            known = replace(known, inspected=known.inspected.model_copy(update={"state": NOTHING_SAID.state}))
        return replace(known, entry=entry)

    def _inspected(self, entry: Entry, inspected: Inspected, now_s: float) -> _Known:
        """One that has moved on since the list is shown as it is now, and looked at again with the next list."""
        listed = as_inspected(entry.listed, inspected)
        if listed is entry.listed:
            self._doubted.discard(listed.id)
        else:
            self._doubted.add(listed.id)
        was_young = _at_most_s(listed.status) <= _YOUNG_S
        return _Known(inspected, entry._replace(listed=listed), now_s, was_young)

    def _describe(self, known: _Known, protection: Protection) -> tuple[_Known, Protection, Container] | None:
        listed = known.entry.listed
        before = self._described.get(listed.id)
        if before is not None and before[0] is known and before[1] is protection:
            return before
        try:
            protected = protection.reason(known.entry.facts) is not None
            return known, protection, describe(listed, known.inspected, self._label_filter, protected=protected)
        except MalformedError as error:
            self._skip(listed.id, error)
            return None

    def _skip(self, container_id: str, error: MalformedError) -> None:
        malformed.labels("container").inc()
        if container_id not in self._said:
            self._said.add(container_id)
            logger.warning("leaving out the container %.12s: %s", container_id, error.problem)


def state_of(inspection: Mapping[str, Any]) -> str | None:
    """As an inspection has it, if that can be told."""
    state = inspection.get("State")
    status = state.get("Status") if isinstance(state, Mapping) else None
    return status if isinstance(status, str) else None


def betrays(before: Listed, now: Listed, since_inspected_s: float) -> bool:
    """Whether a list's entry shows that a container has changed since it was inspected, for `before` or later. Not by
    the passing of time alone: `Up 3 minutes` becomes `Up 4 minutes`."""
    if before.state != now.state:
        return True
    if _at_most_s(now.status) + _SLACK_S < since_inspected_s:
        return True
    return _without_times(before.status) != _without_times(now.status)


def _at_most_s(status: str) -> float:
    """`Up 3 minutes` → for less than 240 s, as Docker rounds; `inf` where nothing is said of that."""
    found = _FOR.match(status)
    if not found:
        return math.inf
    count = int(found[1]) if found[1].isdigit() else 1
    return (count + 1) * _UNIT_S[found[2]]


def _without_times(status: str) -> str:
    """What does not change with time alone: `Exited (137)`, `Up (healthy)`, `Up (Paused)`."""
    word, _, rest = status.partition(" ")
    return " ".join((word, *re.findall(r"\([^()]*\)", rest)))


def _claimed_id(raw: object) -> str:
    claimed = raw.get("Id") if isinstance(raw, Mapping) else None
    return claimed[:64] if isinstance(claimed, str) else "without an id"
