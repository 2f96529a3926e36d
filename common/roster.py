"""What a worker says of itself beside its sign of life: how often it is to be heard, what keeps it from its job. Pure.

It stands in Redis as a JSON object, one a host and worker (`fc:about:<worker>`), and says the same most of the time.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, get_args

from common.errors import MalformedError
from common.keys import BEAT_S
from common.models import ActionVerb
from common.protocol import Expected, UsageSource
from common.setting_kinds import LABEL_WORD, MAX_HOST_LABELS

MAX_EVERY_MS = 3_600_000

_EXPECTED: tuple[Expected, ...] = get_args(Expected)
_SOURCES: tuple[UsageSource, ...] = get_args(UsageSource)
_VERBS: tuple[ActionVerb, ...] = get_args(ActionVerb)

Labels = tuple[tuple[str, str], ...]
"""A host's labels: keys, each once, and values."""


@dataclass(frozen=True)
class About:
    """What is the usual is left out in Redis."""

    beat_ms: int = round(BEAT_S * 1000)
    """It gives a sign of life this often."""
    interval_ms: int = 1000
    """It samples this often while somebody watches."""
    fault: str | None = None
    """What keeps it from its job: a link's state and the reason, `gone docker-unreachable`."""
    expected: Expected = "always"
    usage: UsageSource | None = None
    labels: Labels = ()
    actions: tuple[ActionVerb, ...] | None = None
    """What it may do to containers at all; None where that is not its job."""

    def to_json(self) -> bytes:
        return _text(self)

    @classmethod
    def from_json(cls, text: bytes) -> "About":
        """Raises MalformedError."""
        return _parse(text)


_USUAL = About()


@lru_cache(64)
def _text(about: About) -> bytes:
    """Written again with every beat, and nearly always the same."""
    said = {name: value for name, value in asdict(about).items() if value != getattr(_USUAL, name)}
    if about.labels:
        said["labels"] = dict(about.labels)
    return json.dumps(said, separators=(",", ":")).encode()


@lru_cache(4096)
def _parse(text: bytes) -> About:
    """Read again by every edge every second, and nearly always the same."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError("roster", f"no JSON: {error!s:.100}") from None
    if not isinstance(said, Mapping):
        raise MalformedError("roster", "no JSON object")
    return About(
        beat_ms=_every("beat_ms", said.get("beat_ms", _USUAL.beat_ms)),
        interval_ms=_every("interval_ms", said.get("interval_ms", _USUAL.interval_ms)),
        fault=_fault(said.get("fault")),
        expected=next((known for known in _EXPECTED if known == said.get("expected")), "always"),
        usage=next((known for known in _SOURCES if known == said.get("usage")), None),
        labels=_labels(said.get("labels", {})),
        actions=_actions(said.get("actions")),
    )


def _every(name: str, said: Any) -> int:
    if not isinstance(said, int) or isinstance(said, bool) or not 0 < said <= MAX_EVERY_MS:
        raise MalformedError("roster", f"{name} is {said!r:.40}")
    return said


def _fault(said: Any) -> str | None:
    if said is not None and not isinstance(said, str):
        raise MalformedError("roster", f"fault is {said!r:.40}")
    return said[:200] if said else None


def _labels(said: Any) -> Labels:
    if not isinstance(said, Mapping) or len(said) > MAX_HOST_LABELS:
        raise MalformedError("roster", f"labels is {said!r:.40}")
    for word in (*said, *said.values()):
        if not isinstance(word, str) or not LABEL_WORD.fullmatch(word):
            raise MalformedError("roster", f"labels has {word!r:.40}")
    return tuple(said.items())


def _actions(said: Any) -> tuple[ActionVerb, ...] | None:
    """Those that are known here."""
    if said is not None and not isinstance(said, list):
        raise MalformedError("roster", f"actions is {said!r:.40}")
    return None if said is None else tuple(verb for verb in _VERBS if verb in said)
