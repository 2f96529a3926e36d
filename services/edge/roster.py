"""From what Redis says about a fleet's workers to what clients are told about its hosts. Pure."""

from typing import get_args

from common.bus import RosterReading
from common.keys import WORKERS, Worker
from common.protocol import HostStatus, Link, Links, LinkState

LIVE_WITHIN_MS = 4_000
"""A worker is seen every second: this long without it means that it hangs or that its way to Redis is cut."""

GONE_AFTER_MS = 8_000
"""Its lease has run out by now."""

_STATES: tuple[LinkState, ...] = get_args(LinkState)


def host_statuses(reading: RosterReading) -> tuple[HostStatus, ...]:
    """Every host that any worker was seen on, by name."""
    hosts = sorted({host for seen in reading.seen.values() for host in seen})
    return tuple(_host_status(host, reading) for host in hosts)


def without_bus(hosts: tuple[HostStatus, ...]) -> tuple[HostStatus, ...]:
    """The same hosts while this edge cannot reach Redis: whatever they do, nobody here can know it."""
    unknown = Link(state="stalled", reason="bus-unreachable")
    links = Links(metrics=unknown, containers=unknown, executor=unknown)
    return tuple(host.model_copy(update={"status": "stalled", "links": links}) for host in hosts)


def _host_status(host: str, reading: RosterReading) -> HostStatus:
    links = Links(**{worker: _link(host, worker, reading) for worker in WORKERS})
    states = {links.metrics.state, links.containers.state, links.executor.state}
    return HostStatus(
        host=host,
        status=next(state for state in _STATES if state in states),
        last_seen_at=max(seen[host] for seen in reading.seen.values() if host in seen),
        links=links,
    )


def _link(host: str, worker: Worker, reading: RosterReading) -> Link:
    seen_at = reading.seen.get(worker, {}).get(host)
    if seen_at is None:
        return Link(state="gone", reason="never-seen")
    fault = reading.faults.get(worker, {}).get(host)
    age_ms = reading.now_ms - seen_at
    if fault == "gone stopped":
        return Link(state="gone", reason="stopped")
    if age_ms > GONE_AFTER_MS:
        return Link(state="gone", reason="silent")
    if age_ms > LIVE_WITHIN_MS:
        return Link(state="stalled", reason="silent")
    if fault is not None:
        state, _, reason = fault.partition(" ")
        return Link(state=state if state in _STATES else "stalled", reason=reason or "unknown")
    return Link(state="live")
