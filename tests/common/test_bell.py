import asyncio
import math

import pytest

from common.bell import Bell
from tests.support import PATIENCE_S


def loop_time_s() -> float:
    return asyncio.get_running_loop().time()


async def waiting_at(bell: Bell, by_s: float) -> "asyncio.Task[bool]":
    """Somebody who waits already."""
    task = asyncio.create_task(bell.rings_by(by_s))
    await asyncio.sleep(0)
    return task


async def test_all_who_wait_hear_it() -> None:
    bell = Bell()
    tasks = [await waiting_at(bell, by_s) for by_s in (math.inf, loop_time_s() + 3600)]
    bell.ring()
    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.gather(*tasks) == [True, True]


async def test_who_waits_in_vain_goes_when_the_time_is_over() -> None:
    by_s = loop_time_s() + 0.02
    assert not await Bell().rings_by(by_s)
    assert loop_time_s() >= by_s - 0.001


async def test_what_rang_earlier_is_not_heard() -> None:
    bell = Bell()
    bell.ring()
    assert not await bell.rings_by(loop_time_s() + 0.02)


async def test_who_is_cancelled_waits_no_more_and_leaves_nothing_behind() -> None:
    bell = Bell()
    task = await waiting_at(bell, loop_time_s() + 0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bell.ring()
    await asyncio.sleep(0.04)
