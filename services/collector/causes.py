"""Who caused a container's transition: an action of ours, or not. Pure.

An action explains the steps that its verb makes, each once and in their order, while Docker was at it. So a container
that crashes right after a restart has crashed, although the restart has only just been settled.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from common.deeds import Begun, Deed, Ended
from common.models import ActionVerb, Cause
from services.collector.transitions import ALIVE, Transition

ACTIONS_REMEMBERED = 2_000

_EARLY_MS = 1_000
_LATE_MS = 2_000
"""A step this long before its action began, or after it was settled, may still be its own: Docker's clock, read once at
each connection, and Redis' are not quite the same, and events may come late."""

Step = Literal["ends", "begins", "pauses", "resumes", "leaves", "goes"]
"""It leaves where somebody has looked just while it was being removed; most are gone before that."""

_STEPS: dict[ActionVerb, tuple[Step, ...]] = {
    "start": ("begins",),
    "stop": ("ends",),
    "kill": ("ends",),
    "restart": ("ends", "begins"),
    "pause": ("pauses",),
    "unpause": ("resumes",),
    "remove": ("leaves", "goes"),
}


@dataclass
class _Action:
    begun: Begun
    from_ms: int
    to_ms: int
    left: tuple[Step, ...]
    """The steps that it has not made yet."""


class Causes:
    """Of one host. Feed it deeds in their order."""

    def __init__(self, remembered: int = ACTIONS_REMEMBERED) -> None:
        self._remembered = remembered
        self._actions: dict[str, _Action] = {}
        """By their keys, oldest first."""

    def learn(self, deeds: Iterable[Deed]) -> None:
        for at_ms, what in deeds:
            match what:
                case Begun():
                    to_ms = at_ms + what.patience_ms + _LATE_MS
                    self._actions[what.key] = _Action(what, at_ms - _EARLY_MS, to_ms, _STEPS[what.cause.action])
                case Ended(key) if key in self._actions:
                    action = self._actions[key]
                    action.to_ms = min(action.to_ms, at_ms + _LATE_MS)
        for key in list(self._actions)[: -self._remembered or None]:
            del self._actions[key]

    def of(self, transitions: Sequence[tuple[Transition, int]]) -> list[Cause | Literal["docker"]]:
        """The cause of each step, with its time on Redis' clock. Each step is asked about once, in their order."""
        its_actions: dict[str, list[_Action]] = {}
        for action in self._actions.values():
            its_actions.setdefault(action.begun.container_id, []).append(action)
        return [_cause(its_actions.get(step.container_id, ()), step_of(step), at_ms) for step, at_ms in transitions]


def _cause(actions: Iterable[_Action], step: Step | None, at_ms: int) -> Cause | Literal["docker"]:
    for action in actions:
        if step in action.left and action.from_ms <= at_ms <= action.to_ms:
            action.left = action.left[action.left.index(step) + 1 :]
            return action.begun.cause
    return "docker"


def step_of(transition: Transition) -> Step | None:
    """None where an action makes no such step: a container comes, or only its health changes."""
    match transition.before, transition.after:
        case None, _:
            return None
        case _, None:
            return "goes"
        case "running", "paused":
            return "pauses"
        case "paused", "running":
            return "resumes"
        case before, after if before in ALIVE and after not in ALIVE:
            return "ends"
        case _, "removing":
            return "leaves"
        case before, "running" if before not in ALIVE:
            return "begins"
    return None
