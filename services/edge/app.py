"""An edge's HTTP and WebSocket routes."""

import asyncio
import importlib.resources
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from common.bus import Bus
from common.envelope import body_prefix, unwrap
from common.errors import BusError, ErrorCode, MalformedError, ProtocolError, SettingsError
from common.keys import Keys, StateKind
from common.protocol import PROTOCOL_VERSION, Error, Heartbeat, HostsMessage, json_schema
from common.settings import EdgeSettings, default_host_id
from common.supervision import run_forever
from common.tokens import Identity
from services.edge.access import SUBPROTOCOL, Gatekeeper, authorise, edge_secret
from services.edge.actions import ActionDesk
from services.edge.hub import Hub
from services.edge.origin import is_allowed, parse_origins
from services.edge.relay import Relay
from services.edge.session import Session, closed

logger = logging.getLogger(__name__)

clients_connected = Gauge("fleetcast_clients", "Clients connected now")

_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

_HostPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Edge:
    """One edge: what its routes and sessions share."""

    def __init__(self, settings: EdgeSettings) -> None:
        self.settings = settings
        self.edge_id = settings.edge_id or f"{default_host_id()[:50]}-{uuid.uuid4().hex[:6]}"
        try:
            self.allowed_origins = parse_origins(settings.allowed_origins)
        except ValueError as error:
            raise SettingsError("--allowed-origins / FLEETCAST_ALLOWED_ORIGINS", str(error)) from None
        self.gatekeeper = Gatekeeper(edge_secret(settings))
        self.bus = Bus(settings.redis_url, Keys(settings.namespace))
        self.hub = Hub()
        self.desk = ActionDesk(self.bus, self.hub, self.edge_id)
        self.relay = Relay(self.bus, self.hub, self.desk, self.edge_id)

    async def run(self) -> None:
        """Relays and beats for ever; the routes serve meanwhile."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.relay.run(), name="relay")
            tasks.create_task(run_forever("heartbeat", self._beat), name="heartbeat")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.settings.heartbeat_sec)
            self.hub.heartbeat(Heartbeat(server_time=self.bus.clock.now_ms()).model_dump_json())


def create_app(edge: Edge) -> FastAPI:
    """The routes of an edge; the lifespan runs it. Serve it behind an OriginGate."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(edge.run(), name="edge")
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])
            await edge.bus.close()

    app = FastAPI(
        title="Fleetcast edge", version=version("fleetcast"), lifespan=lifespan, docs_url=None, redoc_url=None
    )
    _add_public(app, edge)
    _add_state(app, edge)
    _add_socket(app, edge)
    app.add_exception_handler(ProtocolError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    return app


class OriginGate:
    """Lets only requests through that come from this edge's own page, an allowed one, or a program."""

    def __init__(self, app: ASGIApp, edge: Edge) -> None:
        self._app = app
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            host, origin = headers.get(b"host"), headers.get(b"origin")
            any_host = not self._edge.gatekeeper.is_open
            if not is_allowed(host, origin, self._edge.allowed_origins, any_host=any_host):
                logger.info("refusing a request with Host %.100s, Origin %.100s", host, origin)
                await _refuse_origin(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _refuse_origin(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        # uvicorn answers 403. With a body of our own it would log an error about it.
        await receive()
        await send({"type": "websocket.close"})
        return
    said = "This page or name may not talk to this edge: see FLEETCAST_ALLOWED_ORIGINS.\n"
    await PlainTextResponse(said, status_code=403)(scope, receive, send)


def _add_public(app: FastAPI, edge: Edge) -> None:
    """What everybody may have: nothing of the fleet is in it."""
    page = importlib.resources.files("services.edge").joinpath("static", "index.html")

    @app.get("/", response_class=HTMLResponse)
    async def dashboard() -> HTMLResponse:
        return HTMLResponse(page.read_text("utf-8"), headers=_PAGE_HEADERS)

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        return "ok\n"

    @app.get("/readyz", response_class=PlainTextResponse)
    async def readyz() -> PlainTextResponse:
        reason = edge.relay.not_ready_because
        return PlainTextResponse(f"{reason or 'ok'}\n", status_code=503 if reason else 200)

    schema = json_schema()

    @app.get("/api/schema")
    async def protocol_schema() -> dict[str, Any]:
        return schema


def _add_state(app: FastAPI, edge: Edge) -> None:
    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        authorise(_identity(edge, request), "see")
        clients_connected.set(edge.hub.clients)
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    @app.get("/api/hosts")
    async def hosts(request: Request) -> Response:
        identity = _identity(edge, request)
        authorise(identity, "see")
        if edge.hub.hosts is None:
            raise ProtocolError("unavailable", "the fleet's roster has not been read yet")
        seen = tuple(status for status in edge.hub.hosts if identity.sees(status.host))
        return _json(HostsMessage(hosts=seen).model_dump_json())

    @app.get("/api/hosts/{host}/{kind}")
    async def last_state(request: Request, host: _HostPath, kind: StateKind) -> Response:
        authorise(_identity(edge, request), "see", host)
        try:
            [payload] = await edge.bus.last_states([(host, kind)])
            if payload is None:
                raise ProtocolError("unknown-host", f"nothing is known of {kind} of {host}")
            return _json(unwrap(payload, body_prefix(kind, host))[1])
        except (BusError, MalformedError) as error:
            raise ProtocolError("unavailable", str(error)) from error


def _add_socket(app: FastAPI, edge: Edge) -> None:
    @app.get("/api/ws")
    async def status(request: Request) -> JSONResponse:
        authorise(_identity(edge, request), "see")
        reason = edge.relay.not_ready_because
        return JSONResponse(
            {
                "edgeId": edge.edge_id,
                "version": app.version,
                "protocol": PROTOCOL_VERSION,
                "serverTime": edge.bus.clock.now_ms(),
                "ready": reason is None,
                "reason": reason,
                "clients": edge.hub.clients,
                "hosts": len(edge.hub.hosts or ()),
            }
        )

    @app.websocket("/api/ws")
    async def socket(websocket: WebSocket) -> None:
        offered: list[str] = websocket.scope["subprotocols"]
        # Accepted first, and closed then where that must be: a page sees the code of a close, not that of a refusal.
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        try:
            identity = edge.gatekeeper.identify(websocket.headers.get("authorization"), offered)
        except ProtocolError as error:
            closed.labels("4401").inc()
            await websocket.close(4401, error.message)
            return
        if edge.hub.clients >= edge.settings.max_clients:
            closed.labels("1013").inc()
            await websocket.close(1013, "no room here now")
            return
        await Session(edge, websocket, uuid.uuid4().hex, identity).run()


def _identity(edge: Edge, request: Request) -> Identity:
    """Raises ProtocolError (`unauthenticated`)."""
    return edge.gatekeeper.identify(request.headers.get("authorization"))


async def _refuse(_: Request, error: Exception) -> Response:
    """An error answers with the same shape as on the socket."""
    assert isinstance(error, ProtocolError)
    headers = {"WWW-Authenticate": "Bearer"} if error.code == "unauthenticated" else {}
    body = Error(code=error.code, message=error.message, request_id=error.request_id).model_dump_json()
    return Response(body, _HTTP_STATUS[error.code], headers, "application/json")


async def _refuse_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    return await _refuse(request, ProtocolError("invalid-message", f"{place}: {problem['msg']}"))


_HTTP_STATUS: dict[ErrorCode, int] = {
    "invalid-message": 422,
    "unknown-channel": 404,
    "unknown-host": 404,
    "unknown-container": 404,
    "ambiguous-container": 409,
    "forbidden": 403,
    "unauthenticated": 401,
    "rate-limited": 429,
    "too-large": 413,
    "unavailable": 503,
}


def _json(body: str | bytes) -> Response:
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})
