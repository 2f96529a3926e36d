"""What this machine says of itself, part by part: blocking calls, each for a probe's thread. Disks: disks.py.

On Linux it is read from /proc, which in a container is the host's, bound to another place; psutil would read more of it
than is wanted here, and of the network what is the container's own. Elsewhere, and for the sensors, psutil is asked.
Nothing of it takes being root, or a capability.

Every list has an end: of more than MOST_LISTED things of a kind the rest is left out and said once.
"""

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

from common.models import Cpu, DiskIo, Memory, NetworkInterface, Swap, Temperature
from services.collector.kernel_files import contents
from services.collector.procfs import (
    parse_core_times,
    parse_disk_stats,
    parse_load,
    parse_memory,
    parse_net_dev,
    parse_uptime_sec,
)
from services.collector.rates import CoreTimes, Counters, CpuShares, Rates

logger = logging.getLogger(__name__)

MOST_LISTED = 64
"""Disks, interfaces, sensors each. A machine with more has something that makes them by the hundred; a message that
leaves every second must stay small."""

_MAX_NAME = 256

_LOOPBACK = "lo"
_SKIPPED_INTERFACES = ("veth",)
"""By prefix. Docker makes a veth pair for every container under a random name: they come and go by
the hundred, and their traffic is in their bridge's counters and in the containers' own usage."""

OWN_PROC = Path("/proc")

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
"""What the kernel counts CPU time in."""

_RECLAIMABLE = ("MemFree", "Buffers", "Cached", "SReclaimable")

T = TypeVar("T")


class CpuReading:
    """Use since the last call, so None at the first."""

    def __init__(self, proc: Path = OWN_PROC) -> None:
        self._proc = proc
        self._shares = CpuShares()

    def __call__(self) -> Cpu | None:
        use = self._shares.update(self._core_times())
        if use is None:
            return None
        return Cpu(
            percent=use.percent,
            per_core_percent=use.per_core_percent,
            cores=len(use.per_core_percent),
            load=parse_load(text_of(self._proc / "loadavg")) if psutil.LINUX else psutil.getloadavg(),
        )

    def _core_times(self) -> list[CoreTimes]:
        if psutil.LINUX:
            return parse_core_times(text_of(self._proc / "stat"), TICK_S)
        return [core_times(core._asdict()) for core in psutil.cpu_times(percpu=True)]


def core_times(spent: Mapping[str, float]) -> CoreTimes:
    """From psutil's seconds by kind. Pure."""
    idle_s = spent["idle"] + spent.get("iowait", 0.0)
    return CoreTimes(busy_s=sum(spent.values()) - idle_s, idle_s=idle_s)


def read_memory(proc: Path = OWN_PROC) -> Memory:
    if psutil.LINUX:
        return memory_of(parse_memory(text_of(proc / "meminfo")))
    memory = psutil.virtual_memory()
    return Memory(
        total_bytes=memory.total, used_bytes=memory.used, available_bytes=memory.available, percent=memory.percent
    )


def memory_of(amounts: Mapping[str, int]) -> Memory:
    """What is in use is what a program could not have, as `free` has it. Pure."""
    total, free = amounts["MemTotal"], amounts.get("MemFree", 0)
    # Kernels before 3.14 do not estimate it, and in LXC it may be the host's.
    available = amounts.get("MemAvailable") or sum(amounts.get(name, 0) for name in _RECLAIMABLE)
    available = min(available if available <= total else free, total)
    used = total - available
    return Memory(total_bytes=total, used_bytes=used, available_bytes=available, percent=round(100 * used / total, 1))


def read_swap(proc: Path = OWN_PROC) -> Swap:
    if psutil.LINUX:
        amounts = parse_memory(text_of(proc / "meminfo"))
        total = amounts.get("SwapTotal", 0)
        used = max(0, total - amounts.get("SwapFree", 0))
        return Swap(total_bytes=total, used_bytes=used, percent=round(100 * used / total, 1) if total else 0.0)
    swap = psutil.swap_memory()
    return Swap(total_bytes=swap.total, used_bytes=swap.used, percent=swap.percent)


class DiskIoReading:
    """Bytes moved since the last call, of all physical disks together; None at the first."""

    def __init__(self, proc: Path = OWN_PROC) -> None:
        self._proc = proc
        self._rates = Rates()
        self._is_disk: dict[str, bool] = {}

    def __call__(self) -> DiskIo | None:
        counters = parse_disk_stats(text_of(self._proc / "diskstats")) if psutil.LINUX else {}
        disks = {name: moved for name, moved in counters.items() if self._counts(name)}
        if not disks:  # no Linux, or one with virtual devices only
            whole = psutil.disk_io_counters(perdisk=False, nowrap=False)
            disks = {"all": (whole.read_bytes, whole.write_bytes)} if whole else {}
        rates = self._rates.update(time.monotonic(), disks)
        if disks and not rates:
            return None
        return DiskIo(
            read_bytes_per_sec=round(sum(rate.incoming for rate in rates.values()), 1),
            write_bytes_per_sec=round(sum(rate.outgoing for rate in rates.values()), 1),
        )

    def _counts(self, name: str) -> bool:
        """Whether it is a disk that exists. What partitions, loops, RAID and volumes on it move is counted there."""
        if name not in self._is_disk:
            if len(self._is_disk) > 4096:
                self._is_disk.clear()
            self._is_disk[name] = os.path.exists(f"/sys/block/{name.replace('/', '!')}/device")
        return self._is_disk[name]


class NetworkReading:
    """Bytes moved since the last call by each interface, but the loopback and what containers are plugged in with. An
    interface appears at its second reading."""

    def __init__(self, proc: Path = OWN_PROC) -> None:
        # `net` is a link to the reader's own network; where /proc is the host's, its first process has the host's.
        self._net_dev = proc / "net/dev" if proc == OWN_PROC else proc / "1/net/dev"
        self._rates = Rates()

    def __call__(self) -> tuple[NetworkInterface, ...]:
        counters = {name: moved for name, moved in self._counters().items() if name != _LOOPBACK}
        rates = self._rates.update(time.monotonic(), counters)
        return tuple(
            NetworkInterface(interface=printable(name), rx_bytes_per_sec=rate.incoming, tx_bytes_per_sec=rate.outgoing)
            for name, rate in bounded(sorted(rates.items()), "network interfaces")
        )

    def _counters(self) -> Mapping[str, Counters]:
        if psutil.LINUX:
            return parse_net_dev(text_of(self._net_dev), _SKIPPED_INTERFACES)
        interfaces = psutil.net_io_counters(pernic=True, nowrap=False)
        return {
            name: (interface.bytes_recv, interface.bytes_sent)
            for name, interface in interfaces.items()
            if not name.startswith(_SKIPPED_INTERFACES)
        }


def read_temperatures() -> tuple[Temperature, ...]:
    """Every sensor that has a number to say; none on machines without any, such as most virtual ones."""
    read = getattr(psutil, "sensors_temperatures", None)  # not everywhere
    sensors = [
        Temperature(sensor=printable(f"{chip} {sensor.label}".strip()), celsius=round(sensor.current, 1))
        for chip, sensors in sorted((read() if read else {}).items())
        for sensor in sensors
        if sensor.current is not None and math.isfinite(sensor.current)
    ]
    return tuple(bounded(sensors, "temperature sensors"))


def read_uptime_sec(proc: Path = OWN_PROC) -> float:
    """Since the machine was started, sleep included."""
    if psutil.LINUX:
        return parse_uptime_sec(text_of(proc / "uptime"))
    return round(max(0.0, time.time() - psutil.boot_time()), 1)


def read_processes(proc: Path = OWN_PROC) -> int:
    """Raises PermissionError where others' processes are hidden: the few that are left would pass for all."""
    if not psutil.LINUX:
        return len(psutil.pids())
    pids = [name for name in os.listdir(proc) if name.isdigit()]
    if "1" not in pids:
        raise PermissionError(f"{proc} hides other users' processes (hidepid): run this in the group that may see them")
    return len(pids)


def text_of(path: Path) -> str:
    """What procfs.py takes: any bytes, and line ends untouched."""
    return contents(path).decode("utf-8", "surrogateescape")


def printable(name: str) -> str:
    """A name that JSON can carry. Linux allows any bytes, which Python hands on as lone surrogates."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:_MAX_NAME]


_said_bounds: set[str] = set()


def bounded(things: Sequence[T], what: str) -> Sequence[T]:
    if len(things) > MOST_LISTED and what not in _said_bounds:
        _said_bounds.add(what)
        logger.warning("this host has %d %s: only %d of them are published", len(things), what, MOST_LISTED)
    return things[:MOST_LISTED]
