"""What a published state adds to its host's history: the point itself and, once a minute has ended, that minute's mean.
Pure.

Minutes are those of the samples' own times, on Redis' clock. Where that clock steps back, the minute under way ends
early and another one, earlier, begins: whoever reads lets the newer points have their way. A minute without a sample
has no point. One under way when the collector ends is not added.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from itertools import islice
from operator import add
from typing import Generic, Protocol, TypeVar, cast

from common.bus import Point
from common.history import (
    ENTRY_BYTES,
    MAX_BYTES,
    MINUTE_MS,
    MOST_CONTAINERS,
    SPAN_S,
    HistoryKind,
    MetricsPoint,
    UsagePoint,
    encode,
    metrics_point,
    tenths,
    usage_point,
)
from common.keys import Grain
from common.models import HostMetrics, Usage

logger = logging.getLogger(__name__)

_FEWEST_TYPICAL = 10
_MOST_TYPICAL = 50
"""So many of its own points say how large those are that an earlier process has left: fewer could all be out of the
ordinary."""

_UNLIMITED = 1_000_000

_MOST_NAMES = 1_000
"""Cores, disks and sensors of one minute each. More come together only where names change all the time."""


class MetricsHistory:
    """One a tenure."""

    def __init__(self) -> None:
        self._streams = _Streams[MetricsPoint]("metrics", _MetricsMinute)

    def points(self, sampled_at: int, data: HostMetrics, interval_s: float) -> list[Point]:
        """What to publish with this sample, the next one of which follows after `interval_s`."""
        return self._streams.add(metrics_point(sampled_at, data), interval_s)


class UsageHistory:
    """One a tenure."""

    def __init__(self) -> None:
        self._streams = _Streams[UsagePoint]("usage", _UsageMinute)
        self._said_crowded = False

    def points(self, sampled_at: int, data: Usage, interval_s: float) -> list[Point]:
        """What to publish with this sample, the next one of which follows after `interval_s`."""
        self._say_crowded(len(data.ids))
        return self._streams.add(usage_point(sampled_at, data), interval_s)

    def _say_crowded(self, containers: int) -> None:
        if containers > MOST_CONTAINERS and not self._said_crowded:
            self._said_crowded = True
            logger.warning("%d containers: the history has the first %d only", containers, MOST_CONTAINERS)


P = TypeVar("P", MetricsPoint, UsagePoint)


class _Minute(Protocol[P]):
    """A minute under way."""

    minute: int

    def add(self, point: P) -> None: ...

    def mean(self) -> P: ...


class _Streams(Generic[P]):
    """The two streams of a kind."""

    def __init__(self, kind: HistoryKind, begin: Callable[[int], _Minute[P]]) -> None:
        self._full = _Cap(kind, "full")
        self._minute = _Cap(kind, "minute")
        self._begin: Callable[[int], _Minute[P]] = begin
        self._under_way: _Minute[P] | None = None

    def add(self, point: P, interval_s: float) -> list[Point]:
        found = [self._full.point(point.sampled_at, encode(point), interval_s)]
        minute = point.sampled_at // MINUTE_MS
        if self._under_way is None or self._under_way.minute != minute:
            if self._under_way is not None:
                mean = self._under_way.mean()
                found.append(self._minute.point(mean.sampled_at, encode(mean), interval_s))
            self._under_way = self._begin(minute)
        self._under_way.add(point)
        return found


class _Cap:
    """How many points a stream is to have: those of its span, and no more than fit into its bytes.

    Told by the points themselves, not by the interval or the last size: an interval that changes, or one point that is
    unusually large, costs no more than its own share.
    """

    def __init__(self, kind: HistoryKind, grain: Grain) -> None:
        self._grain = grain
        self._span_ms = 1000 * SPAN_S[grain]
        self._max_bytes = MAX_BYTES[kind, grain]
        self._points: deque[tuple[int, int]] = deque()
        """When sampled, and bytes in Redis: those that are to be kept, of this process' own."""
        self._bytes = 0
        self._has_earlier = True
        """What an earlier process has left may be worth keeping still."""

    def point(self, sampled_at: int, payload: bytes, interval_s: float) -> Point:
        self._points.append((sampled_at, len(payload) + ENTRY_BYTES))
        self._bytes += len(payload) + ENTRY_BYTES
        while len(self._points) > 1 and self._is_over(sampled_at):
            self._bytes -= self._points.popleft()[1]
            self._has_earlier = False
        # A host that is sampled every hour still shows its last sample when the next one is due.
        ttl_s = SPAN_S[self._grain] + math.ceil(interval_s)
        return Point(self._grain, payload, len(self._points) + self._room_for_earlier(), ttl_s)

    def _is_over(self, now: int) -> bool:
        return self._bytes > self._max_bytes or self._points[0][0] <= now - self._span_ms

    def _room_for_earlier(self) -> int:
        """Points of an earlier process that fit in beside this one's, where they are as large as these usually are."""
        if not self._has_earlier:
            return 0
        sizes = sorted(size for _, size in islice(reversed(self._points), _MOST_TYPICAL))
        if len(sizes) < _FEWEST_TYPICAL:
            return _UNLIMITED
        return (self._max_bytes - self._bytes) // sizes[len(sizes) // 2]


K = TypeVar("K", bound=Hashable)


class _Means(Generic[K]):
    """Of what was known of each; at most `most` of them, in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sums: dict[K, list[float]] = {}
        """Key → sum and count, without what is in `_row_sums`."""
        self._row_keys: tuple[K, ...] = ()
        self._row_sums: tuple[float, ...] = ()
        self._rows = 0

    def add(self, key: K, value: float | None) -> None:
        self._add(key, 0.0 if value is None else value, 0 if value is None else 1)

    def add_row(self, keys: tuple[K, ...], values: tuple[float | None, ...]) -> None:
        """Rows of the same keys, all known, are what comes nearly always, and are added up as a whole."""
        if None in values:
            for key, value in zip(keys, values, strict=True):
                self.add(key, value)
            return
        if keys != self._row_keys:
            self._fold()
            self._row_keys, self._row_sums = keys, (0.0,) * len(keys)
        self._row_sums = tuple(map(add, self._row_sums, cast("tuple[float, ...]", values)))
        self._rows += 1

    def _fold(self) -> None:
        for key, total in zip(self._row_keys, self._row_sums, strict=True):
            self._add(key, total, self._rows)
        self._row_keys, self._row_sums, self._rows = (), (), 0

    def _add(self, key: K, total: float, count: int) -> None:
        sums = self._sums.get(key)
        if sums is None:
            if len(self._sums) >= self._most:
                return
            sums = self._sums[key] = [0.0, 0]
        sums[0] += total
        sums[1] += count

    def mean(self, key: K) -> float | None:
        self._fold()
        total, count = self._sums.get(key, (0.0, 0))
        return total / count if count else None

    @property
    def known(self) -> Sequence[K]:
        """What was there, with values or without."""
        self._fold()
        return tuple(self._sums)

    def all(self) -> list[tuple[K, float]]:
        """The mean of each that has one."""
        self._fold()
        return [(key, total / count) for key, (total, count) in self._sums.items() if count]


class _MetricsMinute:
    def __init__(self, minute: int) -> None:
        self.minute = minute
        self._amounts = _Means[str](_MOST_NAMES)
        self._cores = _Means[int](_MOST_NAMES)
        self._disks = _Means[str](_MOST_NAMES)
        self._temperatures = _Means[str](_MOST_NAMES)

    def add(self, point: MetricsPoint) -> None:
        for name, value in point._asdict().items():
            if isinstance(value, int | float) or value is None:
                self._amounts.add(name, value)
        for core, percent in enumerate(point.per_core_percent):
            self._cores.add(core, percent)
        for mount, percent in point.disks:
            self._disks.add(mount, percent)
        for sensor, celsius in point.temperatures:
            self._temperatures.add(sensor, celsius)

    def mean(self) -> MetricsPoint:
        amounts = self._amounts.mean
        return MetricsPoint(
            sampled_at=self.minute * MINUTE_MS,
            cpu_percent=_tenths(amounts("cpu_percent")),
            per_core_percent=tuple(_tenths(self._cores.mean(core)) for core in self._cores.known),
            load1=None if (load := amounts("load1")) is None else round(load, 2),
            memory_used_bytes=_whole(amounts("memory_used_bytes")),
            memory_total_bytes=_whole(amounts("memory_total_bytes")),
            swap_used_bytes=_whole(amounts("swap_used_bytes")),
            disks=tuple((mount, tenths(percent)) for mount, percent in self._disks.all()),
            read_bytes_per_sec=_whole(amounts("read_bytes_per_sec")),
            write_bytes_per_sec=_whole(amounts("write_bytes_per_sec")),
            rx_bytes_per_sec=_whole(amounts("rx_bytes_per_sec")),
            tx_bytes_per_sec=_whole(amounts("tx_bytes_per_sec")),
            temperatures=tuple((sensor, tenths(celsius)) for sensor, celsius in self._temperatures.all()),
        )


class _UsageMinute:
    """Containers that came or went within it have the mean of the time in which they were there."""

    def __init__(self, minute: int) -> None:
        self.minute = minute
        self._columns = tuple(_Means[str](MOST_CONTAINERS) for _ in range(6))

    def add(self, point: UsagePoint) -> None:
        for means, column in zip(self._columns, point.columns, strict=True):
            means.add_row(point.ids, column)

    def mean(self) -> UsagePoint:
        ids = tuple(self._columns[0].known)
        cpu, memory, rx, tx, read, write = self._columns
        return UsagePoint(
            sampled_at=self.minute * MINUTE_MS,
            ids=ids,
            cpu_percent=tuple(_tenths(cpu.mean(one)) for one in ids),
            memory_kib=tuple(_whole(memory.mean(one)) for one in ids),
            rx_bytes_per_sec=tuple(_whole(rx.mean(one)) for one in ids),
            tx_bytes_per_sec=tuple(_whole(tx.mean(one)) for one in ids),
            read_bytes_per_sec=tuple(_whole(read.mean(one)) for one in ids),
            write_bytes_per_sec=tuple(_whole(write.mean(one)) for one in ids),
        )


def _tenths(mean: float | None) -> float | None:
    return None if mean is None else tenths(mean)


def _whole(mean: float | None) -> int | None:
    return None if mean is None else round(mean)
