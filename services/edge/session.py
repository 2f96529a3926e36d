"""One client's connection: reads its messages, writes its outbox. Moves bytes; what they mean is decided elsewhere."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from prometheus_client import Counter
from starlette.websockets import WebSocket, WebSocketDisconnect

from common.errors import ProtocolError
from common.protocol import (
    ClientMessage,
    Connected,
    ContainerAction,
    Error,
    Heartbeat,
    Ping,
    Subscribe,
    Unsubscribe,
    parse_channel,
    parse_client_message,
)
from common.tokens import Identity
from services.edge.access import authorise
from services.edge.hub import Client
from services.edge.outbox import Outbox
from services.edge.strikes import Strikes
from services.edge.websocket import EXTENSION, EdgeWebSocketProtocol

if TYPE_CHECKING:
    from services.edge.app import Edge

logger = logging.getLogger(__name__)

closed = Counter("fleetcast_clients_closed_total", "Connections that the edge closed", ["code"])
refused = Counter("fleetcast_client_errors_total", "Messages of clients answered with an error", ["code"])

MAX_ACTIONS_UNDER_WAY = 64
"""Submissions of one client at the same time; more are refused as `rate-limited`."""

SEND_WITHIN_S = 30.0
"""A client that takes nothing for this long is aborted."""


class Session:
    """Serves one accepted WebSocket until it ends."""

    def __init__(self, edge: "Edge", websocket: WebSocket, client_id: str, identity: Identity) -> None:
        self._edge = edge
        self._websocket = websocket
        self._client_id = client_id
        self._identity = identity
        self._something_to_send = asyncio.Event()
        self._outbox = Outbox(self._something_to_send.set)
        self._client = Client(self._outbox, identity.sees)
        self._strikes = Strikes()
        self._close: tuple[int, str] | None = None
        self._actions_under_way = 0

    async def run(self) -> None:
        settings = self._edge.settings
        self._say(
            Connected(
                client_id=self._client_id,
                edge_id=self._edge.edge_id,
                server_time=self._edge.bus.clock.now_ms(),
                heartbeat_interval_ms=round(settings.heartbeat_sec * 1000),
                user=self._identity.user,
                role=self._identity.role,
            )
        )
        self._edge.hub.add(self._client)
        expiry = self._watch_expiry()
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write(), name=f"write {self._client_id}")
                await self._read(tasks)
                writer.cancel()
        except* WebSocketDisconnect:
            pass
        finally:
            if expiry is not None:
                expiry.cancel()
            self._edge.hub.remove(self._client)
            self._edge.desk.leave(self._client)
            self._edge.relay.refresh()

    def _watch_expiry(self) -> asyncio.TimerHandle | None:
        """Closes the connection at the moment at which the sign-in ends."""
        if self._identity.expires_at is None:
            return None
        left_s = self._identity.expires_at - time.time()
        return asyncio.get_running_loop().call_later(left_s, self._decide_close, 4401, "the sign-in has expired")

    def _decide_close(self, code: int, reason: str) -> None:
        self._close = (code, reason)
        self._something_to_send.set()

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            received = await self._websocket.receive()
            if received["type"] == "websocket.disconnect":
                return
            try:
                text = received.get("text")
                if text is None:
                    raise ProtocolError("invalid-message", "send JSON in text frames, not binary ones")
                self._handle(parse_client_message(text), tasks)
            except ProtocolError as error:
                self._refuse(error)
                if self._strikes.out(time.monotonic()):
                    self._decide_close(1008, "broke the protocol repeatedly")

    def _handle(self, message: ClientMessage, tasks: asyncio.TaskGroup) -> None:
        match message:
            case Subscribe():
                # All or nothing: one wrong name subscribes to none of them.
                channels = [parse_channel(name) for name in message.channels]
                for _, host in channels:
                    authorise(self._identity, "see", host)
                self._edge.hub.subscribe(self._client, channels)
                self._edge.relay.refresh()
                if not self._edge.bus.available:
                    self._refuse(ProtocolError("unavailable", "Redis is away: data comes when it is back"))
            case Unsubscribe():
                authorise(self._identity, "see")
                self._edge.hub.unsubscribe(self._client, [parse_channel(name) for name in message.channels])
                self._edge.relay.refresh()
            case ContainerAction():
                authorise(self._identity, "act", message.host, message.request_id)
                if self._actions_under_way >= MAX_ACTIONS_UNDER_WAY:
                    self._refuse(ProtocolError("rate-limited", "too many actions at once", message.request_id))
                    return
                self._actions_under_way += 1
                tasks.create_task(self._act(message), name=f"action {message.request_id}")
            case Ping():
                authorise(self._identity, "see")
                self._say(Heartbeat(server_time=self._edge.bus.clock.now_ms(), nonce=message.nonce))

    async def _act(self, message: ContainerAction) -> None:
        try:
            await self._edge.desk.submit(self._client, message, self._identity, self._edge.relay.hear_acks)
        except ProtocolError as error:
            self._refuse(error)
        except Exception:
            logger.exception("an action failed")
            self._refuse(ProtocolError("unavailable", "the edge failed; its log says why", message.request_id))
        finally:
            self._actions_under_way -= 1

    def _say(self, message: Connected | Heartbeat | Error) -> None:
        self._outbox.put(message.model_dump_json())

    def _refuse(self, error: ProtocolError) -> None:
        refused.labels(error.code).inc()
        self._say(Error(code=error.code, message=error.message, request_id=error.request_id))

    async def _write(self) -> None:
        """Sends what waits; closes or aborts where that is decided."""
        while True:
            await self._something_to_send.wait()
            self._something_to_send.clear()
            while not self._outbox.overflowed and (text := self._outbox.next()) is not None:
                try:
                    async with asyncio.timeout(SEND_WITHIN_S):
                        await self._websocket.send_text(text)
                except TimeoutError:
                    self._abort("takes nothing")
                    return
            if self._outbox.overflowed:
                self._close = (4409, "could not keep up")
            if self._close is not None:
                await self._end(*self._close)
                return

    async def _end(self, code: int, reason: str) -> None:
        closed.labels(str(code)).inc()
        try:
            async with asyncio.timeout(1.0):
                await self._websocket.close(code, reason)
        except TimeoutError:
            self._abort("takes no close")

    def _abort(self, why: str) -> None:
        closed.labels("aborted").inc()
        logger.info("aborting client %s: it %s", self._client_id, why)
        connection = self._websocket.scope["extensions"].get(EXTENSION)
        if isinstance(connection, EdgeWebSocketProtocol):
            connection.abort()
