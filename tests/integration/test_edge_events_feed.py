"""Events from a collector to clients, over real Redis and real sockets: none lost, none twice, also over its breaks."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from common.bus import Bus
from common.envelope import Version, wrap
from common.keys import EVENTS_KEPT
from common.telemetry import malformed
from services.edge.relay import events_lost
from services.embedded import EmbeddedServer
from tests.edges import FakeHost, RunningEdge, Socket, fake_host, knows, running_edge
from tests.support import eventually


@pytest.fixture
async def host(bus: Bus) -> AsyncIterator[FakeHost]:
    async with fake_host(bus) as fake:
        yield fake


@pytest.fixture
async def edge(valkey: EmbeddedServer, host: FakeHost) -> AsyncIterator[RunningEdge]:
    async with running_edge(valkey.url) as running:
        yield running


def names(client: Socket, host: str = "web-1") -> list[str]:
    return [message.name for message in client.received if message.type == "event" and message.host == host]


async def named(client: Socket, name: str) -> None:
    """Until the event with this name has come."""
    await client.until(lambda message: message.type == "event" and message.name == name)


def follows(edge: RunningEdge, bus: Bus, host: str = "web-1") -> bool:
    return edge.server.edge.relay.subscriber.is_subscribed(bus.keys.channel(host, "events"))


async def followed(edge: RunningEdge, bus: Bus, host: str = "web-1") -> None:
    await eventually(lambda: follows(edge, bus, host), what="the edge to follow the events")


async def listens(bus: Bus) -> bool:
    """Whether the edge is subscribed as Redis sees it."""
    with bus.reaching() as redis:
        return bool((await redis.pubsub_shardnumsub(bus.keys.channel("web-1", "events")))[0][1])


async def kill_subscribers(bus: Bus) -> None:
    with bus.reaching() as redis:
        await redis.client_kill_filter(_type="pubsub")


async def test_a_client_gets_the_events_of_the_hosts_that_it_watches(
    edge: RunningEdge, host: FakeHost, bus: Bus
) -> None:
    async with fake_host(bus, "web-2") as other, edge.client("events", "hosts") as every:
        async with edge.client("events:web-2") as one:
            await knows(every, "web-1", "web-2")
            await followed(edge, bus)
            await followed(edge, bus, "web-2")
            await host.publish_events("a", "b", exit_code=1)
            await other.publish_events("c", oom_killed=True)
            await named(one, "c")
            await every.until(lambda _: names(every) == ["a", "b"] and names(every, "web-2") == ["c"])
            assert names(one, "web-1") == []
            [event] = [message for message in one.received if message.type == "event"]
            assert (event.from_, event.to, event.exit_code, event.oom_killed) == ("running", "exited", 137, True)


async def test_what_happened_before_a_subscription_is_not_told(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    await host.publish_events("long ago")
    async with edge.client("events") as first:
        await followed(edge, bus)
        await host.publish_events("before")
        await named(first, "before")
        async with edge.client("events", "metrics") as late:
            await late.ping()
            await host.publish_events("after")
            await named(late, "after")
            assert names(late) == ["after"]
        await named(first, "after")
        assert names(first) == ["before", "after"]


async def test_events_are_followed_again_after_nobody_watched_them(
    valkey: EmbeddedServer, host: FakeHost, bus: Bus
) -> None:
    async with running_edge(valkey.url, unsubscribe_after_sec=0) as edge:
        async with edge.client("events") as client:
            await followed(edge, bus)
            await host.publish_events("a")
            await named(client, "a")
        await eventually(lambda: not follows(edge, bus))
        await host.publish_events("b")
        async with edge.client("events") as client:
            await followed(edge, bus)
            await host.publish_events("c")
            await named(client, "c")
            assert names(client) == ["c"]


async def test_no_event_is_lost_or_told_twice_while_the_subscriber_is_killed_again_and_again(
    edge: RunningEdge, host: FakeHost, bus: Bus
) -> None:
    expected: list[str] = []

    async def happen(times: int) -> None:
        for _ in range(times):
            expected.append(f"event-{len(expected)}")
            await host.publish_events(expected[-1])

    async with edge.client("events") as client:
        await followed(edge, bus)
        for _ in range(6):
            await happen(10)
            await kill_subscribers(bus)
            await happen(20)
            await eventually(lambda: listens(bus), every_s=0.001)
            await happen(20)  # while the edge reads what it has missed
        await named(client, expected[-1])
        assert names(client) == expected


async def test_what_happens_while_nobody_listens_comes_before_what_happens_after(
    edge: RunningEdge, host: FakeHost, bus: Bus
) -> None:
    expected = [f"event-{number}" for number in range(EVENTS_KEPT)]
    lost = events_lost._value.get()
    async with edge.client("events") as client:
        await followed(edge, bus)
        await host.publish_events("first")
        await named(client, "first")
        await kill_subscribers(bus)
        await host.publish_events(*expected[:-1])  # before the edge can have noticed
        await followed(edge, bus)
        await host.publish_events(expected[-1])
        await named(client, expected[-1])
        assert names(client) == ["first", *expected]
    assert events_lost._value.get() == lost


async def test_what_was_read_before_another_break_does_not_stand_for_what_happened_in_it(
    edge: RunningEdge, host: FakeHost, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, may_go_on = edge.server.edge.bus.last_events, asyncio.Event()
    readings: list[int] = []

    async def read_late(hosts: Sequence[str], count: int) -> list[list[bytes]]:
        found = await read(hosts, count)
        readings.append(count)
        await may_go_on.wait()
        return found

    async with edge.client("events") as client:
        await followed(edge, bus)
        await host.publish_events("first")
        await named(client, "first")
        monkeypatch.setattr(edge.server.edge.bus, "last_events", read_late)
        await kill_subscribers(bus)
        await eventually(lambda: readings, what="the edge to read the last events")
        await kill_subscribers(bus)
        await host.publish_events("in the second break")
        await eventually(lambda: listens(bus))
        await host.publish_events("after")
        await eventually(lambda: edge.server.edge.relay.subscriber.hears and follows(edge, bus))
        may_go_on.set()
        await named(client, "after")
        assert names(client) == ["first", "in the second break", "after"]


async def test_more_events_in_a_break_than_are_kept_are_counted_as_lost(
    edge: RunningEdge, host: FakeHost, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    lost = events_lost._value.get()
    expected = [f"event-{number}" for number in range(3 * EVENTS_KEPT)]
    async with edge.client("events") as client:
        await followed(edge, bus)
        await host.publish_events("first")
        await named(client, "first")
        await kill_subscribers(bus)
        await host.publish_events(*expected)
        await named(client, expected[-1])
        assert names(client) == ["first", *expected[-EVENTS_KEPT:]]
    assert events_lost._value.get() == lost + 1
    assert "some are lost" in caplog.text


async def test_no_event_is_lost_while_the_edge_comes_to_follow_a_host(
    edge: RunningEdge, host: FakeHost, bus: Bus
) -> None:
    """Whatever is the first that a client is told, all after it come as well."""
    await host.publish_events(*(f"old-{number}" for number in range(20)))
    expected = [f"event-{number}" for number in range(200)]
    async with edge.client("events") as client:
        for name in expected:
            await host.publish_events(name)
        await named(client, expected[-1])
        told = names(client)
        assert told == expected[-len(told) :]


async def test_rubbish_among_events_is_counted_and_skipped(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    before = malformed.labels("event")._value.get()
    epoch, token = host.containers_tenure.epoch, host.containers_tenure.token
    rubbish = [b"", b"1 1 1\n{}", wrap(Version(epoch, 900), b'{"type":"event","host":"web-2","x":1}'), b"\xff"]
    await bus.publish_events("web-1", token, rubbish)
    async with edge.client("events") as client:
        await followed(edge, bus)
        await bus.publish_events("web-1", token, rubbish)
        await host.publish_events("a")
        await named(client, "a")
    assert malformed.labels("event")._value.get() >= before + 2 * len(rubbish)


async def test_usage_is_relayed_as_other_states_are(edge: RunningEdge, host: FakeHost) -> None:
    await host.publish_usage(1.0)
    async with edge.client("usage:web-1") as client:
        assert (await client.get("usage")).data.cpu_percent == (1.0,)
        await host.publish_usage(2.0)
        assert (await client.get("usage")).data.cpu_percent == (2.0,)
