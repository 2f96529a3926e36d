"""What is watched on an edge, as collectors find it in Redis: keys that run out by themselves, and wake-ups."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common.bus import Bus
from common.keys import STATE_KINDS, WATCH_TTL_S, StateKind
from common.protocol import HostStatus, Link, Links
from common.tenure import Tenure
from common.worker import HostWorker
from services.edge.audience import Subscription
from services.edge.client import Client
from services.edge.hub import Hub
from services.edge.interest import Asked, Interests, Watched, watched
from services.embedded import EmbeddedServer
from tests.edges import host_worker, running_edge
from tests.support import PATIENCE_S, eventually

TTL_S = 0.6


class Watching:
    """An edge's hub and what it says is watched, without the rest of the edge."""

    def __init__(self, bus: Bus, ttl_s: float = TTL_S) -> None:
        self.hub = Hub(on_interest=lambda: self.interests.look_soon())
        self.interests = Interests(bus, self.hub, ttl_s, max_asked=2)

    def client(self, *subscriptions: Subscription, sees: tuple[str, ...] | None = None) -> Client:
        client = Client(len, lambda data: None, lambda code, reason: None, sees)
        self.hub.add(client)
        self.hub.subscribe(client, subscriptions)
        return client


@asynccontextmanager
async def watching(bus: Bus, ttl_s: float = TTL_S) -> AsyncIterator[Watching]:
    edge = Watching(bus, ttl_s)
    running = asyncio.create_task(edge.interests.run())
    try:
        yield edge
    finally:
        running.cancel()
        await asyncio.wait([running])


async def left_ms(bus: Bus, host: str | None, kind: StateKind) -> int:
    """How long what is watched counts as such still; not above 0 where it does not."""
    with bus.reaching() as redis:
        return int(await redis.pttl(bus.keys.watch(host, kind)))


async def has_left(bus: Bus, between_s: tuple[float, float]) -> bool:
    left = await left_ms(bus, None, "metrics")
    assert left > 0, "it has run out"
    return between_s[0] * 1000 < left <= between_s[1] * 1000


async def said(bus: Bus, *hosts: str) -> set[Watched]:
    """What Redis has of these hosts and of all."""
    return {(host, kind) for host in (*hosts, None) for kind in STATE_KINDS if await left_ms(bus, host, kind) > 0}


async def until_said(bus: Bus, expected: set[Watched], *hosts: str) -> None:
    async def is_so() -> bool:
        return await said(bus, *hosts) == expected

    await eventually(is_so, what=f"that {expected} is watched")


def status(host: str) -> HostStatus:
    live = Link(state="live")
    links = Links(metrics=live, containers=live, executor=live)
    return HostStatus(host=host, status="live", expected="always", last_seen_at=0, links=links, labels={})


# What counts as watched


def test_whoever_sees_every_host_watches_all_of_them_with_one_subscription() -> None:
    subscriptions = [
        (("metrics", None), None),
        (("usage", "a"), None),
        (("hosts", None), None),
        (("events", "a"), None),
    ]
    assert watched(subscriptions, ["a", "b"]) == {(None, "metrics"), ("a", "usage")}


def test_whoever_may_see_some_hosts_watches_those_of_the_fleet() -> None:
    subscriptions = [(("metrics", None), ("web-*",)), (("metrics", None), ("db-1",)), (("usage", "x"), ("x",))]
    assert watched(subscriptions, ["web-1", "web-2", "db-1", "db-2"]) == {
        ("web-1", "metrics"),
        ("web-2", "metrics"),
        ("db-1", "metrics"),
        ("x", "usage"),
    }


def test_what_was_asked_for_counts_for_a_while_and_the_oldest_make_room() -> None:
    asked = Asked(ttl_s=10, max_asked=2)
    assert [asked.note((host, "metrics"), 0) for host in "ab"] == [True, True]
    assert not asked.note(("a", "metrics"), 5)
    assert asked.recent(9) == {("a", "metrics"), ("b", "metrics")}
    assert asked.recent(10) == {("a", "metrics")}
    assert [asked.note((host, "metrics"), 11) for host in "cd"] == [True, True]
    assert asked.recent(11) == {("c", "metrics"), ("d", "metrics")}


# In Redis


async def test_what_is_watched_is_kept_up_as_one_key_for_all_clients_and_runs_out_when_they_have_gone(bus: Bus) -> None:
    async with watching(bus) as edge:
        clients = [edge.client(("metrics", None), ("usage", "web-1")) for _ in range(20)]
        await until_said(bus, {(None, "metrics"), ("web-1", "usage")}, "web-1")
        with bus.reaching() as redis:
            assert len(await redis.keys("*watch*")) == 2
        assert await left_ms(bus, None, "metrics") <= TTL_S * 1000
        for _ in range(3):
            await eventually(lambda: has_left(bus, (0.0, 0.9 * TTL_S)), what="time to pass")
            await eventually(lambda: has_left(bus, (0.9 * TTL_S, TTL_S)), what="it to be renewed")
        for client in clients[1:]:
            edge.hub.remove(client)
        assert await said(bus, "web-1") == {(None, "metrics"), ("web-1", "usage")}
        edge.hub.remove(clients[0])
        await until_said(bus, set(), "web-1")


async def test_what_a_dead_edge_watched_runs_out_and_what_another_one_watches_stays(bus: Bus) -> None:
    async with watching(bus) as survivor:
        survivor.client(("metrics", None))
        async with watching(bus) as dying:
            dying.client(("metrics", None), ("usage", None))
            await until_said(bus, {(None, "metrics"), (None, "usage")})
        await until_said(bus, {(None, "metrics")})


async def test_what_has_begun_to_be_watched_is_called_out_once_when_its_key_is_there(bus: Bus) -> None:
    heard: list[tuple[str, str, bool]] = []
    async with watching(bus) as edge, bus.pubsub() as pubsub:
        channels = {bus.keys.wake(None): None, bus.keys.wake("web-1"): "web-1"}
        await pubsub.ssubscribe(*channels)

        async def hear(count: int) -> None:
            async with asyncio.timeout(PATIENCE_S):
                while len(heard) < count:
                    message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
                    if message is not None:
                        channel, kind = message["channel"].decode(), message["data"].decode()
                        there = await left_ms(bus, channels[channel], kind) > 0
                        heard.append((channel, kind, there))

        edge.client(("metrics", None))
        edge.client(("usage", "web-1"))
        await hear(2)
        assert set(heard) == {(bus.keys.wake(None), "metrics", True), (bus.keys.wake("web-1"), "usage", True)}
        edge.client(("metrics", None))
        edge.interests.look_soon()
        await eventually(lambda: has_left(bus, (0.0, 0.9 * TTL_S)), what="time to pass")
        await eventually(lambda: has_left(bus, (0.9 * TTL_S, TTL_S)), what="it to be renewed")
        edge.client(("processes", "web-1"))
        await hear(3)
        assert heard[2:] == [(bus.keys.wake("web-1"), "processes", True)]


async def test_many_changes_that_come_together_are_told_together(bus: Bus) -> None:
    async with watching(bus, ttl_s=WATCH_TTL_S) as edge:
        edge.client(("metrics", None))
        await until_said(bus, {(None, "metrics")})
        with bus.reaching() as redis:
            before = (await redis.info("commandstats"))["cmdstat_set"]["calls"]
        for number in range(50):
            edge.client(("usage", f"web-{number}"))
        await until_said(bus, {(None, "metrics"), ("web-49", "usage")}, "web-49")
        with bus.reaching() as redis:
            assert (await redis.info("commandstats"))["cmdstat_set"]["calls"] == before + 50


async def test_what_is_asked_for_counts_as_watched_for_a_while(bus: Bus) -> None:
    async with watching(bus) as edge:
        edge.interests.note_asked("web-1", "processes")
        await until_said(bus, {("web-1", "processes")}, "web-1")
        await until_said(bus, set(), "web-1")


async def test_one_who_may_see_some_hosts_watches_new_ones_as_they_come(bus: Bus) -> None:
    async with watching(bus, ttl_s=WATCH_TTL_S) as edge:
        edge.hub.publish_hosts([status("web-1"), status("db-1")])
        edge.client(("metrics", None), sees=("web-*",))
        await until_said(bus, {("web-1", "metrics")}, "web-1", "web-2", "db-1")
        edge.hub.publish_hosts([status("web-1"), status("web-2"), status("db-1")])
        await until_said(bus, {("web-1", "metrics"), ("web-2", "metrics")}, "web-1", "web-2", "db-1")


async def test_after_an_absent_redis_it_is_told_again(valkey: EmbeddedServer, bus: Bus) -> None:
    async with watching(bus) as edge:
        await valkey.stop()
        edge.client(("metrics", None))
        await eventually(lambda: not bus.available)
        await valkey.start()
        await until_said(bus, {(None, "metrics")})


async def test_what_could_not_be_called_out_is_so_when_redis_lets_it_and_that_is_said_once(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(bus) as edge, bus.pubsub() as pubsub:
        await pubsub.ssubscribe(bus.keys.wake(None))
        with bus.reaching() as redis:
            await redis.execute_command("ACL", "SETUSER", "default", "-spublish")
            edge.client(("metrics", None))
            await eventually(lambda: "consent" in caplog.text)
            await eventually(lambda: has_left(bus, (0.0, 0.9 * TTL_S)), what="time to pass")
            await eventually(lambda: has_left(bus, (0.9 * TTL_S, TTL_S)), what="it to be tried again")
            await redis.execute_command("ACL", "SETUSER", "default", "+spublish")
        async with asyncio.timeout(PATIENCE_S):
            while (message := await pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)) is None:
                pass
        assert message["data"] == b"metrics"
    assert sum("consent" in record.message and record.levelname == "WARNING" for record in caplog.records) == 1


# End to end


async def test_a_collector_knows_at_once_that_it_is_watched_and_soon_that_it_is_not(bus: Bus) -> None:
    async with host_worker(bus, "web-1", "metrics") as metrics, watching(bus) as edge:
        assert not metrics.interest.has("metrics")
        client = edge.client(("metrics", None))
        await eventually(lambda: metrics.interest.has("metrics"))
        assert not metrics.interest.has("processes")
        edge.hub.remove(client)
        await eventually(lambda: not metrics.interest.has("metrics"))


async def test_a_client_of_an_edge_wakes_a_collector_before_its_next_beat(valkey: EmbeddedServer, bus: Bus) -> None:
    tenures: asyncio.Queue[Tenure] = asyncio.Queue()

    async def job(tenure: Tenure) -> None:
        tenures.put_nowait(tenure)
        await asyncio.Event().wait()

    async def listens() -> bool:
        with bus.reaching() as redis:
            return bool((await redis.pubsub_shardnumsub(bus.keys.wake("web-1")))[0][1])

    working = asyncio.create_task(HostWorker(bus, "web-1", "containers", renew_s=60).run(job))
    try:
        tenure = await tenures.get()
        await eventually(listens)
        async with running_edge(valkey.url) as edge, edge.client("usage:web-1"):
            await eventually(lambda: tenure.interest.has("usage"), within_s=WATCH_TTL_S / 3 - 1)
            assert not tenure.interest.has("containers")
    finally:
        working.cancel()
        await asyncio.wait([working])
