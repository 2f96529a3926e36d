"""Actions as an edge sees them: finds what a client means, signs and submits it, and passes acks on to whoever waits.

Acks on the bus are a hint; what is waited for is also read from its record, after every resubscription and now and
then, and an action that no executor has taken by its deadline is settled as expired.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pydantic import ValidationError

from common.actions import AUDIT_MAX, Actions, Outcome, acknowledge, order_of
from common.bus import Bus
from common.errors import BusError, MalformedError, ProtocolError
from common.models import FINAL_STATUSES, ActionKey, ActionOrder, ActionRecord, ActionStatus
from common.protocol import ContainerAck
from common.signing import Signer
from common.telemetry import malformed
from common.tokens import Identity
from services.edge.access import authorise
from services.edge.client import Client
from services.edge.hub import Hub
from services.edge.targets import Snapshots, Wanted, resolve

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Actions waited for on one edge; more are refused as `rate-limited`."""

_LATE_MS = 500
"""An executor's own word on a deadline comes first; after this the edge gives it."""

_READ_AT_ONCE = 200

_RANK: dict[ActionStatus, int] = {**dict.fromkeys(FINAL_STATUSES, 2), "accepted": 0, "running": 1}

HearAcks = Callable[[str], Awaitable[None]]
"""Waits until a host's acks are heard here."""


@dataclass
class _Waiting:
    """An action that somebody here waits for."""

    told: dict[Client, int] = field(default_factory=dict)
    """Client → rank of the last status it was told; it only goes up."""


class ActionDesk:
    """One edge's waiting actions."""

    def __init__(
        self,
        bus: Bus,
        hub: Hub,
        edge_id: str,
        signer: Signer | None = None,
        audit_max: int = AUDIT_MAX,
        sweep_every_s: float = 1.0,
    ) -> None:
        """`signer` None: orders go out unsigned, and executors that were not told to do such refuse them."""
        self._bus = bus
        self._hub = hub
        self._actions = Actions(bus, audit_max)
        self._snapshots = Snapshots(bus)
        self._edge_id = edge_id
        self._signer = signer
        self._sweep_every_s = sweep_every_s
        self._waiting: dict[ActionKey, _Waiting] = {}
        self._check_now = asyncio.Event()
        self.hosts: set[str] = set()
        """Hosts whose acks are listened to: those that an action here has been for."""

    async def submit(
        self, wanted: Wanted, identity: Identity, hear_acks: HearAcks, client: Client | None = None
    ) -> ActionRecord:
        """Submits an action, or finds the one that has its key already. `client`: hears how it stands, and every step
        from then on. Raises ProtocolError."""
        host = self._resolve_host(wanted, identity)
        authorise(identity, "act", host, wanted.request_id, wanted.target)
        if len(self._waiting) >= MAX_WAITING:
            raise wanted.refused("rate-limited", "too many actions are under way here; try again")
        if not self._bus.available:
            raise wanted.refused("unavailable", "not accepted: Redis is away; send it again later")
        key = wanted.key(host)
        try:
            async with asyncio.timeout(5.0):
                if client is not None:
                    await hear_acks(host)
                record = await self._actions.read(key)
                if record is None:
                    order = await self._order(host, wanted, identity.user)
                if client is not None:
                    self._waiting.setdefault(key, _Waiting()).told[client] = -1
                if record is None:
                    signed = self._signer.sign(order.model_dump_json().encode()) if self._signer else None
                    record = await self._actions.submit(order, signed)
        except (BusError, TimeoutError) as error:
            self._forget(client, key)
            raise wanted.refused(
                "unavailable",
                f"whether the action was accepted is not known; send it again with the same requestId: {error}",
            ) from error
        except MalformedError as error:
            self._forget(client, key)
            malformed.labels("action record").inc()
            raise wanted.refused("unavailable", f"the record cannot be read: {error}") from error
        self._tell(acknowledge(record))
        return record

    async def look(self, key: ActionKey) -> ActionRecord | None:
        """How an action stands; one that nobody has taken in time has expired. Raises ProtocolError."""
        try:
            record = await self._actions.read(key)
            if record is not None and self._is_late(record):
                await self._expire(record)
                record = await self._actions.read(key)
        except BusError as error:
            raise ProtocolError("unavailable", f"Redis is away; ask again later: {error}") from error
        except MalformedError as error:
            malformed.labels("action record").inc()
            raise ProtocolError("unavailable", f"the record cannot be read: {error}") from error
        return record

    def leave(self, client: Client) -> None:
        """A client has gone; its actions go on without it."""
        for key in [key for key, waiting in self._waiting.items() if client in waiting.told]:
            self._forget(client, key)

    def is_waited_for(self, client: Client) -> bool:
        """Whether a client waits for the end of an action."""
        return any(client in waiting.told for waiting in self._waiting.values())

    def on_ack(self, host: str, payload: bytes) -> None:
        """An ack from the bus."""
        try:
            ack = ContainerAck.model_validate_json(payload)
        except ValidationError as invalid:
            malformed.labels("ack").inc()
            logger.warning("skipping an ack of %s: %s", host, invalid.errors(include_url=False)[0]["msg"])
            return
        if ack.host == host:
            self._tell(ack)

    def check_now(self) -> None:
        """Acks may have been missed: read the records of what is waited for."""
        self._check_now.set()

    async def sweep_forever(self) -> None:
        """Reads the records of waiting actions now and then, and at once after `check_now`."""
        while True:
            try:
                async with asyncio.timeout(self._sweep_every_s):
                    await self._check_now.wait()
            except TimeoutError:
                pass
            self._check_now.clear()
            try:
                await self._sweep()
            except BusError as error:
                logger.debug("records not read: %s", error)

    async def _sweep(self) -> None:
        keys = list(self._waiting)
        for start in range(0, len(keys), _READ_AT_ONCE):
            some = keys[start : start + _READ_AT_ONCE]
            for key, record in zip(some, await self._actions.read_all(some), strict=True):
                if isinstance(record, MalformedError):
                    malformed.labels("action record").inc()
                    logger.warning("skipping the record of %s on %s: %s", key, key.host, record)
                elif record is not None and self._is_late(record):
                    await self._expire(record)
                elif record is not None:
                    self._tell(acknowledge(record))

    def _is_late(self, record: ActionRecord) -> bool:
        return record.status == "accepted" and self._bus.clock.now_ms() > record.deadline + _LATE_MS

    async def _expire(self, record: ActionRecord) -> None:
        """Everybody hears of it over the bus. The entry itself stays in the stream: an executor that comes back finds
        it settled and drops it."""
        outcome = Outcome("expired", "no executor took it before its deadline")
        await self._actions.settle(order_of(record), "0-0", "", outcome)

    def _tell(self, ack: ContainerAck) -> None:
        key = ActionKey(ack.host, ack.request_id, ack.target)
        waiting = self._waiting.get(key)
        if waiting is None:
            return
        rank = _RANK[ack.status]
        body = ack.model_dump_json().encode()
        for client, told in waiting.told.items():
            if rank > told:
                waiting.told[client] = rank
                client.put(body)
        if ack.status in FINAL_STATUSES:
            del self._waiting[key]

    def _forget(self, client: Client | None, key: ActionKey) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None and client is not None:
            waiting.told.pop(client, None)
            if not waiting.told:
                del self._waiting[key]

    def _resolve_host(self, wanted: Wanted, identity: Identity) -> str:
        if self._hub.hosts is None:
            raise wanted.refused("unavailable", "not accepted: this edge is still starting")
        hosts = [status.host for status in self._hub.hosts if identity.sees(status.host)]
        if wanted.host is None:
            if len(hosts) == 1:
                return hosts[0]
            raise wanted.refused("unknown-host", f"host: name one, the fleet has {len(hosts)}")
        if wanted.host not in hosts:
            raise wanted.refused("unknown-host", f"host: no host {wanted.host!r} has been seen")
        return wanted.host

    async def _order(self, host: str, wanted: Wanted, actor: str) -> ActionOrder:
        container_id, name = resolve(wanted, await self._snapshots.containers(host))
        return ActionOrder(
            request_id=wanted.request_id,
            target=wanted.target,
            host=host,
            container_id=container_id,
            name=name,
            action=wanted.action,
            actor=actor,
            edge_id=self._edge_id,
            deadline=self._bus.clock.now_ms() + wanted.expires_in_sec * 1000,
            timeout_sec=wanted.timeout_sec,
            expect=wanted.expect,
        )
