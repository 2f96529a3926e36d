"""When a kind of state is to be sampled next: on a fast clock while somebody on some edge watches it, on a slow one
else, and at once when the first one begins to, or when Redis may have forgotten the last one.

All clocks of a host tick together, on a grid of its own: a process that wakes up once does more with what it costs. How
long a sample takes does not shift the next one, and ticks that were missed are left out, not made up for in a burst.
"""

import asyncio
import math

from common.clock import next_tick, phase_of
from common.keys import StateKind
from common.tenure import Tenure


class Pace:
    """Work, wait, work."""

    def __init__(self, tenure: Tenure, kind: StateKind, fast_s: float, slow_s: float) -> None:
        """Lasts as long as its tenure. `slow_s` of `inf`: only what is watched is sampled."""
        self._tenure = tenure
        self._interest = tenure.interest
        self._kind = kind
        self._fast_s = fast_s
        self._slow_s = max(fast_s, slow_s)
        self._phase_s = phase_of(tenure.host)
        self._was_watched = self.is_watched
        self._is_forgotten = False
        tenure.when_forgotten(self._note_forgotten)

    def _note_forgotten(self) -> None:
        self._is_forgotten = True

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
            is_forgotten, self._is_forgotten = self._is_forgotten, False
            if began or is_forgotten:
                return
            interval_s = self._fast_s if watched else self._slow_s
            self._tenure.note_waits(self._kind, interval_s)
            due_s = next_tick(interval_s, self._phase_s, now_s()) if math.isfinite(interval_s) else math.inf
            if not await self._interest.changes_by(due_s):
                return
