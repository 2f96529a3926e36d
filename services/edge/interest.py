"""Tells collectors through Redis what is watched here, so that they sample fast what somebody looks at, and only that.

A key says that a kind is watched, of one host or of all, whatever the number of clients. Each edge renews what its
clients watch; what it renews no more runs out by itself, unless another edge watches it too. What has just begun to be
watched is also called out, after its key is there: collectors that hear it sample at once, the others find the key.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from prometheus_client import Counter

from common.bus import Bus
from common.errors import BusError, BusRefusedError
from common.keys import STATE_KINDS, WATCH_TTL_S, StateKind
from common.outage import Outage
from common.tokens import sees
from services.edge.audience import Selectors, Subscription
from services.edge.hub import Hub

logger = logging.getLogger(__name__)

MAX_ASKED = 1_000

Watched = tuple[str | None, StateKind]
"""A kind of state, of one host or (None) of all."""

asked_dropped = Counter(
    "fleetcast_asked_dropped_total", "States asked for over HTTP that counted as watched too shortly: too many others"
)


def watched(subscriptions: Iterable[tuple[Subscription, Selectors]], hosts: Sequence[str]) -> set[Watched]:
    """What subscriptions, each with what its clients may see, watch of a fleet of these hosts. Pure."""
    found: set[Watched] = set()
    wide: set[tuple[StateKind, tuple[str, ...]]] = set()
    for (topic, host), selectors in subscriptions:
        if topic not in STATE_KINDS:
            continue
        if host is not None or selectors is None:
            found.add((host, topic))
        else:
            wide.add((topic, selectors))
    found.update((host, kind) for kind, selectors in wide for host in hosts if sees(selectors, host))
    return found


class Asked:
    """What was asked for lately without a subscription: each counts as watched for `ttl_s`. At most `max_asked`, of
    which the oldest go. Times are monotonic seconds. Pure."""

    def __init__(self, ttl_s: float, max_asked: int = MAX_ASKED) -> None:
        self._ttl_s = ttl_s
        self._max_asked = max_asked
        self._until_s: OrderedDict[Watched, float] = OrderedDict()

    def note(self, pair: Watched, now_s: float) -> bool:
        """True where it was not watched for this reason until now."""
        self.recent(now_s)
        is_new = pair not in self._until_s
        self._until_s[pair] = now_s + self._ttl_s
        self._until_s.move_to_end(pair)
        if len(self._until_s) > self._max_asked:
            self._until_s.popitem(last=False)
            asked_dropped.inc()
        return is_new

    def recent(self, now_s: float) -> AbstractSet[Watched]:
        while self._until_s and next(iter(self._until_s.values())) <= now_s:
            self._until_s.popitem(last=False)
        return self._until_s.keys()


class Interests:
    """Keeps in Redis what is watched on this edge. `look_soon` tells it that this may have changed."""

    def __init__(self, bus: Bus, hub: Hub, ttl_s: float = WATCH_TTL_S, max_asked: int = MAX_ASKED) -> None:
        self._bus = bus
        self._hub = hub
        self._ttl_s = ttl_s
        self._every_s = ttl_s / 3
        self._asked = Asked(ttl_s, max_asked)
        self._kept: set[Watched] = set()
        self._refusals = Outage("Redis' consent to saying what is watched", logger)
        self._look_now = asyncio.Event()

    def note_asked(self, host: str, kind: StateKind) -> None:
        """Somebody has asked for this once, and may again."""
        if self._asked.note((host, kind), time.monotonic()):
            self.look_soon()

    def look_soon(self) -> None:
        """Many changes that come together are looked at once."""
        self._look_now.set()

    async def run(self) -> None:
        """Keeps it up for ever."""
        renew_at_s = time.monotonic()
        while True:
            self._look_now.clear()
            now_s = time.monotonic()
            current = self._watched(now_s)
            begun = current - self._kept
            is_due = now_s >= renew_at_s
            try:
                await self._tell(current if is_due else begun, begun)
            except BusError as error:
                if isinstance(error, BusRefusedError):
                    self._refusals.note(error.reason)
                logger.debug("not told what is watched: %s", error)
                self._kept &= current
                await asyncio.sleep(min(1.0, self._every_s))
                continue
            self._kept = current
            if is_due:
                renew_at_s = now_s + self._every_s
            await self._change(until_s=renew_at_s)

    def _watched(self, now_s: float) -> set[Watched]:
        hosts = [status.host for status in self._hub.hosts or ()]
        return watched(self._hub.subscriptions(), hosts) | self._asked.recent(now_s)

    async def _tell(self, kept: AbstractSet[Watched], begun: AbstractSet[Watched]) -> None:
        """Sets keys, then calls out what has begun to be watched, in one round trip."""
        if not kept:
            return
        keys = self._bus.keys
        with self._bus.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            for host, kind in kept:
                pipeline.set(keys.watch(host, kind), b"1", px=round(self._ttl_s * 1000))
            for host, kind in begun:
                pipeline.spublish(keys.wake(host), kind)
            await pipeline.execute()
        self._refusals.over()

    async def _change(self, until_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, until_s - time.monotonic())):
                await self._look_now.wait()
        except TimeoutError:
            pass
