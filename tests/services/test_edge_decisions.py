"""The edge's decisions: who gets what, what is newest, which host is live, which page may talk."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.bus import RosterReading
from common.envelope import Version
from common.errors import ProtocolError
from common.keys import Worker
from common.protocol import HostsMessage, HostStatus, Link, Links
from services.edge.actions import resolve
from services.edge.hub import Client, Hub
from services.edge.origin import is_allowed, parse_origins
from services.edge.outbox import Outbox
from services.edge.roster import GONE_AFTER_MS, LIVE_WITHIN_MS, host_statuses, without_bus
from services.edge.strikes import Strikes
from tests.samples import ID_A, ID_B, container


def client() -> Client:
    return Client(Outbox(lambda: None))


def drain(outbox: Outbox) -> list[str]:
    texts = []
    while (text := outbox.next()) is not None:
        texts.append(text)
    return texts


# Outbox


def test_only_the_newest_state_waits() -> None:
    outbox = Outbox(lambda: None)
    outbox.put_state("a", "a1")
    outbox.put_state("b", "b1")
    outbox.put_state("a", "a2")
    assert drain(outbox) == ["b1", "a2"]
    assert outbox.superseded == 1


def test_ordered_messages_go_first_and_in_order() -> None:
    outbox = Outbox(lambda: None)
    outbox.put_state("a", "state")
    outbox.put("ack 1")
    outbox.put("ack 2")
    assert drain(outbox) == ["ack 1", "ack 2", "state"]


def test_more_ordered_messages_than_may_wait_are_noticed_and_never_silent() -> None:
    outbox = Outbox(lambda: None, max_ordered=2)
    outbox.put("1")
    outbox.put("2")
    assert not outbox.overflowed
    outbox.put("3")
    assert outbox.overflowed


# Hub


def test_a_state_goes_to_those_who_watch_its_host_or_every_host() -> None:
    hub, everything, one, other = Hub(), client(), client(), client()
    hub.subscribe(everything, [("metrics", None)])
    hub.subscribe(one, [("metrics", "a")])
    hub.subscribe(other, [("metrics", "b"), ("containers", "a")])
    hub.publish("a", "metrics", Version(1, 1), "state")
    assert [drain(c.outbox) for c in (everything, one, other)] == [["state"], ["state"], []]


def test_a_late_subscriber_gets_the_last_state_once() -> None:
    hub, late = Hub(), client()
    hub.subscribe(client(), [("metrics", None)])
    hub.publish("a", "metrics", Version(1, 1), "state")
    hub.subscribe(late, [("metrics", "a"), ("metrics", None), ("metrics", "a")])
    assert drain(late.outbox) == ["state"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30))
def test_an_older_state_never_follows_a_newer_one(versions: list[tuple[int, int]]) -> None:
    hub, watcher = Hub(), client()
    hub.subscribe(watcher, [("metrics", None)])
    told: list[tuple[int, int]] = []
    for version in versions:
        hub.publish("a", "metrics", Version(*version), f"{version[0]} {version[1]}")
        told += [tuple(map(int, text.split())) for text in drain(watcher.outbox)]  # type: ignore[misc]
    assert told == sorted(set(told))
    assert not versions or told[-1] == max(versions)


def test_unsubscribing_also_drops_what_waits() -> None:
    hub, watcher = Hub(), client()
    hub.subscribe(watcher, [("metrics", None), ("containers", "a")])
    hub.publish("a", "metrics", Version(1, 1), "metrics")
    hub.publish("a", "containers", Version(1, 1), "containers")
    hub.unsubscribe(watcher, [("metrics", None)])
    assert drain(watcher.outbox) == ["containers"]
    hub.publish("a", "metrics", Version(1, 2), "metrics")
    assert drain(watcher.outbox) == []


def test_interest_is_what_somebody_watches() -> None:
    hub, watcher = Hub(), client()
    assert hub.interest(["a", "b"]) == set()
    hub.subscribe(watcher, [("metrics", None), ("containers", "c"), ("hosts", None), ("events", "a")])
    assert hub.interest(["a", "b"]) == {("a", "metrics"), ("b", "metrics"), ("c", "containers")}
    hub.remove(watcher)
    assert hub.interest(["a", "b"]) == set()


def test_a_state_that_nobody_watches_any_more_is_not_kept_for_the_next() -> None:
    hub, first, second = Hub(), client(), client()
    hub.subscribe(first, [("metrics", None)])
    hub.publish("a", "metrics", Version(1, 1), "old by now")
    hub.remove(first)
    hub.forget_unwatched(hub.interest(["a"]))
    hub.subscribe(second, [("metrics", None)])
    assert drain(second.outbox) == []


def status(host: str, state: str = "live", at: int = 0) -> HostStatus:
    link = Link.model_validate({"state": state})
    return HostStatus(
        host=host,
        status=link.state,
        last_seen_at=at,
        links=Links(metrics=link, containers=link, executor=link),
    )


def test_the_roster_is_told_when_it_changes_and_not_when_only_time_passes() -> None:
    hub, everything, one = Hub(), client(), client()
    hub.subscribe(everything, [("hosts", None)])
    hub.subscribe(one, [("hosts", "a")])
    assert hub.publish_hosts([status("a"), status("b")])
    assert not hub.publish_hosts([status("a", at=5), status("b", at=5)])
    assert hub.publish_hosts([status("a", at=6), status("b", "gone", at=5)])
    told = [HostsMessage.model_validate_json(text) for text in drain(everything.outbox)]
    assert [[(s.host, s.status) for s in message.hosts] for message in told] == [[("a", "live"), ("b", "gone")]]
    assert len(drain(one.outbox)) == 1


# Roster


def reading(
    seen: Mapping[Worker, Mapping[str, int]], faults: Mapping[Worker, Mapping[str, str]] | None = None
) -> RosterReading:
    return RosterReading(now_ms=100_000, seen=seen, faults=faults or {})


@pytest.mark.parametrize(
    ("age_ms", "fault", "expected"),
    [
        (0, None, ("live", None)),
        (LIVE_WITHIN_MS, None, ("live", None)),
        (LIVE_WITHIN_MS + 1, None, ("stalled", "silent")),
        (GONE_AFTER_MS + 1, None, ("gone", "silent")),
        (0, "gone docker-unreachable", ("gone", "docker-unreachable")),
        (0, "gone stopped", ("gone", "stopped")),
        (GONE_AFTER_MS + 1, "gone docker-unreachable", ("gone", "silent")),
        (0, "rubbish", ("stalled", "unknown")),
        (0, "", ("stalled", "unknown")),
    ],
)
def test_a_link_says_its_state_and_why(age_ms: int, fault: str | None, expected: tuple[str, str | None]) -> None:
    seen: dict[Worker, dict[str, int]] = {"containers": {"a": 100_000 - age_ms}}
    faults: dict[Worker, dict[str, str]] = {"containers": {"a": fault} if fault is not None else {}}
    [host] = host_statuses(reading(seen, faults))
    assert (host.links.containers.state, host.links.containers.reason) == expected
    assert (host.links.executor.state, host.links.executor.reason) == ("gone", "never-seen")


def test_a_host_is_as_live_as_its_best_link() -> None:
    [host] = host_statuses(reading({"metrics": {"a": 1}, "executor": {"a": 99_999}}))
    assert (host.status, host.last_seen_at) == ("live", 99_999)


def test_without_the_bus_nothing_is_called_live() -> None:
    [host] = without_bus(host_statuses(reading({"metrics": {"a": 99_999}})))
    assert (host.status, host.links.metrics.reason) == ("stalled", "bus-unreachable")


# Containers


def test_a_container_is_found_by_id_name_or_unambiguous_prefix() -> None:
    fleet = (container("web", ID_A), container("db", ID_B), container("b2", "c3" * 32))
    assert resolve(ID_B, fleet).name == "db"
    assert resolve("web", fleet).id == ID_A
    assert resolve("a1a1", fleet).id == ID_A
    assert resolve("b2", fleet).name == "b2", "a name comes before a prefix"


@pytest.mark.parametrize(("reference", "code"), [("nope", "unknown-container"), ("a", "ambiguous-container")])
def test_a_container_that_is_not_there_or_may_be_several_is_refused(reference: str, code: str) -> None:
    fleet = (container("web", ID_A), container("db", "ab" * 32))
    with pytest.raises(ProtocolError) as raised:
        resolve(reference, fleet, "r-1")
    assert (raised.value.code, raised.value.request_id) == (code, "r-1")


# Origins


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("127.0.0.1:8080", None, True),
        ("localhost:8080", "http://localhost:8080", True),
        ("[::1]:8080", "http://[::1]:8080", True),
        ("localhost:8080", "http://localhost:9090", False),
        ("localhost:8080", "https://evil.example", False),
        ("localhost:8080", "null", False),
        ("localhost:8080", "", False),
        ("evil.example:8080", "http://evil.example:8080", False),
        ("evil.example", None, False),
        ("127.0.0.1.evil.example", None, False),
        ("localhost:8080", "https://ops.example.com", True),
        ("ops.example.com", "https://ops.example.com", True),
        (None, None, False),
        ("[", None, False),
    ],
)
def test_only_our_own_page_an_allowed_one_or_a_program_may_talk(host: str, origin: str, allowed: bool) -> None:
    assert is_allowed(host, origin, parse_origins("https://ops.example.com")) is allowed


@pytest.mark.parametrize("setting", ["ops.example.com", "*", "ftp://a", "https://a/path"])
def test_a_wrong_origin_setting_is_named(setting: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        parse_origins(setting)


# Strikes


def test_the_twentieth_fault_within_a_minute_is_out() -> None:
    strikes = Strikes()
    assert [strikes.out(second) for second in range(20)] == [False] * 19 + [True]


def test_faults_far_apart_are_forgiven() -> None:
    strikes = Strikes()
    assert not any(strikes.out(second * 4.0) for second in range(100))
