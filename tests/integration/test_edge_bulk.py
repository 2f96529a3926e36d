"""Several containers in one message, several edges, and the limits of both."""

import asyncio
from collections import defaultdict
from typing import Any

from common.actions import ORDER_FIELD, Actions, Outcome, parse_order
from common.bus import Bus
from common.models import ActionOrder
from common.settings import ExecutorSettings
from common.signing import peek, read_verifier
from services.embedded import EmbeddedServer
from tests.edges import FakeHost, RunningEdge, Socket, knows, running_edge
from tests.samples import ID_A, ID_B, container
from tests.services.executor_driver import key_pair, private_line
from tests.support import eventually


async def ask(client: Socket, request_id: str, targets: list[Any], **fields: Any) -> None:
    await client.send(
        {"type": "container-action", "requestId": request_id, "action": "restart", "targets": targets, **fields}
    )


async def answers(client: Socket, request_id: str, count: int) -> dict[int | None, list[str]]:
    """Target → what was said of it, status or code, once `count` acks and errors have come."""
    said: dict[int | None, list[str]] = defaultdict(list)
    for _ in range(count):
        m = await client.until(lambda m: m.type in {"container-ack", "error"} and m.request_id == request_id)
        said[m.target].append(m.status if m.type == "container-ack" else m.code)
    return said


async def orders(bus: Bus, host: str = "web-1") -> dict[str, ActionOrder]:
    """What stands in a host's stream, by entry."""
    with bus.reaching() as redis:
        entries = await redis.xrange(bus.keys.actions(host))
    return {entry.decode(): parse_order(peek(fields[ORDER_FIELD.encode()]) or b"") for entry, fields in entries}


async def test_each_target_is_an_action_of_its_own(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        targets = [
            {"host": "web-1", "containerId": "web"},
            {"host": "web-1", "containerId": "ghost"},
            {"host": "nowhere", "containerId": "web"},
            {"containerId": "db", "expect": {"state": "running"}},
        ]
        await ask(client, "r", targets, expiresInSec=60)
        assert await answers(client, "r", 4) == {
            0: ["accepted"],
            1: ["unknown-container"],
            2: ["unknown-host"],
            3: ["accepted"],
        }
        found = {order.target: (entry, order) for entry, order in (await orders(bus)).items()}
        assert found.keys() == {0, 3}
        assert found[3][1].expect is not None
        assert (found[0][1].container_id, found[3][1].container_id) == (ID_A, ID_B)

        actions = Actions(bus)
        entry, order = found[3]
        await actions.claim(order, "token")
        await actions.settle(order, entry, "token", Outcome("failed", "no"))
        assert await answers(client, "r", 2) == {3: ["running", "failed"]}
        await ask(client, "r", targets)  # again: each target's own present state
        assert await answers(client, "r", 4) == {
            0: ["accepted"],
            1: ["unknown-container"],
            2: ["unknown-host"],
            3: ["failed"],
        }
        assert len(await orders(bus)) == 1


async def test_a_target_that_no_executor_takes_expires_by_itself(edge: RunningEdge, host: FakeHost) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        await ask(client, "r", [{"containerId": "web"}, {"containerId": "db"}], expiresInSec=1)
        assert await answers(client, "r", 4) == {0: ["accepted", "expired"], 1: ["accepted", "expired"]}


async def test_a_wrong_message_names_its_field_and_begins_nothing(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"targets": []}, "targets"),
        ({"targets": [{"containerId": "web"}] * 101}, "targets"),
        ({"targets": [{"host": "web-1"}]}, "containerId"),
        ({"targets": [{"containerId": "web"}], "containerId": "web"}, "instead of"),
        ({"targets": [{"containerId": "web"}], "host": "web-1"}, "instead of"),
        ({}, "containerId or targets is required"),
        ({"containerId": "web", "action": "explode"}, "action"),
        ({"containerId": "web", "expiresInSec": 0}, "expiresInSec"),
        ({"containerId": "web", "expiresInSec": 7 * 24 * 3600}, "expiresInSec"),
    ]
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        for fields, word in wrong:
            await client.send({"type": "container-action", "requestId": "r", "action": "stop", **fields})
            error = await client.get("error")
            assert (error.code, error.request_id) == ("invalid-message", "r")
            assert word in error.message
        await client.ping()
    assert await orders(bus) == {}


async def test_a_hundred_targets_are_accepted_at_once(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    ids = [f"{number:064x}" for number in range(100)]
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        await ask(client, "r", [{"containerId": one} for one in ids])
        assert await answers(client, "r", 100) == {number: ["accepted"] for number in range(100)}
    assert {order.container_id for order in (await orders(bus)).values()} == set(ids)


async def test_more_actions_than_allowed_are_refused_whole_and_cost_nothing_else(
    valkey: EmbeddedServer, host: FakeHost, bus: Bus
) -> None:
    async with running_edge(valkey.url, max_actions_per_sec=0.1) as edge, edge.client("hosts") as client:
        await knows(client, "web-1")
        await ask(client, "fits", [{"containerId": "web"}] * 99)
        assert len(await answers(client, "fits", 99)) == 99
        await ask(client, "two", [{"containerId": "web"}] * 2)
        assert await answers(client, "two", 1) == {None: ["rate-limited"]}
        await ask(client, "one", [{"containerId": "web"}])
        assert await answers(client, "one", 1) == {0: ["accepted"]}
        await ask(client, "more", [{"containerId": "web"}])
        assert await answers(client, "more", 1) == {None: ["rate-limited"]}
        await client.ping()
    assert len(await orders(bus)) == 100


async def test_a_container_that_only_the_executor_knows_is_named_by_its_full_id(
    edge: RunningEdge, host: FakeHost, bus: Bus
) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        await ask(client, "r", [{"containerId": "c" * 64}, {"containerId": "c" * 63}])
        assert await answers(client, "r", 2) == {0: ["accepted"], 1: ["unknown-container"]}


# Signatures


async def test_an_edge_with_a_key_signs_what_it_puts_into_the_stream(
    valkey: EmbeddedServer, host: FakeHost, bus: Bus
) -> None:
    signer, verify_key = key_pair()
    async with (
        running_edge(valkey.url, action_signing_key=private_line(signer)) as edge,
        edge.client("hosts") as client,
    ):
        await knows(client, "web-1")
        await ask(client, "r", [{"containerId": "web"}], timeoutSec=3)
        await answers(client, "r", 1)
    with bus.reaching() as redis:
        [(_, fields)] = await redis.xrange(bus.keys.actions("web-1"))
    verifier = read_verifier(ExecutorSettings(action_verify_key=verify_key))
    assert verifier is not None
    order = parse_order(verifier.verify(fields[ORDER_FIELD.encode()]))
    assert (order.request_id, order.target, order.host, order.container_id) == ("r", 0, "web-1", ID_A)
    assert (order.action, order.timeout_sec, order.actor, order.name) == ("restart", 3, "local", "web")
    assert order.deadline > bus.clock.now_ms()


# Another edge


async def test_any_edge_answers_for_an_action_and_tells_the_rest(
    valkey: EmbeddedServer, host: FakeHost, bus: Bus
) -> None:
    actions = Actions(bus)
    async with running_edge(valkey.url, edge_id="b") as second:
        async with running_edge(valkey.url, edge_id="a") as first, first.client("hosts") as client:
            await knows(client, "web-1")
            await ask(client, "r", [{"containerId": "web"}])
            await answers(client, "r", 1)
        # The edge that took it is gone.
        [(entry, order)] = (await orders(bus)).items()
        assert order.edge_id == "a"
        await actions.claim(order, "token")
        async with second.client("hosts") as client:
            await knows(client, "web-1")
            await ask(client, "r", [{"containerId": "web"}])
            assert await answers(client, "r", 1) == {0: ["running"]}
            await actions.settle(order, entry, "token", Outcome("succeeded", duration_ms=7))
            assert await answers(client, "r", 1) == {0: ["succeeded"]}


async def test_two_edges_at_once_make_one_action(valkey: EmbeddedServer, host: FakeHost, bus: Bus) -> None:
    async with (
        running_edge(valkey.url) as first,
        running_edge(valkey.url) as second,
        first.client("hosts") as one,
        second.client("hosts") as other,
    ):
        for client in (one, other):
            await knows(client, "web-1")
        for number in range(20):
            await asyncio.gather(*(ask(client, f"r{number}", [{"containerId": "web"}]) for client in (one, other)))
            for client in (one, other):
                assert await answers(client, f"r{number}", 1) == {0: ["accepted"]}
        assert len(await orders(bus)) == 20


async def test_a_container_of_the_same_name_made_meanwhile_is_not_meant(
    edge: RunningEdge, host: FakeHost, bus: Bus
) -> None:
    async with edge.client("hosts") as client:
        await knows(client, "web-1")
        await ask(client, "r", [{"containerId": "web"}])
        await answers(client, "r", 1)
        await host.publish_containers(container("web", "c3" * 32))
        await ask(client, "r", [{"containerId": "web"}])
        ack = await client.get("container-ack")
        assert ack.container_id == ID_A

        async def resolved() -> bool:
            await ask(client, "later", [{"containerId": "web"}])
            return bool((await client.get("container-ack")).container_id == "c3" * 32)

        await eventually(resolved)
    assert [order.container_id for order in (await orders(bus)).values()] == [ID_A, "c3" * 32]
