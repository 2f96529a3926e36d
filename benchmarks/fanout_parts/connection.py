"""One connection of the load client: connects, counts the frames that come, answers what must be answered.

Cheap, so that it is not what is measured: of a client that is no probe only the headers of frames are looked at, and
short frames, among which are pings and closes.
"""

import errno
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from benchmarks.fanout_parts import frames as wire
from benchmarks.fanout_parts.dialects import Dialect
from benchmarks.fanout_parts.probe import Probe

SMALL = 100
"""Bytes of payload: shorter frames are heartbeats and the like, all others count as data."""

BUFFER_BYTES = 1 << 20
"""More than any frame that a probe has to read at once."""


class State(Enum):
    CONNECTING = auto()
    UPGRADING = auto()
    OPEN = auto()
    CLOSED = auto()


@dataclass(frozen=True)
class Kind:
    """What connections of one group have in common."""

    dialect: Dialect
    ports: tuple[int, ...]
    channels: tuple[str, ...] = ()
    deflate: bool = False
    reconnects: bool = False
    receive_buffer: int | None = None
    """SO_RCVBUF; with it segments are as long as on a real network, not as long as loopback's, so that the sender's
    buffer stays as small too."""


class Buffer:
    """Where every connection receives, one after the other."""

    def __init__(self) -> None:
        self.data = bytearray(BUFFER_BYTES)
        self.view = memoryview(self.data)


class Connection:
    """One client. `on_change` is called when it has opened, and when it has closed, whoever did it."""

    __slots__ = (
        "_carry",
        "_inflate",
        "_key",
        "_on_change",
        "_skip",
        "beat_ns",
        "close_reason",
        "closed_with",
        "data_ns",
        "frames",
        "kind",
        "longest_gap_ns",
        "payload_bytes",
        "port_index",
        "probe",
        "sock",
        "state",
        "wire_bytes",
    )

    def __init__(self, kind: Kind, number: int, probe: Probe | None, on_change: Callable[["Connection"], None]) -> None:
        self.kind = kind
        self.probe = probe
        self.port_index = number % len(kind.ports)
        self._on_change = on_change
        self.state = State.CLOSED
        self.sock = socket.socket()
        self.closed_with = ""
        self.close_reason = b""
        self.frames = 0
        """Of data, since `mark`; as are the two below."""
        self.payload_bytes = 0
        self.wire_bytes = 0
        self.data_ns = 0
        """When the last data came."""
        self.beat_ns = 0
        """When the last short text came: a heartbeat."""
        self.longest_gap_ns = 0

    def connect(self) -> None:
        """Begins to connect. Unless that has failed already, whoever polls the socket calls `connected` when it can be
        written to."""
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.kind.receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.kind.receive_buffer)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
        self._carry = b""
        self._skip = 0
        self._key = wire.new_key()
        self._inflate: wire.Inflater | None = None
        self.state = State.CONNECTING
        begun = self.sock.connect_ex(("127.0.0.1", self.kind.ports[self.port_index]))
        if begun not in (0, errno.EINPROGRESS):
            self.close("refused")

    def connected(self, now_ns: int) -> None:
        if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close("refused")
        elif self.kind.dialect.upgrades:
            self.state = State.UPGRADING
            port = self.kind.ports[self.port_index]
            self._write(wire.upgrade_request(port, self.kind.dialect.path, self._key, deflate=self.kind.deflate))
        else:
            self._open(now_ns)

    def mark(self, now_ns: int) -> None:
        """Starts the figures anew."""
        self.frames = self.payload_bytes = self.wire_bytes = self.longest_gap_ns = 0
        self.data_ns = now_ns

    def say(self, payload: bytes) -> None:
        self._write(wire.client_frame(payload, self.kind.dialect.opcode))

    def close(self, closed_with: str, reason: bytes = b"") -> None:
        self.state = State.CLOSED
        self.closed_with = closed_with
        self.close_reason = reason
        self.sock.close()
        self._on_change(self)

    @property
    def retry_after_s(self) -> float | None:
        """What a closing edge asked for."""
        try:
            return float(json.loads(self.close_reason)["retryAfterMs"]) / 1000
        except (ValueError, KeyError, TypeError):
            return None

    def receive(self, buffer: Buffer, now_ns: int) -> None:
        """Takes what has come."""
        carried = len(self._carry)
        if carried:
            buffer.data[:carried] = self._carry
        try:
            got = self.sock.recv_into(buffer.view[carried:])
        except BlockingIOError:
            return
        except OSError:
            got = 0
        if not got:
            self.close("1006")
            return
        self.wire_bytes += got
        if self.state is State.OPEN:
            self._walk(buffer.data, carried + got, now_ns)
        else:
            self._upgrade(buffer, carried + got, now_ns)

    def _upgrade(self, buffer: Buffer, end: int, now_ns: int) -> None:
        head, complete, rest = bytes(buffer.data[:end]).partition(b"\r\n\r\n")
        if not complete:
            self._carry = head
            return
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if " 101 " not in f"{status} " or fields.get("sec-websocket-accept") != wire.accept_of(self._key):
            self.close(f"HTTP {status.split()[1]}")
            return
        agreed = fields.get("sec-websocket-extensions", "")
        if "permessage-deflate" in agreed:
            self._inflate = wire.Inflater(agreed)
        self._carry = b""
        buffer.data[: len(rest)] = rest
        self._open(now_ns)
        self._walk(buffer.data, len(rest), now_ns)

    def _open(self, now_ns: int) -> None:
        self.state = State.OPEN
        if not self.data_ns:
            self.data_ns = now_ns
        greeting = self.kind.dialect.greeting(self.kind.channels)
        if greeting:
            self.say(greeting)
        self._on_change(self)

    def _walk(self, data: bytearray, end: int, now_ns: int) -> None:
        """Goes from frame to frame; servers do not mask, so the second byte is the length."""
        at, frames, payload_bytes = self._skip, 0, 0
        reads_all = self.probe is not None
        while end - at >= 2:
            length = data[at + 1]
            begin = at + 2
            if length == 126:
                begin = at + 4
                if begin > end:
                    break
                length = data[at + 2] << 8 | data[at + 3]
            elif length == 127:
                begin = at + 10
                if begin > end:
                    break
                length = int.from_bytes(data[at + 2 : begin], "big")
            after = begin + length
            if length < SMALL or reads_all:
                if after > end:
                    break
                self._take(data[at], bytes(data[begin:after]), now_ns)
                if self.state is State.CLOSED:
                    return
            if length >= SMALL:
                frames += 1
                payload_bytes += length
            at = after
        self._carry = bytes(data[at:end])
        self._skip = max(0, at - end)
        if frames:
            self.frames += frames
            self.payload_bytes += payload_bytes
            self.longest_gap_ns = max(self.longest_gap_ns, now_ns - self.data_ns)
            self.data_ns = now_ns

    def _take(self, first: int, payload: bytes, now_ns: int) -> None:
        match first & 0x0F:
            case wire.CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                self._write(wire.client_frame(payload[:2], wire.CLOSE))
                self.close(str(code), payload[2:])
            case wire.PING:
                self._write(wire.client_frame(payload, wire.PONG))
            case _:
                if first & wire.COMPRESSED and self._inflate is not None and self.probe is not None:
                    payload = self._inflate(payload)
                if len(payload) < SMALL:
                    self.beat_ns = now_ns
                    answer = self.kind.dialect.answer(payload)
                    if answer:
                        self.say(answer)
                if self.probe is not None:
                    self.probe.take(payload, now_ns)

    def _write(self, data: bytes) -> None:
        """What a client says is short: where it does not fit into the socket, the connection is as good as gone, and
        reading from it will tell."""
        try:
            self.sock.send(data)
        except OSError:
            return
