"""The same feed as server-sent events, for networks that let no WebSocket through. It goes one way: no actions.

`Last-Event-ID` is ignored on purpose: state is newest-wins, so whoever comes back gets the newest of everything, and
nothing that has been superseded meanwhile. What happened to containers while it was away, `GET
/api/hosts/{host}/events` tells.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi.responses import StreamingResponse

from common.errors import ProtocolError
from common.protocol import parse_channel
from common.tokens import Identity
from services.edge.access import authorise
from services.edge.audience import Subscription
from services.edge.drain import RESTARTING, retry_after_ms
from services.edge.member import Member

if TYPE_CHECKING:
    from services.edge.app import Edge

RETRY_MS = 2_000
"""After this a browser connects again by itself."""

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream(Member):
    """A client over server-sent events. Each write blocks it until the connection has taken that."""

    __slots__ = ("_ended", "_heard_at", "_parts", "_something")

    def __init__(self, edge: "Edge", identity: Identity, address: str) -> None:
        super().__init__(edge, identity, address)
        self._parts: list[bytes] = []
        self._something = asyncio.Event()
        self._ended = False
        self._heard_at = time.monotonic()

    @property
    def heard_at(self) -> float:
        return self._heard_at

    def response(self, subscriptions: list[Subscription]) -> StreamingResponse:
        return StreamingResponse(self._stream(subscriptions), media_type="text/event-stream", headers=_HEADERS)

    async def _stream(self, subscriptions: list[Subscription]) -> AsyncIterator[bytes]:
        self.enter(self._send, self._write, "events")
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            self.greet()
            self.edge.hub.subscribe(self.client, subscriptions)
            while True:
                await self._something.wait()
                self._something.clear()
                data, self._parts = b"".join(self._parts), []
                if data:
                    yield data
                if self._ended:
                    return
                self._heard_at = time.monotonic()
                self.edge.hub.drained(self.client)
        finally:
            self.leave()

    def _send(self, data: bytes) -> int:
        self._write(data)
        return len(data)

    def _write(self, data: bytes) -> None:
        self._parts.append(data)
        self._something.set()
        self.client.block(time.monotonic())

    def _end(self, code: int, reason: str) -> None:
        if code == RESTARTING:
            self._parts.append(b"retry: %d\n\n" % retry_after_ms(reason))
        self._ended = True
        self._something.set()

    def _cut_off(self) -> None:
        """The kernel does the rest: it gives a peer up that takes nothing (TCP_USER_TIMEOUT)."""
        self._parts.clear()
        self._ended = True
        self._something.set()


def parse_channels(text: str, identity: Identity, limit: int) -> list[Subscription]:
    """`metrics,hosts,containers:web-1` → what to subscribe to. Raises ProtocolError."""
    channels = [parse_channel(name) for name in text.split(",") if name]
    if not channels:
        raise ProtocolError("invalid-message", "channels: name at least one: ?channels=hosts,metrics")
    if len(channels) > limit:
        raise ProtocolError("too-large", f"channels: at most {limit} subscriptions a client")
    for _, host in channels:
        authorise(identity, "see", host)
    return channels
