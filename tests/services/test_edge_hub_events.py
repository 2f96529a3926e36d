"""Events count each: who gets which, in what order, how many wait for a client, and who is closed for them."""

import pytest

from common.envelope import Version
from services.edge.audience import Backlog
from services.edge.hub import CLIENTS_A_SLICE, Hub
from tests.services.test_edge_hub import Viewer, flush, happen, publish


def test_events_are_not_conflated_and_come_between_states_as_they_happened() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("events", None), ("metrics", "a"))
    happen(hub, "a", 1)
    publish(hub, "a", "metrics", 1)
    happen(hub, "b", 1)
    happen(hub, "a", 2)
    flush(hub)
    assert viewer.take() == ["events a 1", "metrics a 1", "events b 1", "events a 2"]
    assert viewer.writes == 1


def test_an_event_goes_to_those_who_watch_its_host_or_every_host_that_they_may_see() -> None:
    hub = Hub()
    viewers = [
        Viewer(hub, ("events", None)),
        Viewer(hub, ("events", "a")),
        Viewer(hub, ("events", "b"), ("metrics", None)),
        Viewer(hub, ("events", None), sees=("b*",)),
    ]
    happen(hub, "a", 1)
    flush(hub)
    assert [viewer.take() for viewer in viewers] == [["events a 1"], ["events a 1"], [], []]


def test_an_event_that_is_not_newer_than_the_last_one_is_not_taken() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("events", None))
    assert happen(hub, "a", 2, 1, 2, 3) == [True, False, False, True]
    flush(hub)
    assert viewer.take() == ["events a 2", "events a 3"]


def test_what_was_there_before_a_host_was_followed_is_for_nobody() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("events", None))
    assert hub.last_event("a") is None
    hub.note_event("a", Version(1, 5))
    assert happen(hub, "a", 5, 6) == [False, True]
    flush(hub)
    assert viewer.take() == ["events a 6"]
    hub.forget_unwatched(set())
    assert hub.last_event("a") is None


def test_a_subscriber_gets_events_from_its_subscription_on_beside_last_states() -> None:
    hub = Hub()
    Viewer(hub, ("events", None), ("metrics", None))
    publish(hub, "a", "metrics", 1)
    happen(hub, "a", 1)
    flush(hub)
    happen(hub, "a", 2)
    late = Viewer(hub, ("events", None), ("metrics", None))
    happen(hub, "a", 3)
    flush(hub)
    assert late.take() == ["metrics a 1", "events a 3"]


def test_each_subscription_of_a_client_that_can_take_nothing_begins_when_it_was_made() -> None:
    hub = Hub()
    Viewer(hub, ("events", None))
    viewer = Viewer(hub)
    viewer.client.block(0.0)
    for host in "ab":
        hub.subscribe(viewer.client, [("events", host)])
        happen(hub, "a", *((1, 2) if host == "a" else (3, 4)))
        happen(hub, "b", *((1, 2) if host == "a" else (3, 4)))
    hub.drained(viewer.client)
    flush(hub)
    assert viewer.take() == ["events a 1", "events a 2", "events a 3", "events a 4", "events b 3", "events b 4"]


def test_one_who_subscribes_to_all_as_well_gets_the_others_from_then_on_and_its_own_as_before() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("events", "a"))
    flush(hub)
    viewer.client.block(0.0)
    happen(hub, "a", 1)
    hub.subscribe(viewer.client, [("events", None)])
    happen(hub, "b", 1)
    hub.drained(viewer.client)
    flush(hub)
    assert viewer.take() == ["events a 1", "events b 1"]


def test_who_unsubscribes_and_subscribes_again_has_missed_what_happened_before() -> None:
    hub = Hub()
    Viewer(hub, ("events", None))
    viewer = Viewer(hub, ("events", "a"), ("metrics", None))
    viewer.client.block(0.0)
    happen(hub, "a", 1)
    hub.unsubscribe(viewer.client, [("events", "a")])
    happen(hub, "a", 2)
    hub.subscribe(viewer.client, [("events", "a")])
    happen(hub, "a", 3)
    hub.drained(viewer.client)
    flush(hub)
    assert viewer.take() == ["events a 3"]


def test_what_is_known_of_a_client_that_changes_its_mind_again_and_again_does_not_grow() -> None:
    hub = Hub()
    Viewer(hub, ("events", None))
    viewer = Viewer(hub)
    viewer.client.block(0.0)
    for number in range(1, 50):
        hub.subscribe(viewer.client, [("events", None), ("events", "a")])
        happen(hub, "a", number)
        hub.unsubscribe(viewer.client, [("events", "a")])
    assert isinstance(viewer.client.position, Backlog)
    assert len(viewer.client.position.since) == 1


def test_who_subscribes_to_more_in_the_midst_of_its_events_gets_none_twice() -> None:
    hub = Hub(max_write_bytes=45)
    Viewer(hub, ("containers", None))
    publish(hub, "a", "containers", 1)
    flush(hub)
    viewer = Viewer(hub, ("events", None))
    viewer.blocks_after_next = True
    happen(hub, "a", 1, 2, 3, 4, 5, 6)
    flush(hub)
    assert viewer.events == [1, 2], "a write's worth"
    hub.subscribe(viewer.client, [("containers", None)])
    viewer.blocks_after_next = True
    hub.drained(viewer.client)
    flush(hub)
    hub.subscribe(viewer.client, [("containers", "b")])
    hub.drained(viewer.client)
    flush(hub)
    assert viewer.events == [1, 2, 3, 4, 5, 6]
    assert "containers a 1" in viewer.received


def test_states_that_are_caught_up_with_in_several_writes_bring_no_event_again() -> None:
    hub = Hub(max_write_bytes=30)
    Viewer(hub, ("metrics", None))
    for host in "abcd":
        publish(hub, host, "metrics", 1)
    flush(hub)
    viewer = Viewer(hub, ("events", None))
    viewer.blocks_after_next = True
    happen(hub, "a", 1, 2, 3)
    flush(hub)
    hub.subscribe(viewer.client, [("metrics", None)])
    for _ in range(3):
        viewer.blocks_after_next = True
        hub.drained(viewer.client)
        flush(hub)
        hub.subscribe(viewer.client, [("containers", str(len(viewer.received)))])
    hub.drained(viewer.client)
    flush(hub)
    assert viewer.events == [1, 2, 3]


# Bounds


@pytest.mark.parametrize(
    ("bound", "happened"),
    [({"max_events": 3}, 3), ({"max_event_bytes": 30}, 3)],
    ids=["number", "bytes"],
)
def test_events_wait_for_a_client_up_to_a_bound_and_beyond_it_is_closed(bound: dict[str, int], happened: int) -> None:
    hub = Hub(**bound)
    within, beyond = Viewer(hub, ("events", None)), Viewer(hub, ("events", None))
    flush(hub)
    beyond.client.block(0.0)
    happen(hub, "a", 1)
    flush(hub)
    within.client.block(0.0)
    for number in range(2, 2 + happened):
        happen(hub, "a", number)
        flush(hub)
    for viewer in (within, beyond):
        hub.drained(viewer.client)
        flush(hub)
    assert (within.events, within.closed) == ([1, 2, 3, 4], [])
    assert (beyond.events, beyond.closed) == ([], [4409])


def test_a_client_is_not_closed_for_events_that_it_does_not_watch() -> None:
    hub = Hub(max_events=2)
    Viewer(hub, ("events", None))
    viewer, narrow = Viewer(hub, ("metrics", None)), Viewer(hub, ("events", "b"))
    flush(hub)
    viewer.client.block(0.0)
    narrow.client.block(0.0)
    happen(hub, "b", 1)
    happen(hub, "a", 1)
    flush(hub)
    narrow.client.unblock()
    hub.drained(narrow.client)
    flush(hub)
    narrow.client.block(0.0)
    happen(hub, "a", 2, 3, 4, 5)
    flush(hub)
    hub.subscribe(viewer.client, [("events", None)])
    happen(hub, "a", 6)
    for one in (viewer, narrow):
        hub.drained(one.client)
    flush(hub)
    assert (viewer.events, viewer.closed) == ([6], [])
    assert (narrow.events, narrow.closed) == ([1], [])


def test_a_burst_closes_nobody_who_can_take_it() -> None:
    hub = Hub(max_write_bytes=45, max_events=2)
    viewers = [Viewer(hub, ("events", None)) for _ in range(2 * CLIENTS_A_SLICE)]
    late = Viewer(hub, ("events", None), ("metrics", None))
    happen(hub, "a", *range(1, 21))
    run = hub.flush()
    next(run)
    happen(hub, "a", *range(21, 41))
    list(run)
    flush(hub)
    assert all((viewer.events, viewer.closed) == ([*range(1, 41)], []) for viewer in (*viewers, late))


def test_what_happens_during_a_flush_closes_nobody_whom_that_has_served_already() -> None:
    hub = Hub(max_events=2)
    viewers = [Viewer(hub, ("events", None)) for _ in range(2 * CLIENTS_A_SLICE)]
    flush(hub)
    happen(hub, "a", 1)
    run = hub.flush()
    next(run)
    happen(hub, "a", 2, 3, 4, 5, 6)
    list(run)
    flush(hub)
    assert all((viewer.events, viewer.closed) == ([1, 2, 3, 4, 5, 6], []) for viewer in viewers)


def test_events_that_nobody_watches_are_not_kept() -> None:
    hub = Hub(max_events=2)
    viewer = Viewer(hub, ("events", "b"))
    flush(hub)
    viewer.client.block(0.0)
    happen(hub, "b", 1)
    for number in range(1, 10):
        happen(hub, "a", number)
        hub.heartbeat(b"{}")
        flush(hub)
    hub.drained(viewer.client)
    flush(hub)
    assert (viewer.events, viewer.closed) == ([1], [])
