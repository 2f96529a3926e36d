"""A real collector that nobody watches, and what changes when somebody does."""

from collections.abc import AsyncIterator

import httpx
import pytest

from common.bus import Bus
from common.protocol import MetricsMessage
from common.settings import MetricsCollectorSettings
from services.collector.metrics import run_metrics_collector
from services.embedded import EmbeddedServer
from tests.edges import RunningEdge, knows, running_edge
from tests.services.collector_support import HOST, LastState, running
from tests.support import eventually

SELDOM_S = 3600.0


@pytest.fixture
async def edge(valkey: EmbeddedServer, bus: Bus) -> AsyncIterator[RunningEdge]:
    """With a host that is sampled once an hour while nobody watches it, and has been sampled just now."""
    settings = MetricsCollectorSettings(redis_url=valkey.url, host_id=HOST, interval=0.2, idle_interval=SELDOM_S)
    async with running(run_metrics_collector(settings)), running_edge(valkey.url) as edge:
        await eventually(LastState(bus, "metrics", MetricsMessage).that(lambda message: True))
        yield edge


async def test_the_first_watcher_gets_a_fresh_sample_at_once_and_then_one_after_the_other(edge: RunningEdge) -> None:
    async with edge.client("hosts") as client:
        await knows(client, HOST)
        await client.send({"type": "subscribe", "channels": ["metrics"]})
        first = await client.get("metrics")
        assert first.seq <= 2, "the stored one, or the fresh one"
        for number in range(1, 5):
            assert (await client.get("metrics")).seq == first.seq + number


async def test_processes_are_sampled_for_those_who_watch_them_and_for_nobody_else(edge: RunningEdge, bus: Bus) -> None:
    assert await bus.last_states([(HOST, "processes")]) == [None]
    async with edge.client(f"processes:{HOST}") as client:
        found = (await client.get("processes")).data
        assert 0 < len(found.by_cpu) <= 10
        assert 0 < len(found.by_memory) <= 10
        assert [one.memory_bytes for one in found.by_memory] == sorted(
            (one.memory_bytes for one in found.by_memory), reverse=True
        )


async def test_who_asks_over_http_for_processes_gets_a_sample_made_for_it(edge: RunningEdge) -> None:
    async with edge.client("hosts") as client, httpx.AsyncClient() as http:
        await knows(client, HOST)
        answer = await http.get(f"{edge.http}/api/hosts/{HOST}/processes", timeout=20)
        assert answer.status_code == 200
        assert answer.json()["data"]["byMemory"]
