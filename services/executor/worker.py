"""`fleetcast executor`: takes actions from its host's stream, does them on Docker, and settles them.

    inbox      stream → queues
    admission  signatures, hosts, deadlines, verbs: what is refused whatever the container is
    queues     who is next: one action at a time per container, several containers at once
    performer  look → policy → claim → Docker → settle
    policy     what is refused of this container
    sighting   what came of an action that was interrupted
    ledger     what was begun here, so that nothing is begun twice

This module runs them: it starts what may begin, expires what waited too long, watches the engine, and ends in order.
"""

import asyncio
import logging

from common.actions import AUDIT_MAX, Actions
from common.backoff import Backoff
from common.bus import Bus
from common.docker import Docker
from common.errors import DockerApiError, DockerUnreachableError
from common.host_id import ask_host_id
from common.keys import Keys
from common.settings import ExecutorSettings
from common.signing import read_verifier
from common.tenure import Tenure
from common.whereabouts import Guard
from common.worker import HostWorker
from services.executor.admission import Admission
from services.executor.inbox import Inbox
from services.executor.ledger import Ledger
from services.executor.performer import Performer
from services.executor.policy import allowed_verbs
from services.executor.queues import Entry, Queues

logger = logging.getLogger(__name__)

DRAIN_S = 2.0
"""What is under way when the executor is stopped may take this long to end, of the 3.5 s that `fleetcast up` gives the
process; what takes longer stays `running` in its record, and the next executor settles it."""

PING_S = 3.0
"""Between two looks at an engine that answers."""

LOOK_S = 0.5
"""While actions wait: between two looks for those whose deadline has passed."""

UNREACHABLE = "gone docker-unreachable"

UNSIGNED = "live insecure-unsigned"
"""No fault that keeps it from its job, but nobody is to overlook it."""


async def run_executor(settings: ExecutorSettings) -> None:
    """Runs until it is cancelled. Raises HostIdConflictError and SettingsError."""
    verifier = read_verifier(settings)
    if verifier is None:
        logger.warning("actions are done that nobody has signed: whoever can write to Redis is root on this host")
    docker = Docker(settings.docker_host)
    # Beside the containers acted on: reader, heartbeat, and settling what is overdue.
    bus = Bus(settings.redis_url, Keys(settings.namespace), max_connections=settings.parallel + 8)

    guard = Guard(settings)
    ledger = Ledger()

    async def job(tenure: Tenure) -> None:
        await Executor(
            tenure, docker, admission, guard, ledger, parallel=settings.parallel, audit_max=settings.audit_max
        ).work()

    try:
        settings = settings.model_copy(update={"host_id": await ask_host_id(settings, docker)})
        allowed = allowed_verbs(settings.allow_actions)
        admission = Admission(settings.host_id, verifier, frozenset(allowed))
        await HostWorker.of(settings, bus, "executor", actions=allowed).run(job)
    finally:
        await docker.close()
        await bus.close()


class Executor:
    """One tenure's work."""

    def __init__(
        self,
        tenure: Tenure,
        docker: Docker,
        admission: Admission,
        guard: Guard,
        ledger: Ledger,
        *,
        parallel: int = 8,
        audit_max: int = AUDIT_MAX,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._tenure = tenure
        self._docker = docker
        self._drain_s = drain_s
        self._queues = Queues(parallel)
        self._changed = asyncio.Event()
        self._idle_fault = None if admission.verifies else UNSIGNED
        tenure.fault = self._idle_fault
        actions = Actions(tenure.bus, audit_max)
        self._performer = Performer(tenure, docker, actions, admission, guard, ledger)
        self._inbox = Inbox(tenure, actions, admission, self._performer, self._queues, self._changed)
        self._under_way: set[asyncio.Task[None]] = set()

    async def work(self) -> None:
        """Until it is cancelled: then nothing new begins, and what is under way has a moment to end."""
        async with asyncio.TaskGroup() as performances:
            try:
                async with asyncio.TaskGroup() as loops:
                    loops.create_task(self._inbox.read_forever(), name="action inbox")
                    loops.create_task(self._watch_engine(), name="engine watch")
                    loops.create_task(self._dispatch(performances), name="action dispatch")
            except asyncio.CancelledError:
                await self._drain()
                raise

    async def _dispatch(self, performances: asyncio.TaskGroup) -> None:
        """Starts what may begin, and settles what waited too long. While the engine is away nothing begins: an action
        that is not claimed can still be done later, or expire with Docker untouched."""
        while True:
            self._changed.clear()
            while entry := self._queues.next(self._docker.available):
                self._start(performances, entry)
            for entry in self._queues.overdue(self._tenure.bus.clock.now_ms()):
                self._start(performances, entry, overdue=self._why_late())
            try:
                async with asyncio.timeout(LOOK_S if self._queues.waiting else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _start(self, performances: asyncio.TaskGroup, entry: Entry, overdue: str | None = None) -> None:
        task = performances.create_task(self._perform(entry, overdue), name=f"action {entry.order.request_id}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _perform(self, entry: Entry, overdue: str | None) -> None:
        await self._performer.perform(entry, overdue)
        self._tenure.note_done()
        self._queues.done(entry)
        self._inbox.note_room()
        self._changed.set()

    def _why_late(self) -> str:
        if self._docker.available:
            return "others on this host took until then"
        return f"no Docker engine answers at {self._docker.address}"

    async def _watch_engine(self) -> None:
        """Tells the roster whether there is an engine, and lets actions begin again when it is back."""
        backoff = Backoff(cap_s=2.0)
        while True:
            try:
                await self._docker.ping()
            except DockerUnreachableError:
                self._tenure.fault = UNREACHABLE
                await asyncio.sleep(backoff.next_delay())
                continue
            except DockerApiError as error:
                logger.debug("the engine answers a ping with: %s", error)  # a proxy may allow none; something is there
            self._tenure.fault = self._idle_fault
            self._changed.set()
            backoff.reset()
            await asyncio.sleep(PING_S)

    async def _drain(self) -> None:
        self._performer.stop()
        if self._under_way:
            _, left = await asyncio.wait(self._under_way, timeout=self._drain_s)
            if left:
                logger.warning("stopping with %d actions under way", len(left))
