"""Submitting, claiming and settling actions, on a real server."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from common.actions import ORDER_FIELD, Actions, parse_order
from common.bus import Bus
from common.errors import BusRefusedError, BusUnavailableError, MalformedError
from common.keys import ACTION_TTL_S, EXECUTOR_GROUP
from common.models import ActionOrder, Expectation
from services.embedded import EmbeddedServer
from tests.support import eventually

HOST = "web-1"
TOKEN = "17 machine instance 1-0"
OTHER = "18 machine instance 1-0"


@pytest.fixture
def actions(bus: Bus) -> Actions:
    return Actions(bus)


def make_order(bus: Bus, request_id: str = "r1", expires_in_ms: int = 30_000, **fields: Any) -> ActionOrder:
    return ActionOrder(
        **{
            "request_id": request_id,
            "host": HOST,
            "container_id": "a" * 64,
            "action": "restart",
            "actor": "ops",
            "edge_id": "edge-1",
            "deadline": bus.clock.now_ms() + expires_in_ms,
            **fields,
        }
    )


async def entries(bus: Bus) -> list[tuple[bytes, dict[bytes, bytes]]]:
    with bus.reaching() as redis:
        found: list[tuple[bytes, dict[bytes, bytes]]] = await redis.xrange(bus.keys.actions(HOST))
    return found


async def deliver(bus: Bus) -> str:
    """Takes the oldest new entry as an executor does, and returns its id."""
    with bus.reaching() as redis:
        stream = bus.keys.actions(HOST)
        groups = await redis.xinfo_groups(stream)
        if not groups:
            await redis.xgroup_create(stream, EXECUTOR_GROUP, "0")
        [[_, [(entry_id, _)]]] = await redis.xreadgroup(EXECUTOR_GROUP, EXECUTOR_GROUP, {stream: ">"}, count=1)
    return str(entry_id.decode())


async def pending(bus: Bus) -> int:
    with bus.reaching() as redis:
        return int((await redis.xpending(bus.keys.actions(HOST), EXECUTOR_GROUP))["pending"])


async def audit(bus: Bus) -> list[dict[str, Any]]:
    with bus.reaching() as redis:
        return [json.loads(fields[b"record"]) for _, fields in await redis.xrange(bus.keys.audit(HOST))]


class Acks:
    """What the host's acks channel has carried since."""

    def __init__(self, bus: Bus) -> None:
        self._pubsub = bus.pubsub()
        self._channel = bus.keys.acks(HOST)
        self.heard: list[dict[str, Any]] = []

    async def __aenter__(self) -> "Acks":
        await self._pubsub.ssubscribe(self._channel)
        await eventually(lambda: self._pubsub.get_message(timeout=0.5), what="the subscription")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pubsub.aclose()

    async def statuses(self, count: int) -> list[str]:
        """The statuses of the first `count` acks."""

        async def read() -> bool:
            message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
            if message:
                self.heard.append(json.loads(message["data"]))
            return len(self.heard) >= count

        await eventually(read, what=f"{count} acks, after {self.heard}")
        return [ack["status"] for ack in self.heard]


# Submit


async def test_a_new_action_is_accepted_recorded_and_put_into_the_stream(bus: Bus, actions: Actions) -> None:
    order = make_order(bus, timeout_sec=3, expect=Expectation(state="running", started_at=5))
    record = await actions.submit(order)
    assert (record.status, record.request_id, record.actor) == ("accepted", "r1", "ops")
    assert await actions.read(HOST, "r1") == record
    [(_, fields)] = await entries(bus)
    assert parse_order(fields) == order
    with bus.reaching() as redis:
        assert ACTION_TTL_S - 5 < await redis.ttl(bus.keys.action(HOST, "r1")) <= ACTION_TTL_S
    assert await audit(bus) == []


async def test_a_repeated_request_gets_the_first_ones_record_and_nothing_else_happens(
    bus: Bus, actions: Actions
) -> None:
    first = await actions.submit(make_order(bus))
    async with Acks(bus) as acks:
        again = await actions.submit(make_order(bus, action="remove", actor="somebody else", expires_in_ms=1))
        await actions.submit(make_order(bus, "r2"))
        assert await acks.statuses(1) == ["accepted"]
        assert acks.heard[0]["requestId"] == "r2"
    assert again == first
    assert len(await entries(bus)) == 2


async def test_of_many_at_once_with_one_id_one_is_submitted(bus: Bus, valkey: EmbeddedServer) -> None:
    others = [Bus(valkey.url, bus.keys) for _ in range(4)]
    async with asyncio.TaskGroup() as tasks:
        submissions = [
            tasks.create_task(Actions(each).submit(make_order(each, actor=f"client {number}")))
            for number in range(25)
            for each in others
        ]
    assert len({task.result() for task in submissions}) == 1
    assert len(await entries(bus)) == 1
    for each in others:
        await each.close()


async def test_the_same_id_on_another_host_is_another_action(bus: Bus, actions: Actions) -> None:
    await actions.submit(make_order(bus))
    await actions.submit(make_order(bus, host="web-2", actor="other"))
    found = await actions.read("web-2", "r1")
    assert found is not None
    assert found.actor == "other"


async def test_no_record_is_none(actions: Actions) -> None:
    assert await actions.read(HOST, "nothing") is None


@pytest.mark.parametrize(
    "garbage",
    [
        {"status": "accepted"},
        {"status": "dancing"},
        {"\xff": "\xfe"},
        {b"\xff": b"\xfe"},
        {"requestId": "r1", "status": "accepted", "deadline": "soon"},
    ],
)
async def test_garbage_in_the_record_is_malformed_and_left_alone(
    bus: Bus, actions: Actions, garbage: dict[Any, Any]
) -> None:
    with bus.reaching() as redis:
        await redis.hset(bus.keys.action(HOST, "r1"), mapping=garbage)
    with pytest.raises(MalformedError):
        await actions.submit(make_order(bus))
    with pytest.raises(MalformedError):
        await actions.read(HOST, "r1")
    with bus.reaching() as redis:
        assert await redis.hlen(bus.keys.action(HOST, "r1")) == len(garbage)
    assert await entries(bus) == []


async def test_a_record_of_another_type_is_malformed_everywhere(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    with bus.reaching() as redis:
        await redis.set(bus.keys.action(HOST, "r1"), "not a hash")
    with pytest.raises(MalformedError):
        await actions.submit(order)
    with pytest.raises(MalformedError):
        await actions.read(HOST, "r1")
    with pytest.raises(MalformedError):
        await actions.running_token(order)
    assert await actions.claim(order, TOKEN) == "malformed"
    assert await actions.settle(order, "1-0", TOKEN, "succeeded") is False


async def test_a_stream_that_is_none_accepts_nothing(bus: Bus, actions: Actions) -> None:
    with bus.reaching() as redis:
        await redis.set(bus.keys.actions(HOST), "not a stream")
    with pytest.raises(BusRefusedError):
        await actions.submit(make_order(bus))
    assert await actions.read(HOST, "r1") is None  # it can be submitted again


async def test_an_absent_server_is_said(bus: Bus, actions: Actions, valkey: EmbeddedServer) -> None:
    await valkey.stop()
    with pytest.raises(BusUnavailableError):
        await actions.submit(make_order(bus))


# Claim


async def test_a_claimed_action_runs_under_its_token(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    assert await actions.running_token(order) is None
    async with Acks(bus) as acks:
        assert await actions.claim(order, TOKEN) == "claimed"
        assert await acks.statuses(1) == ["running"]
    record = await actions.read(HOST, "r1")
    assert record is not None
    assert record.status == "running"
    assert await actions.running_token(order) == TOKEN


async def test_one_of_many_claims(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    verdicts = await asyncio.gather(*(actions.claim(order, f"token {number}") for number in range(20)))
    assert Counter(verdicts) == {"claimed": 1, "taken": 19}


async def test_a_claim_whose_answer_was_lost_is_made_again(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    async with Acks(bus) as acks:
        assert await actions.claim(order, TOKEN) == "claimed"
        assert await actions.claim(order, TOKEN) == "claimed"
        assert await actions.claim(order, OTHER) == "taken"
        await actions.submit(make_order(bus, "r2"))
        assert await acks.statuses(2) == ["running", "accepted"]


async def test_a_late_action_is_not_claimed(bus: Bus, actions: Actions) -> None:
    await bus.sync_clock()
    order = make_order(bus, expires_in_ms=-50)
    await actions.submit(order)
    assert await actions.claim(order, TOKEN) == "late"
    record = await actions.read(HOST, "r1")
    assert record is not None
    assert record.status == "accepted"
    assert await actions.settle(order, await deliver(bus), TOKEN, "expired", error="late")


async def test_the_orders_deadline_counts_whatever_the_record_says(bus: Bus, actions: Actions) -> None:
    await bus.sync_clock()
    order = make_order(bus, expires_in_ms=-50)
    await actions.submit(order)
    with bus.reaching() as redis:
        await redis.hset(bus.keys.action(HOST, "r1"), "deadline", "never")
    assert await actions.claim(order, TOKEN) == "late"


async def test_what_has_no_record_is_missing(bus: Bus, actions: Actions) -> None:
    assert await actions.claim(make_order(bus), TOKEN) == "missing"
    assert await actions.read(HOST, "r1") is None


async def test_a_record_without_a_status_is_malformed(bus: Bus, actions: Actions) -> None:
    with bus.reaching() as redis:
        await redis.hset(bus.keys.action(HOST, "r1"), "colour", "red")
    assert await actions.claim(make_order(bus), TOKEN) == "malformed"
    assert await actions.settle(make_order(bus), "1-0", TOKEN, "failed") is False


# Settle


async def test_settling_writes_outcome_audit_acknowledgement_and_ack_together(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    async with Acks(bus) as acks:
        await actions.submit(order)
        entry_id = await deliver(bus)
        assert await pending(bus) == 1
        await actions.claim(order, TOKEN)
        assert await actions.settle(order, entry_id, TOKEN, "failed", error="no such container", duration_ms=12)
        assert await acks.statuses(3) == ["accepted", "running", "failed"]
        assert acks.heard[2]["error"] == "no such container"
        assert acks.heard[2]["durationMs"] == 12
        assert "error" not in acks.heard[1]
    record = await actions.read(HOST, "r1")
    assert record is not None
    assert (record.status, record.error, record.duration_ms) == ("failed", "no such container", 12)
    [entry] = await audit(bus)
    assert (entry["requestId"], entry["actor"], entry["status"]) == ("r1", "ops", "failed")
    assert await pending(bus) == 0
    assert await entries(bus) == []
    assert await actions.submit(order) == record
    assert await actions.running_token(order) is None


async def test_only_the_claimer_settles_and_only_once(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    entry_id = await deliver(bus)
    await actions.claim(order, TOKEN)
    assert not await actions.settle(order, entry_id, OTHER, "failed", error="mine")
    assert await pending(bus) == 1
    assert await actions.settle(order, entry_id, TOKEN, "succeeded")
    assert not await actions.settle(order, entry_id, OTHER, "failed")
    assert [entry["status"] for entry in await audit(bus)] == ["succeeded"]


async def test_a_settlement_whose_answer_was_lost_is_made_again_and_nothing_is_written_twice(
    bus: Bus, actions: Actions
) -> None:
    order = make_order(bus)
    await actions.submit(order)
    entry_id = await deliver(bus)
    await actions.claim(order, TOKEN)
    async with Acks(bus) as acks:
        assert await actions.settle(order, entry_id, TOKEN, "succeeded")
        assert await actions.settle(order, entry_id, TOKEN, "succeeded")
        await actions.submit(make_order(bus, "r2"))
        assert await acks.statuses(2) == ["succeeded", "accepted"]
    assert len(await audit(bus)) == 1


async def test_an_unclaimed_action_is_settled_by_anyone(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    assert await actions.settle(order, await deliver(bus), "", "rejected", error="protected")
    assert await actions.claim(order, TOKEN) == "taken"
    assert not await actions.settle(order, "0-0", TOKEN, "expired")


async def test_an_outcome_outlives_a_flush(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    entry_id = await deliver(bus)
    await actions.claim(order, TOKEN)
    with bus.reaching() as redis:
        await redis.flushall()
    assert await actions.settle(order, entry_id, TOKEN, "succeeded")
    record = await actions.read(HOST, "r1")
    assert record is not None
    assert record.status == "succeeded"
    with bus.reaching() as redis:
        assert 0 < await redis.ttl(bus.keys.action(HOST, "r1")) <= ACTION_TTL_S
    assert len(await audit(bus)) == 1


async def test_a_settled_record_lives_as_long_as_it_was_going_to(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    with bus.reaching() as redis:
        await redis.expire(bus.keys.action(HOST, "r1"), 500)
        await actions.settle(order, await deliver(bus), "", "expired")
        assert 490 < await redis.ttl(bus.keys.action(HOST, "r1")) <= 500


async def test_a_discarded_entry_is_gone(bus: Bus, actions: Actions) -> None:
    await actions.submit(make_order(bus))
    await actions.discard(HOST, await deliver(bus))
    assert await pending(bus) == 0
    assert await entries(bus) == []


# Entries


@pytest.mark.parametrize(
    "fields",
    [
        None,
        {},
        {b"other": b"{}"},
        {ORDER_FIELD.encode(): b""},
        {ORDER_FIELD.encode(): b"\xff\xfe"},
        {ORDER_FIELD.encode(): b"{}"},
        {ORDER_FIELD.encode(): b"[" * 100_000},
        {ORDER_FIELD.encode(): b'{"requestId":"r1"}'},
    ],
)
def test_an_entry_that_is_no_order_is_malformed(fields: dict[bytes, bytes] | None) -> None:
    with pytest.raises(MalformedError) as error:
        parse_order(fields)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("action", "explode"),
        ("containerId", "web"),
        ("host", "a host"),
        ("deadline", "soon"),
        ("deadline", -1),
        ("actor", "\ud800"),
        ("expect", {"colour": "red"}),
        ("more", 1),
    ],
)
async def test_an_order_with_a_wrong_field_is_malformed(bus: Bus, field: str, value: object) -> None:
    text = json.dumps({**json.loads(make_order(bus).model_dump_json()), field: value})
    with pytest.raises(MalformedError):
        parse_order({ORDER_FIELD.encode(): text.encode()})
