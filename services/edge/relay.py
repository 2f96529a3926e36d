"""From the bus to the hub: keeps subscribed to what somebody here watches, reads last states, follows the roster."""

import asyncio
import logging
import time

from common.bus import Bus
from common.envelope import body_prefix, unwrap
from common.errors import BusError, BusRefusedError, MalformedError
from common.keys import StateKind
from common.outage import Outage
from common.subscriber import Subscriber
from common.supervision import run_forever
from common.telemetry import malformed
from services.edge.actions import ActionDesk
from services.edge.hub import Hub
from services.edge.roster import host_statuses, without_bus

logger = logging.getLogger(__name__)

_READ_BATCH = 200


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
        self._followed_until: dict[tuple[str, StateKind], float] = {}
        self._refusals = Outage("the fleet's roster", logger)
        self._channels: dict[str, tuple[str, StateKind]] = {}
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
        self._channels = {self._bus.keys.channel(host, kind): (host, kind) for host, kind in followed}
        self._ack_channels = {self._bus.keys.acks(host): host for host in self._desk.hosts}
        self.subscriber.want((*self._channels, *self._ack_channels))

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

    def _on_subscribed(self, channel: str) -> None:
        if channel in self._channels:
            self._to_read.add(self._channels[channel])
            self._read_now.set()
        elif channel in self._ack_channels:
            self._desk.check_now()

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
