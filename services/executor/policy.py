"""What the executor refuses on its host, whatever Redis says. Pure: it decides on what an inspection has shown."""

from collections.abc import Mapping
from typing import Any, get_args

from common.docker import DEFAULT_GRACE_S, parse_time
from common.errors import MalformedError
from common.models import ActionOrder, ActionVerb, Expectation
from common.protection import Protection, facts_of_inspected

MAX_GRACE_S = 3600
"""Of any order and of any container: also where a container asks to be waited for without end."""


_VERBS: tuple[ActionVerb, ...] = get_args(ActionVerb)


def allowed_verbs(setting: str) -> tuple[ActionVerb, ...]:
    """What FLEETCAST_ALLOW_ACTIONS names, in the verbs' own order."""
    named = setting.split(",")
    return tuple(verb for verb in _VERBS if verb in named)


def forbidden(order: ActionOrder, allowed: frozenset[str]) -> str | None:
    """Why this verb is not done on this host, or None where it is."""
    if order.action in allowed:
        return None
    listed = ", ".join(sorted(allowed)) or "nothing"
    return f"this host does not allow {order.action}, it allows {listed} (FLEETCAST_ALLOW_ACTIONS)"


def refuse(order: ActionOrder, inspected: Mapping[str, Any], protection: Protection) -> str | None:
    """Why this is not to be done to this container (Docker's inspection of it), or None where it may."""
    try:
        facts = facts_of_inspected(inspected)
    except MalformedError as error:
        return f"what Docker says of the container cannot be read, so neither can whether it is protected: {error}"
    if reason := protection.reason(facts):
        return f"the container is protected: {reason}"
    if facts.id != order.container_id:
        return f"this id leads to another container now: {facts.id:.64}"
    return _disappoints(order.expect, inspected) if order.expect else None


def grace_s(order: ActionOrder, inspected: Mapping[str, Any]) -> int:
    """How long `stop` and `restart` wait before they kill: as ordered, else as the container has it, else as Docker
    does."""
    wanted = order.timeout_sec
    if wanted is None:
        config = inspected.get("Config")
        own = config.get("StopTimeout") if isinstance(config, Mapping) else None
        wanted = own if isinstance(own, int) else DEFAULT_GRACE_S
    return wanted if 0 <= wanted <= MAX_GRACE_S else MAX_GRACE_S


def _disappoints(expect: Expectation, inspected: Mapping[str, Any]) -> str | None:
    """What is other than the user saw it, first difference first."""
    state = inspected.get("State")
    state = state if isinstance(state, Mapping) else {}
    if expect.id is not None and expect.id != inspected.get("Id"):
        return f"expected id {expect.id:.12}, found {inspected.get('Id')!s:.12}"
    if expect.state is not None and expect.state != state.get("Status"):
        return f"expected state {expect.state}, found {state.get('Status')!s:.20}"
    started_at = parse_time(state.get("StartedAt"))
    # Whether a reader rounded up or down is no difference.
    if expect.started_at is not None and (started_at is None or abs(expect.started_at - started_at) > 1):
        return f"expected startedAt {expect.started_at}, found {started_at if started_at is not None else 'never'}"
    return None
