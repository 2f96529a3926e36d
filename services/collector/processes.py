"""The processes that use the most: sampled only while somebody watches them.

One read a process and round, for of each its time and memory have to be known to tell who is largest; its container is
looked up only where it is listed. Processes come and go meanwhile, which is no fault.
"""

import asyncio
import heapq
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from common.models import Process, Processes
from common.protocol import ProcessesMessage
from common.tenure import StatePublisher, Tenure
from common.whereabouts import id_by_cgroup
from services.collector.messages import encoder
from services.collector.pace import Pace
from services.collector.probe import Probe
from services.collector.procfs import ProcessStat, parse_process_stat, parse_uptime_sec
from services.collector.readings import OWN_PROC, TICK_S, printable, text_of

logger = logging.getLogger(__name__)

LISTED = 10
MOST_READ = 10_000
"""A machine with more has something that makes them by the thousand; a round must end."""

DEADLINE_S = 5.0
BASELINE_S = 0.5
"""Between the two rounds that a first list takes: long enough for honest numbers, and soon enough for who waits."""

OLDEST_BASELINE_S = 10.0
"""A list says what is going on, not what has been since somebody last looked."""

MOST_SHARE = 0.03
"""Of a core: where a round takes longer, the next one comes later."""

_STAT_BYTES = 2048
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_HIDDEN = "{} hides other users' processes (hidepid): run this in the group that may see them"


class Load(NamedTuple):
    """What a process uses; sorts by it."""

    cpu_percent: float
    memory_bytes: int
    process: ProcessStat


class ProcessLoads:
    """The processes' CPU, from the times that they have had so far. Pure."""

    def __init__(self) -> None:
        self._baseline: Mapping[tuple[int, int], int] = {}
        self._at_s = -math.inf
        self._uptime_s = math.inf

    def update(self, at_s: float, uptime_s: float, found: Iterable[ProcessStat], oldest_s: float) -> list[Load] | None:
        """None where there is no baseline of the last `oldest_s` yet.

        `at_s` is monotonic; `uptime_s`, on the clock of the processes' starts, tells those that were started since the
        last round, whose time so far was all spent since then. Any other one without a baseline is left out until the
        next round.
        """
        before, elapsed_s, born_after_s = self._baseline, at_s - self._at_s, self._uptime_s
        found = list(found)
        self._baseline = {(process.pid, process.started_ticks): process.cpu_ticks for process in found}
        self._at_s, self._uptime_s = at_s, uptime_s
        if not 0 < elapsed_s <= oldest_s:
            return None
        loads = []
        for process in found:
            ticks = before.get((process.pid, process.started_ticks))
            if ticks is None:
                if process.started_ticks * TICK_S < born_after_s:
                    continue
                ticks = 0
            percent = round(100 * max(0, process.cpu_ticks - ticks) * TICK_S / elapsed_s, 1)
            loads.append(Load(percent, process.memory_pages * _PAGE_BYTES, process))
        return loads


def largest(loads: Iterable[Load]) -> tuple[list[Load], list[Load]]:
    """Those with the most CPU and those with the most memory, largest first; of equal ones the lower id. Pure."""
    loads = list(loads)
    by_cpu = heapq.nsmallest(LISTED, loads, key=lambda load: (-load.cpu_percent, -load.memory_bytes, load.process))
    by_memory = heapq.nsmallest(LISTED, loads, key=lambda load: (-load.memory_bytes, -load.cpu_percent, load.process))
    return by_cpu, by_memory


class ProcessesReading:
    """Blocking, for a probe's thread."""

    def __init__(
        self, proc: Path = OWN_PROC, oldest_baseline_s: float = OLDEST_BASELINE_S, most_read: int = MOST_READ
    ) -> None:
        self._proc = str(proc)
        self._uptime = proc / "uptime"
        self._oldest_baseline_s = oldest_baseline_s
        self._most_read = most_read
        self._said = False
        self._loads = ProcessLoads()
        self.took_s = 0.0
        """CPU time of the last round."""

    def __call__(self) -> Processes | None:
        """None where another round, a moment later, is needed to tell. Raises PermissionError where others' processes
        are hidden (those that are left would pass for the largest), OSError, and MalformedError."""
        began_s = time.thread_time()
        try:
            uptime_s = parse_uptime_sec(text_of(self._uptime))
            at_s = time.monotonic()
            loads = self._loads.update(at_s, uptime_s, self._found(), self._oldest_baseline_s)
            if loads is None:
                return None
            by_cpu, by_memory = largest(loads)
            containers = dict(self._containers({load.process.pid for load in (*by_cpu, *by_memory)}))
            return Processes(by_cpu=_listed(by_cpu, containers), by_memory=_listed(by_memory, containers))
        finally:
            self.took_s = time.thread_time() - began_s

    def _found(self) -> Iterator[ProcessStat]:
        pids = [name for name in os.listdir(self._proc) if name.isdigit()]
        if "1" not in pids:
            raise PermissionError(_HIDDEN.format(self._proc))
        if len(pids) > self._most_read and not self._said:
            self._said = True
            logger.warning("this host has %d processes: only %d of them are looked at", len(pids), self._most_read)
        for pid in pids[: self._most_read]:
            try:
                fd = os.open(f"{self._proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    line = os.read(fd, _STAT_BYTES)
                finally:
                    os.close(fd)
            except (FileNotFoundError, ProcessLookupError):  # gone since
                continue
            except PermissionError:
                raise PermissionError(_HIDDEN.format(self._proc)) from None
            if line:
                yield parse_process_stat(line)

    def _containers(self, pids: Iterable[int]) -> Iterator[tuple[int, str | None]]:
        for pid in pids:
            try:
                yield pid, id_by_cgroup(text_of(Path(self._proc, str(pid), "cgroup")))
            except OSError:  # gone since, or going: whose it was is not known any more
                continue


def _listed(loads: Iterable[Load], containers: Mapping[int, str | None]) -> tuple[Process, ...]:
    return tuple(
        Process(
            pid=load.process.pid,
            name=printable(load.process.name.decode("utf-8", "surrogateescape")),
            cpu_percent=load.cpu_percent,
            memory_bytes=load.memory_bytes,
            container_id=containers[load.process.pid],
        )
        for load in loads
        if load.process.pid in containers
    )


class ProcessSampler:
    """One a process: its probe knows whether its read hangs."""

    def __init__(self, reading: ProcessesReading, deadline_s: float = DEADLINE_S) -> None:
        self._reading = reading
        self._probe = Probe("list of processes", reading, deadline_s)

    async def sample(self) -> Processes | None:
        """Within the deadline. None where another look is needed to tell, and where it cannot be told, which is said
        once."""
        await self._probe.refresh()
        return self._probe.value if self._probe.fresh else None

    @property
    def pause_s(self) -> float:
        """From one sample to the next, at least: what many processes cost is spread."""
        return self._reading.took_s / MOST_SHARE


async def collect_processes(tenure: Tenure, sampler: ProcessSampler, fast_s: float) -> None:
    """A part of the metrics collector's job: never returns. Samples every `fast_s` while somebody watches, else not."""
    publisher = StatePublisher(tenure, "processes")
    pace = Pace(tenure, "processes", fast_s, math.inf)
    while True:
        if pace.is_watched:
            sampled_at = tenure.bus.clock.now_ms()
            data = await sampler.sample()
            if data is None:
                await asyncio.sleep(min(BASELINE_S, fast_s))
                sampled_at = tenure.bus.clock.now_ms()
                data = await sampler.sample()
            if data is not None:
                encode = encoder(ProcessesMessage, tenure.host, sampled_at, data)
                await publisher.publish(encode)
            await asyncio.sleep(sampler.pause_s - fast_s)
        await pace.wait()
