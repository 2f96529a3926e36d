"""The same on Redis 8 as on Valkey: scripts, sharded pub/sub, streams."""

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from common.actions import Actions, Outcome
from common.bus import Bus
from common.keys import Keys
from common.models import ActionOrder
from tests.edges import fake_host, host_worker, running_edge
from tests.samples import ID_A, container

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def redis_url(docker_engine: None) -> Iterator[str]:
    server = DockerContainer("redis:8").with_exposed_ports(6379)
    with server.waiting_for(LogMessageWaitStrategy("Ready to accept connections")) as running:
        yield f"redis://{running.get_container_host_ip()}:{running.get_exposed_port(6379)}"


@pytest.fixture
async def bus(redis_url: str) -> object:
    bus = Bus(redis_url, Keys("redis8"))
    yield bus
    with bus.reaching() as redis:
        await redis.flushall()
    await bus.close()


async def test_states_and_the_roster_reach_a_client(redis_url: str, bus: Bus) -> None:
    async with running_edge(redis_url, namespace="redis8") as edge, fake_host(bus) as host:
        await host.publish_metrics(7.0)
        async with edge.client("hosts", "metrics") as client:
            await client.until(lambda m: m.type == "hosts" and m.hosts and m.hosts[0].status == "live")
            await client.until(lambda m: m.type == "metrics" and m.data.cpu.percent == 7.0)
            with bus.reaching() as redis:
                await redis.client_kill_filter(_type="pubsub")
            await host.publish_metrics(8.0)
            await client.until(lambda m: m.type == "metrics" and m.data.cpu.percent == 8.0)


async def test_an_action_is_accepted_once_claimed_once_and_settled_once(redis_url: str, bus: Bus) -> None:
    async with running_edge(redis_url, namespace="redis8") as edge, fake_host(bus) as host:
        await host.publish_containers(container("web", ID_A))
        async with edge.client("hosts") as client:
            await client.until(lambda m: m.type == "hosts" and m.hosts)
            ask = {"type": "container-action", "requestId": "r-1", "containerId": "web", "action": "stop"}
            await client.send(ask)
            assert (await client.get("container-ack")).status == "accepted"

            actions = Actions(bus)
            async with host_worker(bus, "web-1", "executor") as tenure:
                with bus.reaching() as redis:
                    await redis.xgroup_create(bus.keys.actions("web-1"), "executor", "0", mkstream=True)
                    [[_, [[entry_id, fields]]]] = await redis.xreadgroup(
                        "executor", "executor", {bus.keys.actions("web-1"): ">"}
                    )
                order = ActionOrder.model_validate_json(fields[b"order"])
                assert await actions.claim(order, tenure.token) == "claimed"
                assert await actions.claim(order, "somebody else") == "taken"
                assert (await client.get("container-ack")).status == "running"
                assert await actions.settle(order, entry_id.decode(), tenure.token, Outcome("succeeded", duration_ms=5))
            done = await client.get("container-ack")
            assert (done.status, done.duration_ms) == ("succeeded", 5)
            with bus.reaching() as redis:
                assert await redis.xlen(bus.keys.actions("web-1")) == 0
                assert await redis.xlen(bus.keys.audit("web-1")) == 1
