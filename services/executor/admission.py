"""What may be done of what stands in the stream: orders that are signed, for this host, of a believable time, and of a
verb that the host allows. Pure but for the machine's clock.

Redis is not believed: its clock decides which of two good orders was in time, but nobody who owns Redis, clock and all,
can have an order done that has lain about for long.
"""

import time
from collections.abc import Callable, Mapping

from common.actions import ORDER_FIELD, parse_order
from common.errors import MalformedError, SignatureError
from common.models import ActionOrder
from common.signing import Verifier, peek
from services.executor.policy import forbidden
from services.executor.queues import Entry

MAX_EXPIRES_MS = 3600 * 1000
TOLERANCE_MS = 3600 * 1000
"""How far the clocks of Redis and of this machine may be apart."""


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Admission:
    """The rules of one host."""

    def __init__(
        self, host: str, verifier: Verifier | None, allowed: frozenset[str], now_ms: Callable[[], int] = wall_ms
    ) -> None:
        """`verifier` None: orders that nobody has signed are done too. `now_ms` is the machine's own clock."""
        self._host = host
        self._verifier = verifier
        self._allowed = allowed
        self._now_ms = now_ms

    @property
    def verifies(self) -> bool:
        return self._verifier is not None

    def open(self, entry_id: str, fields: Mapping[bytes, bytes] | None) -> Entry:
        """The order in a stream entry, with the reason why it is not to be done, if there is one. An entry that was
        trimmed away has no fields. Raises MalformedError where there is no order for this host in it."""
        if not fields:
            raise MalformedError("action order", "its entry was trimmed from the stream")
        text = fields.get(ORDER_FIELD.encode(), b"")
        payload, refusal = self._read(text)
        order = parse_order(payload)
        if order.host != self._host:
            raise MalformedError("action order", f"it is for the host {order.host}")
        return Entry(entry_id, order, refusal or forbidden(order, self._allowed) or self._out_of_time(order))

    def forget_at_ms(self, order: ActionOrder) -> int:
        """When this order can be in time no more, on the machine's clock."""
        return order.deadline + TOLERANCE_MS

    def _read(self, text: bytes) -> tuple[bytes, str | None]:
        if self._verifier is not None:
            try:
                return self._verifier.verify(text), None
            except SignatureError as error:
                return peek(text) or b"", f"its signature does not hold: {error}"
        return peek(text) or b"", None

    def _out_of_time(self, order: ActionOrder) -> str | None:
        off_ms = order.deadline - self._now_ms()
        if -TOLERANCE_MS <= off_ms <= MAX_EXPIRES_MS + TOLERANCE_MS:
            return None
        ahead = f"{abs(off_ms) / 3_600_000:.1f} h {'ahead of' if off_ms > 0 else 'behind'}"
        return f"its deadline is {ahead} this host's own clock: set the clocks of this host and of Redis right"
