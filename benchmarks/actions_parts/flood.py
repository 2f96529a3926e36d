"""Very many actions at once on one host: whether all come to an end, and what that costs everybody else.

Each client sends its share at the same moment, in messages of up to 100 targets. Pings go along on the same
connections, and a bystander on the same edge counts heartbeats.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import BinaryIO, Self

import psutil

from benchmarks.actions_parts.books import Violation
from benchmarks.actions_parts.containers import containers
from benchmarks.actions_parts.stage import ALLOW_ALL, HOST, NO_RATE_LIMIT, NotReadyError, Stage, staged
from benchmarks.fanout_parts.stage import Sampler
from common.models import FINAL_STATUSES, MAX_TARGETS, ActionKey, ActionVerb
from common.protocol import ContainerAck, ContainerAction, Error, Heartbeat, Ping, Target
from services.client.connection import Down, EdgeConnection, Limits, Received, Up

HEARTBEAT_S = 0.25
PING_EVERY_S = 0.25

EXPIRES_S = 3_600
"""None of them shall expire."""

PATIENCE_S = 60.0
"""No action has ended for so long: those that are left will not end."""

SAY_EVERY_S = 5.0

PARTS = ("edge-1", "executor", "redis")

REFUSED = "rate-limited"

_PATIENT = Limits(shortest_silence_s=60.0)
"""A gap in the heartbeats is what is measured: it must not end the connection."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How much of it."""

    actions: int = 2_000
    containers: int = 20
    clients: int = 8
    verb: ActionVerb = "start"
    """`start` of what runs already costs Docker next to nothing, so the flood is Fleetcast's own to bear."""
    waves: int = 3
    """Floods one after the other: what is left of one in memory would be left of each."""
    quiet_s: float = 5.0
    """After the last outcome, before memory is looked at again."""
    log: BinaryIO | None = None


@dataclass
class Findings:
    """What came of one wave."""

    actions: int
    took_s: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    """Final status, or `rate-limited` → actions."""
    accepted_s: float = 0.0
    """Until the last of them was accepted."""
    heartbeat_gap_s: float = 0.0
    ping_ms: list[float] = field(default_factory=list)
    pings: int = 0
    rss_bytes: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """Part → before, at most, after."""
    violations: list[Violation] = field(default_factory=list)


class Listener:
    """A client's connection to the edge, listened to while the context is open."""

    def __init__(self, url: str) -> None:
        self.connection = EdgeConnection(url, limits=_PATIENT)
        self.lost: list[str] = []
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._listen())
        async with asyncio.timeout(10):
            await self._up.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _listen(self) -> None:
        async with aclosing(self.connection.events()) as events:
            async for event in events:
                match event:
                    case Up():
                        self._up.set()
                    case Down(reason=reason):
                        self.lost.append(reason)
                    case Received(message=message):
                        self.take(message)

    def take(self, message: object) -> None:
        """One message."""


class Bystander(Listener):
    """Counts heartbeats."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.longest_gap_s = 0.0
        self._at: float | None = None

    def take(self, message: object) -> None:
        if isinstance(message, Heartbeat):
            now = time.monotonic()
            if self._at is not None:
                self.longest_gap_s = max(self.longest_gap_s, now - self._at)
            self._at = now


class Flooder(Listener):
    """Asks for all of its actions at once."""

    def __init__(self, url: str, name: str, verb: ActionVerb, container_ids: Sequence[str]) -> None:
        """One action for each of the ids, which may be there several times."""
        super().__init__(url)
        self._messages = [
            _message(f"{name}-{start // MAX_TARGETS}", verb, container_ids[start : start + MAX_TARGETS])
            for start in range(0, len(container_ids), MAX_TARGETS)
        ]
        self._sizes = {message.request_id: len(message.targets or ()) for message in self._messages}
        self.open = {key for message in self._messages for key in _keys(message)}
        self.came: dict[ActionKey, list[str]] = {key: [] for key in self.open}
        """What came of each, every time that it was told."""
        self.accepted_at = self.ended_at = time.monotonic()
        self._pinged: dict[str, float] = {}
        self.pings = 0
        self.ping_ms: list[float] = []

    async def flood(self) -> None:
        for message in self._messages:
            await self.connection.send(message)

    async def ping_forever(self) -> None:
        while True:
            self.pings += 1
            nonce = str(self.pings)
            self._pinged[nonce] = time.monotonic()
            await self.connection.send(Ping(type="ping", nonce=nonce))
            await asyncio.sleep(PING_EVERY_S)

    def take(self, message: object) -> None:
        match message:
            case ContainerAck(status="accepted"):
                self.accepted_at = time.monotonic()
            case ContainerAck() as ack if ack.status in FINAL_STATUSES:
                self._end(ActionKey(ack.host, ack.request_id, ack.target), ack.status)
            case Error(request_id=str() as request_id, target=None) as error:
                for target in range(self._sizes.get(request_id, 0)):
                    self._end(ActionKey(HOST, request_id, target), error.code)
            case Error(request_id=str() as request_id, target=int() as target) as error:
                self._end(ActionKey(HOST, request_id, target), error.code)
            case Heartbeat(nonce=str() as nonce) if nonce in self._pinged:
                self.ping_ms.append((time.monotonic() - self._pinged.pop(nonce)) * 1000)

    def _end(self, key: ActionKey, how: str) -> None:
        self.open.discard(key)
        self.came[key].append(how)
        self.ended_at = time.monotonic()


class Wave:
    """One flood on a stage."""

    def __init__(self, options: Options, stage: Stage, container_ids: Sequence[str], say: Say) -> None:
        self._options = options
        self._stage = stage
        self._say = say
        run = uuid.uuid4().hex[:8]
        wanted = [container_ids[number % len(container_ids)] for number in range(options.actions)]
        self._flooders = [
            Flooder(stage.urls[0], f"flood-{run}-{number}", options.verb, wanted[number :: options.clients])
            for number in range(options.clients)
        ]

    async def run(self) -> Findings:
        found = Findings(self._options.actions)
        processes = {part: _process(self._stage, part) for part in PARTS}
        async with AsyncExitStack() as stack:
            samplers = {
                part: await stack.enter_async_context(Sampler(lambda process=process: process.memory_info().rss))
                for part, process in processes.items()
            }
            bystander = await stack.enter_async_context(Bystander(self._stage.urls[0]))
            for flooder in self._flooders:
                await stack.enter_async_context(flooder)
            before = {part: process.memory_info().rss for part, process in processes.items()}
            began = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                pinging = [tasks.create_task(flooder.ping_forever()) for flooder in self._flooders]
                for flooder in self._flooders:
                    tasks.create_task(flooder.flood())
                await self._settle(began)
                for task in pinging:
                    task.cancel()
            found.took_s = max(flooder.ended_at for flooder in self._flooders) - began
            found.accepted_s = max(flooder.accepted_at for flooder in self._flooders) - began
            await asyncio.sleep(self._options.quiet_s)
            found.heartbeat_gap_s = bystander.longest_gap_s
            for part, sampler in samplers.items():
                after = processes[part].memory_info().rss
                found.rss_bytes[part] = (before[part], max(*sampler.values, before[part]), after)
            lost = [reason for listener in (bystander, *self._flooders) for reason in listener.lost]
        found.ping_ms = [ms for flooder in self._flooders for ms in flooder.ping_ms]
        found.pings = sum(flooder.pings for flooder in self._flooders)
        found.violations = [
            *(Violation("a connection was lost", reason) for reason in lost),
            *(Violation("a part failed", line) for line in self._stage.errors()),
        ]
        await self._audit(found)
        return found

    async def _settle(self, began: float) -> None:
        """Until every action has come to an end, or none does any more."""
        said_at = began
        while any(flooder.open for flooder in self._flooders):
            await asyncio.sleep(0.05)
            now = time.monotonic()
            if now - max(flooder.ended_at for flooder in self._flooders) > PATIENCE_S:
                self._say(f"nothing has come to an end for {PATIENCE_S:g} s: giving up")
                return
            if now - said_at > SAY_EVERY_S:
                said_at = now
                left = sum(len(flooder.open) for flooder in self._flooders)
                self._say(f"{self._options.actions - left} of {self._options.actions} settled")

    async def _audit(self, found: Findings) -> None:
        """Whether each came to one end, as its record says; one that was refused has none."""
        came: Mapping[ActionKey, list[str]] = {k: v for flooder in self._flooders for k, v in flooder.came.items()}
        records = await self._stage.records(list(came))
        audited = Counter(entry.key for entry in await self._stage.audit())
        for key, told in came.items():
            record = records.get(key)
            found.outcomes[told[0] if told else "none"] += 1
            said = REFUSED if record is None else record.status
            if set(told) != {said}:
                found.violations.append(Violation("not one outcome", f"{key}: told {told}, the record says {said}"))
            if audited[key] != (record is not None):
                found.violations.append(Violation("not in the audit once", f"{key}: {audited[key]} times"))
        unanswered = found.pings - len(found.ping_ms)
        if unanswered:
            found.violations.append(Violation("other traffic did not go on", f"{unanswered} pings without an answer"))


async def run_flood(options: Options, *, limited: bool, say: Say) -> list[Findings]:
    """Starts everything, floods, and ends everything, whatever happens. Returns the findings of each wave.

    `limited`: with the rate limits that an edge has by default. Raises NotReadyError and DockerFailedError.
    """
    settings = {**ALLOW_ALL, **({} if limited else NO_RATE_LIMIT), "FLEETCAST_HEARTBEAT_SEC": str(HEARTBEAT_S)}
    async with AsyncExitStack() as stack:
        say(f"starting {options.containers} containers and `fleetcast up`")
        container_ids = await stack.enter_async_context(containers(uuid.uuid4().hex[:8], options.containers))
        stage = await stack.enter_async_context(staged(1, settings, options.log))
        findings = []
        for number in range(1, options.waves + 1):
            limits = "with the default rate limits" if limited else "without rate limits"
            say(f"wave {number}: {options.actions} actions at once, {limits}")
            findings.append(await Wave(options, stage, container_ids, say).run())
        say("removing the containers, ending all processes")
    return findings


def _message(request_id: str, verb: ActionVerb, container_ids: Iterable[str]) -> ContainerAction:
    return ContainerAction(
        type="container-action",
        request_id=request_id,
        targets=tuple(Target(host=HOST, container_id=container_id) for container_id in container_ids),
        action=verb,
        expires_in_sec=EXPIRES_S,
    )


def _keys(message: ContainerAction) -> Iterable[ActionKey]:
    return (ActionKey(HOST, message.request_id, target) for target in range(len(message.targets or ())))


def _process(stage: Stage, part: str) -> psutil.Process:
    process = stage.process(part)
    if process is None:
        raise NotReadyError(f"{part} is not there")
    return process
