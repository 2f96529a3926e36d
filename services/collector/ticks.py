"""A steady clock: ticks stay on their grid, and ticks that were missed are left out, not made up for in a burst."""

import asyncio
import math


def next_tick(last_s: float, interval_s: float, now_s: float) -> float:
    """The first time on the grid of `last_s` that is later than it and not past at `now_s`. Pure."""
    return last_s + interval_s * max(1, math.ceil((now_s - last_s) / interval_s))


class Ticks:
    """Work, wait for the next tick, work: how long the work takes does not shift them. The first is an interval after
    this was made, which is in a running loop."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last_s = asyncio.get_running_loop().time()

    async def wait(self) -> None:
        now_s = asyncio.get_running_loop().time()
        self._last_s = next_tick(self._last_s, self._interval_s, now_s)
        await asyncio.sleep(self._last_s - now_s)
