"""Actions over HTTP: asked for, asked about, refused."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from common.actions import Actions, Outcome, order_of
from common.bus import Bus
from common.http_models import ActionRequest
from common.models import ActionKey
from common.protocol import ContainerAction
from common.tokens import make_token
from services.edge import action_routes
from services.embedded import EmbeddedServer
from tests.edges import FakeHost, RunningEdge, fake_host, running_edge
from tests.samples import ID_A, ID_B, container
from tests.support import PATIENCE_S, eventually

SECRET = "a secret of at least thirty-two bytes"
URL = "/api/hosts/web-1/containers/web/actions"
JSON = {"Content-Type": "application/json"}
TOKEN = "17 machine instance 1-0"


@pytest.fixture
async def edge(valkey: EmbeddedServer) -> AsyncIterator[RunningEdge]:
    async with running_edge(valkey.url) as running:
        yield running


@pytest.fixture
async def host(bus: Bus) -> AsyncIterator[FakeHost]:
    async with fake_host(bus) as fake:
        await fake.publish_containers(container("web", ID_A), container("db", ID_B), container("dc", "b3" * 32))
        yield fake


@pytest.fixture
async def http(edge: RunningEdge, host: FakeHost) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an edge that knows the host."""
    async with httpx.AsyncClient(base_url=edge.http) as client:
        await eventually(lambda: knows_host(client))
        yield client


async def knows_host(http: httpx.AsyncClient) -> bool:
    answer = await http.get("/api/hosts")
    return answer.status_code == 200 and bool(answer.json()["hosts"])


@pytest.fixture
def actions(bus: Bus) -> Actions:
    """What an executor does: claim and settle."""
    return Actions(bus)


async def claimed(actions: Actions, request_id: str) -> None:
    record = await actions.read(ActionKey("web-1", request_id))
    assert record is not None
    assert await actions.claim(order_of(record), TOKEN, executor="machine x") == "claimed"


async def settled(actions: Actions, request_id: str, outcome: Outcome) -> None:
    record = await actions.read(ActionKey("web-1", request_id))
    assert record is not None
    assert await actions.settle(order_of(record), "0-0", TOKEN, outcome)


# Asking


async def test_an_action_is_accepted_and_its_location_tells_how_it_stands(
    http: httpx.AsyncClient, actions: Actions, edge: RunningEdge
) -> None:
    asked = await http.post(URL, json={"action": "restart", "requestId": "r-1", "timeoutSec": 3, "expiresInSec": 60})
    assert asked.status_code == 202
    record = asked.json()
    assert record["acceptedAt"] + 59_000 < record["deadline"] <= record["acceptedAt"] + 60_000
    assert record == {
        "requestId": "r-1",
        "host": "web-1",
        "containerId": ID_A,
        "name": "web",
        "action": "restart",
        "actor": "local",
        "edgeId": edge.server.edge.edge_id,
        "deadline": record["deadline"],
        "timeoutSec": 3,
        "status": "accepted",
        "at": record["acceptedAt"],
        "acceptedAt": record["acceptedAt"],
    }
    assert asked.headers["location"] == "/api/actions/web-1/r-1"
    assert (await http.get(asked.headers["location"])).json() == record
    await claimed(actions, "r-1")
    running = (await http.get(asked.headers["location"])).json()
    assert (running["status"], running["executor"]) == ("running", "machine x")
    await settled(actions, "r-1", Outcome("succeeded", duration_ms=12))
    done = await http.get(asked.headers["location"])
    assert (done.status_code, done.json()["status"], done.json()["durationMs"]) == (200, "succeeded", 12)
    assert done.headers["cache-control"] == "no-store"


async def test_sent_again_it_gets_the_same_action_as_it_stands_now(http: httpx.AsyncClient, actions: Actions) -> None:
    first = await http.post(URL, json={"action": "restart", "requestId": "r-1"})
    again = await http.post(URL, json={"action": "remove", "requestId": "r-1"})
    assert (again.status_code, again.json()) == (202, first.json())
    await claimed(actions, "r-1")
    running = await http.post(URL, json={"action": "restart", "requestId": "r-1"})
    assert (running.status_code, running.json()["status"]) == (202, "running")
    await settled(actions, "r-1", Outcome("failed", error="no such container"))
    done = await http.post(URL, json={"action": "restart", "requestId": "r-1"})
    assert (done.status_code, done.json()["status"], done.json()["error"]) == (200, "failed", "no such container")
    assert done.headers["location"] == first.headers["location"]


async def test_without_a_request_id_the_edge_makes_one_each_time(http: httpx.AsyncClient) -> None:
    first, second = [(await http.post(URL, json={"action": "stop"})).json()["requestId"] for _ in range(2)]
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


async def test_every_request_id_is_found_where_the_location_says(http: httpx.AsyncClient) -> None:
    printable = "".join(map(chr, range(ord("!"), ord("~") + 1)))
    for request_id in ("a/b", "/", "a//b/", "a/../b", "a?b=c#d", "100%", "%2F", "a&b;c=d", "!" * 128, printable):
        asked = await http.post(URL, json={"action": "stop", "requestId": request_id})
        assert asked.status_code == 202
        found = await http.get(asked.headers["location"])
        assert (found.status_code, found.json()) == (200, asked.json()), request_id


async def test_the_container_is_named_by_name_id_or_prefix(http: httpx.AsyncClient) -> None:
    for reference in ("db", ID_B, ID_B[:3]):
        asked = await http.post(f"/api/hosts/web-1/containers/{reference}/actions", json={"action": "stop"})
        assert (asked.status_code, asked.json()["containerId"], asked.json()["name"]) == (202, ID_B, "db")


async def test_what_the_user_saw_stands_in_the_order(http: httpx.AsyncClient, bus: Bus) -> None:
    expect = {"id": ID_A, "state": "running", "startedAt": 5}
    assert (await http.post(URL, json={"action": "stop", "expect": expect})).status_code == 202
    with bus.reaching() as redis:
        entries: Any = await redis.xrange(bus.keys.actions("web-1"))
    [(_, fields)] = entries
    assert json.loads(fields[b"order"])["expect"] == expect


async def test_who_watches_over_a_socket_and_asks_over_http_hears_nothing_twice(
    http: httpx.AsyncClient, edge: RunningEdge, actions: Actions
) -> None:
    async with edge.client("hosts") as client:
        await client.send(
            {"type": "container-action", "requestId": "r-1", "host": "web-1", "containerId": "web", "action": "stop"}
        )
        assert (await client.get("container-ack")).status == "accepted"
        assert (await http.post(URL, json={"action": "stop", "requestId": "r-1"})).status_code == 202
        await claimed(actions, "r-1")
        await settled(actions, "r-1", Outcome("succeeded"))
        assert (await client.get("container-ack")).status == "running"
        assert (await client.get("container-ack")).status == "succeeded"


# Refusals


async def test_what_is_not_there_is_refused(http: httpx.AsyncClient) -> None:
    for path, status, code in (
        ("web-1/containers/ghost", 404, "unknown-container"),
        ("web-1/containers/b", 409, "ambiguous-container"),
        ("ghost/containers/web", 404, "unknown-host"),
    ):
        refused = await http.post(f"/api/hosts/{path}/actions", json={"action": "stop", "requestId": "r-1"})
        assert (refused.status_code, refused.json()["code"]) == (status, code)
        assert refused.json()["requestId"] == "r-1"


async def test_what_can_be_no_host_container_or_action_is_refused(http: httpx.AsyncClient) -> None:
    for path in ("a:b/containers/web", "web-1/containers/a:b"):
        refused = await http.post(f"/api/hosts/{path}/actions", json={"action": "stop"})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-message")
    for path in ("a:b/r-1", "web-1/", "web-1/a%20b", "web-1/r-1?target=100"):
        refused = await http.get(f"/api/actions/{path}")
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-message")


WRONG_BODIES = {
    b"": "body",
    b"{": "body",
    b"\xff": "body",
    b"[]": "body",
    b"{}": "body.action",
    b'{"action": "explode"}': "body.action",
    b'{"action": "stop", "requestId": ""}': "body.requestId",
    b'{"action": "stop", "requestId": "a b"}': "body.requestId",
    b'{"action": "stop", "requestId": null}': "body.requestId",
    b'{"action": "stop", "timeoutSec": -1}': "body.timeoutSec",
    b'{"action": "stop", "timeoutSec": "3"}': "body.timeoutSec",
    b'{"action": "stop", "expiresInSec": 0}': "body.expiresInSec",
    b'{"action": "stop", "expect": {"state": "dancing"}}': "body.expect.state",
    b'{"action": "stop", "host": "web-2"}': "body.host",
    b'{"action": "stop", "actor": "root"}': "body.actor",
}


async def test_a_body_that_is_wrong_is_refused_by_its_field(http: httpx.AsyncClient, bus: Bus) -> None:
    for body, names in WRONG_BODIES.items():
        refused = await http.post(URL, content=body, headers=JSON)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-message")
        assert refused.json()["message"].startswith(f"{names}: "), body
    assert await submitted(bus) == 0


async def test_a_body_that_does_not_say_it_is_json_is_refused(http: httpx.AsyncClient, bus: Bus) -> None:
    body = b'{"action": "stop"}'
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"):
        refused = await http.post(URL, content=body, headers={"Content-Type": kind} if kind else {})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-message")
        assert "application/json" in refused.json()["message"]
    assert await submitted(bus) == 0
    said = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert (await http.post(URL, content=body, headers=said)).status_code == 202


def test_the_body_takes_what_a_message_takes() -> None:
    body = ActionRequest.model_json_schema()["properties"]
    message = ContainerAction.model_json_schema()["properties"]

    def constraints(field: Any) -> Any:
        return {name: value for name, value in field.items() if name != "description"}

    assert set(body) == {"requestId", "action", "timeoutSec", "expiresInSec", "expect"}
    for name, field in body.items():
        assert constraints(field) == constraints(message[name]), name


async def submitted(bus: Bus) -> int:
    with bus.reaching() as redis:
        return int(await redis.xlen(bus.keys.actions("web-1")))


# Bounds


async def test_a_body_that_is_too_large_is_refused_with_or_without_its_length(
    http: httpx.AsyncClient, edge: RunningEdge
) -> None:
    limit = edge.server.edge.settings.max_message_bytes
    fits = await http.post(URL, content=b'{"action": "stop"}'.ljust(limit), headers=JSON)
    assert fits.status_code == 202

    async def chunked() -> AsyncIterator[bytes]:
        for _ in range(0, limit + 1000, 1000):
            yield b" " * 1000

    for content in (b" " * (limit + 1), chunked()):
        refused = await http.post(URL, content=content, headers=JSON)
        assert (refused.status_code, refused.json()["code"]) == (413, "too-large")


@pytest.mark.parametrize("framing", ["Content-Length: 10000000000", "Transfer-Encoding: chunked"])
async def test_a_body_without_end_is_refused_and_not_read_on(
    http: httpx.AsyncClient, edge: RunningEdge, framing: str
) -> None:
    reader, writer = await begun(edge, framing)

    async def feed() -> None:
        chunk = b" " * 4096 if "Length" in framing else b"1000\r\n" + b" " * 4096 + b"\r\n"
        while True:
            writer.write(chunk)
            await writer.drain()

    feeding = asyncio.create_task(feed())
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert b" 413 " in await reader.readline()
            await asyncio.wait([feeding])  # the edge takes no more
    finally:
        feeding.cancel()
        writer.close()
    assert isinstance(feeding.exception(), ConnectionError)


async def test_a_client_that_goes_halfway_through_its_body_is_no_fault_of_the_edge(
    http: httpx.AsyncClient, edge: RunningEdge, caplog: pytest.LogCaptureFixture
) -> None:
    before = await refusals(http, "invalid-message")
    with caplog.at_level(logging.WARNING):
        _, writer = await begun(edge, "Content-Length: 9")
        writer.write(b"{")
        await writer.drain()
        writer.close()

        async def noticed() -> bool:
            return await refusals(http, "invalid-message") == before + 1

        await eventually(noticed)
    assert caplog.records == []


async def test_a_body_that_does_not_come_is_not_waited_for(
    http: httpx.AsyncClient, edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action_routes, "BODY_WITHIN_S", 0.2)
    reader, writer = await begun(edge, "Content-Length: 9")
    async with asyncio.timeout(PATIENCE_S):
        assert b" 422 " in await reader.readline()
        assert b"did not come within 0.2 s" in await reader.readuntil(b"}")
    writer.close()


async def begun(edge: RunningEdge, framing: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request whose body is to come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    head = (f"POST {URL} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", framing, "", "")
    writer.write("\r\n".join(head).encode())
    return reader, writer


async def refusals(http: httpx.AsyncClient, code: str) -> float:
    metrics = (await http.get("/metrics")).text
    found = re.search(rf'^fleetcast_client_errors_total{{code="{code}"}} (\S+)$', metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_actions_beyond_the_rate_are_refused_for_each_user_alone(
    valkey: EmbeddedServer, host: FakeHost, bus: Bus
) -> None:
    def bearer(user: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {make_token(SECRET.encode(), user, 'operator', 60)}"}

    async with running_edge(valkey.url, jwt_secret=SECRET, max_actions_per_sec=0.1) as edge:
        async with httpx.AsyncClient(base_url=edge.http, headers=bearer("ann")) as ann:
            await eventually(lambda: knows_host(ann))
            before = await refusals(ann, "rate-limited")
            answers = [await ann.post(URL, json={"action": "stop"}) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [202, 429, 429]
            assert answers[1].json()["code"] == "rate-limited"
            assert int(answers[1].headers["retry-after"]) > 0
            assert await refusals(ann, "rate-limited") == before + 2
            assert (await ann.post(URL, json={"action": "stop"}, headers=bearer("bob"))).status_code == 202
    assert await submitted(bus) == 2


# Faults


async def test_while_redis_is_away_an_action_is_refused_and_can_be_sent_again(
    http: httpx.AsyncClient, valkey: EmbeddedServer
) -> None:
    await valkey.stop()
    asked = await http.post(URL, json={"action": "stop", "requestId": "r-1"})
    looked = await http.get("/api/actions/web-1/r-1")
    for refused in (asked, looked):
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) > 0
    await valkey.start()

    async def accepted() -> bool:
        return (await http.post(URL, json={"action": "stop", "requestId": "r-1"})).status_code == 202

    await eventually(accepted)


async def test_an_edge_that_is_about_to_go_takes_actions_but_no_new_viewers(
    http: httpx.AsyncClient, edge: RunningEdge
) -> None:
    edge.server.edge.draining = True
    assert (await http.get("/api/events?channels=hosts")).status_code == 503
    assert (await http.post(URL, json={"action": "stop"})).status_code == 202


async def test_a_record_that_cannot_be_read_is_said(http: httpx.AsyncClient, bus: Bus) -> None:
    with bus.reaching() as redis:
        await redis.set(bus.keys.action("web-1", "r-1"), "no record")
    for refused in (
        await http.post(URL, json={"action": "stop", "requestId": "r-1"}),
        await http.get("/api/actions/web-1/r-1"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")


# Looking


async def test_an_action_that_nobody_asked_for_is_unknown(http: httpx.AsyncClient) -> None:
    for url in ("/api/actions/web-1/ghost", "/api/actions/elsewhere/ghost", "/api/actions/web-1/ghost?target=1"):
        unknown = await http.get(url)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown-action")
        assert unknown.json()["requestId"] == "ghost"


async def test_one_of_several_targets_is_asked_for_by_its_index(http: httpx.AsyncClient, edge: RunningEdge) -> None:
    async with edge.client("hosts") as client:
        await client.until(lambda m: m.type == "hosts" and m.hosts)
        targets = [{"host": "web-1", "containerId": name} for name in ("web", "db")]
        await client.send({"type": "container-action", "requestId": "r-1", "targets": targets, "action": "stop"})
        for _ in targets:
            await client.get("container-ack")
    assert (await http.get("/api/actions/web-1/r-1")).status_code == 404
    second = (await http.get("/api/actions/web-1/r-1?target=1")).json()
    assert (second["name"], second["target"]) == ("db", 1)


async def test_an_action_that_no_executor_took_has_expired_when_somebody_asks(http: httpx.AsyncClient) -> None:
    asked = await http.post(URL, json={"action": "stop", "requestId": "r-1", "expiresInSec": 1})

    async def expired() -> bool:
        return bool((await http.get(asked.headers["location"])).json()["status"] == "expired")

    await eventually(expired)
    again = await http.post(URL, json={"action": "stop", "requestId": "r-1"})
    assert (again.status_code, again.json()["status"]) == (200, "expired")


async def test_who_is_signed_in_for_some_hosts_reaches_no_others(
    valkey: EmbeddedServer, host: FakeHost, bus: Bus
) -> None:
    async with fake_host(bus, "db-1") as other, running_edge(valkey.url, jwt_secret=SECRET) as edge:
        await other.publish_containers(container("postgres", ID_A))
        token = make_token(SECRET.encode(), "ann", "operator", 60, hosts=["web-*"])
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=edge.http, headers=headers) as http:
            await eventually(lambda: knows_host(http))
            asked = await http.post(URL, json={"action": "stop", "requestId": "r-1"})
            assert (asked.status_code, asked.json()["actor"]) == (202, "ann")
            for refused in (
                await http.post("/api/hosts/db-1/containers/postgres/actions", json={"action": "stop"}),
                await http.get("/api/actions/db-1/r-1"),
            ):
                assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
