"""A Docker engine that misbehaves: a proxy before the real one that cuts, hangs, answers nonsense, or is not there."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import stop_listening

REAL_SOCKET = "/var/run/docker.sock"

PASS = "pass"
"""To the real engine and back."""
DROP = "drop"
"""Closed without a word; the real engine hears nothing."""
HANG = "hang"
"""Taken and never answered; the real engine hears nothing."""
SWALLOW = "swallow"
"""The real engine does it, but its answer is lost: the connection closes."""
MUTE = "mute"
"""The real engine does it, but its answer never comes."""
DRIP = "drip"
"""An answer that comes a byte at a time, without end."""

Rule = Callable[[str], str | bytes]
"""From a request line (`POST /v1.45/containers/.../pause HTTP/1.1`) to one of the above, or to raw bytes in answer."""


def http(body: str, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole HTTP answer."""
    content = body.encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content


class EngineProxy:
    """Listens on a socket of its own. Change `rule` at any time; `requests` are the request lines seen so far."""

    def __init__(self, path: Path, rule: Rule = lambda _: PASS) -> None:
        self.path = path
        self.address = f"unix://{path}"
        self.rule = rule
        self.requests: list[str] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    def asked(self, part: str) -> list[str]:
        return [request for request in self.requests if part in request]

    async def appear(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self.path)

    async def vanish(self) -> None:
        """No socket any more; open connections are cut."""
        if self._server is not None:
            await stop_listening(self._server)
            self.path.unlink(missing_ok=True)
            self._server = None
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.appear()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.vanish()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
            pass  # the client or the test has ended it
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        request = head.split(b"\r\n", 1)[0].decode()
        self.requests.append(request)
        what = self.rule(request)
        if isinstance(what, bytes):
            writer.write(what)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        if what == DRIP:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not reader.at_eof():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        if what == HANG:
            await reader.read()  # until the client gives up
        if what in {HANG, DROP, DRIP}:
            return
        engine_reader, engine_writer = await asyncio.open_unix_connection(REAL_SOCKET)
        try:
            engine_writer.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            answer = await engine_reader.read()
            if what == MUTE:
                await reader.read()
            elif what == PASS:
                writer.write(answer)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        finally:
            engine_writer.transport.abort()
