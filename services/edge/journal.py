"""The newest message of every key, in the order in which they changed. Pure.

Each change gets the next number. Where a client stands is then one number, and what it lacks is whatever changed after
it: no queue a client, nothing that grows while a client is slow, and never an older state after a newer one.
"""

from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

from services.edge.frames import Frame

K = TypeVar("K", bound=Hashable)


class Entry(NamedTuple, Generic[K]):
    key: K
    number: int
    frame: Frame


class Journal(Generic[K]):
    def __init__(self) -> None:
        self.number = 0
        """Of the last change."""
        self._entries: dict[K, Entry[K]] = {}

    def note(self, key: K, frame: Frame) -> None:
        """A key has a new message."""
        self.number += 1
        self._entries.pop(key, None)
        self._entries[key] = Entry(key, self.number, frame)

    def forget(self, key: K) -> None:
        self._entries.pop(key, None)

    def keys(self) -> list[K]:
        return list(self._entries)

    def since(self, number: int) -> Iterator[Entry[K]]:
        """What changed after `number`, oldest change first."""
        if number == 0:
            return iter(list(self._entries.values()))
        changed = []
        for entry in reversed(self._entries.values()):
            if entry.number <= number:
                break
            changed.append(entry)
        return reversed(changed)
