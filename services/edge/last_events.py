"""The last events of a whole fleet: of which hosts to read more, and which events are the last. Pure.

First the few last ones of each host are read. A host that has older ones among the fleet's last has all of these few
among them, so that more is read of such hosts alone: of at most half as many as events are asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

READ_AT_FIRST = 2
"""Of each host."""

READ_OF_A_HOST = 50
"""Of each of several hosts, at most. What one of them does more in a short time is left out."""

READ_AT_A_TIME = 1_000
"""Events in one round trip, after which others get their turn."""

MOST_ASKED = 500


class Seen(NamedTuple):
    """An event."""

    at: int
    body: bytes


class Read(NamedTuple):
    """What was found of one host."""

    entries: int
    """Readable or not."""
    events: Sequence[Seen]
    """The oldest first."""


def newest(events: Iterable[Seen], limit: int) -> list[Seen]:
    """The last ones, the oldest first. What happened in the same millisecond stays in its order."""
    return sorted(events, key=lambda event: event.at)[-limit:]


def to_read_on(found: Mapping[str, Read], limit: int) -> list[str]:
    """The hosts that may have more among the last events than the READ_AT_FIRST that were read of each."""
    last = newest((event for read in found.values() for event in read.events), limit)
    earliest = last[0].at if len(last) == limit else 0
    return [
        host
        for host, read in found.items()
        if read.entries >= READ_AT_FIRST and all(event.at >= earliest for event in read.events)
    ]
