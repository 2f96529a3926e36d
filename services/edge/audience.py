"""Clients that get the same bytes, and where each of them stands. Pure."""

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
"""What a message is the newest of."""

HEARTBEAT: Key = ("heartbeat", None)
HOSTS: Key = ("hosts", None)

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

    def is_owed(self, position: "Position", entry: Entry[Key]) -> bool:
        """Whether a client at this position lacks an entry."""
        if not self.wants(entry.key):
            return False
        return not isinstance(position, Backlog) or entry.number > position.upto or not position.had.wants(entry.key)

    def forget(self, key: Key) -> None:
        self._wants.pop(key, None)


class Backlog(NamedTuple):
    """Where a client stands that has just subscribed: it lacks what changed after `upto`, and whatever `had`, its
    audience before, did not get; of that it has been given what changed up to `cursor`."""

    had: Audience
    upto: int
    cursor: int


Position = int | Backlog
"""What a client has been given: whatever changed up to this number, or part of a backlog."""
