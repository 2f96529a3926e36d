"""One client's WebSocket from the handshake on: bytes in and out of its transport. The sans-I/O `websockets` library
reads what the client sends and does the closing handshake; what the edge sends comes as ready frames.

Written straight to the socket while nothing waits there: near the cost of the system call, where a task, a queue and a
frame for each client cost a multiple of it. What the socket does not take goes to the transport, which then says when
it is through.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

from websockets.extensions import Extension
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol as WebSocketProtocol
from websockets.protocol import Side, State

logger = logging.getLogger(__name__)
_library = logging.getLogger("websockets.server")

CLOSE_WITHIN_S = 2.0
"""A client that has not answered a close by then is cut off: `transport.close()` would wait for ever on a peer that
does not read."""

_FAULTS = {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA, CloseCode.MESSAGE_TOO_BIG}

MAX_READ_AFTER_CLOSE = 64 * 1024
"""Who sends more before it answers the close is cut off."""


class Listener(Protocol):
    """Who is told what happens on a connection."""

    def on_text(self, text: str) -> None: ...

    def on_bytes(self) -> None: ...

    def on_ping(self) -> None:
        """It has been answered already."""

    def on_blocked(self) -> None:
        """The socket is full: what is written now waits in memory."""

    def on_drained(self) -> None: ...

    def on_lost(self) -> None:
        """The connection ends, or has ended: nothing may be written any more. May be told twice."""


class Nobody:
    """Listens to a connection that is only to be closed."""

    def on_text(self, text: str) -> None:
        pass

    def on_bytes(self) -> None:
        pass

    def on_ping(self) -> None:
        pass

    def on_blocked(self) -> None:
        pass

    def on_drained(self) -> None:
        pass

    def on_lost(self) -> None:
        pass


class Connections(Protocol):
    """uvicorn's set of open connections, which it shuts down at its end."""

    def add(self, connection: Any) -> None: ...

    def discard(self, connection: Any) -> None: ...


class Connection(asyncio.Protocol):
    """Takes frames, tells its listener the rest. `heard_at` is when the client was last heard, in the loop's time."""

    __slots__ = (
        "_all",
        "_close_timer",
        "_closing",
        "_conn",
        "_fragments",
        "_loop",
        "_read_since_close",
        "_transport",
        "heard_at",
        "listener",
        "send",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        listener: Listener,
        connections: Connections,
        extensions: list[Extension],
        max_message_bytes: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self.listener = listener
        self._all = connections
        self._conn = WebSocketProtocol(Side.SERVER, max_size=max_message_bytes, logger=_library)
        self._conn.extensions = extensions
        self.send: Callable[[bytes], int] = partial(os.write, transport.get_extra_info("socket").fileno())
        """Straight to the socket, as much as it takes now. Only while nothing waits in the transport, which would be
        overtaken, and before the end of the connection is told."""
        self._fragments: list[bytes] | None = None
        self._closing = False
        self._read_since_close = 0
        self._close_timer: asyncio.TimerHandle | None = None
        self.heard_at = self._loop.time()

    def start(self) -> None:
        """From now on the listener is told what happens."""
        self._all.add(self)
        self._transport.set_protocol(self)
        # The transport is to tell at once when the socket is full, and again when all is through.
        self._transport.set_write_buffer_limits(high=0)

    @property
    def deflates(self) -> bool:
        """Whether permessage-deflate was agreed on, so that compressed frames may be written."""
        return bool(self._conn.extensions)

    @property
    def fault(self) -> int | None:
        """The code of the close with which this ended because the client broke the WebSocket protocol itself."""
        sent = self._conn.close_sent
        return sent.code if sent is not None and sent.code in _FAULTS and self._conn.close_rcvd is None else None

    # What the edge does

    def write(self, data: bytes) -> None:
        """Frames, or what `send` has left of them."""
        if not self._closing:
            self._transport.write(data)

    def close(self, code: int, reason: str) -> None:
        """Starts the closing handshake; the connection ends when the client answers, or soon all the same."""
        if self._closing:
            return
        if self._conn.state is State.OPEN:  # or the client was first, in what has been read just now
            self._conn.send_close(code, reason)
        self._end()

    def abort(self) -> None:
        """Ends the connection now, whatever waits."""
        self._closing = True
        self._transport.abort()

    def shutdown(self) -> None:
        """uvicorn is going down."""
        self.close(CloseCode.SERVICE_RESTART, "")

    # What asyncio tells

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        conn = self._conn
        conn.receive_data(data)
        if self._closing:
            self._read_on(len(data))
            return
        for event in conn.events_received():
            self._take(cast(Frame, event))
        if conn.state is not State.OPEN:
            self._end()
        elif conn.writes:
            self._transport.write(b"".join(conn.data_to_send()))

    def eof_received(self) -> bool:
        self._conn.receive_eof()
        self._end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._all.discard(self)
        self.listener.on_lost()
        # Nothing here refers back to itself any more, so all of it goes now.
        self._conn.parser.close()
        del self.listener

    def pause_writing(self) -> None:
        self.listener.on_blocked()

    def resume_writing(self) -> None:
        self.listener.on_drained()

    def _take(self, frame: Frame) -> None:
        if self._closing:
            return
        if frame.opcode is Opcode.TEXT or (frame.opcode is Opcode.CONT and self._fragments is not None):
            self._take_text(frame)
        elif frame.opcode is Opcode.BINARY:
            self.listener.on_bytes()
        elif frame.opcode is Opcode.PING:
            self.listener.on_ping()

    def _take_text(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if self._fragments is not None:
            self._fragments.append(data)
        if not frame.fin:
            self._fragments = self._fragments or [data]
            return
        if self._fragments is not None:
            data, self._fragments = b"".join(self._fragments), None
        try:
            text = data.decode()
        except UnicodeDecodeError:
            logger.info("closing a client that sent text which is not UTF-8")
            self.close(CloseCode.INVALID_DATA, "text is not UTF-8")
            return
        self.listener.on_text(text)

    def _end(self) -> None:
        """Says what belongs to closing, and nothing after it. The client is to end the connection then: were it closed
        here, what the client still sends would have the kernel throw our last words away."""
        if not self._closing:
            self._closing = True
            self.listener.on_lost()
        output = self._conn.data_to_send()
        said = b"".join(output)
        if said:
            self._transport.write(said)
        if b"" in output:
            self._transport.write_eof()
        if self._close_timer is None:
            self._close_timer = self._loop.call_later(CLOSE_WITHIN_S, self._transport.abort)

    def _read_on(self, size: int) -> None:
        """After the close only its answer counts. Pongs are not sent any more: they would pile up in memory for one
        that sends pings and reads nothing."""
        self._conn.events_received()
        if b"" in self._conn.data_to_send():
            self._transport.write_eof()
        elif self._conn.parser_exc is None:  # else it is thrown away unread
            self._read_since_close += size
            if self._read_since_close > MAX_READ_AFTER_CLOSE:
                self._transport.abort()
