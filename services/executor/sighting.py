"""What a container was and what it is, and whether an action shows in the difference. Pure.

An executor that dies between asking Docker and hearing the answer leaves an action of which nobody knows whether it was
done. The next one looks at the container, beside what was written down just before Docker was to be asked.
"""

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, Literal, Self

from common.models import ActionVerb

Verdict = Literal["done", "untouched", "unclear"]
"""`untouched` is a proof: Docker did nothing of this to the container, and did not begin it."""

_LEAVES_A_TRACE: frozenset[ActionVerb] = frozenset({"start", "stop", "restart", "kill", "remove"})
"""Whatever does these changes a process id or a time for good. A pause can be undone without a trace."""

_UP = frozenset({"running", "paused", "restarting"})


@dataclass(frozen=True)
class Sighting:
    """One look at a container, in Docker's own words."""

    status: str
    started_at: str
    finished_at: str
    pid: str
    exit_code: str
    error: str
    restart_count: str
    """Restarts by Docker's restart policy."""

    @classmethod
    def of(cls, inspected: Mapping[str, Any]) -> Self:
        state = inspected.get("State")
        state = state if isinstance(state, Mapping) else {}
        said = [state.get(name) for name in ("Status", "StartedAt", "FinishedAt", "Pid", "ExitCode", "Error")]
        return cls(*(f"{value!s:.200}" for value in (*said, inspected.get("RestartCount"))))

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """None where it is none: then nobody knows what the container was."""
        try:
            return cls(*(str(value) for value in json.loads(text)))
        except (ValueError, TypeError, RecursionError):
            return None

    def to_json(self) -> str:
        return json.dumps(astuple(self))

    def __str__(self) -> str:
        when = self.started_at if self.status in _UP else self.finished_at
        return f"{self.status} since {when[:19]}Z"


def judge(verb: ActionVerb, before: Sighting | None, now: Sighting | None) -> Verdict:
    """Whether `verb` was done to a container that was `before` (None: nobody knows) and is `now` (None: it is gone)."""
    if now is None:
        return "done" if verb in {"remove", "stop", "kill"} else "unclear"
    if _done(verb, before, now):
        return "done"
    return "untouched" if verb in _LEAVES_A_TRACE and before == now else "unclear"


def _done(verb: ActionVerb, before: Sighting | None, now: Sighting) -> bool:
    if verb in {"stop", "kill"}:
        return now.status in {"exited", "dead", "removing"}
    if verb == "pause":
        return now.status == "paused"
    if verb == "remove" or before is None:
        return False
    same_run = now.started_at == before.started_at
    if verb == "unpause":
        return now.status == "running" and same_run
    by_policy = now.restart_count != before.restart_count
    began_anew = not same_run and not by_policy
    if verb == "start":
        return began_anew or (now.status == "running" and before.status == "running" and same_run)
    return began_anew
