"""The bus: what the library does wrong and what the bus promises instead."""

import asyncio

import pytest

from common.bus import Bus, without_password
from common.errors import BusRefusedError, BusUnavailableError
from common.roster import About
from services.embedded import EmbeddedServer
from tests.support import PATIENCE_S


async def test_a_cancellation_is_never_lost(bus: Bus) -> None:
    """redis-py sends under `asyncio.wait_for`, which on Python 3.11 may swallow one: its task then never ends."""

    async def ask_for_ever() -> None:
        while True:
            with bus.reaching() as redis:
                await redis.get("key")

    for turns in range(400):
        asking = asyncio.create_task(ask_for_ever())
        for _ in range(turns % 23):
            await asyncio.sleep(0)
        asking.cancel()
        done, _ = await asyncio.wait([asking], timeout=PATIENCE_S)
        assert done, f"cancelled after {turns % 23} turns of the loop, and it goes on"


async def test_commands_that_were_cancelled_leave_no_answer_behind(bus: Bus) -> None:
    """A connection given up in the middle must not hand its answer to the next command."""
    with bus.reaching() as redis:
        await redis.mset({f"key-{i}": f"value-{i}" for i in range(50)})
    for turns in range(50):

        async def ask(name: str) -> bytes:
            with bus.reaching() as redis:
                found: bytes = await redis.get(name)
                return found

        cancelled = asyncio.create_task(ask(f"key-{turns}"))
        for _ in range(turns % 11):
            await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert await ask(f"key-{(turns + 1) % 50}") == f"value-{(turns + 1) % 50}".encode()


def test_an_address_is_shown_without_its_password() -> None:
    assert without_password("redis://user:secret@redis.internal:6379/0") == "redis://redis.internal:6379/0"
    assert without_password("rediss://:secret@h?password=other") == "rediss://h"
    assert without_password("unix:///run/valkey.sock") == "unix:///run/valkey.sock"


async def test_a_script_that_redis_has_forgotten_runs_nevertheless_and_once(bus: Bus) -> None:
    count = bus.script("return redis.call('INCR', KEYS[1])")
    for number in range(1, 4):
        assert await bus.run(count, ["key"], []) == number
        with bus.reaching() as redis:
            await redis.script_flush()


async def test_a_script_that_was_cancelled_leaves_no_answer_behind(bus: Bus) -> None:
    echo = bus.script("return ARGV[1]")
    for turns in range(50):
        cancelled = asyncio.create_task(bus.run(echo, [], [f"first-{turns}"]))
        for _ in range(turns % 11):
            await asyncio.sleep(0)
        cancelled.cancel()
        done, _ = await asyncio.wait([cancelled], timeout=PATIENCE_S)
        assert done
        assert await bus.run(echo, [], [f"second-{turns}"]) == f"second-{turns}".encode()


async def test_many_at_once_get_each_their_own_answer(bus: Bus) -> None:
    echo = bus.script("return ARGV[1]")
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*(bus.run(echo, [], [str(number)]) for number in range(300)))
    assert answers == [str(number).encode() for number in range(300)]


async def test_a_refusal_among_several_answers_is_told_and_spoils_none_that_follow(bus: Bus) -> None:
    with bus.reaching() as redis:
        await redis.set(bus.keys.seen("metrics"), "no sorted set")
    for _ in range(3):
        with pytest.raises(BusRefusedError, match="WRONGTYPE"):
            await bus.beat("web-1", "metrics", 5_000, About(), ("metrics",))
    with bus.reaching() as redis:
        await redis.delete(bus.keys.seen("metrics"))
    assert (await bus.beat("web-1", "metrics", 5_000, About(), ("metrics",))).watched == frozenset()


async def test_what_is_larger_than_the_kernel_takes_at_once_gets_there(bus: Bus) -> None:
    length = bus.script("return #ARGV[1]")
    assert await bus.run(length, [], [b"x" * 30_000_000]) == 30_000_000


async def test_after_a_restart_of_redis_the_first_command_succeeds(bus: Bus, valkey: EmbeddedServer) -> None:
    """The connections that the bus has kept are closed by then."""
    echo = bus.script("return ARGV[1]")
    await asyncio.gather(*(bus.run(echo, [], ["a"]) for _ in range(8)))
    await valkey.stop()
    await valkey.start()
    await asyncio.sleep(0)
    assert await asyncio.gather(*(bus.run(echo, [], ["b"]) for _ in range(8))) == [b"b"] * 8


async def test_an_absent_redis_is_said_once_and_its_return_too(
    bus: Bus, valkey: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="common.bus")
    await bus.sync_clock()
    await valkey.stop()
    for _ in range(5):
        with pytest.raises(BusUnavailableError):
            await bus.sync_clock()
    assert not bus.available
    await valkey.start()
    await bus.sync_clock()
    await bus.sync_clock()
    said = [record.getMessage() for record in caplog.records if record.name == "common.bus"]
    assert len(said) == 2
    assert "is not available" in said[0]
    assert "is back after" in said[1]


async def test_a_redis_that_refuses_is_no_absent_one(bus: Bus) -> None:
    with bus.reaching() as redis:
        await redis.set("key", "no hash")
    with pytest.raises(BusRefusedError, match="WRONGTYPE"), bus.reaching() as redis:
        await redis.hgetall("key")
    assert bus.available
