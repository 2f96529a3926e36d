"""The terminal clients' connection: it comes back by itself, except where the edge says that coming back is no use."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

from common.backoff import Backoff
from common.errors import SettingsError
from common.protocol import ContainersMessage, HostsMessage, Ping
from services.client.connection import Down, EdgeConnection, EdgeRefusedError, Event, Limits, Received, Up
from tests.services.fake_edge import FakeEdge, connected, containers, hosts, metrics
from tests.support import eventually

T = TypeVar("T", bound=Event)

QUICK = Limits(open_s=0.5, shortest_silence_s=0.1, close_s=0.2)


class Listening:
    """A connection that listens, and what has happened on it."""

    def __init__(self, connection: EdgeConnection) -> None:
        self.connection = connection
        self.events: list[Event] = []
        self.ended: BaseException | None = None

    def all(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    async def some(self, kind: type[T], count: int = 1) -> T:
        """The `count`th event of this kind."""
        found: list[T] = await eventually(
            lambda: seen if len(seen := self.all(kind)) >= count else None, what=f"{kind.__name__} number {count}"
        )
        return found[count - 1]

    async def run(self) -> None:
        try:
            async for event in self.connection.events():
                self.events.append(event)
        except (EdgeRefusedError, SettingsError) as error:
            self.ended = error


Listen = Callable[..., Listening]


@pytest.fixture
async def edge() -> AsyncIterator[FakeEdge]:
    async with FakeEdge(heartbeat_ms=100) as edge:
        yield edge


@asynccontextmanager
async def listening(
    url: str, channels: tuple[str, ...] = ("hosts",), limits: Limits = QUICK, backoff: Backoff | None = None
) -> AsyncIterator[Listening]:
    listener = Listening(EdgeConnection(url, channels, limits, backoff or Backoff(0.01, 0.05)))
    task = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_subscribes_and_yields_messages_with_their_text(edge: FakeEdge) -> None:
    async with listening(edge.url, ("hosts", "metrics:web-1")) as listener:
        up = await listener.some(Up)
        assert up.connected.edge_id == "edge-1"
        await edge.has_client()
        assert edge.received == [{"type": "subscribe", "channels": ["hosts", "metrics:web-1"]}]
        text = json.dumps(hosts())
        await edge.send(text)
        told = await eventually(lambda: [e for e in listener.all(Received) if isinstance(e.message, HostsMessage)])
        assert told[0].raw == text


async def test_it_sends_no_origin_and_offers_no_compression(edge: FakeEdge) -> None:
    async with listening(edge.url) as listener:
        await listener.some(Up)
    assert edge.request is not None
    assert "Origin" not in edge.request.headers
    assert "Sec-WebSocket-Extensions" not in edge.request.headers


async def test_without_channels_it_subscribes_to_nothing(edge: FakeEdge) -> None:
    async with listening(edge.url, ()) as listener:
        await listener.some(Up)
        assert await listener.connection.send(Ping(type="ping", nonce="n"))
        await edge.has_client()
    assert edge.received == [{"type": "ping", "nonce": "n"}]


async def test_a_cut_connection_comes_back_and_subscribes_again(edge: FakeEdge) -> None:
    async with listening(edge.url) as listener:
        await edge.has_client()
        edge.drop()
        down = await listener.some(Down)
        assert down.reason == "connection lost"
        await listener.some(Up, 2)
        await eventually(lambda: len(edge.received) == 2)
    assert edge.received[0] == edge.received[1]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 4408, 4409, 4999])
async def test_close_codes_that_pass_lead_to_a_reconnect(edge: FakeEdge, code: int) -> None:
    async with listening(edge.url) as listener:
        await edge.has_client()
        await edge.close(code)
        await listener.some(Up, 2)
        assert listener.ended is None


@pytest.mark.parametrize(
    ("code", "words"), [(1008, "protocol"), (1009, "too large"), (4401, "sign-in"), (4403, "does not allow")]
)
async def test_close_codes_that_stay_end_it_with_a_clear_error(edge: FakeEdge, code: int, words: str) -> None:
    async with listening(edge.url) as listener:
        await edge.has_client()
        await edge.close(code, "because \x1b[2J")
        error = await eventually(lambda: listener.ended)
        assert isinstance(error, EdgeRefusedError)
        assert error.code == code
        assert words in str(error)
        assert "because �[2J" in str(error)
    assert edge.connections == 1


@pytest.mark.parametrize(("status", "words"), [(401, "sign-in"), (403, "does not allow")])
async def test_a_refused_upgrade_ends_it(edge: FakeEdge, status: int, words: str) -> None:
    edge.refuses_with = status
    async with listening(edge.url) as listener:
        error = await eventually(lambda: listener.ended)
    assert words in str(error)


async def test_other_http_answers_are_waited_out(edge: FakeEdge) -> None:
    edge.refuses_with = 503
    async with listening(edge.url) as listener:
        down = await listener.some(Down, 2)
        assert down.reason == "HTTP 503 instead of a WebSocket"
        edge.refuses_with = None
        await listener.some(Up)


async def test_an_edge_that_is_not_there_yet_is_waited_for(edge: FakeEdge) -> None:
    await edge.stop()
    async with listening(edge.url) as listener:
        down = await listener.some(Down, 2)
        assert down.reason == "connection refused"
        await edge.listen()
        await listener.some(Up)


async def test_a_silent_connection_is_given_up(edge: FakeEdge) -> None:
    edge.beats = False
    async with listening(edge.url) as listener:
        down = await listener.some(Down)
        assert down.reason == "silent for too long"
        edge.beats = True
        await listener.some(Up, 2)


async def test_any_message_keeps_a_connection_alive(edge: FakeEdge) -> None:
    edge.beat = metrics
    async with listening(edge.url, limits=Limits(shortest_silence_s=0.1, longest_silence_s=0.3)) as listener:
        await listener.some(Received, 10)
        assert not listener.all(Down)


async def test_an_announced_interval_out_of_reason_is_bounded(edge: FakeEdge) -> None:
    edge.heartbeat_ms, edge.greets, edge.beats = 10**9, False, False
    async with listening(edge.url, limits=Limits(shortest_silence_s=0.05, longest_silence_s=0.1)) as listener:
        await edge.has_client()
        await edge.send(connected(10**12))
        assert (await listener.some(Down)).reason == "silent for too long"
        await edge.has_client(2)
        await edge.send(connected(-5))
        assert (await listener.some(Down, 2)).reason


async def test_a_server_that_never_says_connected_is_no_edge(edge: FakeEdge) -> None:
    edge.greets, edge.beats = False, False
    async with listening(edge.url, limits=Limits(open_s=0.1)) as listener:
        assert (await listener.some(Down)).reason == "no Fleetcast edge answers there"
        assert not listener.all(Up)


async def test_what_does_not_parse_is_counted_and_told_once(edge: FakeEdge, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with listening(edge.url) as listener:
        await edge.has_client()
        await edge.send('{"type": "novelty"}', "no \x1b[31m JSON", b"\x00\xff", '{"type": "hosts"}', containers())
        await eventually(
            lambda: [e for e in listener.all(Received) if isinstance(e.message, ContainersMessage)], what="the good one"
        )
        assert listener.connection.skipped == 4
        assert not listener.all(Down)
    assert len(caplog.records) == 1
    assert "novelty" in caplog.text
    assert "\x1b" not in caplog.text


async def test_delays_grow_and_a_healthy_run_starts_them_afresh(edge: FakeEdge) -> None:
    async with listening(edge.url, backoff=Backoff(0.02, 10, healthy_s=0.2)) as listener:
        for number in range(1, 5):
            await listener.some(Up, number)
            edge.drop()
        grown_s = (await listener.some(Down, 4)).retry_in_s
        assert grown_s >= 0.08
        await listener.some(Up, 5)
        beats = len(listener.events)
        await eventually(lambda: len(listener.events) >= beats + 4, what="a run of four heartbeats")
        edge.drop()
        assert (await listener.some(Down, 5)).retry_in_s <= 0.02


async def test_sending_without_a_connection_says_so(edge: FakeEdge) -> None:
    await edge.stop()
    async with listening(edge.url) as listener:
        await listener.some(Down)
        assert not await listener.connection.send(Ping(type="ping"))


async def test_a_message_over_the_limit_ends_the_connection_but_not_the_client(edge: FakeEdge) -> None:
    async with listening(edge.url, limits=Limits(max_message_bytes=2000)) as listener:
        await edge.has_client()
        await edge.send("x" * 3000)
        assert (await listener.some(Down)).reason == "message over 2000 bytes"
        await listener.some(Up, 2)


@pytest.mark.parametrize("url", ["ws://:1/", "ws://[::1/api/ws", "ws://host:99999/", "http://host/"])
def test_an_address_that_cannot_be_one_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="--url"):
        EdgeConnection(url)
