"""A WebSocket client on a bare socket: sends any bytes in any pieces, reads with the strict reader."""

import asyncio
import base64
import hashlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from email.parser import HeaderParser
from typing import Any

from tests.edges import RunningEdge
from tests.support import PATIENCE_S
from tests.wire.frames import CLOSE, Close, Event, Message, Ping, Reader, frame

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
DEFLATE = "permessage-deflate; client_max_window_bits"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class EndedError(Exception):
    """The server has ended its side."""


class Socket:
    """TCP to an edge."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.connection, data)

    async def send_in_pieces(self, pieces: Iterable[bytes]) -> None:
        """The edge, in this same loop, gets to read each piece before the next is sent."""
        for piece in pieces:
            await self.send(piece)
            for _ in range(3):
                await asyncio.sleep(0)

    async def receive(self, within_s: float = PATIENCE_S) -> bytes:
        """Empty where the server has ended its side."""
        async with asyncio.timeout(within_s):
            return await self._loop.sock_recv(self.connection, 1 << 18)

    async def read_to_end(self) -> bytes:
        """Whatever comes until the server ends its side."""
        data = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while more := await self.receive():
                    data += more
        except TimeoutError:
            raise AssertionError(f"the server does not end the connection; it said {data!r}") from None
        return data

    def half_close(self) -> None:
        self.connection.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Gone without a word: the server gets an RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class Client:
    """A WebSocket, open. `welcome` is the `connected` message, `answer` the headers of the handshake's answer."""

    def __init__(self, tcp: Socket, answer: dict[str, str], rest: bytes) -> None:
        self.tcp = tcp
        self.answer = answer
        self._reader = Reader(deflate="permessage-deflate" in answer.get("sec-websocket-extensions", ""))
        self._events = self._reader.feed(rest)

    async def send(self, *frames: bytes) -> None:
        """All in one write."""
        await self.tcp.send(b"".join(frames))

    async def next(self) -> Event:
        """Raises EndedError."""
        while not self._events:
            data = await self.tcp.receive()
            if not data:
                assert not self._reader.is_within_a_frame, "the connection ended in the middle of a frame"
                raise EndedError
            self._events = self._reader.feed(data)
        return self._events.pop(0)

    async def reply(self) -> Event:
        """The next that is no beat."""
        while is_beat(event := await self.next()):
            pass
        return event

    async def until(self, wanted: Callable[[Event], bool]) -> list[Event]:
        """What comes up to the first that is wanted, that one included."""
        events: list[Event] = []
        try:
            async with asyncio.timeout(PATIENCE_S):  # in all: heartbeats would keep a test waiting for ever
                while not events or not wanted(events[-1]):
                    events.append(await self.next())
        except TimeoutError:
            raise AssertionError(f"it did not come within {PATIENCE_S:g} s; this did: {events}") from None
        return events

    async def answers_to_ping(self, nonce: str) -> list[Event]:
        """What came before the answer to this ping, but for the edge's heartbeats."""
        events = await self.until(lambda event: is_heartbeat(event, nonce))
        return [event for event in events[:-1] if not is_beat(event)]

    async def closing(self, *, answer: bool = True) -> tuple[list[Event], Close]:
        """What comes before the close frame, and that; the server has to end its side then, and properly.

        `answer`: answers it, as a client has to that did not begin closing.
        """
        *events, close = await self.until(lambda event: isinstance(event, Close))
        assert isinstance(close, Close)
        await self.end(close, answer=answer)
        return [event for event in events if not is_beat(event)], close

    async def end(self, close: Close, *, answer: bool = True) -> None:
        """The rest of `closing` where the close frame has come already."""
        if answer:
            await self.send(frame(b"" if close.code is None else close.code.to_bytes(2, "big"), CLOSE))
        with suppress(EndedError):
            while True:
                await self.next()  # the reader takes nothing but pongs now


def is_beat(event: Event) -> bool:
    """One of the edge's own heartbeats or pings, which may come at any time."""
    if isinstance(event, Ping):
        return True
    return isinstance(event, Message) and event.data.startswith(b'{"type":"heartbeat"') and b"nonce" not in event.data


def is_heartbeat(event: Event, nonce: str) -> bool:
    return isinstance(event, Message) and parsed(event).get("nonce") == nonce


def parsed(event: Event) -> dict[str, Any]:
    assert isinstance(event, Message), event
    message: dict[str, Any] = json.loads(event.data)
    return message


def ping(nonce: str) -> bytes:
    """The message, not the control frame."""
    return json.dumps({"type": "ping", "nonce": nonce}, ensure_ascii=False).encode()


def subscribe(*names: str) -> bytes:
    return json.dumps({"type": "subscribe", "channels": names}).encode()


def request(edge: RunningEdge, line: str = "GET /api/ws HTTP/1.1", body: bytes = b"", **headers: str | None) -> bytes:
    """The opening request; `sec_websocket_key=None` leaves that header out, and so on."""
    chosen = {
        "host": f"127.0.0.1:{edge.port}",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec_websocket_version": "13",
        "sec_websocket_key": KEY,
        **headers,
    }
    lines = [line, *(f"{name.replace('_', '-')}: {value}" for name, value in chosen.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def parse_answer(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, and what follows them."""
    head, _, rest = data.partition(b"\r\n\r\n")
    status_line, _, header_lines = head.decode("latin-1").partition("\r\n")
    headers = HeaderParser().parsestr(header_lines)
    version, status, _ = status_line.split(" ", 2)
    assert version == "HTTP/1.1"
    return int(status), {name.lower(): value for name, value in headers.items()}, rest


@asynccontextmanager
async def tcp_to(edge: RunningEdge, receive_buffer_bytes: int | None = None) -> AsyncIterator[Socket]:
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", edge.port))
        yield Socket(connection)


async def open_websocket(tcp: Socket) -> Client:
    """Reads the answer to the handshake, which has been sent, and the first message."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await tcp.receive()
        assert more, f"no whole answer: {data!r}"
        data += more
    status, headers, rest = parse_answer(data)
    assert status == 101, data
    assert headers["sec-websocket-accept"] == base64.b64encode(hashlib.sha1(KEY.encode() + _GUID).digest()).decode()
    return Client(tcp, headers, rest)


@asynccontextmanager
async def websocket(
    edge: RunningEdge, extensions: str | None = None, receive_buffer_bytes: int | None = None
) -> AsyncIterator[Client]:
    """Connected and greeted."""
    async with tcp_to(edge, receive_buffer_bytes) as tcp:
        await tcp.send(request(edge, sec_websocket_extensions=extensions))
        client = await open_websocket(tcp)
        assert parsed(await client.next())["type"] == "connected"
        yield client
