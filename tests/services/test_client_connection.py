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
from services.edge.drain import drain
from services.embedded import EmbeddedServer
from tests.edges import running_edge
from tests.services.fake_edge import FakeEdge, connected, containers, hosts, metrics
from tests.support import eventually

T = TypeVar("T", bound=Event)

QUICK = Limits(open_s=5, close_s=0.2)


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
    edge.refuses_with = 502
    async with listening(edge.url) as listener:
        down = await listener.some(Down, 2)
        assert down.reason == "HTTP 502 instead of a WebSocket"
        edge.refuses_with = None
        await listener.some(Up)


# When an edge says for how long to wait


async def test_an_edge_that_restarts_is_asked_again_after_what_it_announced(edge: FakeEdge) -> None:
    # This backoff would take 20 s at least.
    async with listening(edge.url, backoff=Backoff(40, 50)) as listener:
        await edge.has_client()
        await edge.close(1012, '{"retryAfterMs": 130}')
        down = await listener.some(Down)
        assert down == Down("the edge is restarting", 0.13), "and no JSON for people to read"
        await listener.some(Up, 2)


async def test_what_a_real_edge_says_when_it_goes_is_understood(valkey: EmbeddedServer) -> None:
    # This backoff would begin at 2.5 s.
    async with running_edge(valkey.url) as edge, listening(edge.ws, backoff=Backoff(5, 5)) as listener:
        await listener.some(Up)
        await drain(edge.server.edge, 0)
        told = await listener.some(Down)
        assert told.reason == "the edge is restarting"
        assert told.retry_in_s < 1
        refused = await listener.some(Down, 2)
        assert refused.reason == "no new clients are let in just now (HTTP 503)"
        assert refused.retry_in_s >= 2 + 2.5


async def test_the_backoff_does_not_grow_by_what_an_edge_announces(edge: FakeEdge) -> None:
    async with listening(edge.url, backoff=Backoff(0.02, 10)) as listener:
        for number in range(1, 6):
            await edge.has_client(number)
            await edge.close(1012, '{"retryAfterMs": 0}')
            assert (await listener.some(Down, number)).retry_in_s == 0
        await edge.has_client(6)
        edge.drop()
        assert (await listener.some(Down, 6)).retry_in_s <= 0.02


@pytest.mark.parametrize(("wait_ms", "wait_s"), [(0, 0.0), (60_000, 60.0)])
async def test_the_bounds_of_an_announcement_are_within_it(edge: FakeEdge, wait_ms: int, wait_s: float) -> None:
    async with listening(edge.url) as listener:
        await edge.has_client()
        await edge.close(1012, json.dumps({"retryAfterMs": wait_ms}))
        assert (await listener.some(Down)).retry_in_s == wait_s


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "back in a minute",
        "{",
        "null",
        "17",
        "[5000]",
        "{}",
        '{"retryAfterMs": null}',
        '{"retryAfterMs": true}',
        '{"retryAfterMs": "5000"}',
        '{"retryAfterMs": 5000.5}',
        '{"retryAfterMs": -1}',
        '{"retryAfterMs": 60001}',
        '{"retryAfterMs": NaN}',
        '{"retryAfterMs": {"retryAfterMs": 5000}}',
        "[" * 120,
    ],
)
async def test_what_is_no_announcement_leaves_it_to_the_backoff(edge: FakeEdge, reason: str) -> None:
    async with listening(edge.url) as listener:
        await edge.has_client()
        await edge.close(1012, reason)
        down = await listener.some(Down)
        assert down.reason == "the edge is restarting"
        assert 0.005 <= down.retry_in_s <= 0.01, "the first step of this test's backoff"
        await listener.some(Up, 2)


async def test_only_a_restart_can_announce_anything(edge: FakeEdge) -> None:
    async with listening(edge.url) as listener:
        await edge.has_client()
        await edge.close(1013, '{"retryAfterMs": 5000}')
        assert (await listener.some(Down)).retry_in_s <= 0.01


@pytest.mark.parametrize(("said", "at_least_s"), [("2", 2.0), (" 7 ", 7.0), ("60", 60.0), ("3600", 60.0)])
async def test_an_edge_that_lets_nobody_in_now_is_not_asked_again_before_it_said(
    edge: FakeEdge, said: str, at_least_s: float
) -> None:
    edge.refuses_with, edge.refusal_headers = 503, (("Retry-After", said),)
    async with listening(edge.url) as listener:
        down = await listener.some(Down)
    assert down.reason == "no new clients are let in just now (HTTP 503)"
    assert at_least_s < down.retry_in_s <= 1.5 * at_least_s + 0.01


async def test_not_everybody_comes_at_the_moment_that_was_said(edge: FakeEdge) -> None:
    edge.refuses_with, edge.refusal_headers = 503, (("Retry-After", "2"),)
    delays = set()
    for _ in range(20):
        async with listening(edge.url) as listener:
            delays.add(round((await listener.some(Down)).retry_in_s, 1))
    # That 20 draws meet fewer than 4 of 10 tenths of a second happens once in 10^8 runs.
    assert len(delays) >= 4, f"all of them come together: {sorted(delays)}"


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT"),),
        (("Retry-After", "-5"),),
        (("Retry-After", "5.5"),),
        (("Retry-After", "²"),),
        (("Retry-After", "9" * 30),),
        (("Retry-After", "5"), ("Retry-After", "9")),
    ],
)
async def test_a_refusal_that_names_no_seconds_leaves_it_to_the_backoff(
    edge: FakeEdge, headers: tuple[tuple[str, str], ...]
) -> None:
    edge.refuses_with, edge.refusal_headers = 503, headers
    async with listening(edge.url) as listener:
        assert (await listener.some(Down)).retry_in_s <= 0.01
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
    async with listening(edge.url, limits=Limits(longest_silence_s=1)) as listener:
        await listener.some(Received, 15)  # every 0.1 s: more than a silence would be endured
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
    async with listening(edge.url, backoff=Backoff(0.02, 10, healthy_s=1)) as listener:
        for number in range(1, 5):
            await listener.some(Up, number)
            edge.drop()
        grown_s = (await listener.some(Down, 4)).retry_in_s
        assert grown_s >= 0.08
        await listener.some(Up, 5)
        beats = len(listener.events)
        await eventually(lambda: len(listener.events) >= beats + 12, what="a run of more than a second")
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
