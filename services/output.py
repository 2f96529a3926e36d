"""What `fleetcast up` and its processes say, as lines of a terminal.

Nothing here waits for the terminal. One that does not take its output (Ctrl-S, a pager, a full disk behind a pipe)
would otherwise stop `up`, then fill the pipes of its processes and stop them too. Lines that find no room are dropped
and counted; the count is said as soon as there is room again.
"""

import asyncio
import os
import queue
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

MAX_LINE_CHARS = 2_000
MAX_WAITING_LINES = 2_000
LEAVE_S = 0.3
"""At most, until what is left at the end is written or given up."""
_READ_BYTES = 1 << 16


class Output:
    """Lines to standard output (`say`) and standard error (`complain`), written by a thread of their own."""

    def __init__(self, out: int = 1, err: int = 2, max_waiting_lines: int = MAX_WAITING_LINES) -> None:
        self._out = out
        self._err = err
        self._waiting: queue.Queue[tuple[int, str] | None] = queue.Queue(max_waiting_lines)
        self._writer = threading.Thread(target=self._write_all, name="output", daemon=True)
        self.dropped = 0

    def __enter__(self) -> Self:
        sys.stdout.flush()
        sys.stderr.flush()
        self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the terminal a moment for what is left, LEAVE_S at most. A writer that is stuck in it ends with the
        process."""
        try:
            self._waiting.put(None, timeout=LEAVE_S / 3)
        except queue.Full:
            return
        self._writer.join(LEAVE_S * 2 / 3)

    def say(self, line: str) -> None:
        self._put(self._out, line)

    def complain(self, line: str) -> None:
        self._put(self._err, line)

    def _put(self, where: int, line: str) -> None:
        try:
            if self.dropped:
                self._waiting.put_nowait((where, f"({self.dropped} lines are missing here: nobody took them in time)"))
                self.dropped = 0
            self._waiting.put_nowait((where, line))
        except queue.Full:
            self.dropped += 1

    def _write_all(self) -> None:
        closed: set[int] = set()
        while (item := self._waiting.get()) is not None:
            where, line = item
            if where in closed:
                continue
            rest = (line + "\n").encode(errors="backslashreplace")
            try:
                while rest:
                    try:
                        rest = rest[os.write(where, rest) :]
                    except BlockingIOError:  # somebody who shares the terminal made it non-blocking
                        select.select([], [where], [])
            except OSError:  # the terminal or the reader of the pipe is gone
                closed.add(where)


@contextmanager
def until_nobody_reads() -> Iterator[None]:
    """Ends what is printed within, quietly, when its reader has gone (`| head`)."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter would complain when it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def plain(text: str) -> str:
    """The text without what a terminal would obey: what strangers have named or said must not move its cursor, nor
    break the line, nor reverse what follows."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "�" for char in text)


class LineSplitter:
    """Cuts a stream of bytes into printable lines of bounded length. Pure.

    Of a longer line the beginning is kept, with an ellipsis.
    """

    def __init__(self, max_chars: int = MAX_LINE_CHARS) -> None:
        self._max_chars = max_chars
        self._kept = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *complete, rest = (self._kept + data).split(b"\n")
        self._kept = rest[: self._max_bytes]
        return [self._line(raw) for raw in complete]

    def rest(self) -> list[str]:
        """The last line, if the stream ended without a newline."""
        kept, self._kept = self._kept, b""
        return [self._line(kept)] if kept else []

    @property
    def _max_bytes(self) -> int:
        return self._max_chars * 4 + 1  # UTF-8 takes at most four; one more tells a cut line from a full one

    def _line(self, raw: bytes) -> str:
        text = raw[: self._max_bytes].decode(errors="replace").rstrip("\r").expandtabs()
        if len(text) > self._max_chars or len(raw) > self._max_bytes:
            text = text[: self._max_chars] + "…"
        return plain(text)


async def forward(stream: asyncio.StreamReader, name: str, output: Output) -> str:
    """Says each line of the stream as `name | line` until it ends. Returns the last one that has any words in it."""
    splitter = LineSplitter()
    last = ""
    while True:
        data = await stream.read(_READ_BYTES)
        for line in splitter.feed(data) if data else splitter.rest():
            output.say(f"{name} | {line}")
            if any(map(str.isalnum, line)):
                last = line.strip()
        if not data:
            return last
