"""What the collectors cost and how soon they know, side by side with their peers on this machine:

    python -m benchmarks.collector                   all of it
    python -m benchmarks.collector usage             CPU and memory: docker stats, Glances, the collectors
    python -m benchmarks.collector latency           from Docker's event to a client's message
    python -m benchmarks.collector burst             what becomes of some containers while very many come and go

Containers of its own (busybox:1) run on the Docker engine of this machine, and are removed at the end, after Ctrl-C
too. Linux only. Exit code 1 where a target is not reached.
"""

import json
import os
import platform
import sys
import uuid
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

from benchmarks.collector_parts import burst as burst_part
from benchmarks.collector_parts import latency as latency_part
from benchmarks.collector_parts import usage as usage_part
from benchmarks.collector_parts.engine import Engine, EngineFailedError, containers
from benchmarks.collector_parts.meter import NotReadyError
from benchmarks.collector_parts.report import (
    Target,
    burst_json,
    latency_json,
    show_burst,
    show_latency,
    show_usage,
    usage_json,
)
from benchmarks.command import run_command, say
from common.errors import FleetcastError


class Part(StrEnum):
    USAGE = "usage"
    LATENCY = "latency"
    BURST = "burst"


_EXPECTED = (FleetcastError, NotReadyError, EngineFailedError, ConnectionError)
"""What may go wrong on this machine: said in one line."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(
    help="What the collectors cost and how soon they know, side by side with docker stats and Glances. Runs containers "
    "of its own (busybox:1) on the Docker engine of this machine, and removes them, after Ctrl-C too. Only an idle "
    "machine gives figures that mean something. Exit code 1 where a target is not reached.",
    epilog="Begin with `--containers 10 --rounds 1 --seconds 10 --stops 5 --burst 20`: two minutes, to see whether it "
    "works.",
)
def run(
    parts: Annotated[
        list[Part] | None, typer.Argument(metavar="[usage] [latency] [burst]", help="Default: all three.")
    ] = None,
    number: Annotated[int, typer.Option("--containers", help="That run in usage and latency.", min=1)] = 100,
    rounds: Annotated[int, typer.Option(help="Of usage: every system in turn, and nothing.", min=1)] = 3,
    seconds: Annotated[
        float, typer.Option(help="Of each measurement of usage; 30, or a multiple: shims work every 30 s.", min=1)
    ] = usage_part.PERIOD_S,
    settle: Annotated[float, typer.Option(help="Seconds before each measurement.", min=0)] = 5.0,
    glances: Annotated[bool, typer.Option(help="Measure Glances, installed from PyPI meanwhile.")] = True,
    stops: Annotated[int, typer.Option(help="Of latency.", min=1)] = 50,
    burst: Annotated[int, typer.Option(help="Containers that come and go.", min=1)] = 200,
    survivors: Annotated[int, typer.Option(help="Containers that stay meanwhile.", min=2)] = 20,
    at_once: Annotated[int, typer.Option(help="Containers of the burst at the same time.", min=1)] = 16,
    seed: Annotated[int, typer.Option(help="Another one makes other pauses and other actions.")] = 1,
    json_file: Annotated[
        typer.FileTextWrite | None,
        typer.Option("--json", lazy=False, metavar="FILE", help="Write the figures here too; - prints them instead."),
    ] = None,
    log: Annotated[
        typer.FileBinaryWrite | None,
        typer.Option("--log", lazy=False, metavar="FILE", help="Keep what collectors and edge said here."),
    ] = None,
) -> None:
    rows = tuple(row for row in usage_part.Row if glances or row not in usage_part.GLANCES)
    benchmark = Benchmark(
        number,
        usage_part.Options(rounds, seconds, settle, rows, log),
        latency_part.Options(stops, seed=seed, log=log),
        burst_part.Options(burst, survivors, at_once, seed, log),
        printed=json_file is None or json_file.name != sys.stdout.name,
    )
    run_command("benchmarks.collector", benchmark.play(parts or list(Part), json_file), _EXPECTED)


class Benchmark:
    """The parts, one after the other, each shown as soon as it is known."""

    def __init__(
        self,
        number: int,
        usage: usage_part.Options,
        latency: latency_part.Options,
        burst: burst_part.Options,
        *,
        printed: bool,
    ) -> None:
        self._number = number
        self._usage = usage
        self._latency = latency
        self._burst = burst
        self._console = Console(width=None if sys.stdout.isatty() else 180, highlight=False, quiet=not printed)
        self._figures: dict[str, Any] = {}
        self._targets: list[Target] = []

    async def play(self, parts: Sequence[Part], file: TextIO | None) -> int:
        """The exit code."""
        run = uuid.uuid4().hex[:8]
        engine = Engine()
        self._figures["machine"] = machine = _machine(await engine.version())
        self._console.print(machine)
        try:
            if Part.USAGE in parts or Part.LATENCY in parts:
                say(f"starting {self._number} containers")
                async with containers(engine, run, self._number) as made:
                    if Part.USAGE in parts:
                        await self._play_usage(engine, made)
                    if Part.LATENCY in parts:
                        await self._play_latency(engine, run, made)
                    say("removing the containers")
            if Part.BURST in parts:
                say(f"starting {self._burst.survivors} containers")
                async with containers(engine, f"{run}b", self._burst.survivors) as made:
                    await self._play_burst(engine, f"{run}b", made)
                    say("removing the containers")
        finally:
            await engine.close()
            if file is not None:
                file.write(json.dumps(self._figures, indent=2) + "\n")
        return 1 if any(target.reached is False for target in self._targets) else 0

    async def _play_usage(self, engine: Engine, made: dict[str, str]) -> None:
        found = await usage_part.measure(engine, made, self._usage, say)
        self._figures["usage"] = usage_json(found)
        self._targets += found.targets()
        show_usage(self._console, found)

    async def _play_latency(self, engine: Engine, run: str, made: dict[str, str]) -> None:
        found = await latency_part.measure(engine, run, made, self._latency, say)
        self._figures["latency"] = latency_json(found)
        self._targets += found.targets()
        show_latency(self._console, found)

    async def _play_burst(self, engine: Engine, run: str, made: dict[str, str]) -> None:
        found = await burst_part.measure(engine, run, made, self._burst, say)
        self._figures["burst"] = burst_json(found)
        self._targets += found.targets()
        show_burst(self._console, found)


def _machine(docker: str) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "docker": docker,
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.collector")
