"""CPU time and memory of processes, and which of them are the Docker engine's. Linux only."""

import os
import socket
import struct
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.fanout_parts.machine import rss_bytes

Groups = Mapping[str, Collection[int]]
"""Name → the processes that are counted under it."""

_CPU_CLOCK = 2


class NotReadyError(Exception):
    """A part of the benchmark is not there, or not in time."""


def cpu_seconds(pid: int) -> float | None:
    """User and system time of a process so far, all its threads, those that have ended too; None where it is gone.

    The sum of utime and stime in /proc/<pid>/stat, from the process' own clock instead (clock_getcpuclockid(3)): that
    file counts in steps of 10 ms, and of a hundred shims each one's step would be an error of its own.
    """
    try:
        return time.clock_gettime_ns(~pid << 3 | _CPU_CLOCK) / 1e9
    except OSError:
        return None


def tree(pid: int) -> list[int]:
    """The process and what it has started, as far as it is there."""
    with suppress(psutil.NoSuchProcess):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


def memory_bytes(pid: int) -> int:
    """Resident, of the process and what it has started."""
    with suppress(OSError):
        return rss_bytes(tree(pid))
    return 0


@dataclass(frozen=True)
class Reading:
    """How much CPU time everybody had used by then."""

    at_s: float
    used_s: Mapping[str, Mapping[int, float]]
    """Group → process → seconds."""
    machine_s: float
    """Of everything on this machine."""

    def percent_since(self, before: "Reading") -> dict[str, float]:
        """Of one core, by group. A process that was not there before counts with all it has used, one that is gone not
        at all."""
        took_s = self.at_s - before.at_s
        return {
            group: sum(used_s - before.used_s[group].get(pid, 0.0) for pid, used_s in now.items()) / took_s * 100
            for group, now in self.used_s.items()
        }

    def machine_percent_since(self, before: "Reading") -> float:
        return (self.machine_s - before.machine_s) / (self.at_s - before.at_s) * 100


def read(groups: Groups) -> Reading:
    used = {
        group: {pid: used_s for pid in pids if (used_s := cpu_seconds(pid)) is not None}
        for group, pids in groups.items()
    }
    times = psutil.cpu_times()
    return Reading(time.monotonic(), used, sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


class EngineProcesses:
    """dockerd, its containerd, and the shims of its containers. Others on this machine are none of them."""

    def __init__(self, socket_path: str) -> None:
        """Raises NotReadyError where it cannot be told which ones they are."""
        self.dockerd = _dockerd(socket_path)
        children = psutil.Process(self.dockerd).children()
        own = [child.pid for child in children if child.name() == "containerd"]
        self.containerd = _only(own or list(_named("containerd")), "containerd")

    def groups(self, container_ids: Collection[str]) -> dict[str, Collection[int]]:
        """`container_ids`: all that run. A shim is no child of anybody; its command line says whose it is."""
        shims = [pid for pid in _named("containerd-shim") if _option(pid, b"-id") in container_ids]
        return {"dockerd": [self.dockerd], "containerd": [self.containerd], "shims": shims}


def _dockerd(socket_path: str) -> int:
    """The one that listens on this socket; where systemd does that for it, the only one."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(socket_path)
        except OSError as error:
            raise NotReadyError(f"no Docker engine at {socket_path}: {error.strerror}") from error
        pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid if pid in _named("dockerd") else _only(list(_named("dockerd")), "dockerd")


def _only(pids: list[int], name: str) -> int:
    if len(pids) != 1:
        raise NotReadyError(f"{len(pids)} processes are called {name}: which one's CPU to count cannot be told")
    return pids[0]


def _named(name: str) -> Iterator[int]:
    """Processes whose name begins so (a shim's goes on with its version), containerd's without its shims."""
    for directory in _numbered():
        with suppress(OSError):
            found = (directory / "comm").read_text().strip()
            if found == name or (name.endswith("-shim") and found.startswith(name)):
                yield int(directory.name)


def _numbered() -> Iterable[Path]:
    return (Path("/proc", entry) for entry in os.listdir("/proc") if entry.isdigit())


def _option(pid: int, name: bytes) -> str | None:
    with suppress(OSError, ValueError, IndexError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return words[words.index(name) + 1].decode(errors="replace")
    return None
