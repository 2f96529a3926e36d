"""One page of the audit, put together from several hosts' streams. Pure: it says what to read, and takes what was read.

A page is the newest matching entries that are older than `before`, newest first. `before` is in milliseconds of the
entries' ids, and several hosts may have entries in one millisecond, so a page ends with the whole of its last one: it
may be longer than its limit, and the next page repeats and misses nothing.

Hosts are read in small chunks, and only those that may still have something for this page: whoever has been read down
to something older than the page's last entry is left alone. What is read for one page is bounded; one that finds little
ends early, and says where the next one is to begin.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from common.actions import NEWEST, EntryId
from common.models import ActionRecord

MAX_READ = 20_000
"""Entries read for one page; one of each host, where there are more hosts."""

_MAX_ROUND = 1_000
"""Entries read in one round trip: a few milliseconds of the edge's time."""

_MAX_CHUNK = 500


class Chunk(NamedTuple):
    """What to read next of one host."""

    host: str
    before: EntryId
    """Only what is older."""
    at_most: int


class Answer(NamedTuple):
    entries: list[ActionRecord]
    before: int | None
    """What to ask with for the next page, ms; None: this was all."""
    is_cut: bool
    """Its one millisecond holds more than may be read: what is missing of it stands on no page."""


class _Found(NamedTuple):
    """A matching entry."""

    ms: int
    host: str
    seq: int
    record: ActionRecord


class Page:
    """Read `chunks()` and `take` each, until there are none; then there is an `answer()`."""

    def __init__(
        self,
        hosts: Iterable[str],
        limit: int,
        before: int | None = None,
        wants: Callable[[ActionRecord], bool] = lambda record: True,
        max_read: int = MAX_READ,
    ) -> None:
        """`before`: ms, exclusive; None begins with the newest. `wants`: whether an entry matches."""
        hosts = frozenset(hosts)
        self._limit = limit
        self._before = before
        self._wants = wants
        self._left = max(max_read, len(hosts))
        several = max(1, len(hosts))
        first = min(math.ceil((limit + 1) / several), self._left // several, _MAX_CHUNK)
        begin = NEWEST if before is None else (before, 0)
        self._unread = {host: Chunk(host, begin, first) for host in hosts}
        self._found: list[_Found] = []

    def chunks(self) -> list[Chunk]:
        """What to read now, in one round trip; nothing where the page is complete, or all has been read that may be.

        First those hosts that hold the page up most: of what is newer than where they stand, all is known.
        """
        room = min(_MAX_ROUND, self._left)
        chunks = []
        for chunk in self._open():
            if not room:
                break
            chunks.append(chunk._replace(at_most=min(chunk.at_most, room)))
            room -= chunks[-1].at_most
        return chunks

    def take(self, chunk: Chunk, entries: Sequence[tuple[EntryId, ActionRecord | None]]) -> None:
        """What was found there, newest first; None stands for what cannot be read. Less than `at_most` is all."""
        self._left -= len(entries)
        if len(entries) < chunk.at_most:
            del self._unread[chunk.host]
        else:
            self._unread[chunk.host] = Chunk(chunk.host, entries[-1][0], min(2 * chunk.at_most, _MAX_CHUNK))
        for (ms, seq), record in entries:
            if record is not None and self._wants(record):
                self._found.append(_Found(ms, chunk.host, seq, record))

    def answer(self) -> Answer:
        """The page, once there is nothing more to read for it."""
        is_cut = is_all = False
        still_open = self._open()
        if still_open:
            last_ms = still_open[0].before[0] + 1
            if last_ms == self._before:
                last_ms, is_cut = last_ms - 1, True
        else:
            last_ms = self._last_ms()
            is_all = not self._unread and all(found.ms >= last_ms for found in self._found)
        entries = [found.record for found in self._found if found.ms >= last_ms]
        return Answer(entries, None if is_all or not last_ms else last_ms, is_cut)

    def _last_ms(self) -> int:
        """The millisecond of the page's last entry, by what is known now; 0 while there is room for any. Puts what was
        found in order."""
        self._found.sort(key=lambda found: (-found.ms, found.host, -found.seq))
        return self._found[self._limit - 1].ms if len(self._found) >= self._limit else 0

    def _open(self) -> list[Chunk]:
        """Of the hosts that may still have something for this page; whoever stands at the newest first."""
        last_ms = self._last_ms()
        waiting = [chunk for chunk in self._unread.values() if chunk.before[0] >= last_ms]
        return sorted(waiting, key=lambda chunk: chunk.before, reverse=True)


def wanted(actor: str | None, container: str | None) -> Callable[[ActionRecord], bool]:
    """Entries of this actor, exactly, and this container: its name, its id, or the beginning of that."""

    def wants(record: ActionRecord) -> bool:
        return actor in (None, record.actor) and (
            container is None or container == record.name or record.container_id.startswith(container)
        )

    return wants
