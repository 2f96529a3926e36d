"""An edge and a host with two containers, for tests that want nothing else of them."""

from collections.abc import AsyncIterator

import pytest

from common.bus import Bus
from services.embedded import EmbeddedServer
from tests.edges import FakeHost, RunningEdge, fake_host, running_edge
from tests.samples import ID_A, ID_B, container


@pytest.fixture
async def host(bus: Bus) -> AsyncIterator[FakeHost]:
    async with fake_host(bus) as fake:
        await fake.publish_containers(container("web", ID_A), container("db", ID_B))
        yield fake


@pytest.fixture
async def edge(valkey: EmbeddedServer, host: FakeHost) -> AsyncIterator[RunningEdge]:
    """Started after the host, so that it knows it from the beginning."""
    async with running_edge(valkey.url) as running:
        yield running
