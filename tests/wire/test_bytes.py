"""What clients send, byte by byte: in pieces and together, rightly and wrongly."""

import asyncio
from typing import Any

import pytest

from tests.edges import RunningEdge
from tests.support import eventually
from tests.wire.fleet import clients_on
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
    Pong,
    deflated,
    fragments,
    frame,
)
from tests.wire.raw import DEFLATE, is_heartbeat, parsed, ping, request, tcp_to, websocket

pytestmark = pytest.mark.asyncio(loop_scope="package")

MAX_MESSAGE_BYTES = 65_536
"""The edge's default."""


def padded(message: bytes, size: int) -> bytes:
    """The same message, longer: white space is nothing to JSON."""
    return message + b" " * (size - len(message))


# In pieces


async def test_a_frame_may_come_one_byte_at_a_time(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        whole = frame(ping("slow")) + frame(b"still here", PING) + frame(ping("end"))
        await client.tcp.send_in_pieces(bytes((byte,)) for byte in whole)
        [heartbeat, pong] = await client.answers_to_ping("end")
        assert is_heartbeat(heartbeat, "slow")
        assert pong == Pong(b"still here")


async def test_many_frames_in_one_write_are_answered_one_by_one_in_their_order(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        await client.send(*(frame(ping(f"n-{number}")) for number in range(150)))
        answers = await client.answers_to_ping("n-149")
        assert [parsed(answer)["nonce"] for answer in answers] == [f"n-{number}" for number in range(149)]


async def test_a_ping_in_the_middle_of_a_fragmented_message_is_answered_at_once(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        first, *others = fragments(ping("in parts"), 3, 3, 20)  # one of them empty
        await client.send(first, frame(b"now", PING), frame(b"nobody asked", PONG))
        assert await client.reply() == Pong(b"now")
        await client.send(*others)
        assert is_heartbeat(await client.reply(), "in parts")


async def test_a_message_may_be_cut_in_the_middle_of_a_character(edge: RunningEdge) -> None:
    nonce = "ü€😀"
    message = ping(nonce)
    async with websocket(edge) as client:
        await client.send(*fragments(message, *range(1, len(message))))
        assert is_heartbeat(await client.reply(), nonce)


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x00\x80\x01\x7f"])
async def test_any_mask_will_do(edge: RunningEdge, mask: bytes) -> None:
    async with websocket(edge) as client:
        await client.send(frame(ping("masked ü"), mask=mask))
        assert is_heartbeat(await client.reply(), "masked ü")


@pytest.mark.parametrize("size", [125, 126, 127, 65_535, 65_536])
async def test_a_message_of_every_length_form_is_understood(edge: RunningEdge, size: int) -> None:
    async with websocket(edge) as client:
        await client.send(frame(padded(ping("long"), size)), frame(ping("after")))
        assert is_heartbeat(await client.reply(), "long")
        assert is_heartbeat(await client.reply(), "after")


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(125))])
async def test_a_pong_carries_what_the_ping_carried(edge: RunningEdge, payload: bytes) -> None:
    async with websocket(edge) as client:
        await client.send(frame(payload, PING))
        assert await client.reply() == Pong(payload)


async def test_pongs_that_nobody_asked_for_are_no_fault(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        await client.send(*(frame(b"?", PONG) for _ in range(300)), frame(ping("still here")))
        assert is_heartbeat(await client.reply(), "still here")


async def test_compressed_and_plain_messages_may_be_mixed(edge: RunningEdge) -> None:
    async with websocket(edge, DEFLATE) as client:
        compressed = deflated(padded(ping("compressed"), 60_000))
        await client.send(
            frame(ping("plain")),
            frame(compressed, rsv=RSV1),
            *fragments(deflated(ping("in parts")), 0, 1, 5, rsv=RSV1),
            frame(ping("plain again")),
            *fragments(compressed, 10, rsv=RSV1),
        )
        for nonce in ("plain", "compressed", "in parts", "plain again", "compressed"):
            assert is_heartbeat(await client.reply(), nonce)


# What costs an error message and no more


@pytest.mark.parametrize("parts", [[b"\x00\xff\xfe"], [b""], [b"\xff", b"\xfe", b""]])
async def test_a_binary_message_gets_an_error_and_the_connection_stays(edge: RunningEdge, parts: list[bytes]) -> None:
    whole = b"".join(parts)
    async with websocket(edge) as client:
        await client.send(*fragments(whole, *range(1, len(parts)), opcode=BINARY), frame(ping("still here")))
        [error] = await client.answers_to_ping("still here")
        assert (parsed(error)["type"], parsed(error)["code"]) == ("error", "invalid-message")


async def test_an_empty_message_gets_an_error_and_the_connection_stays(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        await client.send(frame(b""), *fragments(b"", 0, 0), frame(ping("still here")))
        errors = await client.answers_to_ping("still here")
        assert [parsed(error)["code"] for error in errors] == ["invalid-message"] * 2


# What ends the connection

_RESERVED_OPCODES = [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF]

BROKEN = {
    "a frame that is not masked": [frame(ping("n"), mask=None)],
    "a ping that is not masked": [frame(b"", PING, mask=None)],
    **{f"opcode {opcode}": [frame(b"", opcode)] for opcode in _RESERVED_OPCODES},
    "RSV1 without compression": [frame(ping("n"), rsv=RSV1)],
    "RSV2": [frame(ping("n"), rsv=RSV2)],
    "RSV3": [frame(ping("n"), rsv=RSV3)],
    "RSV1 on a ping": [frame(b"", PING, rsv=RSV1)],
    "a continuation of nothing": [frame(ping("n"), CONT)],
    "a continuation after the end": [*fragments(ping("n"), 5), frame(b"more", CONT)],
    "a message within a message": [frame(b"{", fin=False), frame(ping("n"))],
    "binary within a message": [frame(b"{", fin=False), frame(b"", BINARY)],
    "a ping in parts": [frame(b"", PING, fin=False)],
    "a ping too long": [frame(b"x" * 126, PING)],
    "a close too long": [frame((1000).to_bytes(2, "big") + b"x" * 124, CLOSE)],
}


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
async def test_a_broken_frame_is_answered_with_1002(edge: RunningEdge, frames: list[bytes]) -> None:
    async with websocket(edge) as client:
        await client.send(frame(ping("before")), *frames, frame(ping("after")))
        before, close = await client.closing()
        assert close.code == 1002
        answered = [parsed(event)["nonce"] for event in before]
        assert answered in (["before"], ["before", "n"]), "what came before it counts, what came after it does not"


BADLY_COMPRESSED = {
    "rubbish": [frame(b"\xff\xff\xff\xff", rsv=RSV1)],
    "RSV1 on a continuation": [frame(deflated(ping("n")), fin=False, rsv=RSV1), frame(b"", CONT, rsv=RSV1)],
    "RSV1 on a continuation of a plain message": [frame(b"{", fin=False), frame(b"}", CONT, rsv=RSV1)],
    "RSV1 on a ping": [frame(b"", PING, rsv=RSV1)],
}


@pytest.mark.parametrize("frames", BADLY_COMPRESSED.values(), ids=BADLY_COMPRESSED)
async def test_a_badly_compressed_message_is_answered_with_1002(edge: RunningEdge, frames: list[bytes]) -> None:
    async with websocket(edge, DEFLATE) as client:
        await client.send(*frames)
        before, close = await client.closing()
        assert (before, close.code) == ([], 1002)


NOT_UTF8 = {
    "a lone byte": b"\xff",
    "a surrogate": b"\xed\xa0\x80",
    "an overlong form": b"\xc0\xaf",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "a character without its end": "€".encode()[:2],
}


@pytest.mark.parametrize("text", NOT_UTF8.values(), ids=NOT_UTF8)
@pytest.mark.parametrize("is_compressed", [False, True])
async def test_text_that_is_not_utf8_is_answered_with_1007(edge: RunningEdge, text: bytes, is_compressed: bool) -> None:
    async with websocket(edge, DEFLATE if is_compressed else None) as client:
        message = b'{"type":"ping","nonce":"' + text + b'"}'
        cut = message.index(text) + 1
        if is_compressed:
            await client.send(frame(deflated(message), rsv=RSV1), frame(ping("after")))
        else:
            await client.send(*fragments(message, cut), frame(ping("after")))
        before, close = await client.closing()
        assert (before, close.code) == ([], 1007)


TOO_LONG: dict[str, tuple[Any, list[bytes]]] = {
    "by one byte": (None, [frame(padded(ping("n"), MAX_MESSAGE_BYTES + 1))]),
    "in parts": (None, fragments(padded(ping("n"), MAX_MESSAGE_BYTES + 1), 1, MAX_MESSAGE_BYTES)),
    "announced only": (None, [frame(b"", announced=1 << 40)]),
    "announced as negative": (None, [frame(b"", announced=(1 << 64) - 1)]),
    "binary": (None, [frame(bytes(MAX_MESSAGE_BYTES + 1), BINARY)]),
    "a small frame that inflates": (DEFLATE, [frame(deflated(padded(ping("n"), MAX_MESSAGE_BYTES + 1)), rsv=RSV1)]),
    "a bomb": (DEFLATE, [frame(deflated(bytes(50_000_000)), rsv=RSV1)]),
    "a bomb in parts": (DEFLATE, fragments(deflated(bytes(5_000_000)), 10, 100, 1000, rsv=RSV1)),
}


@pytest.mark.parametrize(("extensions", "frames"), TOO_LONG.values(), ids=TOO_LONG)
async def test_a_message_too_long_is_answered_with_1009(
    edge: RunningEdge, extensions: str | None, frames: list[bytes]
) -> None:
    async with websocket(edge, extensions) as client:
        await client.send(*frames)
        before, close = await client.closing()
        assert (before, close.code) == ([], 1009)


async def test_1009_arrives_while_the_client_still_sends(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        sending = asyncio.create_task(client.tcp.send(frame(bytes(30_000_000))))
        before, close = await client.closing(answer=False)  # fails where the connection is reset
        assert (before, close.code) == ([], 1009)
        assert close.reason
        await sending


# Clients that vanish

HALF_A_FRAME = frame(ping("never whole"))[:-4]


@pytest.mark.parametrize("unfinished", [b"", HALF_A_FRAME[:1], HALF_A_FRAME, frame(b"{", TEXT, fin=False)])
async def test_a_client_that_ends_its_side_is_let_go(edge: RunningEdge, unfinished: bytes) -> None:
    async with websocket(edge) as client:
        await client.send(frame(ping("last")), unfinished)
        client.tcp.half_close()
        assert is_heartbeat(await client.reply(), "last")
        assert await client.tcp.read_to_end() == b""
    await eventually(lambda: nobody_is_left(edge), what="the edge to forget the client")


@pytest.mark.parametrize("unfinished", [b"", HALF_A_FRAME[:1], HALF_A_FRAME, frame(b"{", TEXT, fin=False)])
async def test_a_client_that_is_gone_in_the_middle_of_a_frame_is_forgotten(
    edge: RunningEdge, unfinished: bytes
) -> None:
    async with websocket(edge) as client:
        await client.send(frame(ping("here")), unfinished)
        await client.answers_to_ping("here")
        assert await clients_on(edge) > 0
        client.tcp.reset()
    await eventually(lambda: nobody_is_left(edge), what="the edge to forget the client")


async def test_a_client_that_is_gone_in_the_middle_of_its_handshake_leaves_nothing(edge: RunningEdge) -> None:
    whole = request(edge)
    for length in (1, len(whole) // 2, len(whole) - 1, len(whole)):
        async with tcp_to(edge) as tcp:
            await tcp.send_in_pieces([whole[:length]])
            tcp.reset()
    await eventually(lambda: nobody_is_left(edge), what="the edge to forget the client")


async def nobody_is_left(edge: RunningEdge) -> bool:
    return await clients_on(edge) == 0
