"""When a kind of state is to be sampled next: on a fast clock while somebody on some edge watches it, on a slow one
else, and at once when the first one begins to.

A clock stays on its grid: how long a sample takes does not shift the next one, and ticks that were missed are left out,
not made up for in a burst.
"""

import asyncio
import math

from common.keys import StateKind
from common.tenure import Tenure


def next_tick(last_s: float, interval_s: float, now_s: float) -> float:
    """The first time on the grid of `last_s` that is later than it and not past at `now_s`. Pure."""
    return last_s + interval_s * max(1, math.ceil((now_s - last_s) / interval_s))


class Pace:
    """Work, wait, work. Made in a running loop, at the time of the first work."""

    def __init__(self, tenure: Tenure, kind: StateKind, fast_s: float, slow_s: float) -> None:
        """`slow_s` of `inf`: only what is watched is sampled."""
        self._interest = tenure.interest
        self._kind = kind
        self._fast_s = fast_s
        self._slow_s = max(fast_s, slow_s)
        self._last_s = asyncio.get_running_loop().time()
        self._was_watched = self.is_watched

    @property
    def is_watched(self) -> bool:
        return self._interest.has(self._kind)

    @property
    def interval_s(self) -> float:
        """Until the next sample, as things stand."""
        return self._fast_s if self.is_watched else self._slow_s

    async def wait(self) -> None:
        """Until the next sample is due."""
        now_s = asyncio.get_running_loop().time
        while True:
            watched = self.is_watched
            began, self._was_watched = watched and not self._was_watched, watched
            if began:
                self._last_s = now_s()
                return
            interval_s = self._fast_s if watched else self._slow_s
            due_s = next_tick(self._last_s, interval_s, now_s()) if math.isfinite(interval_s) else math.inf
            if await self._changes_by(due_s):
                continue
            self._last_s = due_s
            return

    async def _changes_by(self, due_s: float) -> bool:
        try:
            async with asyncio.timeout_at(due_s if math.isfinite(due_s) else None):
                await self._interest.change()
        except TimeoutError:
            return False
        return True
