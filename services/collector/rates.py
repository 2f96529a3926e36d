"""Counters → rates. Pure: counters and the monotonic times of their readings come from outside.

A rate takes two readings. What is new, or whose counter fell (it was reset, or another thing has taken its name),
starts a new baseline and is left out until the next reading: nothing is known of it yet, and 0 would be a claim. The
machine's own clock may step as it likes, for only monotonic times count.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

_SHORTEST_S = 0.001
"""Two readings closer together than this say nothing of a rate: the earlier one stays the baseline."""

Counters = tuple[int, int]
"""In and out: bytes received and sent, or read and written."""


class Rate(NamedTuple):
    """Bytes per second."""

    incoming: float
    outgoing: float


class Rates:
    """The rates of things that come and go, such as network interfaces, from their counters."""

    def __init__(self) -> None:
        self._at_s = float("-inf")
        self._baseline: dict[str, Counters] = {}

    def update(self, at_s: float, counters: Mapping[str, Counters]) -> dict[str, Rate]:
        """What each thing that was there last time moved per second since then."""
        elapsed_s = at_s - self._at_s
        if elapsed_s < _SHORTEST_S:
            return {}
        rates = {}
        for name, (incoming, outgoing) in counters.items():
            before = self._baseline.get(name)
            if before is not None and incoming >= before[0] and outgoing >= before[1]:
                rates[name] = Rate(
                    round((incoming - before[0]) / elapsed_s, 1), round((outgoing - before[1]) / elapsed_s, 1)
                )
        self._at_s = at_s
        self._baseline = dict(counters)
        return rates


class CoreTimes(NamedTuple):
    """What a core has spent its time on since it was started; a guest's time counts as busy."""

    busy_s: float
    idle_s: float
    """Waiting for I/O too."""


class CpuUse(NamedTuple):
    """Percentages, 0 to 100."""

    percent: float
    per_core_percent: tuple[float, ...]


class CpuShares:
    """The share of the time that each core, and all of them together, were busy between two readings."""

    def __init__(self) -> None:
        self._baseline: tuple[CoreTimes, ...] = ()

    def update(self, cores: Sequence[CoreTimes]) -> CpuUse | None:
        """None at the first reading, and at the first one with another number of cores."""
        before, self._baseline = self._baseline, tuple(cores)
        if not cores or len(before) != len(cores):
            return None
        # Linux' idle and I/O wait times may fall a little between two readings.
        spent = [
            CoreTimes(max(0.0, now.busy_s - then.busy_s), max(0.0, now.idle_s - then.idle_s))
            for now, then in zip(cores, before, strict=True)
        ]
        whole = CoreTimes(sum(core.busy_s for core in spent), sum(core.idle_s for core in spent))
        return CpuUse(_busy_percent(whole), tuple(_busy_percent(core) for core in spent))


class UsageCounters(NamedTuple):
    """What a container has used since its start, and what it holds; None where it is not known."""

    at_s: float
    """When they were read, on a monotonic clock."""
    cpu_ns: int | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    traffic: Counters | None = None
    """Bytes received and sent."""
    io: Counters | None = None
    """Bytes read and written."""
    pids: int | None = None
    moved_since_s: float | None = None
    """What `traffic` and `io` gained came since then, where that is longer ago than the reading before."""


class UsageRow(NamedTuple):
    """One container's place in the columns of a usage message, in their order; None where it is not known."""

    cpu_percent: float | None = None
    """100 = one core."""
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    rx_bytes_per_sec: float | None = None
    tx_bytes_per_sec: float | None = None
    read_bytes_per_sec: float | None = None
    write_bytes_per_sec: float | None = None
    pids: int | None = None


class UsageRates:
    """What one run of a container uses, from its counters; each counter has its own baseline."""

    def __init__(self) -> None:
        self._before: UsageCounters | None = None
        self._still: UsageRow | None = None
        """What was told of it while all counters stayed as they were, as those of an idle container do."""

    def update(self, now: UsageCounters, cores: int) -> UsageRow:
        """What it used per second since the last reading, and what it holds. A CPU time that is more than all `cores`
        had is cut to that: the two readings' times are not exactly those of the counters."""
        before = self._before
        if before is None or now.at_s - before.at_s < _SHORTEST_S:
            self._before = before or now
            return UsageRow(None, now.memory_bytes, now.memory_limit_bytes, pids=now.pids)
        self._before = now
        is_still = now[1:-1] == before[1:-1]
        if not is_still or self._still is None:
            row = _row(before, now, cores)
            self._still = row if is_still else None
            return row
        return self._still


def _row(before: UsageCounters, now: UsageCounters, cores: int) -> UsageRow:
    at_s, cpu_ns, memory_bytes, limit_bytes, traffic, io, pids, moved_since_s = now
    elapsed_s = at_s - before.at_s
    cpu_percent = None
    if cpu_ns is not None and before.cpu_ns is not None and cpu_ns >= before.cpu_ns:
        cpu_percent = min(100.0 * cores, _tenths((cpu_ns - before.cpu_ns) / elapsed_s / 1e7))
    moved_s = elapsed_s if moved_since_s is None else max(elapsed_s, at_s - moved_since_s)
    rx, tx = _per_second(before.traffic, traffic, moved_s)
    read, written = _per_second(before.io, io, moved_s)
    return UsageRow(cpu_percent, memory_bytes, limit_bytes, rx, tx, read, written, pids)


def _per_second(
    before: Counters | None, now: Counters | None, elapsed_s: float
) -> tuple[float, float] | tuple[None, None]:
    if before is None or now is None:
        return None, None
    if before == now:
        return 0.0, 0.0
    if now[0] < before[0] or now[1] < before[1]:
        return None, None
    return _tenths((now[0] - before[0]) / elapsed_s), _tenths((now[1] - before[1]) / elapsed_s)


def _tenths(amount: float) -> float:
    """Rounded to tenths, for what is not negative; `round` takes six times as long, and all usage goes through here."""
    return int(amount * 10 + 0.5) / 10


def _busy_percent(spent: CoreTimes) -> float:
    whole_s = spent.busy_s + spent.idle_s
    return round(min(100.0, 100 * spent.busy_s / whole_s), 1) if whole_s > 0 else 0.0
