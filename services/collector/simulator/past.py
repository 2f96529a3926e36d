"""A past for a fleet that does not exist: what its history would hold, had it been there all along.

Written once, before the hosts begin, and only where a host has no history yet. The last minutes stand at one sample
every few seconds, as of a host that somebody has looked at now and then; what lies before, minute by minute.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from common.bus import Bus
from common.history import MINUTE_MS, SPAN_S, HistoryKind, encode, metrics_point, usage_point
from common.keys import Grain
from services.collector.simulator.fleet import SimulatedHost

logger = logging.getLogger(__name__)

FULL_STEP_MS = 5_000

_WRITTEN_AT_ONCE = 500
_SAID_EVERY = 20
_KINDS: tuple[HistoryKind, ...] = ("metrics", "usage")


async def write_past(bus: Bus, fleet: Sequence[SimulatedHost], minutes: int, now_ms: int) -> None:
    """Raises BusError."""
    logger.info("writing the last %d minutes of %d hosts", minutes, len(fleet))
    for number, host in enumerate(fleet, start=1):
        for kind in _KINDS:
            await _write(bus, host, kind, "minute", _minutes(minutes, now_ms))
            await _write(bus, host, kind, "full", _samples(minutes, now_ms))
        if number % _SAID_EVERY == 0:
            logger.info("wrote the past of %d hosts of %d", number, len(fleet))


def _minutes(minutes: int, now_ms: int) -> Sequence[int]:
    """When each whole minute began, the oldest first."""
    this_minute = now_ms // MINUTE_MS
    return [minute * MINUTE_MS for minute in range(this_minute - minutes, this_minute)]


def _samples(minutes: int, now_ms: int) -> Sequence[int]:
    span_ms = min(minutes * MINUTE_MS, SPAN_S["full"] * 1000)
    return range(now_ms - span_ms, now_ms - 1_000, FULL_STEP_MS)


async def _write(bus: Bus, host: SimulatedHost, kind: HistoryKind, grain: Grain, times: Sequence[int]) -> None:
    key = bus.keys.history(host.name, kind, grain)
    with bus.reaching() as redis:
        if await redis.exists(key):
            return
    point = _encoder(host, kind)
    # The mean of a minute is added when it has ended.
    later_ms = MINUTE_MS if grain == "minute" else 0
    for some in _batches(times):
        payloads = await asyncio.to_thread(_all, point, some)
        with bus.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            for at, payload in zip(some, payloads, strict=True):
                pipeline.xadd(key, {"p": payload}, id=f"{at + later_ms}-1")
            pipeline.expire(key, SPAN_S[grain])
            await pipeline.execute()


def _encoder(host: SimulatedHost, kind: HistoryKind) -> Callable[[int], bytes]:
    if kind == "metrics":
        return lambda at: encode(metrics_point(at, host.metrics(at)))
    return lambda at: encode(usage_point(at, host.usage(at)))


def _all(point: Callable[[int], bytes], times: Sequence[int]) -> list[bytes]:
    return [point(at) for at in times]


def _batches(times: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(times), _WRITTEN_AT_ONCE):
        yield times[start : start + _WRITTEN_AT_ONCE]
