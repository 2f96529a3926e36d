"""From the points of a host's history to the columns of a chart (common/history.py). Pure, and all of it may run in a
thread: it is work for the CPU, in steps short enough that the loop gets its turns.

The answer is JSON made piece by piece: one value model for all of it would be built and written in two steps that let
nobody in between.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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


def columns(kind: HistoryKind, found: Found, since_ms: int, container: str | None = None) -> bytes:
    """MetricsColumns or UsageColumns as JSON: what was sampled since then. `container`: those whose id begins so."""
    if kind == "metrics":
        return _metrics_columns(_points(found, since_ms, decode_metrics))
    return _usage_columns(_points(found, since_ms, decode_usage), container)


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


def _metrics_columns(points: Sequence[MetricsPoint]) -> bytes:
    cores = min(MOST_NAMES, max((len(point.per_core_percent) for point in points), default=0))
    per_core = [
        _json([point.per_core_percent[core] if core < len(point.per_core_percent) else None for point in points])
        for core in range(cores)
    ]
    return _object(
        ("sampledAt", _json([point.sampled_at for point in points])),
        ("cpuPercent", _json([point.cpu_percent for point in points])),
        ("perCorePercent", b"[%b]" % b",".join(per_core)),
        ("load1", _json([point.load1 for point in points])),
        ("memoryUsedBytes", _json([point.memory_used_bytes for point in points])),
        ("memoryTotalBytes", _json([point.memory_total_bytes for point in points])),
        ("swapUsedBytes", _json([point.swap_used_bytes for point in points])),
        ("disks", _json(_by_name([point.disks for point in points]))),
        ("readBytesPerSec", _json([point.read_bytes_per_sec for point in points])),
        ("writeBytesPerSec", _json([point.write_bytes_per_sec for point in points])),
        ("rxBytesPerSec", _json([point.rx_bytes_per_sec for point in points])),
        ("txBytesPerSec", _json([point.tx_bytes_per_sec for point in points])),
        ("temperatures", _json(_by_name([point.temperatures for point in points]))),
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


def _usage_columns(points: Sequence[UsagePoint], prefix: str | None) -> bytes:
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
        (container, _object(*(_member(name, column) for name, column in zip(_QUANTITIES, own, strict=True))))
        for container, own in values.items()
    )
    return _object(
        ("sampledAt", _json([point.sampled_at for point in points])),
        ("containers", _object(*containers)),
        ("omitted", _json(omitted)),
    )


_QUANTITIES = ("cpuPercent", "memoryBytes", "rxBytesPerSec", "txBytesPerSec", "readBytesPerSec", "writeBytesPerSec")
"""In the order of a point's columns."""


def _member(quantity: str, column: list[float | None]) -> tuple[str, bytes]:
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
