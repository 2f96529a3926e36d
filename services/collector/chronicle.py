"""Tells what happens to a host's containers: from the engine's events and lists to published `event` messages, each
with its cause.

What could not be published is tried again, under the same number, so that whoever has got it drops it. At most
MOST_UNTOLD wait for a Redis that is away; the oldest are given up, counted.
"""

import logging
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from common.bus import Bus
from common.deeds import read_deeds
from common.docker import Docker, parse_time
from common.envelope import Version, body_prefix, unwrap, wrap
from common.errors import BusError, BusRefusedError, DockerApiError, DockerUnreachableError, MalformedError
from common.models import Container
from common.outage import Outage
from common.protocol import ContainersMessage, EventMessage
from common.telemetry import malformed, unpublished
from common.worker import Tenure
from services.collector.causes import Causes
from services.collector.engine_events import EngineEvent
from services.collector.transitions import Transition, Transitions, to_ms

logger = logging.getLogger(__name__)

MOST_UNTOLD = 2_000
_AT_ONCE = 100


class Chronicle:
    """Of one tenure."""

    def __init__(self, tenure: Tenure, docker: Docker, last_told: Iterable[Container]) -> None:
        self._tenure = tenure
        self._docker = docker
        self._transitions = Transitions(last_told)
        self._causes = Causes()
        self._read_up_to = "0-0"
        self._refusals = Outage(f"the record of what was done on {tenure.host}", logger)
        self._offset_ms = tenure.bus.clock.now_ms() - round(time.time() * 1000)
        """How far Redis' clock is ahead of Docker's: of this machine's, until the engine has said what its own is."""
        self._untold: deque[tuple[Transition, int]] = deque()
        """With their times on Redis' clock."""
        self._payloads: deque[bytes] = deque()
        self._seq = 0

    async def set_clock(self) -> None:
        """Looks at the engine's clock: at each connection, for it may be another engine, or another clock."""
        clock = self._tenure.bus.clock
        asked_at = clock.now_ms()
        try:
            said = parse_time((await self._docker.info()).get("SystemTime"))
        except (DockerUnreachableError, DockerApiError) as error:
            logger.debug("the engine's clock: %s", error)
            return
        if said is not None:
            self._offset_ms = (asked_at + clock.now_ms()) // 2 - said

    def on_events(self, events: Iterable[EngineEvent]) -> None:
        for event in events:
            self._transitions.on_event(event)

    def on_snapshot(
        self, containers: Sequence[Container], unreadable: Collection[str], moving: Collection[str]
    ) -> set[str]:
        """Returns the ids of those that have made steps which no event told."""
        return self._transitions.on_snapshot(containers, unreadable, moving)

    async def tell(self) -> None:
        """Publishes whatever is not told yet, as far as Redis takes it."""
        now_ms = self._tenure.bus.clock.now_ms()
        for step in self._transitions.take():
            self._untold.append((step, to_ms(step.at_ns, self._offset_ms, now_ms)))
        self._give_up()
        if not self._untold and not self._payloads:
            return
        try:
            await self._find_causes()
            while self._payloads:
                some = [self._payloads[i] for i in range(min(_AT_ONCE, len(self._payloads)))]
                if not await self._tenure.bus.publish_events(self._tenure.host, self._tenure.token, some):
                    return
                for _ in some:
                    self._payloads.popleft()
        except BusError as error:
            logger.debug("events not told yet: %s", error)

    async def _find_causes(self) -> None:
        if not self._untold:
            return
        try:
            deeds, self._read_up_to = await read_deeds(self._tenure.bus, self._tenure.host, self._read_up_to)
            self._causes.learn(deeds)
            self._refusals.over()
        except BusRefusedError as error:  # what happened is told, whoever did it
            self._refusals.note(error.reason)
        steps = list(self._untold)
        for (step, at_ms), cause in zip(steps, self._causes.of(steps), strict=True):
            self._seq += 1
            message = EventMessage(
                host=self._tenure.host,
                container_id=step.container_id,
                name=step.name,
                from_=step.before,
                to=step.after,
                at=at_ms,
                exit_code=step.exit_code,
                oom_killed=step.oom_killed,
                health=step.health,
                cause=cause,
            )
            self._payloads.append(wrap(Version(self._tenure.epoch, self._seq), message.model_dump_json().encode()))
        self._untold.clear()

    def _give_up(self) -> None:
        while len(self._untold) + len(self._payloads) > MOST_UNTOLD:
            unpublished.labels("events").inc()
            if self._payloads:
                self._payloads.popleft()
            else:
                self._untold.popleft()


async def last_told(bus: Bus, host: str) -> tuple[Container, ...]:
    """The containers as they were last published, by whichever collector; none where nobody has lately, or Redis is
    away."""
    try:
        [payload] = await bus.last_states([(host, "containers")])
        if payload is None:
            return ()
        _, body = unwrap(payload, body_prefix("containers", host))
        return ContainersMessage.model_validate_json(body).data
    except BusError as error:
        logger.debug("last state not read: %s", error)
    except (MalformedError, ValueError) as error:
        malformed.labels("last state").inc()
        logger.warning("ignoring the last containers of %s: %s", host, error)
    return ()
