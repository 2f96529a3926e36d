"""What the dashboard costs whoever has it open, on a simulated fleet and in Debian's Chromium:

    python -m benchmarks.dashboard                   all of it (25 minutes)
    python -m benchmarks.dashboard size paint        bytes to load; time to the first values on a slow CPU
    python -m benchmarks.dashboard steady            CPU, heap and long tasks of a page that stays open

Exit code 1 where a target is not reached.
"""

import json
import os
import statistics
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_command, say
from benchmarks.dashboard_parts.measure import (
    BUILT,
    THROTTLING,
    Bundle,
    FirstPaint,
    Steady,
    bundle,
    first_paint,
    steady,
)
from benchmarks.dashboard_parts.stage import StageError, browser, simulated_fleet
from common.errors import FleetcastError

PAGES = ("/", "/containers")


class Part(StrEnum):
    SIZE = "size"
    PAINT = "paint"
    STEADY = "steady"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=(__doc__ or "").partition("\n")[0], epilog="Only an idle machine gives figures that mean something.")
def run(
    parts: Annotated[
        list[Part] | None, typer.Argument(metavar="[size] [paint] [steady]", help="Default: all three.")
    ] = None,
    hosts: Annotated[int, typer.Option(help="Of the simulated fleet.", min=1)] = 100,
    containers: Annotated[int, typer.Option(help="Of each host.", min=0)] = 20,
    loads: Annotated[int, typer.Option(help="Of paint.", min=1)] = 9,
    minutes: Annotated[int, typer.Option(help="Of steady, for each page; the first is not counted.", min=2)] = 10,
    json_file: Annotated[
        typer.FileTextWrite | None,
        typer.Option("--json", lazy=False, metavar="FILE", help="Write the figures here too; - prints them instead."),
    ] = None,
) -> None:
    chosen = tuple(parts or Part)

    async def play() -> int:
        table = Table("figure", "reached", "to reach")
        figures: dict[str, Any] = {"hosts": hosts, "containers": containers, "cores": os.cpu_count()}
        reached: list[bool] = []

        def show(name: str, value: str, target: str = "", *, held: bool | None = None) -> None:
            table.add_row(name, value, target, style="red" if held is False else "")
            if held is not None:
                reached.append(held)

        if not (BUILT / "index.html").exists():
            raise StageError("the dashboard is not built: scripts/dashboard build")
        if Part.SIZE in chosen:
            found = bundle()
            figures["size"] = vars(found)
            _show_size(show, found)
        if Part.PAINT in chosen or Part.STEADY in chosen:
            say(f"starting {hosts} hosts")
            async with simulated_fleet(hosts, containers, "--interval", "1") as fleet, browser() as chromium:
                if Part.PAINT in chosen:
                    say(f"loading the page {loads} times")
                    painted = await first_paint(chromium, fleet.url, loads)
                    figures["paint"] = vars(painted)
                    _show_paint(show, painted)
                for path in PAGES if Part.STEADY in chosen else ():
                    open_page = await steady(chromium, fleet.url, path, minutes, say)
                    figures[f"steady {path}"] = vars(open_page)
                    _show_steady(show, path, open_page)
        Console(highlight=False, quiet=json_file is not None and json_file.name == sys.stdout.name).print(table)
        if json_file is not None:
            json_file.write(json.dumps(figures, indent=2) + "\n")
        return 0 if all(reached) else 1

    run_command("benchmarks.dashboard", play(), (FleetcastError, StageError))


def _show_size(show: Any, found: Bundle) -> None:
    show("JavaScript of the page, gzipped", f"{found.page / 1000:.0f} KB", "200 KB", held=found.page <= 200_000)
    show("with the views that it fetches afterwards", f"{found.all / 1000:.0f} KB")
    show("styles, gzipped", f"{found.styles / 1000:.0f} KB")


def _show_paint(show: Any, found: FirstPaint) -> None:
    name = f"first hosts with values, CPU {THROTTLING} times slower"
    value = f"{found.median_ms:.0f} ms ({min(found.fleet_shown):.0f} to {max(found.fleet_shown):.0f})"
    show(name, value, "1000 ms", held=found.median_ms <= 1000)
    show("first paint of anything", f"{statistics.median(found.painted):.0f} ms")


def _show_steady(show: Any, path: str, found: Steady) -> None:
    cpu = f"{found.cpu_percent:.1f} % of a core, {found.script_percent:.1f} % in scripts"
    show(f"{path}: CPU of the page", cpu, "25 %", held=found.cpu_percent <= 25)
    heap = f"{found.heap_bytes[0] / 1e6:.1f} MB, at most {found.heap_drift:.1%} from there"
    show(f"{path}: heap after its first minute", heap, "10 %", held=found.heap_drift <= 0.1)
    longest = f", the longest {max(found.long_tasks_ms)} ms" if found.long_tasks_ms else ""
    tasks = f"{len(found.long_tasks_ms)}{longest}"
    show(f"{path}: tasks over 100 ms", tasks, "0", held=not found.long_tasks_ms)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.dashboard")
