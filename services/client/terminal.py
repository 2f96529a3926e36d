"""The terminal as clients meet it: signals that end them, pipes that nobody reads."""

import asyncio
import contextlib
import os
import queue
import signal
import threading
from collections.abc import Coroutine
from typing import Any


def one_line(json_text: str) -> str:
    """The same JSON on one line: a line break in it can only be white space between its parts."""
    return json_text.replace("\r", " ").replace("\n", " ")


async def until_signalled(work: Coroutine[Any, Any, int]) -> int:
    """The exit code of `work`; 130 after Ctrl-C and 143 after SIGTERM, for which it is cancelled."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    signalled: list[signal.Signals] = []

    def stop(received: signal.Signals) -> None:
        signalled.append(received)
        task.cancel()

    handled: list[signal.Signals] = []
    for wanted in (signal.SIGINT, signal.SIGTERM):
        # Where the loop takes no signals (Windows, another thread) the default action ends the process.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(wanted, stop, wanted)
            handled.append(wanted)
    try:
        return await task
    except asyncio.CancelledError:
        if not signalled:
            raise
        return 128 + signalled[0]
    finally:
        task.cancel()
        for wanted in handled:
            loop.remove_signal_handler(wanted)


async def first_done(*works: Coroutine[Any, Any, None]) -> None:
    """Runs them together until one ends, by itself or by an error, which is raised; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class LineWriter:
    """Writes lines to a file descriptor that may block for as long as its reader likes (`watch --json | less`).

    A thread does the writing and `write` waits for it without holding up the loop, so that signals still end the
    program. One line is under way at a time: a slow reader slows the connection down, and the edge then skips states.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        # A daemon, and on the bare descriptor: a write that never returns must not keep the interpreter from ending.
        threading.Thread(target=self._work, name="stdout", daemon=True).start()

    async def write(self, line: str) -> None:
        """Returns when the line is written. Raises OSError: BrokenPipeError where nobody reads any more."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.put((f"{line}\n".encode(), done))
        await done

    def _work(self) -> None:
        while True:
            line, done = self._lines.get()
            problem: OSError | None = None
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError as error:
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                done.get_loop().call_soon_threadsafe(_settle, done, problem)


def _settle(done: asyncio.Future[None], problem: OSError | None) -> None:
    if done.done():
        return
    if problem is None:
        done.set_result(None)
    else:
        done.set_exception(problem)
