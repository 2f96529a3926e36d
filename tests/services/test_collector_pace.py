import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.collector.pace import next_tick


@pytest.mark.parametrize(
    ("now_s", "expected_s"),
    [(10.0, 11.0), (10.4, 11.0), (11.0, 11.0), (11.2, 12.0), (13.7, 14.0), (3600.5, 3601.0)],
)
def test_a_tick_is_the_next_on_the_grid_however_late_it_is(now_s: float, expected_s: float) -> None:
    assert next_tick(10.0, 1.0, now_s) == expected_s


def test_a_stall_is_followed_by_one_tick_not_by_a_burst() -> None:
    last_s = next_tick(10.0, 1.0, 15.5)
    assert last_s == 16.0
    assert next_tick(last_s, 1.0, 16.0) == 17.0


def test_ticks_do_not_drift_by_what_the_work_takes() -> None:
    last_s = 0.0
    for _ in range(1000):
        last_s = next_tick(last_s, 0.5, last_s + 0.3)
    assert last_s == pytest.approx(500.0)


@given(st.floats(0, 1e6), st.floats(0.05, 3600), st.floats(0, 1e6))
def test_a_tick_comes_after_the_last_and_within_an_interval(last_s: float, interval_s: float, late_s: float) -> None:
    now_s = last_s + late_s
    tick_s = next_tick(last_s, interval_s, now_s)
    assert tick_s > last_s
    assert tick_s >= now_s - 1e-6
    assert tick_s - now_s <= interval_s + 1e-6
