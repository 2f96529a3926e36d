"""What is shown of the findings: tables, what became of the targets, and the same as JSON."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from benchmarks.collector_parts import burst, latency, usage


class Target(NamedTuple):
    """Something to reach."""

    text: str
    found: str
    reached: bool | None
    """None: not known, because what it needs was not measured."""


def at_most(text: str, found: float | None, limit: float, unit: str = "", digits: int = 2) -> Target:
    return _target(text, found, unit, digits, lambda value: value <= limit)


def at_least(text: str, found: float | None, limit: float, unit: str = "", digits: int = 2) -> Target:
    return _target(text, found, unit, digits, lambda value: value >= limit)


def _target(text: str, found: float | None, unit: str, digits: int, reached: Callable[[float], bool]) -> Target:
    if found is None:
        return Target(text, "not measured", None)
    return Target(text, f"{found:.{digits}f}{unit}", reached(found))


def show_usage(console: Console, found: "usage.Findings") -> None:
    rounds = found.options.rounds
    several = "; median (least to most)" if rounds > 1 else ""
    windows_said = f"{rounds} x {found.options.seconds:g} s{several}"
    table = _table(
        f"usage of {found.containers} containers, CPU in % of one core, {windows_said}",
        *("", "own", "engine", "engine less idle", "together", "machine", "MB resident", "news a second"),
    )
    for row, windows in found.rows.items():
        processes = list(windows[0].own)
        added, cost = found.engine_added(row), found.cost(row)
        table.add_row(
            str(row),
            _span([sum(window.own.values()) for window in windows]) if processes else "",
            _span([sum(window.engine.values()) for window in windows]),
            f"{statistics.median(added):+.2f}" if added else "",
            f"{cost:.2f}" if processes and cost is not None else "",
            _span([window.machine for window in windows], ".0f"),
            _span(_memory(windows, processes[0]), ".0f") if len(processes) == 1 else "",
            _news(windows),
        )
        for name in processes if len(processes) > 1 else ():
            own = _span([window.own[name] for window in windows])
            table.add_row(f"  {name}", own, *[""] * 4, _span(_memory(windows, name), ".0f"))
    console.print(table)
    parts = {
        str(row): ", ".join(
            f"{part} {statistics.median(window.engine[part] for window in windows):.2f}" for part in windows[0].engine
        )
        for row, windows in found.rows.items()
    }
    for row_name, text in parts.items():
        console.print(f"  [dim]engine, {row_name}: {text}[/dim]")
    for row, why in found.missing.items():
        console.print(f"  [bold red]NOT MEASURED: {row}: {escape(why)}[/bold red]")
    _show_notes(console, found.notes)
    show_targets(console, found.targets())


def show_latency(console: Console, found: "latency.Findings") -> None:
    from benchmarks.collector_parts.latency import percentile

    table = _table(
        f"latency: ms after docker events shows the end of one of {found.containers} containers",
        *("", "p50", "p90", "p99", "most", "missed"),
    )
    for name, delays in found.series().items():
        known = [delay for delay in delays if delay is not None]
        cells = [f"{percentile(delays, percent):.0f}" for percent in (50, 90, 99)] if delays else [""] * 3
        table.add_row(
            name, *cells, f"{max(known):.0f}" if known else "", f"{len(delays) - len(known)} of {len(delays)}"
        )
    console.print(table)
    _show_notes(console, found.notes)
    show_targets(console, found.targets())


def show_burst(console: Console, found: "burst.Findings") -> None:
    table = _table(
        f"burst: {found.burst} containers came and went in {found.took_s:.1f} s, {found.survivors} stayed", "", ""
    )
    for group, percent in found.cpu_percent.items():
        name = "both collectors, busiest second" if group == "peak" else group
        table.add_row(f"CPU, % of one core: {name}", f"{percent:.1f}")
    for name, size in found.memory_bytes.items():
        table.add_row(f"MB resident: {name}", f"{size / 1e6:.1f}")
    table.add_row("transitions of survivors", str(found.transitions))
    table.add_row("  of them in docker events", str(found.docker_events))
    equal = "never" if found.equal_after_s is None else f"{found.equal_after_s:.1f} s after the burst"
    table.add_row("client's view equal to Docker's", equal)
    console.print(table)
    counts = ", ".join(f"{name} {count}" for name, count in sorted(found.counts.items()))
    console.print(f"  messages to the client: {counts}")
    _show_notes(console, [*found.differing, *found.notes])
    show_targets(console, found.targets())


def show_targets(console: Console, targets: Sequence[Target]) -> None:
    for target in targets:
        word = {True: "[green]reached[/green]", False: "[red]not reached[/red]", None: "[dim]unknown[/dim]"}
        console.print(f"  {word[target.reached]}  {escape(target.text)}: {escape(target.found)}", soft_wrap=True)
    console.print()


def usage_json(found: "usage.Findings") -> dict[str, Any]:
    return {
        "containers": found.containers,
        "seconds": found.options.seconds,
        "versions": found.versions,
        "rows": {str(row): [window._asdict() for window in windows] for row, windows in found.rows.items()},
        "cost_percent": {str(row): found.cost(row) for row in found.rows},
        "engine_added_percent": {str(row): found.engine_added(row) for row in found.rows},
        "missing": {str(row): why for row, why in found.missing.items()},
        "notes": found.notes,
        "targets": _targets_json(found.targets()),
    }


def latency_json(found: "latency.Findings") -> dict[str, Any]:
    return {**asdict(found), "targets": _targets_json(found.targets())}


def burst_json(found: "burst.Findings") -> dict[str, Any]:
    return {**asdict(found), "targets": _targets_json(found.targets())}


def _targets_json(targets: Sequence[Target]) -> list[dict[str, Any]]:
    return [target._asdict() for target in targets]


_MOST_SHOWN = 20
"""Notes; all of them are in the JSON."""


def _show_notes(console: Console, notes: Sequence[str]) -> None:
    for note in notes[:_MOST_SHOWN]:
        console.print(f"  [yellow]{escape(note)}[/yellow]", soft_wrap=True)
    if len(notes) > _MOST_SHOWN:
        console.print(f"  [yellow]... and {len(notes) - _MOST_SHOWN} more[/yellow]")


def _span(values: Sequence[float], form: str = ".2f") -> str:
    if not values:
        return ""
    middle = format(statistics.median(values), form)
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}} to {max(values):{form}})"


def _memory(windows: "Sequence[usage.Window]", process: str) -> list[float]:
    return [window.memory_bytes[process] / 1e6 for window in windows]


def _news(windows: "Sequence[usage.Window]") -> str:
    """Medians a second, of each kind that there is; of one alone without its name."""
    found = {kind: statistics.median(window.per_s[kind] for window in windows) for kind in windows[0].per_s}
    if len(found) == 1:
        return "".join(f"{rate:.2f}" for rate in found.values())
    return ", ".join(f"{kind} {rate:.2f}" for kind, rate in found.items() if rate)


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left", no_wrap=not number)
    return table
