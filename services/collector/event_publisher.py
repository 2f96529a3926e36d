"""Publishes a tenure's events, numbered in their order.

What could not be published is tried again, under the same number, so that whoever has got it drops it. At most
MOST_UNPUBLISHED wait for a Redis that is away; the oldest are given up, counted.
"""

import logging
from collections import deque
from itertools import islice
from typing import Literal

from common.envelope import Version, wrap
from common.errors import BusError
from common.models import Cause
from common.protocol import EventMessage
from common.telemetry import unpublished
from common.tenure import Tenure
from services.collector.transitions import Transition

logger = logging.getLogger(__name__)

MOST_UNPUBLISHED = 2_000
_AT_ONCE = 100


class EventPublisher:
    """One a tenure."""

    def __init__(self, tenure: Tenure) -> None:
        self._tenure = tenure
        self._payloads: deque[bytes] = deque()
        self._seq = 0

    def add(self, step: Transition, at_ms: int, cause: Cause | Literal["docker"]) -> None:
        """`at_ms`: when it happened, on Redis' clock."""
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
        while len(self._payloads) > MOST_UNPUBLISHED:
            unpublished.labels("events").inc()
            self._payloads.popleft()

    async def publish(self) -> bool:
        """As far as Redis takes it; True where that is all."""
        try:
            while self._payloads:
                some = list(islice(self._payloads, _AT_ONCE))
                if not await self._tenure.bus.publish_events(self._tenure.host, self._tenure.token, some):
                    self._tenure.hasten_beat()
                    break
                for _ in some:
                    self._payloads.popleft()
        except BusError as error:
            logger.debug("events not published yet: %s", error)
        return not self._payloads
