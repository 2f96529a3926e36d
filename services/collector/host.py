"""Samples this host: every part at the same time, each by a probe with a deadline.

A part that cannot be read in time keeps its last value and is named in `stale`. Before it has any: lists are empty,
amounts 0, and the mark says that they were not read; but without CPU and memory there is no sample, for a 0 there would
pass for an idle machine.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

import psutil

from common.models import Cpu, Disk, DiskIo, HostMetrics, Memory, NetworkInterface, Swap, Temperature
from services.collector.disks import DisksReading
from services.collector.probe import Probe
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
            disks=DisksReading(proc, root),
            network=NetworkReading(proc),
            uptime_sec=partial(read_uptime_sec, proc),
            processes=partial(read_processes, proc),
        )


class HostSampler:
    """One a process: its probes know which of their reads hang."""

    def __init__(self, readings: Readings | None = None, deadline_s: float = PROBE_DEADLINE_S) -> None:
        readings = readings or Readings()
        self._cpu = Probe("cpu", readings.cpu, deadline_s)
        self._memory = Probe("memory", readings.memory, deadline_s)
        self._swap = Probe("swap", readings.swap, deadline_s)
        self._disks = Probe("disks", readings.disks, deadline_s)
        self._disk_io = Probe("diskIo", readings.disk_io, deadline_s)
        self._network = Probe("network", readings.network, deadline_s)
        self._temperatures = Probe("temperatures", readings.temperatures, deadline_s)
        self._uptime_sec = Probe("uptimeSec", readings.uptime_sec, deadline_s)
        self._processes = Probe("processes", readings.processes, deadline_s)

    async def sample(self) -> HostMetrics | None:
        """Within the deadline. None while CPU or memory have not been read yet, and so always at the first call, which
        only takes the counters that the second one needs."""
        probes = (
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
        async with asyncio.TaskGroup() as reads:
            for probe in probes:
                reads.create_task(probe.refresh(), name=f"probe {probe.part}")
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
            stale=tuple(probe.part for probe in probes if not probe.fresh),
        )
