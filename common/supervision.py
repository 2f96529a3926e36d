"""Every long task has an owner that brings it back."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from common.backoff import Backoff
from common.telemetry import task_restarts

logger = logging.getLogger(__name__)


async def run_forever(name: str, attempt: Callable[[], Awaitable[object]], backoff: Backoff | None = None) -> NoReturn:
    """Runs `attempt` again and again: one that raises or ends is logged, counted and tried again after a backoff.

    What an attempt expects to fail (an absent Redis, say) it handles itself; what arrives here is a surprise.
    """
    backoff = backoff or Backoff()
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await attempt()
            logger.error("%s ended by itself; starting it again", name)
        except Exception:
            logger.exception("%s failed; starting it again", name)
        task_restarts.labels(name).inc()
        backoff.note_healthy(loop.time() - began)
        await asyncio.sleep(backoff.next_delay())
