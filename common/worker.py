"""A host's worker: one live process of a kind on a host, its lease, and its place in the roster.

The lease decides who works. Whoever gets it has a tenure, named by an epoch that is higher than every earlier one's; a
second process stands by and takes over when the lease runs out. A tenure survives an absent Redis, a restart of Redis
and `FLUSHALL`, as long as nobody else took the lease meanwhile. A process of another machine under the same host id is
an error, not a stand-by.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

from common.backoff import Backoff
from common.bus import Bus
from common.clock import next_tick, phase_of
from common.envelope import unwrap
from common.errors import BusError, BusRefusedError, HostIdConflictError, LeaseLostError, MalformedError
from common.health import Health, Phase, write
from common.keys import BEAT_S, LEASE_BEATS, PUBLISHED_BY, STATE_KINDS, Worker
from common.models import ActionVerb
from common.outage import Outage
from common.protocol import Expected
from common.roster import About, Labels
from common.setting_kinds import parse_host_labels
from common.settings import WorkerSettings
from common.subscriber import Subscriber
from common.telemetry import lease_held, malformed
from common.tenure import OVERDUE_S, Tenure

logger = logging.getLogger(__name__)

_BEATS_A_CANARY = 5
"""What a deaf worker does not hear, its next beat finds: to notice that it is deaf is not urgent."""

# One step: whoever holds the lease renews it, and whoever finds it free, or left by an earlier life, takes it.
_HOLD = """
local holder = redis.call('GET', KEYS[1])
local earlier_life = holder and #ARGV[3] > 0 and string.sub(holder, -#ARGV[3]) == ARGV[3]
if not holder or earlier_life then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
if holder == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return holder
"""

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class HostWorker:
    """Stands by for the lease of one worker on one host and does the job while it holds it."""

    def __init__(
        self,
        bus: Bus,
        host: str,
        worker: Worker,
        *,
        instance: str | None = None,
        machine: str | None = None,
        renew_s: float = BEAT_S,
        lease_ttl_ms: int | None = None,
        overdue_s: float = OVERDUE_S,
        expected: Expected = "always",
        run_dir: Path | None = None,
        labels: Labels = (),
        actions: tuple[ActionVerb, ...] | None = None,
        interval_s: float = 1.0,
    ) -> None:
        """`instance` names this process across its restarts: one that comes back takes its own lease over at once.
        `renew_s`: between two signs of life; the lease lasts LEASE_BEATS of them. `overdue_s`: a job that has got
        nothing done for this long is told to be stalled. `labels`, `actions`, `interval_s`: see About."""
        self._bus = bus
        self._host = host
        self._worker: Worker = worker
        self._machine = machine or machine_id()
        self._instance = instance or uuid.uuid4().hex[:12]
        self._renew_s = renew_s
        self._lease_ttl_ms = lease_ttl_ms or round(LEASE_BEATS * renew_s * 1000)
        self._about = About(
            beat_ms=round(renew_s * 1000),
            interval_ms=round(interval_s * 1000),
            expected=expected,
            labels=labels,
            actions=actions,
        )
        self._kinds = tuple(kind for kind in STATE_KINDS if PUBLISHED_BY[kind] == worker)
        self._overdue_s = overdue_s
        self._run_dir = run_dir
        self._health_file = Outage(f"the directory for health files {run_dir}", logger)
        self._refusals = Outage(f"Redis' consent to the work of {worker} on {host}", logger)
        self._phase_s = phase_of(host)
        self._key = bus.keys.lease(host, worker)
        self._hold = bus.script(_HOLD)
        self._release = bus.script(_RELEASE)

    @classmethod
    def of(
        cls,
        settings: WorkerSettings,
        bus: Bus,
        worker: Worker,
        *,
        actions: tuple[ActionVerb, ...] | None = None,
        interval_s: float = 1.0,
    ) -> Self:
        return cls(
            bus,
            settings.host_id,
            worker,
            instance=settings.instance,
            renew_s=settings.beat,
            expected=settings.expected,
            run_dir=settings.run_dir,
            labels=tuple(parse_host_labels(settings.host_labels).items()),
            actions=actions,
            interval_s=interval_s,
        )

    async def run(self, job: Callable[[Tenure], Awaitable[None]]) -> None:
        """Runs `job` in tenure after tenure, for ever. A job that raises is logged and tried again after a backoff, in
        a new tenure. Raises HostIdConflictError."""
        backoff = Backoff()
        while True:
            tenure = await self._stand_by()
            began = asyncio.get_running_loop().time()
            lease_held.labels(self._worker).set(1)
            try:
                await self._serve(tenure, job)
            except* LeaseLostError as lost:
                logger.warning("%s: standing by", lost.exceptions[0])
            except* BusError as errors:
                logger.debug("tenure ended: %s", errors.exceptions[0])
            except* Exception:
                logger.exception("%s on %s failed; trying again", self._worker, self._host)
            finally:
                lease_held.labels(self._worker).set(0)
                await self._leave(tenure)
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError  # which a task group swallows that has errors too
            backoff.note_healthy(asyncio.get_running_loop().time() - began)
            await asyncio.sleep(backoff.next_delay())

    async def _serve(self, tenure: Tenure, job: Callable[[Tenure], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._beat(tenure), name=f"{self._worker} heartbeat")]
            if self._kinds:
                beside.append(tasks.create_task(self._listen(tenure), name=f"{self._worker} wake-ups"))
            await job(tenure)
            for task in beside:
                task.cancel()

    async def _beat(self, tenure: Tenure) -> None:
        """Keeps the lease and the roster's entry alive; an absent Redis only means that the next beat tries again."""
        while True:
            try:
                beat = await self._bus.beat(self._host, self._worker, self._lease_ttl_ms, tenure.about, self._kinds)
                holder = beat.holder.decode(errors="replace") if beat.holder is not None else None
                was_forgotten = holder is None  # it ran out while Redis was away, or was flushed
                if holder is None:
                    holder = await self._take(tenure.token, earlier_life="")
                if holder != tenure.token:
                    raise LeaseLostError(self._host, self._worker, holder)
                if was_forgotten:
                    tenure.note_forgotten()
                tenure.interest.note_read(beat.watched)
                self._refusals.over()
                self._say("working", tenure.fault)
            except BusError as error:
                self._note(error)
                self._say("without Redis")
            now_s = asyncio.get_running_loop().time()
            await tenure.wait_for_beat(next_tick(self._renew_s, self._phase_s, now_s))

    async def _listen(self, tenure: Tenure) -> None:
        """Hears at once that somebody has begun to watch; the next beat would find it too."""
        channels = (self._bus.keys.wake(self._host), self._bus.keys.wake(None))

        def hear(channel: str, payload: bytes) -> None:
            for kind in self._kinds:
                if payload == kind.encode():
                    tenure.interest.note_woken(kind)

        subscriber = Subscriber(
            self._bus,
            self._bus.keys.canary(f"{self._host}.{self._worker}.{self._instance}"),
            hear,
            lambda channel: None,
            canary_every_s=_BEATS_A_CANARY * self._renew_s,
            silence_s=3 * _BEATS_A_CANARY * self._renew_s,
            phase_s=self._phase_s,
        )
        subscriber.want(channels)
        await subscriber.run()

    async def _stand_by(self) -> Tenure:
        """Waits until the lease is ours."""
        foreign_since: float | None = None
        said = False
        loop = asyncio.get_running_loop()
        while True:
            try:
                epoch = await self._next_epoch()
                name = f" {self._machine} {self._instance}"
                token = f"{epoch}{name}"
                holder = await self._take(token, earlier_life=name)
            except BusError as error:
                self._note(error)
                self._say("without Redis")
                foreign_since = None
                await asyncio.sleep(self._renew_s)
                continue
            self._refusals.over()
            if holder == token:
                logger.info("%s on %s: at work", self._worker, self._host)
                return Tenure(self._bus, self._host, self._worker, epoch, token, self._about, self._overdue_s)
            self._say("standing by")
            if self._machine not in holder.split():
                # A rebooted machine finds its own last lease, which runs out. One that outlives its time is renewed.
                foreign_since = foreign_since or loop.time()
                if loop.time() - foreign_since > self._lease_ttl_ms / 1000 + self._renew_s:
                    raise HostIdConflictError(self._host, self._worker, holder)
            else:
                foreign_since = None
                if not said:
                    said = True
                    logger.info("%s on %s: another process is at work, standing by", self._worker, self._host)
            await asyncio.sleep(self._renew_s)

    async def _next_epoch(self) -> int:
        """Redis' time in ms, and above the last tenure's even where that clock was set back."""
        await self._bus.sync_clock()
        epoch = self._bus.clock.now_ms()
        for payload in await self._last_payloads():
            try:
                epoch = max(epoch, unwrap(payload)[0].epoch + 1)
            except MalformedError as error:
                malformed.labels("last state").inc()
                logger.warning("ignoring what was last published of %s on %s: %s", self._worker, self._host, error)
        return epoch

    async def _last_payloads(self) -> list[bytes]:
        if not self._kinds:
            return []
        states = await self._bus.last_states([(self._host, kind) for kind in self._kinds])
        events = await self._bus.last_events([self._host], 1) if PUBLISHED_BY["events"] == self._worker else [[]]
        return [payload for payload in (*states, *events[0]) if payload is not None]

    async def _take(self, token: str, *, earlier_life: str) -> str:
        holder: bytes = await self._bus.run(self._hold, (self._key,), (token, self._lease_ttl_ms, earlier_life))
        return holder.decode(errors="replace")

    def _note(self, error: BusError) -> None:
        """An absent Redis has been said by the bus; one that refuses (no permission, no memory) is said here."""
        if isinstance(error, BusRefusedError):
            self._refusals.note(error.reason)
        logger.debug("%s on %s: %s", self._worker, self._host, error)

    def _say(self, phase: Phase, fault: str | None = None) -> None:
        if self._run_dir is None:
            return
        try:
            write(self._run_dir, Health(self._worker, phase, fault, self._renew_s))
            self._health_file.over()
        except OSError as error:
            self._health_file.note(str(error))

    async def _leave(self, tenure: Tenure) -> None:
        """Lets a stand-by take over at once; best effort, for the lease runs out by itself."""
        try:
            async with asyncio.timeout(1.0):
                if await self._bus.run(self._release, (self._key,), (tenure.token,)):
                    await self._bus.note_seen(self._host, self._worker, replace(tenure.about, fault="gone stopped"))
        except (BusError, TimeoutError) as error:
            logger.debug("lease not released: %s", error)


def machine_id() -> str:
    """The same for every process on this machine, in a container or not, and different on every other machine."""
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    try:
        return boot_id.read_text().strip()
    except OSError:
        return f"{uuid.getnode():012x}"
