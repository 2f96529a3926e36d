"""A host's worker: one live process of a kind on a host, its lease, and its place in the roster.

The lease decides who works. Whoever gets it has a tenure, named by an epoch that is higher than every earlier one's; a
second process stands by and takes over when the lease runs out. A tenure survives an absent Redis, a restart of Redis
and `FLUSHALL`, as long as nobody else took the lease meanwhile. A process of another machine under the same host id is
an error, not a stand-by.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from common.backoff import Backoff
from common.bus import Bus
from common.envelope import Version, unwrap
from common.errors import BusError, BusRefusedError, HostIdConflictError, LeaseLostError, MalformedError
from common.health import Health, write
from common.keys import LEASE_TTL_MS, STATE_KINDS, StateKind, Worker
from common.outage import Outage
from common.telemetry import lease_held, malformed, unpublished

logger = logging.getLogger(__name__)

OVERDUE_S = 10.0
"""A job that has got nothing done for this long is stalled, although its process lives."""

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


class Tenure:
    """The right to work on a host, while it lasts."""

    def __init__(
        self, bus: Bus, host: str, worker: Worker, epoch: int, token: str, overdue_s: float = OVERDUE_S
    ) -> None:
        self.bus = bus
        self.host = host
        self.worker = worker
        self.epoch = epoch
        self.token = token
        self._overdue_s = overdue_s
        self._done_at = time.monotonic()
        self._fault: str | None = None
        self._beat_now = asyncio.Event()

    def note_done(self) -> None:
        """The job has got something done just now. One that says so too rarely is told to be stalled."""
        self._done_at = time.monotonic()

    @property
    def fault(self) -> str | None:
        """What keeps the worker from its job, as the roster tells it: `gone docker-unreachable`, or None."""
        if self._fault is None and time.monotonic() - self._done_at > self._overdue_s:
            return "stalled overdue"
        return self._fault

    @fault.setter
    def fault(self, fault: str | None) -> None:
        if fault != self._fault:
            self._fault = fault
            self._beat_now.set()

    async def wait_for_beat(self, at_most_s: float) -> None:
        """Until the next beat is due, or at once when the fault has changed."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._beat_now.wait()
        except TimeoutError:
            pass
        self._beat_now.clear()


class StatePublisher:
    """Publishes one kind of state in a tenure, numbered without gaps unless one is lost on the way to Redis."""

    def __init__(self, tenure: Tenure, kind: StateKind) -> None:
        self._tenure = tenure
        self._kind = kind
        self._seq = 0

    async def publish(self, encode: Callable[[Version], bytes]) -> bool:
        """Sends what `encode` makes of the next version. False, counted, where Redis is away or the lease is not held
        just now: the caller's next state supersedes this one anyway."""
        version = Version(self._tenure.epoch, self._seq + 1)
        body = encode(version)
        try:
            done = await self._tenure.bus.publish_state(
                self._tenure.host, self._kind, self._tenure.token, version, body
            )
        except BusError as error:
            logger.debug("not published: %s", error)
            self._seq = version.seq  # it may have gone out: the number is used up
            done = False
        if done:
            self._seq = version.seq
            self._tenure.note_done()
        else:
            unpublished.labels(self._kind).inc()
        return done


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
        renew_s: float = 1.0,
        lease_ttl_ms: int = LEASE_TTL_MS,
        overdue_s: float = OVERDUE_S,
        run_dir: Path | None = None,
    ) -> None:
        """`instance` names this process across its restarts: one that comes back takes its own lease over at once."""
        self._bus = bus
        self._host = host
        self._worker: Worker = worker
        self._machine = machine or machine_id()
        self._instance = instance or uuid.uuid4().hex[:12]
        self._renew_s = renew_s
        self._lease_ttl_ms = lease_ttl_ms
        self._overdue_s = overdue_s
        self._run_dir = run_dir
        self._health_file = Outage(f"the directory for health files {run_dir}", logger)
        self._refusals = Outage(f"Redis' consent to the work of {worker} on {host}", logger)
        self._key = bus.keys.lease(host, worker)
        self._hold = bus.script(_HOLD)
        self._release = bus.script(_RELEASE)

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
            backoff.note_healthy(asyncio.get_running_loop().time() - began)
            await asyncio.sleep(backoff.next_delay())

    async def _serve(self, tenure: Tenure, job: Callable[[Tenure], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            beats = tasks.create_task(self._beat(tenure), name=f"{self._worker} heartbeat")
            await job(tenure)
            beats.cancel()

    async def _beat(self, tenure: Tenure) -> None:
        """Keeps the lease and the roster's entry alive; an absent Redis only means that the next beat tries again."""
        while True:
            try:
                holder = await self._take(tenure.token, earlier_life="")
                if holder != tenure.token:
                    raise LeaseLostError(self._host, self._worker, holder)
                await self._bus.note_seen(self._host, self._worker, tenure.fault)
                await self._bus.sync_clock()
                self._refusals.over()
                self._say(Health(self._worker, "working", tenure.fault))
            except BusError as error:
                self._note(error)
                self._say(Health(self._worker, "without Redis"))
            await tenure.wait_for_beat(self._renew_s)

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
                self._say(Health(self._worker, "without Redis"))
                foreign_since = None
                await asyncio.sleep(self._renew_s)
                continue
            self._refusals.over()
            if holder == token:
                logger.info("%s on %s: at work", self._worker, self._host)
                return Tenure(self._bus, self._host, self._worker, epoch, token, self._overdue_s)
            self._say(Health(self._worker, "standing by"))
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
        if self._worker in STATE_KINDS:
            [payload] = await self._bus.last_states([(self._host, self._worker)])
            if payload is not None:
                try:
                    epoch = max(epoch, unwrap(payload)[0].epoch + 1)
                except MalformedError as error:
                    malformed.labels("last state").inc()
                    logger.warning("ignoring the last state of %s on %s: %s", self._worker, self._host, error)
        return epoch

    async def _take(self, token: str, *, earlier_life: str) -> str:
        holder: bytes = await self._bus.run(self._hold, (self._key,), (token, self._lease_ttl_ms, earlier_life))
        return holder.decode(errors="replace")

    def _note(self, error: BusError) -> None:
        """An absent Redis has been said by the bus; one that refuses (no permission, no memory) is said here."""
        if isinstance(error, BusRefusedError):
            self._refusals.note(error.reason)
        logger.debug("%s on %s: %s", self._worker, self._host, error)

    def _say(self, health: Health) -> None:
        if self._run_dir is None:
            return
        try:
            write(self._run_dir, health)
            self._health_file.over()
        except OSError as error:
            self._health_file.note(str(error))

    async def _leave(self, tenure: Tenure) -> None:
        """Lets a stand-by take over at once; best effort, for the lease runs out by itself."""
        try:
            async with asyncio.timeout(1.0):
                if await self._bus.run(self._release, (self._key,), (tenure.token,)):
                    await self._bus.note_seen(self._host, self._worker, "gone stopped")
        except (BusError, TimeoutError) as error:
            logger.debug("lease not released: %s", error)


def machine_id() -> str:
    """The same for every process on this machine, in a container or not, and different on every other machine."""
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    try:
        return boot_id.read_text().strip()
    except OSError:
        return f"{uuid.getnode():012x}"
