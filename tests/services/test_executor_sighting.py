"""What is made of a look at a container after an action that nobody heard the end of. No Docker."""

from dataclasses import replace
from typing import get_args

import pytest

from common.models import ActionVerb
from services.executor.sighting import Sighting, Verdict, judge

NEVER = "0001-01-01T00:00:00Z"
RUNNING = Sighting("running", "2026-01-01T10:00:00.1Z", NEVER, "100", "0", "", "0")
PAUSED = replace(RUNNING, status="paused")
EXITED = Sighting("exited", "2026-01-01T10:00:00.1Z", "2026-01-01T11:00:00.2Z", "0", "0", "", "0")
RESTARTED = replace(RUNNING, started_at="2026-01-01T12:00:00.3Z", finished_at="2026-01-01T12:00:00.2Z", pid="200")
BY_POLICY = replace(RESTARTED, restart_count="1")
FAILED_TO_START = replace(EXITED, exit_code="127", error="no such file")
VERBS: tuple[ActionVerb, ...] = get_args(ActionVerb)


@pytest.mark.parametrize(
    ("verb", "before", "now", "verdict"),
    [
        ("restart", RUNNING, RESTARTED, "done"),
        ("restart", EXITED, RESTARTED, "done"),
        ("restart", RUNNING, replace(RESTARTED, status="exited"), "done"),  # it ran, and ended by itself
        ("restart", RUNNING, BY_POLICY, "unclear"),  # Docker did it, or we did, or both
        ("restart", RUNNING, EXITED, "unclear"),  # stopped, and not started again
        ("restart", RUNNING, RUNNING, "untouched"),
        ("restart", RUNNING, None, "unclear"),
        ("start", EXITED, RESTARTED, "done"),
        ("start", RUNNING, RUNNING, "done"),
        ("start", EXITED, BY_POLICY, "unclear"),
        ("start", EXITED, EXITED, "untouched"),
        ("start", EXITED, FAILED_TO_START, "unclear"),
        ("stop", RUNNING, EXITED, "done"),
        ("stop", EXITED, EXITED, "done"),
        ("stop", RUNNING, replace(EXITED, status="removing"), "done"),  # one that is removed when it ends
        ("stop", RUNNING, None, "done"),
        ("stop", RUNNING, RUNNING, "untouched"),
        ("stop", RUNNING, RESTARTED, "unclear"),
        ("kill", RUNNING, EXITED, "done"),
        ("kill", RUNNING, RUNNING, "untouched"),
        ("kill", RUNNING, BY_POLICY, "unclear"),
        ("pause", RUNNING, PAUSED, "done"),
        ("pause", RUNNING, RUNNING, "unclear"),  # or it was unpaused since
        ("pause", RUNNING, EXITED, "unclear"),
        ("unpause", PAUSED, RUNNING, "done"),
        ("unpause", PAUSED, PAUSED, "unclear"),
        ("unpause", PAUSED, RESTARTED, "unclear"),
        ("remove", EXITED, None, "done"),
        ("remove", EXITED, EXITED, "untouched"),
        ("remove", EXITED, replace(EXITED, status="removing"), "unclear"),
    ],
)
def test_what_was_done_shows_in_the_difference(
    verb: ActionVerb, before: Sighting, now: Sighting | None, verdict: Verdict
) -> None:
    assert judge(verb, before, now) == verdict


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("now", [RUNNING, PAUSED, EXITED, RESTARTED])
def test_where_nobody_knows_what_it_was_nothing_is_proven(verb: ActionVerb, now: Sighting) -> None:
    verdict = judge(verb, None, now)
    shows_by_itself = (verb in {"stop", "kill"} and now is EXITED) or (verb == "pause" and now is PAUSED)
    assert verdict == ("done" if shows_by_itself else "unclear")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("change", ["started_at", "finished_at", "pid", "exit_code", "error", "restart_count"])
def test_a_container_that_changed_in_anything_is_not_untouched(verb: ActionVerb, change: str) -> None:
    assert judge(verb, RUNNING, replace(RUNNING, **{change: "other"})) != "untouched"


def test_a_sighting_survives_being_written_down() -> None:
    seen = Sighting.of(
        {"State": {"Status": "running", "StartedAt": "x", "Pid": 7, "ExitCode": 0, "Error": "ä"}, "RestartCount": 2}
    )
    assert (seen.pid, seen.restart_count) == ("7", "2")
    assert Sighting.from_json(seen.to_json()) == seen


@pytest.mark.parametrize("text", ["", "{", "3", "[]", '["running"]', "[" * 50_000, '{"status": 1}', "null"])
def test_what_is_no_sighting_is_none(text: str) -> None:
    assert Sighting.from_json(text) is None


@pytest.mark.parametrize("inspected", [{}, {"State": None}, {"State": "x"}, {"State": {"Status": ["x" * 9_999]}}])
def test_an_odd_inspection_is_a_short_sighting(inspected: dict[str, object]) -> None:
    seen = Sighting.of(inspected)
    assert len(seen.to_json()) < 2_000
    assert "since" in str(seen)
