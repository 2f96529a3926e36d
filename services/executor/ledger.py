"""What this executor has begun: the memory that makes a second order under the same key do nothing. Pure.

Redis' records say the same, but whoever can write to Redis can delete them. An order that was begun here and comes
again, in time and with a good signature, gets the outcome that the first one had. The memory lasts as long as an order
can be in time, and as long as this process: what came before it, only the records know.
"""

from dataclasses import dataclass

from common.actions import Outcome
from common.models import ActionKey, ActionOrder

MAX_REMEMBERED = 100_000
"""Orders begun within their deadlines; beyond it no more are begun."""


@dataclass
class _Begun:
    container_id: str
    action: str
    forget_at_ms: int
    outcome: Outcome | None = None


class Ledger:
    """Orders begun, until they can be in time no more. Times are those of the executor's own machine, ms."""

    def __init__(self, max_remembered: int = MAX_REMEMBERED) -> None:
        self._max = max_remembered
        self._begun: dict[ActionKey, _Begun] = {}

    def __len__(self) -> int:
        return len(self._begun)

    def begin(self, order: ActionOrder, now_ms: int, forget_at_ms: int) -> Outcome | None:
        """Notes that Docker is about to be asked; or the outcome that this order has already, and must not be begun."""
        known = self._begun.get(order.key)
        if known is not None:
            if (known.container_id, known.action) != (order.container_id, order.action):
                return Outcome("rejected", "its request id has been used for another action")
            return known.outcome or Outcome("unknown", "it was begun before, and nobody knows what came of it")
        if len(self._begun) >= self._max:
            self._forget(now_ms)
            if len(self._begun) >= self._max:
                return Outcome("rejected", f"{self._max} actions are remembered here; no more are begun for now")
        self._begun[order.key] = _Begun(order.container_id, order.action, forget_at_ms)
        return None

    def end(self, key: ActionKey, outcome: Outcome) -> None:
        """What came of it."""
        if known := self._begun.get(key):
            known.outcome = outcome

    def _forget(self, now_ms: int) -> None:
        self._begun = {key: begun for key, begun in self._begun.items() if begun.forget_at_ms >= now_ms}
