"""What an edge writes, read strictly: every length form, compressed and plain frames, joined and alone."""

import functools

import pytest
import pytest_asyncio

from services.embedded import EmbeddedServer
from tests.edges import RunningEdge, running_edge
from tests.wire.fleet import Fleet, body, channels
from tests.wire.frames import PING, Event, Message, Ping, Pong, frame
from tests.wire.raw import DEFLATE, Client, is_beat, subscribe, websocket

pytestmark = pytest.mark.asyncio(loop_scope="package")

SIZES = (125, 126, 127, 255, 256, 65_535, 65_536, 1_000_003)
both = pytest.mark.parametrize("extensions", [None, DEFLATE], ids=["plain", "deflate"])


@pytest_asyncio.fixture(loop_scope="package")
async def bodies(fleet: Fleet) -> dict[str, bytes]:
    """A state of every size for a host of its own, of words and of noise."""
    made: dict[str, bytes] = {}
    for size in SIZES:
        for noise_bytes in (None, size):
            host = fleet.new_host()
            made[host] = body(host, size, noise_bytes=noise_bytes)
    return made


async def states(client: Client, count: int) -> list[Message]:
    """The next so many states; nothing but heartbeats may come between them."""
    found: list[Message] = []
    while len(found) < count:
        event = await client.next()
        if not is_beat(event):
            assert isinstance(event, Message), event
            assert event.data.startswith(b'{"type":"metrics"'), event.data[:100]
            found.append(event)
    return found


@both
async def test_each_state_arrives_byte_for_byte_as_it_is_published(
    edge: RunningEdge, fleet: Fleet, bodies: dict[str, bytes], extensions: str | None
) -> None:
    async with websocket(edge, extensions) as client:
        await client.send(frame(subscribe(*channels(bodies))))
        for host, published in bodies.items():
            await fleet.publish(host, published)
            [state] = await states(client, 1)
            assert state.data == published


@both
async def test_last_states_arrive_byte_for_byte_in_joined_writes(
    edge: RunningEdge, fleet: Fleet, bodies: dict[str, bytes], extensions: str | None
) -> None:
    async with websocket(edge) as first:
        await first.send(frame(subscribe(*channels(bodies))))
        for host, published in bodies.items():
            await fleet.publish(host, published)
        await states(first, len(bodies))
        # The edge has all of them now: whoever subscribes gets them put together.
        async with websocket(edge, extensions) as client:
            await client.send(frame(subscribe(*channels(bodies))))
            received = await states(client, len(bodies))
    assert sorted(state.data for state in received) == sorted(bodies.values())
    assert any(state.compressed for state in received) is (extensions is not None)
    assert not all(state.compressed for state in received)


@pytest.mark.parametrize(
    ("size", "noises", "border"), [(256, range(20, 120, 4), 126), (86_700, range(86_250, 86_600, 16), 65_536)]
)
async def test_a_compressed_frame_takes_every_length_form(
    edge: RunningEdge, fleet: Fleet, size: int, noises: range, border: int
) -> None:
    """What a body deflates to is zlib's affair, so bodies grow until their frames have crossed the border."""
    host = fleet.new_host()
    async with websocket(edge, DEFLATE) as client:
        await client.send(frame(subscribe(f"metrics:{host}")))
        seen: set[int] = set()
        for noise_bytes in noises:
            published = body(host, size, noise_bytes=noise_bytes)
            await fleet.publish(host, published)
            [state] = await states(client, 1)
            assert state.compressed
            assert state.data == published
            seen.add(state.wire_bytes)
        assert min(seen) < border <= max(seen), f"frames of {min(seen)} to {max(seen)} bytes"


async def test_small_messages_go_plain_and_large_ones_compressed_on_one_connection(
    edge: RunningEdge, fleet: Fleet
) -> None:
    small, large = fleet.new_host(), fleet.new_host()
    async with websocket(edge, DEFLATE) as client:
        await client.send(frame(subscribe(*channels([small, large]))))
        for size in range(10):
            await fleet.publish(small, body(small, 100 + size))
            await fleet.publish(large, body(large, 10_000 + size))
            plain, compressed = sorted(await states(client, 2), key=lambda state: len(state.data))
            assert (plain.data, plain.compressed) == (body(small, 100 + size), False)
            assert (compressed.data, compressed.compressed) == (body(large, 10_000 + size), True)
            assert compressed.wire_bytes < 5_000


async def test_two_clients_with_and_without_compression_get_the_same(edge: RunningEdge, fleet: Fleet) -> None:
    hosts = [fleet.new_host() for _ in range(3)]
    async with websocket(edge, DEFLATE) as one, websocket(edge) as two, websocket(edge, DEFLATE) as three:
        for client in (one, two, three):
            await client.send(frame(subscribe(*channels(hosts))))
        for host in hosts:
            await fleet.publish(host, body(host, 2_000))
        for client in (one, two, three):
            received = await states(client, len(hosts))
            assert {state.data for state in received} == {body(host, 2_000) for host in hosts}
            assert {state.compressed for state in received} == {client is not two}


async def test_a_connection_that_did_not_agree_never_gets_a_compressed_frame(edge: RunningEdge, fleet: Fleet) -> None:
    host = fleet.new_host()
    async with (
        websocket(edge, DEFLATE) as compressed,
        websocket(edge, "permessage-deflate; server_max_window_bits=9") as plain,
    ):
        for client in (compressed, plain):
            await client.send(frame(subscribe(f"metrics:{host}")))
        await fleet.publish(host, body(host, 50_000))
        assert [(await states(client, 1))[0].compressed for client in (compressed, plain)] == [True, False]


@both
async def test_pings_are_answered_with_their_payload_while_data_flows(
    edge: RunningEdge, fleet: Fleet, extensions: str | None
) -> None:
    host = fleet.new_host()
    async with websocket(edge, extensions) as client:
        await client.send(frame(subscribe(f"metrics:{host}")))
        for number in range(25):
            payload = b"%d " % number + b"x" * (number * 5)
            await client.send(frame(payload, PING))
            published = body(host, 40_000 + number)
            await fleet.publish(host, published)
            wanted = {payload, published}
            await client.until(functools.partial(is_last_of, wanted))


def is_last_of(wanted: set[bytes], event: Event) -> bool:
    """Takes a pong's payload or a state from what is wanted; true when nothing is left."""
    if isinstance(event, Pong | Message) and not is_beat(event):
        data = event.payload if isinstance(event, Pong) else event.data
        assert data in wanted, event
        wanted.discard(data)
    return not wanted


async def test_an_edge_asks_a_quiet_client_for_a_sign_of_life(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url, silent_client_sec=1) as edge, websocket(edge, DEFLATE) as client:
        pinged = (await client.until(lambda event: isinstance(event, Ping)))[-1]
        assert pinged == Ping(b"")
