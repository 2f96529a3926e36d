"""An edge's HTTP and WebSocket routes."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, Gauge

from common.bus import Bus
from common.errors import ErrorCode, ProtocolError, SettingsError
from common.http_models import EdgeStatus
from common.keys import Keys
from common.protocol import PROTOCOL_VERSION, Error, Heartbeat
from common.schema import json_schema
from common.setting_kinds import default_edge_id
from common.settings import EdgeSettings
from common.signing import read_signer
from common.supervision import run_forever
from common.telemetry import metrics_text
from common.tokens import Identity
from services.edge.access import Gatekeeper, authorise, edge_secret
from services.edge.action_routes import add_action_routes, add_audit_route
from services.edge.actions import ActionDesk
from services.edge.events import EventStream, parse_channels
from services.edge.flusher import Flusher
from services.edge.gate import RETRY_AFTER_S, unavailable, why_not_now
from services.edge.hub import Hub
from services.edge.interest import Interests
from services.edge.limits import Room, TokenBucket
from services.edge.member import Member
from services.edge.origin import parse_origins
from services.edge.pace import Pace
from services.edge.page import STATIC, add_page, read_page
from services.edge.relay import Relay
from services.edge.session import refused
from services.edge.state_routes import add_state_routes
from services.edge.watch import Watch

logger = logging.getLogger(__name__)

clients_connected = Gauge("fleetcast_clients", "Clients connected now", multiprocess_mode="livesum")


class Edge:
    """One edge: what its routes and sessions share."""

    tasks: asyncio.TaskGroup
    """Where sessions start their actions; there from `run` on."""

    def __init__(self, settings: EdgeSettings) -> None:
        self.settings = settings
        self.edge_id = settings.edge_id or default_edge_id()
        try:
            self.allowed_origins = parse_origins(settings.allowed_origins)
        except ValueError as error:
            raise SettingsError("--allowed-origins / FLEETCAST_ALLOWED_ORIGINS", str(error)) from None
        self.gatekeeper = Gatekeeper(edge_secret(settings))
        self.bus = Bus(settings.redis_url, Keys(settings.namespace))
        self.hub = Hub(on_work=self._wake, on_interest=self._look_at_interest)
        self.flusher = Flusher(self.hub, Pace(settings.window_ms / 1000, settings.flush_share))
        signer = read_signer(settings)
        self.signs = signer is not None
        self.desk = ActionDesk(self.bus, self.hub, self.edge_id, signer, settings.audit_max)
        self.relay = Relay(
            self.bus, self.hub, self.desk, self.edge_id, unsubscribe_after_s=settings.unsubscribe_after_sec
        )
        self.interests = Interests(self.bus, self.hub)
        self.room = Room(settings.max_clients, settings.max_clients_per_address)
        rate = settings.max_handshakes_per_sec
        self.handshakes = TokenBucket(rate, rate, time.monotonic())
        self.members: set[Member] = set()
        self.draining = False

    @property
    def not_ready_because(self) -> str | None:
        """Why this edge is not to be given clients now, or None where it is."""
        return "this edge is about to go" if self.draining else self.relay.not_ready_because

    async def run(self) -> None:
        """Relays, flushes and beats for ever; the routes serve meanwhile."""
        if not self.signs:
            logger.warning("actions are not signed here, so executors refuse them: FLEETCAST_ACTION_SIGNING_KEY_FILE")
        async with asyncio.TaskGroup() as self.tasks:
            self.tasks.create_task(self.relay.run(), name="relay")
            self.tasks.create_task(run_forever("interest", self.interests.run), name="interest")
            self.tasks.create_task(run_forever("flush", self.flusher.run), name="flush")
            self.tasks.create_task(run_forever("heartbeat", self._beat), name="heartbeat")
            self.tasks.create_task(run_forever("watch", Watch(self.members, self.settings).run), name="watch")

    def _wake(self) -> None:
        self.flusher.wake()

    def _look_at_interest(self) -> None:
        self.relay.refresh_soon()
        self.interests.look_soon()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.settings.heartbeat_sec)
            self.hub.heartbeat(Heartbeat(server_time=self.bus.clock.now_ms()).model_dump_json().encode())


def create_app(edge: Edge) -> FastAPI:
    """The HTTP routes of an edge; the lifespan runs it. Serve it behind a Gate."""

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
    _add_metrics(app, edge)
    add_state_routes(app, edge)
    _add_feed(app, edge)
    add_action_routes(app, edge)
    add_audit_route(app, edge)
    # A browser lets the pages of allowed origins read answers only where these say so; who may ask, the Gate decides.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=sorted(edge.allowed_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=["Location", "Retry-After"],
        max_age=600,
    )
    app.add_exception_handler(ProtocolError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    return app


def _add_public(app: FastAPI, edge: Edge) -> None:
    """What everybody may have: nothing of the fleet is in it."""
    add_page(app, read_page(STATIC))

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        return "ok\n"

    @app.get("/readyz", response_class=PlainTextResponse)
    async def readyz() -> PlainTextResponse:
        reason = edge.not_ready_because
        return PlainTextResponse(f"{reason or 'ok'}\n", status_code=503 if reason else 200)

    schema = json_schema()

    @app.get("/api/schema")
    async def protocol_schema() -> dict[str, Any]:
        return schema


def _add_metrics(app: FastAPI, edge: Edge) -> None:
    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        authorise(_identity(edge, request), "see")
        clients_connected.set(len(edge.members))
        return Response(metrics_text(), media_type=CONTENT_TYPE_LATEST)


def _add_feed(app: FastAPI, edge: Edge) -> None:
    @app.get("/api/ws")
    async def status(request: Request) -> EdgeStatus:
        authorise(_identity(edge, request), "see")
        reason = edge.not_ready_because
        return EdgeStatus(
            edge_id=edge.edge_id,
            version=app.version,
            protocol=PROTOCOL_VERSION,
            server_time=edge.bus.clock.now_ms(),
            ready=reason is None,
            reason=reason,
            clients=len(edge.members),
            hosts=len(edge.hub.hosts or ()),
        )

    @app.get("/api/events")
    async def events(request: Request, channels: str = "") -> Response:
        identity = _identity(edge, request)
        authorise(identity, "see")
        subscriptions = parse_channels(channels, identity, edge.settings.max_subscriptions)
        address = request.client.host if request.client else ""
        why = why_not_now(edge) or edge.room.enter(address)
        if why is not None:
            return unavailable(why)
        return EventStream(edge, identity, address).response(subscriptions)


def _identity(edge: Edge, request: Request) -> Identity:
    """Raises ProtocolError (`unauthenticated`)."""
    return edge.gatekeeper.identify(request.headers.get("authorization"))


async def _refuse(_: Request, error: Exception) -> Response:
    """An error answers with the same shape as on the socket."""
    assert isinstance(error, ProtocolError)
    refused.labels(error.code).inc()
    said = Error(code=error.code, message=error.message, request_id=error.request_id, target=error.target)
    headers = _HTTP_HEADERS.get(error.code)
    return Response(said.model_dump_json(), _HTTP_STATUS[error.code], headers, "application/json")


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
    "unknown-action": 404,
    "forbidden": 403,
    "unauthenticated": 401,
    "rate-limited": 429,
    "too-large": 413,
    "unavailable": 503,
}

_HTTP_HEADERS: dict[ErrorCode, dict[str, str]] = {
    "unauthenticated": {"WWW-Authenticate": "Bearer"},
    "rate-limited": {"Retry-After": str(RETRY_AFTER_S)},
    "too-large": {"Connection": "close"},  # or what was not read of the body would have to be read after all
    "unavailable": {"Retry-After": str(RETRY_AFTER_S)},
}
