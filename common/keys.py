"""Every Redis key and channel name, with its time to live and the reason for it.

All names of a host carry its id as hash tag (`fc:{web-1}:...`), so that they share a slot: one transaction or script
may touch them together on a Cluster too. Names without a host (`fc:seen:metrics`) are one small key for the fleet.
"""

from typing import Literal, get_args

StateKind = Literal["metrics", "containers", "usage", "processes"]
"""What collectors publish as state: only the newest counts, and it is kept for late subscribers."""

FeedKind = Literal["metrics", "containers", "usage", "processes", "events"]
"""What is published of a host: its states, and the events, of which each one counts."""

Worker = Literal["metrics", "containers", "executor"]
"""The parts that run once on a host; each holds a lease and stands in the roster."""

Grain = Literal["full", "minute"]
"""How fine a history is: every sample, or the mean of each minute."""

STATE_KINDS: tuple[StateKind, ...] = get_args(StateKind)
FEED_KINDS: tuple[FeedKind, ...] = get_args(FeedKind)
WORKERS: tuple[Worker, ...] = get_args(Worker)

PUBLISHED_BY: dict[FeedKind, Worker] = {
    "metrics": "metrics",
    "processes": "metrics",
    "containers": "containers",
    "usage": "containers",
    "events": "containers",
}
"""Whose lease it takes to publish a kind."""

EXECUTOR_GROUP = "executor"
"""The consumer group of every action stream, and its one consumer: the lease says which process that is."""

LAST_STATE_TTL_S = 24 * 3600
"""In the morning the page still shows what a host that died at night looked like; after a day it is forgotten."""

BEAT_S = 2.0
"""A worker renews its lease and its place in the roster this often, unless a setting says otherwise."""

LEASE_BEATS = 3
"""A lease runs out after so many beats without a renewal: one lost on the way costs nothing, and a dead worker's
stand-by takes over soon."""

WATCH_TTL_S = 15
"""An edge renews what it watches every third of this, so that a dead edge's interest runs out by itself."""

EVENTS_KEPT = 256
"""Of each host, the last events: what an edge reads again that was away from the bus, and what `/events` answers."""

EVENTS_TTL_S = 7 * 24 * 3600

DEEDS_KEPT = 1_000
"""More than the executor can begin and end while the collector, which follows within a second, looks away."""

DEEDS_TTL_S = 3600
"""Whatever an action did to its container, it has done by then, and the collector has told it."""

ACTION_TTL_S = 24 * 3600
"""How long a repeated `requestId` gets the same answer instead of a second action."""

ROSTER_TTL_MS = 7 * 24 * 3600 * 1000
"""A host unseen for a week leaves the roster; until then it is shown as gone."""

ACTIONS_STREAM_MAX = 10_000
"""A safety net: entries are deleted when they are done, and expire long before this many wait."""


class Keys:
    """The names under one namespace (`FLEETCAST_NAMESPACE`, default `fc`)."""

    def __init__(self, namespace: str = "fc") -> None:
        self._namespace = namespace

    def _of(self, host: str, rest: str) -> str:
        return f"{self._namespace}:{{{host}}}:{rest}"

    def channel(self, host: str, kind: FeedKind) -> str:
        """Channel: published states, and events."""
        return self._of(host, kind)

    def acks(self, host: str) -> str:
        """Channel: `container-ack` messages of this host's actions. A hint; the record is the truth."""
        return self._of(host, "acks")

    def last(self, host: str, kind: StateKind) -> str:
        """String, LAST_STATE_TTL_S: the payload last published, for late subscribers."""
        return self._of(host, f"last:{kind}")

    def events(self, host: str) -> str:
        """Stream, EVENTS_KEPT, EVENTS_TTL_S: the payloads of the last events, each in the field `event`."""
        return self._of(host, "last:events")

    def history(self, host: str, kind: StateKind, grain: Grain) -> str:
        """Stream, capped in entries and bytes, gone with the time it spans: points for charts (common/history.py)."""
        return self._of(host, f"history:{kind}:{grain}")

    def watch(self, host: str | None, kind: StateKind) -> str:
        """String, WATCH_TTL_S: some edge has somebody who watches this kind, of this host or (None) of all hosts."""
        return f"{self._namespace}:watch:{kind}" if host is None else self._of(host, f"watch:{kind}")

    def wake(self, host: str | None) -> str:
        """Channel: the name of a kind that somebody has just begun to watch, of this host or (None) of all hosts. A
        hint: a collector that misses it finds the watch key with its next beat."""
        return f"{self._namespace}:wake" if host is None else self._of(host, "wake")

    def lease(self, host: str, worker: Worker) -> str:
        """String, for LEASE_BEATS: `<epoch> <machine> <instance>` of the live worker."""
        return self._of(host, f"lease:{worker}")

    def actions(self, host: str) -> str:
        """Stream with the group `executor`: actions to do; entries are deleted once done."""
        return self._of(host, "actions")

    def action(self, host: str, request_id: str, target: int | None = None) -> str:
        """Hash, ACTION_TTL_S: the outcome record of one action; with `target`, of one of its message's several."""
        return self._of(host, f"action:{request_id}" if target is None else f"target:{target}:{request_id}")

    def deeds(self, host: str) -> str:
        """Stream, DEEDS_KEPT, DEEDS_TTL_S: what the executor has begun and what it has ended. The collector reads from
        it who caused what it sees."""
        return self._of(host, "deeds")

    def audit(self, host: str) -> str:
        """Stream, capped by a setting: who did what and what came of it; the records as they were settled."""
        return self._of(host, "audit")

    def canary(self, listener: str) -> str:
        """Channel: a listener's own messages to itself, by which it knows that it still hears the bus."""
        return self._of(listener, "canary")

    def doctor(self, host: str) -> str:
        """A key that `fleetcast doctor` writes and removes in one script, to find out whether it may."""
        return self._of(host, "doctor")

    def seen(self, worker: Worker) -> str:
        """Sorted set without TTL, trimmed by score (ROSTER_TTL_MS): host → when its worker was last seen, ms."""
        return f"{self._namespace}:seen:{worker}"

    def about(self, worker: Worker) -> str:
        """Hash beside `seen`: host → what its worker says of itself, a JSON object (common/roster.py): how often it
        is to be heard, what keeps it from its job, and so on."""
        return f"{self._namespace}:about:{worker}"
