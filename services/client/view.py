"""What a viewer in a terminal sees: a fold of the edge's messages, and its tables. Pure: no socket, no clock.

A state counts only where it is newer than what is there, by (epoch, seq). A value whose link is not live, and every
value while the connection is down, is greyed and carries its age.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.models import Container, HostMetrics
from common.protocol import (
    Connected,
    ContainersMessage,
    Heartbeat,
    HostsMessage,
    HostStatus,
    Link,
    MetricsMessage,
    ServerMessage,
)
from services.client.terminal import plain

Kind = Literal["metrics", "containers"]
State = MetricsMessage | ContainersMessage


class Fleet:
    """The newest known state of every host, and whether the connection vouches for it."""

    def __init__(self, whole_roster: bool = True) -> None:
        """`whole_roster`: a `hosts` message names every host there is, so that one it leaves out is gone."""
        self._whole_roster = whole_roster
        self.roster: dict[str, HostStatus] = {}
        self.metrics: dict[str, MetricsMessage] = {}
        self.containers: dict[str, ContainersMessage] = {}
        self._connected = False
        self._heard_ms = 0.0
        self._clock_ahead_ms = 0.0
        self._good_until_ms: dict[tuple[str, Kind], float] = {}

    def apply(self, message: ServerMessage, monotonic_s: float) -> bool:
        """Takes one message in; False where it is older than what is there."""
        match message:
            case Connected() | Heartbeat():
                self._clock_ahead_ms = message.server_time - monotonic_s * 1000
                self._connected = True
            case MetricsMessage():
                if not _is_newer(message, self.metrics.get(message.host)):
                    return False
                self.metrics[message.host] = message
            case ContainersMessage():
                if not _is_newer(message, self.containers.get(message.host)):
                    return False
                self.containers[message.host] = message
            case HostsMessage():
                self._take_roster(message)
            case _:
                pass
        self._heard_ms = self.now_ms(monotonic_s)
        return True

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

    def why_stale(self, host: str, kind: Kind) -> str | None:
        """Why a value is not shown as live; None where it is."""
        if not self._connected:
            return "disconnected"
        status = self.roster.get(host)
        if status is None:
            return "not known to be live"
        link = _link(status, kind)
        return None if link.state == "live" else link.reason or link.state

    def age_s(self, host: str, kind: Kind, now_ms: float) -> float | None:
        """How old a value is. A list of containers is sent on change only: it was still good when its link was last
        seen live, however long ago it was sampled."""
        state: State | None = self.metrics.get(host) if kind == "metrics" else self.containers.get(host)
        if state is None:
            return None
        good_ms = max(state.sampled_at, self._good_until_ms.get((host, kind), 0) if kind == "containers" else 0)
        return max(0.0, (now_ms - good_ms) / 1000)

    def _take_roster(self, message: HostsMessage) -> None:
        for status in self.roster.values():
            self._note_good(status)
        named = {status.host: status for status in message.hosts}
        if self._whole_roster:
            for gone in set(self.hosts()) - set(named):
                self.metrics.pop(gone, None)
                self.containers.pop(gone, None)
            self.roster = named
        else:
            self.roster |= named

    def _note_good(self, status: HostStatus) -> None:
        """What was live until the last message was good until then."""
        if self._connected and status.links.containers.state == "live":
            self._good_until_ms[status.host, "containers"] = self._heard_ms


def _is_newer(new: State, old: State | None) -> bool:
    return old is None or (new.epoch, new.seq) > (old.epoch, old.seq)


def _link(status: HostStatus, kind: Kind) -> Link:
    return status.links.metrics if kind == "metrics" else status.links.containers


# Rendering


@dataclass(frozen=True)
class ConnectionLine:
    """How the connection stands."""

    text: str
    style: str


def render(
    fleet: Fleet,
    connection: ConnectionLine,
    now_ms: float,
    height: int,
    show: Sequence[Kind] = ("metrics", "containers"),
) -> RenderableType:
    """The whole screen, at most `height` lines."""
    parts: list[RenderableType] = [_line(connection.text, connection.style), Text()]
    left = height - len(parts)
    if "metrics" in show:
        hosts, used = hosts_table(fleet, now_ms, max(3, left // 2 if "containers" in show else left))
        parts += [hosts, Text()]
        left -= used + 1
    if "containers" in show:
        containers, _ = containers_table(fleet, now_ms, max(3, left))
        parts.append(containers)
    return Group(*parts)


def hosts_table(fleet: Fleet, now_ms: float, height: int) -> tuple[RenderableType, int]:
    """One line a host, and how many lines that takes."""
    rows = []
    for host in fleet.hosts():
        message = fleet.metrics.get(host)
        stale = fleet.why_stale(host, "metrics")
        status = fleet.roster.get(host)
        said, style = describe_links(status) if status else ("unknown", "dim")
        age = fleet.age_s(host, "metrics", now_ms)
        values = _numbers(message.data) if message else [Text("-", "dim")] * 5
        if stale:
            values = [_line(value.plain, "bright_black") for value in values]
        shown_age = Text("-" if age is None else format_age(age), "yellow" if stale else "dim")
        rows.append([_line(host, "bold"), _line(said, style), *values, shown_age])
    columns = ("HOST", "STATUS", "CPU", "MEMORY", "DISK", "NET IN", "NET OUT", "AGE")
    return _table(columns, rows, height, "hosts", right_from=2)


def containers_table(fleet: Fleet, now_ms: float, height: int) -> tuple[RenderableType, int]:
    """One line a container, and how many lines that takes."""
    rows = []
    for host in fleet.hosts():
        stale = fleet.why_stale(host, "containers")
        message = fleet.containers.get(host)
        for container in sorted(message.data, key=lambda container: container.name) if message else ():
            row = [
                _line(host, "dim"),
                _line(container.name, "bold"),
                _line(describe_state(container), _state_style(container)),
                _line(container.image, "cyan"),
                _line(container.status, ""),
            ]
            if stale:
                age = format_age(fleet.age_s(host, "containers", now_ms) or 0)
                row = [_line(cell.plain, "bright_black") for cell in row[:4]]
                row.append(_line(f"{age} old: {stale}", "yellow"))
            rows.append(row)
    return _table(("HOST", "CONTAINER", "STATE", "IMAGE", "STATUS"), rows, height, "containers", right_from=5)


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[Text]], height: int, what: str, right_from: int
) -> tuple[RenderableType, int]:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black", pad_edge=False)
    for index, column in enumerate(columns):
        # A window that is too narrow cuts words, the widest first, and never a host's name or a number: rich takes
        # the width from columns that may wrap, though no cell here does.
        table.add_column(
            column, justify="right" if index >= right_from else "left", no_wrap=index == 0 or index >= right_from
        )
    room = height - 1
    shown = rows if len(rows) <= room else rows[: max(0, room - 1)]
    for row in shown:
        table.add_row(*row)
    if len(shown) == len(rows):
        if rows:
            return table, 1 + len(shown)
        return Group(table, _line(f"no {what} yet", "dim")), 2
    hidden = _line(f"… {len(rows) - len(shown)} more {what}: they need a taller window", "dim")
    return Group(table, hidden), 2 + len(shown)


def _line(text: str, style: str) -> Text:
    return Text(plain(text), style, no_wrap=True, overflow="ellipsis", end="\n")


def _numbers(data: HostMetrics) -> list[Text]:
    received, sent = network_totals(data)
    disk = max(data.disks, key=lambda disk: disk.percent, default=None)
    return [
        Text(f"{data.cpu.percent:.0f} %", _load_style(data.cpu.percent, 70, 90)),
        Text(f"{data.memory.percent:.0f} %", _load_style(data.memory.percent, 80, 92)),
        Text(f"{disk.percent:.0f} %" if disk else "-", _load_style(disk.percent if disk else 0, 80, 92)),
        Text(f"{format_bytes(received)}/s"),
        Text(f"{format_bytes(sent)}/s"),
    ]


def network_totals(data: HostMetrics) -> tuple[float, float]:
    """Bytes per second in and out, of the interfaces that lead off the machine: what passes a bridge is counted there
    already."""
    inner = ("lo", "veth", "docker", "br-", "virbr")
    outer = [item for item in data.network if not item.interface.startswith(inner)] or data.network
    return sum(item.rx_bytes_per_sec for item in outer), sum(item.tx_bytes_per_sec for item in outer)


def describe_links(status: HostStatus) -> tuple[str, str]:
    """A host's links in words (`live`, `gone: silent`, `containers gone: docker-unreachable`), and their style."""
    links = {"metrics": status.links.metrics, "containers": status.links.containers, "executor": status.links.executor}
    broken = {name: link for name, link in links.items() if link.state != "live"}
    if not broken:
        return "live", "green"
    if len(broken) == len(links) and len(set(broken.values())) == 1:
        return _describe_link(status.links.metrics), "red"
    return ", ".join(f"{name} {_describe_link(link)}" for name, link in broken.items()), "yellow"


def _describe_link(link: Link) -> str:
    return f"{link.state}: {link.reason}" if link.reason else link.state


def describe_state(container: Container) -> str:
    """`running`, `running, unhealthy`, `exited (137, out of memory)`."""
    if container.state in ("exited", "dead") and container.exit_code is not None:
        cause = ", out of memory" if container.oom_killed else ""
        return f"{container.state} ({container.exit_code}{cause})"
    if container.health == "starting":
        return f"{container.state}, health: starting"
    return f"{container.state}, {container.health}" if container.health else container.state


def _state_style(container: Container) -> str:
    if container.health == "unhealthy" or container.state == "dead":
        return "red"
    match container.state:
        case "running":
            return "green"
        case "paused" | "restarting" | "removing":
            return "yellow"
        case "exited" if container.exit_code:
            return "red"
        case _:
            return "bright_black"


def _load_style(percent: float, warm: float, hot: float) -> str:
    return "red" if percent >= hot else "yellow" if percent >= warm else ""


def format_bytes(count: float) -> str:
    """Three digits and a unit: `0 B`, `1.5 KiB`, `31.3 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def format_age(seconds: float) -> str:
    """`0 s`, `59 s`, `12 min`, `3 h`, `2 d`."""
    for unit, length, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds // 86400:.0f} d"


def kinds_of(channels: Iterable[str]) -> tuple[Kind, ...]:
    """Which tables the channels fill; `hosts` alone shows the hosts' table."""
    topics = {channel.partition(":")[0] for channel in channels}
    kinds: tuple[Kind, ...] = ("metrics", "containers")
    return tuple(kind for kind in kinds if kind in topics or (kind == "metrics" and "hosts" in topics))
