"""Who gets what and when: the hub's decisions, without a socket."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.envelope import Version
from common.keys import STATE_KINDS, StateKind
from common.protocol import HostsMessage, HostStatus, Link, Links
from services.edge.audience import Subscription
from services.edge.client import MAX_ORDERED, Client
from services.edge.frames import Encoding, Frame
from services.edge.hub import CLIENTS_A_SLICE, Hub


class Viewer:
    """A client whose socket takes everything, or nothing while `blocked`."""

    def __init__(
        self, hub: Hub, *subscriptions: Subscription, sees: tuple[str, ...] | None = None, encoding: Encoding = "events"
    ) -> None:
        self.hub = hub
        self.received: list[str] = []
        self.closed: list[int] = []
        self.writes = 0
        self.sends = 0
        self.partly = b""
        self.blocks_after_next = False
        self.client = Client(self._send, self._write, self._close, sees, encoding, 10_000)
        hub.add(self.client)
        hub.subscribe(self.client, subscriptions)

    def _send(self, data: bytes) -> int:
        """Takes half of it, or nothing: the rest has to come by `write`."""
        assert self.client.blocked_since is None, "sent to a client that is blocked"
        self.sends += 1
        if self.sends % 2:
            raise BlockingIOError
        self.partly = data[: len(data) // 2]
        return len(self.partly)

    def _write(self, data: bytes) -> None:
        data, self.partly = self.partly + data, b""
        assert self.client.blocked_since is None, "written to a client that is blocked"
        self.writes += 1
        self.received += [event.removeprefix("data: ") for event in data.decode().split("\n\n") if event]
        if self.blocks_after_next:
            self.blocks_after_next = False
            self.client.block(0.0)

    def _close(self, code: int, reason: str) -> None:
        self.closed.append(code)
        self.hub.remove(self.client)

    @property
    def events(self) -> list[int]:
        """The numbers of those received."""
        return [int(text.split()[2]) for text in self.received if text.startswith("events ")]

    def take(self) -> list[str]:
        received, self.received = self.received, []
        return received


def raises(data: bytes) -> int:
    raise BlockingIOError


def flush(hub: Hub) -> None:
    while hub.has_work:
        for _ in hub.flush():
            pass


def publish(hub: Hub, host: str, kind: StateKind, number: int, text: str | None = None) -> bool:
    return hub.publish(host, kind, Version(1, number), (text or f"{kind} {host} {number}").encode())


def happen(hub: Hub, host: str, *numbers: int) -> list[bool]:
    return [
        hub.publish_event(host, Version(1, number), b"events %b %d" % (host.encode(), number)) for number in numbers
    ]


def test_a_state_goes_to_those_who_watch_its_host_or_every_host() -> None:
    hub = Hub()
    viewers = [
        Viewer(hub, ("metrics", None)),
        Viewer(hub, ("metrics", "a")),
        Viewer(hub, ("metrics", "b"), ("containers", "a")),
    ]
    publish(hub, "a", "metrics", 1)
    flush(hub)
    assert [viewer.take() for viewer in viewers] == [["metrics a 1"], ["metrics a 1"], []]


def test_only_the_newest_state_of_a_window_is_sent() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("metrics", None))
    for number in (1, 2, 3):
        publish(hub, "a", "metrics", number)
    publish(hub, "b", "metrics", 1)
    flush(hub)
    assert (viewer.take(), viewer.writes) == (["metrics a 3", "metrics b 1"], 1)


def test_clients_with_equal_subscriptions_are_written_the_same_bytes() -> None:
    hub, written = Hub(), []
    for _ in range(3):
        client = Client(raises, written.append, lambda code, reason: None)
        hub.add(client)
        hub.subscribe(client, [("metrics", None), ("hosts", None)])
    publish(hub, "a", "metrics", 1)
    flush(hub)
    assert len(written) == 3
    assert all(data is written[0] for data in written)


def test_an_older_state_is_not_taken() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("metrics", None))
    assert [publish(hub, "a", "metrics", number) for number in (2, 1, 2, 3)] == [True, False, False, True]
    flush(hub)
    assert viewer.take() == ["metrics a 3"]


def test_a_late_subscriber_gets_the_last_state_once() -> None:
    hub = Hub()
    Viewer(hub, ("metrics", None))
    publish(hub, "a", "metrics", 1)
    flush(hub)
    late = Viewer(hub, ("metrics", "a"), ("metrics", None), ("metrics", "a"))
    flush(hub)
    hub.subscribe(late.client, [("metrics", "a")])
    flush(hub)
    assert late.take() == ["metrics a 1"]


def test_who_subscribes_to_more_gets_only_what_is_new_to_it() -> None:
    hub = Hub()
    Viewer(hub, ("metrics", None), ("containers", None))
    viewer = Viewer(hub, ("metrics", None))
    publish(hub, "a", "containers", 1)
    publish(hub, "a", "metrics", 1)
    flush(hub)
    viewer.take()
    hub.subscribe(viewer.client, [("containers", None)])
    flush(hub)
    assert viewer.take() == ["containers a 1"]


def test_a_blocked_client_is_passed_over_and_catches_up_with_the_newest() -> None:
    hub = Hub()
    slow, quick = Viewer(hub, ("metrics", None)), Viewer(hub, ("metrics", None))
    flush(hub)
    slow.client.block(0.0)
    for number in (1, 2, 3):
        publish(hub, "a", "metrics", number)
        flush(hub)
    assert (slow.take(), len(quick.take()), hub.passed_over) == ([], 3, 3)
    hub.drained(slow.client)
    flush(hub)
    assert (slow.take(), quick.take()) == (["metrics a 3"], [])


def test_a_client_that_blocks_at_a_write_has_taken_it() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("metrics", None))
    viewer.blocks_after_next = True
    publish(hub, "a", "metrics", 1)
    flush(hub)
    hub.drained(viewer.client)
    flush(hub)
    assert viewer.take() == ["metrics a 1"]


def test_what_a_client_lacks_comes_in_writes_of_a_bounded_size() -> None:
    hub = Hub(max_write_bytes=250)
    Viewer(hub, ("metrics", None))
    for host in "abcdefgh":
        publish(hub, host, "metrics", 1, f"{host} " + "x" * 98)
    flush(hub)
    late = Viewer(hub, ("metrics", None))
    late.blocks_after_next = True
    flush(hub)
    assert len(late.take()) == 2, "the first write's worth"
    publish(hub, "a", "metrics", 2, "a again")
    publish(hub, "h", "metrics", 2, "h again")
    hub.drained(late.client)
    flush(hub)
    received = late.take()
    assert [text[0] for text in received] == ["c", "d", "e", "f", "g", "a", "h"], "each once, and the newest"
    assert received[-2:] == ["a again", "h again"]


def test_unsubscribing_also_drops_what_waits() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("metrics", None), ("containers", "a"))
    viewer.client.block(0.0)
    publish(hub, "a", "metrics", 1)
    publish(hub, "a", "containers", 1)
    flush(hub)
    hub.unsubscribe(viewer.client, [("metrics", None)])
    hub.drained(viewer.client)
    publish(hub, "a", "metrics", 2)
    flush(hub)
    assert viewer.take() == ["containers a 1"]


def test_who_unsubscribes_from_one_thing_still_gets_what_waits_of_another() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("metrics", None), ("metrics", "a"))
    flush(hub)
    publish(hub, "a", "metrics", 1)
    hub.unsubscribe(viewer.client, [("metrics", None)])
    flush(hub)
    assert viewer.take() == ["metrics a 1"]


def test_who_unsubscribes_and_subscribes_again_gets_the_last_state_again() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("metrics", None))
    publish(hub, "a", "metrics", 1)
    flush(hub)
    hub.unsubscribe(viewer.client, [("metrics", None)])
    hub.subscribe(viewer.client, [("metrics", None)])
    flush(hub)
    assert viewer.take() == ["metrics a 1", "metrics a 1"]


def test_a_client_gets_only_the_hosts_that_it_may_see() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("metrics", None), ("hosts", None), sees=("web-*",))
    hub.publish_hosts([status("web-1"), status("db-1")])
    publish(hub, "web-1", "metrics", 1)
    publish(hub, "db-1", "metrics", 1)
    flush(hub)
    roster, metrics = viewer.take()
    assert [s.host for s in HostsMessage.model_validate_json(roster).hosts] == ["web-1"]
    assert metrics == "metrics web-1 1"


def test_a_heartbeat_goes_to_everybody() -> None:
    hub = Hub()
    viewers = [Viewer(hub), Viewer(hub, ("metrics", None), sees=("web-*",)), Viewer(hub, encoding="events")]
    hub.heartbeat(b"{}")
    flush(hub)
    assert [viewer.take() for viewer in viewers] == [["{}"]] * 3


def test_a_flush_lets_others_run_and_serves_who_comes_goes_and_moves_meanwhile() -> None:
    hub = Hub()
    viewers = [Viewer(hub, ("metrics", None)) for _ in range(3 * CLIENTS_A_SLICE)]
    publish(hub, "a", "metrics", 1)
    run = hub.flush()
    next(run)
    unserved = [viewer for viewer in viewers if not viewer.received]
    assert len(unserved) == 2 * CLIENTS_A_SLICE
    gone, moved = unserved[0], unserved[-1]
    hub.remove(gone.client)
    hub.subscribe(moved.client, [("containers", "a")])
    publish(hub, "a", "containers", 1)
    come = Viewer(hub, ("metrics", None))
    list(run)
    flush(hub)
    assert gone.take() == []
    assert sorted(moved.take()) == ["containers a 1", "metrics a 1"]
    assert come.take() == ["metrics a 1"]
    assert all(viewer.take() == ["metrics a 1"] for viewer in viewers if viewer not in (gone, moved))


def test_a_flush_that_is_given_up_loses_nothing() -> None:
    hub = Hub()
    viewers = [Viewer(hub, ("metrics", None)) for _ in range(2 * CLIENTS_A_SLICE)]
    publish(hub, "a", "metrics", 1)
    next(hub.flush())
    publish(hub, "b", "metrics", 1)
    flush(hub)
    assert all(viewer.take() == ["metrics a 1", "metrics b 1"] for viewer in viewers)


def test_interest_is_what_somebody_watches_and_is_told_when_it_changes() -> None:
    told: list[None] = []
    hub = Hub(on_interest=lambda: told.append(None))
    assert hub.interest(["a", "b"]) == set()
    first = Viewer(hub, ("metrics", None), ("containers", "c"), ("hosts", None), ("events", "a"))
    assert hub.interest(["a", "b"]) == {("a", "metrics"), ("b", "metrics"), ("c", "containers"), ("a", "events")}
    assert len(told) == 1
    second = Viewer(hub, ("metrics", None))
    hub.remove(second.client)
    assert len(told) == 1, "nothing has changed for Redis"
    hub.remove(first.client)
    assert hub.interest(["a", "b"]) == set()
    assert len(told) == 2


def test_a_state_that_is_not_followed_any_more_is_not_kept_for_the_next() -> None:
    hub = Hub()
    first = Viewer(hub, ("metrics", None))
    publish(hub, "a", "metrics", 1)
    hub.remove(first.client)
    hub.forget_unwatched(hub.interest(["a"]))
    late = Viewer(hub, ("metrics", None))
    flush(hub)
    assert late.take() == []
    assert publish(hub, "a", "metrics", 1), "what is read again from Redis is taken"


def test_interest_is_told_when_hosts_come_and_go() -> None:
    told: list[None] = []
    hub = Hub(on_interest=lambda: told.append(None))
    for hosts in ([status("a")], [status("a", "gone")], [status("a"), status("b")], [status("b")]):
        hub.publish_hosts(hosts)
    assert len(told) == 3


def test_what_is_subscribed_to_is_told_with_what_its_clients_may_see() -> None:
    hub = Hub()
    viewers = [
        Viewer(hub, ("metrics", None)),
        Viewer(hub, ("metrics", None), sees=("web-*",)),
        Viewer(hub, ("usage", "a")),
    ]
    told = {(("metrics", None), None), (("metrics", None), ("web-*",)), (("usage", "a"), None)}
    assert set(hub.subscriptions()) == told
    for viewer in viewers:
        hub.remove(viewer.client)
    assert set(hub.subscriptions()) == set()


def status(host: str, state: str = "live", at: int = 0, **said: Any) -> HostStatus:
    link = Link.model_validate({"state": state})
    links = Links(metrics=link, containers=link, executor=link)
    fields: dict[str, Any] = {"expected": "always", "labels": {}, **said}
    return HostStatus(host=host, status=link.state, last_seen_at=at, links=links, **fields)


def test_the_roster_is_told_when_it_changes_and_not_when_only_time_passes() -> None:
    hub = Hub()
    everything, one = Viewer(hub, ("hosts", None)), Viewer(hub, ("hosts", "a"))
    assert hub.publish_hosts([status("a"), status("b")])
    flush(hub)
    assert (len(everything.take()), len(one.take())) == (1, 1)
    assert not hub.publish_hosts([status("a", at=5), status("b", at=5)])
    assert hub.publish_hosts([status("a", at=6), status("b", "gone", at=5)])
    flush(hub)
    [roster] = [HostsMessage.model_validate_json(text) for text in everything.take()]
    assert [(s.host, s.status) for s in roster.hosts] == [("a", "live"), ("b", "gone")]
    assert one.take() == []
    late = Viewer(hub, ("hosts", "b"))
    flush(hub)
    [text] = late.take()
    assert [s.status for s in HostsMessage.model_validate_json(text).hosts] == ["gone"]


@pytest.mark.parametrize(
    "change",
    [{"expected": "sometimes"}, {"usage": "stats"}, {"labels": {"env": "prod"}}, {"actions": ("stop",)}],
    ids=str,
)
def test_the_roster_is_told_when_what_a_host_says_of_itself_changes(change: dict[str, Any]) -> None:
    hub = Hub()
    everything, one = Viewer(hub, ("hosts", None)), Viewer(hub, ("hosts", "a"))
    hub.publish_hosts([status("a"), status("b")])
    flush(hub)
    everything.take(), one.take()
    assert hub.publish_hosts([status("a", **change), status("b")])
    flush(hub)
    assert (len(everything.take()), len(one.take())) == (1, 1)


# Ordered messages


def test_ordered_messages_leave_at_once_and_in_order() -> None:
    viewer = Viewer(Hub())
    for number in range(3):
        viewer.client.put(b"ack %d" % number)
    assert viewer.take() == ["ack 0", "ack 1", "ack 2"]


def test_ordered_messages_wait_for_a_blocked_client_and_come_before_state() -> None:
    hub = Hub()
    viewer = Viewer(hub, ("metrics", None))
    viewer.client.block(0.0)
    publish(hub, "a", "metrics", 1)
    viewer.client.put(b"ack 1")
    viewer.client.put(b"ack 2")
    flush(hub)
    hub.drained(viewer.client)
    flush(hub)
    assert viewer.take() == ["ack 1", "ack 2", "metrics a 1"]


@pytest.mark.parametrize(("size", "allowed"), [(1, MAX_ORDERED), (4_000, 2)])
def test_more_ordered_messages_than_may_wait_close_the_client_and_are_never_silent(size: int, allowed: int) -> None:
    viewer = Viewer(Hub())
    viewer.client.block(0.0)
    for _ in range(allowed):
        viewer.client.put(b"x" * size)
    assert viewer.closed == []
    viewer.client.put(b"x" * size)
    assert viewer.closed == [4409]


# Any order of anything


class Model(RuleBasedStateMachine):
    """Whatever happens, in whatever order: nobody gets an older state after a newer one or what it has not subscribed
    to, and when all is flushed and nobody is blocked everybody has the newest of all that it subscribed to.

    Of events everybody has each that happened while it was subscribed, once, in order, and no other; who could not get
    one is closed, and there have to be more than are kept for that."""

    max_events = 3

    hosts = st.sampled_from("abc")
    kinds = st.sampled_from(STATE_KINDS[:2])
    topics = st.tuples(st.sampled_from([*STATE_KINDS[:2], "events"]), st.one_of(st.none(), hosts))
    which = st.integers(0, 3)

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub(max_write_bytes=40, max_events=self.max_events)
        self.viewers: list[Viewer] = []
        self.newest: dict[tuple[StateKind, str], int] = {}
        self.owed: dict[Viewer, dict[int, set[Subscription]]] = {}
        """The events that each is to get or has got, and the subscriptions by which it still is to."""
        self.number = 0
        self.running: Iterator[None] | None = None

    def viewer(self, which: int) -> Viewer:
        return self.viewers[which % len(self.viewers)]

    @rule(sees=st.sampled_from([None, ("a", "b")]))
    @precondition(lambda self: len(self.viewers) < 4)
    def come(self, sees: tuple[str, ...] | None) -> None:
        self.viewers.append(Viewer(self.hub, sees=sees))
        self.owed[self.viewers[-1]] = {}

    @rule(which=which)
    @precondition(lambda self: self.viewers)
    def go(self, which: int) -> None:
        viewer = self.viewers.pop(which % len(self.viewers))
        self.hub.remove(viewer.client)

    @rule(which=which, topics=st.lists(topics, min_size=1, max_size=3))
    @precondition(lambda self: self.viewers)
    def subscribe(self, which: int, topics: list[Subscription]) -> None:
        viewer = self.viewer(which)
        sees = viewer.client.selectors
        self.hub.subscribe(viewer.client, [t for t in topics if t[1] is None or sees is None or t[1] in sees])

    @rule(which=which, topics=st.lists(topics, min_size=1, max_size=3))
    @precondition(lambda self: self.viewers)
    def unsubscribe(self, which: int, topics: list[Subscription]) -> None:
        viewer = self.viewer(which)
        self.hub.unsubscribe(viewer.client, topics)
        for number in self.owed[viewer].keys() - set(viewer.events):
            self.owed[viewer][number] -= set(topics)
            if not self.owed[viewer][number]:
                del self.owed[viewer][number]

    @rule(which=which, at_next=st.booleans())
    @precondition(lambda self: self.viewers)
    def block(self, which: int, at_next: bool) -> None:
        viewer = self.viewer(which)
        if at_next:
            viewer.blocks_after_next = True
        else:
            viewer.client.block(0.0)

    @rule(which=which)
    @precondition(lambda self: self.viewers)
    def drain(self, which: int) -> None:
        viewer = self.viewer(which)
        if viewer.client.blocked_since is not None:
            self.hub.drained(viewer.client)

    @rule(host=hosts, kind=kinds, older=st.booleans())
    def publish(self, host: str, kind: StateKind, older: bool) -> None:
        if older:
            publish(self.hub, host, kind, self.newest.get((kind, host), 0))
        else:
            self.number += 1
            self.newest[kind, host] = self.number
            publish(self.hub, host, kind, self.number)

    @rule(host=hosts, times=st.integers(1, 5))
    def happen(self, host: str, times: int) -> None:
        for _ in range(times):
            self.number += 1
            happen(self.hub, host, self.number)
            for viewer in self.viewers:
                if viewer.client.audience.wants(("events", host)):
                    named = {("events", host), ("events", None)}
                    self.owed[viewer][self.number] = named & viewer.client.audience.subscriptions

    @rule()
    def flush_a_slice(self) -> None:
        if self.running is None:
            self.running = self.hub.flush()
        if next(self.running, "over") == "over":
            self.running = None

    @rule()
    def settle(self) -> None:
        list(self.running or ())
        self.running = None
        for viewer in self.viewers:
            viewer.blocks_after_next = False
            if viewer.client.blocked_since is not None:
                self.hub.drained(viewer.client)
        flush(self.hub)
        self.close_who_could_not_keep_up()
        for viewer in self.viewers:
            assert viewer.events == sorted(self.owed[viewer])
            last = {tuple(text.split()[:2]): int(text.split()[2]) for text in viewer.received}
            for (kind, host), number in self.newest.items():
                if viewer.client.audience.wants((kind, host)):
                    assert last.get((kind, host)) == number

    @invariant()
    def close_who_could_not_keep_up(self) -> None:
        for viewer in [viewer for viewer in self.viewers if viewer.closed]:
            lacks = self.owed[viewer].keys() - set(viewer.events)
            assert viewer.closed == [4409]
            assert (
                len({number for owed in self.owed.values() for number in owed if number >= min(lacks)})
                > self.max_events
            )
            self.viewers.remove(viewer)

    @invariant()
    def events_come_once_in_order_and_to_those_who_watch(self) -> None:
        for viewer in self.viewers:
            assert viewer.events == sorted(set(viewer.events))
            assert self.owed[viewer].keys() >= set(viewer.events)

    @invariant()
    def nobody_goes_back(self) -> None:
        for viewer in self.viewers:
            last: dict[tuple[str, ...], int] = {}
            for text in viewer.received:
                *key, number = text.split()
                assert int(number) >= last.get(tuple(key), 0)
                last[tuple(key)] = int(number)
                assert viewer.client.selectors is None or key[1] in viewer.client.selectors

    def teardown(self) -> None:
        self.settle()


TestAnyOrder = Model.TestCase
TestAnyOrder.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


# Frames


def test_a_frame_is_compressed_once_and_small_ones_never() -> None:
    large, small = Frame(b'{"x":"' + b"y" * 1000 + b'"}'), Frame(b"{}")
    assert len(large.deflate) < len(large.text) / 5
    assert large.deflate is large.deflate
    assert small.deflate is small.text


def test_a_line_break_in_a_body_does_not_end_an_event() -> None:
    assert Frame(b'{"a":\n1,\r\n"b":2}').events == b'data: {"a": 1,  "b":2}\n\n'
