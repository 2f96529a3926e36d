"""Actions and the audit over HTTP, for programs that keep no connection open.

An action that was answered with its record is safe in Redis, so an edge that is about to go takes actions too.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from common.actions import Actions, EntryId, parse_record
from common.errors import BusError, MalformedError, ProtocolError
from common.http_models import ActionRequest, AuditPage
from common.models import (
    FINAL_STATUSES,
    ActionKey,
    ActionRecord,
    ContainerRef,
    HostId,
    RequestId,
    TargetIndex,
)
from common.telemetry import malformed
from common.tokens import Identity
from services.edge.access import authorise, hosts_seen
from services.edge.audit import MAX_READ, Page, wanted
from services.edge.limits import TokenBuckets
from services.edge.session import BURST_SEC
from services.edge.targets import Wanted

if TYPE_CHECKING:
    from services.edge.app import Edge

logger = logging.getLogger(__name__)

BODY_WITHIN_S = 10.0
"""A request's body that takes longer is refused."""

_AUDIT_WITHIN_S = 15.0


def add_action_routes(app: FastAPI, edge: "Edge") -> None:
    rate = edge.settings.max_actions_per_sec
    buckets = TokenBuckets(rate, rate * BURST_SEC)

    @app.post("/api/hosts/{host}/containers/{container}/actions")
    async def submit(request: Request, host: HostId, container: ContainerRef) -> Response:
        """202 while the action is under way, 200 once it is settled, with its record."""
        identity = _identity(edge, request)
        authorise(identity, "act", host)
        address = request.client.host if request.client else ""
        if not buckets.take((identity.user, address), time.monotonic()):
            raise ProtocolError("rate-limited", f"too many actions, {rate:g} a second are allowed: it was not begun")
        asked = _parse(request, await _read_body(request, edge.settings.max_message_bytes))
        one = Wanted(
            request_id=asked.request_id,
            target=None,
            host=host,
            container=container,
            action=asked.action,
            timeout_sec=asked.timeout_sec,
            expires_in_sec=asked.expires_in_sec,
            expect=asked.expect,
        )
        record = await edge.desk.submit(one, identity, edge.relay.hear_acks)
        location = f"/api/actions/{host}/{quote(record.request_id, safe='')}"
        status = 200 if record.status in FINAL_STATUSES else 202
        return _json(record.model_dump_json(), status, {"Location": location})

    @app.get("/api/actions/{host}/{request_id:path}")
    async def look(
        request: Request, host: HostId, request_id: RequestId, target: TargetIndex | None = None
    ) -> Response:
        authorise(_identity(edge, request), "see", host)
        record = await edge.desk.look(ActionKey(host, request_id, target))
        if record is None:
            told = f"no action {request_id!r} on {host}: outcomes are kept for a day, `target` names one of several"
            raise ProtocolError("unknown-action", told, request_id, target)
        return _json(record.model_dump_json())


def add_audit_route(app: FastAPI, edge: "Edge") -> None:
    actions = Actions(edge.bus)

    @app.get("/api/audit", responses={200: {"model": AuditPage}})
    async def audit(
        request: Request,
        host: HostId | None = None,
        actor: Annotated[str, Query(min_length=1, max_length=128)] | None = None,
        container: ContainerRef | None = None,
        before: Annotated[int, Query(ge=1, lt=2**63)] | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> Response:
        """The newest entries older than `before`, newest first; see services/edge/audit.py for what a page is."""
        identity = _identity(edge, request)
        authorise(identity, "audit", host)
        hosts = [host] if host is not None else [status.host for status in hosts_seen(identity, edge.hub.hosts)]
        page = Page(hosts, limit, before, wanted(actor, container))
        await _read_page(actions, page)
        entries, older, is_cut = page.answer()
        if is_cut:
            logger.warning("one millisecond of the audit has more than %d entries: not all are shown", MAX_READ)
        return _json(AuditPage(entries=tuple(entries), before=older).model_dump_json())


def _identity(edge: "Edge", request: Request) -> Identity:
    return edge.gatekeeper.identify(request.headers.get("authorization"))


async def _read_body(request: Request, limit: int) -> bytes:
    """Keeps no more than `limit` bytes of it, whatever the headers say. Raises ProtocolError."""
    too_large = ProtocolError("too-large", f"body: at most {limit} bytes")
    if int(request.headers.get("content-length", 0)) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise too_large
    except ClientDisconnect:
        raise ProtocolError("invalid-message", "body: the connection ended before it did") from None
    except TimeoutError:
        raise ProtocolError("invalid-message", f"body: did not come within {BODY_WITHIN_S:g} s") from None
    return bytes(body)


def _parse(request: Request, body: bytes) -> ActionRequest:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProtocolError("invalid-message", "content-type: send application/json")
    try:
        return ActionRequest.model_validate_json(body)
    except ValidationError as invalid:
        problems = invalid.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**problem, "loc": ("body", *problem["loc"])} for problem in problems]) from None


async def _read_page(actions: Actions, page: Page) -> None:
    """Raises ProtocolError (`unavailable`)."""
    try:
        async with asyncio.timeout(_AUDIT_WITHIN_S):
            while chunks := page.chunks():
                for chunk, entries in zip(chunks, await actions.read_audit(chunks), strict=True):
                    page.take(chunk, _read_entries(chunk.host, entries))
    except (BusError, TimeoutError) as error:
        raise ProtocolError("unavailable", f"the audit cannot be read; ask again later: {error}") from error


def _read_entries(
    host: str, entries: Sequence[tuple[EntryId, Mapping[bytes, bytes]]] | MalformedError
) -> list[tuple[EntryId, ActionRecord | None]]:
    """None stands in the place of what cannot be read."""
    if isinstance(entries, MalformedError):
        _note_skipped(host, [entries])
        return []
    found: list[tuple[EntryId, ActionRecord | None]] = []
    problems = []
    for entry_id, fields in entries:
        try:
            found.append((entry_id, parse_record(fields)))
        except MalformedError as problem:
            problems.append(problem)
            found.append((entry_id, None))
    if problems:
        _note_skipped(host, problems)
    return found


def _note_skipped(host: str, problems: Sequence[MalformedError]) -> None:
    malformed.labels("audit entry").inc(len(problems))
    logger.warning("skipping %d entries of the audit of %s, the first: %s", len(problems), host, problems[0])


def _json(body: str | bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")
