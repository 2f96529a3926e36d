"""One simulated host: how it is at a time, and what happens on it until then. Pure: seeded, time comes as an argument.

What happens is the same however often it is asked; what it is made from is its seed, its id and the time it began at.
A host has a size and a temper (idle, usual, busy), follows the day, has bursts. Its disks fill and are cleaned, and its
containers restart, crash, fall ill and are deployed anew, some by running out of memory.
"""

import heapq
import math
from random import Random

from common.models import (
    Container,
    Cpu,
    Disk,
    DiskIo,
    HostMetrics,
    Memory,
    NetworkInterface,
    Process,
    Processes,
    Swap,
    Temperature,
    Usage,
)
from services.collector.engine_events import EngineEvent
from services.collector.simulator.catalogue import GIB, MIB, services
from services.collector.simulator.container import (
    DAY_MS,
    Script,
    SimulatedContainer,
    crash,
    deploy,
    freeze,
    out_of_memory,
    restart,
    sicken,
)
from services.collector.simulator.noise import Noise, daily_wave

CATCH_UP_MS = 60_000
"""A process that slept for longer than this goes on where it was: nothing has happened meanwhile."""

_TOP = 10
_INCIDENTS = (crash, restart, sicken, deploy, freeze)
_OFTEN = (3, 3, 4, 3, 1)
_LEAK_LOOKED_AT_MS = 60_000


class SimulatedHost:
    """Of a fleet with one `noise`, so that a thousand hosts share its tables."""

    def __init__(
        self, seed: int, host: str, container_count: int, at_ms: int, noise: Noise, incident_every_s: float = 600.0
    ) -> None:
        """`incident_every_s`: seconds between two incidents, on average."""
        self.name = host
        self._random = random = Random(f"{seed} {host}")  # noqa: S311 - nothing secret
        self._noise = noise
        self._incident_every_s = incident_every_s
        self._told: list[EngineEvent] = []
        self._agenda: list[tuple[int, int, Script]] = []
        self._scripts = 0
        self._containers = [
            SimulatedContainer(f"{seed} {host}", project, service, number, random, at_ms, self._told.append)
            for project, service, number in services(container_count)
        ]
        self._containers.sort(key=lambda container: container.name)

        self._cores = random.choice((4, 8, 8, 16, 16, 32))
        self._temper = random.choice((0.04, 0.15, 0.25, 0.25, 0.35, 0.6))
        self._peak_hour = random.uniform(8, 20)
        self._offset = random.randrange(1 << 20)
        self._shares = sum(one.service.cpu * one.size for one in self._containers) or 1.0
        needed = sum(one.limit_bytes or one.service.memory_bytes * one.size for one in self._containers)
        self._memory_bytes = GIB << max(2, math.ceil(math.log2((needed + 2 * GIB) / GIB)))
        self._swap_bytes = random.choice((0, 2 * GIB))
        self._booted_at = at_ms - random.randint(DAY_MS, 200 * DAY_MS)
        self._has_sensors = random.random() < 0.6
        self._interface = random.choice(("eth0", "ens3", "enp1s0"))
        self._disks = [("/", 40 * GIB), ("/var/lib/docker", random.choice((100, 250, 500)) * GIB)]
        self._disk_days = [random.uniform(3, 30) for _ in self._disks]

        if self._containers:
            self._begin(self._live(), at_ms)
        for container in self._containers:
            if container.service.leaks:
                self._begin(self._watch_leak(container), at_ms)
        self._told.clear()

    # What happens

    @property
    def next_ms(self) -> int | None:
        """When something happens next."""
        return self._agenda[0][0] if self._agenda else None

    def advance(self, now_ms: int) -> list[EngineEvent]:
        """Everything that happens until then, as an engine would tell it, in its order."""
        if self._agenda and (slept_ms := now_ms - self._agenda[0][0]) > CATCH_UP_MS:
            self._agenda = [(due + slept_ms, number, script) for due, number, script in self._agenda]
        while self._agenda and self._agenda[0][0] <= now_ms:
            due, _, script = heapq.heappop(self._agenda)
            self._go_on(script, due)
        told = self._told.copy()
        self._told.clear()
        return told

    def _begin(self, script: Script, at: int) -> None:
        """Up to its first wait."""
        self._wait(script, at, next(script, None))

    def _go_on(self, script: Script, at: int) -> None:
        try:
            wait_ms = script.send(at)
        except StopIteration:
            return
        self._wait(script, at, wait_ms)

    def _wait(self, script: Script, at: int, wait_ms: int | None) -> None:
        if wait_ms is not None:
            self._scripts += 1
            heapq.heappush(self._agenda, (at + wait_ms, self._scripts, script))

    def _live(self) -> Script:
        """Incident after incident."""
        while True:
            at = yield 1 + round(self._random.expovariate(1 / (1000 * self._incident_every_s)))
            incident = self._random.choices(_INCIDENTS, _OFTEN)[0]
            able = [
                one
                for one in self._containers
                if one.state == "running" and not one.is_busy and (incident is not sicken or one.health == "healthy")
            ]
            if able:
                container = self._random.choice(able)
                self._begin(self._alone(container, incident(container, self._random, at)), at)

    def _watch_leak(self, container: SimulatedContainer) -> Script:
        """Ends what has taken all that it may have."""
        wait_ms = 0
        while True:
            at = yield max(_LEAK_LOOKED_AT_MS, wait_ms)
            full_at = (container.started_at or at) + container.full_after_ms
            if container.state == "running" and not container.is_busy and at >= full_at:
                self._begin(self._alone(container, out_of_memory(container, self._random, at)), at)
            wait_ms = full_at - at

    def _alone(self, container: SimulatedContainer, incident: Script) -> Script:
        """An incident, while which no other one befalls its container."""
        container.is_busy = True
        yield from incident
        container.is_busy = False

    # How it is

    def containers(self, now_ms: int) -> tuple[Container, ...]:
        """In order of their names, as the collector has them."""
        return tuple([container.describe(now_ms) for container in self._containers])

    def usage(self, now_ms: int) -> Usage:
        """Of the running ones."""
        running = [container for container in self._containers if container.is_running]
        cpu = self._cpu(running, now_ms)
        noise = self._noise
        traffic = [
            percent * one.service.traffic * noise.bursty(now_ms, 7 * one.offset) * 20_000
            for one, percent in zip(running, cpu, strict=True)
        ]
        disk = [
            percent * one.service.disk * noise.bursty(now_ms, 13 * one.offset) * 40_000
            for one, percent in zip(running, cpu, strict=True)
        ]
        return Usage(
            cores=self._cores,
            ids=tuple([one.id for one in running]),
            cpu_percent=tuple(cpu),
            memory_bytes=tuple(self._memory(running, now_ms)),
            memory_limit_bytes=tuple([one.limit_bytes or self._memory_bytes for one in running]),
            rx_bytes_per_sec=tuple([round(0.4 * rate, 1) for rate in traffic]),
            tx_bytes_per_sec=tuple([round(rate, 1) for rate in traffic]),
            read_bytes_per_sec=tuple([round(0.3 * rate, 1) for rate in disk]),
            write_bytes_per_sec=tuple([round(rate, 1) for rate in disk]),
            pids=tuple([one.service.threads for one in running]),
        )

    def _cpu(self, running: list[SimulatedContainer], now_ms: int) -> list[float]:
        """Percent of one core, of each; together never more than the host has."""
        bursty = self._noise.bursty
        scale = 100 * self._cores * self._level(now_ms) / self._shares
        taken = [
            0.0 if one.state == "paused" else one.service.cpu * one.size * scale * bursty(now_ms, one.offset)
            for one in running
        ]
        fits = min(1.0, 94.0 * self._cores / (sum(taken) or 1.0))
        return [round(fits * percent, 1) for percent in taken]

    def _level(self, now_ms: int) -> float:
        """How much of the host is at work, 0 to 1 and above where it is overloaded."""
        return self._temper * daily_wave(now_ms, self._peak_hour) * self._noise.calm(now_ms, self._offset)

    def _memory(self, running: list[SimulatedContainer], now_ms: int) -> list[int]:
        calm = self._noise.calm
        return [one.memory_bytes(now_ms, calm(now_ms, 3 * one.offset)) for one in running]

    def metrics(self, now_ms: int) -> HostMetrics:
        running = [container for container in self._containers if container.is_running]
        calm, bursty = self._noise.calm, self._noise.bursty
        by_containers = sum(self._cpu(running, now_ms)) / self._cores
        per_core, percent = self._spread(min(99.0, by_containers + 1.5 * calm(now_ms, self._offset + 5)), now_ms)
        used = round(sum(self._memory(running, now_ms)) + 700 * MIB * calm(now_ms, self._offset + 9))
        used = min(used, self._memory_bytes)
        swapped = round(self._swap_bytes * 0.1 * min(2.0, calm(now_ms, self._offset + 11)))
        work = by_containers * self._cores
        return HostMetrics(
            cpu=Cpu(percent=percent, per_core_percent=per_core, cores=self._cores, load=self._load(percent)),
            memory=Memory(
                total_bytes=self._memory_bytes,
                used_bytes=used,
                available_bytes=self._memory_bytes - used,
                percent=round(100 * used / self._memory_bytes, 1),
            ),
            swap=Swap(
                total_bytes=self._swap_bytes,
                used_bytes=swapped,
                percent=round(100 * swapped / self._swap_bytes, 1) if self._swap_bytes else 0.0,
            ),
            disks=self._filled(now_ms),
            disk_io=DiskIo(
                read_bytes_per_sec=round(work * 12_000 * bursty(now_ms, self._offset + 17), 1),
                write_bytes_per_sec=round(work * 40_000 * bursty(now_ms, self._offset + 19), 1),
            ),
            network=(
                NetworkInterface(
                    interface=self._interface,
                    rx_bytes_per_sec=round(4_000 + work * 15_000 * bursty(now_ms, self._offset + 23), 1),
                    tx_bytes_per_sec=round(3_000 + work * 30_000 * bursty(now_ms, self._offset + 29), 1),
                ),
            ),
            temperatures=(Temperature(sensor="coretemp Package id 0", celsius=round(38 + 0.4 * percent, 1)),)
            if self._has_sensors
            else (),
            uptime_sec=round(max(0, now_ms - self._booted_at) / 1000, 1),
            processes=170 + sum([one.service.threads for one in running]),
            stale=(),
        )

    def _spread(self, percent: float, now_ms: int) -> tuple[tuple[float, ...], float]:
        """Over the cores, unevenly; and their mean, which is what the host is said to use."""
        calm = self._noise.calm
        weights = [calm(now_ms, self._offset + 101 * core) for core in range(self._cores)]
        factor = percent * self._cores / sum(weights)
        per_core = tuple([round(min(100.0, factor * weight), 1) for weight in weights])
        return per_core, round(sum(per_core) / self._cores, 1)

    def _load(self, percent: float) -> tuple[float, float, float]:
        """The longer the mean, the closer to what is usual here."""
        usual = 0.675 * self._temper * self._cores
        now = percent / 100 * self._cores
        return round(0.8 * now + 0.2 * usual, 2), round(0.4 * now + 0.6 * usual, 2), round(0.1 * now + 0.9 * usual, 2)

    def _filled(self, now_ms: int) -> tuple[Disk, ...]:
        """They fill over days, until somebody cleans up."""
        disks = []
        for (mount, total), days in zip(self._disks, self._disk_days, strict=True):
            used = round(total * (0.35 + 0.55 * (now_ms / (days * DAY_MS) % 1)))
            disks.append(Disk(mount=mount, total_bytes=total, used_bytes=used, percent=round(100 * used / total, 1)))
        return tuple(disks)

    def processes(self, now_ms: int) -> Processes:
        """The main processes of its containers, and the engine's."""
        running = [container for container in self._containers if container.is_running]
        found = [
            Process(
                pid=2_000 + one.offset % 60_000,
                name=one.service.process,
                cpu_percent=percent,
                memory_bytes=memory,
                container_id=one.id,
            )
            for one, percent, memory in zip(
                running, self._cpu(running, now_ms), self._memory(running, now_ms), strict=True
            )
        ]
        for pid, name, memory in ((812, "dockerd", 96 * MIB), (640, "containerd", 58 * MIB), (1, "systemd", 13 * MIB)):
            percent = round(0.6 * self._noise.calm(now_ms, self._offset + pid), 1)
            found.append(Process(pid=pid, name=name, cpu_percent=percent, memory_bytes=memory, container_id=None))
        return Processes(
            by_cpu=tuple(sorted(found, key=lambda process: -process.cpu_percent)[:_TOP]),
            by_memory=tuple(sorted(found, key=lambda process: -process.memory_bytes)[:_TOP]),
        )
