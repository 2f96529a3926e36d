"""One Valkey and one edge for all tests here, on each of the event loops that an edge may run on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
import pytest_asyncio
import uvloop

from common.bus import Bus
from common.keys import Keys
from services.embedded import EmbeddedServer
from tests.edges import RunningEdge, running_edge
from tests.wire.fleet import Fleet


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Their transports differ in when they write, pause and tell of an end; an edge takes uvloop where that is."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(tmp_path_factory.mktemp("wire") / "valkey-state") as server:
        yield server


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def fleet(valkey: EmbeddedServer) -> AsyncIterator[Fleet]:
    bus = Bus(valkey.url, Keys())
    yield Fleet(bus)
    await bus.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def edge(valkey: EmbeddedServer) -> AsyncIterator[RunningEdge]:
    async with running_edge(valkey.url, max_handshakes_per_sec=10_000) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_stack_traces(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a client sends, it is no error of the edge."""
    yield
    logged = [*caplog.get_records("setup"), *caplog.get_records("call")]
    assert [record for record in logged if record.levelname in {"ERROR", "CRITICAL"} or record.exc_info] == []
