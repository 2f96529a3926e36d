"""The containers collector and an engine's events: followed, lost, late, too many, silent."""

from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from common.bus import Bus
from common.docker import Docker
from common.protocol import ContainersMessage
from common.telemetry import malformed
from services.collector.containers import Times
from services.collector.event_feed import EventFeed, events_lost
from services.embedded import EmbeddedServer
from tests.samples import ID_A, ID_B
from tests.services.collector_support import FakeEngine, LastState, collecting, fault, running, told
from tests.support import eventually

SELDOM = Times(debounce=0.02, full=3600, without_events=0.1)
"""Without events, nothing is listed but at the beginning."""

OFTEN = Times(debounce=0.02, full=0.1, without_events=0.1)


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.put(ID_A, "web")
    engine.put(ID_B, "db")
    return engine


@pytest.fixture
async def address(engine: FakeEngine, tmp_path: Path) -> AsyncIterator[str]:
    async with engine.serving(tmp_path / "docker.sock") as address:
        yield address


@pytest.fixture
def last(bus: Bus) -> LastState[ContainersMessage]:
    return LastState(bus, "containers", ContainersMessage)


async def settled(engine: FakeEngine, connections: int = 1) -> None:
    """Until the engine is listened to, and what that asks for has been listed and inspected."""
    await eventually(lambda: len(engine.subscriptions) >= connections)
    new: list[str] = []
    while new != [ID_A]:
        before = len(engine.inspections)
        engine.tell("update", ID_A)
        new = await eventually(partial(engine.inspected_since, before, ID_A))


def steps(bus: Bus, *wanted: tuple[str | None, str | None]) -> Callable[[], Coroutine[Any, Any, bool]]:
    async def are_told() -> bool:
        return [(event.from_, event.to) for event in await told(bus)] == [*wanted]

    return are_told


def lost(cause: str) -> float:
    return events_lost.labels(cause)._value.get()


async def test_an_event_has_one_list_made_and_its_own_container_inspected(
    bus: Bus, engine: FakeEngine, address: str
) -> None:
    async with collecting(bus, address, SELDOM):
        await settled(engine)
        engine.lists, engine.inspections = 0, []
        engine.tell("die", ID_B, name="db", exitCode="3")
        engine.put(ID_B, "db", State="exited", Status="Exited (3) 1 second ago")
        await eventually(steps(bus, ("running", "exited")))
        assert (engine.lists, engine.inspections) == (1, [ID_B])
        [event] = await told(bus)
        assert (event.name, event.exit_code, event.cause) == ("db", 3, "docker")


async def test_three_hundred_events_at_once_share_few_lists_and_are_all_told_in_order(
    bus: Bus, engine: FakeEngine, address: str
) -> None:
    async with collecting(bus, address, SELDOM):
        await settled(engine)
        engine.lists = 0
        for _ in range(150):
            engine.tell("pause", ID_A)
            engine.tell("unpause", ID_A)
        await eventually(steps(bus, *[("running", "paused"), ("paused", "running")] * 128), what="the last 256 of them")
        events = await told(bus)
        assert [event.at for event in events] == sorted(event.at for event in events)
        assert engine.lists < 10


async def test_a_health_that_is_told_again_and_again_asks_nothing_of_the_engine(
    bus: Bus, engine: FakeEngine, address: str
) -> None:
    async with collecting(bus, address, SELDOM):
        await settled(engine)
        engine.tell("health_status: healthy", ID_B)
        await eventually(partial(engine.inspected_since, len(engine.inspections), ID_B))
        await settled(engine)
        engine.inspections = []
        for _ in range(20):
            engine.tell("health_status: healthy", ID_B)
        await settled(engine)
        assert set(engine.inspections) == {ID_A}, "which was asked about to see it"


async def test_more_events_than_are_kept_are_counted_and_made_good_by_a_list(engine: FakeEngine, address: str) -> None:
    before = lost("overflow")
    client = Docker(address)
    feed = EventFeed(client, most_waiting=100)
    async with running(feed.run()):
        await eventually(lambda: feed.is_on)
        feed.has_gap = False
        for _ in range(500):
            engine.tell("pause", ID_A)
        await eventually(lambda: feed.has_gap)
        assert len(feed.take()) <= 100
        assert lost("overflow") > before
    await client.close()


async def test_a_stream_that_ends_is_taken_up_where_it_was(bus: Bus, engine: FakeEngine, address: str) -> None:
    async with collecting(bus, address, SELDOM):
        await settled(engine)
        engine.hang_up()
        engine.put(ID_A, "web", State="exited", Status="Exited (1) 1 second ago")
        await eventually(lambda: len(engine.subscriptions) == 2)
        assert "since" not in engine.subscriptions[0]
        assert "since=1795441" in engine.subscriptions[1]
        await eventually(steps(bus, ("running", "exited")), what="what no event has told")


async def test_a_stream_that_tells_nothing_is_found_by_a_list_and_begun_anew(
    bus: Bus, engine: FakeEngine, address: str
) -> None:
    before = lost("untold")
    async with collecting(bus, address, OFTEN):
        await settled(engine)
        engine.put(ID_A, "web", State="exited", Status="Exited (1) 1 second ago")
        await eventually(steps(bus, ("running", "exited")))
        await eventually(lambda: len(engine.subscriptions) >= 2)
        assert lost("untold") == before + 1


async def test_where_events_are_refused_lists_are_made_more_often_and_it_is_said_once(
    bus: Bus, engine: FakeEngine, address: str, last: LastState[ContainersMessage], caplog: pytest.LogCaptureFixture
) -> None:
    engine.no_events = (403, "events are not for you")
    async with collecting(bus, address, SELDOM):
        await eventually(lambda: engine.lists >= 5)
        engine.put(ID_A, "web", State="exited", Status="Exited (1) 1 second ago")
        await eventually(steps(bus, ("running", "exited")))
        assert await fault(bus, "containers") is None
    assert len([record for record in caplog.records if "events are not for you" in record.message]) == 1


async def test_a_line_that_is_no_event_is_counted_and_passed_over(bus: Bus, engine: FakeEngine, address: str) -> None:
    before = malformed.labels("engine event")._value.get()
    async with collecting(bus, address, SELDOM):
        await settled(engine)
        engine.tell_line(b"<html>")
        engine.put(ID_A, "web", State="exited", Status="Exited (0) 1 second ago")
        engine.tell("die", ID_A, exitCode="0")
        await eventually(steps(bus, ("running", "exited")))
    assert malformed.labels("engine event")._value.get() == before + 1


async def test_a_container_that_dies_between_list_and_inspection_is_told_to_have_gone(
    bus: Bus, engine: FakeEngine, address: str, last: LastState[ContainersMessage]
) -> None:
    async with collecting(bus, address, SELDOM):
        await settled(engine)
        engine.vanishing = {ID_B}
        engine.tell("die", ID_B, exitCode="0")
        await eventually(last.that(lambda message: [found.name for found in message.data] == ["web"]))
        engine.tell("destroy", ID_B)
        await eventually(steps(bus, ("running", "exited"), ("exited", None)))


async def test_a_frozen_engine_is_found_although_nothing_is_asked_of_it(engine: FakeEngine, address: str) -> None:
    client = Docker(address)
    feed = EventFeed(client, ping_every_s=0.1, ping_within_s=0.2)
    async with running(feed.run()):
        await eventually(lambda: feed.is_on)
        engine.is_frozen = True
        await eventually(lambda: not feed.is_on)
        engine.is_frozen = False
        await eventually(lambda: feed.is_on)
    await client.close()


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ({"ApiVersion": "1.23"}, "gone docker-too-old"),
        ({"ApiVersion": "1.99", "MinAPIVersion": "1.90"}, "gone docker-too-new"),
    ],
    ids=["old", "new"],
)
async def test_an_engine_of_another_age_is_named_and_waited_for(
    bus: Bus, engine: FakeEngine, address: str, version: dict[str, str], expected: str
) -> None:
    usual, engine.version = engine.version, version

    async def has_fault(wanted: str | None) -> bool:
        return await fault(bus, "containers") == wanted

    async with collecting(bus, address, OFTEN):
        await eventually(lambda: has_fault(expected))
        engine.version = usual
        await eventually(lambda: has_fault(None))


async def test_what_happens_while_redis_is_away_is_told_when_it_is_back_in_order_and_once(
    bus: Bus, valkey: EmbeddedServer, engine: FakeEngine, address: str
) -> None:
    async with collecting(bus, address, OFTEN):
        await settled(engine)
        await valkey.stop()
        engine.tell("die", ID_A, exitCode="1")
        await eventually(lambda: not bus.available)
        engine.tell("start", ID_A)
        engine.tell("pause", ID_A)
        engine.put(ID_A, "web", State="paused", Status="Up 1 second (Paused)")
        lists = engine.lists
        await eventually(lambda: engine.lists >= lists + 3)
        await valkey.start()
        wanted = [("running", "exited"), ("exited", "running"), ("running", "paused")]
        await eventually(steps(bus, *wanted))


async def test_what_redis_did_not_take_goes_out_soon_after_it_is_back(
    bus: Bus, engine: FakeEngine, address: str, valkey: EmbeddedServer, last: LastState[ContainersMessage]
) -> None:
    async with collecting(bus, address, SELDOM):
        await settled(engine)
        await valkey.stop()
        await eventually(lambda: not bus.available)
        engine.put(ID_A, "web", State="exited", Status="Exited (1) 1 second ago")
        engine.tell("die", ID_A, name="web", exitCode="1")
        inspected = len(engine.inspections)
        await eventually(partial(engine.inspected_since, inspected, ID_A))
        await valkey.start()
        await eventually(last.that(lambda message: message.data[1].state == "exited"), what="without another event")
        await eventually(steps(bus, ("running", "exited")))


async def test_what_redis_has_lost_is_published_anew(
    bus: Bus, engine: FakeEngine, address: str, last: LastState[ContainersMessage]
) -> None:
    async with collecting(bus, address, SELDOM):
        await settled(engine)
        before = await eventually(last.read)
        with bus.reaching() as redis:
            await redis.flushall()
        after = await eventually(last.read, what="although nothing has happened since")
        assert (after.epoch, after.data) == (before.epoch, before.data)


async def test_what_happened_while_no_collector_was_there_is_told_by_the_next(
    bus: Bus, engine: FakeEngine, address: str, last: LastState[ContainersMessage], caplog: pytest.LogCaptureFixture
) -> None:
    async with collecting(bus, address, SELDOM):
        await eventually(last.that(lambda message: len(message.data) == 2))
    del engine.containers[ID_B]
    engine.put(ID_A, "web", Status="Up 5 seconds", StartedAt="2026-11-23T14:45:53.612817045Z")
    async with collecting(bus, address, SELDOM):
        wanted = [("running", "exited"), ("exited", "running"), ("running", None)]
        await eventually(steps(bus, *wanted))
