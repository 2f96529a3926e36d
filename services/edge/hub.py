"""Who gets what: the subscriptions of every client and the newest state of everything. Pure.

A state is told to the clients that subscribed to its kind for every host or for this host, and only if it is newer than
the one before it: an edge never sends an older state after a newer one.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from common.envelope import Version
from common.keys import STATE_KINDS, StateKind
from common.protocol import HostsMessage, HostStatus, Topic
from services.edge.outbox import Outbox

Subscription = tuple[Topic, str | None]
"""A topic, and the host or None for every host."""


class _State(NamedTuple):
    version: Version
    text: str


class Client:
    """One connected client, as the hub knows it. `sees` says which hosts it may see at all."""

    def __init__(self, outbox: Outbox, sees: Callable[[str], bool] = lambda _: True) -> None:
        self.outbox = outbox
        self.sees = sees
        self.subscriptions: set[Subscription] = set()


class Hub:
    """Clients, subscriptions, states and the roster as last told."""

    def __init__(self) -> None:
        self._clients: set[Client] = set()
        self._subscribers: defaultdict[Subscription, set[Client]] = defaultdict(set)
        self._states: dict[tuple[StateKind, str], _State] = {}
        self._hosts: tuple[HostStatus, ...] | None = None

    @property
    def clients(self) -> int:
        return len(self._clients)

    @property
    def hosts(self) -> tuple[HostStatus, ...] | None:
        """The roster, or None before it has been read for the first time."""
        return self._hosts

    # Clients

    def add(self, client: Client) -> None:
        self._clients.add(client)

    def remove(self, client: Client) -> None:
        self.unsubscribe(client, tuple(client.subscriptions))
        self._clients.discard(client)

    def subscribe(self, client: Client, subscriptions: Iterable[Subscription]) -> None:
        """Adds subscriptions and puts the last state of whatever is new to the client into its outbox."""
        for subscription in subscriptions:
            if subscription in client.subscriptions:
                continue
            covered = (subscription[0], None) in client.subscriptions
            client.subscriptions.add(subscription)
            self._subscribers[subscription].add(client)
            if not covered:
                self._catch_up(client, *subscription)

    def unsubscribe(self, client: Client, subscriptions: Iterable[Subscription]) -> None:
        for subscription in subscriptions:
            client.subscriptions.discard(subscription)
            subscribers = self._subscribers.get(subscription)
            if subscribers is not None:
                subscribers.discard(client)
                if not subscribers:
                    del self._subscribers[subscription]
        client.outbox.forget_states(
            lambda key: isinstance(key, tuple) and not _covers(client.subscriptions, key[0], key[1])
        )

    def heartbeat(self, text: str) -> None:
        """Puts a heartbeat into every outbox; one that waits already is replaced."""
        for client in self._clients:
            client.outbox.put_state("heartbeat", text)

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
        """Drops states that nobody here watches: they would be out of date for the next one who does."""
        for kind, host in [key for key in self._states if (key[1], key[0]) not in watched]:
            del self._states[(kind, host)]

    def publish(self, host: str, kind: StateKind, version: Version, text: str) -> bool:
        """Tells a state to its subscribers. False where it is not newer than the last one."""
        last = self._states.get((kind, host))
        if last is not None and version <= last.version:
            return False
        self._states[(kind, host)] = _State(version, text)
        self._tell(kind, host, text)
        return True

    def publish_hosts(self, hosts: Sequence[HostStatus]) -> bool:
        """Tells the roster to its subscribers if anything but the times has changed."""
        before, self._hosts = self._hosts, tuple(hosts)
        if before is not None and _without_times(before) == _without_times(self._hosts):
            return False
        texts: dict[tuple[HostStatus, ...], str] = {}
        for client in self._subscribers.get(("hosts", None), ()):
            seen = tuple(status for status in self._hosts if client.sees(status.host))
            if seen not in texts:
                texts[seen] = HostsMessage(hosts=seen).model_dump_json()
            client.outbox.put_state(("hosts", None), texts[seen])
        changed = {status.host for status in self._hosts} if before is None else _changed(before, self._hosts)
        for status in self._hosts:
            if status.host in changed and ("hosts", status.host) in self._subscribers:
                text = HostsMessage(hosts=(status,)).model_dump_json()
                for client in self._subscribers[("hosts", status.host)]:
                    if ("hosts", None) not in client.subscriptions:
                        client.outbox.put_state(("hosts", status.host), text)
        return True

    def _tell(self, kind: StateKind, host: str, text: str) -> None:
        for client in self._subscribers.get((kind, None), ()):
            if client.sees(host):
                client.outbox.put_state((kind, host), text)
        for client in self._subscribers.get((kind, host), ()):
            client.outbox.put_state((kind, host), text)

    def _catch_up(self, client: Client, topic: Topic, host: str | None) -> None:
        if topic == "hosts":
            if self._hosts is not None:
                shown = tuple(
                    status for status in self._hosts if host in (None, status.host) and client.sees(status.host)
                )
                if shown or host is None:
                    client.outbox.put_state((topic, host), HostsMessage(hosts=shown).model_dump_json())
            return
        for (kind, of), state in self._states.items():
            if kind == topic and host in (None, of) and client.sees(of):
                client.outbox.put_state((kind, of), state.text)


def _covers(subscriptions: set[Subscription], topic: Topic, host: str | None) -> bool:
    return (topic, None) in subscriptions or (topic, host) in subscriptions


def _without_times(hosts: Iterable[HostStatus]) -> list[tuple[object, ...]]:
    return [(status.host, status.status, status.links) for status in hosts]


def _changed(before: Iterable[HostStatus], after: Iterable[HostStatus]) -> set[str]:
    was = {status.host: (status.status, status.links) for status in before}
    return {status.host for status in after if was.get(status.host) != (status.status, status.links)}
