"""Asks Redis: what it is, how far away, whether it lets us write and hear, and who works for this host there."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from statistics import median
from typing import Any

from common.bus import Bus, without_password
from common.errors import BusRefusedError, BusUnavailableError
from common.keys import WORKERS, Keys
from common.sentinel_url import SentinelUrl
from common.settings import DoctorSettings
from common.subscriber import Subscriber
from services.doctor.clock import judge_clock
from services.doctor.finding import Finding
from services.doctor.host import Holding, judge_host
from services.doctor.server import judge_replicas, judge_round_trip, judge_server

_TRIPS = 9
_HEARD_WITHIN_S = 5.0

# One key of each kind that Fleetcast writes, under its own prefix and gone at once.
_WRITES = """
redis.call('SET', KEYS[1], '1', 'PX', 1000)
redis.call('DEL', KEYS[1])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1, '*', 'doctor', '1')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'doctor', '1')
redis.call('DEL', KEYS[1])
redis.call('ZADD', KEYS[1], 1, 'doctor')
redis.call('DEL', KEYS[1])
return 1
"""


async def check_redis(settings: DoctorSettings, host_id: str) -> AsyncIterator[Finding]:
    """Everything that takes a Redis. Ends early where there is none."""
    bus = Bus(settings.redis_url, Keys(settings.namespace))
    try:
        shown = without_password(settings.redis_url)
        try:
            trips = await _round_trips(bus)
        except BusUnavailableError as away:
            yield Finding("redis", "failed", f"none at {shown}: {away.reason}", _advice(away.reason))
            return
        yield Finding("redis", "ok", f"one answers at {shown}")
        yield judge_round_trip(median(trips))
        info, config = await _said(bus)
        if info is None:
            yield Finding("redis", "note", "what it is cannot be told: INFO is not allowed here")
        else:
            for finding in judge_server(info, config):
                yield finding
            if SentinelUrl.parse(settings.redis_url):
                yield judge_replicas(info)
        yield judge_clock(time.time() * 1000 - bus.clock.now_ms())
        yield await _writes(bus, host_id)
        yield await _hears(bus)
        for finding in judge_host(host_id, await _holdings(bus, host_id)):
            yield finding
    except BusRefusedError as refused:
        yield Finding("redis", "failed", f"it refused: {refused.reason}", _advice(refused.reason))
    except BusUnavailableError as away:
        yield Finding("redis", "failed", f"it went away meanwhile: {away.reason}", "run this again when it is back")
    finally:
        await bus.close()


async def _round_trips(bus: Bus) -> list[float]:
    """Milliseconds of each; the clock is known afterwards."""
    took_ms = []
    for _ in range(_TRIPS):
        began = time.perf_counter()
        await bus.sync_clock()
        took_ms.append((time.perf_counter() - began) * 1000)
    return took_ms


async def _said(bus: Bus) -> tuple[dict[str, Any] | None, dict[str, str] | None]:
    """INFO, and the settings that tell more. None of what this user may not ask."""
    info: dict[str, Any] | None = None
    config: dict[str, str] | None = None
    try:
        with bus.reaching() as redis:
            info = await redis.info()
        with bus.reaching() as redis:
            config = {_text(name): _text(value) for name, value in (await redis.config_get("appendfsync")).items()}
    except BusRefusedError:
        pass  # None says so
    return info, config or None


async def _writes(bus: Bus, host_id: str) -> Finding:
    try:
        await bus.run(bus.script(_WRITES), [bus.keys.doctor(host_id)], [])
    except BusRefusedError as refused:
        return Finding("redis", "failed", f"it does not let us write: {refused.reason}", _advice(refused.reason))
    return Finding("redis", "ok", "it lets us write")


async def _hears(bus: Bus) -> Finding:
    """By the same means as every part: a message to ourselves."""
    channel = bus.keys.canary(f"doctor.{secrets.token_hex(4)}")
    heard = asyncio.Event()
    subscriber = Subscriber(bus, bus.keys.canary("doctor"), lambda _, payload: heard.set(), lambda _: None)
    subscriber.want([channel])
    running = asyncio.create_task(subscriber.run())
    try:
        async with asyncio.timeout(_HEARD_WITHIN_S):
            await subscriber.subscribed(channel)
            await bus.spublish(channel, b"")
            await heard.wait()
    except TimeoutError:
        return Finding(
            "redis",
            "failed",
            f"a message that we sent did not come back within {_HEARD_WITHIN_S:g} s",
            "its user needs the channels too (docs/SECURITY.md: &fc:*), and nothing on the way may cut connections off",
        )
    finally:
        running.cancel()
        await asyncio.wait([running])
    return Finding("redis", "ok", "what is published is heard")


async def _holdings(bus: Bus, host_id: str) -> list[Holding]:
    with bus.reaching() as redis:
        leases = await redis.mget([bus.keys.lease(host_id, worker) for worker in WORKERS])
    reading = await bus.read_roster()
    found = []
    for worker, lease in zip(WORKERS, leases, strict=True):
        seen_at = reading.seen.get(worker, {}).get(host_id)
        about = reading.about.get(worker, {}).get(host_id)
        found.append(
            Holding(
                worker,
                machine=None if lease is None else _machine(_text(lease)),
                seen_ago_ms=None if seen_at is None else reading.now_ms - seen_at,
                fault=about.fault if about else None,
                usage=about.usage if about else None,
            )
        )
    return found


def _machine(lease: str) -> str:
    """Of `<epoch> <machine> <instance>`."""
    return next(iter(lease.split()[1:]), "")


def _advice(reason: str) -> str:
    """What to do about what Redis, or the way to it, has said."""
    said = reason.lower()
    if "noauth" in said or "wrongpass" in said or "invalid username-password" in said or "authentication" in said:
        return "put the password into FLEETCAST_REDIS_URL: redis://:PASSWORD@host:6379"
    if "noperm" in said or "no permissions" in said:
        return "give its user what docs/SECURITY.md says: ~fc:* &fc:* +@all -@dangerous -@admin +info +role"
    if "oom" in said:
        return "it is full: raise maxmemory"
    if "name or service" in said or "name resolution" in said:
        return "that name leads nowhere from here: check FLEETCAST_REDIS_URL"
    if "certificate" in said or "ssl" in said:
        return "check the certificate: FLEETCAST_REDIS_URL takes ?ssl_ca_certs=FILE"
    return "start one, or name the right one in FLEETCAST_REDIS_URL; `fleetcast up` brings its own"


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
