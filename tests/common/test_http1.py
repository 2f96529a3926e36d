"""The HTTP client: answers however they are cut, and connections that end in every way."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.http1 import MAX_HEAD_BYTES, AnswerError, AnswerReader, Client, Server, TooLargeError
from tests.support import PATIENCE_S, eventually, stop_listening

CRLF = b"\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"

Read = tuple[int, str, bytes] | str
"""Status, reason and body; or the name of the error."""


def read(*pieces: bytes, then_ends: bool = True, **limits: int) -> Read:
    reader = AnswerReader(**limits)
    try:
        for piece in pieces:
            reader.feed(piece)
        if then_ends:
            reader.end()
    except AnswerError as error:
        return type(error).__name__
    if reader.head is None or not reader.is_whole:
        return "unfinished"
    return reader.head.status, reader.head.reason, reader.take()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[begin:end] for begin, end in pairwise(edges)]


places = st.lists(st.integers(0, 10_000), max_size=12)
bodies = st.binary(max_size=200)
informational = st.sampled_from(
    [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"]
)
framings = st.sampled_from(["length", "chunked", "until close"])


def answer(body: bytes, framing: str, chunk: int = 7) -> bytes:
    head = b"HTTP/1.1 404 Not Found\r\nServer: x\r\n"
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    if framing == "until close":
        return head + CRLF + body
    chunks = [body[at : at + chunk] for at in range(0, len(body), chunk)]
    framed = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(one), one) for one in chunks)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\nTrailer: x\r\n\r\n"


@given(body=bodies, framing=framings, chunk=st.integers(1, 50), before=informational, places=places)
def test_an_answer_is_the_same_however_it_is_cut(
    body: bytes, framing: str, chunk: int, before: bytes, places: list[int]
) -> None:
    pieces = cut(before + before + answer(body, framing, chunk), places)
    assert read(*pieces) == (404, "Not Found", body)
    assert read(*pieces, then_ends=False) == ("unfinished" if framing == "until close" else (404, "Not Found", body))


@given(body=bodies, framing=st.sampled_from(["length", "chunked"]), after=st.binary(max_size=80), places=places)
def test_what_comes_after_an_answer_is_ignored(body: bytes, framing: str, after: bytes, places: list[int]) -> None:
    for more in (after, EMPTY, answer(b"another", framing)):
        assert read(*cut(answer(body, framing) + more, places)) == (404, "Not Found", body)


@given(body=bodies, framing=st.sampled_from(["length", "chunked"]), missing=st.integers(1, 300))
def test_an_answer_that_is_cut_short_is_none(body: bytes, framing: str, missing: int) -> None:
    whole = answer(body, framing)
    assert read(whole[: max(0, len(whole) - missing)]) == "AnswerError"


@given(
    data=st.binary(max_size=300)
    | st.builds(
        lambda body, framing, at, wrong: answer(body, framing)[:at] + wrong + answer(body, framing)[at:],
        bodies,
        framings,
        st.integers(0, 150),
        st.binary(min_size=1, max_size=5),
    ),
    places=places,
)
def test_rubbish_raises_only_what_is_named_and_the_same_however_it_is_cut(data: bytes, places: list[int]) -> None:
    assert read(*cut(data, places)) == read(data)


@pytest.mark.parametrize(
    "wrong", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00\xff" * 500, b"GET / HTTP/1.1\r\n\r\n", b"\r\n" * 9]
)
def test_what_is_no_http_is_an_error(wrong: bytes) -> None:
    assert read(wrong) == "AnswerError"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", (204, "No Content", b""), id="nothing"),
        pytest.param(b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", (304, "X", b""), id="not modified"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n\x00", (101, "Switching", b""), id="other protocol"),
        pytest.param(b"HTTP/1.0 200\r\nContent-Length: 1\r\n\r\nx", (200, "", b"x"), id="no reason"),
    ],
)
def test_an_answer_may_have_no_body_or_no_reason(data: bytes, expected: Read) -> None:
    assert read(data, then_ends=False) == expected
    assert read(*cut(data, list(range(len(data)))), then_ends=False) == expected


def test_headers_are_found_by_lower_case_name_and_joined() -> None:
    reader = AnswerReader()
    reader.feed(OK + b"X-A: 1\r\nContent-LENGTH: 0\r\nx-a: 2\r\n\r\n")
    assert reader.head is not None
    assert reader.head.headers == {"x-a": "1, 2", "content-length": "0"}


@pytest.mark.parametrize("size", [1, 1000, 1_000_000], ids=["drop by drop", "in pieces", "at once"])
def test_a_head_has_a_bound_and_it_is_exact(size: int) -> None:
    def of(length: int) -> list[bytes]:
        rest = len(OK) + len(b"A: \r\nContent-Length: 2\r\n\r\n")
        data = OK + b"A: " + b"x" * (length - rest) + b"\r\nContent-Length: 2\r\n\r\nhi"
        return [data[at : at + size] for at in range(0, len(data), size)]

    assert read(*of(2000), max_head_bytes=2000) == (200, "OK", b"hi")
    assert read(*of(2001), max_head_bytes=2000) == "AnswerError"


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        pytest.param(b"HTTP/1.1 200 ", b"x" * 1000, id="reason"),
        pytest.param(OK + b"X", b"x" * 1000, id="header's name"),
        pytest.param(OK, b"X: y\r\n" * 100, id="headers"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10, id="informational"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 1000, id="a chunk's extension"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 100, id="trailers"),
    ],
)
def test_nothing_goes_on_for_ever(begin: bytes, more: bytes) -> None:
    reader = AnswerReader()
    reader.feed(begin)
    with pytest.raises(AnswerError, match="bytes"):
        for _ in range(MAX_HEAD_BYTES):
            reader.feed(more)


@given(length=st.integers(90, 110), framing=framings, places=places)
def test_a_body_has_a_bound_and_it_is_exact(length: int, framing: str, places: list[int]) -> None:
    expected = (404, "Not Found", b"x" * length) if length <= 100 else "TooLargeError"
    assert read(*cut(answer(b"x" * length, framing), places), max_body_bytes=100) == expected


# Connections

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that serves every connection so; its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the client hung up, or the test is over
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    server = await asyncio.start_server(accept, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        await stop_listening(server)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def serving(serve: Serve, max_connections: int = 5) -> AsyncIterator[Client]:
    """A client of such a server."""
    async with listening(serve) as port:
        client = Client(Server(f"127.0.0.1:{port}", ("127.0.0.1", port), "/prefix"), max_connections)
        try:
            yield client
        finally:
            client.close()


def saying(*words: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for said in words:
            writer.write(said)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    return serve


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    await reader.read()


@pytest.mark.parametrize(("method", "length"), [("GET", []), ("POST", ["Content-Length: 0"])], ids=["get", "post"])
async def test_a_request_says_all_that_it_has_to(method: str, length: list[str]) -> None:
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.extend((await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n"))
        writer.write(EMPTY)
        await reader.read()

    async with serving(serve) as client, client.connection() as connection:
        connection.ask(method, "/x?y=z")
        assert (await connection.answer()).content == b""
    assert asked[0] == f"{method} /prefix/x?y=z HTTP/1.1"
    assert asked[1].startswith("Host: 127.0.0.1:")
    rest = ["User-Agent: fleetcast", "Accept: */*", "Accept-Encoding: identity", "Connection: close"]
    assert asked[2:] == [*rest, *length, "", ""]


@pytest.mark.parametrize("framing", ["length", "chunked", "until close"])
async def test_a_large_answer_is_read_as_a_whole(framing: str) -> None:
    body = bytes(range(256)) * 8192
    async with serving(saying(answer(body, framing, 40_000))) as client, client.connection() as connection:
        connection.ask("GET", "/")
        whole = await connection.answer()
    assert whole.head.status == 404
    assert whole.content == body


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 2", OK + b"Content-Length: 9\r\n\r\nhalf"], ids=["nothing", "half a head", "half a body"]
)
async def test_an_answer_that_breaks_off_is_an_error(said: bytes) -> None:
    async with serving(saying(said)) as client, client.connection() as connection:
        connection.ask("GET", "/")
        with pytest.raises(AnswerError, match="ended"):
            await connection.answer()


async def test_nothing_is_asked_on_a_connection_that_is_lost() -> None:
    async with serving(saying(EMPTY)) as client, client.connection() as connection:
        connection.ask("GET", "/")
        await connection.answer()
        connection.abort()

        def is_refused() -> bool:
            try:
                connection.ask("GET", "/again")
            except ConnectionAbortedError:
                return True
            return False

        await eventually(is_refused)


async def test_a_reset_is_an_error_of_the_system_also_where_the_body_ends_with_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\nhalf")
        await reader.readuntil(b"go")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with serving(serve) as client, client.connection() as connection:
        connection.ask("GET", "/")
        assert await connection.part() == b"half"
        connection.ask("GET", "/go")
        with pytest.raises(ConnectionResetError):
            await connection.part()


async def test_a_stream_is_given_as_it_comes_and_then_ends() -> None:
    goes_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        await goes_on.wait()
        writer.write(b"3\r\none\r\n")
        await reader.read(1)  # until the client has it, and says so
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await reader.read()

    async with serving(serve) as client, client.connection() as connection:
        connection.ask("GET", "/")
        assert (await connection.head()).status == 200
        goes_on.set()
        assert await connection.part() == b"one"
        connection.ask("GET", "/")
        assert [await connection.part(), await connection.part()] == [b"two", b""]


async def test_a_stream_that_nobody_takes_waits_at_the_server() -> None:
    sent, size, chunks = 0, 100_000, 300

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + CRLF)
        for _ in range(chunks):
            writer.write(b"x" * size)
            await writer.drain()
            sent += size
        writer.close()
        await writer.wait_closed()

    async with serving(serve) as client, client.connection() as connection:
        connection.ask("GET", "/")
        await connection.head()
        await eventually(lambda: connection._is_paused, what="a full buffer")
        assert connection._reader.waiting_bytes < 1_000_000
        assert sent < size * chunks
        taken = 0
        while part := await connection.part():
            taken += len(part)
        assert taken == sent == size * chunks


async def test_only_so_much_is_asked_at_once_and_the_next_waits_for_a_place() -> None:
    async with serving(never, max_connections=2) as client:
        async with client.connection(), client.connection():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), client.connection():
                    pass
        async with asyncio.timeout(PATIENCE_S), client.connection(), client.connection():
            pass  # the places are free again, also after one who gave up


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_to_stop_is_to_hang_up(how: str) -> None:
    arrived, left = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()
        left.set()

    async def ask(client: Client) -> None:
        async with client.connection() as connection:
            connection.ask("GET", "/")
            await connection.answer()

    async with serving(serve) as client:
        asking = asyncio.create_task(ask(client))
        await arrived.wait()
        if how == "cancelled":
            asking.cancel()
        else:
            client.close()
        with pytest.raises(asyncio.CancelledError if how == "cancelled" else ConnectionAbortedError):
            await asking
        async with asyncio.timeout(PATIENCE_S):
            await left.wait()


async def test_a_body_without_end_is_too_large() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + CRLF)
        while True:
            writer.write(b" " * 1_000_000)
            await writer.drain()

    async with serving(serve) as client, client.connection() as connection:
        connection.ask("GET", "/")
        with pytest.raises(TooLargeError, match="67108864"):
            await connection.answer()
