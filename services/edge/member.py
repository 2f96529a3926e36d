"""One client that an edge serves, whatever carries it: its coming, its greeting and its going."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import Counter

from common.protocol import Connected
from common.tokens import Identity
from services.edge.client import Client
from services.edge.frames import Encoding

if TYPE_CHECKING:
    from services.edge.app import Edge

logger = logging.getLogger(__name__)

closed = Counter("fleetcast_clients_closed_total", "Connections that the edge closed", ["code"])


class Member:
    """From `enter` on it is served, until `close`, `abort` or `leave`."""

    __slots__ = ("_expiry", "address", "client", "client_id", "edge", "identity")

    client: Client

    def __init__(self, edge: "Edge", identity: Identity, address: str) -> None:
        self.edge = edge
        self.identity = identity
        self.address = address
        self.client_id = uuid.uuid4().hex
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def heard_at(self) -> float:
        """When the client last gave a sign of life, monotonic seconds."""
        raise NotImplementedError

    @property
    def waits_for_acks(self) -> bool:
        return False

    def enter(self, send: Callable[[bytes], int], write: Callable[[bytes], None], encoding: Encoding) -> None:
        """Greets the client and serves it from now on; there has to be room for it."""
        edge, identity = self.edge, self.identity
        limit = edge.settings.max_pending_bytes
        self.client = Client(send, write, self.close, identity.hosts, encoding, limit)
        edge.members.add(self)
        edge.hub.add(self.client)
        if identity.expires_at is not None:
            left_s = identity.expires_at - time.time()
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(left_s, self.close, 4401, "the sign-in has expired")

    def greet(self) -> None:
        connected = Connected(
            client_id=self.client_id,
            edge_id=self.edge.edge_id,
            server_time=self.edge.bus.clock.now_ms(),
            heartbeat_interval_ms=round(self.edge.settings.heartbeat_sec * 1000),
            user=self.identity.user,
            role=self.identity.role,
        )
        self.client.put(connected.model_dump_json().encode())

    def ping(self) -> None:
        """Asks for a sign of life, where the client can be asked."""

    def close(self, code: int, reason: str) -> None:
        """Tells the client and ends its connection; nothing more is sent."""
        if self.leave():
            closed.labels(str(code)).inc()
            self._end(code, reason)

    def abort(self, why: str) -> None:
        """Cuts off a client that does not even take a close."""
        if self.leave():
            closed.labels("aborted").inc()
            logger.info("cutting off client %s: it %s", self.client_id, why)
            self._cut_off()

    def leave(self) -> bool:
        """It has gone. False where that is known already."""
        edge = self.edge
        if self not in edge.members:
            return False
        edge.members.discard(self)
        edge.hub.remove(self.client)
        edge.desk.leave(self.client)
        edge.room.leave(self.address)
        self.client.cut()
        if self._expiry is not None:
            self._expiry.cancel()
        return True

    def _end(self, code: int, reason: str) -> None:
        raise NotImplementedError

    def _cut_off(self) -> None:
        raise NotImplementedError
