"""Whoever can write to Redis, and has no key, makes no host act."""

import logging

import pytest

from common.bus import Bus
from common.errors import SettingsError
from common.settings import ExecutorSettings
from services.embedded import EmbeddedServer
from services.executor.worker import run_executor
from tests.conftest import Containers
from tests.services.executor_driver import HOST, SIGNER, VERIFY_KEY, Driver, executor, key_pair, started_at, state
from tests.support import eventually

pytestmark = pytest.mark.docker


@pytest.fixture
def driver(bus: Bus, docker_engine: None) -> Driver:
    return Driver(bus)


async def test_an_order_that_nobody_has_signed_is_rejected_and_in_the_audit(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    async with executor(valkey.url), driver.acks() as acks:
        order = await driver.order(name, "kill")
        await driver.actions.submit(order)
        record = await driver.outcome(order)
        await eventually(lambda: len(acks) == 2, what="both acks")
    assert record.status == "rejected"
    assert record.error == "its signature does not hold: it is not signed"
    assert [ack["status"] for ack in acks] == ["accepted", "rejected"]
    assert [entry["status"] for entry in await driver.audit()] == ["rejected"]
    assert await state(name) == "running"
    assert await driver.left_in_stream() == 0


async def test_an_order_signed_with_another_key_is_rejected(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    stranger, _ = key_pair()
    async with executor(valkey.url):
        order = await driver.order(name, "kill")
        await driver.actions.submit(order, stranger.sign(order.model_dump_json().encode()))
        record = await driver.outcome(order)
    assert record.status == "rejected"
    assert "does not know" in (record.error or "")
    assert await state(name) == "running"


async def test_keys_are_changed_without_a_gap(driver: Driver, valkey: EmbeddedServer, containers: Containers) -> None:
    name = await containers.run()
    newer, newer_key = key_pair()
    async with executor(valkey.url, action_verify_key=f"{VERIFY_KEY},{newer_key}"):
        assert (await driver.act(name, "pause")).status == "succeeded"
        order = await driver.order(name, "unpause")
        await driver.actions.submit(order, newer.sign(order.model_dump_json().encode()))
        assert (await driver.outcome(order)).status == "succeeded"


async def test_a_signed_order_put_into_the_stream_again_is_not_done_again(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    async with executor(valkey.url):
        order = await driver.submit(name, "restart", timeout_sec=0)
        first = await driver.outcome(order)
        after = await started_at(name)
        replayed = {"order": SIGNER.sign(order.model_dump_json().encode())}
        await driver.add_entry(replayed)
        # Neither does it help to forge the record, as if it had just been accepted.
        with driver.bus.reaching() as redis:
            key = driver.bus.keys.action(*order.key)
            forgery = redis.pipeline(transaction=True)  # in two steps, it would take the token of who claims in between
            forgery.hset(key, "status", "accepted")
            forgery.hdel(key, "token")
            await forgery.execute()
        await driver.add_entry(replayed)
        again = await driver.outcome(order)
        assert (await driver.act(name, "pause")).status == "succeeded"  # whatever stood before this is through
    assert (again.status, again.duration_ms) == (first.status, first.duration_ms)
    assert await started_at(name) == after
    assert await driver.left_in_stream() == 0


async def test_a_request_sent_again_after_a_flush_gets_the_first_ones_outcome(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    async with executor(valkey.url):
        order = await driver.submit(name, "restart", timeout_sec=0)
        assert (await driver.outcome(order)).status == "succeeded"
        after = await started_at(name)
        with driver.bus.reaching() as redis:
            await redis.flushall()
        await driver.put(order)
        assert (await driver.outcome(order)).status == "succeeded"
    assert await started_at(name) == after


async def test_an_order_under_a_used_request_id_is_rejected(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    name = await containers.run()
    async with executor(valkey.url):
        order = await driver.submit(name, "pause")
        await driver.outcome(order)
        with driver.bus.reaching() as redis:
            await redis.delete(driver.bus.keys.action(*order.key))
        other = await driver.submit(name, "kill", request_id=order.request_id)
        record = await driver.outcome(other)
    assert record.status == "rejected"
    assert "another action" in (record.error or "")
    assert await state(name) == "paused"


async def test_a_host_does_only_what_it_allows(driver: Driver, valkey: EmbeddedServer, containers: Containers) -> None:
    name = await containers.run()
    defaults = ExecutorSettings().allow_actions
    async with executor(valkey.url, allow_actions=defaults):
        for verb in ("kill", "pause", "unpause", "remove"):
            record = await driver.act(name, verb)
            assert record.status == "rejected"
            assert f"does not allow {verb}, it allows restart, start, stop" in (record.error or "")
        assert (await driver.act(name, "restart", timeout_sec=0)).status == "succeeded"
    assert await state(name) == "running"


async def test_labels_say_which_containers_are_acted_on(
    driver: Driver, valkey: EmbeddedServer, containers: Containers
) -> None:
    web = await containers.run(options=("--label", "tier=web"))
    db = await containers.run(options=("--label", "tier=db"))
    other = await containers.run()
    async with executor(valkey.url, allow_labels="tier=*", forbid_labels="tier=db"):
        assert (await driver.act(web, "pause")).status == "succeeded"
        for name in (db, other):
            record = await driver.act(name, "pause")
            assert record.status == "rejected"
            assert "protected" in (record.error or "")
    assert (await state(db), await state(other)) == ("running", "running")


async def test_without_a_key_it_does_not_start(valkey: EmbeddedServer) -> None:
    with pytest.raises(SettingsError, match="insecure-unsigned"):
        await run_executor(ExecutorSettings(redis_url=valkey.url, host_id=HOST))


async def test_told_to_do_without_signatures_it_says_so_to_everyone(
    driver: Driver, valkey: EmbeddedServer, containers: Containers, caplog: pytest.LogCaptureFixture
) -> None:
    name = await containers.run()
    async with executor(valkey.url, action_verify_key=None, insecure_unsigned=True):
        order = await driver.order(name, "pause")
        await driver.actions.submit(order)
        assert (await driver.outcome(order)).status == "succeeded"

        async def told() -> bool:
            return await driver.link() == "live insecure-unsigned"

        await eventually(told, what="the link to say so")
    assert any(r.levelno == logging.WARNING and "nobody has signed" in r.getMessage() for r in caplog.records)
