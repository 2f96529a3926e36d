"""What a workload is: rows that are run in turn, the columns of its table, and the targets that it is there for."""

import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from benchmarks.fanout_parts.machine import Cores
from benchmarks.fanout_parts.stage import Figures, Stage, staged
from benchmarks.fanout_parts.systems import System


@dataclass
class Bench:
    """What a whole benchmark has in common."""

    cores: Cores
    tools: Path
    systems: Sequence[str] | None
    """Names of those that are run; None for all."""
    seconds: float
    """How long steady workloads are measured."""
    scale: float
    """Of the numbers of clients that the workloads name."""
    quick: bool
    """Only to see whether it works: everything is short."""
    capacity: float | None = None
    """Deliveries per second that fill one core at one system call each: what the floor's last run in this benchmark
    came to."""

    def clients(self, number: int) -> int:
        return max(4, round(number * self.scale))

    def lasting(self, seconds: float, quick_s: float) -> float:
        """The length of a part of a workload that does not depend on `seconds`."""
        return quick_s if self.quick else seconds

    def staged(self, system: System) -> AbstractAsyncContextManager[Stage]:
        return staged(system, self.cores, self.tools)


class Column(NamedTuple):
    """A figure of every row."""

    figure: str
    header: str
    format: str = ".1f"
    times: float = 1.0
    """What the figure is multiplied with to be shown."""


class Target(NamedTuple):
    """Something to reach."""

    text: str
    found: str
    reached: bool | None
    """None: not known, because a row it needs was not run."""


class Results:
    """What the rounds of one workload found: row → the figures of each round."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Figures]] = {}
        self.skipped: dict[str, str] = {}
        """Row → why it was not run."""

    def add(self, row: str, figures: Figures) -> None:
        self.rows.setdefault(row, []).append(figures)

    def values(self, row: str, figure: str) -> list[float]:
        found = [figures.get(figure) for figures in self.rows.get(row, ())]
        return [float(value) for value in found if isinstance(value, (int, float))]

    def median(self, row: str, figure: str) -> float | None:
        values = self.values(row, figure)
        return statistics.median(values) if values else None

    def worst(self, row: str, figure: str) -> float | None:
        return max(self.values(row, figure), default=None)

    def ratio(self, figure: str, row: str, reference: str) -> float | None:
        """Of medians."""
        mine, other = self.median(row, figure), self.median(reference, figure)
        return mine / other if mine is not None and other else None


def at_most(text: str, found: float | None, limit: float, unit: str = "", digits: int = 2) -> Target:
    """A target that is reached by `found` being no more than the limit."""
    if found is None:
        return Target(text, "not measured", None)
    return Target(text, f"{found:.{digits}f}{unit}", found <= limit)


def at_least(text: str, found: float | None, limit: float, unit: str = "", digits: int = 2) -> Target:
    if found is None:
        return Target(text, "not measured", None)
    return Target(text, f"{found:.{digits}f}{unit}", found >= limit)


class Workload(ABC):
    """A description of what is done to each row's system, and of what has to come of it."""

    name: ClassVar[str]
    title: ClassVar[str]
    columns: ClassVar[Sequence[Column]]
    reference: ClassVar[tuple[str, str] | None] = None
    """Figure and row that the table gives each row's ratio to."""
    most_rounds: ClassVar[int] = 1000

    @abstractmethod
    def rows(self) -> Mapping[str, System]:
        """Name → the system that is run."""

    @abstractmethod
    async def run(self, row: str, system: System, bench: Bench) -> Figures: ...

    @abstractmethod
    def targets(self, results: Results) -> list[Target]: ...
