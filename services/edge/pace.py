"""When to flush: at once while that is cheap, else at the end of a window. Pure.

While writing every message on its own takes at most `share` of the loop, nothing waits. Beyond that messages wait for
the end of a window and leave together, one write a client. The window is long enough that flushing takes at most
`share` of the loop, so what falls under overload is the frame rate.
"""


class Pace:
    """`share`: part of the loop's time that flushing may take. `window_s`: how long messages wait for each other under
    load; `max_window_s`: and at most, whatever flushing costs. Times are monotonic seconds."""

    def __init__(self, window_s: float = 0.13, share: float = 0.3, max_window_s: float = 1.0) -> None:
        self._window_s = window_s
        self._share = share
        self._max_window_s = max_window_s
        self._flushed_at = float("-inf")
        self._paid_at = float("-inf")
        """When what flushing has cost so far is within its share again."""
        self._cost_s = 0.0
        self._rate = 0.0
        self.window_s = 0.0
        """How long messages wait for each other now; 0 where they don't."""

    def wait_s(self, now: float) -> float:
        """How long a flush has to wait from `now` on."""
        earliest = self._flushed_at + self.window_s if self.window_s else self._paid_at - self._fair_s()
        return max(0.0, earliest - now)

    def flushed(self, began: float, cost_s: float, messages: int) -> None:
        """A flush of that many newly changed messages began then and took `cost_s` of the loop."""
        elapsed = began - self._flushed_at
        if elapsed >= 1.0:
            self._rate = messages / elapsed if elapsed != float("inf") else 0.0
        elif elapsed > 0:
            # Weighted by time, over about half a second: a burst of a few messages is no load yet.
            weight = min(1.0, elapsed / 0.5)
            self._rate += weight * (messages / elapsed - self._rate)
        self._flushed_at = began
        paid_at = max(self._paid_at, began) + cost_s / self._share
        self._paid_at = min(paid_at, began + self._max_window_s)
        self._cost_s += 0.3 * (cost_s - self._cost_s)
        self.window_s = self._joining_s()

    def _joining_s(self) -> float:
        """The window under load, 0 where it is quiet."""
        alone = self._rate * self._cost_s
        # Left at a lower load than it was entered at, so that it does not flutter.
        if alone <= self._share * (0.8 if self.window_s else 1.0):
            return 0.0
        return min(max(self._window_s, self._fair_s()), self._max_window_s)

    def _fair_s(self) -> float:
        """How far apart flushes are if they take just their share. One may come early by as much: messages do not come
        like a clock."""
        return self._cost_s / self._share
