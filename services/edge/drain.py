"""How an edge goes without anybody missing it: in batches its clients are told to connect elsewhere, those who wait for
an ack last.

    SIGTERM → /readyz says 503, new clients are refused → batches over `drain_sec` → acks under way → the end

Everything after that is uvicorn's: it stops listening and ends what is left.
"""

import asyncio
import json
import logging
import math
import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.edge.app import Edge

logger = logging.getLogger(__name__)

RESTARTING = 1012

JITTER_MS = 1_000
"""Clients of one batch come back spread over this."""

_NOTICE_S = 0.5
"""Load balancers ask for /readyz now and then: nobody is to be sent back here. Of a drain that is shorter than twice
this, half."""

_BATCH_EVERY_S = 0.1
_SMALLEST_BATCH = 5
"""A handful of clients is no storm for anybody."""


def batch_size(clients: int, drain_s: float) -> int:
    """How many clients to tell at a time, so that all have been told in time."""
    if drain_s <= 0:
        return clients
    return max(_SMALLEST_BATCH, math.ceil(clients * _BATCH_EVERY_S / drain_s))


def announce(retry_after_ms: int) -> str:
    """The reason that goes with 1012: when to connect again."""
    return json.dumps({"retryAfterMs": retry_after_ms})


def retry_after_ms(reason: str) -> int:
    """What `announce` said."""
    announced: int = json.loads(reason)["retryAfterMs"]
    return announced


async def drain(edge: "Edge", drain_s: float) -> None:
    """Sends all clients away within `drain_s` seconds."""
    edge.draining = True
    ends_at = time.monotonic() + drain_s
    notice_s = min(_NOTICE_S, drain_s / 2)
    if edge.members:
        logger.info("telling %d clients to connect elsewhere, within %.0f s", len(edge.members), drain_s)
        await asyncio.sleep(notice_s)
    size = batch_size(len(edge.members), drain_s - notice_s)
    while edge.members:
        if time.monotonic() < ends_at:
            batch = [member for member in edge.members if not member.waits_for_acks][:size]
        else:
            batch = list(edge.members)
        for member in batch:
            member.close(RESTARTING, announce(random.randrange(JITTER_MS)))  # noqa: S311 - no secret
        if edge.members:
            await asyncio.sleep(_BATCH_EVERY_S)
