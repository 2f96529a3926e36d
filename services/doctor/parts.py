"""Whether each part understands the settings as they are, by its own model and rules. Pure."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from common.errors import SettingsError
from common.settings import (
    ContainersCollectorSettings,
    EdgeSettings,
    ExecutorSettings,
    MetricsCollectorSettings,
    Settings,
)
from services.doctor.finding import Finding

PARTS: Mapping[str, type[Settings]] = {
    "collector metrics": MetricsCollectorSettings,
    "collector containers": ContainersCollectorSettings,
    "executor": ExecutorSettings,
    "edge": EdgeSettings,
}


def check_parts(given: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """`given`: options, as far as a part takes them. What several parts complain of alike is said once."""
    complaints: dict[str, list[str]] = {}
    for part, model in PARTS.items():
        try:
            model.load({name: value for name, value in given.items() if name in model.model_fields}, environ)
        except SettingsError as wrong:
            complaints.setdefault(str(wrong), []).append(part)
    for complaint, parts in complaints.items():
        yield Finding("settings", "failed", complaint, f"the {_and(parts)} would not start: correct it, or unset it")
    if not complaints:
        yield Finding("settings", "ok", f"the {_and(list(PARTS))} understand them")


def _and(words: list[str]) -> str:
    return " and the ".join(filter(None, (", the ".join(words[:-1]), words[-1])))
