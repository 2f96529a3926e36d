"""Tells what happens to a host's containers: from the engine's events and lists to published `event` messages, each
with its cause.

At most MOST_UNPUBLISHED wait for a Redis that is away; the oldest are given up, counted.
"""

import logging
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from common.bus import Bus
from common.deeds import read_deeds
from common.docker import Docker, parse_time
from common.envelope import body_prefix, unwrap
from common.errors import BusError, BusRefusedError, DockerApiError, DockerUnreachableError, MalformedError
from common.models import Container
from common.outage import Outage
from common.protocol import ContainersMessage
from common.telemetry import malformed, unpublished
from common.tenure import Tenure
from services.collector.causes import Causes
from services.collector.engine_events import EngineEvent
from services.collector.event_publisher import MOST_UNPUBLISHED, EventPublisher
from services.collector.transitions import Transition, Transitions, to_ms

logger = logging.getLogger(__name__)


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
        self._publisher = EventPublisher(tenure)

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

    async def tell(self) -> bool:
        """Publishes whatever is not told yet, as far as Redis takes it; True where that is all."""
        now_ms = self._tenure.bus.clock.now_ms()
        for step in self._transitions.take():
            self._untold.append((step, to_ms(step.at_ns, self._offset_ms, now_ms)))
        while len(self._untold) > MOST_UNPUBLISHED:
            unpublished.labels("events").inc()
            self._untold.popleft()
        if self._untold and await self._learn():
            steps = list(self._untold)
            for (step, at_ms), cause in zip(steps, self._causes.of(steps), strict=True):
                self._publisher.add(step, at_ms, cause)
            self._untold.clear()
        return await self._publisher.publish() and not self._untold

    async def _learn(self) -> bool:
        """What actions have been doing. False where that cannot be known now, but soon."""
        try:
            deeds, self._read_up_to = await read_deeds(self._tenure.bus, self._tenure.host, self._read_up_to)
        except BusRefusedError as error:  # what happened is told, whoever did it
            self._refusals.note(error.reason)
        except BusError as error:
            logger.debug("causes not known yet: %s", error)
            return False
        else:
            self._causes.learn(deeds)
            self._refusals.over()
        return True


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
