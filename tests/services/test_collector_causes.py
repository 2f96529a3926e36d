"""Who caused what: an action of ours explains its own steps, once, and nothing else."""

import pytest

from common.deeds import Begun, Deed, Ended
from common.models import ActionVerb, Cause, ContainerState
from services.collector.causes import Causes, step_of
from services.collector.transitions import Transition
from tests.samples import ID_A, ID_B


def cause(verb: ActionVerb = "restart", request_id: str = "r-1") -> Cause:
    return Cause(request_id=request_id, actor="ops", action=verb)


def begun(at_ms: int, verb: ActionVerb = "restart", container_id: str = ID_A, key: str = "r-1") -> Deed:
    what = Begun(key=key, container_id=container_id, patience_ms=20_000, cause=cause(verb, key))
    return Deed(at_ms, what)


def ended(at_ms: int, key: str = "r-1") -> Deed:
    return Deed(at_ms, Ended(key))


def step(before: ContainerState | None, after: ContainerState | None, container_id: str = ID_A) -> Transition:
    return Transition(container_id, "web", before, after, None)


END, BEGIN = step("running", "exited"), step("exited", "running")


def test_a_restart_explains_an_end_and_a_beginning() -> None:
    causes = Causes()
    causes.learn([begun(10_000), ended(10_300)])
    assert causes.of([(END, 10_100), (BEGIN, 10_290)]) == [cause(), cause()]


def test_a_crash_right_after_a_restart_is_a_crash() -> None:
    causes = Causes()
    causes.learn([begun(10_000), ended(10_300)])
    assert causes.of([(END, 10_100), (BEGIN, 10_290), (END, 10_350), (BEGIN, 10_400)]) == [
        cause(),
        cause(),
        "docker",
        "docker",
    ]


def test_an_action_explains_nothing_before_it_began_or_long_after_it_was_settled() -> None:
    causes = Causes()
    causes.learn([begun(10_000, "stop"), ended(10_300)])
    assert causes.of([(END, 8_000), (END, 13_000)]) == ["docker", "docker"]
    assert causes.of([(END, 10_200)]) == [cause("stop")]


def test_an_action_that_nobody_settled_explains_what_docker_does_within_its_patience() -> None:
    causes = Causes()
    causes.learn([begun(10_000, "stop")])
    assert causes.of([(END, 40_000)]) == ["docker"]
    assert causes.of([(END, 29_000)]) == [cause("stop")]


def test_another_containers_end_is_not_explained() -> None:
    causes = Causes()
    causes.learn([begun(10_000)])
    assert causes.of([(step("running", "exited", ID_B), 10_100)]) == ["docker"]


def test_two_restarts_within_one_look_are_told_apart() -> None:
    causes = Causes()
    causes.learn([begun(10_000, key="a"), ended(10_100, "a"), begun(10_110, key="b"), ended(10_200, "b")])
    found = causes.of([(END, 10_050), (BEGIN, 10_090), (END, 10_150), (BEGIN, 10_190)])
    assert [one.request_id for one in found if one != "docker"] == ["a", "a", "b", "b"]


def test_a_restart_of_one_that_did_not_run_explains_its_beginning_alone() -> None:
    causes = Causes()
    causes.learn([begun(10_000), ended(10_100)])
    assert causes.of([(BEGIN, 10_050), (END, 10_500)]) == [cause(), "docker"]


@pytest.mark.parametrize(
    ("verb", "explained"),
    [
        ("start", BEGIN),
        ("stop", END),
        ("kill", END),
        ("pause", step("running", "paused")),
        ("unpause", step("paused", "running")),
        ("remove", step("exited", None)),
    ],
)
def test_each_verb_explains_its_own_step_and_no_other(verb: ActionVerb, explained: Transition) -> None:
    steps = [END, BEGIN, step("running", "paused"), step("paused", "running"), step("exited", None)]
    for one in steps:
        causes = Causes()
        causes.learn([begun(10_000, verb)])
        is_explained = causes.of([(one, 10_100)]) == [cause(verb)]
        assert is_explained == (step_of(one) == step_of(explained))


def test_a_removal_that_somebody_saw_under_way_is_explained_whole() -> None:
    leaves, goes = step("exited", "removing"), step("removing", None)
    causes = Causes()
    causes.learn([begun(10_000, "remove"), ended(10_300)])
    assert causes.of([(leaves, 10_100), (goes, 10_290)]) == [cause("remove")] * 2
    assert causes.of([(leaves, 10_100), (goes, 10_290)]) == ["docker", "docker"]


def test_that_one_removes_itself_once_it_is_stopped_is_dockers_doing() -> None:
    causes = Causes()
    causes.learn([begun(10_000, "stop"), ended(10_300)])
    steps = [(END, 10_100), (step("exited", "removing"), 10_150), (step("removing", None), 10_200)]
    assert causes.of(steps) == [cause("stop"), "docker", "docker"]


def test_that_a_container_came_or_changed_its_health_is_nobodys_deed() -> None:
    assert step_of(step(None, "created")) is None
    assert step_of(step("running", "running")) is None


def test_old_actions_are_forgotten_first() -> None:
    causes = Causes(remembered=2)
    causes.learn([begun(10_000, key=key) for key in ("a", "b", "c")])
    found = causes.of([(END, 10_050)])
    assert [one.request_id for one in found if one != "docker"] == ["b"]
