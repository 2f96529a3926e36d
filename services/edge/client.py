"""One client as the edge's core knows it: where it stands, whether it can take anything now, and its ordered messages.
Pure: bytes go through its sink.

Two lanes: states and events are the hub's matter. Acks and errors come in order and are never dropped silently: those
that a blocked client cannot take wait here, and past the bound the client is closed with 4409.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from services.edge.frames import Encoding, Frame

if TYPE_CHECKING:
    from services.edge.audience import Audience, Position

MAX_ORDERED = 256

COULD_NOT_KEEP_UP = 4409


class Client:
    """`send` takes as much as goes at once, and returns how much that was, or raises OSError: near the cost of the
    system call. `write` takes all, what is left of a `send` too; it may block the client before it returns. `close`
    tells the client and ends the connection, whatever the client does. Neither of these raises; none waits.

    `selectors`: which hosts it may see, None for every one.
    """

    __slots__ = (
        "_max_pending_bytes",
        "_ordered",
        "_pending_bytes",
        "audience",
        "blocked_since",
        "close",
        "encoding",
        "position",
        "selectors",
        "send",
        "write",
    )

    def __init__(
        self,
        send: Callable[[bytes], int],
        write: Callable[[bytes], None],
        close: Callable[[int, str], None],
        selectors: tuple[str, ...] | None = None,
        encoding: Encoding = "text",
        max_pending_bytes: int = 1_048_576,
    ) -> None:
        self.send = send
        self.write = write
        self.close = close
        self.selectors = selectors
        self.encoding: Encoding = encoding
        self.audience: Audience
        self.position: Position = 0
        self.blocked_since: float | None = None
        """Since when it cannot take anything, monotonic seconds; None while it can."""
        self._ordered: deque[bytes] | None = None
        self._pending_bytes = 0
        self._max_pending_bytes = max_pending_bytes

    def put(self, body: bytes) -> None:
        """Sends an ordered message, or keeps it until the client can take it."""
        data = Frame(body).encoded("text" if self.encoding == "deflate" else self.encoding)
        if self.blocked_since is None and not self._ordered:
            self.write(data)
            return
        if self._ordered is None:
            self._ordered = deque()
        self._pending_bytes += len(data)
        if len(self._ordered) >= MAX_ORDERED or self._pending_bytes > self._max_pending_bytes:
            self.give_up()
        else:
            self._ordered.append(data)

    def block(self, now: float) -> None:
        """It can take nothing from now on."""
        if self.blocked_since is None:
            self.blocked_since = now

    def unblock(self) -> None:
        """It can take something again: first what is ordered. Look at `blocked_since` before sending it more."""
        self.blocked_since = None
        while self._ordered and self.blocked_since is None:
            data = self._ordered.popleft()
            self._pending_bytes -= len(data)
            self.write(data)
        if not self._ordered:
            self._ordered = None

    def give_up(self) -> None:
        """Closes a client that has lost what is not to be lost silently."""
        self.close(COULD_NOT_KEEP_UP, "could not keep up")

    def cut(self) -> None:
        """It has gone: nothing is written any more."""
        self.send = len
        self.write = self.close = _nowhere


def _nowhere(*_: object) -> None:
    pass
