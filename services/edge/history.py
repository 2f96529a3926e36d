"""From the points of a host's history to the columns of a chart (common/history.py). Pure, and all of it may run in a
thread: it is work for the CPU, in steps short enough that the loop gets its turns.

The answer is JSON made piece by piece: one value model for all of it would be built and written in two steps that let
nobody in between.

Where fewer rows are asked for than there are points, points of the same span of time make one row: the mean of what was
known. Spans begin at round times, so that what is asked for again later has the same rows. One without points has none.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeVar

from common.errors import MalformedError
from common.history import (
    MINUTE_MS,
    SHORT_ID,
    Entry,
    HistoryKind,
    MetricsPoint,
    UsagePoint,
    decode_metrics,
    decode_usage,
    tenths,
)

MOST_VALUES = 1_500_000
"""In the usage of one answer: 160 containers over a whole day, 270 over the last 15 minutes."""

MOST_DECODED = 3_000_000
"""Values of one kind; of what goes beyond, the newest. More than a collector lets its streams hold."""

MOST_NAMES = 1_024
"""Cores, disks and sensors each, of those the last ones seen."""

P = TypeVar("P", bound=MetricsPoint | UsagePoint)


@dataclass
class Found:
    """What Redis has of one kind, the newest first."""

    means: Sequence[Entry] = ()
    full: Sequence[Entry] = ()
    problems: list[MalformedError] = field(default_factory=list)
    """Of the points that were skipped."""

    @property
    def is_empty(self) -> bool:
        return not self.means and not self.full


@dataclass(frozen=True)
class Wanted:
    """What is asked for of a history."""

    since_ms: int
    """What was sampled then or later."""
    container: str | None = None
    """Of the usage, those whose id begins so."""
    most_rows: int | None = None
    """More points than this are put together; at least 2."""
    span_ms: int = 0
    """How much time these rows are for."""


def columns(kind: HistoryKind, found: Found, wanted: Wanted) -> bytes:
    """MetricsColumns or UsageColumns as JSON."""
    if kind == "metrics":
        metrics = _points(found, wanted.since_ms, decode_metrics)
        return _metrics_columns(metrics, _Rows(metrics, wanted))
    usage = _points(found, wanted.since_ms, decode_usage)
    return _usage_columns(usage, _Rows(usage, wanted), wanted.container)


def _points(found: Found, since_ms: int, decode: Callable[[bytes], P]) -> list[P]:
    """In order: the means, then what was sampled after the last of those minutes. What is newer in the stream has its
    way: what claims to have been sampled later than it is from before a clock that stepped back."""
    full = list(_falling(_decoded(found.full, decode, found.problems)))
    latest = full[0].sampled_at if full else None
    means = [
        mean
        for mean in _falling(_decoded(found.means, decode, found.problems))
        if mean.sampled_at >= since_ms and (latest is None or mean.sampled_at <= latest)
    ]
    begins = means[0].sampled_at + MINUTE_MS if means else since_ms
    newest_first = [*(point for point in full if point.sampled_at >= begins), *means]
    return newest_first[::-1]


def _decoded(entries: Iterable[Entry], decode: Callable[[bytes], P], problems: list[MalformedError]) -> Iterator[P]:
    for entry in entries:
        try:
            yield decode(entry.payload)
        except MalformedError as problem:
            problems.append(problem)


def _falling(points: Iterable[P]) -> Iterator[P]:
    """Those that are earlier than all before, and as many as may be held at a time."""
    earliest: int | None = None
    values_left = MOST_DECODED
    for point in points:
        if earliest is None or point.sampled_at < earliest:
            earliest = point.sampled_at
            values_left -= sum(len(part) for part in point if isinstance(part, tuple))
            if values_left < 0:
                return
            yield point


Column = Sequence[float | None]


class _Rows:
    """Which points make one row of the answer: each by itself, or several of a span of time."""

    def __init__(self, points: Sequence[MetricsPoint] | Sequence[UsagePoint], wanted: Wanted) -> None:
        self.sampled_at = [point.sampled_at for point in points]
        """Of each row: of its last point."""
        self._steps: list[list[slice]] = []
        most = wanted.most_rows
        if most is None or len(points) <= most:
            return
        span_ms = math.ceil(wanted.span_ms / (most - 1))  # one more than fit in, for the first and the last are cut
        if span_ms > MINUTE_MS:
            self._put_together(MINUTE_MS)  # or the samples of the last minutes would count as much as minutes
        self._put_together(span_ms)
        self._steps[-1] = self._steps[-1][-most:]
        self.sampled_at = self.sampled_at[-most:]

    def _put_together(self, span_ms: int) -> None:
        step = []
        begin = 0
        for _, together in groupby(self.sampled_at, lambda at: at // span_ms):
            end = begin + len(list(together))
            step.append(slice(begin, end))
            begin = end
        self._steps.append(step)
        self.sampled_at = [self.sampled_at[rows.stop - 1] for rows in step]

    def __call__(self, column: Column, digits: Callable[[float], float]) -> Column:
        """A column of one value a point as one of a value a row, rounded by `digits` where it is a mean."""
        for step in self._steps:
            column = [_mean(column[rows]) for rows in step]
        return column if not self._steps else [None if value is None else digits(value) for value in column]


def _mean(values: Column) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _hundredths(value: float) -> float:
    return round(value, 2)


def _metrics_columns(points: Sequence[MetricsPoint], rows: _Rows) -> bytes:
    def column(digits: Callable[[float], float], values: Iterable[float | None]) -> bytes:
        return _json(rows(list(values), digits))

    def named(parts: Sequence[tuple[tuple[str, float], ...]]) -> bytes:
        return _json({name: rows(values, tenths) for name, values in _by_name(parts).items()})

    cores = min(MOST_NAMES, max((len(point.per_core_percent) for point in points), default=0))
    per_core = [
        column(
            tenths, (point.per_core_percent[core] if core < len(point.per_core_percent) else None for point in points)
        )
        for core in range(cores)
    ]
    return _object(
        ("sampledAt", _json(rows.sampled_at)),
        ("cpuPercent", column(tenths, (point.cpu_percent for point in points))),
        ("perCorePercent", b"[%b]" % b",".join(per_core)),
        ("load1", column(_hundredths, (point.load1 for point in points))),
        ("memoryUsedBytes", column(round, (point.memory_used_bytes for point in points))),
        ("memoryTotalBytes", column(round, (point.memory_total_bytes for point in points))),
        ("swapUsedBytes", column(round, (point.swap_used_bytes for point in points))),
        ("disks", named([point.disks for point in points])),
        ("readBytesPerSec", column(round, (point.read_bytes_per_sec for point in points))),
        ("writeBytesPerSec", column(round, (point.write_bytes_per_sec for point in points))),
        ("rxBytesPerSec", column(round, (point.rx_bytes_per_sec for point in points))),
        ("txBytesPerSec", column(round, (point.tx_bytes_per_sec for point in points))),
        ("temperatures", named([point.temperatures for point in points])),
    )


def _by_name(points: Sequence[tuple[tuple[str, float], ...]]) -> dict[str, list[float | None]]:
    named: dict[str, list[float | None]] = {}
    for row in reversed(range(len(points))):
        for name, value in points[row]:
            if name not in named:
                if len(named) >= MOST_NAMES:
                    continue
                named[name] = [None] * len(points)
            named[name][row] = value
    return {name: named[name] for name in sorted(named)}


def _usage_columns(points: Sequence[UsagePoint], rows: _Rows, prefix: str | None) -> bytes:
    shown, omitted = _containers(points, (prefix or "")[:SHORT_ID])
    values: dict[str, list[list[float | None]]] = {
        container: [[None] * len(points) for _ in _QUANTITIES] for container in shown
    }
    for row, point in enumerate(points):
        quantities = point.columns
        for place, container in enumerate(point.ids):
            if (into := values.get(container)) is not None:
                for column, quantity in zip(into, quantities, strict=True):
                    column[row] = quantity[place]
    containers = (
        (container, _object(*(_member(name, column, rows) for name, column in zip(_QUANTITIES, own, strict=True))))
        for container, own in values.items()
    )
    return _object(
        ("sampledAt", _json(rows.sampled_at)),
        ("containers", _object(*containers)),
        ("omitted", _json(omitted)),
    )


_QUANTITIES = ("cpuPercent", "memoryBytes", "rxBytesPerSec", "txBytesPerSec", "readBytesPerSec", "writeBytesPerSec")
"""In the order of a point's columns."""


def _member(quantity: str, column: Column, rows: _Rows) -> tuple[str, bytes]:
    column = rows(column, tenths if quantity == "cpuPercent" else round)
    if quantity == "memoryBytes":
        column = [None if kib is None else kib * 1024 for kib in column]
    return quantity, _json(column)


def _containers(points: Sequence[UsagePoint], prefix: str) -> tuple[list[str], int]:
    """Which of them there is room for, those seen last before others, and how many are left out."""
    seen: dict[str, None] = {}
    for point in reversed(points):
        seen.update(dict.fromkeys(container for container in point.ids if container.startswith(prefix)))
    room = MOST_VALUES // (len(_QUANTITIES) * max(1, len(points)))
    return sorted(list(seen)[:room]), max(0, len(seen) - room)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _object(*members: tuple[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (_json(name), value) for name, value in members)
