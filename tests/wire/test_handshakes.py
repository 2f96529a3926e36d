"""The opening handshake: in pieces, too early, wrong, and what is agreed on about compression."""

import pytest

from services.embedded import EmbeddedServer
from tests.edges import RunningEdge, running_edge
from tests.wire.frames import PING, Pong, frame
from tests.wire.raw import (
    DEFLATE,
    Client,
    is_heartbeat,
    open_websocket,
    parse_answer,
    parsed,
    ping,
    request,
    tcp_to,
    websocket,
)

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def refusal(edge: RunningEdge, sent: bytes) -> tuple[int, dict[str, str]]:
    """How a request is answered; the edge has to say all of it and to end the connection then."""
    async with tcp_to(edge) as tcp:
        await tcp.send(sent)
        status, headers, content = parse_answer(await tcp.read_to_end())
    assert len(content) == int(headers["content-length"])
    return status, headers


async def test_a_handshake_may_come_one_byte_at_a_time(edge: RunningEdge) -> None:
    async with tcp_to(edge) as tcp:
        await tcp.send_in_pieces(bytes((byte,)) for byte in request(edge))
        client = await open_websocket(tcp)
        assert parsed(await client.reply())["type"] == "connected"
        await client.send(frame(ping("through")))
        assert is_heartbeat(await client.reply(), "through")


async def test_a_handshake_may_follow_other_requests_on_its_connection(edge: RunningEdge) -> None:
    async with tcp_to(edge) as tcp:
        for _ in range(2):
            await tcp.send(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{edge.port}\r\n\r\n".encode())
            answer = b""
            while not answer.endswith(b"\r\n\r\nok\n"):
                answer += await tcp.receive()
        await tcp.send(request(edge))
        client = await open_websocket(tcp)
        assert parsed(await client.reply())["type"] == "connected"


EARLY = {
    "a message": frame(ping("early")),
    "half a message": frame(ping("early"))[:7],
    "a ping": frame(b"", PING),
    "lines": b"\r\n\r\n",
    "another request": b"GET /api/ws HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


@pytest.mark.parametrize("early", EARLY.values(), ids=EARLY)
async def test_whoever_sends_before_the_handshake_is_over_is_closed_with_1002(edge: RunningEdge, early: bytes) -> None:
    async with tcp_to(edge) as tcp:
        await tcp.send(request(edge) + early)
        client = await open_websocket(tcp)
        before, close = await client.closing()
        assert (before, close.code) == ([], 1002)


async def test_a_subprotocol_is_agreed_on_only_where_it_is_known(edge: RunningEdge) -> None:
    async with tcp_to(edge) as tcp:
        await tcp.send(request(edge, sec_websocket_protocol="chat, fleetcast.v1"))
        assert (await open_websocket(tcp)).answer["sec-websocket-protocol"] == "fleetcast.v1"
    async with tcp_to(edge) as tcp:
        await tcp.send(request(edge, sec_websocket_protocol="chat"))
        assert "sec-websocket-protocol" not in (await open_websocket(tcp)).answer


# Wrong ones


@pytest.mark.parametrize("key", [None, "", "short", "not base64 at all!!!!!!!"])
async def test_a_handshake_without_a_key_is_a_bad_request(edge: RunningEdge, key: str | None) -> None:
    status, _ = await refusal(edge, request(edge, sec_websocket_key=key))
    assert status == 400


@pytest.mark.parametrize("version", ["8", "14", "x"])
async def test_a_handshake_of_another_version_is_told_the_right_one(edge: RunningEdge, version: str) -> None:
    status, headers = await refusal(edge, request(edge, sec_websocket_version=version))
    assert status in {400, 426}
    assert headers.get("sec-websocket-version") == "13", "RFC 6455, 4.2.2: /version/"


async def test_a_handshake_without_a_version_is_a_bad_request(edge: RunningEdge) -> None:
    status, _ = await refusal(edge, request(edge, sec_websocket_version=None))
    assert status in {400, 426}


async def test_a_handshake_of_http_1_0_is_refused(edge: RunningEdge) -> None:
    status, _ = await refusal(edge, request(edge, "GET /api/ws HTTP/1.0"))
    assert 400 <= status < 600


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS"])
async def test_a_handshake_that_is_no_get_is_refused(edge: RunningEdge, method: str) -> None:
    status, headers = await refusal(edge, request(edge, f"{method} /api/ws HTTP/1.1"))
    assert (status, headers["allow"]) == (405, "GET")


async def test_a_handshake_with_a_body_is_refused(edge: RunningEdge) -> None:
    status, _ = await refusal(edge, request(edge, "POST /api/ws HTTP/1.1", body=b"hello", content_length="5"))
    assert status == 405


@pytest.mark.parametrize("path", ["/", "/api", "/api/ws/", "/api/ws2", "/api/hosts", "//api/ws", "/api/%77s%2f"])
async def test_there_is_no_websocket_on_any_other_path(edge: RunningEdge, path: str) -> None:
    status, _ = await refusal(edge, request(edge, f"GET {path} HTTP/1.1"))
    assert status == 404


@pytest.mark.parametrize("path", ["/api/w\xff", "/api/ws?name=\xe9", "http://[/api/ws", "*"])
async def test_a_path_that_is_none_is_refused(edge: RunningEdge, path: str) -> None:
    async with tcp_to(edge) as tcp:
        await tcp.send(request(edge, f"GET {path} HTTP/1.1"))
        status, _, _ = parse_answer(await tcp.read_to_end())
    assert status in {400, 404}


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"]
)
async def test_a_page_from_elsewhere_is_refused(edge: RunningEdge, origin: str) -> None:
    status, _ = await refusal(edge, request(edge, origin=origin))
    assert status == 403


async def test_the_edges_own_page_is_let_in(edge: RunningEdge) -> None:
    async with tcp_to(edge) as tcp:
        await tcp.send(request(edge, origin=f"http://127.0.0.1:{edge.port}"))
        await open_websocket(tcp)


# Compression

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

OFFERS = {
    "permessage-deflate": AGREED,
    "permessage-deflate; client_max_window_bits": AGREED,
    "permessage-deflate; client_max_window_bits=10": AGREED + "; client_max_window_bits=10",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover": AGREED,
    "permessage-deflate; server_max_window_bits=15": AGREED + "; server_max_window_bits=15",
    "permessage-deflate; server_max_window_bits=10": None,
    "permessage-deflate; server_max_window_bits=10, permessage-deflate": AGREED,
    "permessage-deflate; unheard_of": None,
    "permessage-deflate; client_max_window_bits=7": None,
    "x-webkit-deflate-frame": None,
    "x-webkit-deflate-frame, permessage-deflate": AGREED,
}


def parameters(extension: str | None) -> set[str] | None:
    return None if extension is None else {part.strip() for part in extension.split(";")}


@pytest.mark.parametrize(("offer", "agreed"), OFFERS.items(), ids=OFFERS)
async def test_compression_is_agreed_on_only_where_a_frame_can_be_shared(
    edge: RunningEdge, offer: str, agreed: str | None
) -> None:
    async with websocket(edge, offer) as client:
        assert parameters(client.answer.get("sec-websocket-extensions")) == parameters(agreed)
        await proves_that_it_works(client)


@pytest.mark.parametrize("offer", ["permessage-deflate; =", "permessage-deflate; client_max_window_bits=", ",;"])
async def test_an_offer_that_cannot_be_read_is_a_bad_request(edge: RunningEdge, offer: str) -> None:
    status, _ = await refusal(edge, request(edge, sec_websocket_extensions=offer))
    assert status == 400


async def test_an_edge_told_not_to_compress_agrees_to_nothing(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url, compress=False) as edge, websocket(edge, DEFLATE) as client:
        assert "sec-websocket-extensions" not in client.answer
        await proves_that_it_works(client)


async def proves_that_it_works(client: Client) -> None:
    await client.send(frame(b"here", PING))
    assert await client.reply() == Pong(b"here")
