"""Follows an engine's events, for ever: connects, reads, watches for silence, connects again from where it was.

The reader only enqueues. What is read here is a hint that something has happened, not the truth: that is what a list of
containers says, and one is due whenever the feed has begun anew.
"""

import asyncio
import logging
from collections import deque

from prometheus_client import Counter

from common.backoff import Backoff
from common.clock import next_tick
from common.docker import Docker
from common.errors import DockerApiError, DockerUnreachableError, MalformedError
from common.outage import Outage
from common.telemetry import malformed
from services.collector.engine_events import ASKED_FOR, EngineEvent, Repeats, parse_event, since

logger = logging.getLogger(__name__)

MOST_WAITING = 10_000
PING_EVERY_S = 4.0
PING_WITHIN_S = 2.0
REFUSED_RETRY_S = 30.0
"""An engine, or a proxy before it, that gives no events is asked again after this; lists are made more often then."""

events_lost = Counter("fleetcast_engine_events_lost_total", "Events of the engine that were not followed", ["cause"])


class EventFeed:
    """`take` what has come, `wait` for more."""

    def __init__(
        self,
        docker: Docker,
        *,
        ping_every_s: float = PING_EVERY_S,
        ping_within_s: float = PING_WITHIN_S,
        most_waiting: int = MOST_WAITING,
        phase_s: float = 0.0,
    ) -> None:
        """A feed that has been silent for `ping_every_s` asks the engine whether it lives. `phase_s`: when, see
        common/clock.py."""
        self._docker = docker
        self._ping_every_s = ping_every_s
        self._ping_within_s = ping_within_s
        self._most_waiting = most_waiting
        self._phase_s = phase_s
        self._lines: deque[bytes] = deque()
        self._read: list[EngineEvent] = []
        self._until_ns: int | None = None
        self._repeats = Repeats()
        self._news = asyncio.Event()
        self._rung = False
        self._silent = True
        self._again = asyncio.Event()
        self._refusals = Outage(f"the stream of events of Docker at {docker.address}", logger)
        self.is_on = False
        """Whether the engine tells what happens just now."""
        self.is_away = False
        """Whether the engine has given no answer lately."""
        self.has_gap = True
        """Whether events may have been missed since this was last set to False: a list is due then."""

    async def wait(self) -> None:
        """Until something new has come, or the feed has begun anew or ended."""
        while True:
            await self._news.wait()
            self._parse()
            if self._read or self._rung:
                return
            self._news.clear()

    def ring(self) -> None:
        """Ends a `wait` for another reason."""
        self._rung = True
        self._news.set()

    def take(self) -> list[EngineEvent]:
        """What has come since the last time, in its order."""
        self._parse()
        taken, self._read = self._read, []
        self._rung = False
        self._news.clear()
        return taken

    def moving(self) -> set[str]:
        """Ids of the containers of which something has come that is not taken yet."""
        self._parse()
        return {event.container_id for event in self._read}

    def distrust(self) -> None:
        """A list has shown what no event told: the feed begins anew."""
        if self.is_on:
            events_lost.labels("untold").inc()
            self._again.set()

    async def run(self) -> None:
        """Follows for ever."""
        backoff = Backoff(initial_s=0.1, cap_s=2.0)
        while True:
            began = asyncio.get_running_loop().time()
            retry_s = 0.0
            try:
                await self._follow()
            except DockerUnreachableError as error:
                self.is_away = self.is_away or not self.is_on
                logger.debug("events: %s", error)
            except DockerApiError as error:
                self._refusals.note(error.message)
                retry_s = REFUSED_RETRY_S
            finally:
                self._turn(False)
            backoff.note_healthy(asyncio.get_running_loop().time() - began)
            await asyncio.sleep(retry_s or backoff.next_delay())

    async def _follow(self) -> None:
        """One connection. Raises DockerUnreachableError and DockerApiError."""
        self._again.clear()
        reading = asyncio.create_task(self._read_events(), name="engine events")
        watching = asyncio.create_task(self._watch(), name="engine watchdog")
        again = asyncio.create_task(self._again.wait(), name="engine events anew")
        tasks = (reading, watching, again)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in (reading, watching):
            if not task.cancelled():
                task.result()

    async def _read_events(self) -> None:
        self._parse()
        start = since(self._until_ns) if self._until_ns is not None else None
        async for lines in self._docker.events(ASKED_FOR, start):
            self._silent = False
            if not self.is_on:
                self._refusals.over()
                self.is_away = False
                self._turn(True)
            if lines:
                self._lines.extend(lines)
                if len(self._lines) + len(self._read) > self._most_waiting:
                    events_lost.labels("overflow").inc(len(self._lines) + len(self._read))
                    self._lines.clear()
                    self._read.clear()
                    self.has_gap = True
                    self.ring()
                self._news.set()

    async def _watch(self) -> None:
        """Ends, with an error, when the engine does not answer."""
        while True:
            self._silent = True
            now_s = asyncio.get_running_loop().time()
            await asyncio.sleep(next_tick(self._ping_every_s, self._phase_s, now_s) - now_s)
            if self._silent:
                try:
                    await self._docker.ping(self._ping_within_s)
                except DockerApiError as error:  # an answer, if no good one
                    logger.debug("ping: %s", error)
                except DockerUnreachableError:
                    self.is_away = True
                    raise

    def _turn(self, on: bool) -> None:
        self.is_on = on
        self.has_gap = True
        self._repeats.forget()
        self.ring()

    def _parse(self) -> None:
        while self._lines:
            try:
                event = parse_event(self._lines.popleft())
            except MalformedError as error:
                malformed.labels("engine event").inc()
                logger.debug("skipping an event of the engine: %s", error)
                continue
            if event is not None:
                self._until_ns = max(self._until_ns or 0, event.at_ns)
                if not self._repeats.has(event):
                    self._read.append(event)
