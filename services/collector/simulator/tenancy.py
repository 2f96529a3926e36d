"""A thousand workers in one process: each is the real HostWorker, with a lease, beats and a tenure of its own, and they
share what would cost a thousand times otherwise.

FleetBus collects what many of them ask of Redis at about the same time, and sends it in one pipeline: the same scripts,
keys and commands. Ears listens for all of them over one subscriber. What a worker sees of either is what it sees of the
real ones: an answer, or a BusError.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from typing import Any, Generic, NamedTuple, TypeVar

from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from common.bus import Beat, Bus
from common.errors import BusError, FleetcastError
from common.keys import BEAT_S, LEASE_BEATS, PUBLISHED_BY, STATE_KINDS, WORKERS, Keys, StateKind, Worker
from common.roster import About, Labels
from common.subscriber import Subscriber
from common.tenure import Tenure
from common.worker import HostWorker

SCRIPTS_WINDOW_S = 0.01
BEATS_WINDOW_S = 0.1
"""What is asked within so long goes together."""

MAX_BATCH = 200
"""What is asked at the same time and does not fit goes with the next pipeline, right after."""

_CLOCK_S = 1.0

T = TypeVar("T")
A = TypeVar("A")


class Batches(Generic[T, A]):
    """Puts together what many ask one at a time. Whoever asks waits, so no more can wait than ask."""

    def __init__(self, send: Callable[[Sequence[T]], Awaitable[Sequence[A | Exception]]], window_s: float) -> None:
        """`send` answers each of a batch, or raises BusError for all of them."""
        self._send = send
        self._window_s = window_s
        self._waiting: list[tuple[T, asyncio.Future[A]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def ask(self, question: T) -> A:
        """Raises BusError."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all(), name="batches")
        return await answer

    async def close(self) -> None:
        """Returns when nobody waits."""
        if self._sending is not None:
            await asyncio.wait([self._sending])

    async def _send_all(self) -> None:
        """Until nobody waits any more."""
        try:
            await asyncio.sleep(self._window_s)
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._answer(batch)
        finally:
            self._sending = None

    async def _answer(self, batch: list[tuple[T, asyncio.Future[A]]]) -> None:
        batch = [(question, future) for question, future in batch if not future.done()]
        if not batch:
            return
        answers: Sequence[A | Exception]
        try:
            answers = await self._send([question for question, _ in batch])
        except Exception as error:  # theirs to handle, whatever it is: nobody who asks waits for ever
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


class _Call(NamedTuple):
    script: AsyncScript
    keys: Sequence[str]
    args: Sequence[str | bytes | int]


class _Sign(NamedTuple):
    """A beat that is to be given."""

    host: str
    worker: Worker
    ttl_ms: int
    about: About
    kinds: Sequence[StateKind]


class FleetBus(Bus):
    """A Bus for many workers: scripts and beats go in batches."""

    def __init__(self, url: str, keys: Keys) -> None:
        super().__init__(url, keys)
        self._calls: Batches[_Call, Any] = Batches(self._call, SCRIPTS_WINDOW_S)
        self._signs: Batches[_Sign, Beat] = Batches(self._give, BEATS_WINDOW_S)
        self._synced_at_s = float("-inf")
        self._is_ending = False

    async def end_publishing(self, within_s: float) -> None:
        """Whoever publishes from now on waits until he is cancelled: those who give their leases back have the time.
        Returns when what is under way is through."""
        self._is_ending = True
        try:
            async with asyncio.timeout(within_s):
                await self._calls.close()
        except TimeoutError:
            pass

    async def close(self) -> None:
        await self._calls.close()
        await self._signs.close()
        await super().close()

    async def publish_state(self, *state: Any) -> bool:
        if self._is_ending:
            await asyncio.Event().wait()
        return await super().publish_state(*state)

    async def run(
        self, script: AsyncScript, keys: Sequence[str], args: Sequence[str | bytes | int], *, replicate: bool = False
    ) -> Any:
        """`replicate` is for actions, and there are none here."""
        return await self._calls.ask(_Call(script, keys, args))

    async def _call(self, calls: Sequence[_Call]) -> list[Any]:
        with self.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            for script, keys, args in calls:  # by its text: whether the server knows its digest need not be asked then
                pipeline.eval(script.script, len(keys), *keys, *args)  # type: ignore[arg-type]
            answers = await pipeline.execute(raise_on_error=False)
        return [self._told(answer) for answer in answers]

    def _told(self, answer: Any) -> Any:
        if not isinstance(answer, RedisError):
            return answer
        try:
            with self.reaching():
                raise answer
        except BusError as error:
            return error

    async def beat(self, host: str, worker: Worker, ttl_ms: int, about: About, kinds: Sequence[StateKind] = ()) -> Beat:
        return await self._signs.ask(_Sign(host, worker, ttl_ms, about, kinds))

    async def _give(self, signs: Sequence[_Sign]) -> list[Beat]:
        sent_at = asyncio.get_running_loop().time()
        kinds = sorted({kind for sign in signs for kind in sign.kinds})
        with self.reaching() as redis:
            pipeline = redis.pipeline(transaction=False)
            pipeline.time()
            for kind in kinds:
                pipeline.exists(self.keys.watch(None, kind))
            for worker, of_worker in groupby(sorted(signs, key=lambda sign: sign.worker), lambda sign: sign.worker):
                said: dict[Any, Any] = {sign.host: _to_json(sign.about) for sign in of_worker}
                pipeline.zadd(self.keys.seen(worker), dict.fromkeys(said, self.clock.now_ms()))
                pipeline.hset(self.keys.about(worker), mapping=said)
            written = len(pipeline)
            for sign in signs:
                pipeline.getex(self.keys.lease(sign.host, sign.worker), px=sign.ttl_ms)
                for kind in sign.kinds:
                    pipeline.exists(self.keys.watch(sign.host, kind))
            answers = await pipeline.execute()
        self._note_time(answers[0], sent_at)
        by_all = {kind for kind, exists in zip(kinds, answers[1:], strict=False) if exists}
        found = iter(answers[written:])
        beats = []
        for sign in signs:
            holder = next(found)
            watched = {kind for kind in sign.kinds if next(found)}
            beats.append(Beat(holder, frozenset(watched | by_all.intersection(sign.kinds))))
        return beats

    async def sync_clock(self) -> None:
        """Not for each of them: once a second is enough."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._synced_at_s > _CLOCK_S:
            await super().sync_clock()
            self._synced_at_s = now_s

    async def holders(self, hosts: Sequence[str]) -> dict[tuple[str, Worker], tuple[str, int]]:
        """Who holds which lease of these hosts, and for how many ms still."""
        pairs: list[tuple[str, Worker]] = [(host, worker) for host in hosts for worker in WORKERS]
        held = {}
        for start in range(0, len(pairs), MAX_BATCH):
            batch = pairs[start : start + MAX_BATCH]
            with self.reaching() as redis:
                pipeline = redis.pipeline(transaction=False)
                for host, worker in batch:
                    pipeline.get(self.keys.lease(host, worker))
                    pipeline.pttl(self.keys.lease(host, worker))
                answers = await pipeline.execute()
            for pair, holder, left_ms in zip(batch, answers[::2], answers[1::2], strict=True):
                if holder is not None:
                    held[pair] = (holder.decode(errors="replace"), max(0, left_ms))
        return held


@lru_cache(256)
def _to_json(about: About) -> bytes:
    """Nearly all of them say the same."""
    return about.to_json()


class Ears:
    """Hears for all hosts that somebody has begun to watch. Whoever runs `run` owns it."""

    def __init__(self, bus: Bus, hosts: Sequence[str], instance: str) -> None:
        self._to_all = bus.keys.wake(None)
        self._hosts = {bus.keys.wake(host): host for host in hosts}
        self._tenures: dict[tuple[str, Worker], Tenure] = {}
        self._subscriber = Subscriber(
            bus,
            bus.keys.canary(f"simulator.{instance}"),
            self._hear,
            lambda channel: None,
            canary_every_s=BEAT_S,
            silence_s=LEASE_BEATS * BEAT_S,
        )
        self._subscriber.want((self._to_all, *self._hosts))

    async def run(self) -> None:
        """For ever."""
        await self._subscriber.run()

    @contextmanager
    def tell(self, tenure: Tenure) -> Iterator[None]:
        """Inside, the tenure is told."""
        self._tenures[tenure.host, tenure.worker] = tenure
        try:
            yield
        finally:
            del self._tenures[tenure.host, tenure.worker]

    def _hear(self, channel: str, payload: bytes) -> None:
        kind = next((kind for kind in STATE_KINDS if payload == kind.encode()), None)
        if kind is None:
            return
        worker = PUBLISHED_BY[kind]
        hosts = self._hosts.values() if channel == self._to_all else (self._hosts[channel],)
        for host in hosts:
            if (tenure := self._tenures.get((host, worker))) is not None:
                tenure.interest.note_woken(kind)


class SharingWorker(HostWorker):
    """A HostWorker that listens with others' ears."""

    def __init__(
        self,
        bus: FleetBus,
        host: str,
        worker: Worker,
        instance: str,
        ears: Ears,
        labels: Labels = (),
        interval_s: float = 1.0,
    ) -> None:
        super().__init__(
            bus, host, worker, instance=instance, expected="sometimes", labels=labels, interval_s=interval_s
        )
        self._ears = ears

    async def _listen(self, tenure: Tenure) -> None:
        with self._ears.tell(tenure):
            await asyncio.Event().wait()


class TakenError(FleetcastError):
    """A host that is to be simulated is there already."""

    def __init__(self, host: str, worker: Worker, holder: str) -> None:
        super().__init__(
            f"{worker} of the host {host!r} is at work already ({holder}): "
            "simulate hosts of other names with --prefix or FLEETCAST_PREFIX"
        )


async def await_leases(
    bus: FleetBus, hosts: Sequence[str], say: Callable[[str], None], at_most_s: float = 30.0
) -> None:
    """Returns when nobody holds a lease of any of these hosts. One that a dead process has left runs out by itself and
    is waited for, which `say` is told. Raises TakenError for one that is held on, and BusError."""
    held = await bus.holders(hosts)
    if held:
        (host, worker), (holder, _) = next(iter(held.items()))
        left_s = min(at_most_s, max(left_ms for _, left_ms in held.values()) / 1000 + 0.1)
        say(f"{worker} of {host} has a holder ({holder}): waiting {left_s:.0f} s for whether it is alive")
        await asyncio.sleep(left_s)
        held = await bus.holders(hosts)
    for (host, worker), (holder, _) in held.items():
        raise TakenError(host, worker, holder)
