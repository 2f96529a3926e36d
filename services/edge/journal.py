"""What changed, in its order: the newest message of every key, and messages that each count. Pure.

Each change gets the next number. Where a client stands is then one number, and what it lacks is whatever changed after
it: no queue a client, nothing that grows while a client is slow, and never an older state after a newer one.

Messages that each count are kept beside the others, so that nobody who looks for states passes them. Beyond a bound the
oldest go, when `trim` says so, and what went is known: whoever lacks one of them can be told.
"""

from collections import deque
from collections.abc import Hashable
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

from services.edge.frames import Frame

K = TypeVar("K", bound=Hashable)

MAX_KEPT = 4096
MAX_KEPT_BYTES = 8 * 1024 * 1024


class Entry(NamedTuple, Generic[K]):
    key: K
    number: int
    frame: Frame


class Journal(Generic[K]):
    """`max_kept`, `max_kept_bytes`: of the messages that each count, all together, their bodies alone counted."""

    def __init__(self, max_kept: int = MAX_KEPT, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        self.number = 0
        """Of the last change."""
        self.trimmed_upto = 0
        """The number of the last change that is kept no more although it counted."""
        self.is_full = False
        """Whether there is something to trim."""
        self._max_kept = max_kept
        self._max_kept_bytes = max_kept_bytes
        self._entries: dict[K, Entry[K]] = {}
        self._kept: deque[Entry[K]] = deque()
        self._kept_bytes = 0
        self._trimmed: dict[K, Entry[K]] = {}

    def note(self, key: K, frame: Frame) -> None:
        """A key has a new message."""
        self.number += 1
        self._entries.pop(key, None)
        self._entries[key] = Entry(key, self.number, frame)

    def append(self, key: K, frame: Frame) -> None:
        """A key has one message more, and those before it count as well."""
        self.number += 1
        self._kept.append(Entry(key, self.number, frame))
        self._kept_bytes += len(frame.body)
        self._weigh()

    def forget(self, key: K) -> None:
        """Nobody wants this key any more."""
        self._entries.pop(key, None)
        self._trimmed.pop(key, None)

    def keys(self) -> list[K]:
        return list(self._entries)

    def since(self, number: int, kept_since: int) -> list[Entry[K]]:
        """What changed after `number`, and of the messages that each count those after `kept_since`; oldest change
        first."""
        if number == 0:
            changed = list(self._entries.values())
        else:
            changed = []
            for entry in reversed(self._entries.values()):
                if entry.number <= number:
                    break
                changed.append(entry)
            changed.reverse()
        if self._kept and self._kept[-1].number > kept_since:
            for entry in reversed(self._kept):
                if entry.number <= kept_since:
                    break
                changed.append(entry)
            changed.sort(key=attrgetter("number"))
        return changed

    # What is kept

    def trim(self, upto: int) -> None:
        """Drops the oldest messages that each count while there are too many, none that came after number `upto`."""
        while self.is_full and self._kept[0].number <= upto:
            key, number, frame = self._kept.popleft()
            self._kept_bytes -= len(frame.body)
            self._trimmed[key] = Entry(key, number, _GONE)
            self.trimmed_upto = number
            self._weigh()

    def _weigh(self) -> None:
        self.is_full = len(self._kept) > self._max_kept or self._kept_bytes > self._max_kept_bytes

    def trimmed_since(self, number: int) -> list[Entry[K]]:
        """The last one of each key that was dropped, of those that came after `number`; its frame is gone."""
        return [entry for entry in self._trimmed.values() if entry.number > number]


_GONE = Frame(b"")
