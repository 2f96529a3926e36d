"""The history of a host for charts: what a point holds, and how it stands in Redis.

A collector adds a point with each state that it publishes, and the mean of each minute once that has ended
(services/collector/history.py). Each kind and grain has a stream of its own, `Keys.history`, which is capped by the
bytes that it may take: MAX_BYTES. A point in it is one byte for the format and JSON, zlib of level 1: lists instead of
objects, whole numbers where charts need no more.

Pure but for `read_points`.
"""

import zlib
from collections.abc import Callable
from math import floor
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, cast

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import to_json

from common.bus import Bus
from common.errors import MalformedError
from common.keys import Grain
from common.models import HostMetrics, Usage

HistoryKind = Literal["metrics", "usage"]

MINUTE_MS = 60_000

SPAN_S: dict[Grain, int] = {"full": 15 * 60, "minute": 24 * 3600}

MAX_BYTES: dict[tuple[HistoryKind, Grain], int] = {
    ("metrics", "full"): 1 << 20,
    ("metrics", "minute"): 1 << 20,
    ("usage", "full"): 5 << 19,
    ("usage", "minute"): 4 << 20,
}
"""Redis' memory for each stream of a host. It holds the whole span for 100 busy containers at one sample a second; with
more of them, or more samples, the history is shorter."""

ENTRY_BYTES = 96
"""Beside its payload, what an entry of a stream takes of Redis' memory: 16 to 90, the more the larger it is."""

MOST_CONTAINERS = 1_000
"""In a point; of a host that has more, the rest is left out."""

SHORT_ID = 12

MAX_POINT_BYTES = 1 << 19
"""Of one point's JSON. A thousand containers take 60 kB."""

MOST_READ = 20_000
MAX_BYTES_READ = 8 << 20
"""Of a stream at a time: more than a collector lets it grow to. The newest are read."""

_PAGE = 200
"""Entries in one reply of Redis, which serves others between two of them, as does whoever reads."""

_FORMAT = b"1"

V = TypeVar("V")
W = TypeVar("W")


# What a point holds

_Percent = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Float = Annotated[float, Field(allow_inf_nan=False)]
_Whole = Annotated[int, Field(ge=0, lt=2**63)]
_Name = Annotated[str, StringConstraints(max_length=256)]
_ShortId = Annotated[str, StringConstraints(pattern=rf"^[0-9a-f]{{{SHORT_ID}}}$")]


class MetricsPoint(NamedTuple):
    """A sample of a host, or the mean of a minute's; None, or left out of a list, where it was not known."""

    sampled_at: _Whole
    """Of a mean: when its minute began."""
    cpu_percent: _Percent | None
    per_core_percent: tuple[_Percent | None, ...]
    load1: _Float | None
    memory_used_bytes: _Whole | None
    memory_total_bytes: _Whole | None
    swap_used_bytes: _Whole | None
    disks: tuple[tuple[_Name, _Percent], ...]
    """Mount and percent."""
    read_bytes_per_sec: _Whole | None
    write_bytes_per_sec: _Whole | None
    rx_bytes_per_sec: _Whole | None
    """This and the next, over all interfaces."""
    tx_bytes_per_sec: _Whole | None
    temperatures: tuple[tuple[_Name, _Float], ...]
    """Sensor and degrees."""


class UsagePoint(NamedTuple):
    """What the containers of a host used: one tuple a quantity, aligned with `ids`; None where it was not known."""

    sampled_at: _Whole
    ids: tuple[_ShortId, ...]
    """The first SHORT_ID characters of each."""
    cpu_percent: tuple[_Percent | None, ...]
    memory_kib: tuple[_Whole | None, ...]
    rx_bytes_per_sec: tuple[_Whole | None, ...]
    tx_bytes_per_sec: tuple[_Whole | None, ...]
    read_bytes_per_sec: tuple[_Whole | None, ...]
    write_bytes_per_sec: tuple[_Whole | None, ...]

    @property
    def columns(self) -> tuple[tuple[float | None, ...], ...]:
        """All but the time and the ids."""
        return self[2:]


def metrics_point(sampled_at: int, data: HostMetrics) -> MetricsPoint:
    """A part that could not be read in time is not known: its last value is no measurement of this moment."""
    stale = frozenset(data.stale)
    cpu = None if "cpu" in stale else data.cpu
    memory = None if "memory" in stale else data.memory
    disk_io = None if "diskIo" in stale else data.disk_io
    network = None if "network" in stale else data.network
    return MetricsPoint(
        sampled_at=sampled_at,
        cpu_percent=tenths(cpu.percent) if cpu else None,
        per_core_percent=tuple(tenths(percent) for percent in cpu.per_core_percent) if cpu else (),
        load1=round(cpu.load[0], 2) if cpu else None,
        memory_used_bytes=memory.used_bytes if memory else None,
        memory_total_bytes=memory.total_bytes if memory else None,
        swap_used_bytes=None if "swap" in stale else data.swap.used_bytes,
        disks=() if "disks" in stale else tuple((disk.mount, tenths(disk.percent)) for disk in data.disks),
        read_bytes_per_sec=round(disk_io.read_bytes_per_sec) if disk_io else None,
        write_bytes_per_sec=round(disk_io.write_bytes_per_sec) if disk_io else None,
        rx_bytes_per_sec=None if network is None else round(sum(one.rx_bytes_per_sec for one in network)),
        tx_bytes_per_sec=None if network is None else round(sum(one.tx_bytes_per_sec for one in network)),
        temperatures=()
        if "temperatures" in stale
        else tuple((one.sensor, tenths(one.celsius)) for one in data.temperatures),
    )


def usage_point(sampled_at: int, data: Usage) -> UsagePoint:
    """Of MOST_CONTAINERS at most."""
    return UsagePoint(
        sampled_at=sampled_at,
        ids=tuple(container_id[:SHORT_ID] for container_id in data.ids[:MOST_CONTAINERS]),
        cpu_percent=_mapped(tenths, data.cpu_percent),
        memory_kib=_mapped(_kib, data.memory_bytes),
        rx_bytes_per_sec=_mapped(round, data.rx_bytes_per_sec),
        tx_bytes_per_sec=_mapped(round, data.tx_bytes_per_sec),
        read_bytes_per_sec=_mapped(round, data.read_bytes_per_sec),
        write_bytes_per_sec=_mapped(round, data.write_bytes_per_sec),
    )


def tenths(value: float) -> float:
    """To one digit, and whole where that is the same: 12 is shorter than 12.0. `round` takes four times as long."""
    count = floor(10 * value + 0.5)
    return count / 10 if count % 10 else count // 10


def _kib(amount: int) -> int:
    return amount // 1024


def _mapped(what: Callable[[V], W], column: tuple[V | None, ...]) -> tuple[W | None, ...]:
    """Of MOST_CONTAINERS at most; what is not known stays so."""
    column = column[:MOST_CONTAINERS]
    if None in column:
        return tuple(None if value is None else what(value) for value in column)
    known = cast("tuple[V, ...]", column)
    if not any(known):  # a quiet host: all of them 0
        return (what(known[0]),) * len(known) if known else ()
    return tuple(map(what, known))


# How it stands in Redis

P = TypeVar("P", bound=tuple[object, ...])

_metrics: TypeAdapter[MetricsPoint] = TypeAdapter(MetricsPoint)
_usage: TypeAdapter[UsagePoint] = TypeAdapter(UsagePoint)


def encode(point: MetricsPoint | UsagePoint) -> bytes:
    return _FORMAT + zlib.compress(to_json(point), 1)


def decode_metrics(payload: bytes) -> MetricsPoint:
    """Raises MalformedError."""
    return _decode(_metrics, payload)


def decode_usage(payload: bytes) -> UsagePoint:
    """Raises MalformedError."""
    point = _decode(_usage, payload)
    if any(len(column) != len(point.ids) for column in point.columns):
        raise MalformedError("history point", "its columns differ in length")
    return point


def _decode(adapter: TypeAdapter[P], payload: bytes) -> P:
    try:
        return adapter.validate_json(_unpack(payload), strict=True)
    except ValidationError as invalid:
        problem = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
        raise MalformedError("history point", f"{problem['loc']}: {problem['msg']}") from None


def _unpack(payload: bytes) -> bytes:
    if not payload.startswith(_FORMAT):
        raise MalformedError("history point", f"no format of ours: {payload[:20]!r}")
    unzip = zlib.decompressobj()
    try:
        text = unzip.decompress(payload[len(_FORMAT) :], MAX_POINT_BYTES)
    except zlib.error as error:
        raise MalformedError("history point", str(error)) from None
    if not unzip.eof:
        raise MalformedError("history point", f"cut off, or more than {MAX_POINT_BYTES} bytes")
    return text


class Entry(NamedTuple):
    """A point as it stands in its stream."""

    added_at: int
    """By Redis' clock, ms. Never goes back along a stream, even where that clock does."""
    payload: bytes


async def read_points(bus: Bus, host: str, kind: HistoryKind, grain: Grain, since_ms: int) -> list[Entry]:
    """What was added since then, the newest first; at most MOST_READ and MAX_BYTES_READ, of the newest.

    Raises BusError.
    """
    found: list[Entry] = []
    bytes_left = MAX_BYTES_READ
    newest = "+"
    while len(found) < MOST_READ and bytes_left > 0:
        with bus.reaching() as redis:
            page: Any = await redis.xrevrange(
                bus.keys.history(host, kind, grain), newest, max(0, since_ms), count=_PAGE
            )
        for entry_id, fields in page:
            payload = fields.get(b"p", b"")
            found.append(Entry(int(entry_id.partition(b"-")[0]), payload))
            bytes_left -= len(payload)
        if len(page) < _PAGE:
            break
        newest = f"({page[-1][0].decode()}"
    return found[:MOST_READ]
