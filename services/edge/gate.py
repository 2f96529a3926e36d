"""What every request passes before anything else: the check of `Origin` and `Host`; and where WebSockets are let in.

A WebSocket takes no route through FastAPI: ten thousand pages that connect again at once would spend most of their time
there.
"""

import logging
import time
from typing import TYPE_CHECKING

from prometheus_client import Counter
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.frames import CloseCode

from common.errors import ProtocolError
from common.tokens import Identity
from services.edge.access import SUBPROTOCOL
from services.edge.connection import Nobody
from services.edge.handshake import handshake_of
from services.edge.member import closed
from services.edge.origin import is_allowed
from services.edge.session import Session

if TYPE_CHECKING:
    from services.edge.app import Edge

logger = logging.getLogger(__name__)

refused = Counter("fleetcast_handshakes_refused_total", "WebSockets and event streams not let in", ["reason"])

SOCKET_PATH = "/api/ws"
RETRY_AFTER_S = 2


class Gate:
    """The edge as one ASGI application; `app` serves HTTP."""

    def __init__(self, app: ASGIApp, edge: "Edge") -> None:
        self._app = app
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._is_allowed(headers):
            said = "This page or name may not talk to this edge: see FLEETCAST_ALLOWED_ORIGINS.\n"
            await _refuse(PlainTextResponse(said, 403), scope, receive, send)
        elif scope["type"] == "http":
            await self._app(scope, receive, send)
        elif scope["path"] != SOCKET_PATH:
            await _refuse(PlainTextResponse(f"WebSockets are at {SOCKET_PATH}\n", 404), scope, receive, send)
        else:
            await self._let_in(headers, scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        host, origin = headers.get("host"), headers.get("origin")
        any_host = not self._edge.gatekeeper.is_open
        allowed = is_allowed(host, origin, self._edge.allowed_origins, any_host=any_host)
        if not allowed:
            refused.labels("origin").inc()
            logger.info("refusing a request with Host %.100s, Origin %.100s", host, origin)
        return allowed

    async def _let_in(self, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        busy = why_not_now(self._edge)
        if busy is not None:
            await _refuse(unavailable(busy), scope, receive, send)
            return
        offered: list[str] = scope["subprotocols"]
        # Accepted first, and closed then where that must be: a page sees the code of a close, not that of a refusal.
        await receive()
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if SUBPROTOCOL in offered else None})
        address = (scope["client"] or ("",))[0]
        handshake = handshake_of(scope)
        try:
            if handshake.spoke_early:
                raise _TurnedAwayError(CloseCode.PROTOCOL_ERROR, "sent something before the handshake was over")
            session = Session(self._edge, self._identify(headers, offered), address)
            full = self._edge.room.enter(address)
            if full is not None:
                refused.labels(full).inc()
                raise _TurnedAwayError(CloseCode.TRY_AGAIN_LATER, full)
        except _TurnedAwayError as why:
            closed.labels(str(why.code)).inc()
            nobody = handshake.take_over(Nobody())
            if nobody is not None:
                nobody.start()
                nobody.close(why.code, why.reason)
            return
        connection = handshake.take_over(session)
        if connection is None:
            self._edge.room.leave(address)
        else:
            session.begin(connection)

    def _identify(self, headers: Headers, offered: list[str]) -> Identity:
        try:
            return self._edge.gatekeeper.identify(headers.get("authorization"), offered)
        except ProtocolError as error:
            raise _TurnedAwayError(4401, error.message) from error


class _TurnedAwayError(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def why_not_now(edge: "Edge") -> str | None:
    """Why no new client is let in at this moment; it is counted."""
    busy = None
    if edge.draining:
        busy = "draining"
    elif not edge.handshakes.take(time.monotonic()):
        busy = "too many handshakes at once"
    if busy is not None:
        refused.labels(busy).inc()
    return busy


def unavailable(why: str) -> PlainTextResponse:
    return PlainTextResponse(f"not now: {why}\n", 503, {"Retry-After": str(RETRY_AFTER_S)})


async def _refuse(response: PlainTextResponse, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
    await response(scope, receive, send)
