"""What it costs to bring one message to many browsers, side by side with other servers on this machine:

    python -m benchmarks.fanout [--only feed,fleet] [--rounds 3] [--seconds 8] [--clients 1000] [--json fanout.json]
    python -m benchmarks.fanout --quick        does the benchmark itself work? Its figures mean nothing

Every system gets the same messages and the same clients, one system after the other, round after round. The server
under test has the first core to itself; publisher, bus and load client share the others. What is measured is the CPU
time of the serving process, user and system, as the kernel counts it. Linux only; peers that are not installed are
skipped, with a line that says so.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.fanout_parts.hostile import Drain, Overload, Slow
from benchmarks.fanout_parts.machine import Cores, allow_open_files, describe, open_files_allowed, pinned
from benchmarks.fanout_parts.report import show
from benchmarks.fanout_parts.steady import Feed, FleetFeed, Idle, Quiet, Wire
from benchmarks.fanout_parts.systems import System
from benchmarks.fanout_parts.workload import Bench, Results, Workload

WORKLOADS: dict[str, Workload] = {
    workload.name: workload for workload in (Feed(), FleetFeed(), Quiet(), Overload(), Slow(), Idle(), Wire(), Drain())
}

USUAL_CLIENTS = 1_000


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Inventory:
    """Which systems can run here. Each is asked once."""

    def __init__(self, tools: Path) -> None:
        self._tools = tools
        self._missing: dict[System, str | None] = {}
        self.versions: dict[str, str] = {}

    async def missing(self, system: System) -> str | None:
        if system not in self._missing:
            self._missing[system] = why = await system.missing(self._tools)
            if why is None:
                self.versions[system.name] = system.version()
        return self._missing[system]


async def play(workload: Workload, rounds: int, bench: Bench, inventory: Inventory) -> Results:
    """Every row in turn, round after round. A run that fails is told and missing from the results."""
    results = Results()
    rows = {row: system for row, system in workload.rows().items() if not bench.systems or system.name in bench.systems}
    for row, system in list(rows.items()):
        why = await inventory.missing(system)
        if why is not None:
            results.skipped[row] = why
            say(f"{workload.name}: {row} skipped, {why}")
            del rows[row]
    rounds = min(rounds, workload.most_rounds)
    for number in range(1, rounds + 1):
        for row, system in rows.items():
            say(f"{workload.name} {number}/{rounds}: {row} ...")
            try:
                figures = await workload.run(row, system, bench)
            except Exception as error:
                traceback.print_exc()
                figures = {"notes": [f"failed: {error!r}"]}
            results.add(row, figures)
            for note in figures["notes"]:
                say(f"{workload.name} {number}/{rounds}: {row}: {note}")
    return results


def as_json(workload: Workload, results: Results) -> dict[str, Any]:
    return {
        "title": workload.title,
        "rows": results.rows,
        "skipped": results.skipped,
        "targets": [target._asdict() for target in workload.targets(results)],
    }


async def measure(options: argparse.Namespace) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200)
    cores = Cores.split()
    found: dict[str, Any] = {"comparable": options.comparable, "machine": describe(cores), "workloads": {}}
    console.print(found["machine"])
    if not options.comparable:
        console.print("[yellow]not the usual numbers of clients and times: not comparable[/yellow]")
    with tempfile.TemporaryDirectory(prefix="fanout-tools-") as tools, pinned(cores.others):
        inventory = Inventory(Path(tools))
        scale = options.clients / USUAL_CLIENTS
        bench = Bench(cores, Path(tools), options.systems, options.seconds, scale, options.quick)
        for name in options.only:
            results = await play(WORKLOADS[name], options.rounds, bench, inventory)
            show(console, WORKLOADS[name], results)
            found["workloads"][name] = as_json(WORKLOADS[name], results)
            found["systems"] = inventory.versions
            if options.json:
                options.json.write_text(json.dumps(found, indent=2) + "\n")
    console.print(inventory.versions)


def workload_names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no workload {unknown[0]!r}: there are {', '.join(WORKLOADS)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=workload_names, default=list(WORKLOADS), help="workloads, with commas between")
    parser.add_argument("--systems", type=lambda text: text.split(","), help="run no others; default: all")
    parser.add_argument("--rounds", type=int, help="3; some workloads are run twice at most")
    parser.add_argument("--seconds", type=float, help="of each measurement that has no length of its own: 8")
    parser.add_argument("--clients", type=int, help="of `feed`: 1000; the other workloads' change alike")
    parser.add_argument("--quick", action="store_true", help="a tenth of the clients, one short round")
    parser.add_argument("--json", type=Path, help="write all figures of all rounds here")
    options = parser.parse_args()
    usual = (3, 8.0, USUAL_CLIENTS)
    quick = (1, 2.0, USUAL_CLIENTS // 10)
    wanted = (options.rounds, options.seconds, options.clients)
    defaults = quick if options.quick else usual
    options.rounds, options.seconds, options.clients = (
        default if given is None else given for given, default in zip(wanted, defaults, strict=True)
    )
    options.comparable = (options.seconds, options.clients) == usual[1:]
    allow_open_files()
    needed = 10 * options.clients + 500
    if "idle" in options.only and open_files_allowed() < needed:
        parser.error(f"idle needs {needed} open files, and {open_files_allowed()} are allowed: raise `ulimit -Hn`")
    asyncio.run(measure(options))


if __name__ == "__main__":
    main()
