"""Who works for this host, by what stands in Redis. Pure but for the name of this machine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from common.keys import Worker
from common.protocol import UsageSource
from common.worker import machine_id
from services.doctor.finding import Finding, Level

_START = {
    "metrics": "fleetcast collector metrics",
    "containers": "fleetcast collector containers",
    "executor": "fleetcast executor",
}

_FAULTS = {
    "docker-unreachable": "it finds no Docker engine: see what is said of docker here",
    "docker-too-old": "its Docker engine is too old: update Docker",
    "docker-too-new": "its Docker engine is too new: update Fleetcast",
    "insecure-unsigned": "it does actions that nobody has signed: give it the edges' public key",
    "overdue": "its job hangs: look at its log, and restart it",
}


@dataclass(frozen=True)
class Holding:
    """What Redis knows of one worker of the host."""

    worker: Worker
    machine: str | None
    """Whose lease it is; None where nobody holds it."""
    seen_ago_ms: int | None
    """None: never."""
    fault: str | None = None
    """What keeps it from its job: a link's state and the reason."""
    usage: UsageSource | None = None
    """Where it has from what containers use."""


def judge_host(host_id: str, holdings: Sequence[Holding], machine: str | None = None) -> Iterator[Finding]:
    machine = machine or machine_id()
    others = [held.worker for held in holdings if held.machine not in {None, machine}]
    if others:
        yield Finding(
            "host",
            "failed",
            f"another machine works as {host_id!r}: {', '.join(others)}",
            "give this one its own name with FLEETCAST_HOST_ID, where that is not this one before its last reboot",
        )
        return
    working = [held for held in holdings if held.machine is not None]
    if not working:
        yield Finding("host", "note", f"no part of Fleetcast works for this machine, {host_id!r}, just now")
        return
    for held in holdings:
        yield _judge_worker(host_id, held)


def _judge_worker(host_id: str, held: Holding) -> Finding:
    name = f"{held.worker} of {host_id!r}"
    if held.machine is None:
        start = f"start it with `{_START[held.worker]}`"
        if held.seen_ago_ms is None or held.fault == "gone stopped":
            return Finding("host", "note", f"{name}: not at work", start)
        silent = f"{name}: not heard of for {held.seen_ago_ms / 1000:.0f} s, and it did not say that it would end"
        return Finding("host", "warning", silent, f"look at its log, or {start}")
    if held.fault is None:
        if held.usage == "stats":
            return Finding(
                "host",
                "warning",
                f"{name}: at work, but it asks the engine what containers use, which costs that thirty times as much",
                "in a container, bind the host's /proc and /sys/fs/cgroup as compose.yaml does; else run it as root",
            )
        return Finding("host", "ok", f"{name}: at work")
    state, _, reason = held.fault.partition(" ")
    level: Level = "warning" if state == "live" else "failed"
    return Finding("host", level, f"{name}: {reason or state}", _FAULTS.get(reason, "look at its log"))
