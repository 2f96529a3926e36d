"""What a viewer knows of the fleet: a fold of the edge's messages. Pure: no socket, no clock.

A state counts only where it is newer than what is there, by (epoch, seq). A value whose link is not live, and every
value while the connection is down, is not vouched for, and `why_stale` says why.
"""

from collections import deque
from typing import Any, NamedTuple, TypeVar

from common.keys import PUBLISHED_BY, StateKind
from common.models import Container, Usage
from common.protocol import (
    Connected,
    ContainersMessage,
    EventMessage,
    Heartbeat,
    HostsMessage,
    HostStatus,
    MetricsMessage,
    ProcessesMessage,
    ServerMessage,
    UsageMessage,
)

State = MetricsMessage | ContainersMessage | UsageMessage | ProcessesMessage

S = TypeVar("S", MetricsMessage, ContainersMessage, UsageMessage, ProcessesMessage)

MAX_EVENTS = 8
"""The last ones are kept."""


class Used(NamedTuple):
    """What a container uses."""

    cpu_percent: float | None
    memory_bytes: int | None


class Gap(NamedTuple):
    """Among the events: the connection was away, and some may be missing here."""

    until_ms: float


class Fleet:
    """The newest known state of every host, the last events, and whether the connection vouches for it."""

    def __init__(self, whole_roster: bool = True) -> None:
        """`whole_roster`: a `hosts` message names every host there is, so that one it leaves out is gone."""
        self._whole_roster = whole_roster
        self.roster: dict[str, HostStatus] = {}
        self.metrics: dict[str, MetricsMessage] = {}
        self.containers: dict[str, ContainersMessage] = {}
        self.usage: dict[str, UsageMessage] = {}
        self.processes: dict[str, ProcessesMessage] = {}
        self.events: deque[EventMessage | Gap] = deque(maxlen=MAX_EVENTS)
        """The newest last."""
        self._used: dict[str, dict[str, Used]] = {}
        self._connected = False
        self._heard_ms = 0.0
        self._clock_ahead_ms = 0.0
        self._good_until_ms: dict[tuple[str, StateKind], float] = {}

    def apply(self, message: ServerMessage, monotonic_s: float) -> bool:
        """Takes one message in; False where it is older than what is there."""
        is_new = True
        match message:
            case Connected() | Heartbeat():
                self._clock_ahead_ms = message.server_time - monotonic_s * 1000
                if not self._connected and self.events and isinstance(self.events[-1], EventMessage):
                    self.events.append(Gap(message.server_time))
                self._connected = True
            case MetricsMessage():
                is_new = _keep(self.metrics, message)
            case ContainersMessage():
                is_new = _keep(self.containers, message)
            case UsageMessage():
                is_new = _keep(self.usage, message)
                if is_new:
                    self._used[message.host] = _by_container(message.data)
            case ProcessesMessage():
                is_new = _keep(self.processes, message)
            case EventMessage():
                self.events.append(message)
            case HostsMessage():
                self._take_roster(message)
            case _:
                pass
        if is_new:
            self._heard_ms = self.now_ms(monotonic_s)
        return is_new

    def disconnected(self) -> None:
        """Nothing here is vouched for until `connected` comes again."""
        if self._connected:
            for status in self.roster.values():
                self._note_good(status)
            self._connected = False

    def now_ms(self, monotonic_s: float) -> float:
        """The time on Redis' clock."""
        return monotonic_s * 1000 + self._clock_ahead_ms

    def hosts(self) -> list[str]:
        return sorted({*self.roster, *self.metrics, *self.containers})

    def used(self, host: str, container: Container) -> Used | None:
        """What a container uses; None where that is not known, and of one that is not alive."""
        if container.state not in ("running", "paused"):
            return None  # the sample may be of the time before it ended
        return self._used.get(host, {}).get(container.id)

    def name_of(self, host: str, container_id: str) -> str | None:
        message = self.containers.get(host)
        for container in message.data if message else ():
            if container.id == container_id:
                return container.name
        return None

    def is_off(self, host: str) -> bool:
        """It is gone, as it may be."""
        status = self.roster.get(host)
        return self._connected and status is not None and is_off(status)

    def why_stale(self, host: str, kind: StateKind) -> str | None:
        """Why a value is not shown as live; None where it is."""
        if not self._connected:
            return "disconnected"
        status = self.roster.get(host)
        if status is None:
            return "not known to be live"
        if is_off(status):
            return "off"
        link = status.links.metrics if PUBLISHED_BY[kind] == "metrics" else status.links.containers
        return None if link.state == "live" else link.reason or link.state

    def age_s(self, host: str, kind: StateKind, now_ms: float) -> float | None:
        """How old a value is. A list of containers is sent on change only: it was still good when its link was last
        seen live, however long ago it was sampled."""
        states: dict[StateKind, State | None] = {
            "metrics": self.metrics.get(host),
            "containers": self.containers.get(host),
            "usage": self.usage.get(host),
            "processes": self.processes.get(host),
        }
        state = states[kind]
        if state is None:
            return None
        good_ms = max(state.sampled_at, self._good_until_ms.get((host, kind), 0))
        return max(0.0, (now_ms - good_ms) / 1000)

    def _take_roster(self, message: HostsMessage) -> None:
        for status in self.roster.values():
            self._note_good(status)
        named = {status.host: status for status in message.hosts}
        if self._whole_roster:
            by_host: tuple[dict[str, Any], ...] = (
                self.metrics,
                self.containers,
                self.usage,
                self.processes,
                self._used,
            )
            for gone in {*self.hosts(), *self.usage, *self.processes} - named.keys():
                for states in by_host:
                    states.pop(gone, None)
            self.roster = named
        else:
            self.roster |= named

    def _note_good(self, status: HostStatus) -> None:
        """What was live until the last message was good until then."""
        if self._connected and status.links.containers.state == "live":
            self._good_until_ms[status.host, "containers"] = self._heard_ms


def is_off(status: HostStatus) -> bool:
    """The host is gone, as it may be."""
    return status.status == "gone" and status.expected == "sometimes"


def _keep(states: dict[str, S], new: S) -> bool:
    """Keeps what is newer than what is there; False where it is not."""
    old = states.get(new.host)
    if old is not None and (new.epoch, new.seq) <= (old.epoch, old.seq):
        return False
    states[new.host] = new
    return True


def _by_container(usage: Usage) -> dict[str, Used]:
    return {
        container_id: Used(cpu, memory)
        for container_id, cpu, memory in zip(usage.ids, usage.cpu_percent, usage.memory_bytes, strict=False)
    }
