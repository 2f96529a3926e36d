"""What is told of containers: from events, from snapshots, and from both at once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.models import Container, ContainerState, Health
from services.collector.engine_events import EngineAction, EngineEvent
from services.collector.transitions import ALIVE, Transition, Transitions, to_ms
from tests.samples import ID_A, ID_B, container

START_MS = 1_700_000_000_000


def event(action: EngineAction, at_ms: int, container_id: str = ID_A, **more: Any) -> EngineEvent:
    return EngineEvent(action, container_id, "web", (START_MS + at_ms) * 1_000_000, **more)


def seen(state: ContainerState = "running", container_id: str = ID_A, **changes: Any) -> Container:
    """A container that was made and started at 0; times in ms after that."""
    for name in ("started_at", "finished_at"):
        if changes.get(name) is not None:
            changes[name] += START_MS
    return container("web", container_id, **{"state": state, "created_at": START_MS, "started_at": START_MS, **changes})


def told(transitions: Transitions) -> list[tuple[ContainerState | None, ContainerState | None]]:
    return [(step.before, step.after) for step in transitions.take()]


def test_the_first_snapshot_with_nothing_before_it_tells_nothing() -> None:
    transitions = Transitions()
    assert transitions.on_snapshot([seen()]) == set()
    assert transitions.take() == []


def test_one_that_moved_during_the_first_snapshot_has_not_just_come() -> None:
    transitions = Transitions()
    transitions.on_snapshot([seen()], moving=[ID_A])
    transitions.on_snapshot([seen()])
    assert transitions.take() == []


def test_events_are_told_in_their_order_with_their_times_and_exit_codes() -> None:
    transitions = Transitions([seen()])
    transitions.on_event(event("die", 10, exit_code=3))
    transitions.on_event(event("start", 20))
    transitions.on_event(event("pause", 30))
    transitions.on_event(event("unpause", 40))
    transitions.on_event(event("destroy", 50))
    steps = transitions.take()
    assert [(step.before, step.after) for step in steps] == [
        ("running", "exited"),
        ("exited", "running"),
        ("running", "paused"),
        ("paused", "running"),
        ("running", None),
    ]
    assert [(step.at_ns or 0) // 1_000_000 - START_MS for step in steps] == [10, 20, 30, 40, 50]
    assert [step.exit_code for step in steps] == [3, None, None, None, None]
    assert transitions.take() == []


def test_a_new_container_comes_from_nothing() -> None:
    transitions = Transitions([seen()])
    transitions.on_event(event("create", 10, ID_B))
    transitions.on_event(event("start", 20, ID_B))
    assert told(transitions) == [(None, "created"), ("created", "running")]
    assert transitions.on_snapshot([seen(), seen(container_id=ID_B, started_at=20)]) == set()


def test_a_snapshot_after_the_events_has_nothing_to_add() -> None:
    transitions = Transitions([seen()])
    transitions.on_event(event("die", 10, exit_code=0))
    transitions.on_event(event("start", 20))
    transitions.take()
    assert transitions.on_snapshot([seen(started_at=19, finished_at=9)]) == set()
    assert transitions.on_snapshot([seen(started_at=19, finished_at=9)]) == set()


def test_events_that_come_again_are_told_once() -> None:
    transitions = Transitions([seen()])
    for _ in range(2):
        transitions.on_event(event("die", 10, exit_code=0))
        transitions.on_event(event("start", 20))
    assert told(transitions) == [("running", "exited"), ("exited", "running")]


def test_a_restart_that_no_event_told_shows_in_another_run() -> None:
    transitions = Transitions([seen()])
    assert transitions.on_snapshot([seen(started_at=500, finished_at=400)]) == {ID_A}
    ended, begun = transitions.take()
    assert (ended.before, ended.after, ended.exit_code) == ("running", "exited", None)
    assert (begun.before, begun.after, begun.at_ns) == ("exited", "running", (START_MS + 500) * 1_000_000)


def test_events_of_what_a_snapshot_has_told_come_late_and_are_passed_over() -> None:
    transitions = Transitions([seen()])
    transitions.on_snapshot([seen(started_at=500, finished_at=400)])
    transitions.take()
    transitions.on_event(event("die", 401, exit_code=0))
    transitions.on_event(event("start", 502))
    assert told(transitions) == []
    transitions.on_event(event("die", 900, exit_code=1))
    assert told(transitions) == [("running", "exited")]


def test_a_crash_that_no_event_told_has_its_exit_code_and_time() -> None:
    transitions = Transitions([seen()])
    crashed = seen("exited", finished_at=700, exit_code=137, oom_killed=True)
    assert transitions.on_snapshot([crashed]) == {ID_A}
    [step] = transitions.take()
    assert (step.before, step.after, step.exit_code, step.oom_killed) == ("running", "exited", 137, True)
    assert step.at_ns == (START_MS + 700) * 1_000_000


def test_what_became_and_died_between_two_snapshots_is_told_whole() -> None:
    transitions = Transitions([seen()])
    transitions.on_snapshot([seen("exited", started_at=500, finished_at=600, exit_code=1)])
    assert told(transitions) == [("running", "exited"), ("exited", "running"), ("running", "exited")]


def test_what_came_and_what_went_between_two_snapshots_is_told() -> None:
    transitions = Transitions([seen()])
    assert transitions.on_snapshot([seen(container_id=ID_B)]) == {ID_A, ID_B}
    assert told(transitions) == [(None, "running"), ("running", None)]


def test_one_that_is_listed_but_cannot_be_read_has_not_gone() -> None:
    transitions = Transitions([seen()])
    assert transitions.on_snapshot([], unreadable=[ID_A]) == set()
    assert transitions.on_snapshot([]) == {ID_A}


def test_one_that_moved_while_it_was_looked_at_is_left_to_its_events() -> None:
    transitions = Transitions([seen(), seen(container_id=ID_B)])
    still_running = [seen()]
    assert transitions.on_snapshot(still_running, moving=[ID_A, ID_B]) == set()
    transitions.on_event(event("die", 10, exit_code=0))
    assert told(transitions) == [("running", "exited")]


def test_the_inspection_says_that_memory_was_the_reason() -> None:
    transitions = Transitions([seen()])
    transitions.on_event(event("die", 10, exit_code=137))
    transitions.on_snapshot([seen("exited", finished_at=9, exit_code=137, oom_killed=True)])
    [step] = transitions.take()
    assert (step.exit_code, step.oom_killed) == (137, True)


def test_out_of_memory_is_told_of_one_that_was_started_again_before_it_was_looked_at() -> None:
    transitions = Transitions([seen()])
    transitions.on_event(event("oom", 9))
    transitions.on_event(event("die", 10, exit_code=137))
    transitions.on_event(event("start", 11))
    transitions.on_event(event("die", 20, exit_code=1))
    steps = transitions.take()
    assert [step.oom_killed for step in steps] == [True, None, None]


def test_one_that_survived_an_out_of_memory_and_ended_well_was_not_killed_by_it() -> None:
    transitions = Transitions([seen()])
    transitions.on_event(event("oom", 9))
    transitions.on_event(event("die", 10, exit_code=0))
    assert [step.oom_killed for step in transitions.take()] == [None]


def test_one_that_waits_for_its_restart_is_told_so_in_the_same_step() -> None:
    transitions = Transitions([seen()])
    transitions.on_event(event("die", 10, exit_code=1))
    assert transitions.on_snapshot([seen("restarting", finished_at=9, exit_code=1)]) == set()
    [step] = transitions.take()
    assert (step.before, step.after, step.exit_code) == ("running", "restarting", 1)
    transitions.on_event(event("start", 20))
    assert told(transitions) == [("restarting", "running")]


@pytest.mark.parametrize("health", ["healthy", "unhealthy"])
def test_a_change_of_health_is_told_once_by_whichever_shows_it_first(health: Health) -> None:
    transitions = Transitions([seen(health="starting")])
    transitions.on_event(event("health_status", 10, health=health))
    transitions.on_snapshot([seen(health=health)])
    [step] = transitions.take()
    assert (step.before, step.after, step.health) == ("running", "running", health)
    transitions = Transitions([seen(health="starting")])
    assert transitions.on_snapshot([seen(health=health)]) == {ID_A}
    assert [step.health for step in transitions.take()] == [health]


def test_that_health_begins_to_be_checked_is_no_news() -> None:
    transitions = Transitions([seen(health="healthy")])
    transitions.on_event(event("die", 10, exit_code=0))
    transitions.on_event(event("start", 20))
    transitions.on_event(event("health_status", 21, health="starting"))
    transitions.on_snapshot([seen(health="starting", started_at=20)])
    assert [step.health for step in transitions.take()] == [None, None]


def test_a_rename_is_no_step_and_the_next_one_has_the_new_name() -> None:
    transitions = Transitions([seen()])
    transitions.on_event(event("rename", 5)._replace(name="api"))
    transitions.on_event(event("die", 10, exit_code=0)._replace(name=""))
    assert [step.name for step in transitions.take()] == ["api"]


def test_a_time_is_moved_to_the_other_clock_and_is_never_ahead_of_now() -> None:
    assert to_ms(5_000_000_000, offset_ms=-1_000, now_ms=9_000) == 4_000
    assert to_ms(5_000_000_000, offset_ms=60_000, now_ms=9_000) == 9_000
    assert to_ms(None, offset_ms=0, now_ms=9_000) == 9_000


# Whatever is lost on the way, what is told adds up to what there is.

ACTIONS: list[EngineAction] = ["create", "start", "die", "pause", "unpause", "destroy"]


class Docker:
    """One container of an engine, and the events that it makes."""

    def __init__(self) -> None:
        self.state: ContainerState | None = None
        self.now = 0
        self.started_at: int | None = None
        self.finished_at: int | None = None

    def do(self, action: EngineAction) -> EngineEvent | None:
        self.now += 10
        was = self.state
        match action:
            case "create" if was is None:
                self.state, self.started_at, self.finished_at = "created", None, None
            case "start" if was in {"created", "exited"}:
                self.state, self.started_at = "running", self.now - 1
            case "die" if was in ALIVE:
                self.state, self.finished_at = "exited", self.now - 1
            case "pause" if was == "running":
                self.state = "paused"
            case "unpause" if was == "paused":
                self.state = "running"
            case "destroy" if was is not None and was not in ALIVE:
                self.state = None
            case _:
                return None
        return event(action, self.now, exit_code=0 if action == "die" else None)

    def snapshot(self) -> list[Container]:
        if self.state is None:
            return []
        return [seen(self.state, started_at=self.started_at, finished_at=self.finished_at)]


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.booleans(), st.booleans()), max_size=60))
def test_steps_follow_each_other_and_end_where_docker_is_however_many_events_are_lost(
    story: list[tuple[EngineAction, bool, bool]],
) -> None:
    engine = Docker()
    transitions = Transitions([seen(container_id=ID_B)])
    other = seen(container_id=ID_B)
    state: ContainerState | None = None
    runs = 0
    steps: list[Transition] = []
    for action, is_lost, is_looked_at in story:
        happened = engine.do(action)
        runs += happened is not None and action == "start"
        if happened is not None and not is_lost:
            transitions.on_event(happened)
        if is_looked_at:
            transitions.on_snapshot([*engine.snapshot(), other])
        steps += transitions.take()
    transitions.on_snapshot([*engine.snapshot(), other])
    steps += transitions.take()
    for step in steps:
        assert step.before == state
        state = step.after
    assert state == engine.state
    told_runs = sum(step.after == "running" and step.before not in ALIVE for step in steps)
    assert told_runs <= runs
    if not any(is_lost for _, is_lost, _ in story):
        assert told_runs == runs
