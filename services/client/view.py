"""What a viewer in a terminal sees of the fleet: its tables. Pure: no socket, no clock.

A value that is not vouched for is greyed and carries its age and the reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.keys import FeedKind
from common.models import Container, HostMetrics, Process
from common.protocol import EventMessage
from services.client.fleet import MAX_EVENTS, Fleet, Gap
from services.client.words import (
    describe_cause,
    describe_event,
    describe_links,
    describe_state,
    format_age,
    format_bytes,
    network_totals,
)
from services.output import plain

_KINDS: tuple[FeedKind, ...] = get_args(FeedKind)

_GREY = "bright_black"
_TOP = 5
"""Processes shown by CPU, and as many by memory."""


@dataclass(frozen=True)
class ConnectionLine:
    """How the connection stands."""

    text: str
    style: str


def kinds_of(channels: Iterable[str]) -> tuple[FeedKind, ...]:
    """What the channels show; `hosts` alone shows the hosts' table."""
    topics = {channel.partition(":")[0] for channel in channels}
    return tuple(kind for kind in _KINDS if kind in topics or (kind == "metrics" and "hosts" in topics))


def render(
    fleet: Fleet,
    connection: ConnectionLine,
    now_ms: float,
    height: int,
    show: Sequence[FeedKind] = ("metrics", "containers"),
) -> RenderableType:
    """The whole screen, at most `height` lines."""
    left = height - 2
    below: list[RenderableType] = []
    if "processes" in show:
        processes, used = processes_table(fleet, now_ms, max(3, left // 4))
        below += [Text(), processes]
        left -= used + 1
    if "events" in show:
        events, used = events_table(fleet, max(2, min(MAX_EVENTS, height // 5)))
        below += [Text(), events]
        left -= used + 1
    parts: list[RenderableType] = [_line(connection.text, connection.style)]
    if "metrics" in show:
        hosts, used = hosts_table(fleet, now_ms, max(3, left // 2 if "containers" in show else left))
        parts += [Text(), hosts]
        left -= used + 1
    if "containers" in show:
        containers, _ = containers_table(fleet, now_ms, max(3, left), with_usage="usage" in show)
        parts += [Text(), containers]
    return Group(*parts, *below)


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
            values = [_line(value.plain, _GREY) for value in values]
        shown_age = Text("-" if age is None else format_age(age), _age_style(fleet, host) if stale else "dim")
        rows.append([_line(host, "bold"), _line(said, style), *values, shown_age])
    columns = ("HOST", "STATUS", "CPU", "MEMORY", "DISK", "NET IN", "NET OUT", "AGE")
    return _table(columns, rows, height, "hosts", right_from=2)


def containers_table(fleet: Fleet, now_ms: float, height: int, with_usage: bool = False) -> tuple[RenderableType, int]:
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
                *(_usage_of(fleet, host, container) if with_usage else ()),
            ]
            if stale:
                age = format_age(fleet.age_s(host, "containers", now_ms) or 0)
                row = [_line(cell.plain, _GREY) for cell in row]
                row[4] = _line(f"{age} old: {stale}", _age_style(fleet, host))
            rows.append(row)
    columns = ("HOST", "CONTAINER", "STATE", "IMAGE", "STATUS", *(("CPU", "MEMORY") if with_usage else ()))
    return _table(columns, rows, height, "containers", right_from=5)


def _usage_of(fleet: Fleet, host: str, container: Container) -> list[Text]:
    """CPU, of which 100 % is one core, and memory."""
    used = fleet.used(host, container)
    cpu = used.cpu_percent if used else None
    memory = used.memory_bytes if used else None
    return [
        Text("-", _GREY) if cpu is None else Text(f"{cpu:.0f} %" if cpu >= 10 else f"{cpu:.1f} %"),
        Text("-", _GREY) if memory is None else Text(format_bytes(memory)),
    ]


def processes_table(fleet: Fleet, now_ms: float, height: int) -> tuple[RenderableType, int]:
    """A few lines a host, the greatest users of CPU first and then those of memory, and how many lines that takes."""
    rows = []
    for host, message in sorted(fleet.processes.items()):
        stale = fleet.why_stale(host, "processes")
        top = {process.pid: process for process in (*message.data.by_cpu[:_TOP], *message.data.by_memory[:_TOP])}
        for process in top.values():
            row = [
                _line(host, "dim"),
                _line(process.name, "bold"),
                _line(_container_of(fleet, host, process), "cyan"),
                Text(str(process.pid)),
                Text(f"{process.cpu_percent:.0f} %"),
                Text(format_bytes(process.memory_bytes)),
            ]
            rows.append([_line(cell.plain, _GREY) for cell in row] if stale else row)
    columns = ("HOST", "PROCESS", "IN", "PID", "CPU", "MEMORY")
    return _table(columns, rows, height, "processes", right_from=3)


def _container_of(fleet: Fleet, host: str, process: Process) -> str:
    if process.container_id is None:
        return ""
    return fleet.name_of(host, process.container_id) or process.container_id[:12]


def events_table(fleet: Fleet, count: int) -> tuple[RenderableType, int]:
    """The last events, the newest last, and how many lines that takes."""
    rows = [_event_row(event) for event in list(fleet.events)[-count:]]
    return _table(("TIME", "EVENT", "", ""), rows, count + 1, "events", right_from=4)


def _event_row(event: EventMessage | Gap) -> list[Text]:
    if isinstance(event, Gap):
        missing = "connected again: what happened meanwhile may be missing"
        return [_time(event.until_ms), _line(missing, "yellow"), Text(), Text()]
    return [
        _time(event.at),
        _line(f"{event.host}/{event.name}", ""),
        _line(describe_event(event), _event_style(event)),
        _line(describe_cause(event), "bold"),
    ]


def _time(at_ms: float) -> Text:
    return Text(f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%H:%M:%S}", "dim")


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[Text]], height: int, what: str, right_from: int
) -> tuple[RenderableType, int]:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=_GREY, pad_edge=False)
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


def _age_style(fleet: Fleet, host: str) -> str:
    """Of what is not live: quiet where the host may be off."""
    return _GREY if fleet.is_off(host) else "yellow"


def _state_style(container: Container) -> str:
    return _style_of(container.state, container.health, container.exit_code)


def _event_style(event: EventMessage) -> str:
    return _style_of(event.to, event.health, event.exit_code)


def _style_of(state: str | None, health: str | None, exit_code: int | None) -> str:
    if health == "unhealthy" or state == "dead":
        return "red"
    match state:
        case "running":
            return "green"
        case "paused" | "restarting" | "removing":
            return "yellow"
        case "exited" if exit_code:
            return "red"
        case _:
            return _GREY


def _load_style(percent: float, warm: float, hot: float) -> str:
    return "red" if percent >= hot else "yellow" if percent >= warm else ""
