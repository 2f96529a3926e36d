"""What the running containers use: read in their control groups' files, or where those cannot be seen, asked of the
engine. A container that is gone by then has only nulls, which is no error.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from common.docker import Docker
from common.errors import DockerApiError, DockerUnreachableError, MalformedError
from common.models import Usage
from common.outage import Outage
from common.protocol import UsageSource
from services.collector.probe import Probe
from services.collector.rates import UsageCounters, UsageRates, UsageRow
from services.collector.readings import OWN_PROC
from services.collector.stats import Stats, read_stats
from services.collector.usage_files import ALL_EVERY_S, GroupReading, Missing, Seen, descriptor_bound
from services.collector.usage_files import Running as Running

logger = logging.getLogger(__name__)

MOST_STATS_AT_ONCE = 8
"""An engine has other things to do."""

Told = Mapping[str, Stats | Missing]


class UsageSampler:
    """Remembers the last counters of each run, for rates take two readings. One `sample` at a time."""

    def __init__(
        self,
        docker: Docker,
        proc: Path = OWN_PROC,
        cgroup: Path = Path("/sys/fs/cgroup"),
        deadline_s: float = 1.0,
        stats_deadline_s: float = 3.0,
        stats_round_s: float = 10.0,
        most_descriptors: int | None = None,
        all_every_s: float = ALL_EVERY_S,
    ) -> None:
        """The files of all containers may take `deadline_s`, the statistics of one `stats_deadline_s`, and those of all
        that need them `stats_round_s`. `most_descriptors`: by default a third of what this process may have open.
        `all_every_s`: how old that may be which GroupReading does not read at each sample."""
        most_descriptors = descriptor_bound() if most_descriptors is None else most_descriptors
        self._groups = GroupReading(proc, cgroup, most_descriptors, all_every_s)
        self._wanted: tuple[Running, ...] = ()
        self._probe: Probe[Seen] = Probe("container usage", lambda: self._groups.read(self._wanted), deadline_s)
        self._stats = StatsReading(docker, stats_deadline_s, stats_round_s)
        self._runs: dict[str, _Run] = {}
        self._source: UsageSource | None = None
        self._cores = os.cpu_count() or 1

    @property
    def source(self) -> UsageSource | None:
        """Where the last sample came from: `stats` where any container needed them. None before anything ran."""
        return self._source

    async def sample(self, containers: Sequence[Running]) -> Usage | None:
        """What each of them uses, in their order. None: the files could not be read within the deadline, or an earlier
        reading still hangs."""
        self._wanted = wanted = tuple(containers)
        await self._probe.refresh()
        seen = self._probe.value
        if not self._probe.fresh or seen is None:
            return None
        # Where others' processes are here, one that is not has ended since the list: the engine need not be asked.
        is_here = any(isinstance(counters, UsageCounters) for counters in seen.values())
        missing = {Missing.UNSEEN} if is_here else {Missing.UNSEEN, Missing.ENDED}
        unseen = [one for one in wanted if isinstance(found := seen.get(one.id), Missing) and found in missing]
        told = await self._stats.read(unseen)
        self._choose_source(seen, told, len(unseen))
        told_cores = [stats.cores for stats in told.values() if isinstance(stats, Stats) and stats.cores]
        self._cores = max(told_cores, default=self._cores)
        runs, self._runs = self._runs, {}
        return _usage(self._cores, wanted, [self._row(running, seen, told, runs) for running in wanted])

    def close(self) -> None:
        """Closes all descriptors; where a reading hangs, once it returns."""
        self._groups.close()
        self._probe.close()

    def _row(self, running: Running, seen: Seen, told: Told, runs: "Mapping[str, _Run]") -> UsageRow:
        found: UsageCounters | Stats | Missing | None = told.get(running.id) or seen.get(running.id)
        if isinstance(found, UsageCounters):
            return self._rates(running, "cgroup", runs).update(found, self._cores)
        if found is Missing.GONE or found is Missing.ENDED:
            return UsageRow()
        rates = self._rates(running, "stats", runs)
        return rates.update(found.counters, self._cores) if isinstance(found, Stats) else UsageRow()

    def _rates(self, running: Running, source: str, runs: "Mapping[str, _Run]") -> UsageRates:
        """With the run's baseline, where there is one."""
        known = runs.get(running.id)
        if known is None or known.run != running.run or known.source != source:
            known = _Run(running.run, source, UsageRates())
        self._runs[running.id] = known
        return known.rates

    def _choose_source(self, seen: Seen, told: Told, unseen: int) -> None:
        """A container that has just died cannot be seen either, and says nothing of the others."""
        has_files = any(isinstance(counters, UsageCounters) for counters in seen.values())
        if any(isinstance(stats, Stats) for stats in told.values()) or (unseen > len(told) and not has_files):
            self._source = "stats"
        elif has_files and unseen == len(told):
            self._source = "cgroup"


class _Run(NamedTuple):
    run: str
    source: str
    """Another one counts in its own way: a new baseline."""
    rates: UsageRates


def _usage(cores: int, containers: Sequence[Running], rows: Sequence[UsageRow]) -> Usage:
    columns: Iterable[tuple[Any, ...]] = zip(*rows, strict=True) if rows else [()] * len(UsageRow._fields)
    quantities: dict[str, Any] = dict(zip(UsageRow._fields, columns, strict=True))
    return Usage(cores=cores, ids=tuple(running.id for running in containers), **quantities)


class StatsReading:
    """Containers' statistics by the engine, MOST_STATS_AT_ONCE at a time. One that does not answer in time holds up its
    place only; where the time of a round is not enough for all, those that were left out are first in the next."""

    def __init__(self, docker: Docker, deadline_s: float, round_s: float) -> None:
        self._docker = docker
        self._deadline_s = deadline_s
        self._round_s = round_s
        self._round = 0
        self._last_round: dict[str, int] = {}
        self._outage = Outage("the engine's statistics of containers", logger)

    async def read(self, containers: Sequence[Running]) -> Told:
        """By id; without those of which nothing could be learned, which is said once an episode."""
        if not containers:
            return {}
        self._round += 1
        before = self._last_round
        queue = deque(sorted(containers, key=lambda running: before.get(running.id, 0)))
        self._last_round = {running.id: before.get(running.id, 0) for running in containers}
        told: dict[str, Stats | Missing] = {}
        try:
            async with asyncio.timeout(self._round_s), asyncio.TaskGroup() as tasks:
                for _ in range(min(MOST_STATS_AT_ONCE, len(queue))):
                    tasks.create_task(self._work(queue, told))
        except TimeoutError:
            self._outage.note(f"{len(told)} of {len(containers)} within {self._round_s:g} s")
        if len(told) == len(containers):
            self._outage.over()
        return told

    async def _work(self, queue: deque[Running], told: dict[str, Stats | Missing]) -> None:
        while queue:
            running = queue.popleft()
            self._last_round[running.id] = self._round
            try:
                async with asyncio.timeout(self._deadline_s):
                    raw = await self._docker.stats(running.id)
                stats = read_stats(raw, time.monotonic(), host_network=running.host_network)
                told[running.id] = stats or Missing.GONE
            except TimeoutError:
                self._outage.note(f"no answer within {self._deadline_s:g} s")
            except DockerApiError as error:
                if error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:  # removed, or (Podman) stopped
                    told[running.id] = Missing.GONE
                else:
                    self._outage.note(str(error))
            except MalformedError as error:
                self._outage.note(str(error))
            except DockerUnreachableError as error:  # which the client has said
                logger.debug("statistics: %s", error)
                queue.clear()
