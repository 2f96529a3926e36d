"""Submitting, claiming and settling actions, on a real server."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from common.actions import ORDER_FIELD, Actions, Outcome, Running, order_of, parse_order
from common.bus import Bus
from common.errors import BusRefusedError, BusUnavailableError, MalformedError
from common.keys import ACTION_TTL_S, EXECUTOR_GROUP
from common.models import ActionKey, ActionOrder, ActionRecord, Expectation
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
        entries = await redis.xrange(bus.keys.audit(HOST))
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]


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
    assert await actions.read(ActionKey(HOST, "r1")) == record
    [(_, fields)] = await entries(bus)
    assert parse_order(fields[ORDER_FIELD.encode()]) == order
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
    found = await actions.read(ActionKey("web-2", "r1"))
    assert found is not None
    assert found.actor == "other"


async def test_no_record_is_none(actions: Actions) -> None:
    assert await actions.read(ActionKey(HOST, "nothing")) is None


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
        await actions.read(ActionKey(HOST, "r1"))
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
        await actions.read(ActionKey(HOST, "r1"))
    with pytest.raises(MalformedError):
        await actions.running(order)
    assert await actions.claim(order, TOKEN) == "malformed"
    assert await actions.settle(order, "1-0", TOKEN, Outcome("succeeded")) is False


async def test_a_stream_that_is_none_accepts_nothing(bus: Bus, actions: Actions) -> None:
    with bus.reaching() as redis:
        await redis.set(bus.keys.actions(HOST), "not a stream")
    with pytest.raises(BusRefusedError):
        await actions.submit(make_order(bus))
    assert await actions.read(ActionKey(HOST, "r1")) is None  # it can be submitted again


async def test_an_absent_server_is_said(bus: Bus, actions: Actions, valkey: EmbeddedServer) -> None:
    await valkey.stop()
    with pytest.raises(BusUnavailableError):
        await actions.submit(make_order(bus))


async def test_the_targets_of_one_message_are_actions_of_their_own(bus: Bus, actions: Actions) -> None:
    orders = [make_order(bus, target=target) for target in (None, 0, 1)]
    orders.append(make_order(bus, "0:r1"))  # no request id looks like a target's
    for order in orders:
        await actions.submit(order)
    assert len(await entries(bus)) == 4
    await actions.claim(orders[1], TOKEN)
    await actions.settle(orders[1], "1-0", TOKEN, Outcome("failed"))
    records = await actions.read_all([order.key for order in orders])
    assert [record.status for record in records if isinstance(record, ActionRecord)] == [
        "accepted",
        "failed",
        "accepted",
        "accepted",
    ]
    assert [record.target for record in records if isinstance(record, ActionRecord)] == [None, 0, 1, None]


async def test_many_records_are_read_at_once_and_a_bad_one_spoils_no_other(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    record = await actions.submit(order)
    with bus.reaching() as redis:
        await redis.set(bus.keys.action(HOST, "r2"), "not a hash")
        await redis.hset(bus.keys.action(HOST, "r3"), "status", "dancing")
    found = await actions.read_all([ActionKey(HOST, name) for name in ("r2", "r1", "r3", "r4")])
    assert isinstance(found[0], MalformedError)
    assert found[1] == record
    assert isinstance(found[2], MalformedError)
    assert found[3] is None


async def test_a_records_order_is_the_one_that_was_submitted(bus: Bus, actions: Actions) -> None:
    order = make_order(bus, timeout_sec=3, name="web", target=7)
    assert order_of(await actions.submit(order)) == order


# Claim


async def test_a_claimed_action_runs_under_its_token(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    assert await actions.running(order) is None
    async with Acks(bus) as acks:
        assert await actions.claim(order, TOKEN) == "claimed"
        assert await acks.statuses(1) == ["running"]
    record = await actions.read(ActionKey(HOST, "r1"))
    assert record is not None
    assert record.status == "running"
    found = await actions.running(order)
    assert found is not None
    assert found.token == TOKEN


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
    record = await actions.read(ActionKey(HOST, "r1"))
    assert record is not None
    assert record.status == "accepted"
    assert await actions.settle(order, await deliver(bus), TOKEN, Outcome("expired", error="late"))


async def test_the_orders_deadline_counts_whatever_the_record_says(bus: Bus, actions: Actions) -> None:
    await bus.sync_clock()
    order = make_order(bus, expires_in_ms=-50)
    await actions.submit(order)
    with bus.reaching() as redis:
        await redis.hset(bus.keys.action(HOST, "r1"), "deadline", "never")
    assert await actions.claim(order, TOKEN) == "late"


async def test_what_has_no_record_is_missing(bus: Bus, actions: Actions) -> None:
    assert await actions.claim(make_order(bus), TOKEN) == "missing"
    assert await actions.read(ActionKey(HOST, "r1")) is None


async def test_a_record_without_a_status_is_malformed(bus: Bus, actions: Actions) -> None:
    with bus.reaching() as redis:
        await redis.hset(bus.keys.action(HOST, "r1"), "colour", "red")
    assert await actions.claim(make_order(bus), TOKEN) == "malformed"
    assert await actions.settle(make_order(bus), "1-0", TOKEN, Outcome("failed")) is False


async def test_a_claim_made_again_brings_what_the_container_was_up_to_date(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    await bus.sync_clock()
    claimed_ms = bus.clock.now_ms()
    await actions.claim(order, TOKEN, before="first", patience_ms=5_000)
    await actions.claim(order, TOKEN, before="second", patience_ms=60_000)
    found = await actions.running(order)
    assert found is not None
    assert found.before == "second"
    assert claimed_ms + 60_000 - 1_000 < found.until < claimed_ms + 60_000 + 30_000, "from Redis' own time of the claim"


async def test_what_a_claimer_wrote_down_may_be_rubbish(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    await actions.claim(order, TOKEN)
    with bus.reaching() as redis:
        await redis.hset(bus.keys.action(HOST, "r1"), mapping={"before": b"\xff", "until": "soon"})
    assert await actions.running(order) == Running(TOKEN, "\ufffd", 0)


# Taking over


async def test_a_claim_that_was_taken_over_settles_nothing_any_more(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    entry_id = await deliver(bus)
    await actions.claim(order, TOKEN, executor="first")
    assert await actions.take_over(order, TOKEN, OTHER, "second")
    assert await actions.take_over(order, TOKEN, OTHER, "second"), "its answer may have been lost"
    assert not await actions.settle(order, entry_id, TOKEN, Outcome("succeeded"))
    assert not await actions.take_over(order, TOKEN, "a third one")
    assert await actions.claim(order, OTHER) == "claimed"
    assert await actions.settle(order, entry_id, OTHER, Outcome("unknown"))
    record = await actions.read(order.key)
    assert record is not None
    assert (record.status, record.executor) == ("unknown", "second")


async def test_only_what_runs_is_taken_over(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    assert not await actions.take_over(order, TOKEN, OTHER)
    await actions.submit(order)
    assert not await actions.take_over(order, TOKEN, OTHER)
    await actions.claim(order, TOKEN)
    assert not await actions.take_over(order, "somebody else's", OTHER)
    await actions.settle(order, "1-0", TOKEN, Outcome("succeeded"))
    assert not await actions.take_over(order, TOKEN, OTHER)


# Settle


async def test_settling_writes_outcome_audit_acknowledgement_and_ack_together(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    async with Acks(bus) as acks:
        await actions.submit(order)
        entry_id = await deliver(bus)
        assert await pending(bus) == 1
        await actions.claim(order, TOKEN)
        assert await actions.settle(
            order, entry_id, TOKEN, Outcome("failed", error="no such container", duration_ms=12)
        )
        assert await acks.statuses(3) == ["accepted", "running", "failed"]
        assert acks.heard[2]["error"] == "no such container"
        assert acks.heard[2]["durationMs"] == 12
        assert "error" not in acks.heard[1]
    record = await actions.read(ActionKey(HOST, "r1"))
    assert record is not None
    assert (record.status, record.error, record.duration_ms) == ("failed", "no such container", 12)
    [entry] = await audit(bus)
    assert (entry["requestId"], entry["actor"], entry["edgeId"], entry["status"]) == ("r1", "ops", "edge-1", "failed")
    assert [int(entry[name]) for name in ("acceptedAt", "startedAt", "at")] == [ack["at"] for ack in acks.heard]
    assert "before" not in entry
    assert await pending(bus) == 0
    assert await entries(bus) == []
    assert await actions.submit(order) == record
    assert await actions.running(order) is None


async def test_only_the_claimer_settles_and_only_once(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    entry_id = await deliver(bus)
    await actions.claim(order, TOKEN)
    assert not await actions.settle(order, entry_id, OTHER, Outcome("failed", error="mine"))
    assert await pending(bus) == 1
    assert await actions.settle(order, entry_id, TOKEN, Outcome("succeeded"))
    assert not await actions.settle(order, entry_id, OTHER, Outcome("failed"))
    assert [entry["status"] for entry in await audit(bus)] == ["succeeded"]


async def test_a_settlement_whose_answer_was_lost_is_made_again_and_nothing_is_written_twice(
    bus: Bus, actions: Actions
) -> None:
    order = make_order(bus)
    await actions.submit(order)
    entry_id = await deliver(bus)
    await actions.claim(order, TOKEN)
    async with Acks(bus) as acks:
        assert await actions.settle(order, entry_id, TOKEN, Outcome("succeeded"))
        assert await actions.settle(order, entry_id, TOKEN, Outcome("succeeded"))
        await actions.submit(make_order(bus, "r2"))
        assert await acks.statuses(2) == ["succeeded", "accepted"]
    assert len(await audit(bus)) == 1


async def test_an_unclaimed_action_is_settled_by_anyone(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    assert await actions.settle(order, await deliver(bus), "", Outcome("rejected", error="protected"))
    assert await actions.claim(order, TOKEN) == "taken"
    assert not await actions.settle(order, "0-0", TOKEN, Outcome("expired"))


async def test_an_outcome_outlives_a_flush(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    entry_id = await deliver(bus)
    await actions.claim(order, TOKEN)
    with bus.reaching() as redis:
        await redis.flushall()
    assert await actions.settle(order, entry_id, TOKEN, Outcome("succeeded"))
    record = await actions.read(ActionKey(HOST, "r1"))
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
        await actions.settle(order, await deliver(bus), "", Outcome("expired"))
        assert 490 < await redis.ttl(bus.keys.action(HOST, "r1")) <= 500


async def test_a_record_of_more_fields_than_ours_has_settles_nothing(bus: Bus, actions: Actions) -> None:
    order = make_order(bus)
    await actions.submit(order)
    entry_id = await deliver(bus)
    with bus.reaching() as redis:
        await redis.hset(bus.keys.action(HOST, "r1"), mapping={f"field {number}": "x" for number in range(9_000)})
    assert not await actions.settle(order, entry_id, TOKEN, Outcome("succeeded"))
    assert await audit(bus) == []
    assert await pending(bus) == 1


async def test_the_audit_keeps_the_newest(bus: Bus) -> None:
    actions = Actions(bus, audit_max=100)
    for number in range(400):
        await actions.settle(make_order(bus, f"r{number}"), "0-0", TOKEN, Outcome("succeeded"))
    kept = await audit(bus)
    assert 100 <= len(kept) < 300  # whole nodes of a stream go
    assert kept[-1]["requestId"] == "r399"


async def test_a_discarded_entry_is_gone(bus: Bus, actions: Actions) -> None:
    await actions.submit(make_order(bus))
    await actions.discard(HOST, await deliver(bus))
    assert await pending(bus) == 0
    assert await entries(bus) == []


# Entries


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"{}", b"[" * 100_000, b'{"requestId":"r1"}'])
def test_a_text_that_is_no_order_is_malformed(text: bytes) -> None:
    with pytest.raises(MalformedError) as error:
        parse_order(text)
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
        parse_order(text.encode())
