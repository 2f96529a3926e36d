"""Clients that get the same bytes, and where each of them stands. Pure."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from common.protocol import Topic
from common.tokens import sees
from services.edge.frames import Encoding
from services.edge.journal import Entry

if TYPE_CHECKING:
    from services.edge.client import Client

Subscription = tuple[Topic, str | None]
"""A topic, and the host or None for every host."""

Key = tuple[Topic | Literal["heartbeat"], str | None]
"""What a message is the newest of; of events, whose each one is."""

HEARTBEAT: Key = ("heartbeat", None)
HOSTS: Key = ("hosts", None)

_ALL_EVENTS: Subscription = ("events", None)

Selectors = tuple[str, ...] | None
"""Which hosts somebody may see; None for every one."""


class Audience:
    """Clients that get the same bytes."""

    def __init__(self, subscriptions: frozenset[Subscription], selectors: Selectors, encoding: Encoding) -> None:
        self.subscriptions = subscriptions
        self.selectors = selectors
        self.encoding = encoding
        self.clients: set[Client] = set()
        self._wants: dict[Key, bool] = {}

    def wants(self, key: Key) -> bool:
        wanted = self._wants.get(key)
        if wanted is None:
            wanted = self._wants[key] = self._judge(*key)
        return wanted

    def _judge(self, topic: Topic | Literal["heartbeat"], host: str | None) -> bool:
        if topic == "heartbeat":
            return True
        everything = (topic, None) in self.subscriptions
        if host is None:
            return everything
        if topic == "hosts":  # who gets the whole roster needs no single host beside it
            return not everything and ("hosts", host) in self.subscriptions
        return (everything and sees(self.selectors, host)) or (topic, host) in self.subscriptions

    def owed(self, position: "Position", entries: Iterable[Entry[Key]]) -> list[Entry[Key]]:
        """Those that a client at this position lacks, of entries that came after it."""
        if not isinstance(position, Backlog):
            return [entry for entry in entries if self.wants(entry.key)]
        began = dict(position.since)
        return [entry for entry in entries if self.wants(entry.key) and self._is_new(position, began, entry)]

    def _is_new(self, position: "Backlog", began: Mapping[Subscription, int], entry: Entry[Key]) -> bool:
        topic, host = entry.key
        if topic != "events":
            return entry.number > position.upto or not position.had.wants(entry.key)
        by_name: Subscription = (topic, host)
        if by_name in self.subscriptions and entry.number > began.get(by_name, 0):
            return True
        return _ALL_EVENTS in self.subscriptions and entry.number > began.get(_ALL_EVENTS, 0)

    def forget(self, key: Key) -> None:
        self._wants.pop(key, None)


class Backlog(NamedTuple):
    """Where a client stands that has just subscribed: it lacks what changed after `upto`, and whatever `had`, its
    audience before, did not get; of that it has been given what changed up to `cursor`.

    Events are owed to it from its subscription on: all after number `given`, but of a subscription in `since` only
    those after the number there."""

    had: Audience
    upto: int
    cursor: int
    given: int
    since: tuple[tuple[Subscription, int], ...]


Position = int | Backlog
"""What a client has been given: whatever changed up to this number, or part of a backlog."""


def subscribed(position: Position, had: Audience, new: Iterable[Subscription], number: int) -> Backlog:
    """Where a client stands that subscribes to `new` as well, when `number` is that of the last change."""
    since = tuple((subscription, number) for subscription in sorted(new, key=str) if subscription[0] == "events")
    if isinstance(position, Backlog):
        return position._replace(cursor=0, since=position.since + since)
    return Backlog(had, position, 0, position, since)


def unsubscribed(position: Position, dropped: frozenset[Subscription]) -> Position:
    """Where a client stands that gives up some subscriptions."""
    if not isinstance(position, Backlog):
        return position
    had = Audience(position.had.subscriptions - dropped, position.had.selectors, position.had.encoding)
    return position._replace(had=had, since=tuple(begun for begun in position.since if begun[0] not in dropped))


def advanced(position: Position, reached: int) -> Position:
    """Where a client stands that has been given what it lacked up to this number."""
    if isinstance(position, Backlog):
        return position._replace(cursor=reached, given=max(position.given, reached))
    return reached


def reads_from(position: Position) -> tuple[int, int]:
    """After which number states, and after which events, may be lacking."""
    return (position.cursor, position.given) if isinstance(position, Backlog) else (position, position)
