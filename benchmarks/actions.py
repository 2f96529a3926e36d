"""Whether container actions are transactions, what that costs, and what a flood of them does to everybody else:

    python -m benchmarks.actions chaos         1,000 actions while executor, edges and Redis are killed in turn
    python -m benchmarks.actions overhead      what the way through Fleetcast adds to Docker's own time
    python -m benchmarks.actions flood         2,000 actions at once on one host

Each starts a `fleetcast up` with a Redis of its own and containers of its own (busybox:1) on the Docker engine, and
ends and removes all of them, after Ctrl-C too. Exit code 1 where anything does not add up.
"""

import json
import sys
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

from benchmarks.actions_parts import chaos as chaos_part
from benchmarks.actions_parts import flood as flood_part
from benchmarks.actions_parts import overhead as overhead_part
from benchmarks.actions_parts.containers import DockerFailedError
from benchmarks.actions_parts.overhead import ActionFailedError
from benchmarks.actions_parts.report import (
    chaos_json,
    flood_json,
    overhead_json,
    show_chaos,
    show_flood,
    show_overhead,
)
from benchmarks.actions_parts.stage import NotReadyError
from benchmarks.command import run_command, say
from common.errors import FleetcastError

_EXPECTED = (FleetcastError, NotReadyError, DockerFailedError, ActionFailedError)
"""What may go wrong on this machine: said in one line."""

app = typer.Typer(
    help="Whether container actions are transactions, what that costs, and what a flood does to everybody else. Each "
    "command starts a `fleetcast up` with a Redis of its own and containers of its own (busybox:1) on the Docker "
    "engine, and ends and removes all of them, after Ctrl-C too.",
    epilog="Begin with `chaos --actions 150 --containers 6 --kill-every 2`: half a minute.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

JsonFile = Annotated[
    typer.FileTextWrite | None,
    typer.Option("--json", lazy=False, metavar="FILE", help="Write the figures here too; - prints them instead."),
]
LogFile = Annotated[
    typer.FileBinaryWrite | None,
    typer.Option("--log", lazy=False, metavar="FILE", help="Keep what the parts of `fleetcast up` said here."),
]


class Verb(StrEnum):
    """What a flood may ask for: what can be done to a running container again and again."""

    START = "start"
    RESTART = "restart"


@app.command(short_help="Actions while executor, edges and Redis are killed in turn.")
def chaos(
    actions: Annotated[int, typer.Option(help="How many in all.", min=1)] = 1_000,
    containers: Annotated[int, typer.Option(help="Containers that they are for.", min=1)] = 20,
    clients: Annotated[int, typer.Option(help="Clients that ask for them.", min=2)] = 4,
    edges: Annotated[int, typer.Option(help="Edges that the clients turn to.", min=2, max=16)] = 2,
    kill_every: Annotated[float, typer.Option(help="Seconds between two kills, on average.", min=0.5)] = 3.0,
    seed: Annotated[int, typer.Option(help="Another one makes another plan.")] = 1,
    json_file: JsonFile = None,
    log: LogFile = None,
) -> None:
    """Ask for actions while executor, edges and Redis are killed in turn with SIGKILL, and close the books.

    Most actions are restarts; the others are stop and start, pause and unpause, kill and start. Some have 2 s to begin,
    so that outages make them expire; some are asked for by two clients at once. In the end each must have one final
    status, the same for its clients, at every edge, in Redis and, once, in the audit; and what Docker's events say was
    done, when, must be what the statuses say, once and in time. Exit code 1 where it is not. Takes minutes.
    """
    options = chaos_part.Options(actions, containers, clients, edges, kill_every, seed, log)

    async def run() -> int:
        found = await chaos_part.run_chaos(options, say)
        if not _written(json_file, chaos_json(found)):
            show_chaos(_console(), found)
        return 1 if found.violations else 0

    run_command("benchmarks.actions", run(), _EXPECTED)


@app.command(short_help="What Fleetcast adds to Docker's own time.")
def overhead(
    rounds: Annotated[int, typer.Option(help="Of a pause and an unpause, each way.", min=1)] = 100,
    warm_up: Annotated[int, typer.Option(help="Rounds before, that do not count.", min=0)] = 10,
    json_file: JsonFile = None,
    log: LogFile = None,
) -> None:
    """Time the same pause and unpause by WebSocket, from sending it to its final ack, and directly at Docker, in turn.

    The difference at p50 is what Fleetcast adds; the target is at most 8 ms. It is shown with its split by stage, as
    the client saw it and as the records tell it. Only an idle machine gives figures that mean something.
    """

    async def run() -> int:
        found = await overhead_part.run_overhead(overhead_part.Options(rounds, warm_up, log), say)
        if not _written(json_file, overhead_json(found)):
            show_overhead(_console(), found)
        return 0

    run_command("benchmarks.actions", run(), _EXPECTED)


@app.command(short_help="Very many actions at once on one host.")
def flood(
    actions: Annotated[int, typer.Option(help="How many at once.", min=1, max=10_000)] = 2_000,
    containers: Annotated[int, typer.Option(help="Containers that they are for.", min=1)] = 20,
    clients: Annotated[int, typer.Option(help="Clients that ask for them.", min=1)] = 8,
    waves: Annotated[int, typer.Option(help="Floods one after the other, without rate limits.", min=1)] = 3,
    verb: Annotated[Verb, typer.Option(help="restart changes something, and takes minutes.")] = Verb.START,
    json_file: JsonFile = None,
    log: LogFile = None,
) -> None:
    """Ask for all of them at once on one host: without rate limits, and then with those that an edge has by default.

    All must be settled or, with the limits, refused as rate-limited; pings on the same connections must be answered
    meanwhile. Shows the longest gap in the heartbeats of a bystander and the memory of edge, executor and Redis.
    """
    options = flood_part.Options(actions, containers, clients, verb.value, waves, log=log)

    async def run() -> int:
        free = await flood_part.run_flood(options, limited=False, say=say)
        [limited] = await flood_part.run_flood(replace(options, waves=1), limited=True, say=say)
        figures = {"free": [flood_json(wave) for wave in free], "limited": flood_json(limited)}
        if not _written(json_file, figures):
            show_flood(_console(), "without rate limits", free)
            show_flood(_console(), "with the default rate limits", [limited])
        return 1 if any(wave.violations for wave in (*free, limited)) else 0

    run_command("benchmarks.actions", run(), _EXPECTED)


def _written(file: TextIO | None, figures: dict[str, Any]) -> bool:
    """Writes them; True where they went to standard output, and nothing else belongs there."""
    if file is None:
        return False
    file.write(json.dumps(figures, indent=2) + "\n")
    return file.name == sys.stdout.name


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.actions")
