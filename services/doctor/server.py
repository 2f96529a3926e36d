"""What a Redis or Valkey says of itself, and whether that will do. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.doctor.finding import Finding

OLDEST = {"redis": (7, 0), "valkey": (8, 0)}
"""Sharded pub/sub came with Redis 7; Valkey is tested from 8 on."""

_NEARLY_FULL = 0.9
_SLOW_MS = 20.0
"""A round trip beyond this is felt: every action takes five of them."""

_DURABLE = "docs/OPERATIONS.md has the settings that a Redis of your own wants"


def judge_server(info: Mapping[str, Any], config: Mapping[str, str] | None) -> Iterator[Finding]:
    """`info` is its INFO, `config` what CONFIG GET tells of it; None where it does not tell."""
    yield _version(info)
    if info.get("role") not in {None, "master"}:
        yield Finding(
            "redis",
            "failed",
            f"it is a replica of {info.get('master_host')}:{info.get('master_port')}, which nobody can write to",
            "name the primary in FLEETCAST_REDIS_URL",
        )
    yield from _memory(info)
    yield from _durability(info, config)


def judge_replicas(info: Mapping[str, Any]) -> Finding:
    """Of a server that Sentinel is to replace when it fails."""
    replicas = _number(info, "connected_slaves")
    if not replicas:
        return Finding(
            "redis",
            "warning",
            "it has no replica: Sentinel has nothing to put in its place, and each step of an action waits in vain",
            "look at its replicas' logs: they should follow it",
        )
    return Finding("redis", "ok", f"{replicas} replica{'s' if replicas > 1 else ''} to take its place")


def judge_round_trip(median_ms: float) -> Finding:
    if median_ms > _SLOW_MS:
        return Finding(
            "redis",
            "warning",
            f"a round trip takes {median_ms:.0f} ms",
            "put it nearer, or find out what keeps it busy: redis-cli --latency, SLOWLOG GET",
        )
    return Finding("redis", "ok", f"a round trip takes {median_ms:.1f} ms")


def _version(info: Mapping[str, Any]) -> Finding:
    name = "valkey" if "valkey_version" in info else "redis"
    said = str(info.get(f"{name}_version", ""))
    found = re.match(r"(\d+)\.(\d+)", said)
    oldest = OLDEST[name]
    words = f"{name.capitalize()} {said or 'of an unknown version'}"
    if found and (int(found[1]), int(found[2])) < oldest:
        return Finding(
            "redis", "failed", f"{words} is too old", f"use Redis {OLDEST['redis'][0]} or Valkey {OLDEST['valkey'][0]}"
        )
    return Finding("redis", "ok" if found else "note", words)


def _memory(info: Mapping[str, Any]) -> Iterator[Finding]:
    most, used = _number(info, "maxmemory"), _number(info, "used_memory")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and most:
        yield Finding(
            "redis",
            "warning",
            f"where it is full it throws keys away ({policy}), the outcomes of actions among them",
            "set maxmemory-policy noeviction, or take a Redis of its own for Fleetcast",
        )
    if not most:
        yield Finding(
            "redis",
            "note",
            f"{used / 1e6:.0f} MB used, without a bound",
            "set maxmemory, so that a mistake elsewhere does not take the machine's memory",
        )
    elif used > _NEARLY_FULL * most:
        yield Finding(
            "redis",
            "warning",
            f"{used / 1e6:.0f} of {most / 1e6:.0f} MB used: soon it refuses to write",
            "raise maxmemory; docs/OPERATIONS.md says how much a host takes",
        )
    else:
        yield Finding("redis", "ok", f"{used / 1e6:.0f} of {most / 1e6:.0f} MB used")


def _durability(info: Mapping[str, Any], config: Mapping[str, str] | None) -> Iterator[Finding]:
    if not _number(info, "aof_enabled"):
        yield Finding(
            "redis",
            "warning",
            "it forgets everything when it ends: actions that were under way may then be done without an outcome",
            f"set appendonly yes and appendfsync always; {_DURABLE}",
        )
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield Finding(
            "redis", "failed", "it cannot write its append-only file", "look at its log: its disk is full, or broken"
        )
    elif config is None:
        yield Finding("redis", "note", "whether it syncs before it answers cannot be told: CONFIG is not allowed here")
    elif config.get("appendfsync") != "always":
        yield Finding(
            "redis",
            "warning",
            f"it answers before it has written (appendfsync {config.get('appendfsync')}): killed at the wrong moment, "
            "it forgets that an action was begun",
            f"set appendfsync always; {_DURABLE}",
        )
    else:
        yield Finding("redis", "ok", "what it has answered it still knows after a crash")


def _number(info: Mapping[str, Any], name: str) -> int:
    try:
        return int(info.get(name, 0))
    except (TypeError, ValueError):
        return 0
