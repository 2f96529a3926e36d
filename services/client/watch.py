"""`fleetcast watch`: the live feed in a terminal, as a log of changes, or as raw messages."""

import asyncio
import logging
import math
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from datetime import datetime

from rich.console import Console, RenderableType
from rich.live import Live

from common.errors import ProtocolError, SettingsError
from common.outage import Outage
from common.protocol import parse_channel
from common.settings import ClientSettings
from services.client.changes import ChangeLog
from services.client.connection import Down, EdgeConnection, Event, Received, Up, token_of
from services.client.fleet import Fleet
from services.client.terminal import LineWriter, first_done, one_line, until_signalled
from services.client.view import ConnectionLine, kinds_of, render

logger = logging.getLogger(__name__)

DEFAULT_CHANNELS = ("hosts", "metrics", "containers", "usage", "events")

_WITHOUT_LINES = frozenset({"usage", "processes"})
"""Too much for lines: they are for the tables and for programs."""

_REFRESH_S = 0.25
_AGES_EVERY_S = 1.0


async def run_watch(settings: ClientSettings, channels: Sequence[str] | None, as_json: bool) -> int:
    """Shows the feed until it is told to stop. Exit codes: 0 where nobody reads standard output any more, 130 and 143
    after signals.

    Raises SettingsError for a wrong channel or address and EdgeRefusedError where the edge will not have this client.
    """
    wanted = tuple(channels or DEFAULT_CHANNELS)
    for channel in wanted:
        try:
            parse_channel(channel)
        except ProtocolError as wrong:
            raise SettingsError("CHANNEL", str(wrong).removeprefix("channels: ")) from None
    if as_json:
        work = _tail(EdgeConnection(settings.url, wanted, token=token_of(settings)), LineWriter(sys.stdout.fileno()))
    else:
        console = Console()
        wanted = for_tables(wanted) if console.is_terminal else for_lines(wanted)
        connection = EdgeConnection(settings.url, wanted, token=token_of(settings))
        if console.is_terminal:
            work = _show(connection, wanted, settings.url, console)
        else:
            work = _log(connection, wanted, LineWriter(sys.stdout.fileno()))
    return await until_signalled(work)


def for_tables(channels: Sequence[str]) -> tuple[str, ...]:
    """The channels and what their tables lack: usage stands beside its containers."""
    return _with_links([*channels, *_alike(channels, "usage", "containers")])


def for_lines(channels: Sequence[str]) -> tuple[str, ...]:
    """Those of the channels that lines are made of, for what nobody is shown shall not be sampled either; and what they
    lack. Raises SettingsError where none is left."""
    told = [channel for channel in channels if channel.partition(":")[0] not in _WITHOUT_LINES]
    if not told:
        raise SettingsError("CHANNEL", "usage and processes are shown on a terminal or with --json, not as lines")
    return _with_links(told)


def _with_links(channels: Sequence[str]) -> tuple[str, ...]:
    """The channels, and `hosts` for every host that they are about: without its links nobody could tell whether its
    values are live."""
    return _once([*channels, *(":".join(["hosts", *channel.split(":")[1:]]) for channel in channels)])


def _alike(channels: Sequence[str], topic: str, other: str) -> list[str]:
    """For each channel of a topic, that of another one."""
    return [other + channel[len(topic) :] for channel in channels if channel.partition(":")[0] == topic]


def _once(channels: Sequence[str]) -> tuple[str, ...]:
    """Each channel once, and none of a single host where the topic is there for every host."""
    named = dict.fromkeys(channels)
    return tuple(name for name in named if ":" not in name or name.partition(":")[0] not in named)


async def _tail(connection: EdgeConnection, output: LineWriter) -> int:
    """Every message as it came."""
    outage = Outage("the edge", logger)
    with suppress(BrokenPipeError):
        async with aclosing(connection.events()) as events:
            async for event in events:
                match event:
                    case Up():
                        outage.over()
                    case Down():
                        outage.note(event.reason)
                    case Received():
                        await output.write(one_line(event.raw))
    return 0


async def _log(connection: EdgeConnection, channels: Sequence[str], output: LineWriter) -> int:
    """A line for each change."""
    fleet, changes = Fleet("hosts" in channels), ChangeLog(channels)
    away = False
    with suppress(BrokenPipeError):
        async with aclosing(connection.events()) as events:
            async for event in events:
                now_s = time.monotonic()
                lines: list[str] = []
                match event:
                    case Received() if fleet.apply(event.message, now_s):
                        lines = changes.lines(event.message, now_s)
                    case Down() if not away:
                        lines = [f"disconnected, values are stale: {event.reason}; reconnecting"]
                away = isinstance(event, Down) or (away and not isinstance(event, Up))
                for line in lines:
                    await output.write(f"{datetime.now().astimezone():%H:%M:%S} {line}")
    return 0


async def _show(connection: EdgeConnection, channels: Sequence[str], url: str, console: Console) -> int:
    """The tables."""
    screen = Screen(url, channels)
    with Live(console=console, screen=True, auto_refresh=False) as live:

        async def listen() -> None:
            async with aclosing(connection.events()) as events:
                async for event in events:
                    screen.take(event, time.monotonic())

        async def draw() -> None:
            drawn_s = -math.inf
            while True:
                now_s = time.monotonic()
                if screen.changed or now_s - drawn_s >= _AGES_EVERY_S:
                    screen.changed = False
                    drawn_s = now_s
                    live.update(screen.render(now_s, console.size.height, connection.skipped), refresh=True)
                await asyncio.sleep(_REFRESH_S)

        await first_done(listen(), draw())
    return 0


class Screen:
    """What stands on the screen: the fleet and the state of the connection."""

    def __init__(self, url: str, channels: Sequence[str]) -> None:
        self._url = url
        self._show = kinds_of(channels)
        self._fleet = Fleet("hosts" in channels)
        self._edge: str | None = None
        self._down: Down | None = None
        self._down_at_s = 0.0
        self.changed = True

    def take(self, event: Event, now_s: float) -> None:
        match event:
            case Up():
                self._edge, self._down = event.connected.edge_id, None
            case Down():
                self._edge, self._down, self._down_at_s = None, event, now_s
                self._fleet.disconnected()
            case Received():
                self._fleet.apply(event.message, now_s)
        self.changed = True

    def render(self, now_s: float, height: int, skipped: int) -> RenderableType:
        return render(self._fleet, self._connection(now_s, skipped), self._fleet.now_ms(now_s), height, self._show)

    def _connection(self, now_s: float, skipped: int) -> ConnectionLine:
        if self._edge is not None:
            unknown = f", {skipped} messages not understood" if skipped else ""
            return ConnectionLine(f"● connected to edge {self._edge}{unknown}", "green")
        if self._down is None:
            return ConnectionLine(f"○ connecting to {self._url}", "yellow")
        left_s = math.ceil(self._down_at_s + self._down.retry_in_s - now_s)
        when = f"reconnecting in {left_s} s" if left_s > 0 else "reconnecting now"
        return ConnectionLine(f"○ {self._down.reason}: {when} to {self._url}", "red")
