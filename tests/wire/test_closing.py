"""How a WebSocket ends: from either side, in the midst of data, together with other frames, and with clients that do
not do their part.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from services.embedded import EmbeddedServer
from tests.edges import RunningEdge, running_edge
from tests.support import eventually
from tests.wire.fleet import Fleet, body, channels, clients_on
from tests.wire.frames import CLOSE, PING, RSV1, Close, Event, Message, Pong, close_frame, deflated, frame
from tests.wire.raw import DEFLATE, Client, EndedError, is_beat, is_heartbeat, parsed, ping, subscribe, websocket

pytestmark = pytest.mark.asyncio(loop_scope="package")

NONSENSE = frame(b"nope")
STRIKES = 20
"""So many faulty messages end a connection."""

NOT_UTF8 = frame(b"\xff")


# The client closes


async def test_the_clients_close_comes_back_as_it_was(edge: RunningEdge) -> None:
    reason = "grüße " + "x" * (123 - len("grüße ".encode()))
    for code in (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999):
        async with websocket(edge) as client:
            await client.send(close_frame(code, reason))
            assert await client.closing(answer=False) == ([], Close(code, reason))


async def test_an_empty_close_comes_back_empty(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        await client.send(close_frame())
        assert await client.closing(answer=False) == ([], Close(None))


async def test_a_close_code_that_must_not_be_sent_is_answered_with_1002(edge: RunningEdge) -> None:
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535):
        async with websocket(edge) as client:
            await client.send(close_frame(code, "reason"))
            before, close = await client.closing(answer=False)
            assert (before, close.code) == ([], 1002), code


async def test_half_a_close_code_is_answered_with_1002(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        await client.send(frame(b"\x03", CLOSE))
        before, close = await client.closing(answer=False)
        assert (before, close.code) == ([], 1002)


async def test_a_reason_that_is_not_utf8_is_answered_with_1007(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        await client.send(close_frame(1000, b"\xff"))
        before, close = await client.closing(answer=False)
        assert (before, close.code) == ([], 1007)


async def test_what_comes_with_a_close_before_it_is_answered_and_after_it_is_not(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        after = (frame(ping("after")), NONSENSE, frame(b"after", PING), close_frame(1001))
        await client.send(frame(ping("1")), NONSENSE, frame(ping("2")), close_frame(1000, "done"), *after)
        before, close = await client.closing(answer=False)
        assert [parsed(event).get("nonce") for event in before] == ["1", None, "2"]
        assert close == Close(1000, "done")


class Flow:
    """States of three hosts without a pause, small and large ones in turn, and of a fourth when it is asked for."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._hosts = [fleet.new_host() for _ in range(3)]
        self._marker = fleet.new_host()
        self.published = 0

    async def run(self) -> None:
        while True:
            for host in self._hosts:
                self.published += 1
                await self._fleet.publish(host, body(host, (150, 70_000, 3_000)[self.published % 3]))

    async def begins_for(self, client: Client) -> None:
        await client.send(frame(subscribe(*channels([*self._hosts, self._marker]))))
        for _ in range(5):
            await client.next()

    async def goes_on_for(self, client: Client) -> None:
        """Until this client has got what is published from now on."""
        marker = body(self._marker, 150)
        await self._fleet.publish(self._marker, marker)
        await client.until(functools.partial(is_state, marker))


@asynccontextmanager
async def flowing(fleet: Fleet) -> AsyncIterator[Flow]:
    flow = Flow(fleet)
    running = asyncio.create_task(flow.run())
    try:
        yield flow
    finally:
        running.cancel()
        await asyncio.wait([running])


CAUSES = {
    "a close of the client's": (close_frame(1000, "enough"), 1000),
    "repeated nonsense": (NONSENSE * STRIKES, 1008),
    "no UTF-8": (NOT_UTF8, 1007),
    "a broken frame": (frame(b"", 0x3), 1002),
    "a message too long": (frame(bytes(65_537)), 1009),
}


@pytest.mark.parametrize(("cause", "code"), CAUSES.values(), ids=CAUSES)
async def test_nothing_follows_a_close_while_data_flows(
    edge: RunningEdge, fleet: Fleet, cause: bytes, code: int
) -> None:
    """The witness gets the same writes as the client, but for the close."""
    async with flowing(fleet) as flow, websocket(edge) as client, websocket(edge) as witness:
        for each in (client, witness):
            await flow.begins_for(each)
        await client.send(cause)
        *_, close = await client.until(lambda event: isinstance(event, Close))
        assert isinstance(close, Close)
        assert close.code == code
        await flow.goes_on_for(witness)
        await client.end(close, answer=code != 1000)


async def test_nothing_follows_the_close_of_an_edge_that_is_stopped_while_data_flows(
    valkey: EmbeddedServer, fleet: Fleet
) -> None:
    async with running_edge(valkey.url) as edge, flowing(fleet) as flow, websocket(edge) as client:
        await flow.begins_for(client)
        edge.server.should_exit = True
        *_, close = await client.until(lambda event: isinstance(event, Close))
        assert isinstance(close, Close)
        assert close.code == 1012
        enough = flow.published + 150
        await eventually(lambda: flow.published > enough, what="the hosts to publish more")
        await client.end(close)


@pytest.mark.parametrize("extensions", [None, DEFLATE])
async def test_a_close_waits_for_what_the_socket_has_not_taken_yet(
    edge: RunningEdge, fleet: Fleet, extensions: str | None
) -> None:
    """The client reads nothing until it has closed: frames, pongs and the close come whole and in their order."""
    hosts = [fleet.new_host() for _ in range(20)]
    bodies = {host: body(host, 30_000, noise_bytes=30_000) for host in hosts}
    async with websocket(edge, extensions, receive_buffer_bytes=4096) as client, websocket(edge) as other:
        for each in (client, other):
            await each.send(frame(subscribe(*channels(hosts))))
        for host in hosts:
            await fleet.publish(host, bodies[host])
            await other.until(functools.partial(is_state, bodies[host]))
        await client.send(frame(b"late", PING), close_frame(1000, "late"))
        events, close = await client.closing(answer=False)
        assert close == Close(1000, "late")
        assert events.pop() == Pong(b"late")
        states = [event.data for event in events if isinstance(event, Message)]
        assert states
        assert states == [bodies[host] for host in hosts[: len(states)]]
        assert len(states) < len(hosts), "the client was to be too slow for all of it"


def is_state(wanted: bytes, event: Event) -> bool:
    return isinstance(event, Message) and event.data == wanted


# The edge closes


async def test_the_edges_close_ends_the_connection_when_it_is_answered(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        await client.send(*[NONSENSE] * STRIKES)
        errors, close = await client.closing()
        assert [parsed(error)["type"] for error in errors] == ["error"] * STRIKES
        assert (close.code, close.reason) == (1008, "broke the protocol repeatedly")


async def test_what_comes_with_the_last_straw_after_it_is_not_answered(edge: RunningEdge) -> None:
    async with websocket(edge) as client:
        await client.send(*[NONSENSE] * STRIKES, frame(ping("after")), NONSENSE)
        errors, close = await client.closing()
        assert (len(errors), close.code) == (STRIKES, 1008)


LAST_WORDS = {
    "the last straw, then a close": ([NONSENSE] * STRIKES, close_frame(1000, "bye"), 1008),
    "the last straw, then an empty close": ([NONSENSE] * STRIKES, close_frame(), 1008),
    "the last straw, then a broken frame": ([NONSENSE] * STRIKES, frame(b"", 0x3), 1008),
    "the last straw, then a message too long": ([NONSENSE] * STRIKES, frame(b"", announced=1 << 20), 1008),
    "no UTF-8, then a close": ([NOT_UTF8], close_frame(1000, "bye"), 1007),
    "no UTF-8, then a broken frame": ([NOT_UTF8], frame(b"", 0x3), 1007),
}


@pytest.mark.parametrize(("frames", "last", "code"), LAST_WORDS.values(), ids=LAST_WORDS)
async def test_two_reasons_to_close_in_one_read_make_one_close(
    edge: RunningEdge, frames: list[bytes], last: bytes, code: int
) -> None:
    """Whichever of the two it is that the edge tells: one close frame comes, and then the end."""
    async with websocket(edge) as client:
        await client.send(*frames, last)
        _, close = await client.closing(answer=False)
        assert close.code in {code, 1000, None, 1002, 1009}


async def test_no_utf8_inside_a_compressed_message_then_a_close_make_one_close(edge: RunningEdge) -> None:
    async with websocket(edge, DEFLATE) as client:
        await client.send(frame(deflated(b"\xff"), rsv=RSV1), close_frame(1000))
        _, close = await client.closing(answer=False)
        assert close.code in {1007, 1000}


# Clients that do not do their part


@pytest.mark.asyncio(loop_scope="package", loop_factories=["uvloop"])  # it takes the edge's two seconds
async def test_a_client_that_does_not_do_its_part_of_closing_is_cut_off(edge: RunningEdge) -> None:
    async def ignores_the_close(client: Client) -> None:
        await client.send(*[NONSENSE] * STRIKES)
        await client.until(lambda event: isinstance(event, Close))

    async def keeps_talking(client: Client) -> None:
        await ignores_the_close(client)
        await client.send(frame(b"are you there?", PING))

    async def ends_nothing(client: Client) -> None:
        await client.send(close_frame(1000))
        await client.until(lambda event: isinstance(event, Close))

    async def breaks_it(client: Client) -> None:
        await client.send(frame(b"", 0x3))
        await client.until(lambda event: isinstance(event, Close))

    async with asyncio.TaskGroup() as tasks:
        for bad_habit in (ignores_the_close, keeps_talking, ends_nothing, breaks_it):
            tasks.create_task(is_cut_off(edge, bad_habit))
    await eventually(lambda: nobody_is_left(edge), what="the edge to forget the clients")


async def is_cut_off(edge: RunningEdge, bad_habit: Callable[[Client], Awaitable[None]]) -> None:
    async with websocket(edge) as client:
        await bad_habit(client)
        try:
            while True:
                event = await client.next()
                assert isinstance(event, Pong) or is_beat(event)
        except EndedError:  # the edge's side has ended, but the client keeps its own open: only a reset ends that
            await eventually(lambda: is_reset(client), what="the connection to be reset")
        except ConnectionResetError:
            pass


async def is_reset(client: Client) -> bool:
    try:
        await client.send(frame(b"still here", PING))
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


async def nobody_is_left(edge: RunningEdge) -> bool:
    return await clients_on(edge) == 0


async def test_a_client_that_has_ended_its_side_and_takes_nothing_is_closed_without_harm_to_others(
    valkey: EmbeddedServer, fleet: Fleet
) -> None:
    """Its connection stays open for what has not been sent yet, so it is the heartbeat that finds it silent."""
    hosts = [fleet.new_host() for _ in range(8)]
    names = frame(subscribe(*channels(hosts)))
    async with running_edge(valkey.url, heartbeat_sec=0.1, silent_client_sec=4) as edge, websocket(edge) as healthy:
        await healthy.send(names)
        async with websocket(edge, receive_buffer_bytes=4096) as stuck:
            await stuck.send(names)
            for host in hosts:
                await fleet.publish(host, body(host, 1_000_000, noise_bytes=1_000_000))
            for _ in hosts:
                await healthy.until(lambda event: isinstance(event, Message) and b'"metrics"' in event.data[:20])
            stuck.tcp.half_close()

            async def the_stuck_one_is_gone() -> bool:
                await healthy.send(frame(ping("here")))
                await healthy.answers_to_ping("here")
                return await clients_on(edge) == 1

            await eventually(the_stuck_one_is_gone, what="the edge to close the client")
        for _ in range(3):
            await healthy.until(is_beat)


async def test_others_hear_nothing_of_a_client_that_is_closed(edge: RunningEdge) -> None:
    async with websocket(edge) as healthy:
        async with websocket(edge) as other:
            await other.send(NOT_UTF8)
            await other.closing()
        await healthy.send(frame(ping("here")))
        assert is_heartbeat(await healthy.next(), "here")
