"""Who gets what: clients, what they subscribed to, the newest state of everything, and who lacks what of it. Pure: what
is to be sent goes through each client's `send` and `write`.

Clients that get the same bytes form an audience: equal subscriptions, equal rights, equal encoding. What one of them
lacks is joined once and written to all of them. A client is where its number in the journal is: one that cannot take
anything now is passed over, stays where it is, and gets the newest of all that changed meanwhile when it can.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from common.envelope import Version
from common.keys import STATE_KINDS, StateKind
from common.protocol import HostsMessage, HostStatus
from common.tokens import sees
from services.edge.audience import HEARTBEAT, HOSTS, Audience, Backlog, Key, Position, Selectors, Subscription
from services.edge.client import Client
from services.edge.frames import Encoding, Frame
from services.edge.journal import Entry, Journal

CLIENTS_A_SLICE = 64
MAX_WRITE_BYTES = 256 * 1024


class _Joined(NamedTuple):
    """What clients at one position lack, put together once: one write's worth of it."""

    data: bytes
    messages: int
    after: Position
    """Where a client stands that got it."""
    is_all: bool


class Hub:
    """`on_work` is called when there is something to flush, `on_interest` when what is subscribed to has changed."""

    def __init__(
        self,
        on_work: Callable[[], None] = lambda: None,
        on_interest: Callable[[], None] = lambda: None,
        max_write_bytes: int = MAX_WRITE_BYTES,
    ) -> None:
        self.on_work = on_work
        self.on_interest = on_interest
        self._max_write_bytes = max_write_bytes
        self.clients: set[Client] = set()
        self._audiences: dict[tuple[frozenset[Subscription], Selectors, Encoding], Audience] = {}
        self._subscribers: dict[Subscription, set[Audience]] = {}
        self._journal: Journal[Key] = Journal()
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
        """Adds subscriptions; the next flush brings the last state of whatever is new to the client."""
        had, position = client.audience, client.position
        if self._move(client, had.subscriptions.union(subscriptions)):
            if isinstance(position, Backlog):
                client.position = position._replace(cursor=0)
            else:
                client.position = Backlog(had, position, 0)
            self._serve_soon(client)

    def unsubscribe(self, client: Client, subscriptions: Iterable[Subscription]) -> None:
        """Nothing of these is sent any more, whatever waits; who subscribes again gets the last state again."""
        dropped = frozenset(subscriptions)
        if not self._move(client, client.audience.subscriptions - dropped):
            return
        if isinstance(client.position, Backlog):
            had = client.position.had
            had = Audience(had.subscriptions - dropped, had.selectors, had.encoding)
            client.position = client.position._replace(had=had)
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

    # State

    def interest(self, hosts: Iterable[str]) -> set[tuple[str, StateKind]]:
        """The (host, kind) pairs that somebody here watches, of the fleet's `hosts` and of those named one by one."""
        known = tuple(hosts)
        watched: set[tuple[str, StateKind]] = set()
        for kind in STATE_KINDS:
            if (kind, None) in self._subscribers:
                watched.update((host, kind) for host in known)
        for topic, host in self._subscribers:
            if host is not None and topic in STATE_KINDS:
                watched.add((host, topic))
        return watched

    def forget_unwatched(self, watched: set[tuple[str, StateKind]]) -> None:
        """Drops states that are not followed any more: they would be out of date for the next one who asks."""
        for key in list(self._versions):
            kind, host = key
            if (host, kind) not in watched:
                del self._versions[key]
                self._forget(key)

    def publish(self, host: str, kind: StateKind, version: Version, body: bytes) -> bool:
        """A state for its subscribers. False where it is not newer than the last one."""
        key: Subscription = (kind, host)
        last = self._versions.get(key)
        if last is not None and version <= last:
            return False
        self._versions[key] = version
        self._note(key, Frame(body), (*self._subscribers.get((kind, None), ()), *self._subscribers.get(key, ())))
        return True

    def heartbeat(self, body: bytes) -> None:
        self._note(HEARTBEAT, Frame(body), tuple(self._audiences.values()))

    def publish_hosts(self, hosts: Sequence[HostStatus]) -> bool:
        """The roster for its subscribers, if anything but the times has changed."""
        before, self._hosts = self._hosts, tuple(hosts)
        self._rosters.clear()
        if before is not None and _without_times(before) == _without_times(self._hosts):
            return False
        for gone in {status.host for status in before or ()} - {status.host for status in self._hosts}:
            self._forget(("hosts", gone))
        self._note(HOSTS, _ROSTER, self._subscribers.get(("hosts", None), ()))
        was = {status.host: (status.status, status.links) for status in before or ()}
        for status in self._hosts:
            if was.get(status.host) != (status.status, status.links):
                self._note(("hosts", status.host), _ROSTER, self._subscribers.get(("hosts", status.host), ()))
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
                data, count, after, is_all = found
                size = len(data)
            client.position = after
            if not is_all:
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
        parts: list[bytes] = []
        size = 0
        reached = position.cursor if isinstance(position, Backlog) else position
        for entry in self._journal.since(reached):
            if audience.is_owed(position, entry):
                data = self._frame(audience, entry).encoded(audience.encoding)
                if parts and size + len(data) > self._max_write_bytes:
                    after = position._replace(cursor=reached) if isinstance(position, Backlog) else reached
                    return _Joined(b"".join(parts), len(parts), after, False)
                parts.append(data)
                size += len(data)
            reached = entry.number
        return _Joined(b"".join(parts), len(parts), self._journal.number, True)

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


def _without_times(hosts: Iterable[HostStatus]) -> list[tuple[object, ...]]:
    return [(status.host, status.status, status.links) for status in hosts]
