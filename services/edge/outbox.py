"""What waits to be sent to one client, in two lanes. Pure.

State is latest-wins: while the client is slow, only the newest message of each host and kind waits, so the lane is
bounded by what the client subscribed to. Acks, events and errors are ordered and never dropped silently: past the bound
the client is to be closed with 4409.
"""

from collections import deque
from collections.abc import Callable, Hashable

MAX_ORDERED = 256


class Outbox:
    """`wake` is called whenever something has been added."""

    def __init__(self, wake: Callable[[], None], max_ordered: int = MAX_ORDERED) -> None:
        self._wake = wake
        self._max_ordered = max_ordered
        self._ordered: deque[str] = deque()
        self._states: dict[Hashable, str] = {}
        self.overflowed = False
        """More ordered messages came than may wait: the client cannot be served any more."""
        self.superseded = 0
        """States that a newer one replaced before they were sent."""

    def put(self, text: str) -> None:
        """Adds an ordered message."""
        if len(self._ordered) >= self._max_ordered:
            self.overflowed = True
        else:
            self._ordered.append(text)
        self._wake()

    def put_state(self, key: Hashable, text: str) -> None:
        """Adds a state, in place of an older one under the same key."""
        if self._states.pop(key, None) is not None:
            self.superseded += 1
        self._states[key] = text
        self._wake()

    def forget_states(self, unwanted: Callable[[Hashable], bool]) -> None:
        """Drops waiting states that the client has unsubscribed from."""
        for key in [key for key in self._states if unwanted(key)]:
            del self._states[key]

    def next(self) -> str | None:
        """The message to send now: ordered ones first, then states in the order in which they changed."""
        if self._ordered:
            return self._ordered.popleft()
        if self._states:
            return self._states.pop(next(iter(self._states)))
        return None
