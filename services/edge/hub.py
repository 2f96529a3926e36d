"""Who gets what: clients, what they subscribed to, the newest state of everything, and who lacks what of it. Pure: what
is to be sent goes through each client's `send` and `write`.

Clients that get the same bytes form an audience: equal subscriptions, equal rights, equal encoding. What one of them
lacks is joined once and written to all of them. A client is where its number in the journal is: one that cannot take
anything now is passed over, stays where it is, and gets the newest of all that changed meanwhile when it can.

Events count each: a client gets all of those it watches, from its subscription on and in their order, or is closed with
4409. They are kept for those who are passed over, up to a bound for all clients together.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from common.envelope import Version
from common.keys import FEED_KINDS, FeedKind, StateKind
from common.protocol import HostsMessage, HostStatus
from common.tokens import sees
from services.edge.audience import (
    HEARTBEAT,
    HOSTS,
    Audience,
    Key,
    Position,
    Selectors,
    Subscription,
    advanced,
    reads_from,
    subscribed,
    unsubscribed,
)
from services.edge.client import Client
from services.edge.frames import Encoding, Frame
from services.edge.journal import MAX_KEPT, MAX_KEPT_BYTES, Entry, Journal

CLIENTS_A_SLICE = 64
MAX_WRITE_BYTES = 256 * 1024


class _Joined(NamedTuple):
    """What clients at one position lack, put together once: one write's worth of it."""

    data: bytes
    messages: int
    after: Position
    """Where a client stands that got it."""
    is_all: bool
    is_lost: bool = False
    """An event that they were to get is kept no more."""


class Hub:
    """`on_work` is called when there is something to flush, `on_interest` when what is subscribed to has changed, or
    which hosts there are. `max_events`, `max_event_bytes`: kept for clients that can take nothing; who lacks more than
    those is closed when it can take something again."""

    def __init__(
        self,
        on_work: Callable[[], None] = lambda: None,
        on_interest: Callable[[], None] = lambda: None,
        max_write_bytes: int = MAX_WRITE_BYTES,
        max_events: int = MAX_KEPT,
        max_event_bytes: int = MAX_KEPT_BYTES,
    ) -> None:
        self.on_work = on_work
        self.on_interest = on_interest
        self._max_write_bytes = max_write_bytes
        self.clients: set[Client] = set()
        self._audiences: dict[tuple[frozenset[Subscription], Selectors, Encoding], Audience] = {}
        self._subscribers: dict[Subscription, set[Audience]] = {}
        self._journal: Journal[Key] = Journal(max_events, max_event_bytes)
        self._versions: dict[Key, Version] = {}
        self._dirty: dict[Audience, None] = {}
        self._returning: dict[Client, None] = {}
        self._hosts: tuple[HostStatus, ...] | None = None
        self._rosters: dict[tuple[Selectors, str | None], Frame] = {}
        self.changed = 0
        """Messages that changed since the flush before."""
        self.messages_sent = 0
        self.bytes_sent = 0
        self.passed_over = 0
        """How often a client could take nothing when there was something for it."""

    @property
    def hosts(self) -> tuple[HostStatus, ...] | None:
        """The roster, or None before it has been read for the first time."""
        return self._hosts

    @property
    def has_work(self) -> bool:
        return bool(self._dirty or self._returning)

    # Clients

    def add(self, client: Client) -> None:
        """A client without subscriptions: it gets heartbeats."""
        self.clients.add(client)
        client.position = self._journal.number
        self._enter(client, self._audience(frozenset(), client))

    def remove(self, client: Client) -> None:
        if client in self.clients:
            self.clients.discard(client)
            self._returning.pop(client, None)
            audience, client.audience = client.audience, _NOWHERE
            self._vacate(client, audience)

    def subscribe(self, client: Client, subscriptions: Iterable[Subscription]) -> None:
        """Adds subscriptions; the next flush brings the last state of whatever is new to the client. Of events it gets
        those from now on."""
        had = client.audience
        if self._move(client, had.subscriptions.union(subscriptions)):
            new = client.audience.subscriptions - had.subscriptions
            client.position = subscribed(client.position, had, new, self._journal.number)
            self._serve_soon(client)

    def unsubscribe(self, client: Client, subscriptions: Iterable[Subscription]) -> None:
        """Nothing of these is sent any more, whatever waits; who subscribes again gets the last state again."""
        dropped = frozenset(subscriptions)
        if not self._move(client, client.audience.subscriptions - dropped):
            return
        client.position = unsubscribed(client.position, dropped)
        self._serve_soon(client)  # what was noted for its audience before, and is still subscribed to, was not sent yet

    def drained(self, client: Client) -> None:
        """A client that was blocked can take something again."""
        client.unblock()
        if client in self.clients:
            self._serve_soon(client)

    def _move(self, client: Client, subscriptions: frozenset[Subscription]) -> bool:
        had = client.audience
        if subscriptions == had.subscriptions:
            return False
        self._enter(client, self._audience(subscriptions, client))
        self._vacate(client, had)
        return True

    def _audience(self, subscriptions: frozenset[Subscription], client: Client) -> Audience:
        identity = (subscriptions, client.selectors, client.encoding)
        audience = self._audiences.get(identity)
        if audience is None:
            audience = self._audiences[identity] = Audience(*identity)
        return audience

    def _enter(self, client: Client, audience: Audience) -> None:
        client.audience = audience
        audience.clients.add(client)
        if len(audience.clients) > 1:
            return
        news = False
        for subscription in audience.subscriptions:
            news |= subscription not in self._subscribers
            self._subscribers.setdefault(subscription, set()).add(audience)
        if news:
            self.on_interest()

    def _vacate(self, client: Client, audience: Audience) -> None:
        audience.clients.discard(client)
        if audience.clients:
            return
        self._dirty.pop(audience, None)
        del self._audiences[audience.subscriptions, audience.selectors, audience.encoding]
        lost = False
        for subscription in audience.subscriptions:
            remaining = self._subscribers[subscription]
            remaining.discard(audience)
            if not remaining:
                del self._subscribers[subscription]
                lost = True
        if lost:
            self.on_interest()

    def _serve_soon(self, client: Client) -> None:
        self._returning[client] = None
        self.on_work()

    # Interest

    def subscriptions(self) -> Iterator[tuple[Subscription, Selectors]]:
        """What somebody here has subscribed to, and what those who did may see; each pair at least once."""
        for subscription, audiences in self._subscribers.items():
            for audience in audiences:
                yield subscription, audience.selectors

    def interest(self, hosts: Iterable[str]) -> set[tuple[str, FeedKind]]:
        """The (host, kind) pairs that somebody here watches, of the fleet's `hosts` and of those named one by one."""
        known = tuple(hosts)
        watched: set[tuple[str, FeedKind]] = set()
        for kind in FEED_KINDS:
            if (kind, None) in self._subscribers:
                watched.update((host, kind) for host in known)
        for topic, host in self._subscribers:
            if host is not None and topic != "hosts":
                watched.add((host, topic))
        return watched

    def forget_unwatched(self, watched: AbstractSet[tuple[str, FeedKind]]) -> None:
        """Drops states that are not followed any more: they would be out of date for the next one who asks. Of events
        it forgets which was the last."""
        for key in list(self._versions):
            kind, host = key
            if (host, kind) not in watched:
                del self._versions[key]
                self._forget(key)

    # State and events

    def publish(self, host: str, kind: StateKind, version: Version, body: bytes) -> bool:
        """A state for its subscribers. False where it is not newer than the last one."""
        key: Subscription = (kind, host)
        last = self._versions.get(key)
        if last is not None and version <= last:
            return False
        self._versions[key] = version
        self._note(key, Frame(body), (*self._subscribers.get((kind, None), ()), *self._subscribers.get(key, ())))
        return True

    def last_event(self, host: str) -> Version | None:
        """The newest event known of a host whose events are followed; None where that is still to be noted."""
        return self._versions.get(("events", host))

    def note_event(self, host: str, version: Version) -> None:
        """Events up to this one were there before anybody here followed them: they are for nobody."""
        self._versions["events", host] = version

    def publish_event(self, host: str, version: Version, body: bytes) -> bool:
        """An event for whoever watches it now. False where it is not newer than the last one."""
        key: Subscription = ("events", host)
        last = self._versions.get(key)
        if last is not None and version <= last:
            return False
        self._versions[key] = version
        audiences = (*self._subscribers.get(("events", None), ()), *self._subscribers.get(key, ()))
        dirty = [audience for audience in audiences if audience.wants(key)]
        if dirty:
            self._journal.append(key, Frame(body))
            self.changed += 1
            self._dirty.update(dict.fromkeys(dirty))
            self.on_work()
        return True

    def heartbeat(self, body: bytes) -> None:
        self._note(HEARTBEAT, Frame(body), tuple(self._audiences.values()))

    def publish_hosts(self, hosts: Sequence[HostStatus]) -> bool:
        """The roster for its subscribers, if anything but the times has changed."""
        before, self._hosts = self._hosts, tuple(hosts)
        self._rosters.clear()
        was = {status.host: _without_times(status) for status in before or ()}
        now = {status.host: _without_times(status) for status in self._hosts}
        if before is not None and was == now:
            return False
        for gone in was.keys() - now.keys():
            self._forget(("hosts", gone))
        self._note(HOSTS, _ROSTER, self._subscribers.get(("hosts", None), ()))
        for host, said in now.items():
            if was.get(host) != said:
                self._note(("hosts", host), _ROSTER, self._subscribers.get(("hosts", host), ()))
        if was.keys() != now.keys():
            self.on_interest()
        return True

    def _note(self, key: Key, frame: Frame, audiences: Iterable[Audience]) -> None:
        self._journal.note(key, frame)
        dirty = [audience for audience in audiences if audience.wants(key)]
        if dirty:
            self.changed += 1
            self._dirty.update(dict.fromkeys(dirty))
            self.on_work()

    def _forget(self, key: Key) -> None:
        self._journal.forget(key)
        for audience in self._audiences.values():
            audience.forget(key)

    # Flush

    def flush(self) -> Iterator[None]:
        """Writes to every client that can take something whatever it lacks. Yields after each slice of clients, so that
        the caller can let others run; clients may come, go and subscribe meanwhile.

        A flush that is given up halfway loses nothing: whoever it did not get to is served by the next.
        """
        upto = self._journal.number
        dirty, self._dirty = self._dirty, {}
        returning, self._returning = self._returning, {}
        self.changed = 0
        joined: dict[Audience, dict[Position, _Joined]] = {audience: {} for audience in dirty}
        for number, client in enumerate(returning, 1):
            if client in self.clients:
                self._serve((client,), client.audience, joined.setdefault(client.audience, {}))
            if number % CLIENTS_A_SLICE == 0:
                yield
        for audience in dirty:
            clients = list(audience.clients)
            for first in range(0, len(clients), CLIENTS_A_SLICE):
                self._serve(clients[first : first + CLIENTS_A_SLICE], audience, joined[audience])
                yield
        if self._journal.is_full:
            self._trim(upto)

    def _trim(self, upto: int) -> None:
        """Drops the oldest events beyond the bound: of those that a flush began with, and none that a client lacks
        which can take it and is served soon."""
        for client in self._returning:
            if client.blocked_since is None:
                upto = min(upto, reads_from(client.position)[1])
        self._journal.trim(upto)

    def _serve(self, clients: Sequence[Client], audience: Audience, joined: dict[Position, _Joined]) -> None:
        """Writes to clients of one audience what they lack; `joined` keeps what has been put together already."""
        written = messages = 0
        position: Position | None = None
        for client in clients:
            if client.audience is not audience:  # it has subscribed to something else during this flush
                continue
            if client.blocked_since is not None:
                self.passed_over += 1
                continue
            if client.position is not position:  # nearly all stand where the one before stood
                position = client.position
                found = joined.get(position)
                if found is None:
                    found = joined[position] = self._join(audience, position)
                data, count, after, is_all, is_lost = found
                size = len(data)
            client.position = after
            if not is_all:
                if is_lost:
                    client.give_up()
                else:
                    self._serve_soon(client)
            if count:
                messages += count
                written += size
                send = client.send
                try:
                    sent = send(data)
                except OSError:  # the socket is full, or broken: `write` knows what to do about either
                    sent = 0
                if sent != size:
                    write = client.write
                    write(data[sent:])
        self.bytes_sent += written
        self.messages_sent += messages

    def _join(self, audience: Audience, position: Position) -> _Joined:
        journal = self._journal
        reached, events_reached = reads_from(position)
        if events_reached < journal.trimmed_upto and audience.owed(position, journal.trimmed_since(events_reached)):
            return _Joined(b"", 0, position, is_all=False, is_lost=True)
        parts: list[bytes] = []
        size = 0
        for entry in audience.owed(position, journal.since(reached, events_reached)):
            data = self._frame(audience, entry).encoded(audience.encoding)
            if parts and size + len(data) > self._max_write_bytes:
                return _Joined(b"".join(parts), len(parts), advanced(position, reached), is_all=False)
            parts.append(data)
            size += len(data)
            reached = entry.number
        return _Joined(b"".join(parts), len(parts), journal.number, is_all=True)

    def _frame(self, audience: Audience, entry: Entry[Key]) -> Frame:
        """The roster differs with what a client may see; all else is the same for everybody."""
        topic, host = entry.key
        if topic != "hosts":
            return entry.frame
        frame = self._rosters.get((audience.selectors, host))
        if frame is None:
            seen = tuple(
                status
                for status in self._hosts or ()
                if host in (None, status.host) and sees(audience.selectors, status.host)
            )
            frame = Frame(HostsMessage(hosts=seen).model_dump_json().encode())
            self._rosters[audience.selectors, host] = frame
        return frame


_NOWHERE = Audience(frozenset(), None, "text")
"""The audience of clients that have left: nothing is for it."""

_ROSTER = Frame(b"")
"""Stands in the journal for what `_frame` makes of the roster."""


def _without_times(status: HostStatus) -> tuple[object, ...]:
    return status.status, status.expected, status.links, status.labels, status.usage, status.actions
