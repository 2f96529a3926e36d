"""What the executor decides: what it refuses, how long it waits, who is next. No Redis, no Docker."""

from dataclasses import replace
from typing import Any

import pytest

from common.models import ActionOrder, Expectation
from common.protection import Protection
from services.executor.policy import MAX_GRACE_S, allowed_verbs, forbidden, grace_s, refuse
from services.executor.queues import Entry, Queues

ID = "a" * 64


def make_order(container_id: str = ID, deadline: int = 1000, **fields: Any) -> ActionOrder:
    return ActionOrder(
        request_id="r",
        host="h",
        container_id=container_id,
        action="stop",
        actor="ops",
        edge_id="e",
        deadline=deadline,
        **fields,
    )


def inspected(**fields: Any) -> dict[str, Any]:
    return {
        "Id": ID,
        "State": {"Status": "running", "StartedAt": "1970-01-01T00:00:01.500999Z"},
        "Config": {"Labels": {}, "StopTimeout": None},
        **fields,
    }


# Policy


def test_an_ordinary_container_may_be_acted_on() -> None:
    assert refuse(make_order(), inspected(), Protection()) is None
    assert refuse(make_order(), inspected(Config={"Labels": None}), Protection()) is None
    assert refuse(make_order(), inspected(Config={}), Protection()) is None


def test_a_protected_container_is_refused() -> None:
    found = refuse(make_order(), inspected(Config={"Labels": {"fleetcast.protect": "true"}}), Protection())
    assert found is not None
    assert "fleetcast.protect=true" in found
    assert refuse(make_order(), inspected(Config={"Labels": {"fleetcast.protect": "false"}}), Protection()) is None


@pytest.mark.parametrize("config", [None, "x", [], {"Labels": "x"}, {"Labels": ["fleetcast.protect=true"]}])
def test_a_container_that_cannot_be_read_is_refused(config: object) -> None:
    found = refuse(make_order(), inspected(Config=config), Protection())
    assert found is not None
    assert "cannot be read" in found


def test_an_id_that_leads_elsewhere_is_refused() -> None:
    found = refuse(make_order(), inspected(Id="b" * 64), Protection())
    assert found is not None
    assert "another container" in found


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        (Expectation(), None),
        (Expectation(id=ID, state="running", started_at=1500), None),
        (Expectation(started_at=1501), None),  # another's rounding
        (Expectation(id="b" * 64), "expected id bbbbbbbbbbbb, found aaaaaaaaaaaa"),
        (Expectation(state="exited"), "expected state exited, found running"),
        (Expectation(started_at=1400), "expected startedAt 1400, found 1500"),
    ],
)
def test_what_is_other_than_expected_is_named(expect: Expectation, said: str | None) -> None:
    assert refuse(make_order(expect=expect), inspected(), Protection()) == said


@pytest.mark.parametrize("state", [None, "x", {}, {"Status": 3, "StartedAt": 3}])
def test_an_expectation_of_what_docker_does_not_say_is_refused(state: object) -> None:
    assert refuse(make_order(expect=Expectation(state="running")), inspected(State=state), Protection())
    found = refuse(make_order(expect=Expectation(started_at=5)), inspected(State=state), Protection())
    assert found == "expected startedAt 5, found never"


@pytest.mark.parametrize(
    ("ordered", "own", "grace"),
    [
        (3, 20, 3),
        (0, 20, 0),
        (None, 20, 20),
        (None, 0, 0),
        (None, None, 10),
        (None, "20", 10),
        (None, -1, MAX_GRACE_S),  # Docker's "wait without end"
        (10**9, None, MAX_GRACE_S),
        (-5, None, MAX_GRACE_S),
    ],
)
def test_the_grace_is_the_orders_else_the_containers_else_dockers(ordered: int | None, own: object, grace: int) -> None:
    assert grace_s(make_order(timeout_sec=ordered), inspected(Config={"StopTimeout": own})) == grace


# Queues


def entry(entry_id: str, container: str, deadline: int = 1000) -> Entry:
    return Entry(entry_id, make_order(container_id=container * 64, deadline=deadline))


def under_way(queues: Queues) -> list[str]:
    """Starts all that may start, and names it."""
    started = []
    while found := queues.next():
        started.append(found.id)
    return started


def test_one_action_at_a_time_per_container_in_order_of_arrival() -> None:
    queues = Queues(parallel=8)
    first, second, third = entry("1", "a"), entry("2", "a"), entry("3", "a")
    for each in (first, second, third):
        queues.add(each)
    assert under_way(queues) == ["1"]
    queues.done(first)
    assert under_way(queues) == ["2"]
    queues.done(second)
    assert under_way(queues) == ["3"]
    queues.done(third)
    assert not queues.waiting
    assert under_way(queues) == []


def test_a_busy_container_holds_up_no_other() -> None:
    queues = Queues(parallel=2)
    for each in (entry("1", "a"), entry("2", "a"), entry("3", "b"), entry("4", "c")):
        queues.add(each)
    assert under_way(queues) == ["1", "3"]
    queues.done(entry("3", "b"))
    assert under_way(queues) == ["4"]
    queues.done(entry("4", "c"))
    assert under_way(queues) == []
    assert queues.waiting


def test_containers_take_turns() -> None:
    queues = Queues(parallel=1)
    for each in (entry("1", "a"), entry("2", "a"), entry("3", "b")):
        queues.add(each)
    order = []
    while found := queues.next():
        order.append(found.id)
        queues.done(found)
    assert order == ["1", "3", "2"]


def test_what_is_in_hand_is_not_taken_twice() -> None:
    queues = Queues(parallel=8)
    one = entry("1", "a")
    queues.add(one)
    queues.add(one)
    assert under_way(queues) == ["1"]
    queues.add(one)
    assert "1" in queues
    queues.done(one)
    assert "1" not in queues
    assert under_way(queues) == []


def test_room_is_what_the_bound_leaves() -> None:
    queues = Queues(parallel=1, max_held=3)
    one, two, three = entry("1", "a"), entry("2", "a", deadline=5), entry("3", "b")
    for each in (one, two, three):
        queues.add(each)
    assert queues.room == 0
    assert queues.next() == one
    assert queues.overdue(10) == [two]
    assert queues.room == 0  # in hand until it is done
    queues.done(two)
    assert queues.room == 1
    queues.done(one)
    assert queues.room == 2


def test_what_waited_too_long_is_taken_out_and_the_rest_keeps_its_order() -> None:
    queues = Queues(parallel=8)
    first = entry("1", "a", deadline=5)
    for each in (first, entry("2", "a", deadline=50), entry("3", "a", deadline=10), entry("4", "a", deadline=60)):
        queues.add(each)
    assert under_way(queues) == ["1"]  # under way is not waiting
    late = queues.overdue(20)
    assert [found.id for found in late] == ["3"]
    assert queues.overdue(20) == []
    queues.done(late[0])
    assert under_way(queues) == []
    queues.done(first)
    assert under_way(queues) == ["2"]


def test_a_container_whose_last_action_expired_is_ready_for_the_next() -> None:
    queues = Queues(parallel=8)
    only = entry("1", "a", deadline=5)
    queues.add(only)
    assert queues.overdue(10) == [only]
    assert queues.next() is None
    queues.add(entry("2", "a"))
    assert under_way(queues) == ["2"]
    queues.done(only)  # its settlement came later
    assert under_way(queues) == []
    queues.done(entry("2", "a"))
    assert not queues.waiting


def test_what_was_left_behind_is_looked_at_beside_a_full_house() -> None:
    queues = Queues(parallel=1)
    left = replace(entry("2", "b", deadline=5), left_behind=True)
    for each in (entry("1", "a"), left, entry("3", "b"), entry("4", "c")):
        queues.add(each)
    assert under_way(queues) == ["1", "2"]
    queues.done(entry("1", "a"))
    assert under_way(queues) == ["4"]  # its own container waits for the look
    queues.done(left)
    queues.done(entry("4", "c"))
    assert under_way(queues) == ["3"]


def test_without_an_engine_only_what_was_left_behind_begins() -> None:
    queues = Queues(parallel=8)
    queues.add(entry("1", "a"))
    queues.add(replace(entry("2", "b"), left_behind=True))
    found = queues.next(may_act=False)
    assert found is not None
    assert found.id == "2"
    assert queues.next(may_act=False) is None
    assert under_way(queues) == ["1"]


def test_what_was_left_behind_is_never_overdue() -> None:
    queues = Queues(parallel=8)
    queues.add(replace(entry("1", "a", deadline=5), left_behind=True))
    queues.add(entry("2", "a", deadline=5))
    assert [found.id for found in queues.overdue(10)] == ["2"]
    assert under_way(queues) == ["1"]


def test_what_is_refused_waits_for_no_container() -> None:
    queues = Queues(parallel=8)
    queues.add(entry("1", "a"))
    queues.add(replace(entry("2", "a"), refusal="not signed"))
    assert under_way(queues) == ["1", "2"]
    queues.done(replace(entry("2", "a"), refusal="not signed"))
    assert under_way(queues) == []


def test_the_setting_names_the_verbs_whatever_their_order() -> None:
    assert allowed_verbs("stop,start") == ("start", "stop")
    assert allowed_verbs("") == ()


def test_only_allowed_verbs_are_done() -> None:
    assert forbidden(make_order(), frozenset({"stop"})) is None
    assert forbidden(make_order(), frozenset({"start", "pause"})) == (
        "this host does not allow stop, it allows pause, start (FLEETCAST_ALLOW_ACTIONS)"
    )
