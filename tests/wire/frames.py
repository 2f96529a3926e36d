"""RFC 6455 and RFC 7692 once more, written for the tests alone: frames as a client may or may not send them, and a
reader that takes nothing from a server that a server must not send.
"""

import zlib
from dataclasses import dataclass
from itertools import pairwise

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10

MASK = bytes.fromhex("37fa213d")
_FLUSHED = b"\x00\x00\xff\xff"
_ALLOWED_CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


class WireError(AssertionError):
    """The server broke the protocol."""


@dataclass(frozen=True)
class Message:
    data: bytes
    compressed: bool = False
    wire_bytes: int = 0
    """Payload of its frames, as it travelled."""


@dataclass(frozen=True)
class Ping:
    payload: bytes


@dataclass(frozen=True)
class Pong:
    payload: bytes


@dataclass(frozen=True)
class Close:
    code: int | None
    reason: str = ""


Event = Message | Ping | Pong | Close


def frame(
    payload: bytes | str = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    announced: int | None = None,
) -> bytes:
    """One frame of a client. `announced`: the length that its header names, where that is not the payload's."""
    payload = payload.encode() if isinstance(payload, str) else payload
    length = len(payload) if announced is None else announced
    masked = 0 if mask is None else 0x80
    header = bytes(((0x80 if fin else 0) | rsv | opcode,))
    if length < 126:
        header += bytes((masked | length,))
    elif length < 1 << 16:
        header += bytes((masked | 126,)) + length.to_bytes(2, "big")
    else:
        header += bytes((masked | 127,)) + length.to_bytes(8, "big")
    return header + payload if mask is None else header + mask + _mask(payload, mask)


def fragments(payload: bytes, *cuts: int, opcode: int = TEXT, rsv: int = 0, mask: bytes = MASK) -> list[bytes]:
    """One message in a frame for each part between the cuts."""
    edges = [0, *sorted(cuts), len(payload)]
    parts = [payload[start:end] for start, end in pairwise(edges)]
    return [
        frame(part, opcode if not number else CONT, fin=number == len(parts) - 1, rsv=0 if number else rsv, mask=mask)
        for number, part in enumerate(parts)
    ]


def close_frame(code: int | None = None, reason: str | bytes = "") -> bytes:
    reason = reason.encode() if isinstance(reason, str) else reason
    return frame(b"" if code is None else code.to_bytes(2, "big") + reason, CLOSE)


def deflated(payload: bytes) -> bytes:
    """Without context takeover; goes into frames with RSV1 on the first."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_FLUSHED)


def _mask(payload: bytes, mask: bytes) -> bytes:
    length = len(payload)
    pad = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")


class Reader:
    """What a server sends, frame by frame. Raises WireError for whatever RFC 6455 or 7692 forbids it."""

    def __init__(self, *, deflate: bool = False) -> None:
        """`deflate`: permessage-deflate was negotiated, with `server_no_context_takeover`."""
        self._deflate = deflate
        self._buffer = bytearray()
        self._parts: list[bytes] | None = None
        self._opcode = 0
        self._compressed = False
        self._closed = False

    @property
    def is_within_a_frame(self) -> bool:
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Event]:
        self._buffer += data
        events = []
        while (parsed := self._next_frame()) is not None:
            event = self._take(*parsed)
            if event is not None:
                events.append(event)
        return events

    def _next_frame(self) -> tuple[int, bytes] | None:
        """The first byte and the payload of the next frame that is here as a whole."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, header_bytes = buffer[1] & 0x7F, 2
        _demand(not buffer[1] & 0x80, "a server masks nothing")
        if length >= 126:
            length_bytes = 2 if length == 126 else 8
            header_bytes += length_bytes
            if len(buffer) < header_bytes:
                return None
            least = 126 if length == 126 else 1 << 16
            length = int.from_bytes(buffer[2:header_bytes], "big")
            _demand(least <= length < 1 << 63, f"{length} has a shorter form than {length_bytes} bytes")
        if len(buffer) < header_bytes + length:
            return None
        first, payload = buffer[0], bytes(buffer[header_bytes : header_bytes + length])
        del buffer[: header_bytes + length]
        return first, payload

    def _take(self, first: int, payload: bytes) -> Event | None:
        fin, opcode = bool(first & 0x80), first & 0x0F
        _demand(not first & (RSV2 | RSV3), "RSV2 and RSV3 mean nothing here")
        _demand(opcode in {CONT, TEXT, BINARY, CLOSE, PING, PONG}, f"opcode {opcode} is reserved")
        if opcode >= CLOSE:
            _demand(fin and not first & RSV1, "a control frame is whole and not compressed")
            _demand(len(payload) <= 125, f"a control frame of {len(payload)} bytes")
            return self._take_control(opcode, payload)
        _demand(not self._closed, "data after the close frame")
        return self._take_data(opcode, fin, bool(first & RSV1), payload)

    def _take_control(self, opcode: int, payload: bytes) -> Event:
        if opcode == PING:
            _demand(not self._closed, "a ping after the close frame")
            return Ping(payload)
        if opcode == PONG:  # allowed after a close frame too (5.5.2: unless it already received a Close frame)
            return Pong(payload)
        _demand(not self._closed, "two close frames")
        self._closed = True
        if not payload:
            return Close(None)
        _demand(len(payload) >= 2, "a close code has two bytes")
        code = int.from_bytes(payload[:2], "big")
        _demand(code in _ALLOWED_CODES, f"close code {code} must not be sent")
        return Close(code, payload[2:].decode())

    def _take_data(self, opcode: int, fin: bool, rsv1: bool, payload: bytes) -> Message | None:
        if opcode == CONT:
            _demand(self._parts is not None, "nothing to continue")
            _demand(not rsv1, "RSV1 stands on the first frame of a message only")
        else:
            _demand(self._parts is None, "the message before is not over")
            _demand(self._deflate or not rsv1, "compression was not negotiated")
            self._parts, self._opcode, self._compressed = [], opcode, rsv1
        assert self._parts is not None
        self._parts.append(payload)
        if not fin:
            return None
        whole, self._parts = b"".join(self._parts), None
        data = _inflated(whole) if self._compressed else whole
        _demand(self._opcode == TEXT, "an edge sends text only")
        data.decode()
        return Message(data, self._compressed, len(whole))


def _inflated(data: bytes) -> bytes:
    decompressor = zlib.decompressobj(wbits=-15)
    try:
        inflated = decompressor.decompress(data + _FLUSHED)
    except zlib.error as error:
        raise WireError(f"it does not inflate: {error}") from error
    _demand(not decompressor.unused_data and not decompressor.eof, "a compressed message ends in an empty block")
    return inflated


def _demand(true: bool, rule: str) -> None:
    if not true:
        raise WireError(rule)
