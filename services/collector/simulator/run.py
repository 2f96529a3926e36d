"""`fleetcast simulate`: publishes a fleet that does not exist, as collectors publish one that does.

Each host has the two workers of a real one, with their leases, beats and interest; there is no executor. Each
publishes at a time of its own in the interval.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence

from common.errors import BusUnavailableError
from common.keys import Keys, Worker
from common.settings import SimulateSettings
from common.tenure import Tenure
from services.collector.simulator.catalogue import labels_of
from services.collector.simulator.fleet import SimulatedHost
from services.collector.simulator.noise import Noise
from services.collector.simulator.past import write_past
from services.collector.simulator.tenancy import Ears, FleetBus, SharingWorker, await_leases
from services.collector.simulator.work import JOBS, Turns

logger = logging.getLogger(__name__)

HOSTS_BEGUN_PER_S = 250

_STOP_SLICE = 100
_STOP_WITHIN_S = 10.0
"""So many workers at a time give their leases back; those that are left after this, all at once."""

_RETRY_S = 2.0
_LATE_S = 1.0


async def run_simulation(settings: SimulateSettings, at_work: Callable[[], object] = lambda: None) -> None:
    """Runs until it is cancelled. `at_work` is called once all hosts are. Raises TakenError where
    one of the hosts is there already, and HostIdConflictError where another machine has taken its place."""
    bus = FleetBus(settings.redis_url, Keys(settings.namespace))
    try:
        hosts = [f"{settings.prefix}{number:04}" for number in range(1, settings.hosts + 1)]
        await _find_room(bus, hosts)
        fleet = _make(settings, hosts, bus.clock.now_ms())
        size = f"{len(hosts)} hosts, {hosts[0]} to {hosts[-1]}," if len(hosts) > 1 else f"the host {hosts[0]}"
        logger.info("simulating %s with %d containers each, on Redis at %s", size, settings.containers, bus.url_shown)
        if settings.past:
            await write_past(bus, fleet, settings.past, bus.clock.now_ms())
        await _Simulation(settings, bus, fleet, at_work).run()
    finally:
        await bus.close()


async def _find_room(bus: FleetBus, hosts: Sequence[str]) -> None:
    while True:
        try:
            await bus.sync_clock()
            await await_leases(bus, hosts, logger.info)
            return
        except BusUnavailableError:  # the bus has said so
            await asyncio.sleep(_RETRY_S)


def _make(settings: SimulateSettings, hosts: Sequence[str], now_ms: int) -> list[SimulatedHost]:
    noise = Noise(str(settings.seed))
    return [
        SimulatedHost(settings.seed, host, settings.containers, now_ms, noise, settings.incident_every)
        for host in hosts
    ]


class _Simulation:
    """All workers of all hosts."""

    def __init__(
        self,
        settings: SimulateSettings,
        bus: FleetBus,
        fleet: Sequence[SimulatedHost],
        at_work: Callable[[], object],
    ) -> None:
        self._settings = settings
        self._at_work = at_work
        self._bus = bus
        self._fleet = fleet
        self._instance = uuid.uuid4().hex[:12]
        self._ears = Ears(bus, [host.name for host in fleet], self._instance)
        self._not_begun = {(host.name, worker) for host in fleet for worker in JOBS}

    async def run(self) -> None:
        tasks = [
            asyncio.create_task(self._work(index, host, worker), name=f"{worker} of {host.name}")
            for index, host in enumerate(self._fleet)
            for worker in JOBS
        ]
        beside = [
            asyncio.create_task(self._ears.run(), name="ears"),
            asyncio.create_task(_say_when_late(), name="lateness"),
        ]
        try:
            ended, _ = await asyncio.wait([*tasks, *beside], return_when=asyncio.FIRST_EXCEPTION)
            for task in ended:
                task.result()
        finally:
            logger.info("stopping: the hosts give their leases back")
            await self._bus.end_publishing(within_s=_STOP_WITHIN_S)
            await _let_go(tasks)
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)

    async def _work(self, index: int, host: SimulatedHost, worker: Worker) -> None:
        await asyncio.sleep(index / HOSTS_BEGUN_PER_S)
        chosen = self._settings
        turns = Turns(chosen.interval, chosen.idle_interval, chosen.history)

        async def begin(tenure: Tenure) -> None:
            self._note_begun(host, worker)
            await JOBS[worker](tenure, host, turns)

        labels = labels_of(self._settings.seed, host.name)
        own = SharingWorker(self._bus, host.name, worker, self._instance, self._ears, labels, chosen.interval)
        await own.run(begin)

    def _note_begun(self, host: SimulatedHost, worker: Worker) -> None:
        if self._not_begun:
            self._not_begun.discard((host.name, worker))
            if not self._not_begun:
                logger.info("all of them are at work: stop with Ctrl-C")
                self._at_work()


async def _say_when_late() -> None:
    """Says once that it is more than one core can do. Turns that are missed are left out; hosts of which too many are
    missed stand in the roster as stalled."""
    now_s = asyncio.get_running_loop().time
    said = False
    while True:
        began_s = now_s()
        await asyncio.sleep(1.0)
        late_s = now_s() - began_s - 1.0
        if late_s > _LATE_S and not said:
            said = True
            logger.warning(
                "too much for this core, turns come late by %.1f s: take fewer hosts or a longer --interval, or share "
                "the hosts among several processes with a --prefix each",
                late_s,
            )


async def _let_go(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Each has a second of its own to give its lease back, so not too many may share it."""
    now_s = asyncio.get_running_loop().time
    until_s = now_s() + _STOP_WITHIN_S
    left = list(tasks)
    while left:
        size = _STOP_SLICE if now_s() < until_s else len(left)
        going, left = left[:size], left[size:]
        for task in going:
            task.cancel()
        await asyncio.wait(going)
