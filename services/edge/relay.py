"""From the bus to the hub: keeps subscribed to what somebody here watches, reads last states, follows the roster.

Events count each. A host's channel is followed only once its newest event is known here. Whenever its channel has been
subscribed to, what it brings is held until the host's last events have been read: those that came while nobody listened
are passed on first.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

from prometheus_client import Counter

from common.bus import Bus
from common.envelope import Version, body_prefix, unwrap
from common.errors import BusError, BusRefusedError, MalformedError
from common.keys import EVENTS_KEPT, FeedKind, StateKind
from common.outage import Outage
from common.subscriber import Subscriber
from common.supervision import run_forever
from common.telemetry import malformed
from services.edge.actions import ActionDesk
from services.edge.hub import Hub
from services.edge.roster import host_statuses, without_bus

logger = logging.getLogger(__name__)

_READ_BATCH = 200

_NO_EVENT = Version(0, 0)

_FEW = 8
"""Of a host's events, read first: after most breaks there are no new ones, and of many hosts all would be megabytes."""

events_lost = Counter(
    "fleetcast_events_lost_total", "Breaks in which a host may have had more events than are kept: some were not told"
)


class Relay:
    """Owns the subscriber. `refresh_soon` tells it that subscriptions have changed."""

    def __init__(
        self,
        bus: Bus,
        hub: Hub,
        desk: ActionDesk,
        edge_id: str,
        roster_every_s: float = 1.0,
        unsubscribe_after_s: float = 10.0,
    ) -> None:
        """`unsubscribe_after_s`: what nobody here watches any more is followed for so long still. Pages are reloaded,
        connections break and come back; they find the newest state here, and Redis hears nothing of it."""
        self._bus = bus
        self._hub = hub
        self._desk = desk
        self._roster_every_s = roster_every_s
        self._unsubscribe_after_s = unsubscribe_after_s
        self._refreshing = False
        self._followed_until: dict[tuple[str, FeedKind], float] = {}
        self._refusals = Outage("the fleet's roster", logger)
        self._channels: dict[str, tuple[str, StateKind]] = {}
        self._events = _Events(bus, hub, self.refresh_soon, retry_s=roster_every_s)
        self._ack_channels: dict[str, str] = {}
        self._to_read: set[tuple[str, StateKind]] = set()
        self._read_now = asyncio.Event()
        self.subscriber = Subscriber(bus, bus.keys.canary(f"edge.{edge_id}"), self._on_message, self._on_subscribed)

    @property
    def not_ready_because(self) -> str | None:
        """Why this edge cannot serve now, or None where it can."""
        if self._hub.hosts is None:
            return "the fleet's roster has not been read yet"
        if not self._bus.available:
            return "Redis is not available"
        if not self.subscriber.hears:
            return "this edge does not hear itself over the bus"
        return None

    async def run(self) -> None:
        """Relays for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.subscriber.run(), name="subscriber")
            tasks.create_task(run_forever("roster", self._follow_roster), name="roster")
            tasks.create_task(run_forever("last states", self._read_last_states), name="last states")
            tasks.create_task(run_forever("events", self._events.run), name="events")
            tasks.create_task(run_forever("action sweep", self._desk.sweep_forever), name="action sweep")

    def refresh(self) -> None:
        """Subscribes to what is watched now, and to nothing else but what was watched until lately."""
        now = time.monotonic()
        watched = self._hub.interest([status.host for status in self._hub.hosts or ()])
        self._followed_until.update(dict.fromkeys(watched, now + self._unsubscribe_after_s))
        for pair in [pair for pair, until in self._followed_until.items() if until < now]:
            del self._followed_until[pair]
        followed = set(self._followed_until)
        self._hub.forget_unwatched(followed)
        self._channels = {
            self._bus.keys.channel(host, kind): (host, kind) for host, kind in followed if kind != "events"
        }
        self._events.follow({host for host, kind in followed if kind == "events"})
        self._ack_channels = {self._bus.keys.acks(host): host for host in self._desk.hosts}
        self.subscriber.want((*self._channels, *self._ack_channels, *self._events.hosts))

    def refresh_soon(self) -> None:
        """Many subscriptions that come together are looked at once."""
        if not self._refreshing:
            self._refreshing = True
            asyncio.get_running_loop().call_soon(self._refresh_now)

    def _refresh_now(self) -> None:
        self._refreshing = False
        self.refresh()

    async def hear_acks(self, host: str) -> None:
        """Until a host's acks are heard here. Give it a deadline."""
        self._desk.hosts.add(host)
        self.refresh()
        await self.subscriber.subscribed(self._bus.keys.acks(host))

    def _on_message(self, channel: str, payload: bytes) -> None:
        if channel in self._ack_channels:
            self._desk.on_ack(self._ack_channels[channel], payload)
        elif channel in self._channels:
            self._publish(*self._channels[channel], payload)
        elif channel in self._events.hosts:
            self._events.on_message(self._events.hosts[channel], payload)

    def _on_subscribed(self, channel: str) -> None:
        if channel in self._channels:
            self._to_read.add(self._channels[channel])
            self._read_now.set()
        elif channel in self._ack_channels:
            self._desk.check_now()
        elif channel in self._events.hosts:
            self._events.on_subscribed(self._events.hosts[channel])

    def _publish(self, host: str, kind: StateKind, payload: bytes) -> None:
        try:
            version, body = unwrap(payload, body_prefix(kind, host))
            body.decode()  # a text frame that is not UTF-8 would have every client close its connection
        except (MalformedError, UnicodeDecodeError) as error:
            malformed.labels("state").inc()
            logger.warning("skipping %s of %s: %s", kind, host, error)
            return
        self._hub.publish(host, kind, version, body)

    async def _read_last_states(self) -> None:
        """Reads the last state of each channel just subscribed to: read after subscribing, so nothing is missed."""
        while True:
            await self._read_now.wait()
            self._read_now.clear()
            batch = list(self._to_read)[:_READ_BATCH]
            try:
                for (host, kind), payload in zip(batch, await self._bus.last_states(batch), strict=True):
                    if payload is not None:
                        self._publish(host, kind, payload)
            except BusError as error:
                logger.debug("last states not read: %s", error)
                await asyncio.sleep(self._roster_every_s)
            else:
                self._to_read.difference_update(batch)
            if self._to_read:
                self._read_now.set()

    async def _follow_roster(self) -> None:
        while True:
            try:
                statuses = host_statuses(await self._bus.read_roster())
            except BusError as error:
                if isinstance(error, BusRefusedError):
                    self._refusals.note(error.reason)
                if self._hub.hosts is not None:
                    self._hub.publish_hosts(without_bus(self._hub.hosts))
            else:
                self._refusals.over()
                self._hub.publish_hosts(statuses)
            self.refresh()
            await asyncio.sleep(self._roster_every_s)


class _Events:
    """The followed hosts' events, each passed on once and in order, also over a break of the bus; what a break has cost
    is counted.

    `on_known` is called when `hosts` has got longer; each of its channels is to be subscribed to.
    """

    def __init__(self, bus: Bus, hub: Hub, on_known: Callable[[], None], retry_s: float) -> None:
        self.hosts: dict[str, str] = {}
        """Channel → host, of the hosts whose newest event is known here."""
        self._bus = bus
        self._hub = hub
        self._on_known = on_known
        self._retry_s = retry_s
        self._refusals = Outage("what the fleet's last events are", logger)
        self._unknown: list[str] = []
        self._held: dict[str, deque[bytes]] = {}
        """Host → what its channel has brought before its last events have been read. More than are read need not be
        held: where there were more, the reading finds that some are lost."""
        self._work = asyncio.Event()

    def follow(self, hosts: AbstractSet[str]) -> None:
        """The hosts whose events are followed from now on, all of them; the hub has forgotten those of others."""
        known = {host for host in hosts if self._hub.last_event(host) is not None}
        self.hosts = {self._bus.keys.channel(host, "events"): host for host in known}
        self._held = {host: held for host, held in self._held.items() if host in known}
        self._unknown = sorted(hosts - known)
        if self._unknown:
            self._work.set()

    def on_subscribed(self, host: str) -> None:
        # A new object, for a reading that is under way has begun too early to end this.
        self._held[host] = deque(self._held.get(host, ()), maxlen=EVENTS_KEPT)
        self._work.set()

    def on_message(self, host: str, payload: bytes) -> None:
        held = self._held.get(host)
        if held is not None:
            held.append(payload)
        else:
            self._publish(host, _readable(host, (payload,)))

    async def run(self) -> None:
        """Reads what has to be read, for ever."""
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await self._learn_newest(self._unknown[:_READ_BATCH])
                await self._catch_up(dict(islice(self._held.items(), _READ_BATCH)))
            except BusError as error:
                if isinstance(error, BusRefusedError):
                    self._refusals.note(error.reason)
                logger.debug("last events not read: %s", error)
                await asyncio.sleep(self._retry_s)
            else:
                self._refusals.over()
            if self._unknown or self._held:
                self._work.set()

    async def _learn_newest(self, hosts: Sequence[str]) -> None:
        """What is there already is for nobody who has subscribed by now."""
        if not hosts:
            return
        for host, payloads in zip(hosts, await self._bus.last_events(hosts, _FEW), strict=True):
            newest = max((version for version, _ in _readable(host, payloads)), default=_NO_EVENT)
            if host in self._unknown:
                self._unknown.remove(host)
                self._hub.note_event(host, newest)
        self._on_known()

    async def _catch_up(self, waiting: dict[str, deque[bytes]], count: int = _FEW) -> None:
        """Reads the last events of hosts just subscribed to: read after subscribing, so nothing is missed."""
        if not waiting:
            return
        more = {}
        for (host, held), payloads in zip(
            waiting.items(), await self._bus.last_events(list(waiting), count), strict=True
        ):
            if self._held.get(host) is not held:
                continue
            read = _readable(host, payloads)
            if len(payloads) >= count and _may_lack_some(read, self._hub.last_event(host)):
                if count < EVENTS_KEPT:
                    more[host] = held
                    continue
                events_lost.inc()
                logger.warning("%s had more than %d events while the bus was away: some are lost", host, EVENTS_KEPT)
            del self._held[host]
            self._publish(host, (*read, *_readable(host, held)))
        await self._catch_up(more, EVENTS_KEPT)

    def _publish(self, host: str, events: Iterable[tuple[Version, bytes]]) -> None:
        for version, body in events:
            self._hub.publish_event(host, version, body)


def _readable(host: str, payloads: Iterable[bytes]) -> list[tuple[Version, bytes]]:
    """The events that can be read of a host's payloads."""
    found = []
    for payload in payloads:
        try:
            version, body = unwrap(payload, body_prefix("event", host))
            body.decode()
        except (MalformedError, UnicodeDecodeError) as error:
            malformed.labels("event").inc()
            logger.warning("skipping an event of %s: %s", host, error)
        else:
            found.append((version, body))
    return found


def _may_lack_some(read: Sequence[tuple[Version, bytes]], last: Version | None) -> bool:
    """Whether there may be events between the last one known and the oldest one read."""
    if last is None:
        return False
    oldest = min((version for version, _ in read), default=None)
    return oldest is None or oldest > Version(last.epoch, last.seq + 1)
