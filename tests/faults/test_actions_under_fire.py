"""Actions while executor, edges and Redis are killed in turn: each happens once or not at all, and everybody says the
same of it. A small run of `python -m benchmarks.actions chaos`; and its books, with accounts that were tampered with.
"""

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.actions_parts.books import BEGIN_WITHIN_MS, TRUTH, DockerEvent, Evidence, audit
from benchmarks.actions_parts.chaos import Options, run_chaos
from benchmarks.actions_parts.plan import Step
from common.models import ActionRecord, ActionStatus, ActionVerb

BEGAN = 1_000_000
CONTAINER = "a" * 64


@pytest.mark.docker
@pytest.mark.alone
@pytest.mark.timeout(300)
async def test_while_everything_is_killed_in_turn_every_action_happens_once_or_not_at_all(docker_engine: None) -> None:
    found = await run_chaos(Options(actions=150, containers=6, kill_every_s=2.0), say=lambda text: None)
    assert found.violations == [], found.story()
    assert sum(found.outcomes.values()) == 150
    assert set(found.kills) == {"executor", "edge", "redis"}
    assert found.outcomes["restart", "succeeded"] > 0


class Account:
    """Evidence of one restart that was done as it is told, until a test tampers with it."""

    def __init__(self) -> None:
        self.record = ActionRecord(
            request_id="r1",
            host="web-1",
            container_id=CONTAINER,
            action="restart",
            actor="ops",
            deadline=BEGAN + 5_000,
            status="succeeded",
            at=BEGAN + 400,
            accepted_at=BEGAN - 10,
            started_at=BEGAN,
        )
        self.verb: ActionVerb = "restart"
        """What was asked for."""
        self.heard: list[list[ActionStatus]] = [["accepted", "running", "succeeded"]]
        self.at_an_edge: ActionRecord | None = self.record
        self.audit = [self.record]
        self.events = [("kill", 5), ("kill", 8), ("stop", 90), ("die", 91), ("start", 300), ("restart", 301)]
        self.started_at = {"before", "after"}

    def tell(self, **changes: Any) -> None:
        """The same story, everywhere, but for this."""
        self.record = self.at_an_edge = self.record.model_copy(update=changes)
        self.audit = [self.record]
        self.heard = [["accepted", self.record.status]]

    def shift_events(self, by_ms: int) -> None:
        self.events = [(kind, at_ms + by_ms) for kind, at_ms in self.events]

    def evidence(self, *further: "Account") -> Evidence:
        """Of this action, and of further ones on the same container."""
        accounts = [self, *further]
        steps = {each.record.key: Step(each.record.request_id, CONTAINER, each.verb, 5) for each in accounts}
        return Evidence(
            steps=steps,
            heard={each.record.key: each.heard for each in accounts},
            answers={
                TRUTH: {each.record.key: each.record for each in accounts},
                "edge-1": {each.record.key: each.at_an_edge for each in accounts},
            },
            audit=[entry for each in accounts for entry in each.audit],
            events=[DockerEvent(CONTAINER, kind, BEGAN + at_ms) for each in accounts for kind, at_ms in each.events],
            started_at={CONTAINER: frozenset(self.started_at)},
        )


def rules(evidence: Evidence) -> set[str]:
    return {violation.rule for violation in audit(evidence)}


def test_the_books_of_an_action_that_was_done_as_told_are_in_order() -> None:
    assert rules(Account().evidence()) == set()


def test_the_books_of_an_action_that_never_began_are_in_order() -> None:
    account = Account()
    account.tell(status="expired", started_at=None)
    account.events, account.started_at = [], {"before"}
    assert rules(account.evidence()) == set()


@pytest.mark.parametrize("events", [[], [("kill", 5), ("stop", 90)], [("stop", 90), ("start", 300), ("restart", 301)]])
def test_what_nobody_can_tell_may_have_been_done_once_in_part_or_not_at_all(events: list[tuple[str, int]]) -> None:
    account = Account()
    account.tell(status="unknown")
    account.events, account.started_at = events, {"before"}
    assert rules(account.evidence()) == set()


TAMPERED: dict[str, tuple[Callable[[Account], object], str]] = {
    "an edge knows nothing of it": (lambda it: setattr(it, "at_an_edge", None), "not one final status"),
    "its client never heard the end": (lambda it: setattr(it, "heard", [["accepted"]]), "not one final status"),
    "two clients heard different ends": (
        lambda it: setattr(it, "heard", [["succeeded"], ["accepted", "failed"]]),
        "not one final status",
    ),
    "it runs for ever": (lambda it: it.tell(status="running"), "not one final status"),
    "it went on after its end": (lambda it: it.heard[0].append("running"), "a final status was taken back"),
    "the audit lacks it": (lambda it: it.audit.clear(), "not in the audit once"),
    "the audit has it twice": (lambda it: it.audit.append(it.record), "not in the audit once"),
    "the audit has another": (
        lambda it: it.audit.append(it.record.model_copy(update={"request_id": "r2"})),
        "in the audit, but never asked for",
    ),
    "another container was restarted": (lambda it: it.tell(container_id="b" * 64), "another action than was asked for"),
    "done twice": (lambda it: it.events.extend([("start", 350), ("restart", 351)]), "done twice"),
    "not done": (lambda it: it.events.clear(), "succeeded, but not done exactly once"),
    "done, but said to be so already": (lambda it: it.tell(noop=True), "succeeded, but not done exactly once"),
    "something else was done": (lambda it: it.events.append(("pause", 350)), "Docker did something else"),
    "done again later": (
        lambda it: it.events.append(("restart", 5_000)),
        "Docker did what no action was running for",
    ),
    "expired, but done": (lambda it: it.tell(status="expired"), "expired, but Docker was touched"),
    "failed, but done": (lambda it: it.tell(status="failed"), "failed, but done"),
    "claimed too late": (lambda it: it.tell(deadline=BEGAN - 300), "claimed after its deadline"),
    "a start that Docker's events do not tell of": (
        lambda it: it.started_at.add("once more"),
        "Docker's events miss a start",
    ),
}


@pytest.mark.parametrize("tamper", TAMPERED)
def test_the_books_notice(tamper: str) -> None:
    account = Account()
    change, rule = TAMPERED[tamper]
    change(account)
    assert rule in rules(account.evidence())


def test_the_books_notice_what_docker_began_long_after_the_claim() -> None:
    account = Account()
    account.tell(deadline=BEGAN + 10, at=BEGAN + 60_000)
    account.shift_events(10 + BEGIN_WITHIN_MS)
    assert rules(account.evidence()) == {"begun after its deadline"}


def test_a_clock_that_is_a_little_off_moves_nothing_to_the_next_action() -> None:
    first, second = Account(), Account()
    first.tell(at=BEGAN + 290)  # Docker was through at 301
    second.tell(request_id="r2", started_at=BEGAN + 295, at=BEGAN + 700)
    second.shift_events(300)
    first.started_at.add("after the second")
    assert rules(first.evidence(second)) == set()


@pytest.mark.parametrize(
    ("status", "events"),
    [
        pytest.param("succeeded", [("start", 300), ("restart", 301)], id="that had nothing to end"),
        pytest.param("unknown", [], id="of which nobody knows"),
    ],
)
def test_a_kill_just_after_a_restart_is_the_kills_own(status: ActionStatus, events: list[tuple[str, int]]) -> None:
    restart, kill = Account(), Account()
    restart.tell(status=status)
    restart.events, restart.started_at = events, {"before"}
    kill.verb = "kill"
    kill.tell(request_id="r2", action="kill", started_at=BEGAN + 420, at=BEGAN + 490)
    kill.events = [("kill", 430), ("die", 480)]
    assert rules(restart.evidence(kill)) == set()


def pauses(*events: tuple[str, int]) -> Evidence:
    """A pause that was ended 170 ms after it began, and another one right after that; and these events of Docker's."""
    accounts = []
    for number, (verb, began, took) in enumerate([("pause", 0, 72), ("unpause", 88, 84), ("pause", 191, 95)]):
        account = Account()
        account.verb = verb
        account.tell(request_id=f"p{number}", action=verb, started_at=BEGAN + began, at=BEGAN + began + took)
        account.events, account.started_at = [], {"before"}
        accounts.append(account)
    accounts[0].events = list(events)
    first, *further = accounts
    return first.evidence(*further)


DONE = [("pause", 69), ("unpause", 169), ("pause", 258)]


def test_a_pause_that_docker_says_twice_was_done_once() -> None:
    assert rules(pauses(*DONE)) == set()
    assert rules(pauses(*DONE[:2], ("pause", 177), ("unpause", 180), *DONE[2:])) == set()


def test_the_books_notice_a_pause_that_nobody_asked_for() -> None:
    assert rules(pauses(*DONE[:2], ("pause", 177), *DONE[2:])) >= {"done twice"}
    assert rules(pauses(*DONE, ("unpause", 3_000), ("pause", 5_000), ("unpause", 5_100))) == {
        "Docker did what no action was running for"
    }


def test_the_books_notice_two_actions_at_a_time_on_one_container() -> None:
    first, second = Account(), Account()
    second.tell(request_id="r2", started_at=BEGAN + 100, at=BEGAN + 900)
    second.shift_events(500)
    assert "two at a time on one container" in rules(first.evidence(second))
