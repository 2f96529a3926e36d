"""An edge with real Redis and real sockets: last states, changes, bad input, faults of the bus."""

import json
import os
import signal
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from common.bus import Bus
from services.embedded import EmbeddedServer
from tests.edges import FakeHost, RunningEdge, fake_host, running_edge
from tests.samples import container
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("valkey")


@pytest.fixture
async def edge(valkey: EmbeddedServer) -> Any:
    async with running_edge(valkey.url) as running:
        yield running


@pytest.fixture
async def host(bus: Bus) -> Any:
    async with fake_host(bus) as fake:
        yield fake


def percent_is(percent: float) -> Any:
    return lambda message: message.type == "metrics" and message.data.cpu.percent == percent


async def test_the_first_message_says_who_serves_whom(edge: RunningEdge) -> None:
    async with edge.client() as client:
        [connected] = client.received
        assert (connected.type, connected.protocol, connected.user, connected.role) == (
            "connected",
            1,
            "local",
            "admin",
        )
        assert connected.server_time > 1_700_000_000_000


async def test_a_subscriber_gets_the_last_state_and_then_every_change(edge: RunningEdge, host: FakeHost) -> None:
    await host.publish_metrics(1.0)
    async with edge.client("metrics") as client:
        first = await client.until(percent_is(1.0))
        await host.publish_metrics(2.0)
        second = await client.until(percent_is(2.0))
        assert (second.epoch, second.seq) == (first.epoch, first.seq + 1)


async def test_a_second_subscriber_gets_the_state_that_the_edge_holds(edge: RunningEdge, host: FakeHost) -> None:
    async with edge.client("metrics") as first:
        await host.publish_metrics(1.0)
        await first.until(percent_is(1.0))
        async with edge.client("metrics:web-1") as second:
            await second.until(percent_is(1.0))


async def test_a_channel_of_one_host_carries_only_that_host(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    async with fake_host(bus, "web-2") as other, edge.client("metrics:web-2", "hosts:web-2") as client:
        await host.publish_metrics(1.0)
        await other.publish_metrics(2.0)
        await client.until(percent_is(2.0))
        if not any(m.type == "hosts" for m in client.received):
            await client.get("hosts")
        hosts = {m.host for m in client.received if m.type == "metrics"}
        assert hosts == {"web-2"}
        listed = {s.host for m in client.received if m.type == "hosts" for s in m.hosts}
        assert listed == {"web-2"}


async def test_subscribing_twice_is_one_subscription(edge: RunningEdge, host: FakeHost) -> None:
    async with edge.client("metrics", "metrics:web-1", "metrics") as client:
        for percent in (1.0, 2.0, 3.0):
            await host.publish_metrics(percent)
            await client.until(percent_is(percent))
        await client.ping()
        seqs = [m.seq for m in client.received if m.type == "metrics"]
        assert seqs == sorted(set(seqs))


async def test_unsubscribing_ends_it(edge: RunningEdge, host: FakeHost) -> None:
    async with edge.client("metrics", "containers") as client:
        await host.publish_metrics(1.0)
        await client.until(percent_is(1.0))
        await client.send({"type": "unsubscribe", "channels": ["metrics"]})
        await client.ping()
        await host.publish_metrics(2.0)
        await host.publish_containers(container())
        await client.get("containers")
        assert not any(m.type == "metrics" and m.data.cpu.percent == 2.0 for m in client.received)


async def test_a_stopped_worker_is_told_with_its_reason(edge: RunningEdge, bus: Bus) -> None:
    async with edge.client("hosts") as client:
        async with fake_host(bus) as host:
            await client.until(lambda m: m.type == "hosts" and m.hosts and m.hosts[0].links.containers.state == "live")
            host.containers_tenure.fault = "gone docker-unreachable"
            await client.until(
                lambda m: m.type == "hosts" and m.hosts[0].links.containers.reason == "docker-unreachable"
            )
            assert client.received[-1].hosts[0].status == "live", "the host itself is there"
        gone = await client.until(lambda m: m.type == "hosts" and m.hosts[0].status == "gone")
        assert gone.hosts[0].links.metrics.reason == "stopped"


async def test_a_ping_gets_its_nonce_back_and_heartbeats_come_by_themselves(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url, heartbeat_sec=0.1) as edge, edge.client() as client:
        await client.ping()
        beats = [await client.get("heartbeat") for _ in range(3)]
        assert all(beat.nonce is None for beat in beats)


# Bad input

_SPOILED = [
    "nope",
    "[]",
    "3",
    '{"type":"dance"}',
    '{"type":"subscribe"}',
    '{"type":"subscribe","channels":["metrics"],"extra":1}',
    '{"type":"subscribe","channels":"metrics"}',
    '{"type":"subscribe","channels":["gossip"]}',
    '{"type":"subscribe","channels":["metrics:a/b"]}',
    '{"type":"subscribe","channels":["metrics:"]}',
    '{"type":"ping","nonce":NaN}',
    '{"type":"ping","nonce":"\\ud800"}',
    "[" * 10_000,
    '{"type":"container-action","requestId":"r","containerId":"web","action":"stop","timeoutSec":-1}',
    b"\x00\x01 binary",
]


async def test_bad_input_gets_an_error_and_costs_nothing_else(
    edge: RunningEdge, host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    async with edge.client("metrics") as client:
        for spoiled in _SPOILED:
            await client.send(spoiled)
            error = await client.get("error")
            assert error.code in {"invalid-message", "unknown-channel"}, spoiled
            assert error.message
        await host.publish_metrics(9.0)
        await client.until(percent_is(9.0))
    assert [r for r in caplog.records if r.levelname in {"ERROR", "CRITICAL"} or r.exc_info] == []


async def test_the_twentieth_bad_message_closes_with_1008(edge: RunningEdge) -> None:
    async with edge.client() as client:
        for _ in range(19):
            await client.send("nope")
            await client.get("error")
        await client.send("nope")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await client.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        assert client.received[-1].type == "error"


async def test_a_frame_too_large_closes_with_1009(edge: RunningEdge) -> None:
    async with edge.client() as client:
        await client.send("x" * 2_000_000)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await client.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_text_that_is_not_utf8_closes_with_1007_and_without_a_stack_trace(
    edge: RunningEdge, caplog: pytest.LogCaptureFixture
) -> None:
    async with edge.client() as client:
        await client.connection.send(b"\xed\xa0\x80", text=True)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await client.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
    assert [r for r in caplog.records if r.levelname in {"ERROR", "CRITICAL"} or r.exc_info] == []


@pytest.mark.parametrize(
    "payload", [b"", b"rubbish", b"1 5 5\nrubbish", b"1 5 5\n{\xff}", b"9 1 1\n{}", b'1 5 5\n{"type":"hosts"}']
)
async def test_rubbish_on_a_channel_or_as_last_state_is_skipped(
    edge: RunningEdge, host: FakeHost, bus: Bus, payload: bytes
) -> None:
    with bus.reaching() as redis:
        await redis.set(bus.keys.last("web-1", "metrics"), payload)
    async with edge.client("metrics") as client:
        await eventually(lambda: edge_hears(bus, "web-1"))
        with bus.reaching() as redis:
            await redis.spublish(bus.keys.channel("web-1", "metrics"), payload)
        await host.publish_metrics(3.0)
        await client.until(percent_is(3.0))
        assert [m.data.cpu.percent for m in client.received if m.type == "metrics"] == [3.0]


async def edge_hears(bus: Bus, host: str) -> bool:
    with bus.reaching() as redis:
        counts = await redis.execute_command("PUBSUB", "SHARDNUMSUB", bus.keys.channel(host, "metrics"))
    return bool(counts[1])


async def test_a_roster_of_the_wrong_type_is_waited_out(edge: RunningEdge, bus: Bus) -> None:
    async with edge.client("hosts") as client:
        with bus.reaching() as redis:
            await redis.set(bus.keys.seen("metrics"), "not a sorted set")
        await client.ping()
        with bus.reaching() as redis:
            await redis.delete(bus.keys.seen("metrics"))
        async with fake_host(bus):
            await client.until(lambda m: m.type == "hosts" and m.hosts and m.hosts[0].status == "live")


# HTTP


async def test_a_plain_get_answers_with_the_edges_status(edge: RunningEdge) -> None:
    async with httpx.AsyncClient(base_url=edge.http) as http:
        await eventually(lambda: is_ready(edge))
        answer = await http.get("/api/ws")
        assert answer.status_code == 200
        assert answer.json() | {"edgeId": "", "serverTime": 0, "version": ""} == {
            "edgeId": "",
            "version": "",
            "protocol": 1,
            "serverTime": 0,
            "ready": True,
            "reason": None,
            "clients": 0,
            "hosts": 0,
        }


async def is_ready(edge: RunningEdge) -> bool:
    async with httpx.AsyncClient(base_url=edge.http) as http:
        return (await http.get("/readyz")).status_code == 200


async def test_the_polling_routes_answer_with_the_same_shapes(edge: RunningEdge, host: FakeHost) -> None:
    await host.publish_metrics(4.0)
    async with httpx.AsyncClient(base_url=edge.http) as http, edge.client("hosts", "metrics") as client:
        await client.until(percent_is(4.0))
        assert (await http.get("/api/hosts")).json()["type"] == "hosts"
        polled = (await http.get("/api/hosts/web-1/metrics")).json()
        assert polled == json.loads(client.received[-1].model_dump_json())
        assert (await http.get("/api/hosts/web-1/containers")).status_code == 404
        assert (await http.get("/api/hosts/web-1/lottery")).status_code == 422
        assert (await http.get("/api/hosts/we%20b/metrics")).status_code == 422
        assert "ServerMessage" in (await http.get("/api/schema")).json()["$defs"]
        assert "fleetcast_clients 1.0" in (await http.get("/metrics")).text


async def test_the_page_is_served_with_a_policy(edge: RunningEdge) -> None:
    async with httpx.AsyncClient(base_url=edge.http) as http:
        answer = await http.get("/")
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
async def test_other_pages_and_names_are_refused(
    edge: RunningEdge, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with httpx.AsyncClient(base_url=edge.http, headers=headers) as http:
        assert (await http.get("/api/hosts")).status_code == 403
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        assert (await http.get("/api/ws", headers=upgrade)).status_code == 403
    assert [r for r in caplog.records if r.levelname in {"ERROR", "CRITICAL"} or r.exc_info] == []


async def test_a_client_too_many_is_closed_with_1013(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url, max_clients=1) as edge, edge.client():
        async with connect(edge.ws) as second:
            with pytest.raises(ConnectionClosed) as closed:
                await second.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013


# Faults of the bus


async def test_everything_resumes_after_redis_was_away(
    edge: RunningEdge, host: FakeHost, valkey: EmbeddedServer
) -> None:
    async with edge.client("hosts", "metrics") as client:
        await host.publish_metrics(1.0)
        await client.until(percent_is(1.0))
        await valkey.stop()
        away = await client.until(lambda m: m.type == "hosts" and m.hosts[0].status == "stalled")
        assert away.hosts[0].links.metrics.reason == "bus-unreachable"
        assert not await is_ready(edge)
        await valkey.start()
        await client.until(lambda m: m.type == "hosts" and m.hosts[0].status == "live")
        await host.publish_metrics(2.0)
        await client.until(percent_is(2.0))
        await eventually(lambda: is_ready(edge))


async def test_everything_resumes_after_flushall(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    async with edge.client("hosts", "metrics") as client:
        await host.publish_metrics(1.0)
        await client.until(percent_is(1.0))
        with bus.reaching() as redis:
            await redis.flushall()
        await host.publish_metrics(2.0)
        await client.until(percent_is(2.0))


async def test_a_state_published_while_the_edge_was_deaf_is_read_afterwards(
    edge: RunningEdge, host: FakeHost, bus: Bus, valkey: EmbeddedServer
) -> None:
    async with edge.client("metrics") as client:
        await host.publish_metrics(1.0)
        await client.until(percent_is(1.0))
        with bus.reaching() as redis:
            # Killed and published in one go: the edge cannot have been back in between.
            pipeline = redis.pipeline(transaction=True)
            pipeline.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await pipeline.execute()
        await host.publish_metrics(2.0)
        await client.until(percent_is(2.0))


async def test_an_edge_started_before_redis_serves_when_it_comes(valkey: EmbeddedServer, bus: Bus) -> None:
    await valkey.stop()
    async with running_edge(valkey.url) as edge, edge.client("hosts", "metrics") as client:
        error = await client.get("error")
        assert error.code == "unavailable"
        await valkey.start()
        async with fake_host(bus) as host:
            await client.until(lambda m: m.type == "hosts" and m.hosts)
            await host.publish_metrics(5.0)
            await client.until(percent_is(5.0))


async def test_a_stopped_redis_does_not_stop_the_edge_from_answering(
    edge: RunningEdge, host: FakeHost, valkey: EmbeddedServer
) -> None:
    async with edge.client("hosts") as client:
        await client.until(lambda m: m.type == "hosts" and m.hosts)
        assert valkey.pid is not None
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            await client.ping()
            await client.until(lambda m: m.type == "hosts" and m.hosts[0].status == "stalled")
            await client.ping()
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
        await client.until(lambda m: m.type == "hosts" and m.hosts[0].status == "live")


async def test_a_client_that_never_reads_holds_up_nobody_and_costs_a_bounded_amount(
    edge: RunningEdge, host: FakeHost
) -> None:
    big = tuple(container(f"c{i}", f"{i:064x}", labels={"fleetcast.note": "x" * 1000}) for i in range(200))
    async with connect(edge.ws, max_queue=1, compression=None) as deaf, edge.client("containers") as client:
        await deaf.send('{"type":"subscribe","channels":["containers"]}')
        deaf.transport.pause_reading()
        for _ in range(60):
            await host.publish_containers(*big)
            await client.get("containers")
        await client.ping()
        deaf.transport.abort()


async def test_shutdown_tells_the_clients(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url) as edge:
        async with edge.client() as client:
            edge.server.should_exit = True
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await client.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
