"""What is known of the hosts over HTTP, for programs that poll: the roster, last states, last events, and history."""

import asyncio
import json
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Query, Request, Response
from pydantic import ValidationError

from common.envelope import body_prefix, unwrap
from common.errors import BusError, MalformedError, ProtocolError
from common.history import MINUTE_MS, SPAN_S, HistoryKind, read_points
from common.http_models import History, HostEvents, LastEvents
from common.keys import EVENTS_KEPT, StateKind
from common.models import HostId
from common.protocol import EventMessage, HostsMessage
from common.telemetry import malformed
from common.tokens import Identity
from services.edge.access import authorise, hosts_seen
from services.edge.history import Found, Wanted, columns
from services.edge.last_events import (
    MOST_ASKED,
    READ_AT_A_TIME,
    READ_AT_FIRST,
    READ_OF_A_HOST,
    Read,
    Seen,
    newest,
    to_read_on,
)

if TYPE_CHECKING:
    from services.edge.app import Edge

logger = logging.getLogger(__name__)

HISTORIES_AT_A_TIME = 2
MOST_WAITING = 32
"""Histories that wait for their turn; more are refused."""

PROCESSES_WITHIN_S = 5.0
"""A collector that hears that somebody wants processes has sampled them by then, or is not there."""

PROCESSES_NOT_OLDER_MS = 3_000

_LOOK_EVERY_S = 0.2

_MOST_MINUTES = SPAN_S["minute"] // 60
_FULL_MINUTES = SPAN_S["full"] // 60

_ContainerPrefix = Annotated[str, Query(pattern=r"^[0-9a-f]{1,64}$")]


def add_state_routes(app: FastAPI, edge: "Edge") -> None:
    _add_history(app, edge)
    _add_events(app, edge)
    _add_last_events(app, edge)
    _add_states(app, edge)  # last: its path fits those of the others too


def _add_states(app: FastAPI, edge: "Edge") -> None:
    @app.get("/api/hosts")
    async def hosts(request: Request) -> Response:
        identity = _identity(edge, request)
        authorise(identity, "see")
        seen = hosts_seen(identity, edge.hub.hosts)
        return _json(HostsMessage(hosts=seen).model_dump_json())

    @app.get("/api/hosts/{host}/{kind}")
    async def last_state(request: Request, host: HostId, kind: StateKind) -> Response:
        """The state last published. To ask for metrics, usage or processes counts as watching them for a while.
        Processes are sampled only then, so that their answer may take some seconds."""
        authorise(_identity(edge, request), "see", host)
        if kind == "processes":
            return _json(await _fresh_processes(edge, host))
        body = await _last_body(edge, host, kind)
        if body is None:
            raise ProtocolError("unknown-host", f"nothing is known of {kind} of {host}")
        if kind != "containers":
            edge.interests.note_asked(host, kind)
        return _json(body)


async def _last_body(edge: "Edge", host: str, kind: StateKind) -> bytes | None:
    """Raises ProtocolError (`unavailable`)."""
    try:
        [payload] = await edge.bus.last_states([(host, kind)])
        return None if payload is None else unwrap(payload, body_prefix(kind, host))[1]
    except (BusError, MalformedError) as error:
        raise ProtocolError("unavailable", str(error)) from error


async def _fresh_processes(edge: "Edge", host: str) -> bytes:
    """Raises ProtocolError."""
    if await _last_body(edge, host, "processes") is None and _is_known(edge, host) is False:
        raise ProtocolError("unknown-host", f"nothing is known of {host}")
    fresh_from = edge.bus.clock.now_ms() - PROCESSES_NOT_OLDER_MS
    edge.interests.note_asked(host, "processes")
    try:
        async with asyncio.timeout(PROCESSES_WITHIN_S):
            while True:
                body = await _last_body(edge, host, "processes")
                if body is not None and _sampled_at(body) >= fresh_from:
                    return body
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError:
        why = f"none came within {PROCESSES_WITHIN_S:g} s; {_what_of_its_collector(edge, host)}"
        raise ProtocolError("unavailable", f"no processes of {host}: {why}") from None


_SAMPLED_AT = re.compile(rb'"sampledAt":(\d{1,15})[,}]')


def _sampled_at(body: bytes) -> int:
    """Of a state as its collector has encoded it, where the time stands before the data. 0 where it does not."""
    found = _SAMPLED_AT.search(body, 0, 256)
    return int(found[1]) if found else 0


def _what_of_its_collector(edge: "Edge", host: str) -> str:
    for status in edge.hub.hosts or ():
        if status.host == host:
            link = status.links.metrics
            return f"its metrics collector is {link.state}" + (f" ({link.reason})" if link.reason else "")
    return "this edge has not found its collector yet"


def _add_events(app: FastAPI, edge: "Edge") -> None:
    @app.get("/api/hosts/{host}/events", responses={200: {"model": HostEvents}})
    async def last_events(
        request: Request, host: HostId, limit: Annotated[int, Query(ge=1, le=EVENTS_KEPT)] = 100
    ) -> Response:
        """The host's last events, the oldest first."""
        authorise(_identity(edge, request), "see", host)
        read = (await _read_events(edge, [host], limit))[host]
        if not read.entries:
            _expect_known(edge, host)
        bodies = b",".join(event.body for event in read.events)
        return _json(b'{"host":%b,"events":[%b]}' % (json.dumps(host).encode(), bodies))


def _add_last_events(app: FastAPI, edge: "Edge") -> None:
    @app.get("/api/events/last", responses={200: {"model": LastEvents}})
    async def last_events_of_all(
        request: Request, limit: Annotated[int, Query(ge=1, le=MOST_ASKED)] = 100, host: HostId | None = None
    ) -> Response:
        """The last events of all hosts, or of one, the oldest first. Of each of several hosts 50 at most: a host that
        did more in a short time has the rest on its own route."""
        identity = _identity(edge, request)
        authorise(identity, "see", host)
        if host is not None:
            found = await _read_events(edge, [host], limit)
            if not found[host].entries:
                _expect_known(edge, host)
        else:
            found = await _read_first(edge, [status.host for status in hosts_seen(identity, edge.hub.hosts)], limit)
        last = newest((event for read in found.values() for event in read.events), limit)
        return _json(b'{"events":[%b]}' % b",".join(event.body for event in last))


async def _read_first(edge: "Edge", hosts: Sequence[str], limit: int) -> dict[str, Read]:
    """What may be among the last events of these hosts. Raises ProtocolError (`unavailable`)."""
    if len(hosts) == 1:
        return await _read_events(edge, hosts, limit)
    found = await _read_events(edge, hosts, READ_AT_FIRST)
    return found | await _read_events(edge, to_read_on(found, limit), min(limit, READ_OF_A_HOST))


async def _read_events(edge: "Edge", hosts: Sequence[str], count: int) -> dict[str, Read]:
    """The last events of each of these hosts. Raises ProtocolError (`unavailable`)."""
    found: dict[str, Read] = {}
    hosts_at_a_time = max(1, READ_AT_A_TIME // count)
    for begin in range(0, len(hosts), hosts_at_a_time):
        some = hosts[begin : begin + hosts_at_a_time]
        try:
            payloads = await edge.bus.last_events(some, count)
        except BusError as error:
            raise ProtocolError("unavailable", str(error)) from error
        found |= {host: _read_payloads(host, of_host) for host, of_host in zip(some, payloads, strict=True)}
    return found


def _read_payloads(host: str, payloads: Sequence[bytes]) -> Read:
    problems: list[MalformedError] = []
    events = [event for payload in payloads if (event := _event(host, payload, problems)) is not None]
    _note_skipped("event", host, problems)
    return Read(len(payloads), events)


def _event(host: str, payload: bytes, problems: list[MalformedError]) -> Seen | None:
    """An event as its collector has encoded it: what a later version has added stays in it."""
    try:
        _, body = unwrap(payload, body_prefix("event", host))
        at = EventMessage.model_validate_json(body, extra="ignore").at
    except MalformedError as problem:
        problems.append(problem)
    except ValidationError as invalid:
        problems.append(MalformedError("event", f"{invalid.errors(include_url=False)[0]['msg']} in {body[:80]!r}"))
    else:
        return Seen(at, body)
    return None


def _add_history(app: FastAPI, edge: "Edge") -> None:
    turns = asyncio.Semaphore(HISTORIES_AT_A_TIME)
    waiting = 0

    @app.get("/api/hosts/{host}/history", responses={200: {"model": History}})
    async def history(
        request: Request,
        host: HostId,
        minutes: Annotated[int, Query(ge=1, le=_MOST_MINUTES)] = _FULL_MINUTES,
        kind: HistoryKind | None = None,
        container: _ContainerPrefix | None = None,
        points: Annotated[int, Query(ge=10, le=1_000)] | None = None,
    ) -> Response:
        """What was sampled in the last minutes, up to 15 of them every sample; beyond, the mean of each minute and what
        was sampled since. `container`: of the usage, those containers whose id begins so. `points`: at most so many
        rows of each kind, means of equal spans of time where there is more."""
        nonlocal waiting
        authorise(_identity(edge, request), "see", host)
        if waiting >= MOST_WAITING:
            raise ProtocolError("unavailable", "too many histories are being asked for: ask again in a moment")
        waiting += 1
        try:
            async with turns:
                span_ms = minutes * MINUTE_MS
                wanted = Wanted(edge.bus.clock.now_ms() - span_ms, container, points, span_ms)
                parts, is_empty = await _history(edge, host, minutes, [kind] if kind else ["metrics", "usage"], wanted)
        finally:
            waiting -= 1
        if is_empty:
            _expect_known(edge, host)
        return _json(b'{"host":%b,"minutes":%d,%b}' % (json.dumps(host).encode(), minutes, b",".join(parts)))


async def _history(
    edge: "Edge", host: str, minutes: int, kinds: Sequence[HistoryKind], wanted: Wanted
) -> tuple[list[bytes], bool]:
    """The answer's members, and whether there is nothing in them. Raises ProtocolError (`unavailable`)."""
    parts = []
    is_empty = True
    for kind in kinds:
        try:
            found = await _find(edge, host, kind, minutes, wanted.since_ms)
        except BusError as error:
            raise ProtocolError("unavailable", str(error)) from error
        is_empty = is_empty and found.is_empty
        answer = await asyncio.to_thread(columns, kind, found, wanted)
        _note_skipped("history point", host, found.problems)
        parts.append(b'"%b":%b' % (kind.encode(), answer))
    return parts, is_empty


async def _find(edge: "Edge", host: str, kind: HistoryKind, minutes: int, since_ms: int) -> Found:
    if minutes <= _FULL_MINUTES:
        return Found(full=await read_points(edge.bus, host, kind, "full", since_ms))
    means = await read_points(edge.bus, host, kind, "minute", since_ms)
    # The last mean was added together with the first sample after its minute.
    full_since_ms = max(since_ms, means[0].added_at - MINUTE_MS) if means else since_ms
    return Found(means, await read_points(edge.bus, host, kind, "full", full_since_ms))


def _is_known(edge: "Edge", host: str) -> bool | None:
    """Whether the host stands in the roster; None before that has been read."""
    if edge.hub.hosts is None:
        return None
    return any(status.host == host for status in edge.hub.hosts)


def _expect_known(edge: "Edge", host: str) -> None:
    """Of a host without anything: raises ProtocolError unless it is at least in the roster."""
    known = _is_known(edge, host)
    if known is None:
        raise ProtocolError("unavailable", "the fleet's roster has not been read yet")
    if not known:
        raise ProtocolError("unknown-host", f"nothing is known of {host}")


def _note_skipped(what: str, host: str, problems: Sequence[MalformedError]) -> None:
    if problems:
        malformed.labels(what).inc(len(problems))
        logger.warning("skipping %d entries (%s) of %s, the first: %s", len(problems), what, host, problems[0])


def _identity(edge: "Edge", request: Request) -> Identity:
    """Raises ProtocolError (`unauthenticated`)."""
    return edge.gatekeeper.identify(request.headers.get("authorization"))


def _json(body: str | bytes) -> Response:
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})
