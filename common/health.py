"""What a worker last said of itself, in a file for whoever checks its health. Pure but for `write` and `read`.

A process that exists is not a healthy one: the worker writes here with every beat whether it does its job, and a file
that is not written any more says that it hangs.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from common.keys import BEAT_S, Worker

FRESH_WITHIN_S = 10.0
FRESH_WITHIN_BEATS = 2.5
"""A worker that has written nothing for this long, and for so many of its beats, hangs."""

Phase = Literal["working", "standing by", "without Redis"]


@dataclass(frozen=True)
class Health:
    """One worker's word on itself."""

    worker: Worker
    phase: Phase
    fault: str | None = None
    """What keeps it from its job, as the roster has it."""
    beat_s: float = BEAT_S
    """The next word follows after so long."""


def path_of(run_dir: Path, worker: Worker) -> Path:
    return run_dir / f"{worker}.health"


def write(run_dir: Path, health: Health) -> None:
    """Puts it in place at once or not at all. Raises OSError."""
    path = path_of(run_dir, health.worker)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(health)))
    os.replace(fresh, path)


def read(run_dir: Path, worker: Worker) -> tuple[Health, float] | None:
    """The worker's last word and its age in seconds, or None where it has not said any. Raises ValueError."""
    path = path_of(run_dir, worker)
    try:
        said = path.read_text()
        age_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    try:
        return Health(**json.loads(said)), age_s
    except TypeError as error:
        raise ValueError(f"{path} is not a worker's: {error}") from None


def judge(health: Health, age_s: float) -> str | None:
    """Why this worker is not healthy, or None where it is."""
    if age_s > max(FRESH_WITHIN_S, FRESH_WITHIN_BEATS * health.beat_s):
        return f"{health.worker}: hangs, it last said something {age_s:.0f} s ago"
    if health.phase == "without Redis":
        return f"{health.worker}: Redis is not available"
    if health.fault is not None and not health.fault.startswith("live "):
        return f"{health.worker}: {health.fault}"
    return None
