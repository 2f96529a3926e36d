"""What is known of a host's containers between two lists: which have to be inspected again, and what to publish. Pure.

An inspection costs the engine about a millisecond, a list of any length two. So one is made only where it may say
something new: the container is new, its state or status text has changed, or it changed less than a minute ago.
Docker's text counts the first minute in seconds, so a restart between two lists is seen even where they look alike.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from common.errors import MalformedError
from common.models import Container
from common.protection import Facts, Protection, facts_of_listed
from common.telemetry import malformed
from services.collector.snapshot import Inspected, LabelFilter, Listed, describe, read_inspected, read_listed

logger = logging.getLogger(__name__)

Inspection = Mapping[str, Any] | None
"""What Docker answered; None where the container was gone by then."""

_NOT_ASKED: Inspection = {}


class Entry(NamedTuple):
    """A container in a list."""

    listed: Listed
    facts: Facts


@dataclass(frozen=True)
class _Known:
    inspected: Inspected
    state: str
    status: str
    """State and status of the list entry that it was inspected for."""
    doubted: bool = False
    """It may have changed unseen."""

    def holds_for(self, listed: Listed) -> bool:
        unchanged = (self.state, self.status) == (listed.state, listed.status)
        return unchanged and not self.doubted and "second" not in self.status


class Inventory:
    """Of one host, fed with list after list."""

    def __init__(self, label_filter: LabelFilter) -> None:
        self._label_filter = label_filter
        self._known: dict[str, _Known] = {}
        self._said: set[str] = set()
        """Ids of containers that could not be read, as far as they are still listed."""

    def doubt(self) -> None:
        """Lists have been missed, and changes with them: everything is inspected anew."""
        self._known = {id: replace(known, doubted=True) for id, known in self._known.items()}

    def read(self, raw_list: Iterable[object]) -> list[Entry]:
        """The entries of a list that can be read."""
        raw_list = list(raw_list)
        self._said &= {_claimed_id(raw) for raw in raw_list}
        entries = []
        for raw in raw_list:
            try:
                entries.append(Entry(read_listed(raw), facts_of_listed(raw)))
            except MalformedError as error:
                self._skip(_claimed_id(raw), error)
        return entries

    def to_inspect(self, entries: Sequence[Entry]) -> list[str]:
        """Ids of those that the last inspection says nothing of any more."""
        return [
            listed.id
            for listed, _ in entries
            if (known := self._known.get(listed.id)) is None or not known.holds_for(listed)
        ]

    def snapshot(
        self, entries: Sequence[Entry], inspections: Mapping[str, Inspection], protection: Protection
    ) -> tuple[Container, ...]:
        """The containers in order of their names.

        `inspections` answers `to_inspect` for the same list. Of a container that is missing there (Docker did not
        answer in time), the last inspection holds a while longer; where there is none it is left out.
        """
        present = [entry for entry in entries if inspections.get(entry.listed.id, _NOT_ASKED) is not None]
        known = {listed.id: self._learn(listed, inspections) for listed, _ in present}
        self._known = {id: now_known for id, now_known in known.items() if now_known is not None}
        containers = [
            self._describe(listed, protected=protection.reason(facts) is not None)
            for listed, facts in present
            if listed.id in self._known
        ]
        return tuple(sorted(filter(None, containers), key=lambda container: (container.name, container.id)))

    def _learn(self, listed: Listed, inspections: Mapping[str, Inspection]) -> _Known | None:
        inspection = inspections.get(listed.id)
        try:
            if inspection is not None:
                return _Known(read_inspected(inspection), listed.state, listed.status)
            known = self._known.get(listed.id)
            if known is None:
                raise MalformedError("container", "Docker does not answer when asked about it")
            return known if known.holds_for(listed) else replace(known, doubted=True)
        except MalformedError as error:
            self._skip(listed.id, error)
            return None

    def _describe(self, listed: Listed, *, protected: bool) -> Container | None:
        try:
            return describe(listed, self._known[listed.id].inspected, self._label_filter, protected=protected)
        except MalformedError as error:
            self._skip(listed.id, error)
            return None

    def _skip(self, container_id: str, error: MalformedError) -> None:
        malformed.labels("container").inc()
        if container_id not in self._said:
            self._said.add(container_id)
            logger.warning("leaving out the container %.12s: %s", container_id, error.problem)


def _claimed_id(raw: object) -> str:
    claimed = raw.get("Id") if isinstance(raw, Mapping) else None
    return claimed[:64] if isinstance(claimed, str) else "without an id"
