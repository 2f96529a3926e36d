"""Waiting for what may happen at any moment, and no longer than until some time."""

import asyncio
import math


class Bell:
    """Rings for all who wait. Unlike an Event in an `asyncio.timeout`, it takes no cancellation to say that the time is
    over: those who wait for the next tick find that it is, nearly always, and an exception is the dear way to."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[bool]] = set()

    def ring(self) -> None:
        for waiting in self._waiting:
            _end(waiting, True)

    async def rings_by(self, by_s: float) -> bool:
        """True as soon as it rings, False at that time of the loop's clock; `inf` is never."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[bool] = loop.create_future()
        self._waiting.add(waiting)
        timer = loop.call_at(by_s, _end, waiting, False) if math.isfinite(by_s) else None
        try:
            return await waiting
        finally:
            self._waiting.discard(waiting)
            if timer is not None:
                timer.cancel()


def _end(waiting: "asyncio.Future[bool]", rung: bool) -> None:
    if not waiting.done():
        waiting.set_result(rung)
