"""One line of Docker's event stream → what it says. Pure.

Where Podman writes something else (`died` for `die`, `remove` for `destroy`, the exit code under another name) that is
read as well. Whatever a line says, nothing but MalformedError is raised.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from common.errors import MalformedError
from common.models import Health

EngineAction = Literal[
    "create", "start", "die", "oom", "pause", "unpause", "destroy", "rename", "update", "health_status"
]
ACTIONS: tuple[EngineAction, ...] = get_args(EngineAction)
"""Whatever changes what a snapshot says. What health checks do every few seconds is not among it, but what comes of
them is."""

_PODMANS: Mapping[str, EngineAction] = {"died": "die", "remove": "destroy"}
ASKED_FOR: tuple[str, ...] = (*ACTIONS, *_PODMANS)

_HEALTHS: tuple[Health, ...] = get_args(Health)


class EngineEvent(NamedTuple):
    action: EngineAction
    container_id: str
    name: str
    """Empty where the event has none."""
    at_ns: int
    """On Docker's clock."""
    exit_code: int | None = None
    health: Health | None = None


def parse_event(line: bytes) -> EngineEvent | None:
    """None where it is about something else. Raises MalformedError."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedError("event", f"no JSON: {error!s:.100}") from None
    if not isinstance(said, Mapping):
        raise MalformedError("event", "no JSON object")
    if said.get("Type") != "container":
        return None
    word, _, detail = str(said.get("Action") or said.get("status")).partition(":")
    word = _PODMANS.get(word, word)
    action = next((known for known in ACTIONS if known == word), None)
    if action is None:
        return None
    actor = said.get("Actor")
    actor = actor if isinstance(actor, Mapping) else {}
    attributes = actor.get("Attributes")
    attributes = attributes if isinstance(attributes, Mapping) else {}
    container_id = actor.get("ID") or said.get("id")
    at_ns = said.get("timeNano")
    if not isinstance(container_id, str) or not container_id:
        raise MalformedError("event", f"{action} of no container")
    if not isinstance(at_ns, int) or isinstance(at_ns, bool) or not 0 < at_ns < 2**63:
        raise MalformedError("event", f"{action} at {at_ns!r:.40}")
    name = attributes.get("name")
    return EngineEvent(
        action,
        container_id,
        name[:256] if isinstance(name, str) else "",
        at_ns,
        _exit_code(attributes) if action == "die" else None,
        _health(detail.strip() or said.get("HealthStatus")) if action == "health_status" else None,
    )


class Repeats:
    """Podman tells what came of every health check, Docker only what is another than the last: nothing is to be done
    about the rest."""

    def __init__(self) -> None:
        self._health: dict[str, Health | None] = {}
        """What was last told of each container's run."""

    def has(self, event: EngineEvent) -> bool:
        """Whether it tells again what is known. Each event is asked about once, in their order."""
        if event.action != "health_status":
            if event.action in {"start", "die", "destroy"}:
                self._health.pop(event.container_id, None)
            return False
        before = self._health.get(event.container_id, "")
        self._health[event.container_id] = event.health
        return before == event.health

    def forget(self) -> None:
        """Events have been missed, or may have."""
        self._health.clear()


def since(at_ns: int) -> str:
    """How the engine is asked for what happened from a time on."""
    return f"{at_ns // 10**9}.{at_ns % 10**9:09d}"


def _exit_code(attributes: Mapping[str, Any]) -> int | None:
    said = str(attributes.get("exitCode", attributes.get("containerExitCode")))
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else None


def _health(said: Any) -> Health | None:
    return next((known for known in _HEALTHS if known == said), None)
