"""Actions at an edge: what is meant, who is told, and what happens where no executor is."""

from typing import Any

import pytest

from common.bus import Bus
from services.embedded import EmbeddedServer
from tests.edges import FakeHost, RunningEdge, Socket, fake_host, knows
from tests.samples import ID_A
from tests.support import eventually


async def ask(
    client: Socket, request_id: str, container_id: str = "web", action: str = "restart", **fields: Any
) -> None:
    await client.send(
        {"type": "container-action", "requestId": request_id, "containerId": container_id, "action": action, **fields}
    )


async def answer(client: Socket, request_id: str) -> Any:
    """The next ack or error of this request."""
    return await client.until(lambda m: m.type in {"container-ack", "error"} and m.request_id == request_id)


async def test_a_name_becomes_the_full_id(edge: RunningEdge, host: FakeHost) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        await ask(client, "r-1", "web")
        ack = await answer(client, "r-1")
        assert (ack.status, ack.container_id, ack.host, ack.actor) == ("accepted", ID_A, "web-1", "local")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"container_id": "ghost"}, "unknown-container"),
        ({"host": "ghost"}, "unknown-host"),
    ],
)
async def test_what_is_not_there_is_refused(edge: RunningEdge, host: FakeHost, fields: Any, code: str) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        await ask(client, "r-1", **fields)
        error = await answer(client, "r-1")
        assert (error.type, error.code, error.request_id) == ("error", code, "r-1")


async def test_the_host_must_be_named_where_there_are_several(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    async with fake_host(bus, "web-2"), edge.client("hosts") as client:
        await knows(client, "web-1", "web-2")
        await ask(client, "r-1")
        assert (await answer(client, "r-1")).code == "unknown-host"
        await ask(client, "r-1", host="web-1")
        assert (await answer(client, "r-1")).status == "accepted"


async def test_an_action_that_no_executor_takes_expires(edge: RunningEdge, host: FakeHost) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        await ask(client, "r-1", expiresInSec=1)
        assert (await answer(client, "r-1")).status == "accepted"
        expired = await answer(client, "r-1")
        assert (expired.status, "executor" in expired.error) == ("expired", True)
        await ask(client, "r-1", expiresInSec=60)
        assert (await answer(client, "r-1")).status == "expired", "once expired, always expired"


async def test_an_outcome_is_told_even_if_its_ack_is_lost(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        await ask(client, "r-1")
        await answer(client, "r-1")
        with bus.reaching() as redis:
            await redis.hset(bus.keys.action("web-1", "r-1"), mapping={"status": "succeeded", "durationMs": "12"})
        done = await answer(client, "r-1")
        assert (done.status, done.duration_ms) == ("succeeded", 12)


async def test_rubbish_on_the_acks_channel_is_skipped(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        await ask(client, "r-1", expiresInSec=1)
        await answer(client, "r-1")
        for payload in (b"rubbish", b"{}", b'{"type":"container-ack"}', b"\xff"):
            with bus.reaching() as redis:
                assert await redis.spublish(bus.keys.acks("web-1"), payload) == 1
        assert (await answer(client, "r-1")).status == "expired"


async def test_a_record_that_is_rubbish_is_an_error_and_no_crash(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        with bus.reaching() as redis:
            await redis.hset(bus.keys.action("web-1", "r-1"), mapping={"status": "dancing"})
            await redis.set(bus.keys.action("web-1", "r-2"), "no hash")
        for request_id in ("r-1", "r-2"):
            await ask(client, request_id)
            assert (await answer(client, request_id)).code == "unavailable"
        await ask(client, "r-3")
        assert (await answer(client, "r-3")).status == "accepted"


async def test_an_action_while_redis_is_away_is_told_to_be_unknown_and_can_be_sent_again(
    edge: RunningEdge, host: FakeHost, valkey: EmbeddedServer
) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        await valkey.stop()
        await ask(client, "r-1")
        error = await answer(client, "r-1")
        assert (error.type, error.code) == ("error", "unavailable")
        await valkey.start()

        async def accepted() -> bool:
            await ask(client, "r-1")
            return bool((await answer(client, "r-1")).type == "container-ack")

        await eventually(accepted)


async def test_a_client_that_left_is_forgotten_and_its_action_is_not(
    edge: RunningEdge, host: FakeHost, bus: Bus
) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        await ask(client, "r-1", expiresInSec=60)
        await answer(client, "r-1")
    async with edge.client("hosts") as again:
        await knows(again, "web-1")
        await ask(again, "r-1")
        assert (await answer(again, "r-1")).status == "accepted"
        with bus.reaching() as redis:
            assert await redis.xlen(bus.keys.actions("web-1")) == 1
