"""The containers collector: publishes what containers there are, what happens to them and what they use, for as long as
it holds the host's lease.

Docker's events say that something has happened; a list, made once for all that come together, and an inspection of
those that the events name say what. One that Docker is at, and says nothing more of just now, is shown as the list has
it. A list every 30 s repairs whatever events have missed. While the engine is away
nothing is published: the last state stays, and the worker's fault says why it is not live. What does not reach Redis
goes out with the next round.

Independent of the metrics collector.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from common.bus import Bus
from common.clock import phase_of
from common.docker import Docker
from common.errors import DockerApiError, DockerUnreachableError, DockerVersionError
from common.host_id import ask_host_id
from common.keys import Keys
from common.models import Container
from common.outage import Outage
from common.protection import Protection
from common.protocol import ContainersMessage, UsageMessage
from common.settings import ContainersCollectorSettings
from common.supervision import run_forever
from common.tenure import StatePublisher, Tenure
from common.whereabouts import Guard
from common.worker import HostWorker
from services.collector.chronicle import Chronicle, last_told
from services.collector.event_feed import EventFeed
from services.collector.history import UsageHistory
from services.collector.inspections import Inspections
from services.collector.inventory import Entry, Inspection, Inventory
from services.collector.messages import encoder
from services.collector.pace import Pace
from services.collector.snapshot import LabelFilter
from services.collector.transitions import ALIVE
from services.collector.usage import Running, UsageSampler
from services.collector.usage_files import raise_descriptor_limit

logger = logging.getLogger(__name__)

_DOCKER_TIMEOUT_S = 5.0
_AWAY = "gone docker-unreachable"


@dataclass(frozen=True)
class Times:
    """In seconds; tests shrink them."""

    debounce: float = 0.1
    """Events that come within this share a list."""
    rest: float = 4.0
    """After a list this many times as long as it took before the next one, so that a storm of events takes a fifth of
    the engine's time at most."""
    longest_rest: float = 2.0
    full: float = 30.0
    """A list without an event, to repair what events have missed."""
    without_events: float = 2.0
    """The same, while the engine tells no events, or is away, or Redis does not take what is new."""
    republish: float = 10.0
    """An unchanged snapshot is published again after this, if a list has confirmed it."""


async def run_containers_collector(settings: ContainersCollectorSettings) -> None:
    """Runs until it is cancelled. Raises HostIdConflictError and SettingsError."""
    raise_descriptor_limit()
    docker = Docker(settings.docker_host, timeout_s=_DOCKER_TIMEOUT_S)
    bus = Bus(settings.redis_url, Keys(settings.namespace))
    sampler = UsageSampler(docker, settings.host_proc, settings.host_cgroup)
    job = partial(
        collect_containers,
        docker=docker,
        guard=Guard(settings),
        label_filter=LabelFilter.parse(settings.labels),
        sampler=sampler,
        fast_s=settings.interval,
        slow_s=settings.idle_interval,
    )
    try:
        settings = settings.model_copy(update={"host_id": await ask_host_id(settings, docker)})
        await HostWorker.of(settings, bus, "containers", interval_s=settings.interval).run(job)
    finally:
        sampler.close()
        await bus.close()
        await docker.close()


async def collect_containers(
    tenure: Tenure,
    docker: Docker,
    guard: Guard,
    label_filter: LabelFilter,
    sampler: UsageSampler,
    fast_s: float,
    slow_s: float,
    times: Times = Times(),
) -> None:
    """A tenure's job: never returns. Usage is sampled every `fast_s` while somebody watches it, every `slow_s` else."""
    feed = EventFeed(docker, phase_s=phase_of(tenure.host))
    chronicle = Chronicle(tenure, docker, await last_told(tenure.bus, tenure.host))
    async with asyncio.TaskGroup() as tasks:
        inspections = Inspections(docker, tasks, on_late=feed.ring)
        rounds = _Rounds(tenure, docker, guard, Inventory(label_filter), feed, inspections, chronicle, times)
        tasks.create_task(run_forever("engine events", feed.run), name="engine events")
        tasks.create_task(_sample_usage(tenure, sampler, rounds, fast_s, slow_s), name="usage")
        await rounds.run()


class _Rounds:
    """Lists containers when something has happened to them, and publishes what is new."""

    def __init__(
        self,
        tenure: Tenure,
        docker: Docker,
        guard: Guard,
        inventory: Inventory,
        feed: EventFeed,
        inspections: Inspections,
        chronicle: Chronicle,
        times: Times,
    ) -> None:
        self.running: tuple[Running, ...] = ()
        """As the last list had it."""
        self.listed = asyncio.Event()
        """Set by the first list."""
        self._tenure = tenure
        self._docker = docker
        self._guard = guard
        self._inventory = inventory
        self._feed = feed
        self._inspections = inspections
        self._chronicle = chronicle
        self._times = times
        self._publisher = StatePublisher(tenure, "containers")
        self._refusal = Outage(f"the list of containers of Docker at {docker.address}", logger)
        self._now_s = asyncio.get_running_loop().time
        self._named: set[str] = set()
        """Those that events have named since they were last inspected."""
        self._held_up: frozenset[str] = frozenset()
        """Those that the last list has without the inspection that they need."""
        self._listing_s = 0.0
        """How long the lists of this round took."""
        self._untold: set[str] = set()
        """Those of which the last list has shown what no event told, although events are followed."""
        self._published: tuple[Container, ...] | None = None
        self._published_at_s = float("-inf")
        tenure.when_forgotten(self._publish_anew)

    def _publish_anew(self) -> None:
        """Redis may have lost what it was given."""
        self._published = None
        self._feed.ring()

    async def run(self) -> None:
        """Never returns."""
        is_full = True
        while True:
            began_s = self._now_s()
            self._listing_s = 0.0
            is_done = await self._round(is_full)
            await self._rest()
            if self._untold - self._feed.moving():  # not even now has an event come
                self._feed.distrust()
            next_full_s = self._times.full if is_done and self._feed.is_on else self._times.without_events
            is_full = await self._wait_until(began_s + next_full_s) or self._feed.has_gap or not is_done

    async def _rest(self) -> None:
        rest_s = max(self._times.debounce, self._times.rest * self._listing_s)
        await asyncio.sleep(min(self._times.longest_rest, rest_s))

    async def _wait_until(self, due_s: float) -> bool:
        """Until something has happened, and what happens together with it; True where nothing has by then."""
        try:
            async with asyncio.timeout_at(due_s):
                await self._feed.wait()
        except TimeoutError:
            return True
        await asyncio.sleep(self._times.debounce)
        return False

    async def _round(self, is_full: bool) -> bool:
        """One list and what follows from it. False where the engine gives none, or Redis does not take all of it."""
        had_gap, self._feed.has_gap = self._feed.has_gap, False
        if had_gap:
            self._inventory.doubt()
            self._inspections.forget()
        if self._feed.is_away:  # told before a list has waited for it too
            self._tenure.fault = _AWAY
        protection = await self._guard.protection()
        sampled_at = self._tenure.bus.clock.now_ms()
        events = self._feed.take()
        just_named = {event.container_id for event in events}
        self._inspections.forget(just_named)
        self._named |= just_named
        self._chronicle.on_events(events)
        try:
            containers = await self._look(protection)
        except (DockerUnreachableError, DockerApiError) as error:
            self._tenure.fault = self._fault(error)
            self._published = None
            self._feed.has_gap = True
            await self._chronicle.tell()
            return False
        self._refusal.over()
        self._tenure.fault = None
        if had_gap:
            await self._chronicle.set_clock()
        moving = self._feed.moving() | self._held_up
        untold = self._chronicle.on_snapshot(containers, self._inventory.unreadable, moving)
        self._untold = untold if is_full and not had_gap else set()
        is_out = await self._publish(containers, sampled_at, again=is_full)
        is_out = await self._chronicle.tell() and is_out
        self.running = tuple(found for one in containers if (found := self._running(one)) is not None)
        self.listed.set()
        return is_out

    async def _publish(self, containers: tuple[Container, ...], sampled_at: int, *, again: bool) -> bool:
        """What is new, and `again` what is not, so that its `sampledAt` says that it still holds. False where Redis
        does not take it."""
        is_old = self._now_s() - self._published_at_s >= self._times.republish
        if containers != self._published or (again and is_old):
            done = await self._publisher.publish(encoder(ContainersMessage, self._tenure.host, sampled_at, containers))
            self._published = containers if done else None
            self._published_at_s = self._now_s()
        return self._published is not None

    def _fault(self, error: DockerUnreachableError | DockerApiError) -> str:
        if isinstance(error, DockerUnreachableError):
            return _AWAY
        self._refusal.note(error.message)
        return f"gone {error.verdict}" if isinstance(error, DockerVersionError) else "stalled docker-error"

    async def _look(self, protection: Protection) -> tuple[Container, ...]:
        """Raises DockerUnreachableError, and DockerApiError where Docker refuses the list."""
        now_s = self._now_s()
        entries, found = await self._list(now_s)
        if self._inventory.have_moved(entries, found):  # since the list: another one shows them whole
            entries, found = await self._list(now_s)
        self._named -= found.keys() | (self._named - {entry.listed.id for entry in entries})
        return self._inventory.snapshot(entries, found, protection, now_s)

    async def _list(self, now_s: float) -> tuple[list[Entry], Mapping[str, Inspection]]:
        began_s = self._now_s()
        entries = self._inventory.read(await self._docker.list_containers())
        self._listing_s += self._now_s() - began_s
        wanted = self._inventory.to_inspect(entries, self._named, now_s)
        found = await self._inspections.of(wanted)
        self._held_up = frozenset(wanted) - found.keys()
        return entries, found

    def _running(self, container: Container) -> Running | None:
        inspected = self._inventory.inspected(container.id)
        if inspected is None or inspected.state.pid is None or container.state not in ALIVE:
            return None
        mode = inspected.host_config.network_mode if inspected.host_config else None
        return Running(container.id, inspected.state.pid, inspected.state.started_at or "", mode == "host")


async def _sample_usage(tenure: Tenure, sampler: UsageSampler, rounds: _Rounds, fast_s: float, slow_s: float) -> None:
    """Never returns."""
    publisher = StatePublisher(tenure, "usage")
    history = UsageHistory()
    await rounds.listed.wait()
    pace = Pace(tenure, "usage", fast_s, slow_s)
    while True:
        sampled_at = tenure.bus.clock.now_ms()
        usage = await sampler.sample(rounds.running)
        tenure.tell_usage(sampler.source)
        if usage is not None:
            encode = encoder(UsageMessage, tenure.host, sampled_at, usage)
            points = history.points(sampled_at, usage, pace.interval_s)
            await publisher.publish(encode, points, next_within_s=pace.interval_s)
        await pace.wait()
