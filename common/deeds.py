"""What the executor has begun and ended on a host's containers, in order: who caused what the collector sees.

The executor's scripts write it (common/actions.py), in the same step as the claim and the settlement; the collector
reads on from where it was. Times are Redis' own.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from common.bus import Bus
from common.errors import MalformedError
from common.keys import DEEDS_KEPT
from common.models import Cause, ContainerId, WireModel
from common.telemetry import malformed


class Begun(WireModel):
    """An action that Docker is about to be asked for."""

    key: str
    """Names the action on its host."""
    container_id: ContainerId
    patience_ms: int
    """Docker may be at it for so long, whoever waits for it."""
    cause: Cause


class Ended(NamedTuple):
    """An action is settled: what it did, it has done."""

    key: str


class Deed(NamedTuple):
    at_ms: int
    """On Redis' clock."""
    what: Begun | Ended


async def read_deeds(bus: Bus, host: str, after: str) -> tuple[list[Deed], str]:
    """What happened after the entry `after` (`0-0`: whatever is kept), and the entry to go on after. Raises
    BusError."""
    deeds = []
    with bus.reaching() as redis:
        entries: Any = await redis.xrange(bus.keys.deeds(host), f"({after}", "+", count=2 * DEEDS_KEPT)
    for entry_id, fields in entries:
        after = entry_id.decode()
        try:
            deeds.append(Deed(int(after.partition("-")[0]), parse_deed(fields)))
        except MalformedError:
            malformed.labels("deed").inc()
    return deeds, after


def parse_deed(fields: Mapping[Any, Any]) -> Begun | Ended:
    """Raises MalformedError."""
    ended = fields.get(b"ended")
    if ended is not None:
        return Ended(ended.decode(errors="replace"))
    try:
        return Begun.model_validate_json(fields.get(b"begun", b""))
    except ValidationError as invalid:
        raise MalformedError("deed", str(invalid.errors(include_url=False)[0]["msg"])) from None
