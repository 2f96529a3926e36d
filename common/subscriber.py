"""One sharded pub/sub connection, kept subscribed to a changing set of channels.

What it promises: every channel wanted is subscribed again after any failure, and `on_subscribed` tells each time that
one is, so that its last state is read (again) after that; what was published in between is gone. Silence is a fault:
the subscriber hears its own canary, or it gives the connection up, counts that, and makes a new one.

What it guards against, measured with redis-py 8.1: a read that times out in the kernel (TCP keepalive) makes
`get_message` return None at once, for ever and without yielding; a killed or stopped server may never end a read;
`health_check_interval` finds neither.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from redis.asyncio.client import PubSub

from common.backoff import Backoff
from common.bus import Bus
from common.clock import next_tick
from common.errors import BusError, FleetcastError
from common.telemetry import bus_reconnects

logger = logging.getLogger(__name__)

_BATCH = 500


class DeafError(FleetcastError):
    """The connection is there but brings nothing: `cause` is how that was noticed."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Subscriber:
    """Owns the connection; whoever runs `run` owns the subscriber."""

    def __init__(
        self,
        bus: Bus,
        canary: str,
        on_message: Callable[[str, bytes], None],
        on_subscribed: Callable[[str], None],
        *,
        canary_every_s: float = 2.0,
        silence_s: float = 6.0,
        phase_s: float = 0.0,
    ) -> None:
        """`phase_s`: when the canary sings, see common/clock.py."""
        self._bus = bus
        self._canary = canary
        self._on_message = on_message
        self._on_subscribed = on_subscribed
        self._canary_every_s = canary_every_s
        self._read_s = 2 * canary_every_s  # a canary comes earlier, so this hardly ever passes
        self._silence_s = silence_s
        self._phase_s = phase_s
        self._wanted: frozenset[str] = frozenset()
        self._wanted_changed = asyncio.Event()
        self._confirmed: set[str] = set()
        self._news = asyncio.Event()
        self._heard_at = float("-inf")

    @property
    def hears(self) -> bool:
        """Whether the canary has been heard lately."""
        return time.monotonic() - self._heard_at <= self._silence_s

    def want(self, channels: Iterable[str]) -> None:
        """The channels to be subscribed to from now on, all of them."""
        wanted = frozenset(channels)
        if wanted != self._wanted:
            self._wanted = wanted
            self._wanted_changed.set()

    def is_subscribed(self, channel: str) -> bool:
        return channel in self._confirmed

    async def subscribed(self, channel: str) -> None:
        """Until Redis has confirmed a wanted channel. Waits as long as that takes: give it a deadline."""
        while channel not in self._confirmed:
            await self._news.wait()

    async def run(self) -> None:
        """Connects, subscribes and reads for ever."""
        backoff = Backoff(initial_s=0.1, cap_s=2.0)
        while True:
            began = time.monotonic()
            try:
                await self._attempt()
            except* BusError as errors:
                bus_reconnects.labels("error").inc()
                logger.debug("subscriber: %s", errors.exceptions[0])
            except* DeafError as deaf:
                cause = deaf.exceptions[0]
                assert isinstance(cause, DeafError)
                bus_reconnects.labels(cause.cause).inc()
                logger.warning("the bus has fallen silent (%s): connecting again", cause)
            except* Exception:
                bus_reconnects.labels("unexpected").inc()
                logger.exception("subscriber failed; connecting again")
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError  # which a task group swallows that has errors too
            backoff.note_healthy(time.monotonic() - began)
            await asyncio.sleep(backoff.next_delay())

    async def _attempt(self) -> None:
        pubsub = self._bus.pubsub()
        try:
            async with asyncio.TaskGroup() as tasks:
                with self._bus.reaching():
                    await pubsub.ssubscribe(self._canary)
                tasks.create_task(self._follow_wanted(pubsub), name="subscriber follow")
                tasks.create_task(self._sing(), name="subscriber canary")
                # No task: on Python 3.11, who only waits for a group counts as cancelled once one of it has failed.
                await self._read(pubsub)
        finally:
            self._confirmed.clear()
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _read(self, pubsub: PubSub) -> None:
        with self._bus.reaching():
            while True:
                began = time.monotonic()
                message = await pubsub.get_message(timeout=self._read_s)
                if message is not None:
                    self._take(message)
                elif time.monotonic() - began < self._read_s / 2:
                    raise DeafError("dead-connection")

    def _take(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode(errors="replace")
        match message["type"]:
            case "smessage" if channel == self._canary:
                self._heard_at = time.monotonic()
            case "smessage":
                self._on_message(channel, message["data"])
            case "ssubscribe":
                self._confirmed.add(channel)
                self._news.set()
                self._news = asyncio.Event()
                if channel != self._canary:
                    self._on_subscribed(channel)
            case "sunsubscribe":
                self._confirmed.discard(channel)
                if channel in self._wanted:
                    raise DeafError("slot-moved")

    async def _follow_wanted(self, pubsub: PubSub) -> None:
        requested: set[str] = set()
        while True:
            self._wanted_changed.clear()
            wanted = self._wanted
            with self._bus.reaching():
                for batch in _batches(wanted - requested):
                    await pubsub.ssubscribe(*batch)
                for batch in _batches(requested - wanted):
                    await pubsub.sunsubscribe(*batch)
            requested = set(wanted)
            await self._wanted_changed.wait()

    async def _sing(self) -> None:
        """Publishes the canary; a connection that does not bring it back in time is given up."""
        listening_since = time.monotonic()
        while True:
            try:
                await self._bus.spublish(self._canary, b"")
            except BusError as error:
                logger.debug("canary not sent: %s", error)
            now_s = time.monotonic()
            await asyncio.sleep(next_tick(self._canary_every_s, self._phase_s, now_s) - now_s)
            if time.monotonic() - max(self._heard_at, listening_since) > self._silence_s:
                raise DeafError("canary-lost")


def _batches(channels: Iterable[str]) -> Iterable[list[str]]:
    ordered = sorted(channels)
    return (ordered[i : i + _BATCH] for i in range(0, len(ordered), _BATCH))
