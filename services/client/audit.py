"""`fleetcast audit`: who did what to which container, and what came of it, from an edge's audit over HTTP."""

import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.errors import FleetcastError, SettingsError
from common.models import ActionRecord, ContainerRef, HostId
from common.protocol import Error
from common.settings import ClientSettings
from services.client.act import STATUS_STYLES
from services.client.connection import token_of
from services.output import plain, until_nobody_reads

logger = logging.getLogger(__name__)

MAX_LIMIT = 100_000

_MAX_PAGE = 500
_TABLE_COLUMNS = 120
_TIMEOUT_S = 20.0
_LAST_MS = 253_370_000_000_000
"""In the last year that a datetime has."""

_DIRECT = {f"all://{name}": None for name in ("localhost", "127.0.0.1", "[::1]")}
"""A proxy from the environment cannot reach this machine's loopback."""


@dataclass
class NoAuditError(FleetcastError):
    """The edge cannot be reached, or does not show its audit."""

    url: str
    reason: str

    def __str__(self) -> str:
        return f"no audit from {self.url}: {self.reason}"


@dataclass(frozen=True)
class Query:
    """Which entries to show; None: any."""

    host: str | None = None
    actor: str | None = None
    container: str | None = None
    before_ms: int | None = None
    limit: int = 50


class _Page(BaseModel):
    """What an edge answers."""

    entries: list[dict[str, Any]]
    before: int | None


def run_audit(settings: ClientSettings, query: Query, as_json: bool) -> int:
    """Prints the newest entries that fit: a table where a terminal has room for it, else a line each, or JSON.

    Raises SettingsError for an address that cannot be one, and NoAuditError.
    """
    url = audit_url(settings.url)
    console = Console(highlight=False)
    with _client(token_of(settings)) as http:
        entries = _entries(http, url, query)
        with until_nobody_reads():
            if as_json:
                _print(map(json.dumps, islice(entries, query.limit)))
            elif console.is_terminal:
                _show(console, list(_records(islice(entries, query.limit))))
                if next(entries, None) is not None:
                    console.print("There are older ones: --limit shows more, --before begins at another time.")
            else:
                _print(line(record).plain for record in _records(islice(entries, query.limit)))
    return 0


def parse_query(
    host: str | None, actor: str | None, container: str | None, before: str | None, limit: int, now: datetime
) -> Query:
    """What the command line asks for. Raises SettingsError that names the option that is wrong."""
    _check("--host", TypeAdapter(HostId), host, "a host id has 1 to 64 of A-Z a-z 0-9 . _ -")
    _check("--container", TypeAdapter(ContainerRef), container, "write its name, its id or the beginning of its id")
    if actor is not None and not 1 <= len(actor) <= 128:
        raise SettingsError("--actor", "a name has 1 to 128 characters")
    if not 1 <= limit <= MAX_LIMIT:
        raise SettingsError("--limit", f"must be 1 to {MAX_LIMIT} (it is {limit})")
    return Query(host, actor, container, None if before is None else _milliseconds(before, now), limit)


def audit_url(socket_url: str) -> str:
    """`wss://host:port/api/ws` → `https://host:port/api/audit`. Raises SettingsError."""
    try:
        parts = urlsplit(socket_url)
    except ValueError:
        raise _no_edge() from None
    path = parts.path.removesuffix("/")
    if not path.endswith("/api/ws"):
        raise _no_edge()
    scheme = "https" if parts.scheme == "wss" else "http"
    return f"{scheme}://{parts.netloc}{path.removesuffix('ws')}audit"


def table(records: Iterable[ActionRecord]) -> Table:
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black", pad_edge=False)
    for column in ("ENDED", "TOOK", "WHO", "ACTION", "CONTAINER", "OUTCOME", "EDGE"):
        shown.add_column(column, no_wrap=column in ("ENDED", "TOOK"), overflow="fold")
    for record in records:
        shown.add_row(
            f"{_local(record.at):%Y-%m-%d %H:%M:%S}",
            _took(record),
            Text(plain(record.actor)),
            record.action,
            Text(_container(record), "bold"),
            _outcome(record),
            Text(plain(record.edge_id), "bright_black"),
        )
    return shown


def line(record: ActionRecord) -> Text:
    """`2026-07-01T12:00:03+02:00 ops restart web-1/nginx: succeeded in 312 ms (asked of edge-1 1.2 s before)`."""
    ended = _local(record.at).isoformat(timespec="seconds")
    text = Text(plain(f"{ended} {record.actor} {record.action} {_container(record)}: "))
    text.append_text(_outcome(record))
    took = _took(record)
    if took or record.edge_id:
        asked = ("asked", f"of {record.edge_id}" if record.edge_id else "", f"{took} before" if took else "")
        text.append(plain(f" ({' '.join(filter(None, asked))})"), "bright_black")
    return text


def _container(record: ActionRecord) -> str:
    return plain(f"{record.host}/{record.name or record.container_id[:12]}")


def _outcome(record: ActionRecord) -> Text:
    text = Text(record.status, STATUS_STYLES.get(record.status, "bold red"))
    if record.noop:
        text.append(", was so already", "not bold default")
    elif record.status == "succeeded" and record.duration_ms is not None:
        text.append(f" in {_span(record.duration_ms)}", "not bold default")
    if record.error:
        text.append(f": {plain(record.error)}", "not bold default")
    return text


def _took(record: ActionRecord) -> str:
    """From being asked for to the end; empty where that is not known, for the record was lost meanwhile."""
    return "" if record.accepted_at is None else _span(max(0, record.at - record.accepted_at))


def _span(ms: int) -> str:
    if ms < 1000:
        return f"{ms} ms"
    return f"{ms / 1000:.1f} s" if ms < 120_000 else f"{ms // 60_000} min"


def _local(ms: int) -> datetime:
    return datetime.fromtimestamp(min(ms, _LAST_MS) / 1000).astimezone()


def _show(console: Console, records: Sequence[ActionRecord]) -> None:
    if not records:
        console.print("Nothing in the audit fits.")
    elif console.width >= _TABLE_COLUMNS:
        console.print(table(records))
    else:
        console.print(*map(line, records), sep="\n")


def _print(lines: Iterable[str]) -> None:
    for text in lines:
        print(text)
    sys.stdout.flush()


def _client(token: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        return httpx.Client(headers=headers, timeout=_TIMEOUT_S, mounts=_DIRECT)
    except (ValueError, ImportError, httpx.InvalidURL) as wrong:
        raise SettingsError("proxy of the environment", plain(str(wrong))) from None


def _entries(http: httpx.Client, url: str, query: Query) -> Iterator[dict[str, Any]]:
    """All that fit, newest first, read page by page as they are asked for. Raises NoAuditError."""
    asked = {"host": query.host, "actor": query.actor, "container": query.container}
    before = query.before_ms
    while True:
        page = _ask(http, url, {**asked, "before": before, "limit": min(query.limit + 1, _MAX_PAGE)})
        yield from page.entries
        if page.before is None:
            return
        if before is not None and page.before >= before:
            raise NoAuditError(_shown(url), "its pages do not come to an end: is it of this version?")
        before = page.before


def _ask(http: httpx.Client, url: str, params: dict[str, Any]) -> _Page:
    named = {name: value for name, value in params.items() if value is not None}
    try:
        answer = http.get(url, params=named)
    except httpx.InvalidURL:
        raise _no_edge() from None
    except httpx.RequestError as error:
        why = plain(str(error)) or type(error).__name__
        raise NoAuditError(_shown(url), f"{why}; is the edge there? --url or FLEETCAST_URL names another") from None
    if answer.status_code != 200:
        raise NoAuditError(_shown(url), _why(answer))
    try:
        return _Page.model_validate_json(answer.content)
    except ValidationError:
        raise NoAuditError(_shown(url), "what answers there is no edge of this version") from None


def _why(answer: httpx.Response) -> str:
    """What to do about a refusal, and the edge's own words."""
    try:
        said = Error.model_validate_json(answer.content, extra="ignore")
    except ValidationError:
        words = (
            answer.text.partition("\n")[0] if answer.headers.get("content-type", "").startswith("text/plain") else ""
        )
        return f"{plain(words)[:200] or 'what answers there is no edge of this version'} (HTTP {answer.status_code})"
    if said.code in ("unauthenticated", "forbidden"):
        return (
            f"{plain(said.message)} ({said.code}). It takes an admin's token, in FLEETCAST_TOKEN or --token-file; "
            "`fleetcast token --sub NAME --role admin` makes one"
        )
    return f"{plain(said.message)} ({said.code})"


def _no_edge() -> SettingsError:
    return SettingsError("--url / FLEETCAST_URL", "is no address of an edge: write ws://host:port/api/ws")


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{plain(parts.netloc.rpartition('@')[2])}"


def _records(entries: Iterable[dict[str, Any]]) -> Iterator[ActionRecord]:
    skipped = 0
    for entry in entries:
        try:
            yield ActionRecord.model_validate(entry)
        except ValidationError as invalid:
            skipped += 1
            if skipped == 1:
                problem = invalid.errors(include_url=False)[0]["msg"]
                logger.warning("skipping entries that this version does not know, the first: %s", plain(problem))


def _milliseconds(text: str, now: datetime) -> int:
    """`15m`, `12h`, `30d` ago, or `2026-07-01T12:00`, local where it names no zone."""
    ago = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    try:
        if ago:
            unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[ago[2]]
            then = now - timedelta(**{unit: int(ago[1])})
        else:
            then = datetime.fromisoformat(text)
        ms = int(then.timestamp() * 1000)
    except (ValueError, OverflowError):
        ms = 0
    if ms < 1:
        raise SettingsError(
            "--before", f"{plain(text)!r:.40} is no time: write 2026-07-01T12:00, or 12h for so long ago"
        )
    return ms


def _check(option: str, kind: TypeAdapter[str], text: str | None, rule: str) -> None:
    if text is not None:
        try:
            kind.validate_python(text)
        except ValidationError:
            raise SettingsError(option, f"{plain(text)!r:.80}: {rule}") from None
