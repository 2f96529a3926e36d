"""How often a client may break the protocol before it is closed. Pure."""

from collections import deque


class Strikes:
    """`limit` faults within `window_s` seconds are out."""

    def __init__(self, limit: int = 20, window_s: float = 60.0) -> None:
        self._window_s = window_s
        self._limit = limit
        self._at: deque[float] = deque(maxlen=limit)

    def out(self, now: float) -> bool:
        """Notes a fault at `now` (monotonic seconds); True where it was one too many."""
        self._at.append(now)
        return len(self._at) == self._limit and now - self._at[0] <= self._window_s
