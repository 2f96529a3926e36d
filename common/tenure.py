"""A worker's time at work on a host, while it holds the lease: who watches it, what keeps it from its job, and the
states that it publishes.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from common.bell import Bell
from common.bus import Bus, Point
from common.envelope import Version
from common.errors import BusError
from common.keys import WATCH_TTL_S, StateKind, Worker
from common.protocol import UsageSource
from common.roster import About
from common.telemetry import unpublished

logger = logging.getLogger(__name__)

OVERDUE_S = 5.0
INTERVALS_MISSED = 3
"""A job that has got nothing done for this long, and for so many of its intervals, is stalled, although its process
lives."""


class Tenure:
    """The right to work on a host, while it lasts, and what the worker hears and says meanwhile: who watches it, and
    what keeps it from its job."""

    def __init__(
        self, bus: Bus, host: str, worker: Worker, epoch: int, token: str, about: About, overdue_s: float = OVERDUE_S
    ) -> None:
        self.bus = bus
        self.host = host
        self.worker = worker
        self.epoch = epoch
        self.token = token
        self.interest = Interest(stale_after_s=2 * about.beat_ms / 1000)
        self._about = about
        self._overdue_s = overdue_s
        self._promises: dict[str, _Promise] = {}
        self._first_due_at = time.monotonic() + overdue_s
        self._news = Bell()
        self._has_news = False
        self._on_forgotten: list[Callable[[], object]] = []

    def note_done(self, what: str = "", next_within_s: float = 0.0) -> None:
        """The job has got something done just now, and will again within so long. One that is late with any of its
        tasks is told to be stalled."""
        patience_s = max(self._overdue_s, INTERVALS_MISSED * next_within_s)
        self._promises[what] = _Promise(next_within_s, time.monotonic() + patience_s)

    def note_waits(self, what: str, next_within_s: float) -> None:
        """The task has nothing to do for so long. Where that is longer than it said when it last got something done
        (nobody watches any more), it has the time."""
        if (promise := self._promises.get(what)) is not None and next_within_s > promise.within_s:
            self.note_done(what, next_within_s)

    @property
    def about(self) -> About:
        """What the roster is to say."""
        if self._about.fault is None and time.monotonic() > self._due_at:
            return replace(self._about, fault="stalled overdue")
        return self._about

    @property
    def _due_at(self) -> float:
        return min((promise.due_at for promise in self._promises.values()), default=self._first_due_at)

    @property
    def fault(self) -> str | None:
        """What keeps the worker from its job, as the roster tells it: `gone docker-unreachable`, or None."""
        return self.about.fault

    @fault.setter
    def fault(self, fault: str | None) -> None:
        self._tell(replace(self._about, fault=fault))

    def tell_usage(self, source: UsageSource | None) -> None:
        """Where containers' usage is read from now on."""
        self._tell(replace(self._about, usage=source))

    def _tell(self, about: About) -> None:
        if about != self._about:
            self._about = about
            self.hasten_beat()

    def hasten_beat(self) -> None:
        """There is something else to tell, or Redis says that the lease is not held."""
        self._has_news = True
        self._news.ring()

    def when_forgotten(self, call: Callable[[], object]) -> None:
        """`call` when Redis has forgotten the lease, and with it perhaps all that was published."""
        self._on_forgotten.append(call)

    def note_forgotten(self) -> None:
        """Redis had forgotten the lease, which is held again."""
        for call in self._on_forgotten:
            call()
        self.interest.doubt(WATCH_TTL_S)

    async def wait_for_beat(self, by_s: float) -> None:
        """Until the next beat is due, or is hastened."""
        if not self._has_news:
            await self._news.rings_by(by_s)
        self._has_news = False


class _Promise(NamedTuple):
    """When a task that has got something done is to have done so again."""

    within_s: float
    due_at: float
    """With all patience, on the monotonic clock."""


class Interest:
    """Which kinds somebody watches. What a beat reads is the truth; a wake-up is heard earlier, and believed until a
    beat that began after it can have read it too."""

    def __init__(self, stale_after_s: float) -> None:
        self._stale_after_s = stale_after_s
        self._read: frozenset[StateKind] = frozenset()
        self._woken_at_s: dict[StateKind, float] = {}
        self._doubt_until_s = float("-inf")
        self._changed = Bell()

    def has(self, kind: StateKind) -> bool:
        woken_at_s = self._woken_at_s.get(kind, float("-inf"))
        return kind in self._read or time.monotonic() - woken_at_s < self._stale_after_s

    def doubt(self, for_s: float) -> None:
        """Redis may have forgotten who watches: what was watched counts as watched until those who do have said so
        again."""
        self._doubt_until_s = time.monotonic() + for_s
        self._tell()

    def note_read(self, kinds: frozenset[StateKind]) -> None:
        if time.monotonic() < self._doubt_until_s:
            kinds |= self._read
        if kinds != self._read:
            self._read = kinds
            self._tell()

    def note_woken(self, kind: StateKind) -> None:
        self._woken_at_s[kind] = time.monotonic()
        self._tell()

    async def changes_by(self, by_s: float) -> bool:
        """True as soon as something has changed, or may have; False at that time of the loop's clock."""
        return await self._changed.rings_by(by_s)

    def _tell(self) -> None:
        self._changed.ring()


class StatePublisher:
    """Publishes one kind of state in a tenure, numbered without gaps unless one is lost on the way to Redis."""

    def __init__(self, tenure: Tenure, kind: StateKind) -> None:
        self._tenure = tenure
        self._kind = kind
        self._seq = 0

    async def publish(
        self, encode: Callable[[Version], bytes], history: Sequence[Point] = (), next_within_s: float | None = None
    ) -> bool:
        """Sends what `encode` makes of the next version; `history`: what it adds to its history. False, counted, where
        Redis is away or the lease is not held just now: the caller's next state supersedes this one anyway, which is
        to come `next_within_s` from now, if that can be told."""
        version = Version(self._tenure.epoch, self._seq + 1)
        body = encode(version)
        try:
            done = await self._tenure.bus.publish_state(
                self._tenure.host, self._kind, self._tenure.token, version, body, history
            )
            if not done:
                self._tenure.hasten_beat()
        except BusError as error:
            logger.debug("not published: %s", error)
            self._seq = version.seq  # it may have gone out: the number is used up
            done = False
        if done:
            self._seq = version.seq
            if next_within_s is not None:
                self._tenure.note_done(self._kind, next_within_s)
        else:
            unpublished.labels(self._kind).inc()
        return done
