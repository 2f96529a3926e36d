"""Docker's events as an engine 26.1 wrote them, Podman's as its sources have them, and rubbish. What Podman 5.4 really
wrote: test_collector_captured.py."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MalformedError
from services.collector.engine_events import EngineEvent, Repeats, parse_event, since

ID = "63bf5a6cab4038c6bcd4fa75c8d8a6e8a8e313bca4fa43cd793b23f3039183c5"
AT = 1795474705325471674


def line(action: str = "start", **attributes: str) -> dict[str, Any]:
    return {
        "status": action,
        "id": ID,
        "from": "busybox:1",
        "Type": "container",
        "Action": action,
        "Actor": {"ID": ID, "Attributes": {"image": "busybox:1", "name": "web", **attributes}},
        "scope": "local",
        "time": AT // 10**9,
        "timeNano": AT,
    }


def parsed(said: object) -> EngineEvent | None:
    return parse_event(json.dumps(said).encode())


def test_an_event_names_its_container_and_when_it_was() -> None:
    assert parsed(line("start")) == EngineEvent("start", ID, "web", AT)


def test_an_end_has_its_exit_code() -> None:
    assert parsed(line("die", exitCode="137", execDuration="0")) == EngineEvent("die", ID, "web", AT, exit_code=137)


@pytest.mark.parametrize("word", ["healthy", "unhealthy", "starting"])
def test_a_health_status_has_its_word(word: str) -> None:
    event = parsed(line(f"health_status: {word}"))
    assert event is not None
    assert (event.action, event.health) == ("health_status", word)


@pytest.mark.parametrize("action", ["exec_create: sh -c true", "exec_die", "top", "attach", "resize"])
def test_what_changes_nothing_is_passed_over(action: str) -> None:
    assert parsed(line(action)) is None


def test_what_is_about_no_container_is_passed_over() -> None:
    assert parsed(line() | {"Type": "network", "Action": "connect"}) is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (line("died", containerExitCode="3"), EngineEvent("die", ID, "web", AT, exit_code=3)),
        (line("remove"), EngineEvent("destroy", ID, "web", AT)),
        (
            line("health_status") | {"HealthStatus": "unhealthy"},
            EngineEvent("health_status", ID, "web", AT, None, "unhealthy"),
        ),
    ],
    ids=["died", "remove", "health"],
)
def test_podmans_words_are_read_too(said: dict[str, Any], expected: EngineEvent) -> None:
    assert parsed(said) == expected


def health(word: str | None, container_id: str = ID) -> EngineEvent:
    return EngineEvent("health_status", container_id, "web", AT, health=word)  # type: ignore[arg-type]


def test_a_health_that_is_told_again_is_a_repeat_within_a_run() -> None:
    repeats = Repeats()
    told = ["starting", "healthy", "healthy", "unhealthy", "healthy", "healthy"]
    assert [repeats.has(health(word)) for word in told] == [False, False, True, False, False, True]
    assert not repeats.has(health("healthy", "another"))
    assert not repeats.has(EngineEvent("die", ID, "web", AT))
    assert not repeats.has(health("healthy"))
    assert repeats.has(health("healthy"))
    repeats.forget()
    assert not repeats.has(health("healthy"))


def test_a_health_that_is_not_understood_is_told_once() -> None:
    repeats = Repeats()
    assert [repeats.has(health(None)) for _ in range(3)] == [False, True, True]


def test_nothing_but_health_is_ever_a_repeat() -> None:
    repeats = Repeats()
    assert not any(repeats.has(EngineEvent("start", ID, "web", AT)) for _ in range(3))


@pytest.mark.parametrize(
    "said",
    [
        [],
        line() | {"Actor": None, "id": None},
        line() | {"timeNano": "soon"},
        line() | {"timeNano": -1},
        line() | {"timeNano": 2**70},
    ],
    ids=["list", "nameless", "no-time", "negative", "far"],
)
def test_what_cannot_be_an_event_is_malformed(said: object) -> None:
    with pytest.raises(MalformedError):
        parsed(said)


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_rubbish_is_malformed_or_nothing(rubbish: bytes) -> None:
    with contextlib.suppress(MalformedError):
        parse_event(rubbish)


_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists)


@given(st.dictionaries(st.sampled_from(["Type", "Action", "Actor", "id", "timeNano", "status"]), _values))
def test_wrong_types_are_malformed_or_nothing(changes: dict[str, Any]) -> None:
    with contextlib.suppress(MalformedError):
        parsed(line() | changes)


def test_the_engine_is_asked_for_what_came_after_a_time() -> None:
    assert since(1795474705005471674) == "1795474705.005471674"
