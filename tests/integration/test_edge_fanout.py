"""The fan-out with real sockets: slow and dead clients, limits, compression, interest, what is left behind."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from common.bus import Bus
from common.keys import Keys
from common.models import Container
from services.edge.app import Edge
from services.edge.connection import Connection
from services.edge.session import Session
from services.embedded import EmbeddedServer
from tests.edges import FakeHost, RunningEdge, Socket, closing, fake_host, running_edge
from tests.samples import container
from tests.support import PATIENCE_S, eventually

LOUD = tuple(container(f"c{i}", f"{i:064x}", labels={"fleetcast.note": "x" * 1000}) for i in range(200))
"""More than 200 kB in one message."""


@pytest.fixture
async def host(bus: Bus) -> AsyncIterator[FakeHost]:
    async with fake_host(bus) as fake:
        yield fake


def core(edge: RunningEdge) -> Edge:
    served = edge.server.edge
    assert isinstance(served, Edge)
    return served


def counter(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def stop_reading(connection: ClientConnection) -> None:
    """Nothing is read any more, nor answered: the client is there, and deaf."""
    connection.transport.pause_reading()


def percent_is(percent: float) -> Any:
    return lambda message: message.type == "metrics" and message.data.cpu.percent == percent


async def fill(edge: RunningEdge, host: FakeHost, reader: Socket) -> None:
    """Publishes until a client that does not read is blocked."""
    for number in range(500):
        loud = (*LOUD[1:], LOUD[0].model_copy(update={"name": f"c-{number}"}))
        await host.publish_containers(*loud)
        await reader.until(lambda m, name=f"c-{number}": m.type == "containers" and m.data[-1].name == name)
        if any(member.client.blocked_since is not None for member in core(edge).members):
            return
    raise AssertionError("the client that does not read was never blocked")


# Slow clients


async def test_a_client_that_does_not_read_costs_a_bounded_amount_and_comes_back_to_the_newest(
    valkey: EmbeddedServer, host: FakeHost
) -> None:
    async with running_edge(valkey.url) as edge, connect(edge.ws, max_queue=1, compression=None) as slow:
        await slow.send('{"type":"subscribe","channels":["containers"]}')
        async with edge.client("containers") as quick:
            stop_reading(slow)
            await fill(edge, host, quick)
            [blocked] = [member for member in core(edge).members if member.client.blocked_since is not None]
            assert isinstance(blocked, Session)
            transport: asyncio.Transport = blocked._connection._transport
            bound = transport.get_write_buffer_size()
            over = counter("fleetcast_clients_passed_over_total")
            for number in range(30):
                await host.publish_containers(container(f"later-{number}"))
                await quick.until(lambda m, name=f"later-{number}": m.type == "containers" and m.data[0].name == name)
                assert transport.get_write_buffer_size() <= bound, "nothing is added while the client is blocked"
            assert counter("fleetcast_clients_passed_over_total") - over == 30
            slow.transport.resume_reading()
            names: list[str] = []
            async with asyncio.timeout(PATIENCE_S):
                while "later-29" not in names:
                    message = json.loads(await slow.recv())
                    if message["type"] == "containers":
                        names.append(message["data"][-1]["name"])
            assert [name for name in names if name.startswith("later")] == ["later-29"], "only the newest"


async def test_a_client_that_takes_nothing_for_too_long_is_cut_off(valkey: EmbeddedServer, host: FakeHost) -> None:
    aborted = counter("fleetcast_clients_closed_total", code="aborted")
    async with running_edge(valkey.url, heartbeat_sec=0.1, slow_client_sec=1) as edge:
        async with connect(edge.ws, max_queue=1, compression=None) as slow, edge.client("containers") as quick:
            await slow.send('{"type":"subscribe","channels":["containers"]}')
            stop_reading(slow)
            await fill(edge, host, quick)
            await eventually(lambda: len(core(edge).members) == 1)
            await quick.ping()
            slow.transport.abort()
    assert counter("fleetcast_clients_closed_total", code="aborted") == aborted + 1


async def test_a_client_of_which_nothing_is_heard_is_closed_and_one_that_only_answers_pings_stays(
    valkey: EmbeddedServer,
) -> None:
    silent = counter("fleetcast_clients_closed_total", code="4408")
    async with running_edge(valkey.url, heartbeat_sec=0.1, silent_client_sec=1) as edge:
        async with edge.client() as quiet, connect(edge.ws) as deaf:
            deaf.transport.pause_reading()  # it answers no ping any more
            await eventually(lambda: len(core(edge).members) == 1)
            for _ in range(15):
                await quiet.get("heartbeat")
            deaf.transport.resume_reading()
            assert (await closing(deaf))[0] == 4408
    assert counter("fleetcast_clients_closed_total", code="4408") == silent + 1


async def test_acks_that_a_client_does_not_take_close_it_and_are_never_dropped_silently(
    valkey: EmbeddedServer, host: FakeHost
) -> None:
    closed = counter("fleetcast_clients_closed_total", code="4409")
    async with running_edge(valkey.url, max_pending_bytes=4096) as edge:
        async with connect(edge.ws, max_queue=1, compression=None) as slow, edge.client("containers") as quick:
            await slow.send('{"type":"subscribe","channels":["containers"]}')
            stop_reading(slow)
            await fill(edge, host, quick)
            for number in range(100):
                await slow.send(json.dumps({"type": "ping", "nonce": f"{number:0100}"}))
            await eventually(lambda: len(core(edge).members) == 1)
            slow.transport.abort()
    assert counter("fleetcast_clients_closed_total", code="4409") == closed + 1


# Limits


async def test_one_address_may_have_so_many_connections(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url, max_clients_per_address=1) as edge:
        far = {"X-Forwarded-For": "203.0.113.7"}
        async with edge.client(additional_headers=far), edge.client():
            async with connect(edge.ws, additional_headers=far) as second:
                assert await closing(second) == (1013, "too many connections from this address")
            async with edge.client(additional_headers={"X-Forwarded-For": "203.0.113.8"}):
                pass
        await eventually(lambda: core(edge).room.taken == 0)
        async with edge.client(additional_headers=far):
            pass


async def test_a_proxy_that_is_not_trusted_cannot_name_another_address(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url, max_clients_per_address=1, trusted_proxies="192.0.2.1") as edge:
        far = {"X-Forwarded-For": "203.0.113.7"}
        async with edge.client(additional_headers=far), edge.client(additional_headers=far):
            assert {member.address for member in core(edge).members} == {"127.0.0.1"}


async def test_too_many_handshakes_at_once_are_told_to_come_later(valkey: EmbeddedServer) -> None:
    refused = counter("fleetcast_handshakes_refused_total", reason="too many handshakes at once")
    async with running_edge(valkey.url, max_handshakes_per_sec=1) as edge, edge.client():
        with pytest.raises(InvalidStatus) as answer:
            for _ in range(20):
                async with connect(edge.ws):
                    pass
        assert answer.value.response.status_code == 503
        assert answer.value.response.headers["Retry-After"] == "2"
    assert counter("fleetcast_handshakes_refused_total", reason="too many handshakes at once") > refused


async def test_too_many_subscriptions_are_refused_and_the_others_stay(valkey: EmbeddedServer, host: FakeHost) -> None:
    async with running_edge(valkey.url, max_subscriptions=2) as edge, edge.client("metrics", "hosts") as client:
        await client.send({"type": "subscribe", "channels": ["containers"]})
        assert (await client.get("error")).code == "too-large"
        await client.send({"type": "subscribe", "channels": ["metrics"]})
        await host.publish_metrics(1.0)
        await client.until(percent_is(1.0))


async def test_too_many_messages_are_refused_and_who_keeps_at_it_is_closed(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url, max_messages_per_sec=1) as edge, connect(edge.ws) as client:
        for number in range(200):
            await client.send(json.dumps({"type": "ping", "nonce": str(number)}))
        received = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                received.append(json.loads(await client.recv()))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        answered = [message for message in received if message.get("nonce")]
        assert 10 <= len(answered) < 20, "the burst"
        assert {message["code"] for message in received if message["type"] == "error"} == {"rate-limited"}


@pytest.mark.parametrize(("message", "code"), [(b"\xff", 1007), ("x" * 2000, 1009)])
async def test_who_breaks_the_websocket_protocol_is_closed_and_counted(
    valkey: EmbeddedServer, message: str | bytes, code: int
) -> None:
    before = counter("fleetcast_clients_closed_total", code=str(code))
    async with running_edge(valkey.url, max_message_bytes=1024) as edge, connect(edge.ws) as client:
        await client.send(message, text=True)
        assert (await closing(client))[0] == code
        await eventually(lambda: not core(edge).members)
    assert counter("fleetcast_clients_closed_total", code=str(code)) == before + 1


# Compression


async def test_clients_that_offer_compression_share_what_is_compressed_once(
    valkey: EmbeddedServer, host: FakeHost
) -> None:
    containers: tuple[Container, ...] = LOUD[:50]
    async with running_edge(valkey.url) as edge:
        async with edge.client("containers") as one, edge.client("containers") as two:
            async with edge.client("containers", compression=None) as plain:
                await host.publish_containers(*containers)
                for client in (one, two, plain):
                    assert (await client.get("containers")).data == containers
                [first, second] = [member for member in core(edge).members if member.client.encoding == "deflate"]
                assert first.client.audience is second.client.audience
    async with running_edge(valkey.url, compress=False) as edge, edge.client("containers") as client:
        assert client.connection.protocol.extensions == []
        assert (await client.get("containers")).data == containers


# Interest


async def test_an_edge_subscribes_only_to_what_is_watched_and_unsubscribes_after_a_while(
    valkey: EmbeddedServer, bus: Bus, host: FakeHost
) -> None:
    keys = Keys()

    async def subscribed() -> set[str]:
        with bus.reaching() as redis:
            channels = await redis.pubsub_shardchannels()
        names = {channel.decode() for channel in channels}
        return {name for name in names if not name.endswith((":canary", ":wake"))}

    async with running_edge(valkey.url, unsubscribe_after_sec=2) as edge:
        async with edge.client("hosts") as onlooker:
            await onlooker.until(lambda m: m.type == "hosts" and m.hosts)
            assert await subscribed() == set()
            async with edge.client("metrics") as viewer:
                await host.publish_metrics(1.0)
                await viewer.until(percent_is(1.0))
                assert await subscribed() == {keys.channel("web-1", "metrics")}
            await onlooker.ping()
            assert await subscribed() == {keys.channel("web-1", "metrics")}, "a page that is reloaded"
            async with edge.client("metrics") as viewer:
                await viewer.until(percent_is(1.0))

            async def nothing() -> bool:
                return await subscribed() == set()

            await eventually(nothing)
            await host.publish_metrics(2.0)
            async with edge.client("metrics") as viewer:
                await viewer.until(percent_is(2.0))


# What is left behind


async def test_a_connection_that_ends_leaves_nothing_to_the_garbage_collector(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url) as edge:
        gc.collect()
        gc.disable()
        try:
            for ends in ("client", "edge"):
                async with edge.client("metrics", "hosts") as client:
                    if ends == "edge":
                        [member] = core(edge).members
                        member.close(1008, "the test wants it")
                        del member
                        assert (await closing(client.connection))[0] == 1008
                await eventually(lambda: not core(edge).members)
            await eventually(lambda: not core(edge).room.taken)

            def left() -> list[Any]:
                return [thing for thing in gc.get_objects() if type(thing) in (Session, Connection)]

            await eventually(lambda: not left())
        finally:
            gc.enable()


# Server-sent events


async def events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def test_the_same_feed_comes_as_server_sent_events(valkey: EmbeddedServer, host: FakeHost) -> None:
    async with running_edge(valkey.url) as edge, httpx.AsyncClient(base_url=edge.http) as http:
        await host.publish_metrics(1.0)
        url = "/api/events?channels=metrics,hosts"
        async with http.stream("GET", url, headers={"Last-Event-ID": "7"}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-accel-buffering"] == "no"
            feed = events(answer)
            assert (await anext(feed))["type"] == "connected"
            seen = {}
            async with asyncio.timeout(PATIENCE_S):
                while seen.keys() < {"metrics", "hosts"}:
                    message = await anext(feed)
                    seen[message["type"]] = message
                assert seen["metrics"]["data"]["cpu"]["percent"] == 1.0
                await host.publish_metrics(2.0)
                while (message := await anext(feed))["type"] != "metrics":
                    pass
                assert message["data"]["cpu"]["percent"] == 2.0
        await eventually(lambda: not core(edge).members, what="the stream to be given up")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 422, "invalid-message"),
        ("?channels=rubbish", 404, "unknown-channel"),
        ("?channels=metrics,hosts,containers", 413, "too-large"),
    ],
)
async def test_a_stream_of_what_is_not_there_is_refused(
    valkey: EmbeddedServer, query: str, status: int, code: str
) -> None:
    async with running_edge(valkey.url, max_subscriptions=2) as edge, httpx.AsyncClient(base_url=edge.http) as http:
        answer = await http.get(f"/api/events{query}")
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_event_streams_count_as_clients(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url, max_clients=1) as edge, httpx.AsyncClient(base_url=edge.http) as http:
        async with http.stream("GET", "/api/events?channels=hosts") as answer:
            assert (await anext(events(answer)))["type"] == "connected"
            second = await http.get("/api/events?channels=hosts")
            assert (second.status_code, second.headers["Retry-After"]) == (503, "2")
