"""What an executor admits of what stands in its stream, and what it remembers. No Redis, no Docker."""

import json
from typing import Any

import pytest

from common.actions import ORDER_FIELD, Outcome
from common.errors import MalformedError
from common.models import ActionOrder
from common.settings import ExecutorSettings
from common.signing import Signer, read_verifier
from services.executor.admission import TOLERANCE_MS, Admission
from services.executor.ledger import Ledger
from services.executor.queues import Entry
from tests.services.executor_driver import HOST, SIGNER, VERIFY_KEY, key_pair

NOW = 1_800_000_000_000


def make_order(**fields: Any) -> ActionOrder:
    return ActionOrder(
        **{
            "request_id": "r",
            "host": HOST,
            "container_id": "a" * 64,
            "action": "stop",
            "actor": "ops",
            "edge_id": "e",
            "deadline": NOW + 30_000,
            **fields,
        }
    )


def admission(verify_key: str | None = VERIFY_KEY, allowed: frozenset[str] = frozenset({"stop"})) -> Admission:
    settings = ExecutorSettings(action_verify_key=verify_key, insecure_unsigned=verify_key is None)
    return Admission(HOST, read_verifier(settings), allowed, lambda: NOW)


def opened(text: str | bytes, by: Admission | None = None) -> Entry:
    text = text.encode() if isinstance(text, str) else text
    return (by or admission()).open("1-0", {ORDER_FIELD.encode(): text})


def signed(order: ActionOrder, signer: Signer = SIGNER) -> str:
    return signer.sign(order.model_dump_json().encode())


def test_a_signed_order_is_admitted() -> None:
    order = make_order(target=3, timeout_sec=5)
    assert opened(signed(order)) == Entry("1-0", order)


def test_an_order_that_nobody_has_signed_is_refused() -> None:
    entry = opened(make_order().model_dump_json())
    assert entry.order == make_order()
    assert entry.refusal is not None
    assert "sign" in entry.refusal


def test_an_order_signed_with_another_key_is_refused() -> None:
    entry = opened(signed(make_order(), key_pair()[0]))
    assert entry.refusal is not None
    assert "key" in entry.refusal


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("requestId", "another"),
        ("containerId", "b" * 64),
        ("action", "remove"),
        ("timeoutSec", 0),
        ("actor", "root"),
        ("deadline", NOW + 60_000),
        ("expect", None),
        ("target", 1),
    ],
)
def test_an_order_that_was_altered_is_refused(field: str, value: object) -> None:
    import base64

    order = make_order(target=0, timeout_sec=9, expect={"state": "running"})
    head, _, signature = signed(order).split(".")
    altered = {**json.loads(order.model_dump_json()), field: value}
    payload = base64.urlsafe_b64encode(json.dumps(altered).encode()).rstrip(b"=").decode()
    assert opened(f"{head}.{payload}.{signature}").refusal is not None


def test_a_signature_that_was_moved_to_another_order_is_refused() -> None:
    mine, other = signed(make_order()).split("."), signed(make_order(request_id="other")).split(".")
    assert opened(".".join((mine[0], mine[1], other[2]))).refusal is not None


def test_a_signed_order_for_another_host_is_none_of_ours() -> None:
    with pytest.raises(MalformedError, match="another-host"):
        opened(signed(make_order(host="another-host")))


@pytest.mark.parametrize("fields", [None, {}, {b"other": b"x"}, {ORDER_FIELD.encode(): b""}])
def test_an_entry_without_an_order_is_malformed(fields: dict[bytes, bytes] | None) -> None:
    with pytest.raises(MalformedError):
        admission().open("1-0", fields)


@pytest.mark.parametrize("text", ["{", "[]", "a.b.c", "{}", "\x00", "[" * 50_000])
@pytest.mark.parametrize("key", [VERIFY_KEY, None], ids=["with a key", "without one"])
def test_rubbish_is_malformed(text: str, key: str | None) -> None:
    with pytest.raises(MalformedError):
        opened(text, admission(key))


def test_a_signed_payload_that_is_no_order_is_malformed() -> None:
    with pytest.raises(MalformedError):
        opened(SIGNER.sign(b'{"requestId": "r"}'))


def test_without_a_key_signed_and_unsigned_orders_are_admitted() -> None:
    trusting = admission(None)
    assert not trusting.verifies
    assert opened(make_order().model_dump_json(), trusting).refusal is None
    assert opened(signed(make_order()), trusting).refusal is None


def test_a_verb_that_the_host_does_not_allow_is_refused() -> None:
    entry = opened(signed(make_order(action="remove")))
    assert entry.refusal == "this host does not allow remove, it allows stop (FLEETCAST_ALLOW_ACTIONS)"
    assert "allows nothing" in (opened(signed(make_order()), admission(allowed=frozenset())).refusal or "")


@pytest.mark.parametrize(
    ("off_ms", "words"),
    [
        (-TOLERANCE_MS, None),
        (-TOLERANCE_MS - 1, "1.0 h behind this host's own clock"),
        (3_600_000 + TOLERANCE_MS, None),
        (30 * 24 * 3_600_000, "720.0 h ahead of this host's own clock"),
    ],
)
def test_an_order_of_another_time_is_refused_whatever_redis_clock_says(off_ms: int, words: str | None) -> None:
    refusal = opened(signed(make_order(deadline=NOW + off_ms))).refusal
    assert (refusal is None) if words is None else (refusal is not None and words in refusal)


# What was begun


def test_an_order_is_begun_once_and_comes_back_with_its_outcome() -> None:
    ledger = Ledger()
    order = make_order()
    assert ledger.begin(order, NOW, NOW + 1) is None
    begun = ledger.begin(order, NOW, NOW + 1)
    assert begun is not None
    assert begun.status == "unknown"
    ledger.end(order.key, Outcome("succeeded", duration_ms=5))
    assert ledger.begin(order, NOW, NOW + 1) == Outcome("succeeded", duration_ms=5)


@pytest.mark.parametrize("change", [{"target": 1}, {"request_id": "s"}])
def test_another_key_is_another_action(change: dict[str, Any]) -> None:
    ledger = Ledger()
    ledger.begin(make_order(), NOW, NOW + 1)
    assert ledger.begin(make_order(**change), NOW, NOW + 1) is None


@pytest.mark.parametrize("change", [{"action": "kill"}, {"container_id": "b" * 64}])
def test_a_request_id_that_was_used_for_something_else_is_refused(change: dict[str, Any]) -> None:
    ledger = Ledger()
    ledger.begin(make_order(), NOW, NOW + 1)
    ledger.end(make_order().key, Outcome("succeeded"))
    refused = ledger.begin(make_order(**change), NOW, NOW + 1)
    assert refused is not None
    assert refused.status == "rejected"


def test_what_can_be_in_time_no_more_makes_room_and_nothing_else_does() -> None:
    ledger = Ledger(max_remembered=2)
    first, second, third = (make_order(request_id=name) for name in "abc")
    assert ledger.begin(first, NOW, NOW + 10) is None
    assert ledger.begin(second, NOW, NOW + 50) is None
    refused = ledger.begin(third, NOW + 10, NOW + 60)
    assert refused is not None
    assert (refused.status, "remembered" in (refused.error or "")) == ("rejected", True)
    assert ledger.begin(third, NOW + 11, NOW + 60) is None
    assert len(ledger) == 2
    assert ledger.begin(second, NOW + 11, NOW + 60) is not None
