"""Every Redis key and channel name, with its time to live and the reason for it.

All names of a host carry its id as hash tag (`fc:{web-1}:...`), so that they share a slot: one transaction or script
may touch them together on a Cluster too. Names without a host (`fc:seen:metrics`) are one small key for the fleet.
"""

from typing import Literal, get_args

StateKind = Literal["metrics", "containers"]
"""What collectors publish as state: only the newest counts, and it is kept for late subscribers."""

Worker = Literal["metrics", "containers", "executor"]
"""The parts that run once on a host; each holds a lease and stands in the roster."""

STATE_KINDS: tuple[StateKind, ...] = get_args(StateKind)
WORKERS: tuple[Worker, ...] = get_args(Worker)

EXECUTOR_GROUP = "executor"
"""The consumer group of every action stream, and its one consumer: the lease says which process that is."""

LAST_STATE_TTL_S = 24 * 3600
"""In the morning the page still shows what a host that died at night looked like; after a day it is forgotten."""

LEASE_TTL_MS = 6_000
"""A dead worker's stand-by takes over after this; several renewals long, so that one lost renewal costs nothing."""

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

    def channel(self, host: str, kind: StateKind) -> str:
        """Channel: published state."""
        return self._of(host, kind)

    def acks(self, host: str) -> str:
        """Channel: `container-ack` messages of this host's actions. A hint; the record is the truth."""
        return self._of(host, "acks")

    def last(self, host: str, kind: StateKind) -> str:
        """String, LAST_STATE_TTL_S: the payload last published, for late subscribers."""
        return self._of(host, f"last:{kind}")

    def lease(self, host: str, worker: Worker) -> str:
        """String, LEASE_TTL_MS: `<epoch> <machine> <instance>` of the live worker."""
        return self._of(host, f"lease:{worker}")

    def actions(self, host: str) -> str:
        """Stream with the group `executor`: actions to do; entries are deleted once done."""
        return self._of(host, "actions")

    def action(self, host: str, request_id: str, target: int | None = None) -> str:
        """Hash, ACTION_TTL_S: the outcome record of one action; with `target`, of one of its message's several."""
        return self._of(host, f"action:{request_id}" if target is None else f"target:{target}:{request_id}")

    def audit(self, host: str) -> str:
        """Stream, capped by a setting: who did what and what came of it; the records as they were settled."""
        return self._of(host, "audit")

    def canary(self, edge: str) -> str:
        """Channel: an edge's own messages to itself, by which it knows that it still hears the bus."""
        return self._of(f"edge.{edge}", "canary")

    def seen(self, worker: Worker) -> str:
        """Sorted set without TTL, trimmed by score (ROSTER_TTL_MS): host → when its worker was last seen, ms."""
        return f"{self._namespace}:seen:{worker}"

    def faults(self, worker: Worker) -> str:
        """Hash beside `seen`: host → `<state> <reason>`, only for workers that are there but cannot do their job."""
        return f"{self._namespace}:faults:{worker}"
