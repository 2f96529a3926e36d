"""The executor on a real engine and a real server, when nothing goes wrong but the actions themselves."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.bus import Bus
from common.docker import parse_time
from common.models import Expectation
from services.embedded import EmbeddedServer
from tests.conftest import Containers, docker
from tests.engine import HANG, PASS, EngineProxy
from tests.services.executor_driver import Driver, executor, started_at, state
from tests.support import eventually

pytestmark = pytest.mark.docker


@pytest.fixture
async def driver(bus: Bus, valkey: EmbeddedServer, docker_engine: None) -> AsyncIterator[Driver]:
    """A driver, with an executor at work."""
    async with executor(valkey.url):
        yield Driver(bus)


async def test_every_verb_does_what_it_says(driver: Driver, containers: Containers) -> None:
    name = await containers.run()
    steps = (
        ("pause", "paused"),
        ("unpause", "running"),
        ("stop", "exited"),
        ("start", "running"),
        ("kill", "exited"),
    )
    for verb, then in steps:
        record = await driver.act(name, verb, timeout_sec=0)
        assert (record.status, record.error) == ("succeeded", None), verb
        assert record.duration_ms is not None
        await eventually(lambda then=then: _is(name, then), what=f"{name} {then}")
    assert (await driver.act(name, "remove")).status == "succeeded"
    assert name not in await docker("ps", "-a", "--format", "{{.Names}}")


async def _is(name: str, wanted: str) -> bool:
    return await state(name) == wanted


async def test_a_restart_moves_started_at(driver: Driver, containers: Containers) -> None:
    name = await containers.run()
    before = await started_at(name)
    assert (await driver.act(name, "restart", timeout_sec=0)).status == "succeeded"
    assert await started_at(name) > before
    assert await state(name) == "running"


async def test_acks_tell_the_whole_life_in_order(driver: Driver, containers: Containers) -> None:
    name = await containers.run()
    async with driver.acks() as acks:
        order = await driver.submit(name, "pause")
        await eventually(lambda: len(acks) == 3, what="three acks")
    assert [ack["status"] for ack in acks] == ["accepted", "running", "succeeded"]
    assert all(ack["requestId"] == order.request_id and ack["actor"] == "ops" for ack in acks)
    assert acks[2]["durationMs"] >= 0
    [entry] = await driver.audit()
    assert (entry["requestId"], entry["action"], entry["status"]) == (order.request_id, "pause", "succeeded")
    assert await driver.left_in_stream() == 0


async def test_a_repeated_request_does_nothing_twice(driver: Driver, containers: Containers) -> None:
    name = await containers.run()
    order = await driver.order(name, "restart", timeout_sec=0)
    await asyncio.gather(*(driver.put(order) for _ in range(10)))
    record = await driver.outcome(order)
    after_first = await started_at(name)
    assert await driver.put(order) == record
    assert (await driver.act(name, "pause")).status == "succeeded"  # the queue of this container is empty
    assert await started_at(name) == after_first
    assert [entry["action"] for entry in await driver.audit()] == ["restart", "pause"]


async def test_what_is_so_already_succeeds(driver: Driver, containers: Containers) -> None:
    name = await containers.run()
    before = await started_at(name)
    async with driver.acks() as acks:
        record = await driver.act(name, "start")
        await eventually(lambda: len(acks) == 3, what="three acks")
    assert (record.status, record.noop) == ("succeeded", True)
    assert acks[-1]["noop"] is True
    assert await started_at(name) == before


async def test_a_failed_action_carries_dockers_own_words(driver: Driver, containers: Containers) -> None:
    name = await containers.run("true")
    await docker("wait", name)
    record = await driver.act(name, "pause")
    assert record.status == "failed"
    assert record.error is not None
    assert "is not running" in record.error


async def test_a_container_that_has_vanished_is_not_acted_on(driver: Driver) -> None:
    record = await driver.act("0" * 64, "start")
    assert (record.status, record.error) == ("rejected", "there is no such container any more")


async def test_a_protected_container_is_left_alone(driver: Driver, containers: Containers) -> None:
    name = await containers.run(options=("--label", "fleetcast.protect=true"))
    for verb in ("stop", "kill", "remove", "restart", "pause"):
        record = await driver.act(name, verb, timeout_sec=0)
        assert record.status == "rejected"
        assert record.error is not None
        assert "protected" in record.error
    assert await state(name) == "running"
    assert [entry["status"] for entry in await driver.audit()] == ["rejected"] * 5


async def test_an_action_happens_only_on_what_the_user_saw(driver: Driver, containers: Containers) -> None:
    name = await containers.run()
    began = parse_time(await started_at(name))
    record = await driver.act(name, "stop", expect=Expectation(state="exited"))
    assert (record.status, record.error) == ("rejected", "expected state exited, found running")
    record = await driver.act(name, "stop", expect=Expectation(started_at=began - 5000))
    assert record.status == "rejected"
    assert await state(name) == "running"
    record = await driver.act(name, "pause", expect=Expectation(state="running", started_at=began))
    assert record.status == "succeeded"


async def test_the_containers_own_grace_counts_where_the_order_names_none(
    bus: Bus, valkey: EmbeddedServer, tmp_path: Path, containers: Containers
) -> None:
    name = await containers.run(options=("--stop-timeout", "0"))
    async with EngineProxy(tmp_path / "docker.sock") as proxy, executor(valkey.url, proxy.address):
        assert (await Driver(bus).act(name, "stop")).status == "succeeded"
    [asked] = proxy.asked("/stop")
    assert "?t=0 " in asked


async def test_a_late_action_expires_and_docker_is_not_touched(
    bus: Bus, valkey: EmbeddedServer, tmp_path: object, containers: Containers
) -> None:
    name = await containers.run()
    driver = Driver(bus)
    late = await driver.submit(name, "stop", expires_s=-1)
    async with EngineProxy(tmp_path / "docker.sock") as proxy, executor(valkey.url, proxy.address):
        record = await driver.outcome(late)
        assert record.status == "expired"
        assert record.error is not None
        assert "deadline" in record.error
    assert proxy.asked(late.container_id) == []
    assert [entry["status"] for entry in await driver.audit()] == ["expired"]


async def test_actions_on_one_container_go_in_order_of_arrival(driver: Driver, containers: Containers) -> None:
    name = await containers.run()
    verbs = ("pause", "unpause", "stop", "start", "pause", "unpause", "kill", "remove")
    async with driver.acks() as acks:
        orders = [await driver.order(name, verb, timeout_sec=0) for verb in verbs]
        for order in orders:
            await driver.put(order)
        for order in orders:
            assert (await driver.outcome(order)).status == "succeeded", order.action
        await eventually(lambda: len(acks) == 3 * len(verbs), what="all acks")
    # Each has ended before the next begins.
    told = [(ack["action"], ack["status"]) for ack in acks if ack["status"] != "accepted"]
    assert told == [(verb, status) for verb in verbs for status in ("running", "succeeded")]


async def test_a_slow_stop_holds_up_no_other_container(driver: Driver, containers: Containers) -> None:
    slow, quick = await containers.run(), await containers.run()  # sleep ignores SIGTERM: stop takes the whole grace
    stopping = await driver.submit(slow, "stop", timeout_sec=3)
    queued = await driver.submit(slow, "start")
    await driver.reaches(stopping, "running")
    assert (await driver.act(quick, "pause")).status == "succeeded"
    found = await driver.actions.read(stopping.key)
    assert found is not None
    assert found.status == "running"
    assert (await driver.actions.read(queued.key)).status == "accepted"
    assert (await driver.outcome(stopping)).status == "succeeded"
    assert (await driver.outcome(queued)).status == "succeeded"
    assert await state(slow) == "running"


async def test_no_more_containers_at_once_than_set(
    bus: Bus, valkey: EmbeddedServer, tmp_path: object, containers: Containers
) -> None:
    names = [await containers.run() for _ in range(3)]
    driver = Driver(bus)
    async with (
        EngineProxy(tmp_path / "docker.sock", lambda request: HANG if "/pause" in request else PASS) as proxy,
        executor(valkey.url, proxy.address, parallel=2),
    ):
        for name in names[:2]:
            await driver.submit(name, "pause", expires_s=60)
        await eventually(lambda: len(proxy.asked("/pause")) == 2, what="two under way")
        # The third waits until its deadline, although the first two never end.
        record = await driver.outcome(await driver.submit(names[2], "pause", expires_s=1))
        assert (record.status, len(proxy.asked("/pause"))) == ("expired", 2)
        assert record.error is not None
        assert "others" in record.error


async def test_what_waited_for_its_turn_past_its_deadline_expires_then_and_not_later(
    driver: Driver, containers: Containers
) -> None:
    name = await containers.run()
    stopping = await driver.submit(name, "stop", timeout_sec=60)
    waiting = await driver.submit(name, "remove", expires_s=1)
    assert (await driver.outcome(waiting)).status == "expired"
    assert (await driver.actions.read(stopping.key)).status == "running"
    await docker("kill", name)
    assert (await driver.outcome(stopping)).status == "succeeded"


async def test_a_hundred_actions_are_all_settled(driver: Driver, containers: Containers) -> None:
    names = [await containers.run() for _ in range(4)]
    orders = []
    for number in range(100):
        verb = "pause" if (number // 4) % 2 == 0 else "unpause"
        orders.append(await driver.order(names[number % 4], verb))
    await asyncio.gather(*(driver.put(order) for order in orders))
    records = [await driver.outcome(order) for order in orders]
    assert {record.status for record in records} <= {"succeeded", "failed"}
    assert await driver.left_in_stream() == 0
    assert len(await driver.audit()) == 100
