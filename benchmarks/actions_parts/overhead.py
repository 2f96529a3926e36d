"""What the way through edge, Redis and executor adds to an action: the same pause and unpause by WebSocket and
directly, in turn.

The direct call is made as the executor makes it, on a new connection to Docker's socket. One container, one edge, one
executor, nothing else to do.
"""

import statistics
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from benchmarks.actions_parts.containers import containers
from benchmarks.actions_parts.stage import ALLOW_ALL, HOST, NO_RATE_LIMIT, Stage, staged
from common.docker import Docker
from common.models import FINAL_STATUSES, ActionKey, ActionRecord, ActionVerb
from common.protocol import ContainerAck, ContainerAction, Error
from common.setting_kinds import default_docker_host
from services.client.connection import Down, EdgeConnection, Event, Received, Up

TARGET_MS = 8.0

SAY_EVERY_ROUNDS = 20

_PAIR: tuple[ActionVerb, ActionVerb] = ("pause", "unpause")


class ActionFailedError(Exception):
    """An action of the benchmark did not succeed."""


@dataclass(frozen=True)
class Options:
    """How much of it."""

    rounds: int = 100
    """Each has a pause and an unpause of either kind."""
    warm_up: int = 10
    """Rounds before, that are not counted."""
    log: BinaryIO | None = None


class Times(NamedTuple):
    """One action as its client saw it, ms since it was sent."""

    accepted: float
    running: float
    final: float


class Percentiles(NamedTuple):
    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Percentiles":
        """Needs two values or more."""
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        return cls(cuts[49], cuts[89], cuts[98])


@dataclass
class Findings:
    """All times in ms."""

    times: list[Times] = field(default_factory=list)
    direct: list[float] = field(default_factory=list)
    records: list[ActionRecord] = field(default_factory=list)

    @property
    def overhead_ms(self) -> float:
        """At p50."""
        return self._final().p50 - Percentiles.of(self.direct).p50

    def totals(self) -> dict[str, Percentiles]:
        return {"by WebSocket, to the final ack": self._final(), "directly": Percentiles.of(self.direct)}

    def stages(self) -> dict[str, Percentiles]:
        """The overhead's parts, as the client saw them; at p50 their sum is about the overhead."""
        direct_p50 = Percentiles.of(self.direct).p50
        return {
            "sent → accepted": Percentiles.of([times.accepted for times in self.times]),
            "accepted → running": Percentiles.of([times.running - times.accepted for times in self.times]),
            "running → final, less the direct p50": Percentiles.of(
                [times.final - times.running - direct_p50 for times in self.times]
            ),
        }

    def recorded(self) -> dict[str, Percentiles]:
        """The same as the records tell it, in whole ms."""
        records = self.records
        return {
            "acceptedAt → startedAt": _between(records, lambda record: (record.accepted_at, record.started_at)),
            "startedAt → at": _between(records, lambda record: (record.started_at, record.at)),
            "durationMs: Docker, as the executor timed it": _between(records, lambda record: (0, record.duration_ms)),
        }

    def _final(self) -> Percentiles:
        return Percentiles.of([times.final for times in self.times])


def _between(
    records: Iterable[ActionRecord], moments: Callable[[ActionRecord], tuple[int | None, int | None]]
) -> Percentiles:
    spans = [until - since for since, until in map(moments, records) if since is not None and until is not None]
    return Percentiles.of(spans)


class Overhead:
    """One run, with everything it needs there already."""

    def __init__(
        self, docker: Docker, connection: EdgeConnection, events: AsyncIterator[Event], container: str
    ) -> None:
        self._docker = docker
        self._connection = connection
        self._events = events
        self._container = container
        self._first_id = f"overhead-{uuid.uuid4().hex[:8]}"
        self._asked = 0
        self.request_ids: list[str] = []

    async def measure(self, rounds: int, say: Callable[[str], None]) -> Findings:
        """Which kind comes first changes from round to round."""
        findings = Findings()
        for number in range(rounds):
            for by_web_socket in (True, False) if number % 2 else (False, True):
                for verb in _PAIR:
                    if by_web_socket:
                        findings.times.append(await self._by_web_socket(verb))
                    else:
                        findings.direct.append(await self._directly(verb))
            if (number + 1) % SAY_EVERY_ROUNDS == 0:
                say(f"{number + 1} of {rounds} rounds")
        return findings

    async def _directly(self, verb: ActionVerb) -> float:
        began = time.perf_counter()
        await self._docker.act(self._container, verb, grace_s=None)
        return (time.perf_counter() - began) * 1000

    async def _by_web_socket(self, verb: ActionVerb) -> Times:
        self._asked += 1
        request_id = f"{self._first_id}-{self._asked}"
        self.request_ids.append(request_id)
        message = ContainerAction(
            type="container-action", request_id=request_id, host=HOST, container_id=self._container, action=verb
        )
        reached: dict[str, float] = {}
        began = time.perf_counter()
        await self._connection.send(message)
        async for event in self._events:
            match event:
                case Received(message=ContainerAck() as ack) if ack.request_id == request_id:
                    reached.setdefault(ack.status, (time.perf_counter() - began) * 1000)
                    if ack.status in FINAL_STATUSES:
                        break
                case Received(message=Error() as error):
                    raise ActionFailedError(f"{verb}: {error.code}, {error.message}")
                case Down():
                    raise ActionFailedError(f"{verb}: {event.reason}")
        if "succeeded" not in reached or ack.noop:
            raise ActionFailedError(f"{verb}: {ack.status}, {ack.error}")
        final = reached["succeeded"]
        running = reached.get("running", final)
        return Times(reached.get("accepted", running), running, final)


async def run_overhead(options: Options, say: Callable[[str], None]) -> Findings:
    """Starts everything, measures, and ends everything, whatever happens. Raises NotReadyError, DockerFailedError,
    DockerUnreachableError, DockerApiError and ActionFailedError."""
    async with AsyncExitStack() as stack:
        say("starting a container and `fleetcast up`")
        [container] = await stack.enter_async_context(containers(uuid.uuid4().hex[:8], 1))
        stage = await stack.enter_async_context(staged(1, {**ALLOW_ALL, **NO_RATE_LIMIT}, options.log))
        docker = Docker(default_docker_host())
        stack.push_async_callback(docker.close)
        connection = EdgeConnection(stage.urls[0])
        events = await stack.enter_async_context(aclosing(connection.events()))
        async for event in events:
            if isinstance(event, Up):
                break
        overhead = Overhead(docker, connection, events, container)
        say("warming up")
        await overhead.measure(options.warm_up, lambda _: None)
        overhead.request_ids.clear()
        findings = await overhead.measure(options.rounds, say)
        findings.records = await _records(stage, overhead.request_ids)
    return findings


async def _records(stage: Stage, request_ids: Iterable[str]) -> list[ActionRecord]:
    found = await stage.records([ActionKey(HOST, request_id) for request_id in request_ids])
    return [record for record in found.values() if record is not None]
