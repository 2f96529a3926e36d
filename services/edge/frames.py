"""One message in the forms in which clients take it, each made once however many clients get it. Pure.

- `text`: a WebSocket text frame (RFC 6455, 5.2), unmasked as a server's are.
- `deflate`: the same with permessage-deflate (RFC 7692), without context takeover, so that the bytes depend on nothing
  that this or that client got before and all of them can share one frame.
- `events`: a server-sent event.
"""

import zlib
from functools import cached_property
from typing import Literal

Encoding = Literal["text", "deflate", "events"]

PING = b"\x89\x00"
"""A WebSocket ping without payload."""

_FIN_TEXT = 0x81
_RSV1 = 0x40
_SMALLEST_TO_DEFLATE = 256
"""Below this the header costs more than is won; a message may go uncompressed on any connection."""

_DEFLATE_LEVEL = 9
"""On these messages hardly dearer than the least, and it is paid once for all clients."""


def websocket_frame(payload: bytes, first_byte: int = _FIN_TEXT) -> bytes:
    """A whole, unmasked frame."""
    length = len(payload)
    if length < 126:
        return bytes((first_byte, length)) + payload
    if length < 65_536:
        return bytes((first_byte, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first_byte, 127)) + length.to_bytes(8, "big") + payload


class Frame:
    """One message. `body` is JSON in UTF-8."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    @cached_property
    def text(self) -> bytes:
        return websocket_frame(self.body)

    @cached_property
    def deflate(self) -> bytes:
        if len(self.body) < _SMALLEST_TO_DEFLATE:
            return self.text
        compressor = zlib.compressobj(_DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        deflated = compressor.compress(self.body) + compressor.flush(zlib.Z_SYNC_FLUSH)
        # What a sync flush ends in is left out on the wire (RFC 7692, 7.2.1).
        return websocket_frame(deflated[:-4], _FIN_TEXT | _RSV1)

    @cached_property
    def events(self) -> bytes:
        # A line break in JSON is white space between its parts; in an event it would end the field.
        return b"data: " + self.body.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n\n"

    def encoded(self, encoding: Encoding) -> bytes:
        form: bytes = getattr(self, encoding)
        return form
