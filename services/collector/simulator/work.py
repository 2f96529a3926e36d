"""What the two workers of a simulated host do in a tenure: what the collectors do, but for looking at a real one."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from common.keys import StateKind, Worker
from common.protocol import ContainersMessage, MetricsMessage, ProcessesMessage, UsageMessage
from common.tenure import StatePublisher, Tenure
from services.collector.event_publisher import EventPublisher
from services.collector.history import MetricsHistory, UsageHistory
from services.collector.messages import encoder
from services.collector.pace import Pace
from services.collector.simulator.fleet import SimulatedHost
from services.collector.transitions import Transitions, to_ms

logger = logging.getLogger(__name__)

REPUBLISH_S = 10.0
"""Containers of which nothing has changed are published again after this, as the collector does it."""


class Turns(NamedTuple):
    """How often a host publishes, in seconds, and whether its history too."""

    fast_s: float
    slow_s: float
    history: bool


async def show_metrics(tenure: Tenure, host: SimulatedHost, turns: Turns) -> None:
    """A tenure's job: never returns."""
    publisher = StatePublisher(tenure, "metrics")
    history = MetricsHistory() if turns.history else None

    async def publish(next_within_s: float) -> None:
        at = tenure.bus.clock.now_ms()
        data = host.metrics(at)
        points = history.points(at, data, next_within_s) if history else ()
        await publisher.publish(encoder(MetricsMessage, host.name, at, data), points, next_within_s)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_show_processes(tenure, host, turns.fast_s), name=f"processes of {host.name}")
        await _take_turns(tenure, "metrics", turns, publish)


async def show_containers(tenure: Tenure, host: SimulatedHost, turns: Turns) -> None:
    """A tenure's job: never returns."""
    tenure.tell_usage("cgroup")
    publisher = StatePublisher(tenure, "usage")
    history = UsageHistory() if turns.history else None

    async def publish(next_within_s: float) -> None:
        at = tenure.bus.clock.now_ms()
        data = host.usage(at)
        points = history.points(at, data, next_within_s) if history else ()
        await publisher.publish(encoder(UsageMessage, host.name, at, data), points, next_within_s)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_follow_containers(tenure, host), name=f"containers of {host.name}")
        await _take_turns(tenure, "usage", turns, publish)


JOBS: dict[Worker, Callable[[Tenure, SimulatedHost, Turns], Awaitable[None]]] = {
    "metrics": show_metrics,
    "containers": show_containers,
}


async def _take_turns(
    tenure: Tenure, kind: StateKind, turns: Turns, publish: Callable[[float], Awaitable[None]]
) -> None:
    """Publishes for ever at a kind's pace. A wake-up reaches all hosts at once, and all answer it at once; then each
    goes on at its own time in the interval."""
    pace = Pace(tenure, kind, turns.fast_s, turns.slow_s)
    while True:
        await publish(pace.interval_s)
        await pace.wait()


async def _show_processes(tenure: Tenure, host: SimulatedHost, fast_s: float) -> None:
    publisher = StatePublisher(tenure, "processes")
    pace = Pace(tenure, "processes", fast_s, math.inf)
    while True:
        await pace.wait()
        at = tenure.bus.clock.now_ms()
        await publisher.publish(encoder(ProcessesMessage, host.name, at, host.processes(at)))


async def _follow_containers(tenure: Tenure, host: SimulatedHost) -> None:
    """Publishes what has changed, and its events, when it does."""
    publisher = StatePublisher(tenure, "containers")
    events = EventPublisher(tenure)
    transitions = Transitions()
    while True:
        at = tenure.bus.clock.now_ms()
        for event in host.advance(at):
            transitions.on_event(event)
        containers = host.containers(at)
        transitions.on_snapshot(containers)
        for step in transitions.take():
            events.add(step, to_ms(step.at_ns, 0, at), "docker")
        await events.publish()
        encode = encoder(ContainersMessage, host.name, at, containers)
        done = await publisher.publish(encode, next_within_s=REPUBLISH_S)
        wait_s = REPUBLISH_S if done else 1.0
        if host.next_ms is not None:
            wait_s = min(wait_s, (host.next_ms - tenure.bus.clock.now_ms()) / 1000)
        await asyncio.sleep(max(0.0, wait_s))
