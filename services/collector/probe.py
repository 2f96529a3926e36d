"""Parts of a host, read in threads with a deadline, so that one that hangs holds up nothing else.

A read that hangs (a dead disk, a broken sensor) cannot be ended, only left behind: a reader's one thread waits in it,
and the reader asks again only after it came back. What cannot hang but with the whole machine may share a reader, for a
thread costs more than such a part.
"""

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from common.bell import Bell
from common.outage import Outage

logger = logging.getLogger(__name__)

T = TypeVar("T")

_EARLY_S = 0.1
"""A part that is due so soon is read now: samples are not made to the millisecond."""


class Part(Generic[T]):
    """What is known of a part: `value` is the last one that was read, None before the first; `fresh` says whether it is
    as young as it should be."""

    def __init__(self, part: str, read: Callable[[], T | None]) -> None:
        """`read` returns None where it needs another reading to tell a value, and may raise anything."""
        self.part = part
        self.read = read
        self.value: T | None = None
        self.fresh = False
        self._outage = Outage(f"the host's {part}", logger)

    def take(self, value: T | None, error: Exception | None, late: bool) -> None:
        """What a read came to; a late one is newer than the last value, but not fresh. Says what went wrong once an
        episode."""
        if error is not None:
            logger.debug("reading the host's %s", self.part, exc_info=error)
            self._outage.note(str(error) or type(error).__name__)
        if value is not None:
            self.value = value
            self.fresh = not late
            if self.fresh:
                self._outage.over()

    def miss(self, reason: str) -> None:
        self._outage.note(reason)


class Reader:
    """Reads its parts one after the other in a thread of its own; each read may keep state."""

    def __init__(self, parts: Sequence[Part[Any]], deadline_s: float, every_s: float = 0.0) -> None:
        """`deadline_s`: for all of them together. What was read well is read again after `every_s`, not earlier."""
        self.parts = tuple(parts)
        self._deadline_s = deadline_s
        self._every_s = every_s
        self._asked_at_s = float("-inf")
        self._call: _Call | None = None
        self._stuck = False
        self._thread: _Thread | None = None

    def close(self) -> None:
        """Ends the thread; one that hangs, once it is back. Not needed where nothing refers to this any more."""
        if self._thread is not None:
            self._thread.end()

    def ask(self) -> None:
        """Begins to read, unless an earlier read hangs or the values are young enough. Raises nothing."""
        now_s = asyncio.get_running_loop().time()
        if self._call is None and now_s - self._asked_at_s < self._every_s - _EARLY_S and self._all_fresh():
            return
        for part in self.parts:
            part.fresh = False
        if self._call is not None:
            if not self._call.returned:
                self._stuck = True
                return
            self._keep(self._call, late=True)
        self._stuck = False
        self._asked_at_s = now_s
        self._call = _Call(self.parts)
        try:
            self._thread = self._thread or _Thread(f"probe {self.parts[0].part}")
        except RuntimeError as error:  # the system has no thread to give
            self._call.fail(error)
        else:
            self._thread.begin(self._call.work)

    async def answer(self) -> None:
        """Until what was asked is read, or the deadline has passed; at once while an earlier read hangs."""
        if (call := self._call) is None or self._stuck:
            return
        await call.wait_until(self._asked_at_s + self._deadline_s)
        if call.returned:
            self._call = None
        self._keep(call, late=False)
        if not call.returned:
            for part in self.parts[call.kept :]:
                part.miss(f"no answer within {self._deadline_s:g} s")

    def _keep(self, call: "_Call", late: bool) -> None:
        for part, (value, error) in list(zip(self.parts, call.outcomes, strict=False))[call.kept :]:
            part.take(value, error, late)
            call.kept += 1

    def _all_fresh(self) -> bool:
        return all(part.fresh for part in self.parts)


class Probe(Reader, Generic[T]):
    """A reader of one part."""

    def __init__(self, part: str, read: Callable[[], T | None], deadline_s: float, every_s: float = 0.0) -> None:
        self._part = Part(part, read)
        super().__init__([self._part], deadline_s, every_s)

    @property
    def value(self) -> T | None:
        return self._part.value

    @property
    def fresh(self) -> bool:
        return self._part.fresh

    async def refresh(self) -> None:
        """Takes the deadline at most, and no time while an earlier read hangs. Raises nothing."""
        self.ask()
        await self.answer()


class _Call:
    """One round of reads."""

    def __init__(self, parts: Sequence[Part[Any]]) -> None:
        self.returned = False
        self.outcomes: list[tuple[Any, Exception | None]] = []
        """Of the parts read so far, in their order."""
        self.kept = 0
        """So many of them have been taken."""
        self._reads = [part.read for part in parts]
        self._loop = asyncio.get_running_loop()
        self._bell = Bell()

    async def wait_until(self, by_s: float) -> None:
        if not self.returned:
            await self._bell.rings_by(by_s)

    def fail(self, error: Exception) -> None:
        """Nothing can be read now."""
        self.outcomes = [(None, error)] * len(self._reads)
        self.returned = True

    def work(self) -> None:
        """Reads, in the reader's thread."""
        try:
            for read in self._reads:
                try:
                    self.outcomes.append((read(), None))
                except Exception as error:  # whatever a read runs into, the others go on
                    self.outcomes.append((None, error))
        finally:
            self.returned = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._bell.ring)


class _Thread:
    """Does one work after the other, and ends with what holds it. A daemon: the process ends although it hangs."""

    def __init__(self, name: str) -> None:
        """Raises RuntimeError where the system has no thread to give."""
        self._works: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=_do, args=(self._works,), name=name, daemon=True).start()
        self.end = weakref.finalize(self, self._works.put, None)
        self.end.atexit = False

    def begin(self, work: Callable[[], None]) -> None:
        self._works.put(work)


def _do(works: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (work := works.get()) is not None:
        work()
        del work  # it refers to what it is for, which may be about to go
