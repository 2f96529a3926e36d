"""HTTP/1.1 for a client that asks one thing on one connection, and for which asking has to cost little.

AnswerReader understands bytes, and does no I/O. Exchange moves them. Client opens connections, and bounds how many
there are at once. None of them knows of time: whoever asks sets limits around it, and to cancel is to hang up.
Nothing is redirected, decompressed, sent through a proxy of the environment, or tried twice.

Errors: OSError where the connection fails, AnswerError where what comes is not a whole answer.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import httptools

from common.errors import FleetcastError

if TYPE_CHECKING:
    import ssl

MAX_HEAD_BYTES = 65_536
"""Status line and headers, those of informational answers before it included; later on, what is no body at a time."""

MAX_BODY_BYTES = 67_108_864
"""A body that is read as a whole."""

_PACE_BYTES = 262_144
"""More of a stream that nobody takes is left to the server."""

_SWITCHING_PROTOCOLS = 101


class AnswerError(FleetcastError):
    """What came is no HTTP, or less than an answer, or one with too long a head."""


class TooLargeError(AnswerError):
    """A body beyond its bound."""


@dataclass(frozen=True)
class Head:
    """`headers` by lower-case name; what was said twice is joined by commas."""

    status: int
    reason: str
    headers: Mapping[str, str]

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Answer:
    head: Head
    content: bytes


@dataclass(frozen=True)
class Server:
    """`where`: the path of a Unix socket, or host and port. `authority` is for the Host header, `prefix` comes before
    every target; both are quoted already."""

    authority: str
    where: str | tuple[str, int]
    prefix: str = ""
    is_tls: bool = False


class AnswerReader:
    """Reads one answer from the bytes that come, however they are cut. What comes after it is ignored."""

    def __init__(self, max_head_bytes: int = MAX_HEAD_BYTES, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.head: Head | None = None
        """Once it is there; never that of an informational answer (1xx)."""
        self.is_whole = False
        self.waiting_bytes = 0
        """How much of the body `take` would return."""
        self._max_head_bytes = max_head_bytes
        self._max_body_bytes = max_body_bytes
        self._overhead_bytes = 0
        self._parts: list[bytes] = []
        self._reason = b""
        self._headers: dict[str, str] = {}
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Raises AnswerError; after that it is of no use."""
        if self.head is None:
            room = self._max_head_bytes - self._overhead_bytes
            self._read(data[:room])
            self._overhead_bytes += len(data)
            if self.head is None:
                if len(data) > room:
                    raise AnswerError(f"its head is longer than {self._max_head_bytes} bytes")
                return
            self._overhead_bytes = 0
            data = data[room:]
        if data and not self.is_whole:
            before = self.waiting_bytes
            self._read(data)
            # Sizes and trailers of chunks go on without end as well as a body does.
            self._overhead_bytes = self._overhead_bytes + len(data) if self.waiting_bytes == before else 0
            if self._overhead_bytes > self._max_head_bytes and not self.is_whole:
                raise AnswerError(f"it has more than {self._max_head_bytes} bytes that are no body")
        if self.waiting_bytes > self._max_body_bytes:
            raise TooLargeError(f"it is larger than {self._max_body_bytes} bytes")

    def end(self) -> None:
        """The server has hung up. Raises AnswerError where that cuts the answer short."""
        if self.head is None:
            raise AnswerError("the connection ended without an answer")
        if not self.is_whole and _says_where_it_ends(self.head.headers):
            raise AnswerError("the connection ended in the middle of the answer")
        self.is_whole = True

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        self.waiting_bytes = 0
        return taken

    def _read(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_whole:
                raise AnswerError(f"it is no HTTP: {error}") from error

    # What httptools calls

    def on_message_begin(self) -> None:
        self._reason = b""
        self._headers = {}

    def on_status(self, part: bytes) -> None:
        self._reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        key, said = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {said}" if key in self._headers else said

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.head is None and (status >= 200 or status == _SWITCHING_PROTOCOLS):
            self.head = Head(status, self._reason.decode("ascii", "ignore"), self._headers)
        self._headers = {}  # of trailers, which nobody reads

    def on_body(self, part: bytes) -> None:
        if not self.is_whole:
            self._parts.append(part)
            self.waiting_bytes += len(part)

    def on_message_complete(self) -> None:
        self.is_whole = self.head is not None


class Exchange(asyncio.Protocol):
    """A connection: `ask` once, then take the `answer`, or its `head` and then every `part`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self._failure: AnswerError | OSError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._awaited: Callable[[], bool] = self._has_head
        self._takes_all = False
        self._is_paused = False

    def ask(self, method: str, target: str) -> None:
        """`target` is quoted. From here on the server may have it, unless this raises OSError."""
        if self._transport is None:
            raise ConnectionAbortedError("the connection was closed before anything was asked")
        content = "Content-Length: 0\r\n" if method == "POST" else ""
        request = (
            f"{method} {self._server.prefix}{target} HTTP/1.1\r\nHost: {self._server.authority}\r\n"
            f"User-Agent: fleetcast\r\nAccept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n{content}\r\n"
        )
        self._transport.write(request.encode("ascii"))

    async def head(self) -> Head:
        """Raises AnswerError, OSError."""
        await self._until(self._has_head)
        assert self._reader.head is not None
        return self._reader.head

    async def answer(self) -> Answer:
        """All of it. Raises TooLargeError where that is more than MAX_BODY_BYTES, AnswerError, OSError."""
        self._takes_all = True
        self._pace()
        await self._until(self._is_over)
        return Answer(await self.head(), self._reader.take())

    async def part(self) -> bytes:
        """What has come of the body since the last part, however much it is in all; nothing at its end. Raises
        AnswerError, OSError."""
        await self._until(self._has_part)
        part = self._reader.take()
        self._pace()
        return part

    def abort(self) -> None:
        """Hangs up without waiting. Whoever waits for an answer gets an OSError."""
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not registered as such

    def data_received(self, data: bytes) -> None:
        if self._failure is None:
            try:
                self._reader.feed(data)
            except AnswerError as error:
                self._fail(error)
            self._pace()
            self._wake()

    def eof_received(self) -> None:
        if self._failure is None:
            try:
                self._reader.end()
            except AnswerError as error:
                self._fail(error)
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._failure is None and not self._reader.is_whole:
            lost = error if isinstance(error, OSError) else ConnectionAbortedError(error or "the connection was closed")
            self._fail(lost)
            self._wake()

    def _fail(self, error: AnswerError | OSError) -> None:
        self._failure = error
        self.abort()

    def _pace(self) -> None:
        """Reads on, or not, by how much waits to be taken."""
        is_enough = not self._takes_all and self._reader.waiting_bytes > _PACE_BYTES
        if is_enough != self._is_paused and self._transport is not None and not self._transport.is_closing():
            self._is_paused = is_enough
            if is_enough:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            if self._failure is not None:
                raise self._failure
            self._awaited = holds
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done() and (self._failure is not None or self._awaited()):
            self._waiter.set_result(None)

    def _has_head(self) -> bool:
        return self._reader.head is not None

    def _has_part(self) -> bool:
        return self._reader.waiting_bytes > 0 or self._reader.is_whole

    def _is_over(self) -> bool:
        return self._reader.is_whole


class Client:
    """Asks one server; at most `max_connections` things at once."""

    def __init__(self, server: Server, max_connections: int) -> None:
        self._server = server
        self._places = asyncio.Semaphore(max_connections)
        self._open: set[Exchange] = set()
        self._tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Exchange]:
        """Waits for a place, and connects; hangs up in the end. Nothing has been sent before it is entered. Raises
        OSError."""
        async with self._places:
            exchange = await self._connect()
            self._open.add(exchange)
            try:
                yield exchange
            finally:
                self._open.discard(exchange)
                exchange.abort()

    def close(self) -> None:
        """Hangs up on all connections that are open."""
        for exchange in self._open:
            exchange.abort()

    async def _connect(self) -> Exchange:
        loop = asyncio.get_running_loop()
        if isinstance(self._server.where, str):
            _, exchange = await loop.create_unix_connection(self._exchange, self._server.where)
        else:
            host, port = self._server.where
            tls = self._tls_context() if self._server.is_tls else None
            _, exchange = await loop.create_connection(self._exchange, host, port, ssl=tls)
        return exchange

    def _exchange(self) -> Exchange:
        return Exchange(self._server)

    def _tls_context(self) -> "ssl.SSLContext":
        if self._tls is None:
            import ssl

            self._tls = ssl.create_default_context()
        return self._tls


def _says_where_it_ends(headers: Mapping[str, str]) -> bool:
    """False: it goes on until the server hangs up."""
    encodings = headers.get("transfer-encoding")
    if encodings is not None:
        return encodings.rpartition(",")[2].strip().lower() == "chunked"
    return "content-length" in headers
