"""Two independent client libraries, `websockets` and `aiohttp`, behind one face."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate

NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class Negotiated:
    """What a library made of the handshake's answer."""

    header: str | None
    deflates: bool
    forgets: bool = False
    """Starts each of its messages anew."""


@dataclass(frozen=True)
class Closing:
    """How the edge closed, as the library tells it."""

    code: int | None
    reason: str


class ClosedError(Exception):
    def __init__(self, closing: Closing) -> None:
        super().__init__(closing)
        self.closing = closing


class LibraryClient(Protocol):
    pongs: list[bytes]
    """Payloads of the pongs that came so far."""

    @property
    def negotiated(self) -> Negotiated: ...

    async def send(self, message: str | bytes) -> None: ...

    async def receive(self) -> bytes:
        """The next message as it came. Raises ClosedError."""

    async def ping(self, payload: bytes) -> None: ...

    async def close(self, code: int, reason: str) -> Closing:
        """Closes, and tells how the edge answered."""


Dial = Callable[..., AbstractAsyncContextManager[LibraryClient]]


class _Websockets:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.pongs: list[bytes] = []

    @property
    def negotiated(self) -> Negotiated:
        assert self._connection.response is not None
        header = self._connection.response.headers.get("Sec-WebSocket-Extensions")
        extensions = self._connection.protocol.extensions
        if not extensions:
            return Negotiated(header, deflates=False)
        [deflate] = extensions
        assert isinstance(deflate, PerMessageDeflate)
        assert deflate.remote_no_context_takeover
        return Negotiated(header, deflates=True, forgets=deflate.local_no_context_takeover)

    async def send(self, message: str | bytes) -> None:
        await self._connection.send(message)

    async def send_in_parts(self, *parts: str) -> None:
        await self._connection.send(parts)

    async def receive(self) -> bytes:
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed:
            raise ClosedError(self._closing()) from None

    async def ping(self, payload: bytes) -> None:
        pong = asyncio.ensure_future(await self._connection.ping(payload))
        pong.add_done_callback(functools.partial(self._note, payload))

    def _note(self, payload: bytes, pong: asyncio.Future[float]) -> None:
        if pong.exception() is None:
            self.pongs.append(payload)

    async def close(self, code: int, reason: str) -> Closing:
        await self._connection.close(code, reason)
        return self._closing()

    def _closing(self) -> Closing:
        assert self._connection.protocol.close_rcvd is not None, "the connection was lost without a close frame"
        return Closing(self._connection.close_code, self._connection.close_reason or "")


@asynccontextmanager
async def dial_websockets(
    url: str, *, compress: bool, window_bits: int | None = None, headers: Mapping[str, str] | None = None
) -> AsyncIterator[_Websockets]:
    """`window_bits`: offers compression with this window of the server's and no other."""
    factories = [ClientPerMessageDeflateFactory(server_max_window_bits=window_bits)] if window_bits else None
    async with connect(
        url,
        compression="deflate" if compress and not window_bits else None,
        extensions=factories,
        additional_headers=headers,
        max_size=NO_LIMIT,
        ping_interval=None,
    ) as connection:
        yield _Websockets(connection)


class _Aiohttp:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool], header: str | None) -> None:
        self._socket = socket
        self._header = header
        self.pongs: list[bytes] = []

    @property
    def negotiated(self) -> Negotiated:
        return Negotiated(self._header, self._socket.compress != 0, self._socket.client_notakeover)

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)

    async def receive(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                assert isinstance(message.data, bytes)
                return message.data
            if message.type is aiohttp.WSMsgType.PONG:
                self.pongs.append(bytes(message.data))
            elif message.type is aiohttp.WSMsgType.PING:  # told to us only where the library does not answer by itself
                await self._socket.pong(message.data)
            else:
                assert message.type is aiohttp.WSMsgType.CLOSE, message
                raise ClosedError(Closing(message.data, message.extra or ""))

    async def ping(self, payload: bytes) -> None:
        await self._socket.ping(payload)

    async def close(self, code: int, reason: str) -> Closing:
        await self._socket.close(code=code, message=reason.encode())
        return Closing(self._socket.close_code, reason)  # it does not tell the reason that comes back


@asynccontextmanager
async def dial_aiohttp(
    url: str,
    *,
    compress: bool,
    window_bits: int | None = None,
    headers: Mapping[str, str] | None = None,
    autoping: bool = False,
) -> AsyncIterator[_Aiohttp]:
    """`autoping`: the library answers pings by itself, and keeps pongs to itself."""
    answers: list[aiohttp.ClientResponse] = []

    async def keep(_: object, __: object, parameters: aiohttp.TraceRequestEndParams) -> None:
        answers.append(parameters.response)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(keep)
    async with (
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        session.ws_connect(
            url,
            compress=(window_bits or 15) if compress else 0,
            headers=headers,
            autoping=autoping,
            max_msg_size=0,
            decode_text=False,
        ) as socket,
    ):
        yield _Aiohttp(socket, answers[-1].headers.get("Sec-WebSocket-Extensions"))


LIBRARIES: dict[str, Dial] = {"websockets": dial_websockets, "aiohttp": dial_aiohttp}
