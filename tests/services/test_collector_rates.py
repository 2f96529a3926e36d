import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.collector.rates import CoreTimes, CpuShares, Rate, Rates

counter = st.integers(min_value=0, max_value=2**64 - 1)
counters = st.dictionaries(st.sampled_from(["eth0", "eth1", "wlan0"]), st.tuples(counter, counter))
seconds = st.floats(min_value=0, max_value=1e9)
core_times = st.builds(CoreTimes, busy_s=seconds, idle_s=seconds)


def test_a_rate_is_what_a_counter_gained_per_second() -> None:
    rates = Rates()
    rates.update(10.0, {"eth0": (1000, 500)})
    assert rates.update(12.0, {"eth0": (3000, 500)}) == {"eth0": Rate(1000.0, 0.0)}


def test_nothing_is_known_at_the_first_reading() -> None:
    assert Rates().update(10.0, {"eth0": (1000, 500)}) == {}


def test_a_new_interface_is_left_out_until_its_second_reading() -> None:
    rates = Rates()
    rates.update(1.0, {"eth0": (0, 0)})
    assert rates.update(2.0, {"eth0": (5, 6), "eth1": (10**12, 10**12)}) == {"eth0": Rate(5.0, 6.0)}
    assert rates.update(3.0, {"eth0": (5, 6), "eth1": (10**12 + 7, 10**12)})["eth1"] == Rate(7.0, 0.0)


@pytest.mark.parametrize("fallen", [(10, 5000), (5000, 10), (0, 0)])
def test_a_counter_that_falls_starts_a_new_baseline(fallen: tuple[int, int]) -> None:
    rates = Rates()
    rates.update(1.0, {"eth0": (1000, 1000)})
    assert rates.update(2.0, {"eth0": fallen}) == {}
    assert rates.update(3.0, {"eth0": (fallen[0] + 8, fallen[1] + 9)}) == {"eth0": Rate(8.0, 9.0)}


def test_an_interface_that_was_away_starts_a_new_baseline() -> None:
    rates = Rates()
    rates.update(1.0, {"eth0": (10, 10)})
    rates.update(2.0, {})
    assert rates.update(3.0, {"eth0": (10_000, 10_000)}) == {}


def test_two_readings_at_the_same_time_say_nothing_and_lose_nothing() -> None:
    rates = Rates()
    rates.update(1.0, {"eth0": (0, 0)})
    assert rates.update(1.0, {"eth0": (100, 0)}) == {}
    assert rates.update(2.0, {"eth0": (300, 0)}) == {"eth0": Rate(300.0, 0.0)}


@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), counters)))
def test_rates_are_finite_and_not_negative_whatever_counters_and_time_do(
    readings: list[tuple[float, dict[str, tuple[int, int]]]],
) -> None:
    rates = Rates()
    for at_s, now in readings:
        for name, rate in rates.update(at_s, now).items():
            assert name in now
            assert all(0 <= value < float("inf") for value in rate)


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.floats(0.01, 1e6))
def test_a_rate_times_its_time_is_what_was_counted(before: int, gained: int, elapsed_s: float) -> None:
    rates = Rates()
    rates.update(100.0, {"eth0": (before, 0)})
    [rate] = rates.update(100.0 + elapsed_s, {"eth0": (before + gained, 0)}).values()
    assert rate.incoming * elapsed_s == pytest.approx(gained, rel=1e-6, abs=0.1 * elapsed_s)


def test_cpu_shares_are_of_the_time_between_two_readings() -> None:
    shares = CpuShares()
    assert shares.update([CoreTimes(10, 90), CoreTimes(0, 100)]) is None
    use = shares.update([CoreTimes(11, 90), CoreTimes(0, 101)])
    assert use is not None
    assert use.per_core_percent == (100.0, 0.0)
    assert use.percent == 50.0


def test_a_core_that_comes_or_goes_starts_a_new_baseline() -> None:
    shares = CpuShares()
    shares.update([CoreTimes(1, 1)])
    assert shares.update([CoreTimes(2, 2), CoreTimes(5, 5)]) is None
    assert shares.update([CoreTimes(3, 2), CoreTimes(5, 6)]) is not None


def test_an_idle_time_that_falls_a_little_counts_as_none() -> None:
    shares = CpuShares()
    shares.update([CoreTimes(1.0, 5.0)])
    use = shares.update([CoreTimes(2.0, 4.99)])
    assert use is not None
    assert use.percent == 100.0


def test_a_core_whose_clock_stood_still_was_not_busy() -> None:
    shares = CpuShares()
    shares.update([CoreTimes(1.0, 5.0)])
    use = shares.update([CoreTimes(1.0, 5.0)])
    assert use is not None
    assert use.percent == 0.0


@given(st.lists(core_times, min_size=1, max_size=4), st.lists(core_times, min_size=1, max_size=4))
def test_cpu_shares_are_percentages_whatever_the_counters_do(before: list[CoreTimes], after: list[CoreTimes]) -> None:
    assume(len(before) == len(after))
    shares = CpuShares()
    shares.update(before)
    use = shares.update(after)
    assert use is not None
    assert all(0 <= percent <= 100 for percent in (use.percent, *use.per_core_percent))
