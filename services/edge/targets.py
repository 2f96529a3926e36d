"""What a client means by a container: from its words to a full id."""

import logging
import re
from collections import OrderedDict
from dataclasses import dataclass

from pydantic import ValidationError

from common.bus import Bus
from common.envelope import unwrap
from common.errors import ErrorCode, MalformedError, ProtocolError
from common.models import ActionKey, ActionVerb, Container, Expectation
from common.protocol import ContainerAction, ContainersMessage
from common.telemetry import malformed

logger = logging.getLogger(__name__)

MAX_SNAPSHOTS = 64
"""Hosts whose last read containers are kept parsed; the one asked for longest ago goes first."""

_FULL_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Wanted:
    """One action as a client asks for it."""

    request_id: str
    target: int | None
    host: str | None
    container: str
    """Id, id prefix or name."""
    action: ActionVerb
    timeout_sec: int | None
    expires_in_sec: int
    expect: Expectation | None

    def key(self, host: str) -> ActionKey:
        return ActionKey(host, self.request_id, self.target)

    def refused(self, code: ErrorCode, message: str) -> ProtocolError:
        return ProtocolError(code, message, self.request_id, self.target)


def wanted_of(asked: ContainerAction) -> list[Wanted]:
    """The actions that a message asks for, one a target."""

    def one(target: int | None, host: str | None, container: str | None, expect: Expectation | None) -> Wanted:
        return Wanted(
            request_id=asked.request_id,
            target=target,
            host=host,
            container=container or "",
            action=asked.action,
            timeout_sec=asked.timeout_sec,
            expires_in_sec=asked.expires_in_sec,
            expect=expect,
        )

    if asked.targets is None:
        return [one(None, asked.host, asked.container_id, asked.expect)]
    return [one(index, each.host, each.container_id, each.expect) for index, each in enumerate(asked.targets)]


def resolve(wanted: Wanted, containers: tuple[Container, ...]) -> tuple[str, str]:
    """Full id and name of the container that is meant: by an id, a name, or an unambiguous id prefix, in this order. A
    full id counts although nobody here knows it: the executor does.

    Raises ProtocolError: `unknown-container`, `ambiguous-container`.
    """
    reference = wanted.container
    for container in containers:
        if reference in (container.id, container.name):
            return container.id, container.name
    begun = [container for container in containers if container.id.startswith(reference)]
    if len(begun) == 1:
        return begun[0].id, begun[0].name
    if begun:
        names = ", ".join(container.name for container in begun[:5])
        raise wanted.refused("ambiguous-container", f"containerId: {reference!r} may be {names}")
    if _FULL_ID.fullmatch(reference):
        return reference, ""
    raise wanted.refused("unknown-container", f"containerId: no container {reference!r} on this host")


class Snapshots:
    """The containers of hosts as their collectors last published them."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._parsed: OrderedDict[str, tuple[bytes, tuple[Container, ...]]] = OrderedDict()

    async def containers(self, host: str) -> tuple[Container, ...]:
        """Empty where nothing is known. Raises BusError."""
        [payload] = await self._bus.last_states([(host, "containers")])
        if payload is None:
            return ()
        known = self._parsed.get(host)
        if known is None or known[0] != payload:
            known = payload, _parse(host, payload)
            self._parsed[host] = known
        self._parsed.move_to_end(host)
        if len(self._parsed) > MAX_SNAPSHOTS:
            self._parsed.popitem(last=False)
        return known[1]


def _parse(host: str, payload: bytes) -> tuple[Container, ...]:
    try:
        return ContainersMessage.model_validate_json(unwrap(payload)[1]).data
    except (MalformedError, ValidationError) as error:
        malformed.labels("last state").inc()
        logger.warning("the containers of %s cannot be read: %s", host, str(error).splitlines()[0])
        return ()
