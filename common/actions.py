"""An action's life in Redis: submitted once, claimed once, settled once, each step atomic on its host's slot.

    submit     record `accepted` + stream entry, or the record that is there already
    claim      `accepted` → `running`, with the claimer's token, if the deadline has not passed
    take_over  `running` under a dead claimer's token → under ours, so that the dead one can settle nothing any more
    settle     → a final status, with the audit entry, the entry's acknowledgement and the ack, by the claimer alone

Edges submit and read; the executor claims and settles. The record is the truth; acks on the channel are a hint.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import ValidationError
from redis.asyncio import Redis

from common.bus import Bus
from common.deeds import Begun
from common.errors import BusRefusedError, MalformedError
from common.keys import ACTION_TTL_S, ACTIONS_STREAM_MAX, DEEDS_KEPT, DEEDS_TTL_S, EXECUTOR_GROUP
from common.models import Action, ActionKey, ActionOrder, ActionRecord, ActionStatus, Cause
from common.protocol import ContainerAck

logger = logging.getLogger(__name__)

ORDER_FIELD = "order"
"""The one field of a stream entry: an ActionOrder as JSON, signed (a JWS) or bare."""

AUDIT_MAX = 10_000

EntryId = tuple[int, int]
"""Of a stream's entry: milliseconds on Redis' clock, and which one within them."""

NEWEST: EntryId = (2**64 - 1, 2**64 - 1)
"""Later than any entry."""

ClaimVerdict = Literal["claimed", "late", "taken", "missing", "malformed"]
_VERDICTS: dict[bytes, ClaimVerdict] = {verdict.encode(): verdict for verdict in get_args(ClaimVerdict)}

_COMMON = frozenset(Action.model_fields)

# Scripts are not rolled back: what may be refused (a key of another type) stands before what needs it done. A
# settlement begins with XACK, which needs no memory, so that a full server takes it; it refuses a claim. The deeds (see
# common/deeds.py) are the collector's affair: no action fails for them.

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
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[4]) then return 'late' end
redis.call('HSET', KEYS[1], 'before', ARGV[6], 'until', string.format('%d', now + ARGV[7]))
if not ours then
  redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', ARGV[9], '*', 'begun', ARGV[8])
  redis.pcall('EXPIRE', KEYS[3], ARGV[10])
  redis.call('HSET', KEYS[1], 'status', 'running', 'token', ARGV[1], 'executor', ARGV[5], 'at', ARGV[2],
    'startedAt', ARGV[2])
  redis.call('SPUBLISH', KEYS[2], ARGV[3])
end
return 'claimed'
"""

_TAKE_OVER = """
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 0 end
local status, token = unpack(redis.call('HMGET', KEYS[1], 'status', 'token'))
if status ~= 'running' or (token ~= ARGV[1] and token ~= ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[2], 'executor', ARGV[3])
return 1
"""

# The audit has the record as it was settled. One with more fields than any of ours is none of ours.
_SETTLE = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'hash' then
  local status, token = unpack(redis.call('HMGET', KEYS[1], 'status', 'token'))
  if not status or redis.call('HLEN', KEYS[1]) > 100 then return 0 end
  if status ~= 'accepted' and token ~= ARGV[1] then return 0 end
  if status ~= 'accepted' and status ~= 'running' then return 1 end
elseif kind ~= 'none' then
  return 0
end
redis.call('XACK', KEYS[3], 'executor', ARGV[2])
redis.call('XDEL', KEYS[3], ARGV[2])
redis.call('HSET', KEYS[1], 'token', ARGV[1], unpack(ARGV, 9))
redis.call('HDEL', KEYS[1], 'before', 'until')
if kind == 'none' then redis.call('EXPIRE', KEYS[1], ARGV[5]) end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(redis.call('HGETALL', KEYS[1])))
redis.call('SPUBLISH', KEYS[4], ARGV[3])
redis.pcall('XADD', KEYS[5], 'MAXLEN', '~', ARGV[7], '*', 'ended', ARGV[6])
redis.pcall('EXPIRE', KEYS[5], ARGV[8])
return 1
"""


@dataclass(frozen=True)
class Outcome:
    """What came of an action."""

    status: ActionStatus
    error: str | None = None
    duration_ms: int | None = None
    noop: bool | None = None


@dataclass(frozen=True)
class Running:
    """An action that somebody has begun and not settled."""

    token: str
    """Whoever has it settles it under this."""
    before: str
    """What the container was just before, as the one who claimed it wrote it down."""
    until: int
    """When Docker will be through with it whatever it does, ms on Redis' clock."""


class Actions:
    """The actions of every host on one bus."""

    def __init__(self, bus: Bus, audit_max: int = AUDIT_MAX) -> None:
        self._bus = bus
        self._keys = bus.keys
        self._audit_max = audit_max
        self._submit = bus.script(_SUBMIT)
        self._claim = bus.script(_CLAIM)
        self._take_over = bus.script(_TAKE_OVER)
        self._settle = bus.script(_SETTLE)

    async def submit(self, order: ActionOrder, signed: str | None = None) -> ActionRecord:
        """The action's record: a new one, or the one that an earlier submission under this key made. `signed`: the
        order as it is to stand in the stream; without it, bare.

        Raises BusError (it may or may not have been accepted: submit again) and MalformedError (the record there is not
        ours).
        """
        now = self._bus.clock.now_ms()
        record = _record_of(order, "accepted", now, accepted_at=now)
        host = order.host
        answer: list[bytes] | None = await self._bus.run(
            self._submit,
            (self._keys.action(*order.key), self._keys.actions(host), self._keys.acks(host)),
            (
                ACTION_TTL_S,
                ACTIONS_STREAM_MAX,
                signed or order.model_dump_json(),
                acknowledge(record).model_dump_json(),
                *_flat(record),
            ),
            replicate=True,
        )
        if answer is None:
            raise MalformedError("action record", "its key holds another kind of value")
        return parse_record(dict(zip(answer[::2], answer[1::2], strict=True)))

    async def read(self, key: ActionKey) -> ActionRecord | None:
        """The record, or None where there is none. Raises BusError and MalformedError."""
        with self._reading_record() as redis:
            fields: dict[Any, Any] = await redis.hgetall(self._keys.action(*key))
        return parse_record(fields) if fields else None

    async def read_all(self, keys: Sequence[ActionKey]) -> list[ActionRecord | MalformedError | None]:
        """The records of many actions in one round trip; an error stands in the place of one that cannot be read.
        Raises BusError."""
        with self._bus.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            for key in keys:
                pipeline.hgetall(self._keys.action(*key))
            found = await pipeline.execute(raise_on_error=False)
        return [_record_or_error(fields) for fields in found]

    async def running(self, order: ActionOrder) -> Running | None:
        """Who has the action; None where nobody has: unclaimed, settled, or no record. Raises BusError and
        MalformedError."""
        with self._reading_record() as redis:
            names = ["status", "token", "before", "until"]
            status, token, before, until = await redis.hmget(self._keys.action(*order.key), names)
        if status != b"running" or token is None:
            return None
        return Running(_text(token), _text(before) if before else "", int(until) if until and until.isdigit() else 0)

    async def claim(
        self, order: ActionOrder, token: str, *, executor: str = "", before: str = "", patience_ms: int = 0
    ) -> ClaimVerdict:
        """Takes an accepted action under `token` and tells everyone that it runs, unless its deadline has passed on
        Redis' clock (`late`), someone else has claimed it or it is settled (`taken`), there is no record of it
        (`missing`), or what stands there is none (`malformed`). After a BusError it may be claimed: claim it again
        under the same token. `before`: see Running. `patience_ms`: from now on, Docker may be at it for so long."""
        at = self._bus.clock.now_ms()
        verdict: bytes = await self._bus.run(
            self._claim,
            (self._keys.action(*order.key), self._keys.acks(order.host), self._keys.deeds(order.host)),
            (
                token,
                at,
                acknowledge(_record_of(order, "running", at)).model_dump_json(),
                order.deadline,
                executor,
                before,
                patience_ms,
                _begun(order, patience_ms).model_dump_json(),
                DEEDS_KEPT,
                DEEDS_TTL_S,
            ),
            replicate=True,
        )
        return _VERDICTS[verdict]

    async def take_over(self, order: ActionOrder, dead_token: str, token: str, executor: str = "") -> bool:
        """Takes an action that runs under a dead claimer's token under our own. False where it does not any more.
        After a BusError take it over again."""
        key = self._keys.action(*order.key)
        return bool(await self._bus.run(self._take_over, (key,), (dead_token, token, executor), replicate=True))

    async def settle(self, order: ActionOrder, entry_id: str, token: str, outcome: Outcome) -> bool:
        """Writes the outcome, its audit entry and the entry's acknowledgement, and tells everyone. Only for an action
        that is unclaimed, claimed under `token`, or whose record was lost meanwhile (`FLUSHALL`); False for every
        other: nothing has happened. After a BusError it may be settled: settle it again under the same token, and
        nothing is written twice."""
        record = _record_of(
            order,
            outcome.status,
            self._bus.clock.now_ms(),
            error=outcome.error,
            duration_ms=outcome.duration_ms,
            noop=outcome.noop,
        )
        host = order.host
        done = await self._bus.run(
            self._settle,
            (
                self._keys.action(*order.key),
                self._keys.audit(host),
                self._keys.actions(host),
                self._keys.acks(host),
                self._keys.deeds(host),
            ),
            (
                token,
                entry_id,
                acknowledge(record).model_dump_json(),
                self._audit_max,
                ACTION_TTL_S,
                str(order.key),
                DEEDS_KEPT,
                DEEDS_TTL_S,
                *_flat(record),
            ),
            replicate=True,
        )
        return bool(done)

    async def discard(self, host: str, entry_id: str) -> None:
        """Acknowledges and deletes a stream entry that is no action, or that has been settled already."""
        with self._bus.reaching() as redis:
            pipeline = redis.pipeline(transaction=True)
            pipeline.xack(self._keys.actions(host), EXECUTOR_GROUP, entry_id)
            pipeline.xdel(self._keys.actions(host), entry_id)
            await pipeline.execute()

    async def read_audit(
        self, chunks: Sequence[tuple[str, EntryId, int]]
    ) -> list[list[tuple[EntryId, Mapping[bytes, bytes]]] | MalformedError]:
        """Of each (host, before, count) the newest `count` entries of the host's audit that are older than `before`,
        newest first, in one round trip; an error stands in the place of an audit that is none. `parse_record` reads an
        entry. Raises BusError."""
        with self._bus.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            for host, (ms, seq), count in chunks:
                pipeline.xrevrange(self._keys.audit(host), max=f"({ms}-{seq}", count=count)
            found = await pipeline.execute(raise_on_error=False)
            for entries in found:
                if isinstance(entries, Exception) and not str(entries).startswith("WRONGTYPE"):
                    raise entries
        return [
            MalformedError("audit", "its key holds another kind of value")
            if isinstance(entries, Exception)
            else [(_entry_id(entry_id), fields) for entry_id, fields in entries]
            for entries in found
        ]

    @contextmanager
    def _reading_record(self) -> Iterator[Redis]:
        try:
            with self._bus.reaching() as redis:
                yield redis
        except BusRefusedError as error:
            if error.reason.startswith("WRONGTYPE"):
                raise _another_kind() from error
            raise


def acknowledge(record: ActionRecord) -> ContainerAck:
    """What clients are told of a record."""
    return ContainerAck(
        request_id=record.request_id,
        target=record.target,
        host=record.host,
        container_id=record.container_id,
        action=record.action,
        status=record.status,
        at=record.at,
        actor=record.actor,
        error=record.error,
        duration_ms=record.duration_ms,
        noop=record.noop,
    )


def order_of(record: ActionRecord) -> ActionOrder:
    """The order that a record was made of, as far as the record knows it."""
    return ActionOrder(**record.model_dump(include=set(_COMMON), by_alias=False))


def parse_order(text: bytes) -> ActionOrder:
    """Reads an order's JSON. Raises MalformedError."""
    try:
        return ActionOrder.model_validate_json(text)
    except ValidationError as invalid:
        raise MalformedError("action order", str(invalid.errors(include_url=False)[0]["msg"])) from None


def _begun(order: ActionOrder, patience_ms: int) -> Begun:
    cause = Cause(request_id=order.request_id, target=order.target, actor=order.actor, action=order.action)
    return Begun(key=str(order.key), container_id=order.container_id, patience_ms=patience_ms, cause=cause)


def _record_of(order: ActionOrder, status: ActionStatus, at: int, **more: Any) -> ActionRecord:
    common = order.model_dump(include=set(_COMMON), by_alias=False)
    return ActionRecord(**common, status=status, at=at, **more)


def _flat(record: ActionRecord) -> list[str]:
    """The fields as HSET takes them."""
    fields = record.model_dump(exclude_none=True)
    return [part for name, value in fields.items() for part in (name, str(value))]


def parse_record(fields: Mapping[bytes, bytes]) -> ActionRecord:
    """Reads a record's hash, or its entry in the audit. Raises MalformedError."""
    try:
        text = {name.decode(): value.decode() for name, value in fields.items()}
        return ActionRecord.model_validate(text, strict=False)
    except (ValidationError, UnicodeDecodeError) as invalid:
        raise MalformedError("action record", str(invalid).splitlines()[0]) from None


def _record_or_error(fields: Any) -> ActionRecord | MalformedError | None:
    if isinstance(fields, Exception):
        return _another_kind()
    try:
        return parse_record(fields) if fields else None
    except MalformedError as error:
        return error


def _entry_id(raw: bytes) -> EntryId:
    ms, _, seq = raw.partition(b"-")
    return int(ms), int(seq)


def _another_kind() -> MalformedError:
    return MalformedError("action record", "its key holds another kind of value")


def _text(raw: Any) -> str:
    return str(raw, errors="replace")
