"""The tests' own reader: it has to refuse what no server may send, or the tests beside this one show nothing."""

import pytest

from tests.wire.frames import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Close,
    Message,
    Ping,
    Pong,
    Reader,
    WireError,
    deflated,
    frame,
)


def sent(payload: bytes | str = b"", opcode: int = TEXT, *, fin: bool = True, rsv: int = 0) -> bytes:
    """A server's frame: not masked."""
    return frame(payload, opcode, fin=fin, rsv=rsv, mask=None)


CLOSED = sent(b"\x03\xe8", CLOSE)

FORBIDDEN = {
    "a mask": frame(b"{}"),
    "a reserved opcode": sent(b"", 0x3),
    "RSV2": sent(b"{}", rsv=RSV2),
    "RSV3": sent(b"{}", rsv=RSV3),
    "binary": sent(b"{}", BINARY),
    "two bytes of length for 125": b"\x81\x7e\x00\x7d" + bytes(125),
    "eight bytes of length for 65,535": b"\x81\x7f" + (65_535).to_bytes(8, "big") + bytes(65_535),
    "a length of 64 bits": b"\x81\x7f" + b"\xff" * 8,
    "a ping in parts": sent(b"", PING, fin=False),
    "a ping too long": sent(bytes(126), PING),
    "a compressed ping": sent(b"", PING, rsv=RSV1),
    "a continuation of nothing": sent(b"{}", CONT),
    "a message within a message": sent(b"{", fin=False) + sent(b"}"),
    "RSV1 on a continuation": sent(b"{", fin=False) + sent(b"}", CONT, rsv=RSV1),
    "data after the close": CLOSED + sent(b"{}"),
    "a ping after the close": CLOSED + sent(b"", PING),
    "a second close": CLOSED + CLOSED,
    "half a close code": sent(b"\x03", CLOSE),
    "a close code that is never sent": sent((1005).to_bytes(2, "big"), CLOSE),
    "more behind a compressed message": sent(deflated(b"{}") + b"\x03\x00more", rsv=RSV1),
}


@pytest.mark.parametrize("data", FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_reader_refuses_what_a_server_must_not_send(data: bytes) -> None:
    with pytest.raises(WireError):
        Reader(deflate=True).feed(data)


def test_the_reader_refuses_compression_that_was_not_agreed_on() -> None:
    with pytest.raises(WireError):
        Reader().feed(sent(deflated(b"{}"), rsv=RSV1))


def test_the_reader_refuses_text_that_is_not_utf8() -> None:
    with pytest.raises(UnicodeDecodeError):
        Reader().feed(sent(b"\xff"))


def test_the_reader_takes_what_a_server_may_send_however_it_comes() -> None:
    compressed = deflated(b"ab" * 1_000)
    data = b"".join(
        [
            sent(b"x" * 65_536),
            sent(compressed[:3], fin=False, rsv=RSV1),
            sent(b"?", PING),
            sent(compressed[3:], CONT),
            CLOSED,
            sent(b"!", PONG),
        ]
    )
    expected = [
        Message(b"x" * 65_536, False, 65_536),
        Ping(b"?"),
        Message(b"ab" * 1_000, True, len(compressed)),
        Close(1000),
        Pong(b"!"),
    ]
    assert Reader(deflate=True).feed(data) == expected
    reader = Reader(deflate=True)
    assert [event for byte in data for event in reader.feed(bytes((byte,)))] == expected
    assert not reader.is_within_a_frame
