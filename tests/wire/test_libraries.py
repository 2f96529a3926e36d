"""An edge and two independent client libraries, each with compression offered and without."""

import asyncio
import functools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.embedded import EmbeddedServer
from tests.edges import RunningEdge, running_edge
from tests.support import PATIENCE_S, eventually, free_ports
from tests.wire.fleet import Fleet, body, channels
from tests.wire.libraries import LIBRARIES, ClosedError, Closing, Dial, LibraryClient, dial_websockets
from tests.wire.raw import websocket

# The loop that an edge runs on; tests/wire/test_bytes.py and its neighbours have the other too.
pytestmark = pytest.mark.asyncio(loop_scope="package", loop_factories=["uvloop"])

SIZES = (125, 126, 127, 65_535, 65_536, 1_000_003)
SECRET = "a secret of at least thirty-two bytes"
AGREED = {"permessage-deflate", "server_no_context_takeover", "client_no_context_takeover"}
EVERY_DIAL = {
    f"{name}-{'deflate' if compress else 'plain'}": functools.partial(library, compress=compress)
    for name, library in LIBRARIES.items()
    for compress in (False, True)
}

every_library = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)


@pytest.fixture(params=list(EVERY_DIAL.values()), ids=list(EVERY_DIAL))
def dial(request: pytest.FixtureRequest) -> Dial:
    chosen: Dial = request.param
    return chosen


async def until(client: LibraryClient, wanted: Callable[[bytes], bool]) -> list[bytes]:
    """What comes up to the first message that is wanted, that one included."""
    messages: list[bytes] = []
    async with asyncio.timeout(PATIENCE_S):
        while not messages or not wanted(messages[-1]):
            messages.append(await client.receive())
    return messages


async def states(client: LibraryClient, count: int) -> list[bytes]:
    """The next so many states."""
    found: list[bytes] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            message = await client.receive()
            if message.startswith(b'{"type":"metrics"'):
                found.append(message)
    return found


async def subscribe(client: LibraryClient, hosts: Iterable[str]) -> None:
    await client.send(json.dumps({"type": "subscribe", "channels": channels(hosts)}))


async def answer_to_ping(client: LibraryClient, nonce: str, padding: int = 0) -> None:
    await client.send(json.dumps({"type": "ping", "nonce": nonce}) + " " * padding)
    await until(client, is_heartbeat_with(nonce))


def is_heartbeat_with(nonce: str) -> Callable[[bytes], bool]:
    return lambda message: json.loads(message).get("nonce") == nonce


async def closing(client: LibraryClient) -> Closing:
    """How the edge closes, whatever it says before."""
    with pytest.raises(ClosedError) as closed:
        await until(client, lambda _: False)
    return closed.value.closing


# What a host publishes


async def test_states_of_every_length_form_arrive_byte_for_byte(edge: RunningEdge, fleet: Fleet, dial: Dial) -> None:
    host = fleet.new_host()
    async with dial(edge.ws) as client:
        await subscribe(client, [host])
        for size in SIZES:
            for noise_bytes in (None, size):
                published = body(host, size, noise_bytes=noise_bytes)
                assert len(published) == size
                await fleet.publish(host, published)
                assert await states(client, 1) == [published]


async def test_small_plain_and_large_compressed_states_arrive_in_one_write(
    edge: RunningEdge, fleet: Fleet, dial: Dial
) -> None:
    bodies = {}
    for size in (125, 30_000, 126, 127, 65_535, 150, 65_536, 200):
        host = fleet.new_host()
        bodies[host] = body(host, size)
    async with dial(edge.ws) as first, dial(edge.ws) as second:
        await subscribe(first, bodies)
        for host, published in bodies.items():
            await fleet.publish(host, published)
        assert sorted(await states(first, len(bodies))) == sorted(bodies.values())
        # All of them are here now, less than one write's worth: who subscribes gets them joined.
        await subscribe(second, bodies)
        assert sorted(await states(second, len(bodies))) == sorted(bodies.values())


async def test_small_and_large_states_in_turn_arrive_in_their_order(
    edge: RunningEdge, fleet: Fleet, dial: Dial
) -> None:
    host = fleet.new_host()
    async with dial(edge.ws) as client:
        await subscribe(client, [host])
        for number in range(30):
            published = body(host, (130, 20_000, 70_000)[number % 3] + number)
            await fleet.publish(host, published)
            assert await states(client, 1) == [published]


# What a client sends


async def test_what_a_library_sends_is_understood(edge: RunningEdge, dial: Dial) -> None:
    async with dial(edge.ws) as client:
        for size in (0, 100, 1_000, 65_000):
            for nonce in ("", "plain", "ü€😀" * 20, "x" * 128):
                await answer_to_ping(client, nonce, size)


async def test_a_subscription_to_a_thousand_channels_is_understood(edge: RunningEdge, fleet: Fleet, dial: Dial) -> None:
    host = fleet.new_host()
    async with dial(edge.ws) as client:
        await subscribe(client, [host, *(f"{host}-not-there-{number:030}" for number in range(999))])
        await fleet.publish(host, body(host, 150))
        assert await states(client, 1) == [body(host, 150)]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "deflate"])
async def test_a_message_in_many_frames_is_understood(edge: RunningEdge, compress: bool) -> None:
    """Only `websockets` sends such ones."""
    async with dial_websockets(edge.ws, compress=compress) as client:
        await client.send_in_parts('{"type":"ping",', "", '"nonce":"in ', 'parts"', "}", " " * 50_000)
        await until(client, is_heartbeat_with("in parts"))


async def test_pings_of_a_library_are_answered_with_their_payload_while_data_flows(
    edge: RunningEdge, fleet: Fleet, dial: Dial
) -> None:
    host = fleet.new_host()
    payloads = [b"%d " % number + bytes(range(number)) for number in range(0, 120, 6)]
    async with dial(edge.ws) as client:
        await subscribe(client, [host])
        for number, payload in enumerate(payloads):
            await client.ping(payload)
            await fleet.publish(host, body(host, 40_000 + number))
            assert await states(client, 1) == [body(host, 40_000 + number)]
        await answer_to_ping(client, "the pongs are here by now")
        assert client.pongs == payloads


async def test_whoever_answers_the_edges_pings_stays_and_whoever_does_not_is_closed(valkey: EmbeddedServer) -> None:
    quiet = {name: dial for name, dial in EVERY_DIAL.items() if name.startswith("websockets")}
    quiet |= {name: functools.partial(d, autoping=True) for name, d in EVERY_DIAL.items() if name not in quiet}
    async with (
        running_edge(valkey.url, heartbeat_sec=0.1, silent_client_sec=1) as edge,
        websocket(edge) as deaf,
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(dial(edge.ws)) for dial in quiet.values()]
        # Without a reader aiohttp hears no pings.
        reading = [asyncio.create_task(until(client, is_heartbeat_with("still here"))) for client in clients]
        _, close = await deaf.closing()
        assert close.code == 4408
        for client in clients:  # they have been silent for longer, but for their pongs
            await client.send('{"type":"ping","nonce":"still here"}')
        await asyncio.gather(*reading)


# Closing


async def test_a_library_closes_with_its_code_and_reason(edge: RunningEdge, dial: Dial) -> None:
    async with dial(edge.ws) as client:
        await client.receive()
        closed = await client.close(1000, "grüße")
        assert (closed.code, closed.reason) == (1000, "grüße")


async def test_a_library_closes_while_data_flows(edge: RunningEdge, fleet: Fleet, dial: Dial) -> None:
    hosts = [fleet.new_host() for _ in range(4)]
    async with dial(edge.ws) as client:
        await subscribe(client, hosts)
        for host in hosts:
            await fleet.publish(host, body(host, 150))
        await states(client, 1)
        for host in hosts:
            await fleet.publish(host, body(host, 65_536, noise_bytes=65_536))
        closed = await client.close(3000, "enough")
        assert (closed.code, closed.reason) == (3000, "enough")


async def test_repeated_nonsense_is_closed_with_1008(edge: RunningEdge, dial: Dial) -> None:
    async with dial(edge.ws) as client:
        for _ in range(20):
            await client.send("nonsense")
        closed = await closing(client)
        assert (closed.code, closed.reason) == (1008, "broke the protocol repeatedly")


@pytest.mark.parametrize("message", ["x" * 65_537, b"\0" * 65_537, "x" * 3_000_000], ids=["text", "binary", "long"])
async def test_a_message_too_long_is_closed_with_1009(edge: RunningEdge, dial: Dial, message: str | bytes) -> None:
    async with dial(edge.ws) as client:
        await client.send(message)
        assert (await closing(client)).code == 1009


async def test_a_wrong_token_is_closed_with_4401(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url, jwt_secret=SECRET) as edge:
        for dial in EVERY_DIAL.values():
            async with dial(edge.ws, headers={"Authorization": "Bearer wrong"}) as client:
                closed = await closing(client)
                assert closed.code == 4401
                assert closed.reason


async def test_an_edge_that_goes_closes_with_1012_and_says_when_to_come_back(
    valkey: EmbeddedServer, tmp_path: Path
) -> None:
    async with edge_process(valkey.url, tmp_path / "edge.log") as (process, port), AsyncExitStack() as stack:
        url = f"ws://127.0.0.1:{port}/api/ws"
        clients = [await stack.enter_async_context(dial(url)) for dial in EVERY_DIAL.values()]
        for client in clients:
            await answer_to_ping(client, "here")
        process.send_signal(signal.SIGTERM)
        for closed in await asyncio.gather(*map(closing, clients)):
            assert closed.code == 1012
            announced: dict[str, Any] = json.loads(closed.reason)
            assert list(announced) == ["retryAfterMs"]
            assert isinstance(announced["retryAfterMs"], int)
            assert announced["retryAfterMs"] >= 0


@asynccontextmanager
async def edge_process(redis_url: str, log: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """An edge as `fleetcast edge` runs it."""
    port = free_ports()
    settings = {"FLEETCAST_REDIS_URL": redis_url, "FLEETCAST_PORT": str(port), "FLEETCAST_DRAIN_SEC": "0"}
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.cli", "edge"), stdout=out, stderr=out, env={**os.environ, **settings}
        )
    try:
        await eventually(lambda: is_ready(port), what="the edge to be ready")
        yield process, port
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def is_ready(port: int) -> bool:
    async with httpx.AsyncClient() as http:
        try:
            return (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False


# What is agreed on


async def test_compression_is_agreed_on_where_it_is_offered_and_only_there(edge: RunningEdge, dial: Dial) -> None:
    offered: bool = dial.keywords["compress"]  # type: ignore[attr-defined]
    async with dial(edge.ws) as client:
        negotiated = client.negotiated
        assert (negotiated.deflates, negotiated.forgets) == (offered, offered)
        if offered:
            assert negotiated.header is not None
            assert {part.strip() for part in negotiated.header.split(";")} == AGREED
        else:
            assert negotiated.header is None


@every_library
async def test_an_offer_of_a_smaller_window_only_is_answered_without_compression(
    edge: RunningEdge, fleet: Fleet, library: Dial
) -> None:
    host = fleet.new_host()
    async with library(edge.ws, compress=True, window_bits=10) as client:
        assert (client.negotiated.header, client.negotiated.deflates) == (None, False)
        await subscribe(client, [host])
        await fleet.publish(host, body(host, 40_000))
        assert await states(client, 1) == [body(host, 40_000)]


@every_library
async def test_an_edge_told_not_to_compress_never_agrees_to_it(
    valkey: EmbeddedServer, fleet: Fleet, library: Dial
) -> None:
    host = fleet.new_host()
    async with running_edge(valkey.url, compress=False) as edge, library(edge.ws, compress=True) as client:
        assert (client.negotiated.header, client.negotiated.deflates) == (None, False)
        await subscribe(client, [host])
        await fleet.publish(host, body(host, 40_000))
        assert await states(client, 1) == [body(host, 40_000)]
