"""From points to a chart's columns: in order, nothing twice, null where a thing was not there, and within bounds."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.history import Entry, MetricsPoint, UsagePoint, encode
from services.edge import history
from services.edge.history import Found, Wanted, columns

NOON = 1_764_072_000_000
SECOND = 1_000
MINUTE = 60_000


def metrics(at: int, percent: float | None = 1.0, **parts: Any) -> MetricsPoint:
    return MetricsPoint(at, percent, (), None, None, None, None, (), None, None, None, None, ())._replace(**parts)


def usage(at: int, *ids: str, cpu_percent: float | None = 1.0, memory_kib: int | None = 2) -> UsagePoint:
    n = len(ids)
    return UsagePoint(at, ids, (cpu_percent,) * n, (memory_kib,) * n, *[(None,) * n] * 4)


def entries(points: Iterable[MetricsPoint | UsagePoint]) -> list[Entry]:
    """As a stream has them, in the order in which they were added, read from its end."""
    return [Entry(0, encode(point)) for point in points][::-1]


def chart(
    means: Iterable[MetricsPoint] = (), full: Iterable[MetricsPoint] = (), since_ms: int = 0
) -> list[tuple[int, float]]:
    answer = json.loads(columns("metrics", Found(entries(means), entries(full)), Wanted(since_ms)))
    return list(zip(answer["sampledAt"], answer["cpuPercent"], strict=True))


def usage_chart(*points: UsagePoint, container: str | None = None) -> Any:
    return json.loads(columns("usage", Found(full=entries(points)), Wanted(0, container)))


def test_means_come_first_then_what_was_sampled_after_the_last_whole_minute() -> None:
    means = [metrics(NOON + i * MINUTE, 10.0 + i) for i in range(3)]
    full = [metrics(NOON + 2 * MINUTE + i * 20 * SECOND, float(i)) for i in range(6)]
    assert chart(means, full) == [
        *((NOON + i * MINUTE, 10.0 + i) for i in range(3)),
        *((NOON + 2 * MINUTE + i * 20 * SECOND, float(i)) for i in range(3, 6)),
    ]


def test_what_was_sampled_before_the_asked_time_is_left_out() -> None:
    assert chart([metrics(NOON - 1), metrics(NOON)], since_ms=NOON) == [(NOON, 1.0)]
    assert chart(full=[metrics(NOON - 1), metrics(NOON)], since_ms=NOON) == [(NOON, 1.0)]


def test_without_a_mean_every_sample_stands() -> None:
    assert [at for at, _ in chart(full=[metrics(NOON), metrics(NOON + 1)])] == [NOON, NOON + 1]
    assert chart() == []


def test_a_point_that_stands_twice_is_told_once_as_it_was_last() -> None:
    assert chart(full=[metrics(NOON, 1.0), metrics(NOON, 2.0)]) == [(NOON, 2.0)]
    assert chart([metrics(NOON, 1.0), metrics(NOON, 2.0)]) == [(NOON, 2.0)]


def test_after_a_clock_that_stepped_back_the_newer_points_have_their_way() -> None:
    before = [metrics(NOON + i * SECOND, 1.0) for i in range(5)]
    after = [metrics(NOON - 10 * MINUTE + i * SECOND, 2.0) for i in range(3)]
    assert chart(full=[*before, *after]) == [(point.sampled_at, 2.0) for point in after]
    means = [metrics(NOON + i * MINUTE, 1.0) for i in range(-12, 1)]
    assert chart(means, [*before, *after]) == [
        *((NOON + i * MINUTE, 1.0) for i in range(-12, -9)),  # the minute in which it arrived has a mean already
    ]
    ended = [metrics(NOON - 10 * MINUTE, 2.0)]
    later = [*after, metrics(NOON - 9 * MINUTE, 3.0)]
    assert chart([*means, *ended], [*before, *later]) == [
        (NOON - 12 * MINUTE, 1.0),
        (NOON - 11 * MINUTE, 1.0),
        (NOON - 10 * MINUTE, 2.0),
        (NOON - 9 * MINUTE, 3.0),
    ]


def test_what_was_not_there_is_null() -> None:
    answer = json.loads(
        columns(
            "metrics",
            Found(
                full=entries(
                    [
                        metrics(NOON, per_core_percent=(1.0, 2.0), disks=(("/", 5.0),), temperatures=(("cpu", -4.5),)),
                        metrics(NOON + 1, None, disks=(("/data", 6.0), ("/", 7.0))),
                        metrics(NOON + 2, per_core_percent=(3.0, None, 4.0), rx_bytes_per_sec=12),
                    ]
                )
            ),
            Wanted(0),
        )
    )
    assert answer["cpuPercent"] == [1.0, None, 1.0]
    assert answer["perCorePercent"] == [[1.0, None, 3.0], [2.0, None, None], [None, None, 4.0]]
    assert answer["disks"] == {"/": [5.0, 7.0, None], "/data": [None, 6.0, None]}
    assert answer["temperatures"] == {"cpu": [-4.5, None, None]}
    assert answer["rxBytesPerSec"] == [None, None, 12]

    answer = usage_chart(usage(NOON, "a" * 12), usage(NOON + 1, "b" * 12, "a" * 12), usage(NOON + 2))
    assert answer["sampledAt"] == [NOON, NOON + 1, NOON + 2]
    assert {name: own["memoryBytes"] for name, own in answer["containers"].items()} == {
        "a" * 12: [2048, 2048, None],
        "b" * 12: [None, 2048, None],
    }
    assert answer["containers"]["a" * 12]["rxBytesPerSec"] == [None, None, None]


def test_one_container_is_found_by_its_id_or_the_beginning_of_it() -> None:
    points = [usage(NOON, "ab0000000000", "ab1000000000", "b00000000000")]
    assert usage_chart(*points, container="ab")["containers"].keys() == {"ab0000000000", "ab1000000000"}
    assert usage_chart(*points, container="ab0000000000" + 52 * "f")["containers"].keys() == {"ab0000000000"}
    assert usage_chart(*points, container="c")["containers"] == {}


def test_of_more_containers_than_an_answer_has_room_for_those_seen_last_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "MOST_VALUES", 2 * 6 * 3)  # two containers, three times
    points = [usage(NOON, "a" * 12, "b" * 12), usage(NOON + 1, "b" * 12), usage(NOON + 2, "c" * 12)]
    answer = usage_chart(*points)
    assert answer["containers"].keys() == {"b" * 12, "c" * 12}
    assert answer["omitted"] == 1
    answer = usage_chart(*points, container="a")
    assert answer["containers"].keys() == {"a" * 12}
    assert answer["omitted"] == 0


def test_of_more_than_may_be_held_the_newest_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_DECODED", 3 * 7)  # an id and six values a point
    points = [usage(NOON + i, "a" * 12) for i in range(5)]
    assert usage_chart(*points)["sampledAt"] == [NOON + 2, NOON + 3, NOON + 4]


def test_of_names_that_change_all_the_time_those_seen_last_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_NAMES", 2)
    points = [metrics(NOON + i, disks=((f"/{i}", 1.0),), per_core_percent=(1.0,) * 5) for i in range(4)]
    answer = json.loads(columns("metrics", Found(full=entries(points)), Wanted(0)))
    assert answer["disks"].keys() == {"/2", "/3"}
    assert len(answer["perCorePercent"]) == 2


def test_what_cannot_be_read_is_skipped_and_told_of() -> None:
    found = Found(full=[Entry(0, b"rubbish"), *entries([metrics(NOON)]), Entry(0, b"")])
    assert json.loads(columns("metrics", found, Wanted(0)))["sampledAt"] == [NOON]
    assert len(found.problems) == 2


# Fewer rows than points


def thinned(full: Iterable[MetricsPoint], rows: int, span_ms: int, means: Iterable[MetricsPoint] = ()) -> Any:
    wanted = Wanted(0, most_rows=rows, span_ms=span_ms)
    return json.loads(columns("metrics", Found(entries(means), entries(full)), wanted))


def test_points_of_the_same_span_make_one_row_with_the_time_of_the_last() -> None:
    full = [metrics(NOON + i * SECOND, float(i)) for i in range(90)]
    answer = thinned(full, 10, 90 * SECOND)
    assert answer["sampledAt"] == [NOON + i * SECOND for i in (9, 19, 29, 39, 49, 59, 69, 79, 89)]
    assert answer["cpuPercent"] == [4.5, 14.5, 24.5, 34.5, 44.5, 54.5, 64.5, 74.5, 84.5]


def test_where_there_are_no_more_points_than_rows_each_is_told_as_it_is() -> None:
    full = [metrics(NOON + i * SECOND, float(i)) for i in range(10)]
    assert thinned(full, 10, 10 * SECOND) == json.loads(columns("metrics", Found(full=entries(full)), Wanted(0)))


def test_rows_stay_where_they_are_while_time_goes_on() -> None:
    full = [metrics(NOON + i * SECOND, float(i % 17)) for i in range(200)]
    earlier, later = (thinned(full[i : i + 90], 10, 90 * SECOND) for i in (0, 25))
    rows = [list(zip(answer["sampledAt"], answer["cpuPercent"], strict=True)) for answer in (earlier, later)]
    assert rows[0][3:] == rows[1][1:7], "all but those at an end of what was asked for"


def test_a_gap_stays_a_gap_and_what_was_not_known_counts_for_nothing() -> None:
    full = [metrics(NOON + i * SECOND, None if i % 2 else 4.0, load1=None) for i in range(20)]
    full += [metrics(NOON + (60 + i) * SECOND, 8.0, load1=0.125) for i in range(20)]
    answer = thinned(full, 10, 90 * SECOND)
    assert answer["sampledAt"] == [NOON + i * SECOND for i in (9, 19, 69, 79)]
    assert answer["cpuPercent"] == [4, 4, 8, 8]
    assert answer["load1"] == [None, None, 0.12, 0.12]


def test_every_quantity_has_as_many_rows_and_bytes_stay_whole() -> None:
    full = [
        metrics(
            NOON + i * SECOND,
            per_core_percent=(1.0,) * (i % 2),
            disks=(("/", 1.0 + i % 2),),
            temperatures=(("cpu", 40.0),) if i >= 20 else (),
            memory_used_bytes=i,
        )
        for i in range(30)
    ]
    answer = thinned(full, 10, 90 * SECOND)
    assert answer["perCorePercent"] == [[1, 1, 1]]
    assert answer["disks"] == {"/": [1.5, 1.5, 1.5]}
    assert answer["temperatures"] == {"cpu": [None, None, 40]}
    assert answer["memoryUsedBytes"] == [4, 14, 24]


def test_a_minutes_mean_counts_as_much_as_a_minute_of_samples() -> None:
    hour = 60 * MINUTE
    means = [metrics(NOON + i * MINUTE, 10.0) for i in range(59)]
    full = [metrics(NOON + 59 * MINUTE + i * SECOND, 70.0) for i in range(60)]
    answer = thinned(full, 11, hour, means)
    assert answer["cpuPercent"] == [*[10] * 9, 20], "the last row: five minutes of 10 and one of 70"
    assert answer["sampledAt"][-1] == NOON + 60 * MINUTE - SECOND


def test_of_more_time_than_the_rows_are_for_the_newest_is_told() -> None:
    full = [metrics(NOON + i * SECOND, float(i)) for i in range(200)]  # the collector's clock is ahead of ours
    answer = thinned(full, 10, 90 * SECOND)
    assert answer["sampledAt"] == [NOON + i * SECOND for i in range(109, 200, 10)]
    assert answer["cpuPercent"] == [104.5 + i * 10 for i in range(10)]


def test_containers_are_put_together_too() -> None:
    points = [usage(NOON + i * SECOND, "a" * 12, *(["b" * 12] if i >= 10 else []), memory_kib=i) for i in range(20)]
    wanted = Wanted(0, most_rows=10, span_ms=90 * SECOND)
    answer = json.loads(columns("usage", Found(full=entries(points)), wanted))
    assert answer["sampledAt"] == [NOON + 9 * SECOND, NOON + 19 * SECOND]
    told = {name: own["memoryBytes"] for name, own in answer["containers"].items()}
    assert told == {"a" * 12: [4 * 1024, 14 * 1024], "b" * 12: [None, 14 * 1024]}
    assert answer["containers"]["b" * 12]["rxBytesPerSec"] == [None, None]


@given(
    st.lists(st.integers(NOON - 20 * MINUTE, NOON + MINUTE), unique=True, max_size=300),
    st.integers(10, 200),
    st.sampled_from([15, 60, 1440]),
)
def test_there_are_never_more_rows_than_asked_for_and_they_are_in_order(
    times: list[int], rows: int, minutes: int
) -> None:
    full = [metrics(at) for at in sorted(times)]
    answer = thinned(full, rows, minutes * MINUTE)
    assert len(answer["sampledAt"]) <= rows
    assert answer["sampledAt"] == sorted({*answer["sampledAt"]})
    assert {*answer["sampledAt"]} <= {*times}
    assert answer["sampledAt"][-1:] == sorted(times)[-1:], "the newest is always there"
    assert {len(answer[name]) for name in ("cpuPercent", "load1")} == {len(answer["sampledAt"])}
