"""From points to a chart's columns: in order, nothing twice, null where a thing was not there, and within bounds."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from common.history import Entry, MetricsPoint, UsagePoint, encode
from services.edge import history
from services.edge.history import Found, columns

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
    answer = json.loads(columns("metrics", Found(entries(means), entries(full)), since_ms))
    return list(zip(answer["sampledAt"], answer["cpuPercent"], strict=True))


def usage_chart(*points: UsagePoint, container: str | None = None) -> Any:
    return json.loads(columns("usage", Found(full=entries(points)), 0, container))


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
            0,
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
    answer = json.loads(columns("metrics", Found(full=entries(points)), 0))
    assert answer["disks"].keys() == {"/2", "/3"}
    assert len(answer["perCorePercent"]) == 2


def test_what_cannot_be_read_is_skipped_and_told_of() -> None:
    found = Found(full=[Entry(0, b"rubbish"), *entries([metrics(NOON)]), Entry(0, b"")])
    assert json.loads(columns("metrics", found, 0))["sampledAt"] == [NOON]
    assert len(found.problems) == 2
