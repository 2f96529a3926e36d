"""What is shown of the findings: tables, and the same as JSON."""

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.actions_parts import chaos, flood, overhead
from benchmarks.actions_parts.books import Violation
from benchmarks.actions_parts.overhead import Percentiles
from common.models import FINAL_STATUSES, ActionStatus, ActionVerb

_MOST_SHOWN = 20
"""Violations; all of them are in the JSON."""

_FINALS: list[ActionStatus] = [status for status in get_args(ActionStatus) if status in FINAL_STATUSES]


def show_chaos(console: Console, found: chaos.Findings) -> None:
    table = _table("chaos: what became of the actions", "", *_FINALS, "all")
    verbs: Sequence[ActionVerb] = get_args(ActionVerb)
    for verb in verbs:
        counts = [found.outcomes[verb, status] for status in _FINALS]
        if any(counts):
            table.add_row(verb, *map(str, counts), str(sum(counts)))
    sums = [sum(found.outcomes[verb, status] for verb in verbs) for status in _FINALS]
    table.add_section()
    table.add_row("all", *map(str, sums), str(sum(sums)))
    console.print(table)
    killed = ", ".join(f"{part} {count}" for part, count in sorted(found.kills.items())) or "nothing"
    console.print(f"asked for: {found.actions}; took {found.took_s:.0f} s; killed: {killed}")
    for name, value in found.figures.items():
        console.print(f"{name.replace('_', ' ')}: {_plainly(value)}")
    _show_violations(console, found.violations)


def show_overhead(console: Console, found: overhead.Findings) -> None:
    table = _table(f"overhead: pause and unpause, {len(found.times)} each way, ms", "", *Percentiles._fields)
    for rows in (found.totals(), found.stages(), found.recorded()):
        for name, percentiles in rows.items():
            table.add_row(name, *(f"{value:.2f}" for value in percentiles))
        table.add_section()
    console.print(table)
    word = "[green]reached[/green]" if found.overhead_ms <= overhead.TARGET_MS else "[red]not reached[/red]"
    console.print(f"at p50: {found.overhead_ms:+.2f} ms; at most {overhead.TARGET_MS:g} ms {word}")


def show_flood(console: Console, title: str, waves: Sequence[flood.Findings]) -> None:
    table = _table(
        f"flood: {waves[0].actions} actions at once, {title}",
        "",
        *(f"wave {number}" for number in range(1, len(waves) + 1)),
    )

    for outcome in sorted({outcome for wave in waves for outcome in wave.outcomes}):
        table.add_row(outcome, *[str(wave.outcomes[outcome]) for wave in waves])
    table.add_section()
    table.add_row("all accepted after, s", *[f"{wave.accepted_s:.2f}" for wave in waves])
    table.add_row("all settled after, s", *[f"{wave.took_s:.2f}" for wave in waves])
    due = f"longest gap between heartbeats, due every {flood.HEARTBEAT_S * 1000:.0f} ms"
    table.add_row(due, *[f"{wave.heartbeat_gap_s * 1000:.0f} ms" for wave in waves])
    table.add_row("pings beside the flood, answered", *[f"{len(wave.ping_ms)} of {wave.pings}" for wave in waves])
    table.add_row("  p50 / p99 / longest, ms", *[_pings(wave) for wave in waves])
    for part in flood.PARTS:
        table.add_row(f"{part}, MB before / at most / after", *[_sizes(wave, part) for wave in waves])
    console.print(table)
    _show_violations(console, [violation for wave in waves for violation in wave.violations])


def chaos_json(found: chaos.Findings) -> dict[str, Any]:
    outcomes: dict[str, dict[str, int]] = {}
    for (verb, status), count in sorted(found.outcomes.items()):
        outcomes.setdefault(verb, {})[status] = count
    return {
        "actions": found.actions,
        "took_s": found.took_s,
        "outcomes": outcomes,
        "kills": dict(found.kills),
        **found.figures,
        "violations": _as_json(found.violations),
        "begun": [str(window) for window in found.windows],
        "docker_events": [[event.container_id, event.kind, event.detail, event.at_ms] for event in found.events],
    }


def overhead_json(found: overhead.Findings) -> dict[str, Any]:
    return {
        "actions": len(found.times),
        "overhead_p50_ms": found.overhead_ms,
        "target_ms": overhead.TARGET_MS,
        **{
            group: {name: percentiles._asdict() for name, percentiles in rows.items()}
            for group, rows in (
                ("totals_ms", found.totals()),
                ("stages_ms", found.stages()),
                ("recorded_ms", found.recorded()),
            )
        },
    }


def flood_json(found: flood.Findings) -> dict[str, Any]:
    several = len(found.ping_ms) > 1
    return {
        "actions": found.actions,
        "outcomes": dict(found.outcomes),
        "accepted_s": found.accepted_s,
        "took_s": found.took_s,
        "heartbeat_due_s": flood.HEARTBEAT_S,
        "heartbeat_gap_s": found.heartbeat_gap_s,
        "pings": found.pings,
        "pings_answered": len(found.ping_ms),
        "ping_ms": Percentiles.of(found.ping_ms)._asdict() if several else None,
        "rss_bytes": {
            part: dict(zip(("before", "most", "after"), sizes, strict=True)) for part, sizes in found.rss_bytes.items()
        },
        "violations": _as_json(found.violations),
    }


def _pings(wave: flood.Findings) -> str:
    if len(wave.ping_ms) < 2:
        return ""
    percentiles = Percentiles.of(wave.ping_ms)
    return f"{percentiles.p50:.1f} / {percentiles.p99:.1f} / {max(wave.ping_ms):.1f}"


def _sizes(wave: flood.Findings, part: str) -> str:
    return " / ".join(f"{size / 1e6:.1f}" for size in wave.rss_bytes[part])


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left", no_wrap=not number)
    return table


def _show_violations(console: Console, violations: Sequence[Violation]) -> None:
    for violation in violations[:_MOST_SHOWN]:
        console.print(f"[red]{escape(violation.rule)}[/red]: {escape(violation.text)}", soft_wrap=True)
    if len(violations) > _MOST_SHOWN:
        console.print(f"[red]... and {len(violations) - _MOST_SHOWN} more[/red]")
    colour = "red" if violations else "green"
    console.print(f"[{colour}]violations: {len(violations)}[/{colour}]")
    console.print()


def _as_json(violations: Iterable[Violation]) -> list[dict[str, str]]:
    return [{"rule": violation.rule, "text": violation.text} for violation in violations]


def _plainly(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return f"{value:.0f}" if isinstance(value, float) else str(value)
