"""The bus: Redis or Valkey, a single server or one that Sentinel replaces when it fails, behind one interface.

What it promises:
- A command is tried once. It succeeded, or a BusError says that it may not have; nobody repeats it unseen.
- Published state is kept as last state in the same script, so that whoever subscribes first and reads then misses
  nothing; it is fenced by the lease, so that a collector that lost its host publishes nothing more.
- Pub/sub itself is at most once: what is published while a subscriber is away is gone. See common/subscriber.py.

An absent Redis is said once per episode, here, whoever runs into it.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common.clock import RedisClock
from common.envelope import Version, wrap
from common.errors import BusRefusedError, BusUnavailableError, MalformedError
from common.keys import (
    EVENTS_KEPT,
    EVENTS_TTL_S,
    LAST_STATE_TTL_S,
    PUBLISHED_BY,
    ROSTER_TTL_MS,
    WORKERS,
    Grain,
    Keys,
    StateKind,
    Worker,
)
from common.line import Command, Line, Prompt
from common.outage import Outage
from common.roster import About
from common.sentinel import Primary, ToPrimary
from common.sentinel_url import SentinelUrl
from common.telemetry import malformed, unreplicated

logger = logging.getLogger(__name__)

SOCKET_TIMEOUT_S = 5.0
"""Longer than any blocking read (`READ_BLOCK_MS`): a reply that takes longer means a dead connection."""

READ_BLOCK_MS = 2_000

REPLICATED_WITHIN_MS = 500
"""A replica that takes longer is not waited for; while none keeps up, a tenth of this."""

LOOK_EVERY_S = 2.0
LOOK_WITHIN_S = 1.0
"""How often the Sentinels are asked whether the primary has moved, and how long that may hold up a sign of life."""

_MOST_SAID = 1_000

# The state first: a history that cannot be written (a full server, a key of another type) keeps nobody from seeing it.
_PUBLISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('SPUBLISH', KEYS[3], ARGV[2])
for i = 4, #KEYS do
  local point = 3 * (i - 3) + 1
  redis.call('XADD', KEYS[i], 'MAXLEN', '~', ARGV[point + 1], '*', 'p', ARGV[point])
  redis.call('EXPIRE', KEYS[i], ARGV[point + 2])
end
return 1
"""

_PUBLISH_EVENTS = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 4, #ARGV do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'event', ARGV[i])
  redis.call('SPUBLISH', KEYS[3], ARGV[i])
end
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
"""


class Point(NamedTuple):
    """What a published state adds to its history (common/history.py)."""

    grain: Grain
    payload: bytes
    kept: int
    """Points that the history is to have at most, this one among them."""
    ttl_s: int


class Beat(NamedTuple):
    """What a worker finds when it gives its sign of life."""

    holder: bytes | None
    """Who holds its lease; None where nobody does any more."""
    watched: frozenset[StateKind]
    """Of the kinds asked about, those that somebody on some edge watches on this host."""


@dataclass(frozen=True)
class RosterReading:
    """The roster as it stood at `now_ms` on Redis' clock."""

    now_ms: int
    seen: Mapping[Worker, Mapping[str, int]]
    """Worker → host → when last seen, ms."""
    about: Mapping[Worker, Mapping[str, About]]
    """Worker → host → what it says of itself."""


class Bus:
    """Commands to Redis, with their failures told as BusError."""

    def __init__(
        self,
        url: str,
        keys: Keys,
        *,
        max_connections: int = 32,
        socket_timeout_s: float = SOCKET_TIMEOUT_S,
        keepalive_s: int = 15,
    ) -> None:
        """`keepalive_s`: a peer that the network has swallowed is given up by the kernel after twice that."""
        self.url_shown = without_password(url)
        self.keys = keys
        self.clock = RedisClock()
        self._outage = Outage(f"Redis at {self.url_shown}", logger)
        self._replicas = Outage(f"any replica of Redis at {self.url_shown}", logger)
        sentinels = SentinelUrl.parse(url)
        pool = BlockingConnectionPool.from_url(
            sentinels.server_url if sentinels else url,
            max_connections=max_connections,
            timeout=socket_timeout_s,
            socket_timeout=socket_timeout_s,
            socket_connect_timeout=3.0,
            retry=Retry(NoBackoff(), 0),
            client_name="fleetcast",
            **_keepalive(url, keepalive_s),
        )
        self._primary: Primary | None = None
        self._looked_at = float("-inf")
        bases: tuple[type, ...] = (Prompt, pool.connection_class)
        if sentinels:
            self._primary = Primary(sentinels, self._leave)
            pool.connection_kwargs["primary"] = self._primary
            bases = (Prompt, ToPrimary, pool.connection_class)
        pool.connection_class = type("Connection", bases, {})
        self._line = Line(pool)
        self._redis: Redis = Redis.from_pool(pool)
        self._publish = self.script(_PUBLISH)
        self._publish_events = self.script(_PUBLISH_EVENTS)
        self._unreadable: set[tuple[Worker, str]] = set()

    async def close(self) -> None:
        await self._redis.aclose()
        if self._primary is not None:
            await self._primary.aclose()

    @property
    def available(self) -> bool:
        """False from a failed command until one succeeds."""
        return not self._outage.ongoing

    @contextmanager
    def reaching(self) -> Iterator[Redis]:
        """The client, with what it raises told as BusError: `with bus.reaching() as redis: await redis.get(...)`."""
        try:
            yield self._redis
        except (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OSError) as error:
            reason = str(error) or type(error).__name__
            self._outage.note(reason)
            self.clock.forget()  # the next one that answers may be another server
            raise BusUnavailableError(self.url_shown, reason) from error
        except RedisError as error:
            raise BusRefusedError(self.url_shown, str(error)) from error
        else:
            self._outage.over()

    def script(self, text: str) -> AsyncScript:
        """A Lua script for `run`; all its keys must be of one host."""
        return self._redis.register_script(text)

    async def run(
        self, script: AsyncScript, keys: Sequence[str], args: Sequence[str | bytes | int], *, replicate: bool = False
    ) -> Any:
        """`replicate`: where another server may take this one's place, one of those has it too before this returns, or
        is late, which is said and counted."""
        words = (len(keys), *keys, *args)
        try:
            return await self._run(("EVALSHA", script.sha, *words), replicate)
        except BusRefusedError as refused:
            if not isinstance(refused.__cause__, NoScriptError):
                raise
            return await self._run(("EVAL", str(script.script), *words), replicate)  # Redis has it from now on

    async def _run(self, command: Command, replicate: bool) -> Any:
        if self._primary is None or not replicate:
            [answer] = await self._ask(command)
            return answer
        within_ms = REPLICATED_WITHIN_MS if not self._replicas.ongoing else REPLICATED_WITHIN_MS // 10
        moves = self._primary.moves
        answer, confirmed_by = await self._ask(command, ("WAIT", 1, within_ms))
        if confirmed_by:
            self._replicas.over()
            return answer
        unreplicated.inc()
        await self._look_for(self._primary)
        if self._primary.moves != moves:  # it was written to the old one, which will forget it
            raise BusUnavailableError(self.url_shown, "another server has taken its place")
        self._replicas.note(f"none has confirmed a write within {within_ms} ms: a fail-over now would undo it")
        return answer

    async def _leave(self) -> None:
        """Closes all connections: they lead to a server that is not the one to write to any more."""
        await self._redis.connection_pool.disconnect(inuse_connections=True)

    async def _look_for(self, primary: Primary) -> None:
        """A server that has been replaced may take a while to know it."""
        self._looked_at = time.monotonic()
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                await primary.address()
        except (RedisConnectionError, TimeoutError) as error:
            logger.debug("where the primary is now cannot be told: %s", error)

    async def _look_around(self) -> None:
        if self._primary is not None and time.monotonic() - self._looked_at > LOOK_EVERY_S:
            await self._look_for(self._primary)

    async def spublish(self, channel: str, payload: bytes) -> None:
        await self._ask(("SPUBLISH", channel, payload))

    async def _ask(self, *commands: Command) -> list[Any]:
        """In one round trip. Raises BusError where any of them fails."""
        with self.reaching():
            answers = await self._line.ask(*commands)
            for answer in answers:
                if isinstance(answer, RedisError):
                    raise answer
            return answers

    def pubsub(self) -> PubSub:
        """A connection of its own to subscribe on; common/subscriber.py is its one user."""
        return self._redis.pubsub()

    async def sync_clock(self) -> None:
        sent_at = time.monotonic()
        with self.reaching() as redis:
            said = await redis.time()
        self._note_time(said, sent_at)

    # State

    async def publish_state(
        self,
        host: str,
        kind: StateKind,
        lease_token: str,
        version: Version,
        body: bytes,
        history: Sequence[Point] = (),
    ) -> bool:
        """Publishes a state, keeps it as the last one and adds to its history. False where the lease is not held:
        nothing has happened."""
        keys = (
            self.keys.lease(host, PUBLISHED_BY[kind]),
            self.keys.last(host, kind),
            self.keys.channel(host, kind),
            *(self.keys.history(host, kind, point.grain) for point in history),
        )
        points = [word for point in history for word in (point.payload, point.kept, point.ttl_s)]
        done = await self.run(self._publish, keys, (lease_token, wrap(version, body), LAST_STATE_TTL_S, *points))
        return bool(done)

    async def publish_events(self, host: str, lease_token: str, payloads: Sequence[bytes]) -> bool:
        """Publishes events in their order, each wrapped with its version, and keeps them among the last ones. False
        where the lease is not held: nothing has happened."""
        keys = (
            self.keys.lease(host, PUBLISHED_BY["events"]),
            self.keys.events(host),
            self.keys.channel(host, "events"),
        )
        done = await self.run(self._publish_events, keys, (lease_token, EVENTS_KEPT, EVENTS_TTL_S, *payloads))
        return bool(done)

    async def last_events(self, hosts: Sequence[str], count: int = EVENTS_KEPT) -> list[list[bytes]]:
        """The payloads of each host's last events, the oldest first."""
        with self.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            for host in hosts:
                pipeline.xrevrange(self.keys.events(host), count=count)
            found = await pipeline.execute(raise_on_error=False)
        return [self._events_in(entries) for entries in found]

    def _events_in(self, entries: Any) -> list[bytes]:
        """None of a key that holds something else: one host's must not keep the others' from being read."""
        if isinstance(entries, RedisError):
            malformed.labels("last events").inc()
            logger.debug("last events not read: %s", entries)
            return []
        return [fields.get(b"event", b"") for _, fields in reversed(entries)]

    async def last_states(self, wanted: Sequence[tuple[str, StateKind]]) -> list[bytes | None]:
        """The last payloads of (host, kind) pairs, in their order; None where there is none."""
        with self.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            for host, kind in wanted:
                pipeline.get(self.keys.last(host, kind))
            found: list[bytes | None] = await pipeline.execute()
        return found

    # Roster

    async def beat(self, host: str, worker: Worker, ttl_ms: int, about: About, kinds: Sequence[StateKind] = ()) -> Beat:
        """A worker's sign of life, in one round trip: renews its lease (whoever holds it: look at the answer), notes it
        in the roster, reads Redis' clock, and which of `kinds` are watched."""
        await self._look_around()
        sent_at = time.monotonic()
        holder, time_said, _, _, *exist = await self._ask(
            ("GETEX", self.keys.lease(host, worker), "PX", ttl_ms),
            ("TIME",),
            *self._seen_now(host, worker, about),
            *(("EXISTS", self.keys.watch(place, kind)) for kind in kinds for place in (host, None)),
        )
        self._note_time(time_said, sent_at)
        watched = frozenset(kind for kind, *keys in zip(kinds, exist[::2], exist[1::2], strict=True) if any(keys))
        return Beat(holder, watched)

    async def note_seen(self, host: str, worker: Worker, about: About) -> None:
        """Says that a host's worker is, or was, there, and forgets who has not been for a week."""
        long_ago = self.clock.now_ms() - ROSTER_TTL_MS
        await self._ask(
            *self._seen_now(host, worker, about), ("ZREMRANGEBYSCORE", self.keys.seen(worker), "-inf", long_ago)
        )

    def _seen_now(self, host: str, worker: Worker, about: About) -> tuple[Command, Command]:
        return (
            ("ZADD", self.keys.seen(worker), self.clock.now_ms(), host),
            ("HSET", self.keys.about(worker), host, about.to_json()),
        )

    async def read_roster(self) -> RosterReading:
        """Every host's workers, in one round trip, however many hosts there are."""
        await self._look_around()
        sent_at = time.monotonic()
        with self.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            pipeline.time()
            for worker in WORKERS:
                pipeline.zrange(self.keys.seen(worker), 0, -1, withscores=True)
                pipeline.hgetall(self.keys.about(worker))
            time_said, *rows = await pipeline.execute()
        return RosterReading(
            now_ms=self._note_time(time_said, sent_at),
            seen={
                worker: {host.decode(errors="replace"): int(score) for host, score in rows[2 * i]}
                for i, worker in enumerate(WORKERS)
            },
            about={worker: self._read_about(worker, rows[2 * i + 1]) for i, worker in enumerate(WORKERS)},
        )

    def _read_about(self, worker: Worker, said: Mapping[bytes, bytes]) -> dict[str, About]:
        """Of those that can be read; of each other it is said once."""
        found = {}
        for name, text in said.items():
            host = name.decode(errors="replace")
            try:
                found[host] = About.from_json(text)
                self._unreadable.discard((worker, host))
            except MalformedError as error:
                malformed.labels("roster").inc()
                if (worker, host) not in self._unreadable and len(self._unreadable) < _MOST_SAID:
                    self._unreadable.add((worker, host))
                    logger.warning("ignoring what %s of %s says of itself: %s", worker, host, error)
        return found

    def _note_time(self, said: Sequence[bytes | int], sent_at: float) -> int:
        """Redis' time in ms, from the answer to TIME."""
        seconds, micros = map(int, said)
        self.clock.note(seconds * 1000 + micros / 1000, sent_at, time.monotonic())
        return seconds * 1000 + micros // 1000


def without_password(url: str) -> str:
    """An address fit for logs: `redis://user:secret@host` → `redis://host`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _keepalive(url: str, idle_s: int) -> dict[str, Any]:
    if url.startswith("unix:"):
        return {}
    probes = {"TCP_KEEPIDLE": idle_s, "TCP_KEEPINTVL": max(1, idle_s // 3), "TCP_KEEPCNT": 3}
    known = {getattr(socket, name): value for name, value in probes.items() if hasattr(socket, name)}
    return {"socket_keepalive": True, "socket_keepalive_options": known}
