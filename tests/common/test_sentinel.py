"""Servers that stand in for each other: the bus goes to the one that Sentinel names, and nothing answered is lost."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.actions import Actions
from common.bus import Bus
from common.errors import BusError, BusUnavailableError
from common.keys import Keys
from common.models import ActionOrder
from common.sentinel_url import SentinelUrl
from common.settings import DoctorSettings
from common.telemetry import unreplicated
from common.whereabouts import BusWhereabouts
from services.doctor.finding import exit_code
from services.doctor.redis import check_redis
from tests.edges import fake_host, knows, running_edge
from tests.samples import ID_A
from tests.sentinels import NAME, Watched, url_of, watched
from tests.support import eventually, stop_listening


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Watched]:
    async with watched(tmp_path / "servers") as made:
        yield made


@pytest.fixture
async def bus(servers: Watched) -> AsyncIterator[Bus]:
    bus = Bus(servers.url, Keys())
    yield bus
    await bus.close()


async def writes(bus: Bus, value: str) -> bool:
    try:
        with bus.reaching() as redis:
            await redis.set("fc:test", value)
    except BusError:
        return False
    return True


async def read(bus: Bus) -> str:
    with bus.reaching() as redis:
        return str((await redis.get("fc:test")).decode())


# Addresses


@pytest.mark.parametrize(
    ("url", "sentinels", "name", "server_url"),
    [
        (
            "redis+sentinel://h1,h2:26380,[::1]:7/mymaster",
            (("h1", 26379), ("h2", 26380), ("::1", 7)),
            "mymaster",
            "redis://primary:6379/0",
        ),
        (
            "rediss+sentinel://user:p%40ss@h1/main/2?sentinel_password=other&ssl_ca_certs=/ca.pem",
            (("h1", 26379),),
            "main",
            "rediss://user:p%40ss@primary:6379/2?ssl_ca_certs=%2Fca.pem",
        ),
    ],
)
def test_an_address_names_sentinels_and_what_they_watch(
    url: str, sentinels: tuple[tuple[str, int], ...], name: str, server_url: str
) -> None:
    parsed = SentinelUrl.parse(url)
    assert parsed is not None
    assert (parsed.sentinels, parsed.name, parsed.server_url) == (sentinels, name, server_url)


def test_the_sentinels_own_password_is_theirs_alone() -> None:
    parsed = SentinelUrl.parse("redis+sentinel://:servers@h1/m?sentinel_username=u&sentinel_password=theirs")
    assert parsed is not None
    assert parsed.options == (("username", "u"), ("password", "theirs"))
    assert "theirs" not in parsed.server_url


@pytest.mark.parametrize("url", ["redis://h1/0", "unix:///run/valkey.sock"])
def test_an_address_of_a_single_server_is_none(url: str) -> None:
    assert SentinelUrl.parse(url) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+sentinel://h1,h2", "not what they watch"),
        ("redis+sentinel:///mymaster", "names no Sentinels"),
        ("redis+sentinel://h1,,h2/mymaster", "no address of a Sentinel"),
        ("redis+sentinel://h1:99999/mymaster", "no address of a Sentinel"),
        ("redis+sentinel://h1/mymaster/zero", "is no database"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SentinelUrl.parse(url)


# Where to


async def test_when_the_primary_dies_the_bus_goes_to_the_one_that_takes_its_place(servers: Watched, bus: Bus) -> None:
    assert await writes(bus, "before")
    await servers.replica()
    (await servers.primary()).kill()
    assert not await writes(bus, "meanwhile")
    assert not bus.available
    await eventually(lambda: writes(bus, "after"), 30)
    assert bus.available
    assert await read(bus) == "after"


async def test_a_primary_that_has_become_a_replica_is_written_to_no_more(servers: Watched, bus: Bus) -> None:
    await asyncio.gather(*(writes(bus, "before") for _ in range(8)))  # over several connections
    primary = await servers.fail_over()
    await servers.replica()  # the old one is its replica by now

    async def arrives() -> bool:
        return await writes(bus, "after") and await primary.redis.get("fc:test") == b"after"

    await eventually(arrives, 30)
    assert await read(bus) == "after"


async def test_a_connection_to_a_replica_is_closed_when_it_refuses_to_be_written_to(servers: Watched) -> None:
    replica = await servers.replica()
    behind = Bus(f"redis://127.0.0.1:{replica.port}", Keys())  # an address that leads to another one after a fail-over
    script = behind.script("return redis.call('SET', KEYS[1], '1')")
    with pytest.raises(BusUnavailableError, match="read only"):
        await behind.run(script, ["fc:{h}:x"], [])
    with pytest.raises(BusUnavailableError, match="read only"), behind.reaching() as redis:
        await redis.set("fc:test", "1")
    replicas_clients = [client for client in await replica.redis.client_list() if client["name"] == "fleetcast"]
    assert replicas_clients == []
    await behind.close()


async def test_a_sentinel_that_is_gone_or_does_not_answer_is_passed_over(servers: Watched, bus: Bus) -> None:
    servers.sentinels[0].kill()
    servers.sentinels[1].freeze()
    assert await writes(bus, "found")
    servers.sentinels[1].thaw()


async def test_without_any_sentinel_connections_go_on_and_new_ones_are_refused_with_the_reason(
    servers: Watched, bus: Bus
) -> None:
    assert await writes(bus, "before")
    for sentinel in servers.sentinels:
        sentinel.kill()
    assert await writes(bus, "after")
    other = Bus(servers.url, Keys())
    with pytest.raises(BusUnavailableError, match=f"no Sentinel tells where {NAME} is"):
        await other.sync_clock()
    await other.close()


async def test_a_sentinel_that_watches_something_else_says_so(servers: Watched) -> None:
    bus = Bus(servers.url.replace(NAME, "other"), Keys())
    with pytest.raises(BusUnavailableError, match="watches nothing of this name"):
        await bus.sync_clock()
    await bus.close()


async def test_a_sentinel_that_has_not_heard_of_the_fail_over_sends_nobody_to_a_replica(servers: Watched) -> None:
    replica = await servers.replica()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            port = str(replica.port)
            writer.write(f"*2\r\n$9\r\n127.0.0.1\r\n${len(port)}\r\n{port}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    bus = Bus(url_of(server.sockets[0].getsockname()[1]), Keys())
    with pytest.raises(BusUnavailableError):
        await bus.sync_clock()
    await bus.close()
    await stop_listening(server)


# What is kept


def order(bus: Bus) -> ActionOrder:
    return ActionOrder(
        request_id="r1",
        host="web-1",
        container_id=ID_A,
        action="restart",
        actor="ops",
        deadline=bus.clock.now_ms() + 60_000,
    )


async def test_what_was_answered_of_an_action_outlives_the_primary(servers: Watched, bus: Bus) -> None:
    actions = Actions(bus)
    await bus.sync_clock()
    asked = order(bus)
    await actions.submit(asked)
    assert await actions.claim(asked, "7 here executor") == "claimed"
    (await servers.primary()).kill()

    async def record() -> object:
        try:
            return await actions.read(asked.key)
        except BusError:
            return None

    found = await eventually(record, 30)
    assert found.status == "running"
    assert await actions.claim(asked, "8 here other") == "taken"


async def test_an_action_that_a_primary_takes_which_is_none_any_more_is_told_as_not_accepted(
    servers: Watched, bus: Bus
) -> None:
    actions = Actions(bus)
    await bus.sync_clock()
    asked = order(bus)
    primary = await servers.fail_over()
    with pytest.raises(BusUnavailableError, match="another server has taken its place"):
        await actions.submit(asked)
    assert (await actions.submit(asked)).status == "accepted"
    assert await primary.redis.hget(bus.keys.action(*asked.key), "status") == b"accepted"


async def test_without_a_replica_that_keeps_up_actions_go_on_and_that_is_said_once_and_counted(
    servers: Watched, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    replica = await servers.replica()
    replica.freeze()
    before = unreplicated._value.get()
    actions = Actions(bus)
    await bus.sync_clock()
    asked = order(bus)
    await actions.submit(asked)
    assert await actions.claim(asked, "7 here executor") == "claimed"
    assert unreplicated._value.get() == before + 2
    assert caplog.text.count("a fail-over now would undo it") == 1
    replica.thaw()

    async def keeps_up_again() -> bool:
        await actions.claim(asked, "7 here executor")
        return "is back after" in caplog.text

    await eventually(keeps_up_again)


# The whole


async def test_edges_and_hosts_go_on_after_a_fail_over(servers: Watched, bus: Bus) -> None:
    async with running_edge(servers.url) as edge, fake_host(bus) as host, edge.client("hosts", "metrics") as client:
        await knows(client, "web-1")
        await host.publish_metrics(1.0)
        await client.until(lambda message: message.type == "metrics" and message.data.cpu.percent == 1.0)
        await servers.replica()
        (await servers.primary()).kill()
        await client.until(lambda message: message.type == "hosts" and message.hosts[0].status == "stalled", 30)
        await client.until(lambda message: message.type == "hosts" and message.hosts[0].status == "live", 60)
        await eventually(lambda: bus.available, 30)
        await host.publish_metrics(2.0)
        await client.until(lambda message: message.type == "metrics" and message.data.cpu.percent == 2.0, 30)


async def test_the_doctor_finds_the_primary_and_its_replica(servers: Watched) -> None:
    settings = DoctorSettings.load({"redis_url": servers.url}, {})
    found = [finding async for finding in check_redis(settings, "web-1")]
    assert "1 replica to take its place" in {finding.text for finding in found}
    assert exit_code(found) == 0


async def test_a_fail_over_is_followed_although_the_old_primary_does_not_hear_of_it(servers: Watched, bus: Bus) -> None:
    async with running_edge(servers.url) as edge, fake_host(bus) as host, edge.client("hosts", "metrics") as client:
        await knows(client, "web-1")
        await host.publish_metrics(1.0)
        await client.until(lambda message: message.type == "metrics" and message.data.cpu.percent == 1.0)
        await (await servers.primary()).redis.execute_command("ACL", "SETUSER", "default", "-replicaof", "-slaveof")
        primary = await servers.fail_over()

        async def is_used() -> bool:
            names = [one["name"] for one in await primary.redis.client_list()]
            return names.count("fleetcast") >= 4  # commands and subscriptions, of the edge and of the host

        await eventually(is_used, 30)
        await host.publish_metrics(2.0)
        await client.until(lambda message: message.type == "metrics" and message.data.cpu.percent == 2.0)


async def test_all_servers_and_sentinels_are_let_alone_by_executors(servers: Watched) -> None:
    found = await BusWhereabouts(servers.url).endpoints()
    ports = {node.port for node in (*servers.servers, *servers.sentinels)}
    assert {endpoint.port for endpoint in found} == ports
    assert all(endpoint.is_local for endpoint in found)
