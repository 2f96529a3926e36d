"""One part of a host, read in a thread of its own with a deadline, so that one that hangs holds up nothing else.

A read that hangs (a dead disk, a broken sensor) cannot be ended, only left behind: at most one thread a probe waits in
it, and the probe asks again only after it came back.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from common.outage import Outage

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Probe(Generic[T]):
    """Asks `read` for a part's value; `read` runs in a thread, never in two at a time, and may keep state.

    `value` is the last one that was read, None before the first; `fresh` says whether the last refresh got it.
    """

    def __init__(self, part: str, read: Callable[[], T | None], deadline_s: float) -> None:
        """`read` returns None where it needs another reading to tell a value, and may raise anything."""
        self.part = part
        self.value: T | None = None
        self.fresh = False
        self._read = read
        self._deadline_s = deadline_s
        self._stuck: _Call[T] | None = None
        self._outage = Outage(f"the host's {part}", logger)

    async def refresh(self) -> None:
        """Takes the deadline at most, and no time while an earlier read hangs. Raises nothing; says what went wrong
        once an episode."""
        self.fresh = False
        if self._stuck is not None:
            if not self._stuck.returned:
                return
            self._keep(self._stuck)  # late, but newer than the last one
        self._stuck = call = _Call(self._read, self.part)
        await call.wait(self._deadline_s)
        if not call.returned:
            self._outage.note(f"no answer within {self._deadline_s:g} s")
            return
        self._stuck = None
        self.fresh = self._keep(call)
        if self.fresh:
            self._outage.over()

    def _keep(self, call: "_Call[T]") -> bool:
        if call.error is not None:
            logger.debug("reading the host's %s", self.part, exc_info=call.error)
            self._outage.note(str(call.error) or type(call.error).__name__)
        if call.value is None:
            return False
        self.value = call.value
        return True


class _Call(Generic[T]):
    """One call in a thread. `value` and `error` hold once `returned` is true."""

    def __init__(self, read: Callable[[], T | None], part: str) -> None:
        self.returned = False
        self.value: T | None = None
        self.error: Exception | None = None
        self._read = read
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        # A daemon: the process ends although it hangs. Made for each call, for 0.1 ms buys that there is no pool to
        # look after, and none whose threads are all stuck.
        thread = threading.Thread(target=self._work, name=f"probe {part}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread to give
            self.error = error
            self.returned = True
            self._done.set()

    async def wait(self, at_most_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._done.wait()

    def _work(self) -> None:
        try:
            self.value = self._read()
        except Exception as error:  # whatever a probe runs into, the others go on
            self.error = error
        finally:
            self.returned = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._done.set)
