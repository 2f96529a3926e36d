"""The feed as a log: what changed, in lines, for `fleetcast watch` where there is no terminal. Pure."""

from collections.abc import Sequence

from common.models import Container
from common.protocol import (
    Connected,
    ContainersMessage,
    Error,
    EventMessage,
    HostsMessage,
    MetricsMessage,
    ServerMessage,
)
from services.client.words import (
    describe_cause,
    describe_event,
    describe_links,
    describe_state,
    format_bytes,
    network_totals,
)
from services.output import plain

Shown = tuple[str, str, int | None]
"""What of a container makes a line when it changes: name, state in words, start."""


class ChangeLog:
    """From messages, each newer than the one before it, to lines about what is not as it was.

    What happens to a container is told by its events where these are watched, and else by what differs between two
    lists; so is, after a time without a connection, what happened meanwhile.
    """

    def __init__(self, channels: Sequence[str], metrics_every_s: float = 10.0) -> None:
        self._channels = frozenset(channels)
        self._whole_roster = "hosts" in self._channels
        self._metrics_every_s = metrics_every_s
        self._links: dict[str, str] = {}
        self._containers: dict[str, dict[str, Shown]] = {}
        self._missed_events: set[str] = set()
        self._metrics_at_s: dict[str, float] = {}

    def lines(self, message: ServerMessage, monotonic_s: float) -> list[str]:
        match message:
            case Connected():
                self._missed_events = set(self._containers)
                said = [f"connected to edge {message.edge_id} as {message.user} ({message.role})"]
            case HostsMessage():
                said = self._roster(message)
            case ContainersMessage():
                said = self._snapshot(message)
            case EventMessage():
                parts = (describe_event(message), describe_cause(message))
                said = [f"{message.host}/{message.name}: {', '.join(filter(None, parts))}"]
            case MetricsMessage():
                said = self._numbers(message, monotonic_s)
            case Error():
                said = [f"error {message.code}: {message.message}"]
            case _:
                said = []
        return [plain(line) for line in said]

    def _roster(self, message: HostsMessage) -> list[str]:
        now = {status.host: describe_links(status)[0] for status in message.hosts}
        said = [f"{host}: {links}" for host, links in now.items() if self._links.get(host) != links]
        if self._whole_roster:
            for host in self._links.keys() - now.keys():
                said.append(f"{host}: no longer in the fleet")
                self._containers.pop(host, None)
            self._links = now
        else:
            self._links |= now
        return said

    def _snapshot(self, message: ContainersMessage) -> list[str]:
        before = self._containers.get(message.host)
        now = {container.id: _shown(container) for container in message.data}
        self._containers[message.host] = now
        by_events = self._has_events(message.host) and before is not None
        self._missed_events.discard(message.host)
        said = []
        for container in message.data:
            was = (before or {}).get(container.id)
            name, state, started_at = now[container.id]
            if by_events:
                if was is not None and was[0] != name:
                    said.append(f"{message.host}/{was[0]}: renamed to {name}")
            elif was is None:
                word = "" if before is None else "new, "
                said.append(f"{message.host}/{name}: {word}{state}, {container.image}, {container.status}")
            elif was[1] != state:
                said.append(f"{message.host}/{name}: {was[1]} → {state}")
            elif was[2] != started_at:
                said.append(f"{message.host}/{name}: restarted, {state}")
            elif was[0] != name:
                said.append(f"{message.host}/{was[0]}: renamed to {name}")
        if not by_events:
            said += [f"{message.host}/{was[0]}: removed" for gone, was in (before or {}).items() if gone not in now]
        return said

    def _has_events(self, host: str) -> bool:
        """Whether events have told what has happened there since the last list."""
        return host not in self._missed_events and not self._channels.isdisjoint({"events", f"events:{host}"})

    def _numbers(self, message: MetricsMessage, monotonic_s: float) -> list[str]:
        last_s = self._metrics_at_s.get(message.host)
        if last_s is not None and monotonic_s - last_s < self._metrics_every_s:
            return []
        self._metrics_at_s[message.host] = monotonic_s
        data = message.data
        received, sent = network_totals(data)
        fullest = max(data.disks, key=lambda disk: disk.percent, default=None)
        parts = [
            f"cpu {data.cpu.percent:.0f} %",
            f"memory {data.memory.percent:.0f} % of {format_bytes(data.memory.total_bytes)}",
            *([f"disk {fullest.mount} {fullest.percent:.0f} %"] if fullest else []),
            f"net in {format_bytes(received)}/s out {format_bytes(sent)}/s",
        ]
        return [f"{message.host}: {', '.join(parts)}"]


def _shown(container: Container) -> Shown:
    return container.name, describe_state(container), container.started_at
