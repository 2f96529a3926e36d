"""From what Redis says about a fleet's workers to what clients are told about its hosts. Pure."""

from functools import lru_cache
from typing import get_args

from common.bus import RosterReading
from common.keys import WORKERS, Worker
from common.protocol import HostStatus, Link, Links, LinkState
from common.roster import About, Labels

LIVE_WITHIN_BEATS = 1.5
"""A worker is seen every beat: this long without it means that it hangs or that its way to Redis is cut."""

GONE_AFTER_BEATS = 2.5
"""So that every edge, which looks once a second, has told it before the third beat is due."""

_UNKNOWN = About()

_Said = tuple[LinkState, str | None, int | None]
"""Of a link: its state, the reason, and the interval where it is worth telling."""

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
    said = tuple(_link(host, worker, reading) for worker in WORKERS)
    about = [found for worker in WORKERS if (found := reading.about.get(worker, {}).get(host)) is not None]
    states = {state for state, _, _ in said}
    return HostStatus(
        host=host,
        status=next(state for state in _STATES if state in states),
        expected="sometimes" if any(one.expected == "sometimes" for one in about) else "always",
        last_seen_at=max(seen[host] for seen in reading.seen.values() if host in seen),
        links=_links(said),
        labels=_labels(tuple(one.labels for one in about)),
        usage=next((one.usage for one in about if one.usage), None),
        actions=next((one.actions for one in about if one.actions is not None), None),
    )


@lru_cache(4096)
def _labels(said: tuple[Labels, ...]) -> dict[str, str]:
    """Of what several workers say of one label, the first's word."""
    return {key: value for labels in reversed(said) for key, value in labels}


@lru_cache(1024)
def _links(said: tuple[_Said, ...]) -> Links:
    """Made once for all hosts and all readings: most links say the same every second."""
    links = (Link(state=state, reason=reason, interval_ms=interval_ms) for state, reason, interval_ms in said)
    return Links(**dict(zip(WORKERS, links, strict=True)))


def _link(host: str, worker: Worker, reading: RosterReading) -> _Said:
    about = reading.about.get(worker, {}).get(host, _UNKNOWN)
    interval_ms = about.interval_ms if about.interval_ms > _UNKNOWN.interval_ms else None
    return *_state(reading.seen.get(worker, {}).get(host), about, reading.now_ms), interval_ms


def _state(seen_at: int | None, about: About, now_ms: int) -> tuple[LinkState, str | None]:
    if seen_at is None:
        return "gone", "never-seen"
    age_ms = now_ms - seen_at
    if about.fault == "gone stopped":
        return "gone", "stopped"
    if age_ms > GONE_AFTER_BEATS * about.beat_ms:
        return "gone", "silent"
    if age_ms > LIVE_WITHIN_BEATS * about.beat_ms:
        return "stalled", "silent"
    if about.fault is not None:
        state, _, reason = about.fault.partition(" ")
        return state if state in _STATES else "stalled", reason or "unknown"
    return "live", None
