"""Actions as an edge sees them: resolves what a client means, submits it, and passes acks on to whoever waits.

Acks on the bus are a hint; what is waited for is also read from its record, after every resubscription and now and
then, and an action that no executor has taken by its deadline is settled as expired.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pydantic import ValidationError

from common.actions import Actions, acknowledge
from common.bus import Bus
from common.envelope import unwrap
from common.errors import BusError, MalformedError, ProtocolError
from common.models import FINAL_STATUSES, ActionOrder, ActionRecord, ActionStatus, Container
from common.protocol import ContainerAck, ContainerAction, ContainersMessage
from common.telemetry import malformed
from common.tokens import Identity
from services.edge.access import authorise
from services.edge.client import Client
from services.edge.hub import Hub

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Actions waited for on one edge; more are refused as `rate-limited`."""

_LATE_MS = 1_000
"""An executor's own word on a deadline comes first; after this the edge gives it."""

_RANK: dict[ActionStatus, int] = {**dict.fromkeys(FINAL_STATUSES, 2), "accepted": 0, "running": 1}


@dataclass
class _Waiting:
    """An action that somebody here waits for."""

    order: ActionOrder
    told: dict[Client, int] = field(default_factory=dict)
    """Client → rank of the last status it was told; it only goes up."""


class ActionDesk:
    """One edge's waiting actions."""

    def __init__(self, bus: Bus, hub: Hub, edge_id: str, sweep_every_s: float = 1.0) -> None:
        self._bus = bus
        self._hub = hub
        self._actions = Actions(bus)
        self._edge_id = edge_id
        self._sweep_every_s = sweep_every_s
        self._waiting: dict[tuple[str, str], _Waiting] = {}
        self._check_now = asyncio.Event()
        self.hosts: set[str] = set()
        """Hosts whose acks are listened to: those that an action here has been for."""

    async def submit(
        self, client: Client, asked: ContainerAction, identity: Identity, hear_acks: Callable[[str], Awaitable[None]]
    ) -> None:
        """Submits an action for a client, or joins it to the one that has its request id. Raises ProtocolError."""
        host = self._resolve_host(asked, identity)
        authorise(identity, "act", host, asked.request_id)
        if len(self._waiting) >= MAX_WAITING:
            raise ProtocolError("rate-limited", "too many actions are under way here; try again", asked.request_id)
        if not self._bus.available:
            raise ProtocolError("unavailable", "not accepted: Redis is away; send it again later", asked.request_id)
        try:
            async with asyncio.timeout(5.0):
                await hear_acks(host)
                record = await self._actions.read(host, asked.request_id)
                order = _order_of(record) if record else await self._order(host, asked, identity.user)
                waiting = self._waiting.setdefault((host, asked.request_id), _Waiting(order))
                waiting.told[client] = -1
                record = await self._actions.submit(order)
        except (BusError, TimeoutError) as error:
            self._forget(client, host, asked.request_id)
            raise ProtocolError(
                "unavailable",
                f"whether the action was accepted is not known; send it again with the same requestId: {error}",
                asked.request_id,
            ) from error
        except MalformedError as error:
            self._forget(client, host, asked.request_id)
            malformed.labels("action record").inc()
            raise ProtocolError("unavailable", f"the record cannot be read: {error}", asked.request_id) from error
        self._tell(acknowledge(record))

    def leave(self, client: Client) -> None:
        """A client has gone; its actions go on without it."""
        for key in [key for key, waiting in self._waiting.items() if client in waiting.told]:
            self._forget(client, *key)

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
        for (host, request_id), waiting in list(self._waiting.items()):
            try:
                record = await self._actions.read(host, request_id)
            except MalformedError as error:
                malformed.labels("action record").inc()
                logger.warning("skipping the record of %s on %s: %s", request_id, host, error)
                continue
            if record is None:
                continue
            late = self._bus.clock.now_ms() > record.deadline + _LATE_MS
            if record.status == "accepted" and late:
                # The entry itself stays in the stream: an executor that comes back finds it settled and drops it.
                await self._actions.settle(
                    waiting.order, "0-0", "", "expired", error="no executor took it before its deadline"
                )
            else:
                self._tell(acknowledge(record))

    def _tell(self, ack: ContainerAck) -> None:
        waiting = self._waiting.get((ack.host, ack.request_id))
        if waiting is None:
            return
        rank = _RANK[ack.status]
        body = ack.model_dump_json().encode()
        for client, told in waiting.told.items():
            if rank > told:
                waiting.told[client] = rank
                client.put(body)
        if ack.status in FINAL_STATUSES:
            del self._waiting[(ack.host, ack.request_id)]

    def _forget(self, client: Client, host: str, request_id: str) -> None:
        waiting = self._waiting.get((host, request_id))
        if waiting is not None:
            waiting.told.pop(client, None)
            if not waiting.told:
                del self._waiting[(host, request_id)]

    def _resolve_host(self, asked: ContainerAction, identity: Identity) -> str:
        if self._hub.hosts is None:
            raise ProtocolError("unavailable", "not accepted: this edge is still starting", asked.request_id)
        hosts = [status.host for status in self._hub.hosts if identity.sees(status.host)]
        if asked.host is None:
            if len(hosts) == 1:
                return hosts[0]
            raise ProtocolError("unknown-host", f"host: name one, the fleet has {len(hosts)}", asked.request_id)
        if asked.host not in hosts:
            raise ProtocolError("unknown-host", f"host: no host {asked.host!r} has been seen", asked.request_id)
        return asked.host

    async def _order(self, host: str, asked: ContainerAction, actor: str) -> ActionOrder:
        container = resolve(asked.container_id, await self._containers(host), asked.request_id)
        return ActionOrder(
            request_id=asked.request_id,
            host=host,
            container_id=container.id,
            action=asked.action,
            actor=actor,
            edge_id=self._edge_id,
            deadline=self._bus.clock.now_ms() + asked.expires_in_sec * 1000,
            timeout_sec=asked.timeout_sec,
            expect=asked.expect,
        )

    async def _containers(self, host: str) -> tuple[Container, ...]:
        [payload] = await self._bus.last_states([(host, "containers")])
        if payload is None:
            return ()
        try:
            return ContainersMessage.model_validate_json(unwrap(payload)[1]).data
        except (MalformedError, ValidationError) as error:
            malformed.labels("last state").inc()
            logger.warning("the containers of %s cannot be read: %s", host, str(error).splitlines()[0])
            return ()


def resolve(reference: str, containers: tuple[Container, ...], request_id: str | None = None) -> Container:
    """The container that is meant by an id, a name, or an unambiguous id prefix, in this order.

    Raises ProtocolError: `unknown-container`, `ambiguous-container`.
    """
    for container in containers:
        if reference in (container.id, container.name):
            return container
    begun = [container for container in containers if container.id.startswith(reference)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        names = ", ".join(container.name for container in begun[:5])
        raise ProtocolError("ambiguous-container", f"containerId: {reference!r} may be {names}", request_id)
    raise ProtocolError("unknown-container", f"containerId: no container {reference!r} on this host", request_id)


def _order_of(record: ActionRecord) -> ActionOrder:
    """The order of an action that is there already: the record answers, so what else it asked for does not matter."""
    return ActionOrder(
        request_id=record.request_id,
        host=record.host,
        container_id=record.container_id,
        action=record.action,
        actor=record.actor,
        edge_id="",
        deadline=record.deadline,
    )
