"""What psutil says of this machine, part by part: blocking calls, each for a probe's thread.

Every list has an end: of more than MOST_LISTED things of a kind the rest is left out and said once.
"""

import logging
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import psutil

from common.models import Cpu, Disk, DiskIo, Memory, NetworkInterface, Swap, Temperature
from services.collector.rates import CoreTimes, CpuShares, Rates

logger = logging.getLogger(__name__)

MOST_LISTED = 64
"""Disks, interfaces, sensors each. A machine with more has something that makes them by the hundred; a message that
leaves every second must stay small."""

_MAX_NAME = 256

IMAGE_FILE_SYSTEMS = frozenset({"squashfs", "iso9660", "udf", "erofs", "cramfs", "romfs"})
"""Read-only images: always full, and never of interest for it. Snap mounts one for each package."""

_SKIPPED_INTERFACES = ("veth",)
"""By prefix, beside the loopback. Docker makes a veth pair for every container under a random name: they come and go by
the hundred, and their traffic is in their bridge's counters and in the containers' own usage."""

T = TypeVar("T")


class CpuReading:
    """Use since the last call, so None at the first."""

    def __init__(self) -> None:
        self._shares = CpuShares()

    def __call__(self) -> Cpu | None:
        use = self._shares.update([core_times(core._asdict()) for core in psutil.cpu_times(percpu=True)])
        if use is None:
            return None
        return Cpu(
            percent=use.percent,
            per_core_percent=use.per_core_percent,
            cores=len(use.per_core_percent),
            load=psutil.getloadavg(),
        )


def core_times(spent: Mapping[str, float]) -> CoreTimes:
    """From /proc/stat's seconds by kind. Linux counts a guest's in `user` and `nice` too, and those of waiting for I/O
    beside `idle`. Pure."""
    idle_s = spent["idle"] + spent.get("iowait", 0.0)
    guest_s = spent.get("guest", 0.0) + spent.get("guest_nice", 0.0)
    return CoreTimes(busy_s=sum(spent.values()) - guest_s - idle_s, idle_s=idle_s)


def read_memory() -> Memory:
    memory = psutil.virtual_memory()
    return Memory(
        total_bytes=memory.total,
        used_bytes=memory.used,
        available_bytes=memory.available,
        percent=memory.percent,
    )


def read_swap() -> Swap:
    swap = psutil.swap_memory()
    return Swap(total_bytes=swap.total, used_bytes=swap.used, percent=swap.percent)


def read_disks() -> tuple[Disk, ...]:
    """The local file systems that hold data, one entry each.

    Left out: what the kernel makes up (proc, tmpfs, overlay, ...) and shares of other machines, which psutil tells from
    their `nodev` in /proc/filesystems. A share's space is its server's affair, and asking for it hangs with the server.
    """
    disks = []
    partitions = [Mounted(found.device, found.mountpoint, found.fstype) for found in psutil.disk_partitions(all=False)]
    for mount in one_mount_a_device(partitions):
        try:
            space = psutil.disk_usage(mount)
        except OSError:  # gone since, or not for us to see
            continue
        if space.total:
            disks.append(
                Disk(mount=printable(mount), total_bytes=space.total, used_bytes=space.used, percent=space.percent)
            )
    return tuple(bounded(disks, "disks"))


class Mounted(NamedTuple):
    device: str
    mount: str
    file_system: str


def one_mount_a_device(mounted: Iterable[Mounted]) -> list[str]:
    """Where each device is mounted, sorted: at its shortest path, for the others are bind mounts or subvolumes of the
    same space. A bind mount of a single file is none; telling that is the one look that this takes."""
    chosen: dict[str, str] = {}
    for device, mount, file_system in mounted:
        if file_system in IMAGE_FILE_SYSTEMS or not os.path.isdir(mount):
            continue
        known = chosen.get(device)
        if known is None or (len(mount), mount) < (len(known), known):
            chosen[device] = mount
    return sorted(chosen.values())


class DiskIoReading:
    """Bytes moved since the last call, of all physical disks together; None at the first."""

    def __init__(self) -> None:
        self._rates = Rates()
        self._is_disk: dict[str, bool] = {}

    def __call__(self) -> DiskIo | None:
        counters = psutil.disk_io_counters(perdisk=True, nowrap=False)
        disks = {name: (disk.read_bytes, disk.write_bytes) for name, disk in counters.items() if self._counts(name)}
        if counters and not disks:  # no Linux, or one with virtual devices only
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

    def __init__(self) -> None:
        self._rates = Rates()

    def __call__(self) -> tuple[NetworkInterface, ...]:
        counters = {
            name: (interface.bytes_recv, interface.bytes_sent)
            for name, interface in psutil.net_io_counters(pernic=True, nowrap=False).items()
            if name != "lo" and not name.startswith(_SKIPPED_INTERFACES)
        }
        rates = self._rates.update(time.monotonic(), counters)
        return tuple(
            NetworkInterface(interface=printable(name), rx_bytes_per_sec=rate.incoming, tx_bytes_per_sec=rate.outgoing)
            for name, rate in bounded(sorted(rates.items()), "network interfaces")
        )


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


def read_uptime_sec() -> float:
    """Since the machine was started, sleep included."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return round(time.clock_gettime(time.CLOCK_BOOTTIME), 1)
    return round(max(0.0, time.time() - psutil.boot_time()), 1)


def read_processes() -> int:
    return len(psutil.pids())


def printable(name: str) -> str:
    """A name that JSON can carry. Linux allows any bytes, which Python hands on as lone surrogates."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:_MAX_NAME]


_said_bounds: set[str] = set()


def bounded(things: Sequence[T], what: str) -> Sequence[T]:
    if len(things) > MOST_LISTED and what not in _said_bounds:
        _said_bounds.add(what)
        logger.warning("this host has %d %s: only %d of them are published", len(things), what, MOST_LISTED)
    return things[:MOST_LISTED]
