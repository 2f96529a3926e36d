"""WebSocket on the wire (RFC 6455, RFC 7692), as far as the load client and the floor need it. Pure."""

import base64
import hashlib
import os
import zlib

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
COMPRESSED = 0x40
"""The bit of a frame's first byte that says that its message is compressed."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FLUSHED = b"\x00\x00\xff\xff"
"""The end of every compressed message, which the sender leaves out."""


def new_key() -> str:
    return base64.b64encode(os.urandom(16)).decode()


def accept_of(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def upgrade_request(port: int, path: str, key: str, *, deflate: bool) -> bytes:
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" if deflate else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    ).encode()


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    return _head(opcode, len(payload), 0) + payload


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    mask = os.urandom(4)
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return _head(opcode, len(payload), 0x80) + mask + masked.to_bytes(len(payload), "big")


def _head(opcode: int, length: int, mask_bit: int) -> bytes:
    if length < 126:
        return bytes((0x80 | opcode, mask_bit | length))
    if length < 1 << 16:
        return bytes((0x80 | opcode, mask_bit | 126)) + length.to_bytes(2, "big")
    return bytes((0x80 | opcode, mask_bit | 127)) + length.to_bytes(8, "big")


class Inflater:
    """Reads one connection's compressed messages."""

    def __init__(self, agreed: str) -> None:
        """`agreed`: the Sec-WebSocket-Extensions of the server's answer."""
        self._each_alone = "server_no_context_takeover" in agreed
        self._inflate = zlib.decompressobj(-15)

    def __call__(self, payload: bytes) -> bytes:
        if self._each_alone:
            self._inflate = zlib.decompressobj(-15)
        return self._inflate.decompress(payload + _FLUSHED)
