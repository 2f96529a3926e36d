"""Who is acted on next: one action at a time per container, in order of arrival, several containers at once. What was
left behind by another executor keeps its container, and no place among the several: it is looked at, not done.

Pure: it holds what has been taken from the stream, and neither waits nor reads a clock.
"""

from collections import deque
from dataclasses import dataclass

from common.models import ActionOrder

MAX_HELD = 1_000
"""Entries taken from the stream and not yet settled; the rest stays in the stream until there is room."""


@dataclass(frozen=True)
class Entry:
    """An order and its place in the stream."""

    id: str
    order: ActionOrder
    refusal: str | None = None
    """Why it is not to be done, whatever the container is."""
    left_behind: bool = False
    """Somebody who is gone had begun it: this is to find out what came of it."""

    @property
    def queue(self) -> str:
        """What it waits for: its container. What is refused anyway waits for nothing."""
        return self.id if self.refusal and not self.left_behind else self.order.container_id


class Queues:
    """The entries in hand: each waits in its container's queue, is under way, or has been taken out as overdue. `done`
    ends every one of them."""

    def __init__(self, parallel: int, max_held: int = MAX_HELD) -> None:
        self._parallel = parallel
        self._max_held = max_held
        self._waiting: dict[str, deque[Entry]] = {}
        self._ready: deque[str] = deque()
        """Containers with something waiting and nothing under way, longest ready first."""
        self._busy: dict[str, str] = {}
        """Container → entry under way."""
        self._looked_at: set[str] = set()
        """Containers among the busy ones that wait for nothing but a look."""
        self._held: set[str] = set()

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._held

    @property
    def room(self) -> int:
        """How many more entries may be taken in hand."""
        return max(0, self._max_held - len(self._held))

    @property
    def waiting(self) -> bool:
        """Whether anything waits for its turn."""
        return bool(self._waiting)

    def add(self, entry: Entry) -> None:
        """Puts an entry last in its container's queue; one that is in hand already stays where it is."""
        if entry.id in self._held:
            return
        self._held.add(entry.id)
        container = entry.queue
        queue = self._waiting.get(container)
        if queue is not None:
            queue.append(entry)
            return
        self._waiting[container] = deque([entry])
        if container not in self._busy:
            self._ready.append(container)

    def next(self, may_act: bool = True) -> Entry | None:
        """The next entry to begin with, which is under way from now; None while nothing may begin. Without `may_act`
        only what is to be looked at."""
        may_act = may_act and len(self._busy) - len(self._looked_at) < self._parallel
        for container in self._ready:
            if may_act or self._waiting[container][0].left_behind:
                return self._begin(container)
        return None

    def _begin(self, container: str) -> Entry:
        self._ready.remove(container)
        queue = self._waiting[container]
        entry = queue.popleft()
        if not queue:
            del self._waiting[container]
        self._busy[container] = entry.id
        if entry.left_behind:
            self._looked_at.add(container)
        return entry

    def overdue(self, now_ms: int) -> list[Entry]:
        """Takes out what still waits although its deadline has passed."""
        found = []
        for container, queue in list(self._waiting.items()):
            late = [entry for entry in queue if entry.order.deadline < now_ms and not entry.left_behind]
            if not late:
                continue
            found.extend(late)
            in_time = deque(entry for entry in queue if entry not in late)
            if in_time:
                self._waiting[container] = in_time
            else:
                del self._waiting[container]
                if container not in self._busy:
                    self._ready.remove(container)
        return found

    def done(self, entry: Entry) -> None:
        """The entry is settled: its container's next one may begin."""
        self._held.discard(entry.id)
        container = entry.queue
        if self._busy.get(container) == entry.id:
            del self._busy[container]
            self._looked_at.discard(container)
            if container in self._waiting:
                self._ready.append(container)
