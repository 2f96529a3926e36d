"""How an edge goes: whoever is connected is told in time, acks under way are delivered, nobody new is let in."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from common.actions import Actions, Outcome, order_of
from common.bus import Bus
from common.models import ActionKey
from services.edge.drain import drain
from services.embedded import EmbeddedServer
from services.processes import end, spawn
from tests.edges import FakeHost, RunningEdge, Socket, closing, fake_host, running_edge
from tests.samples import ID_A, container
from tests.support import PATIENCE_S, eventually, free_ports


async def test_clients_are_told_to_move_in_batches_and_when_to_come_back(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url) as edge, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(edge.client()) for _ in range(30)]
        core = edge.server.edge
        left: list[int] = []
        going = asyncio.create_task(drain(core, 20))
        while not going.done():
            if len(core.members) not in left:
                left.append(len(core.members))
            await asyncio.sleep(0)
        assert left[:1] + left[-1:] == [30, 5]
        assert all(before - after == 5 for before, after in itertools.pairwise(left))
        for client in clients:
            code, reason = await closing(client.connection)
            assert code == 1012
            assert 0 <= json.loads(reason)["retryAfterMs"] < 1000


async def begin_an_action(client: Socket) -> None:
    """One that nobody will do by itself."""
    await client.until(lambda m: m.type == "hosts" and m.hosts)
    order = {"requestId": "r-1", "containerId": "web", "action": "restart"}
    await client.send({"type": "container-action", **order})
    await client.until(lambda m: m.type == "container-ack" and m.status == "accepted")


@pytest.fixture
async def host(bus: Bus) -> AsyncIterator[FakeHost]:
    async with fake_host(bus) as fake:
        await fake.publish_containers(container("web", ID_A))
        yield fake


async def test_who_waits_for_an_ack_is_told_last_and_has_it_by_then(
    valkey: EmbeddedServer, bus: Bus, host: FakeHost
) -> None:
    async with running_edge(valkey.url) as edge, edge.client("hosts") as client, edge.client() as other:
        await begin_an_action(client)
        going = asyncio.create_task(drain(edge.server.edge, 60))
        assert (await closing(other.connection))[0] == 1012
        actions = Actions(bus)
        record = await actions.read(ActionKey("web-1", "r-1"))
        assert record is not None
        await actions.settle(order_of(record), "0-0", "", Outcome("succeeded"))
        ack = await client.until(lambda m: m.type == "container-ack")
        assert ack.status == "succeeded"
        assert (await closing(client.connection))[0] == 1012
        await going


async def test_the_drain_does_not_wait_for_an_ack_for_longer_than_it_may(
    valkey: EmbeddedServer, host: FakeHost
) -> None:
    async with running_edge(valkey.url) as edge, edge.client("hosts") as client:
        await begin_an_action(client)
        await drain(edge.server.edge, 0.3)
        assert (await closing(client.connection))[0] == 1012


async def test_a_stream_of_events_is_told_when_to_come_back(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url) as edge, httpx.AsyncClient(base_url=edge.http) as http:
        async with http.stream("GET", "/api/events?channels=hosts") as answer:
            lines = answer.aiter_lines()
            while "connected" not in await anext(lines):
                pass
            await drain(edge.server.edge, 1)
            retries = [line async for line in lines if line.startswith("retry: ")]
            assert len(retries) == 1
            assert 0 <= int(retries[0].removeprefix("retry: ")) < 1000


# By signal, in a process of its own


@asynccontextmanager
async def edge_process(redis_url: str, **variables: str) -> AsyncIterator[tuple[Process, RunningEdge]]:
    port = free_ports()
    argv = (sys.executable, "-m", "services.cli", "edge", "--port", str(port), "--redis", redis_url)
    process = await spawn(argv, env={**os.environ, **variables})
    edge = RunningEdge(None, port)  # type: ignore[arg-type]
    try:
        async with httpx.AsyncClient(base_url=edge.http) as http:

            async def is_ready() -> bool:
                try:
                    return (await http.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(is_ready, what="the edge to be ready")
        yield process, edge
    finally:
        await end(process, 10)


async def test_a_first_signal_drains_and_lets_nobody_new_in_and_a_second_one_ends(
    valkey: EmbeddedServer, host: FakeHost
) -> None:
    async with edge_process(valkey.url, FLEETCAST_DRAIN_SEC="60") as (process, edge):
        async with edge.client("hosts") as client, httpx.AsyncClient(base_url=edge.http) as http:
            await begin_an_action(client)
            os.kill(process.pid, signal.SIGTERM)

            async def is_draining() -> bool:
                return (await http.get("/readyz")).status_code == 503

            await eventually(is_draining)
            with pytest.raises(InvalidStatus) as refused:
                async with connect(edge.ws):
                    pass
            assert refused.value.response.status_code == 503
            assert (await http.get("/api/events?channels=hosts")).status_code == 503
            await client.ping()
            os.kill(process.pid, signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == -signal.SIGTERM


async def test_after_the_last_client_has_gone_the_edge_ends(valkey: EmbeddedServer) -> None:
    async with (
        edge_process(valkey.url, FLEETCAST_DRAIN_SEC="1") as (process, edge),
        contextlib.AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(edge.client()) for _ in range(20)]
        os.kill(process.pid, signal.SIGTERM)
        assert {(await closing(client.connection))[0] for client in clients} == {1012}
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == -signal.SIGTERM
