"""An action's life in Redis: submitted once, claimed once, settled once, each step atomic on its host's slot.

    submit   record `accepted` + stream entry, or the record that is there already
    claim    `accepted` → `running`, with the claimer's token, if the deadline has not passed
    settle   → a final status, with the audit entry, the entry's acknowledgement and the ack, by the claimer alone

Edges submit and read; the executor claims and settles. The record is the truth; acks on the channel are a hint.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

from pydantic import ValidationError
from redis.asyncio import Redis

from common.bus import Bus
from common.errors import BusRefusedError, MalformedError
from common.keys import ACTION_TTL_S, ACTIONS_STREAM_MAX, AUDIT_STREAM_MAX, EXECUTOR_GROUP
from common.models import ActionOrder, ActionRecord, ActionStatus
from common.protocol import ContainerAck

logger = logging.getLogger(__name__)

ORDER_FIELD = "order"
"""The one field of a stream entry: an ActionOrder as JSON."""

ClaimVerdict = Literal["claimed", "late", "taken", "missing", "malformed"]
_VERDICTS: dict[bytes, ClaimVerdict] = {verdict.encode(): verdict for verdict in get_args(ClaimVerdict)}

# Scripts are not rolled back: what may be refused (a key of another type) stands before what needs it done. A
# settlement begins with XACK, which needs no memory, so that a full server takes it; it refuses a claim.

_SUBMIT = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'order', ARGV[3])
  redis.call('HSET', KEYS[1], unpack(ARGV, 5))
  redis.call('EXPIRE', KEYS[1], ARGV[1])
  redis.call('SPUBLISH', KEYS[3], ARGV[4])
elseif kind ~= 'hash' then
  return false
end
return redis.call('HGETALL', KEYS[1])
"""

# A claim whose answer was lost is made again under the same token, and so is a settlement.
_CLAIM = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return 'missing' end
if kind ~= 'hash' then return 'malformed' end
local status, token = unpack(redis.call('HMGET', KEYS[1], 'status', 'token'))
if not status then return 'malformed' end
local ours = status == 'running' and token == ARGV[1]
if status ~= 'accepted' and not ours then return 'taken' end
local now = redis.call('TIME')
if now[1] * 1000 + math.floor(now[2] / 1000) > tonumber(ARGV[4]) then return 'late' end
if not ours then
  redis.call('HSET', KEYS[1], 'status', 'running', 'token', ARGV[1], 'at', ARGV[2], 'startedAt', ARGV[2])
  redis.call('SPUBLISH', KEYS[2], ARGV[3])
end
return 'claimed'
"""

_SETTLE = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'hash' then
  local status, token = unpack(redis.call('HMGET', KEYS[1], 'status', 'token'))
  if not status then return 0 end
  if status ~= 'accepted' and token ~= ARGV[1] then return 0 end
  if status ~= 'accepted' and status ~= 'running' then return 1 end
elseif kind ~= 'none' then
  return 0
end
redis.call('XACK', KEYS[3], 'executor', ARGV[2])
redis.call('XDEL', KEYS[3], ARGV[2])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'requestId', ARGV[7], 'record', ARGV[4])
redis.call('HSET', KEYS[1], 'token', ARGV[1], unpack(ARGV, 8))
if kind == 'none' then redis.call('EXPIRE', KEYS[1], ARGV[6]) end
redis.call('SPUBLISH', KEYS[4], ARGV[3])
return 1
"""


class Actions:
    """The actions of every host on one bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._keys = bus.keys
        self._submit = bus.script(_SUBMIT)
        self._claim = bus.script(_CLAIM)
        self._settle = bus.script(_SETTLE)

    async def submit(self, order: ActionOrder) -> ActionRecord:
        """The action's record: a new one, or the one that an earlier submission under this request id made.

        Raises BusError (it may or may not have been accepted: submit again) and MalformedError (the record there is not
        ours).
        """
        record = ActionRecord(
            request_id=order.request_id,
            host=order.host,
            container_id=order.container_id,
            action=order.action,
            actor=order.actor,
            status="accepted",
            at=self._bus.clock.now_ms(),
            deadline=order.deadline,
        )
        fields = _fields(record) | {"acceptedAt": str(record.at), "edgeId": order.edge_id}
        flat = [part for field in fields.items() for part in field]
        host = order.host
        answer: list[bytes] | None = await self._bus.run(
            self._submit,
            (self._keys.action(host, order.request_id), self._keys.actions(host), self._keys.acks(host)),
            (
                ACTION_TTL_S,
                ACTIONS_STREAM_MAX,
                order.model_dump_json(),
                acknowledge(record).model_dump_json(),
                *flat,
            ),
        )
        if answer is None:
            raise MalformedError("action record", "its key holds another kind of value")
        return _record(dict(zip(answer[::2], answer[1::2], strict=True)))

    async def read(self, host: str, request_id: str) -> ActionRecord | None:
        """The record, or None where there is none. Raises BusError and MalformedError."""
        with self._reading_record() as redis:
            fields: dict[Any, Any] = await redis.hgetall(self._keys.action(host, request_id))
        return _record(fields) if fields else None

    async def running_token(self, order: ActionOrder) -> str | None:
        """The token under which the action runs; None where it does not: unclaimed, settled, or no record. Raises
        BusError and MalformedError."""
        with self._reading_record() as redis:
            found: list[Any] = await redis.hmget(self._keys.action(order.host, order.request_id), ["status", "token"])
        status, token = found
        return token.decode(errors="replace") if status == b"running" and token is not None else None

    async def claim(self, order: ActionOrder, token: str) -> ClaimVerdict:
        """Takes an accepted action under `token` and tells everyone that it runs, unless its deadline has passed on
        Redis' clock (`late`), someone else has claimed it or it is settled (`taken`), there is no record of it
        (`missing`), or what stands there is none (`malformed`). After a BusError it may be claimed: claim it again
        under the same token."""
        at = self._bus.clock.now_ms()
        verdict: bytes = await self._bus.run(
            self._claim,
            (self._keys.action(order.host, order.request_id), self._keys.acks(order.host)),
            (token, at, acknowledge(_progress(order, "running", at)).model_dump_json(), order.deadline),
        )
        return _VERDICTS[verdict]

    async def settle(
        self,
        order: ActionOrder,
        entry_id: str,
        token: str,
        status: ActionStatus,
        *,
        error: str | None = None,
        duration_ms: int | None = None,
    ) -> bool:
        """Writes the outcome, its audit entry and the entry's acknowledgement, and tells everyone. Only for an action
        that is unclaimed, claimed under `token`, or whose record was lost meanwhile (`FLUSHALL`); False for every
        other: nothing has happened. After a BusError it may be settled: settle it again under the same token, and
        nothing is written twice."""
        record = _progress(order, status, self._bus.clock.now_ms(), error=error, duration_ms=duration_ms)
        flat = [part for field in _fields(record).items() for part in field]
        host = order.host
        done = await self._bus.run(
            self._settle,
            (
                self._keys.action(host, order.request_id),
                self._keys.audit(host),
                self._keys.actions(host),
                self._keys.acks(host),
            ),
            (
                token,
                entry_id,
                acknowledge(record).model_dump_json(),
                record.model_dump_json(exclude_none=True),
                AUDIT_STREAM_MAX,
                ACTION_TTL_S,
                order.request_id,
                *flat,
            ),
        )
        return bool(done)

    async def discard(self, host: str, entry_id: str) -> None:
        """Acknowledges and deletes a stream entry that is no action, or that has been settled already."""
        with self._bus.reaching() as redis:
            pipeline = redis.pipeline(transaction=True)
            pipeline.xack(self._keys.actions(host), EXECUTOR_GROUP, entry_id)
            pipeline.xdel(self._keys.actions(host), entry_id)
            await pipeline.execute()

    @contextmanager
    def _reading_record(self) -> Iterator[Redis]:
        try:
            with self._bus.reaching() as redis:
                yield redis
        except BusRefusedError as error:
            if error.reason.startswith("WRONGTYPE"):
                raise MalformedError("action record", "its key holds another kind of value") from error
            raise


def acknowledge(record: ActionRecord) -> ContainerAck:
    """What clients are told of a record."""
    return ContainerAck(
        request_id=record.request_id,
        host=record.host,
        container_id=record.container_id,
        action=record.action,
        status=record.status,
        at=record.at,
        actor=record.actor,
        error=record.error,
        duration_ms=record.duration_ms,
    )


def parse_order(fields: Mapping[bytes, bytes] | None) -> ActionOrder:
    """A stream entry's order; an entry that was trimmed away has no fields. Raises MalformedError."""
    if not fields:
        raise MalformedError("action order", "its entry was trimmed from the stream")
    try:
        return ActionOrder.model_validate_json(fields.get(ORDER_FIELD.encode(), b""))
    except ValidationError as invalid:
        raise MalformedError("action order", str(invalid.errors(include_url=False)[0]["msg"])) from None


def _progress(
    order: ActionOrder,
    status: ActionStatus,
    at: int,
    *,
    error: str | None = None,
    duration_ms: int | None = None,
) -> ActionRecord:
    return ActionRecord(
        request_id=order.request_id,
        host=order.host,
        container_id=order.container_id,
        action=order.action,
        actor=order.actor,
        status=status,
        at=at,
        deadline=order.deadline,
        error=error,
        duration_ms=duration_ms,
    )


def _fields(record: ActionRecord) -> dict[str, str]:
    return {name: str(value) for name, value in record.model_dump(exclude_none=True).items()}


def _record(fields: Mapping[bytes, bytes]) -> ActionRecord:
    try:
        text = {name.decode(): value.decode() for name, value in fields.items()}
        return ActionRecord.model_validate(text, strict=False)
    except (ValidationError, UnicodeDecodeError) as invalid:
        raise MalformedError("action record", str(invalid).splitlines()[0]) from None
