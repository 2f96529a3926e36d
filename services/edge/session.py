"""What one client's messages mean. Bytes are its connection's matter, who gets which state the hub's."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from prometheus_client import Counter

from common.errors import ProtocolError
from common.models import MAX_TARGETS
from common.protocol import (
    ClientMessage,
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
from services.edge.frames import PING
from services.edge.limits import TokenBucket
from services.edge.member import Member, closed
from services.edge.strikes import Strikes
from services.edge.targets import Wanted, wanted_of

if TYPE_CHECKING:
    from services.edge.app import Edge
    from services.edge.connection import Connection

logger = logging.getLogger(__name__)

refused = Counter("fleetcast_client_errors_total", "Messages and requests of clients answered with an error", ["code"])

MAX_ACTIONS_UNDER_WAY = 64
"""Messages of one client that are being submitted at the same time; more are refused as `rate-limited`."""

SUBMIT_AT_ONCE = 8
"""Targets of one message that are being submitted at the same time; the others wait for them."""

BURST_SEC = 10
"""So many seconds' worth of messages may come at once: a page that loads, a restart of a whole stack."""


class Session(Member):
    """A client over a WebSocket."""

    __slots__ = ("_action_rate", "_actions", "_connection", "_rate", "_strikes")

    _connection: "Connection"

    def __init__(self, edge: "Edge", identity: Identity, address: str) -> None:
        super().__init__(edge, identity, address)
        self._rate: TokenBucket | None = None
        self._action_rate: TokenBucket | None = None
        self._strikes: Strikes | None = None
        self._actions: set[asyncio.Task[None]] | None = None

    @property
    def heard_at(self) -> float:
        return self._connection.heard_at

    @property
    def waits_for_acks(self) -> bool:
        return bool(self._actions) or self.edge.desk.is_waited_for(self.client)

    def begin(self, connection: "Connection") -> None:
        """Serves the client that is on this connection."""
        self._connection = connection
        self.enter(connection.send, connection.write, "deflate" if connection.deflates else "text")
        connection.start()
        self.greet()

    def ping(self) -> None:
        if self.client.blocked_since is None:
            self._connection.write(PING)

    def leave(self) -> bool:
        for action in self._actions or ():
            action.cancel()
        return super().leave()

    def _end(self, code: int, reason: str) -> None:
        self._connection.close(code, reason)

    def _cut_off(self) -> None:
        self._connection.abort()

    # What happens on the connection

    def on_blocked(self) -> None:
        self.client.block(time.monotonic())

    def on_drained(self) -> None:
        self.edge.hub.drained(self.client)

    def on_lost(self) -> None:
        fault = self._connection.fault
        if self.leave() and fault is not None:
            closed.labels(str(fault)).inc()

    def on_ping(self) -> None:
        self._may_go_on()

    def on_bytes(self) -> None:
        if self._may_go_on():
            self._refuse(ProtocolError("invalid-message", "send JSON in text frames, not binary ones"))
            self._strike()

    def on_text(self, text: str) -> None:
        if self._may_go_on():
            try:
                self._handle(parse_client_message(text))
            except ProtocolError as error:
                self._refuse(error)
                self._strike()

    def _may_go_on(self) -> bool:
        """Counts a message; False where it is one too many."""
        now = time.monotonic()
        if self._rate is None:
            rate = self.edge.settings.max_messages_per_sec
            self._rate = TokenBucket(rate, rate * BURST_SEC, now)
        if self._rate.take(now):
            return True
        self._refuse(ProtocolError("rate-limited", "too many messages; this one was not read"))
        self._strike()
        return False

    def _strike(self) -> None:
        if self._strikes is None:
            self._strikes = Strikes()
        if self._strikes.out(time.monotonic()):
            self.close(1008, "broke the protocol repeatedly")

    def _handle(self, message: ClientMessage) -> None:
        edge = self.edge
        match message:
            case Subscribe():
                # All or nothing: one wrong name subscribes to none of them.
                channels = [parse_channel(name) for name in message.channels]
                for _, host in channels:
                    authorise(self.identity, "see", host)
                limit = edge.settings.max_subscriptions
                if len(self.client.audience.subscriptions.union(channels)) > limit:
                    raise ProtocolError("too-large", f"channels: at most {limit} subscriptions a client")
                edge.hub.subscribe(self.client, channels)
                if not edge.bus.available:
                    self._refuse(ProtocolError("unavailable", "Redis is away: data comes when it is back"))
            case Unsubscribe():
                authorise(self.identity, "see")
                edge.hub.unsubscribe(self.client, [parse_channel(name) for name in message.channels])
            case ContainerAction():
                authorise(self.identity, "act", message.host, message.request_id)
                self._begin_action(message)
            case Ping():
                authorise(self.identity, "see")
                self._say(Heartbeat(server_time=edge.bus.clock.now_ms(), nonce=message.nonce))

    def _begin_action(self, message: ContainerAction) -> None:
        if self._actions is None:
            self._actions = set()
        if len(self._actions) >= MAX_ACTIONS_UNDER_WAY:
            raise ProtocolError("rate-limited", "too many actions at once", message.request_id)
        wanted = wanted_of(message)
        now = time.monotonic()
        rate = self.edge.settings.max_actions_per_sec
        if self._action_rate is None:
            self._action_rate = TokenBucket(rate, max(rate * BURST_SEC, MAX_TARGETS), now)
        if not self._action_rate.take(now, len(wanted)):
            told = f"too many actions, {rate:g} a second are allowed: none of these was begun"
            raise ProtocolError("rate-limited", told, message.request_id)
        task = self.edge.tasks.create_task(self._act(wanted), name=f"action {message.request_id}")
        self._actions.add(task)
        task.add_done_callback(self._actions.discard)

    async def _act(self, wanted: list[Wanted]) -> None:
        some = asyncio.Semaphore(SUBMIT_AT_ONCE)

        async def submit(one: Wanted) -> None:
            async with some:
                await self._submit(one)

        async with asyncio.TaskGroup() as submissions:
            for one in wanted:
                submissions.create_task(submit(one))

    async def _submit(self, one: Wanted) -> None:
        try:
            await self.edge.desk.submit(one, self.identity, self.edge.relay.hear_acks, self.client)
        except ProtocolError as error:
            self._refuse(error)
        except Exception:
            logger.exception("an action failed")
            self._refuse(one.refused("unavailable", "the edge failed; its log says why"))

    def _say(self, message: Heartbeat | Error) -> None:
        self.client.put(message.model_dump_json().encode())

    def _refuse(self, error: ProtocolError) -> None:
        refused.labels(error.code).inc()
        self._say(Error(code=error.code, message=error.message, request_id=error.request_id, target=error.target))
