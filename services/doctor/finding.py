"""What a check has found, in words for whoever has to do something about it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "failed"]
"""`note`: nothing is wrong, but it is good to know. `warning`: it works, until it does not. `failed`: it does not."""


@dataclass(frozen=True)
class Finding:
    area: str
    """What it is about: settings, redis, clock, docker, host, keys or edge."""
    level: Level
    text: str
    """One line."""
    advice: str | None = None
    """What to do about it, one line."""


def exit_code(findings: Iterable[Finding]) -> int:
    """1 where something has failed, else 0."""
    return int(any(finding.level == "failed" for finding in findings))
