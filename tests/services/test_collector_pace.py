import asyncio
import math
from collections.abc import AsyncIterator

import pytest

from common.bus import Bus
from common.roster import About
from common.tenure import Tenure
from services.collector.pace import Pace
from tests.edges import host_worker
from tests.services.collector_support import HOST
from tests.support import PATIENCE_S, eventually

NEVER_S = 3600.0


@pytest.fixture
async def tenure(bus: Bus) -> AsyncIterator[Tenure]:
    async with host_worker(bus, HOST, "metrics") as tenure:
        yield tenure


async def watch(bus: Bus, tenure: Tenure) -> None:
    """As an edge does it, so that the next beats find it too."""
    with bus.reaching() as redis:
        await redis.set(bus.keys.watch(HOST, "metrics"), b"1")
    await eventually(lambda: tenure.interest.has("metrics"))


async def unwatch(bus: Bus, tenure: Tenure) -> None:
    with bus.reaching() as redis:
        await redis.delete(bus.keys.watch(HOST, "metrics"))
    await eventually(lambda: not tenure.interest.has("metrics"))


async def waits(pace: Pace) -> "asyncio.Task[None]":
    """A wait that has begun and has not ended yet."""
    waiting = asyncio.create_task(pace.wait())
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    return waiting


async def test_a_wait_ends_at_once_when_the_kind_becomes_watched(tenure: Tenure) -> None:
    waiting = await waits(Pace(tenure, "metrics", NEVER_S, NEVER_S))
    tenure.interest.note_woken("metrics")
    async with asyncio.timeout(PATIENCE_S):
        await waiting


async def test_a_watch_that_only_a_beat_finds_ends_a_wait_too(tenure: Tenure, bus: Bus) -> None:
    waiting = await waits(Pace(tenure, "metrics", NEVER_S, NEVER_S))
    await watch(bus, tenure)
    async with asyncio.timeout(PATIENCE_S):
        await waiting


async def test_another_kind_ends_no_wait(tenure: Tenure) -> None:
    waiting = await waits(Pace(tenure, "metrics", NEVER_S, NEVER_S))
    tenure.interest.note_woken("processes")
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    waiting.cancel()


async def test_the_pace_is_fast_while_watched_and_slow_after(tenure: Tenure, bus: Bus) -> None:
    pace = Pace(tenure, "metrics", 0.01, NEVER_S)
    assert (pace.is_watched, pace.interval_s) == (False, NEVER_S)
    await watch(bus, tenure)
    assert (pace.is_watched, pace.interval_s) == (True, 0.01)
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(10):
            await pace.wait()
    await unwatch(bus, tenure)
    assert (pace.is_watched, pace.interval_s) == (False, NEVER_S)
    (await waits(pace)).cancel()


async def test_one_who_stops_watching_and_begins_again_is_served_at_once_again(tenure: Tenure, bus: Bus) -> None:
    pace = Pace(tenure, "metrics", NEVER_S, NEVER_S)
    for _ in range(2):
        waiting = await waits(pace)
        await watch(bus, tenure)
        async with asyncio.timeout(PATIENCE_S):
            await waiting
        waiting = await waits(pace)
        await unwatch(bus, tenure)
        assert not waiting.done()
        await watch(bus, tenure)
        async with asyncio.timeout(PATIENCE_S):
            await waiting
        await unwatch(bus, tenure)


async def test_where_redis_has_forgotten_everything_a_sample_is_due_at_once_and_what_was_watched_still_is(
    tenure: Tenure, bus: Bus
) -> None:
    await watch(bus, tenure)
    pace = Pace(tenure, "metrics", NEVER_S, NEVER_S)
    waiting = await waits(pace)
    with bus.reaching() as redis:
        await redis.flushall()
    async with asyncio.timeout(PATIENCE_S):
        await waiting
    (await waits(pace)).cancel()
    assert pace.is_watched, "whoever watches gets the time to say so again"


async def test_without_a_slow_pace_only_what_is_watched_is_sampled(tenure: Tenure, bus: Bus) -> None:
    pace = Pace(tenure, "metrics", 0.01, math.inf)
    assert pace.interval_s == math.inf
    waiting = await waits(pace)
    await watch(bus, tenure)
    async with asyncio.timeout(PATIENCE_S):
        await waiting
        for _ in range(3):
            await pace.wait()
    await unwatch(bus, tenure)
    (await waits(pace)).cancel()


async def test_a_slow_pace_is_never_faster_than_the_fast_one(tenure: Tenure) -> None:
    assert Pace(tenure, "metrics", 10.0, 1.0).interval_s == 10.0


async def test_who_samples_more_slowly_because_nobody_watches_any_more_is_not_late(bus: Bus) -> None:
    tenure = Tenure(bus, HOST, "metrics", 1, "token", About(), overdue_s=0.0)
    tenure.interest.note_read(frozenset({"metrics"}))
    pace = Pace(tenure, "metrics", 0.0, NEVER_S)
    tenure.note_done("metrics", pace.interval_s)
    assert tenure.fault == "stalled overdue", "as it is right after what was promised"
    tenure.interest.note_read(frozenset())
    waiting = await waits(pace)
    assert tenure.fault is None
    waiting.cancel()


async def test_a_watch_that_ends_during_a_wait_makes_nobody_late(bus: Bus) -> None:
    tenure = Tenure(bus, HOST, "metrics", 1, "token", About(), overdue_s=0.0)
    tenure.interest.note_read(frozenset({"metrics"}))
    waiting = await waits(Pace(tenure, "metrics", NEVER_S, 2 * NEVER_S))
    tenure.note_done("metrics", 0.0)
    tenure.interest.note_read(frozenset())
    await eventually(lambda: tenure.fault is None)
    waiting.cancel()


async def test_to_wait_again_and_again_gets_nothing_done(bus: Bus) -> None:
    tenure = Tenure(bus, HOST, "metrics", 1, "token", About(), overdue_s=0.0)
    tenure.note_waits("metrics", 0.02)
    assert tenure.fault == "stalled overdue", "it has not done anything yet"
    tenure.note_done("metrics", 0.01)

    def is_late() -> bool:
        tenure.note_waits("metrics", 0.02)
        return tenure.fault == "stalled overdue"

    await eventually(is_late)
