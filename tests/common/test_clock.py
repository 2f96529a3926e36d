import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import RedisClock, next_tick, phase_of


class Watch:
    """A machine's two clocks, moved by hand."""

    def __init__(self) -> None:
        self.monotonic_s = 1_000.0
        self.wall_s = 1_700_000_000.0

    def clock(self) -> RedisClock:
        return RedisClock(monotonic=lambda: self.monotonic_s, wall=lambda: self.wall_s)

    def pass_time(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_s += seconds

    def round_trip(self, clock: RedisClock, redis_ms: float, took_s: float) -> None:
        """TIME was answered with `redis_ms` half way."""
        sent_at = self.monotonic_s
        self.pass_time(took_s)
        clock.note(redis_ms, sent_at, self.monotonic_s)


def test_before_the_first_round_trip_it_is_the_machines_own_time() -> None:
    assert Watch().clock().now_ms() == 1_700_000_000_000


def test_a_round_trip_sets_it_to_redis_time() -> None:
    watch = Watch()
    clock = watch.clock()
    watch.round_trip(clock, redis_ms=5_000_000, took_s=0.2)
    assert clock.now_ms() == 5_000_100
    watch.pass_time(60)
    assert clock.now_ms() == 5_060_100


def test_a_step_of_the_machines_clock_moves_nothing() -> None:
    watch = Watch()
    clock = watch.clock()
    watch.round_trip(clock, redis_ms=5_000_000, took_s=0.0)
    watch.wall_s -= 86_400
    assert clock.now_ms() == 5_000_000


def test_a_longer_round_trip_tells_less_and_is_passed_over() -> None:
    watch = Watch()
    clock = watch.clock()
    watch.round_trip(clock, redis_ms=5_000_000, took_s=0.010)
    watch.round_trip(clock, redis_ms=9_000_000, took_s=0.500)
    assert clock.now_ms() == 5_000_505
    watch.round_trip(clock, redis_ms=6_000_000, took_s=0.002)
    assert clock.now_ms() == 6_000_001


def test_an_old_measurement_gives_way_to_a_longer_round_trip() -> None:
    watch = Watch()
    clock = watch.clock()
    watch.round_trip(clock, redis_ms=5_000_000, took_s=0.010)
    watch.pass_time(301)
    watch.round_trip(clock, redis_ms=9_000_000, took_s=0.100)
    assert clock.now_ms() == 9_000_050


def test_after_forgetting_the_next_round_trip_counts_whatever_it_took() -> None:
    watch = Watch()
    clock = watch.clock()
    watch.round_trip(clock, redis_ms=5_000_000, took_s=0.0)
    clock.forget()
    watch.round_trip(clock, redis_ms=9_000_000, took_s=2.0)
    assert clock.now_ms() == 9_001_000


@given(
    st.floats(0, 1e7),
    st.floats(1e9, 4e9),
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1), st.floats(0, 600)), min_size=1, max_size=10),
)
def test_it_is_never_wrong_by_more_than_half_the_round_trip_that_counts(
    monotonic_s: float, redis_s: float, round_trips: list[tuple[float, float, float]]
) -> None:
    """Redis answers anywhere within a round trip; both clocks run at the same speed."""
    watch = Watch()
    watch.monotonic_s = monotonic_s
    clock = watch.clock()
    ahead_s = redis_s - monotonic_s
    for took_s, answered, later_s in round_trips:
        answered_at_s = watch.monotonic_s + took_s * answered
        watch.round_trip(clock, (answered_at_s + ahead_s) * 1000, took_s)
        watch.pass_time(later_s)
    longest_s = max(took_s for took_s, _, _ in round_trips)
    assert abs(clock.now_ms() - (watch.monotonic_s + ahead_s) * 1000) <= longest_s / 2 * 1000 + 1


# Ticks


@pytest.mark.parametrize(
    ("now_s", "expected_s"),
    [(10.0, 10.25), (10.2, 10.25), (10.25, 11.25), (11.3, 12.25), (13.7, 14.25), (3600.5, 3601.25)],
)
def test_a_tick_is_the_next_on_the_grid_however_late_it_is(now_s: float, expected_s: float) -> None:
    assert next_tick(1.0, 0.25, now_s) == expected_s


def test_ticks_do_not_drift_by_what_the_work_takes() -> None:
    now_s = 0.0
    for _ in range(1000):
        now_s = next_tick(0.5, 0.25, now_s + 0.3)
    assert now_s == pytest.approx(500.25, abs=0.5)
    assert now_s % 0.5 == pytest.approx(0.25)


@given(st.floats(0.05, 3600), st.floats(0, 5e6), st.floats(0, 1e6))
def test_a_tick_comes_later_and_within_an_interval(interval_s: float, phase_s: float, now_s: float) -> None:
    tick_s = next_tick(interval_s, phase_s, now_s)
    assert tick_s > now_s
    assert tick_s - now_s <= interval_s * (1 + 1e-6) + 1e-6


@given(st.text(), st.sampled_from([0.5, 1.0, 2.0]), st.integers(1, 60), st.floats(0, 1e6))
def test_the_ticks_of_a_slow_clock_are_among_a_fast_ones(name: str, fast_s: float, times: int, now_s: float) -> None:
    phase_s = phase_of(name)
    slow_tick_s = next_tick(fast_s * times, phase_s, now_s)
    assert next_tick(fast_s, phase_s, slow_tick_s - fast_s / 2) == pytest.approx(slow_tick_s)


@pytest.mark.parametrize("interval_s", [1.0, 2.0, 10.0, 300.0])
def test_hosts_have_their_ticks_at_different_times_and_always_at_the_same(interval_s: float) -> None:
    names = [f"web-{number}" for number in range(1000)]
    ticks_s = [next_tick(interval_s, phase_of(name), 0.0) for name in names]
    assert ticks_s == [next_tick(interval_s, phase_of(name), 0.0) for name in names]
    for tenth in range(10):
        assert 50 < sum(tenth / 10 <= tick_s / interval_s < (tenth + 1) / 10 for tick_s in ticks_s) < 150
