"""What is shown of the results: a table a workload, and what became of its targets."""

import statistics
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.fanout_parts.workload import Column, Results, Workload


def show(console: Console, workload: Workload, results: Results) -> None:
    console.print(_table(workload, results))
    for row, why in results.skipped.items():
        console.print(f"  {row}: skipped, {escape(why)}")
    for row, note in _notes(results):
        console.print(f"  [yellow]{row}: {escape(note)}[/yellow]")
    for target in workload.targets(results):
        word = {True: "[green]reached[/green]", False: "[red]not reached[/red]", None: "[dim]unknown[/dim]"}
        console.print(f"  {word[target.reached]}  {escape(target.text)}: {escape(target.found)}")
    console.print()


def _table(workload: Workload, results: Results) -> Table:
    several = any(len(rounds) > 1 for rounds in results.rows.values())
    title = f"{workload.name}: {workload.title}{'; median (least to most)' if several else ''}"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for column in workload.columns:
        table.add_column(column.header, justify="right")
    if workload.reference is not None:
        table.add_column(f"x {workload.reference[1]}", justify="right")
    for row in results.rows:
        cells = [_span(results.values(row, column.figure), column) for column in workload.columns]
        if workload.reference is not None:
            figure, reference = workload.reference
            ratio = results.ratio(figure, row, reference)
            cells.append("" if ratio is None else f"{ratio:.2f}")
        table.add_row(row, *cells)
    return table


def _span(values: list[float], column: Column) -> str:
    def shown(value: float) -> str:
        return format(value * column.times, column.format)

    if not values:
        return ""
    middle = shown(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({shown(min(values))} to {shown(max(values))})"


def _notes(results: Results) -> Iterator[tuple[str, str]]:
    for row, rounds in results.rows.items():
        for number, figures in enumerate(rounds, start=1):
            for note in figures.get("notes", ()):
                yield row, f"round {number}: {note}"
