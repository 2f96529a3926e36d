"""Samples this host: what /proc tells in a moment in one thread, and each part that takes long or may hang in a thread
of its own, all with a deadline.

What moves slowly (the disks' space, the sensors, how many processes there are) is read less often: its last value
stands meanwhile, and is not stale. A part that cannot be read in time keeps its last value and is named in `stale`.
Before it has any: lists are empty, amounts 0, and the mark says that they were not read; but without CPU and memory
there is no sample, for a 0 there would pass for an idle machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import psutil

from common.models import Cpu, Disk, DiskIo, HostMetrics, Memory, NetworkInterface, Swap, Temperature
from services.collector.disks import DisksReading
from services.collector.probe import Part, Reader
from services.collector.readings import (
    CpuReading,
    DiskIoReading,
    NetworkReading,
    read_memory,
    read_processes,
    read_swap,
    read_temperatures,
    read_uptime_sec,
)

PROBE_DEADLINE_S = 1.0
SLOW_EVERY_S = 10.0

_NO_SWAP = Swap(total_bytes=0, used_bytes=0, percent=0.0)
_NO_DISK_IO = DiskIo(read_bytes_per_sec=0.0, write_bytes_per_sec=0.0)


@dataclass
class Readings:
    """How each part is read: blocking calls that return its value, or None where that takes another call."""

    cpu: Callable[[], Cpu | None] = field(default_factory=CpuReading)
    memory: Callable[[], Memory | None] = read_memory
    swap: Callable[[], Swap | None] = read_swap
    disks: Callable[[], tuple[Disk, ...] | None] = field(default_factory=DisksReading)
    disk_io: Callable[[], DiskIo | None] = field(default_factory=DiskIoReading)
    network: Callable[[], tuple[NetworkInterface, ...] | None] = field(default_factory=NetworkReading)
    temperatures: Callable[[], tuple[Temperature, ...] | None] = read_temperatures
    uptime_sec: Callable[[], float | None] = read_uptime_sec
    processes: Callable[[], int | None] = read_processes

    @classmethod
    def of_host(cls, proc: Path, root: Path) -> Self:
        """Of the host whose /proc and root file system are bound to these places. At `/proc` and `/` it is this
        machine, as without. For the whole process: psutil knows one /proc."""
        psutil.PROCFS_PATH = str(proc)
        return cls(
            cpu=CpuReading(proc),
            memory=partial(read_memory, proc),
            swap=partial(read_swap, proc),
            disk_io=DiskIoReading(proc),
            disks=DisksReading(proc, root),
            network=NetworkReading(proc),
            uptime_sec=partial(read_uptime_sec, proc),
            processes=partial(read_processes, proc),
        )


class HostSampler:
    """One a process: its readers know which of their reads hang."""

    def __init__(
        self,
        readings: Readings | None = None,
        deadline_s: float = PROBE_DEADLINE_S,
        slow_every_s: float = SLOW_EVERY_S,
    ) -> None:
        readings = readings or Readings()
        self._cpu = Part("cpu", readings.cpu)
        self._memory = Part("memory", readings.memory)
        self._swap = Part("swap", readings.swap)
        self._disks = Part("disks", readings.disks)
        self._disk_io = Part("diskIo", readings.disk_io)
        self._network = Part("network", readings.network)
        self._temperatures = Part("temperatures", readings.temperatures)
        self._uptime_sec = Part("uptimeSec", readings.uptime_sec)
        self._processes = Part("processes", readings.processes)
        self._parts: tuple[Part[Any], ...] = (
            self._cpu,
            self._memory,
            self._swap,
            self._disks,
            self._disk_io,
            self._network,
            self._temperatures,
            self._uptime_sec,
            self._processes,
        )
        quick = (self._cpu, self._memory, self._swap, self._disk_io, self._network, self._uptime_sec)
        slow = (self._disks, self._temperatures, self._processes)
        self._readers = (Reader(quick, deadline_s), *(Reader([part], deadline_s, slow_every_s) for part in slow))

    async def sample(self) -> HostMetrics | None:
        """Within the deadline. None while CPU or memory have not been read yet, and so always at the first call, which
        only takes the counters that the second one needs."""
        for reader in self._readers:
            reader.ask()
        for reader in self._readers:
            await reader.answer()
        if self._cpu.value is None or self._memory.value is None:
            return None
        return HostMetrics(
            cpu=self._cpu.value,
            memory=self._memory.value,
            swap=self._swap.value or _NO_SWAP,
            disks=self._disks.value or (),
            disk_io=self._disk_io.value or _NO_DISK_IO,
            network=self._network.value or (),
            temperatures=self._temperatures.value or (),
            uptime_sec=self._uptime_sec.value or 0.0,
            processes=self._processes.value or 0,
            stale=tuple(part.part for part in self._parts if not part.fresh),
        )
