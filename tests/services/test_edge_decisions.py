"""The edge's decisions: which host is live, which container is meant, which page may talk, how much, and how fast."""

from collections.abc import Mapping

import pytest

from common.bus import RosterReading
from common.errors import ProtocolError
from common.keys import Worker
from common.protocol import ContainerAction, Target
from common.roster import About
from services.edge.drain import announce, batch_size, retry_after_ms
from services.edge.limits import Room, TokenBucket, TokenBuckets
from services.edge.origin import is_allowed, parse_origins
from services.edge.pace import Pace
from services.edge.roster import host_statuses, without_bus
from services.edge.strikes import Strikes
from services.edge.targets import Wanted, resolve, wanted_of
from tests.samples import ID_A, ID_B, container

# Roster

LIVE_WITHIN_MS = 3_000
GONE_AFTER_MS = 5_000
"""With a beat of 2 s."""


def reading(
    seen: Mapping[Worker, Mapping[str, int]], faults: Mapping[Worker, Mapping[str, str]] | None = None
) -> RosterReading:
    about = {
        worker: {host: About(fault=fault) for host, fault in said.items()} for worker, said in (faults or {}).items()
    }
    return RosterReading(now_ms=100_000, seen=seen, about=about)


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
        (0, "live insecure-unsigned", ("live", "insecure-unsigned")),
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


@pytest.mark.parametrize(("interval_ms", "told_ms"), [(200, None), (1000, None), (60_000, 60_000)])
def test_a_link_that_brings_samples_seldom_says_so(interval_ms: int, told_ms: int | None) -> None:
    about = {"metrics": {"a": About(interval_ms=interval_ms)}}
    [host] = host_statuses(RosterReading(now_ms=100_000, seen={"metrics": {"a": 99_999}}, about=about))
    assert host.links.metrics.interval_ms == told_ms
    assert host.links.containers.interval_ms is None


def test_a_host_is_as_live_as_its_best_link() -> None:
    [host] = host_statuses(reading({"metrics": {"a": 1}, "executor": {"a": 99_999}}))
    assert (host.status, host.last_seen_at) == ("live", 99_999)


def test_a_worker_with_a_slow_beat_is_given_more_time() -> None:
    slow = About(beat_ms=60_000)
    seen: dict[Worker, dict[str, int]] = {"metrics": {"a": 100_000 - 80_000, "b": 100_000 - 100_000}}
    a, b = host_statuses(RosterReading(200_000 - 100_000, seen, {"metrics": {"a": slow, "b": slow}}))
    assert (a.links.metrics.state, b.links.metrics.state) == ("live", "stalled")


def test_a_host_that_may_be_off_and_the_way_its_usage_is_read_are_told() -> None:
    seen: dict[Worker, dict[str, int]] = {"metrics": {"a": 1, "b": 1}, "containers": {"a": 1}}
    about: dict[Worker, dict[str, About]] = {"containers": {"a": About(expected="sometimes", usage="stats")}}
    a, b = host_statuses(RosterReading(100_000, seen, about))
    assert (a.expected, a.usage) == ("sometimes", "stats")
    assert (b.expected, b.usage) == ("always", None)


def test_a_hosts_labels_are_what_any_of_its_workers_says_and_the_metrics_collectors_word_counts_first() -> None:
    seen: dict[Worker, dict[str, int]] = {"metrics": {"a": 1, "b": 1}, "containers": {"a": 1}, "executor": {"a": 1}}
    about: dict[Worker, dict[str, About]] = {
        "metrics": {"a": About(labels=(("env", "prod"),))},
        "containers": {"a": About(labels=(("env", "dev"), ("region", "eu-1")))},
        "executor": {"a": About(labels=(("region", "us-1"), ("rack", "7")))},
    }
    a, b = host_statuses(RosterReading(100_000, seen, about))
    assert a.labels == {"env": "prod", "region": "eu-1", "rack": "7"}
    assert b.labels == {}


def test_what_an_executor_allows_is_told_once_it_has_said_it() -> None:
    seen: dict[Worker, dict[str, int]] = {"metrics": {"c": 1}, "executor": {"a": 1, "b": 1}}
    about: dict[Worker, dict[str, About]] = {
        "executor": {"a": About(actions=("start", "stop")), "b": About(actions=())}
    }
    a, b, c = host_statuses(RosterReading(100_000, seen, about))
    assert (a.actions, b.actions, c.actions) == (("start", "stop"), (), None)
    assert '"actions"' not in c.model_dump_json()


def test_without_the_bus_nothing_is_called_live() -> None:
    [host] = without_bus(host_statuses(reading({"metrics": {"a": 99_999}})))
    assert (host.status, host.links.metrics.reason) == ("stalled", "bus-unreachable")


# Containers


def wanted(reference: str) -> Wanted:
    asked = ContainerAction(
        type="container-action", request_id="r-1", action="stop", targets=(Target(container_id=reference),)
    )
    [one] = wanted_of(asked)
    return one


def test_a_container_is_found_by_id_name_or_unambiguous_prefix() -> None:
    fleet = (container("web", ID_A), container("db", ID_B), container("b2", "c3" * 32))
    assert resolve(wanted(ID_B), fleet) == (ID_B, "db")
    assert resolve(wanted("web"), fleet) == (ID_A, "web")
    assert resolve(wanted("a1a1"), fleet) == (ID_A, "web")
    assert resolve(wanted("b2"), fleet) == ("c3" * 32, "b2"), "a name comes before a prefix"


def test_a_full_id_that_nobody_here_knows_is_left_to_the_executor() -> None:
    assert resolve(wanted("0f" * 32), (container("web", ID_A),)) == ("0f" * 32, "")


@pytest.mark.parametrize(("reference", "code"), [("nope", "unknown-container"), ("a", "ambiguous-container")])
def test_a_container_that_is_not_there_or_may_be_several_is_refused(reference: str, code: str) -> None:
    fleet = (container("web", ID_A), container("db", "ab" * 32))
    with pytest.raises(ProtocolError) as raised:
        resolve(wanted(reference), fleet)
    assert (raised.value.code, raised.value.request_id, raised.value.target) == (code, "r-1", 0)


def test_a_message_that_names_one_container_has_no_targets() -> None:
    asked = ContainerAction(
        type="container-action", request_id="r", host="h", container_id="web", action="kill", timeout_sec=3
    )
    [one] = wanted_of(asked)
    assert (one.target, one.host, one.container, one.timeout_sec, one.expires_in_sec) == (None, "h", "web", 3, 30)


def test_each_who_asks_has_a_bucket_and_who_was_silent_longest_begins_anew() -> None:
    buckets = TokenBuckets(rate=1, burst=1, max_kept=2)
    assert buckets.take("a", 0)
    assert not buckets.take("a", 0.5)
    assert buckets.take("b", 0.5)
    assert buckets.take("c", 0.5)  # a's is forgotten
    assert not buckets.take("b", 0.6)
    assert buckets.take("a", 0.6)


def test_a_bucket_gives_all_or_nothing() -> None:
    bucket = TokenBucket(rate=1, burst=10, now=0)
    assert bucket.take(0, 8)
    assert not bucket.take(0, 3)
    assert bucket.take(0, 2)


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


# Limits


def test_a_token_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=0)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5), bucket.take(1.0)] == [True, False, True]
    assert [bucket.take(1000) for _ in range(4)] == [True, True, True, False], "never more than the burst"


def test_there_is_room_for_so_many_and_from_one_address_for_so_many() -> None:
    room = Room(max_clients=4, max_per_address=2)
    assert [room.enter("203.0.113.7") for _ in range(3)] == [None, None, "too many connections from this address"]
    assert room.enter("203.0.113.8") is None
    room.leave("203.0.113.7")
    assert room.enter("203.0.113.7") is None
    assert room.enter("127.0.0.1") is None
    assert room.enter("203.0.113.9") == "this edge is full"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_machine_itself_is_counted_in_all_only(address: str) -> None:
    room = Room(max_clients=3, max_per_address=1)
    assert [room.enter(address) for _ in range(4)] == [None, None, None, "this edge is full"]


# Pace


def simulate(pace: Pace, messages_per_s: float, cost_s: float, for_s: float = 20.0) -> tuple[list[float], float]:
    """How long each message waited in the second half of the time, and the share of that which went into flushing."""
    now, waits, spent, waiting = 0.0, [], 0.0, []
    arrivals = [number / messages_per_s for number in range(int(for_s * messages_per_s))]
    while arrivals:
        if not waiting:
            now = max(now, arrivals[0])
        now += pace.wait_s(now)
        while arrivals and arrivals[0] <= now:
            waiting.append(arrivals.pop(0))
        pace.flushed(now, cost_s, len(waiting))
        if now > for_s / 2:
            waits += [now - at for at in waiting]
            spent += cost_s
        now += cost_s
        waiting.clear()
    return waits, spent / (for_s / 2)


def test_nothing_waits_while_sending_at_once_is_cheap() -> None:
    waits, spent = simulate(Pace(share=0.3), messages_per_s=20, cost_s=0.010)
    assert max(waits) < 1e-9
    assert spent == pytest.approx(0.2, abs=0.02)


def test_a_message_that_comes_a_little_early_does_not_wait_for_the_one_before() -> None:
    pace = Pace(share=0.3)
    for number in range(100):
        at = number * 0.05 + (0.015 if number % 2 else -0.015)
        assert pace.wait_s(at) == 0.0
        pace.flushed(at, 0.012, 1)


def test_a_burst_is_not_let_through_at_once() -> None:
    pace = Pace(share=0.3)
    simulate(pace, messages_per_s=20, cost_s=0.010)
    for _ in range(3):
        waited = pace.wait_s(21.0)
        pace.flushed(21.0, 0.010, 1)
    assert waited > 0


def test_under_load_messages_wait_for_the_window_and_leave_together() -> None:
    pace = Pace(window_s=0.1, share=0.3)
    waits, spent = simulate(pace, messages_per_s=200, cost_s=0.005)
    assert pace.window_s == 0.1
    assert max(waits) <= 0.1 + 1e-9
    assert spent == pytest.approx(0.05, abs=0.01)


def test_under_overload_the_frame_rate_falls_and_flushing_keeps_to_its_share() -> None:
    pace = Pace(window_s=0.1, share=0.3)
    waits, spent = simulate(pace, messages_per_s=2000, cost_s=0.120)
    assert pace.window_s == pytest.approx(0.4, rel=0.02)
    assert max(waits) <= 0.4 + 1e-9
    assert spent == pytest.approx(0.3, abs=0.02)


def test_whatever_flushing_costs_a_message_waits_no_longer_than_the_longest_window() -> None:
    waits, _ = simulate(Pace(max_window_s=1.0), messages_per_s=100, cost_s=0.8)
    assert max(waits) <= 1.0 + 1e-9


def test_when_the_load_is_over_nothing_waits_again() -> None:
    pace = Pace()
    simulate(pace, messages_per_s=500, cost_s=0.01)
    assert pace.window_s
    pace.flushed(100.0, 0.01, 1)
    pace.flushed(102.0, 0.01, 1)
    assert pace.window_s == 0.0


# Drain


@pytest.mark.parametrize(("clients", "drain_s", "size"), [(2000, 10, 20), (7, 10, 5), (2000, 0, 2000), (0, 10, 5)])
def test_clients_are_told_in_batches_that_are_through_in_time(clients: int, drain_s: float, size: int) -> None:
    assert batch_size(clients, drain_s) == size


def test_what_is_announced_can_be_read() -> None:
    assert retry_after_ms(announce(250)) == 250
