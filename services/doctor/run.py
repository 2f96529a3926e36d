"""`fleetcast doctor`: looks at what Fleetcast needs on this machine, and says what to do about what is wrong.

    parts     whether each part understands the settings
    redis     → server, clock, host: what it is, whose time it has, who works for this host
    docker    the engine
    keys      secrets and keys, and whether they belong together
    edge      whether one on this machine is ready

Each check has its deadline, and what one finds keeps no other from looking.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.docker import Docker
from common.errors import SettingsError
from common.host_id import ask_host_id
from common.settings import DoctorSettings, WorkerSettings
from services.doctor.docker import check_docker
from services.doctor.edge import check_edge
from services.doctor.finding import Finding, Level, exit_code
from services.doctor.keys import check_keys
from services.doctor.parts import check_parts
from services.doctor.redis import check_redis
from services.embedded import running_server_url
from services.output import plain, until_nobody_reads

logger = logging.getLogger(__name__)

CHECK_WITHIN_S = 30.0
"""Of each check: the longest there is waits for a Redis that swallows what it is sent."""

_HOST_ID_WITHIN_S = 3.0

_MARKS: Mapping[Level, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "note": ("·", "dim"),
    "warning": ("!", "bold yellow"),
    "failed": ("✗", "bold red"),
}


def run_doctor(settings: DoctorSettings, given: Mapping[str, Any], as_json: bool) -> int:
    """Prints what it finds, and returns the exit code: 1 where something has failed."""
    console = Console(highlight=False)
    progress = Console(stderr=True)
    with progress.status("looking at settings, Redis, Docker, keys ..."):
        findings = asyncio.run(examine(settings, given))
    with until_nobody_reads():
        if as_json:
            for finding in findings:
                print(json.dumps(asdict(finding)))
        else:
            show(console, findings)
    return exit_code(findings)


async def examine(settings: DoctorSettings, given: Mapping[str, Any]) -> list[Finding]:
    """Everything that is found, area by area."""
    settings, found_up = _as_up_has_it(settings)
    checks: dict[str, AsyncIterator[Finding]] = {
        "settings": _each(lambda: check_parts(given)),
        "redis": check_redis(settings, await _host_id(settings)),
        "docker": check_docker(settings),
        "keys": _each(lambda: check_keys(settings)),
        "edge": _one(settings),
    }
    found = await asyncio.gather(*(within(area, check) for area, check in checks.items()))
    return [finding for findings in (found_up, *found) for finding in findings]


def show(console: Console, findings: Iterable[Finding]) -> None:
    """A line for each finding, what to do about it below; where it is no terminal, on the same line."""
    if not console.is_terminal:
        for finding in findings:
            console.print(line(finding), soft_wrap=True, markup=False)
        return
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.level]
        words = Text(plain(finding.text), style if finding.level in {"warning", "failed"} else "")
        table.add_row(Text(mark, style), finding.area, words)
        if finding.advice:
            table.add_row("", "", Text(f"→ {plain(finding.advice)}"))
    console.print(table)


def line(finding: Finding) -> str:
    said = f"{_MARKS[finding.level][0]} {finding.area}: {plain(finding.text)}"
    return f"{said} → {plain(finding.advice)}" if finding.advice else said


async def within(area: str, check: AsyncIterator[Finding]) -> list[Finding]:
    """What a check finds, and that it did not come to its end where it hangs or fails."""
    found: list[Finding] = []
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            async for finding in check:
                found.append(finding)
    except TimeoutError:
        advice = "whatever is at the other end takes what it is sent and does not answer: restart it"
        found.append(Finding(area, "failed", f"no answer within {CHECK_WITHIN_S:g} s", advice))
    except Exception as error:  # what one check stumbles over keeps no other from being told
        logger.debug("the check of %s failed", area, exc_info=error)
        text = f"this could not be looked at to the end ({type(error).__name__}: {error})"
        found.append(Finding(area, "failed", text, "--log-level debug says more; it is a fault of fleetcast doctor"))
    return found


async def _each(check: Callable[[], Iterable[Finding]]) -> AsyncIterator[Finding]:
    for finding in check():
        yield finding


async def _one(settings: DoctorSettings) -> AsyncIterator[Finding]:
    yield await check_edge(settings)


def _as_up_has_it(settings: DoctorSettings) -> tuple[DoctorSettings, list[Finding]]:
    """Where no Redis is named and a `fleetcast up` runs here, its own is meant."""
    url = None if "redis_url" in settings.model_fields_set else running_server_url(settings.state_dir)
    if url is None:
        return settings, []
    note = Finding("settings", "note", f"a `fleetcast up` runs on {settings.state_dir}: its Redis is looked at")
    return settings.model_copy(update={"redis_url": url}), [note]


async def _host_id(settings: DoctorSettings) -> str:
    """As a worker here would find it; what the settings say where the engine does not tell."""
    docker = None
    try:
        docker = Docker(settings.docker_host)
        named = {"host_id"} & settings.model_fields_set
        worker = WorkerSettings.model_validate({name: getattr(settings, name) for name in named})
        async with asyncio.timeout(_HOST_ID_WITHIN_S):
            return await ask_host_id(worker, docker)
    except (SettingsError, TimeoutError):
        return settings.host_id
    finally:
        if docker is not None:
            await docker.close()
