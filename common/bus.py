"""The bus: one Redis or Valkey behind one interface.

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
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common.clock import RedisClock
from common.envelope import Version, wrap
from common.errors import BusRefusedError, BusUnavailableError
from common.keys import LAST_STATE_TTL_S, ROSTER_TTL_MS, WORKERS, Keys, StateKind, Worker
from common.outage import Outage

logger = logging.getLogger(__name__)

SOCKET_TIMEOUT_S = 5.0
"""Longer than any blocking read (`READ_BLOCK_MS`): a reply that takes longer means a dead connection."""

READ_BLOCK_MS = 2_000

_PUBLISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('SPUBLISH', KEYS[3], ARGV[2])
return 1
"""


@dataclass(frozen=True)
class RosterReading:
    """The roster as it stood at `now_ms` on Redis' clock."""

    now_ms: int
    seen: Mapping[Worker, Mapping[str, int]]
    """Worker → host → when last seen, ms."""
    faults: Mapping[Worker, Mapping[str, str]]
    """Worker → host → `<state> <reason>`."""


class _Cancellable:
    """A connection that lets itself be cancelled. redis-py 8.1 sends under `asyncio.wait_for`, which on Python 3.11
    loses a cancellation that arrives while the send ends: a task group would then wait for that task for ever."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        await super().send_packed_command(command, check_health)  # type: ignore[misc]
        if task and task.cancelling() > cancelled_before:
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise asyncio.CancelledError


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
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=socket_timeout_s,
            socket_timeout=socket_timeout_s,
            socket_connect_timeout=3.0,
            retry=Retry(NoBackoff(), 0),
            client_name="fleetcast",
            **_keepalive(url, keepalive_s),
        )
        pool.connection_class = type("Connection", (_Cancellable, pool.connection_class), {})
        self._redis: Redis = Redis.from_pool(pool)
        self._publish = self.script(_PUBLISH)

    async def close(self) -> None:
        await self._redis.aclose()

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
            raise BusUnavailableError(self.url_shown, reason) from error
        except RedisError as error:
            raise BusRefusedError(self.url_shown, str(error)) from error
        else:
            self._outage.over()

    def script(self, text: str) -> AsyncScript:
        """A Lua script for `run`; all its keys must be of one host."""
        return self._redis.register_script(text)

    async def run(self, script: AsyncScript, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        with self.reaching():
            return await script(keys=keys, args=args)

    def pubsub(self) -> PubSub:
        """A connection of its own to subscribe on; common/subscriber.py is its one user."""
        return self._redis.pubsub()

    async def sync_clock(self) -> None:
        sent_at = time.monotonic()
        with self.reaching() as redis:
            seconds, micros = await redis.time()
        self.clock.note(seconds * 1000 + micros / 1000, sent_at, time.monotonic())

    # State

    async def publish_state(self, host: str, kind: StateKind, lease_token: str, version: Version, body: bytes) -> bool:
        """Publishes a state and keeps it as the last one. False where the lease is not held: nothing has happened."""
        keys = (self.keys.lease(host, kind), self.keys.last(host, kind), self.keys.channel(host, kind))
        done = await self.run(self._publish, keys, (lease_token, wrap(version, body), LAST_STATE_TTL_S))
        return bool(done)

    async def last_states(self, wanted: Sequence[tuple[str, StateKind]]) -> list[bytes | None]:
        """The last payloads of (host, kind) pairs, in their order; None where there is none."""
        with self.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            for host, kind in wanted:
                pipeline.get(self.keys.last(host, kind))
            found: list[bytes | None] = await pipeline.execute()
        return found

    # Roster

    async def note_seen(self, host: str, worker: Worker, fault: str | None) -> None:
        """Says that a host's worker is there, and what keeps it from its job, if anything: `gone silent`."""
        now_ms = self.clock.now_ms()
        with self.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            pipeline.zadd(self.keys.seen(worker), {host: now_ms})
            pipeline.zremrangebyscore(self.keys.seen(worker), "-inf", now_ms - ROSTER_TTL_MS)
            if fault is None:
                pipeline.hdel(self.keys.faults(worker), host)
            else:
                pipeline.hset(self.keys.faults(worker), host, fault)
            await pipeline.execute()

    async def read_roster(self) -> RosterReading:
        """Every host's workers, in one round trip, however many hosts there are."""
        sent_at = time.monotonic()
        with self.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            pipeline.time()
            for worker in WORKERS:
                pipeline.zrange(self.keys.seen(worker), 0, -1, withscores=True)
                pipeline.hgetall(self.keys.faults(worker))
            (seconds, micros), *rows = await pipeline.execute()
        now_ms = seconds * 1000 + micros // 1000
        self.clock.note(seconds * 1000 + micros / 1000, sent_at, time.monotonic())
        return RosterReading(
            now_ms=now_ms,
            seen={
                worker: {host.decode(errors="replace"): int(score) for host, score in rows[2 * i]}
                for i, worker in enumerate(WORKERS)
            },
            faults={
                worker: {
                    host.decode(errors="replace"): fault.decode(errors="replace")
                    for host, fault in rows[2 * i + 1].items()
                }
                for i, worker in enumerate(WORKERS)
            },
        )


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
