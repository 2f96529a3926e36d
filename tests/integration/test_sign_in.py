"""Sign-in on every way into an edge: without, wrong, expired, and what each role may do."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from common.bus import Bus
from common.protocol import ClientMessage, Role
from common.settings import EdgeSettings
from common.tokens import make_token
from services.edge.app import Edge, create_app
from services.edge.gate import SOCKET_PATH
from services.embedded import EmbeddedServer
from tests.edges import FakeHost, RunningEdge, Socket, closing, fake_host, running_edge
from tests.samples import ID_A, container
from tests.support import eventually

SECRET = "a secret of at least thirty-two bytes"
ROLES: tuple[Role, ...] = get_args(Role)

ANYBODY = "anybody"
"""Routes that carry nothing of the fleet."""

ROUTES: dict[str, str | set[Role]] = {
    "GET /": ANYBODY,
    "GET /hosts/{rest:path}": ANYBODY,
    "GET /containers": ANYBODY,
    "GET /timeline": ANYBODY,
    "GET /favicon.svg": ANYBODY,
    "GET /assets/{name}": ANYBODY,
    "GET /healthz": ANYBODY,
    "GET /readyz": ANYBODY,
    "GET /api/schema": ANYBODY,
    "GET /openapi.json": ANYBODY,
    "GET /metrics": {"viewer", "operator", "admin"},
    "GET /api/ws": {"viewer", "operator", "admin"},
    "GET /api/hosts": {"viewer", "operator", "admin"},
    "GET /api/hosts/{host}/history": {"viewer", "operator", "admin"},
    "GET /api/hosts/{host}/events": {"viewer", "operator", "admin"},
    "GET /api/hosts/{host}/{kind}": {"viewer", "operator", "admin"},
    "GET /api/events": {"viewer", "operator", "admin"},
    "GET /api/events/last": {"viewer", "operator", "admin"},
    "POST /api/hosts/{host}/containers/{container}/actions": {"operator", "admin"},
    "GET /api/actions/{host}/{request_id:path}": {"viewer", "operator", "admin"},
    "GET /api/audit": {"admin"},
    "WEBSOCKET /api/ws": {"viewer", "operator", "admin"},
}
"""Who may use each route; a route that is missing here fails the test."""

REQUESTS: dict[str, tuple[str, Any]] = {
    "GET /api/hosts/{host}/history": ("/api/hosts/web-1/history", None),
    "GET /api/hosts/{host}/events": ("/api/hosts/web-1/events", None),
    "GET /api/hosts/{host}/{kind}": ("/api/hosts/web-1/metrics", None),
    "GET /api/events": ("/api/events?channels=hosts", None),
    "POST /api/hosts/{host}/containers/{container}/actions": (
        "/api/hosts/web-1/containers/web/actions",
        {"action": "stop", "requestId": "r-1"},
    ),
    "GET /api/actions/{host}/{request_id:path}": ("/api/actions/web-1/r-1", None),
}
"""Path and body where the route itself is no request. The action that is looked for is the one asked for before."""

MESSAGES: dict[str, tuple[dict[str, Any], set[Role]]] = {
    "subscribe": ({"channels": ["metrics:web-1"]}, {"viewer", "operator", "admin"}),
    "unsubscribe": ({"channels": ["metrics"]}, {"viewer", "operator", "admin"}),
    "ping": ({}, {"viewer", "operator", "admin"}),
    "container-action": (
        {"requestId": "r-1", "host": "web-1", "containerId": "web", "action": "stop"},
        {"operator", "admin"},
    ),
}


def token(role: Role = "operator", ttl_s: float = 60, **options: Any) -> str:
    return make_token(SECRET.encode(), f"a-{role}", role, ttl_s, **options)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def dashboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was built, whether there is one here or not."""
    (tmp_path / "dashboard" / "assets").mkdir(parents=True)
    for name in ("index.html", "favicon.svg", "assets/{name}"):
        (tmp_path / "dashboard" / name).touch()
    monkeypatch.setattr("services.edge.app.STATIC", tmp_path)


@pytest.fixture
async def edge(valkey: EmbeddedServer, dashboard: None) -> AsyncIterator[RunningEdge]:
    async with running_edge(valkey.url, jwt_secret=SECRET, bind="0.0.0.0") as running:
        yield running


@pytest.fixture
async def host(bus: Bus) -> AsyncIterator[FakeHost]:
    async with fake_host(bus) as fake:
        await fake.publish_metrics(1.0)
        await fake.publish_containers(container("web", ID_A))
        yield fake


async def closing_code(edge: RunningEdge, **options: Any) -> int:
    async with connect(edge.ws, **options) as connection:
        code, _ = await closing(connection)
    return code


def routes_of_the_edge() -> set[str]:
    app = create_app(Edge(EdgeSettings()))
    found = {f"WEBSOCKET {SOCKET_PATH}"}
    for route in app.routes:
        assert not isinstance(route, APIWebSocketRoute), "WebSockets are let in by the gate alone"
        if isinstance(route, APIRoute):
            found |= {f"{method} {route.path}" for method in route.methods}
        else:
            found |= {f"GET {getattr(route, 'path', route)}"}
    return found


def test_the_matrix_names_every_route_and_every_message() -> None:
    assert routes_of_the_edge() == set(ROUTES)
    union = get_args(ClientMessage)[0]
    kinds = {get_args(message.model_fields["type"].annotation)[0] for message in get_args(union)}
    assert kinds == set(MESSAGES)


async def test_every_http_route_by_role(edge: RunningEdge, host: FakeHost) -> None:
    async with httpx.AsyncClient(base_url=edge.http) as http:
        await eventually(lambda: knows_host(http))
        for name, allowed in ROUTES.items():
            method, path = name.split(" ")
            if method == "WEBSOCKET":
                continue
            url, body = REQUESTS.get(name, (path, None))
            spoiled = {
                "nobody": {},
                "a wrong token": bearer(make_token(b"another secret of thirty-two bytes!!", "x", "admin", 60)),
                "an expired token": bearer(token("admin", -1)),
                "rubbish": bearer("rubbish"),
                "another scheme": {"Authorization": "Basic b3BzOm9wcw=="},
            }
            for who, headers in spoiled.items():
                expected = 200 if allowed == ANYBODY else 401
                async with http.stream(method, url, json=body, headers=headers) as answer:
                    assert answer.status_code == expected, f"{name} by {who}"
                    if expected == 401:
                        await answer.aread()
                if expected == 401:
                    assert answer.json()["code"] == "unauthenticated"
                    assert answer.headers["www-authenticate"] == "Bearer"
            for role in ROLES:
                done = 202 if method == "POST" else 200
                expected = done if role in allowed or allowed == ANYBODY else 403
                async with http.stream(method, url, json=body, headers=bearer(token(role))) as answer:
                    assert answer.status_code == expected, f"{name} by {role}"
            foreign = await http.request(
                method, url, json=body, headers=bearer(token("admin")) | {"Origin": "https://evil.example"}
            )
            assert foreign.status_code == 403, f"{name} from another origin"


async def knows_host(http: httpx.AsyncClient) -> bool:
    answer = await http.get("/api/hosts", headers=bearer(token()))
    return answer.status_code == 200 and bool(answer.json()["hosts"])


@pytest.mark.parametrize("role", ROLES)
async def test_every_message_by_role(edge: RunningEdge, host: FakeHost, role: Role) -> None:
    async with edge.client("hosts", additional_headers=bearer(token(role))) as client:
        [connected] = client.received
        assert (connected.user, connected.role) == (f"a-{role}", role)
        await client.until(lambda m: m.type == "hosts" and m.hosts)
        for kind, (fields, allowed) in MESSAGES.items():
            await client.send({"type": kind, **fields})
            await client.ping()
            refusals = [m for m in client.received if m.type == "error" and m.code == "forbidden"]
            assert bool(refusals) == (role not in allowed), f"{kind} by {role}"
            client.received.clear()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("rubbish"),
        bearer(make_token(b"another secret of thirty-two bytes!!", "x", "admin", 60)),
        bearer(token("admin", -1)),
        {"Authorization": "Basic b3BzOm9wcw=="},
    ],
)
async def test_a_socket_without_a_good_token_is_closed_with_4401(edge: RunningEdge, headers: dict[str, str]) -> None:
    assert await closing_code(edge, additional_headers=headers) == 4401


async def test_a_browser_brings_its_token_as_a_subprotocol_and_never_gets_it_back(edge: RunningEdge) -> None:
    offered = ["fleetcast.v1", f"bearer.{token('viewer')}"]
    async with connect(edge.ws, subprotocols=offered, origin=f"http://127.0.0.1:{edge.port}") as connection:
        assert connection.subprotocol == "fleetcast.v1"
        assert (await Socket(connection).next()).type == "connected"
    assert await closing_code(edge, subprotocols=["fleetcast.v1", "bearer.rubbish"]) == 4401


async def test_the_connection_ends_at_the_moment_at_which_the_sign_in_does(edge: RunningEdge) -> None:
    expires_at = int(time.time()) + 2
    async with edge.client(additional_headers=bearer(token("viewer", expires_at - time.time() + 0.01))) as client:
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await client.next()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
    assert time.time() >= expires_at - 0.01


async def test_a_token_for_some_hosts_shows_and_reaches_no_others(edge: RunningEdge, host: FakeHost, bus: Bus) -> None:
    async with fake_host(bus, "db-1") as other:
        await other.publish_metrics(2.0)
        await other.publish_containers(container("postgres", ID_A))
        await other.publish_event("postgres")
        await host.publish_event("web")
        headers = bearer(token("operator", hosts=["web-*"]))
        async with edge.client("hosts", "metrics", "containers", additional_headers=headers) as client:
            await client.until(lambda m: m.type == "hosts" and m.hosts)
            await client.get("containers")
            await other.publish_metrics(3.0)
            await host.publish_metrics(4.0)
            await client.until(lambda m: m.type == "metrics" and m.data.cpu.percent == 4.0)
            for message in client.received:
                assert "db-1" not in message.model_dump_json()
            for refused in (
                {"type": "subscribe", "channels": ["metrics:db-1"]},
                {
                    "type": "container-action",
                    "requestId": "r",
                    "host": "db-1",
                    "containerId": "postgres",
                    "action": "stop",
                },
            ):
                await client.send(refused)
                assert (await client.get("error")).code == "forbidden"
            await client.send({"type": "container-action", "requestId": "r", "containerId": "web", "action": "stop"})
            assert (await client.get("container-ack")).host == "web-1", "their fleet has one host"
        async with httpx.AsyncClient(base_url=edge.http, headers=headers) as http:
            assert [h["host"] for h in (await http.get("/api/hosts")).json()["hosts"]] == ["web-1"]
            assert {event["host"] for event in (await http.get("/api/events/last")).json()["events"]} == {"web-1"}
            assert (await http.get("/api/events/last?host=db-1")).status_code == 403
            for what in ("metrics", "processes", "history", "events"):
                assert (await http.get(f"/api/hosts/db-1/{what}")).status_code == 403
            for what in ("metrics", "history", "events"):
                assert (await http.get(f"/api/hosts/web-1/{what}")).status_code == 200


async def test_the_actor_of_an_action_is_who_signed_in(edge: RunningEdge, host: FakeHost) -> None:
    async with edge.client("hosts", additional_headers=bearer(token("operator"))) as client:
        await client.until(lambda m: m.type == "hosts" and m.hosts)
        await client.send({"type": "container-action", "requestId": "r", "containerId": "web", "action": "stop"})
        assert (await client.get("container-ack")).actor == "a-operator"


async def test_with_sign_in_any_name_leads_to_the_edge_but_no_other_page_does(edge: RunningEdge) -> None:
    name = {"Host": "fleet.example.com"}
    async with httpx.AsyncClient(base_url=edge.http, headers=name | bearer(token())) as http:
        assert (await http.get("/api/ws")).status_code == 200
        assert (await http.get("/api/ws", headers={"Origin": "https://fleet.example.com"})).status_code == 200
        assert (await http.get("/api/ws", headers={"Origin": "https://evil.example"})).status_code == 403


async def test_a_page_of_an_allowed_origin_may_ask_over_http_and_read_the_answer(valkey: EmbeddedServer) -> None:
    page = "https://ops.example.com"
    async with running_edge(valkey.url, jwt_secret=SECRET, allowed_origins=page) as edge, httpx.AsyncClient() as http:
        asks = {"Origin": page, "Access-Control-Request-Method": "POST"}
        preflight = await http.options(
            f"{edge.http}/api/hosts/web-1/containers/web/actions",
            headers={**asks, "Access-Control-Request-Headers": "authorization,content-type"},
        )
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == page
        answer = await http.get(f"{edge.http}/api/hosts", headers={"Origin": page, **bearer(token("viewer"))})
        assert answer.headers["Access-Control-Allow-Origin"] == page
        assert "Access-Control-Allow-Credentials" not in answer.headers
        elsewhere = await http.get(f"{edge.http}/api/hosts", headers={"Origin": "https://evil.example"})
        assert elsewhere.status_code == 403
        assert "Access-Control-Allow-Origin" not in elsewhere.headers
