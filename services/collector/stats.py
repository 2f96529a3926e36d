"""The engine's statistics of a container, in Docker's shape → its counters. Pure.

Docker's differ by the version of the control groups (`total_inactive_file` is v1's), and Podman's leave out what memory
is made of, so that its memory counts inactive files too. Whatever comes, nothing but MalformedError is raised.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from common.docker import parse_time
from common.errors import MalformedError
from services.collector.cgroups import known_limit, memory_in_use
from services.collector.rates import Counters, UsageCounters

_MOST = 2**64
_MOST_CORES = 2**16


class Stats(NamedTuple):
    """What the engine says of a running container, and of its host."""

    counters: UsageCounters
    cores: int | None


def read_stats(raw: Mapping[str, Any], at_s: float, *, host_network: bool) -> Stats | None:
    """The statistics of one container, which came at `at_s` of a monotonic clock. None where it does not run: Docker
    then answers with nothing, read at no time. Raises MalformedError."""
    if parse_time(raw.get("read")) is None:
        return None
    cpu = _object(raw, "cpu_stats")
    memory = _object(raw, "memory_stats")
    usage = _amount(memory, "usage")
    limit = _amount(memory, "limit")
    cores = _amount(cpu, "online_cpus") or len(_list(_object(cpu, "cpu_usage"), "percpu_usage") or ())
    return Stats(
        UsageCounters(
            at_s=at_s,
            cpu_ns=_amount(_object(cpu, "cpu_usage"), "total_usage"),
            memory_bytes=memory_in_use(usage, _inactive(_object(memory, "stats"))) if usage is not None else None,
            memory_limit_bytes=known_limit(limit) if limit else None,
            traffic=None if host_network else _traffic(_object(raw, "networks")),
            io=_io(_list(_object(raw, "blkio_stats"), "io_service_bytes_recursive")),
            pids=_amount(_object(raw, "pids_stats"), "current"),
        ),
        cores=cores if 0 < cores < _MOST_CORES else None,
    )


def _inactive(stats: Mapping[str, Any]) -> int:
    for name in ("total_inactive_file", "inactive_file"):
        amount = _amount(stats, name)
        if amount is not None:
            return amount
    return 0


def _traffic(networks: Mapping[str, Any]) -> Counters | None:
    """Over all interfaces; None where the engine tells of none."""
    received = sent = 0
    for name in networks:
        interface = _object(networks, name)
        received += _amount(interface, "rx_bytes") or 0
        sent += _amount(interface, "tx_bytes") or 0
    return (received, sent) if networks else None


def _io(entries: list[Any] | None) -> Counters | None:
    """Over all devices; none named is none used. Of v1 the operations are `Read`, `Total` and so on, of v2 `read`."""
    if entries is None:
        return None
    moved = {"read": 0, "write": 0}
    for entry in entries:
        if not isinstance(entry, dict):
            raise MalformedError("stats", f"no device's bytes in {entry!r:.100}")
        operation = str(entry.get("op")).lower()
        if operation in moved:
            moved[operation] += _amount(entry, "value") or 0
    return moved["read"], moved["write"]


def _object(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = raw.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise MalformedError("stats", f"{name} is no object: {found!r:.100}")
    return found


def _list(raw: Mapping[str, Any], name: str) -> list[Any] | None:
    found = raw.get(name)
    if found is not None and not isinstance(found, list):
        raise MalformedError("stats", f"{name} is no list: {found!r:.100}")
    return found


def _amount(raw: Mapping[str, Any], name: str) -> int | None:
    found = raw.get(name)
    if found is None:
        return None
    if not isinstance(found, int) or not 0 <= found < _MOST:
        raise MalformedError("stats", f"{name} is no amount: {found!r:.100}")
    return found
