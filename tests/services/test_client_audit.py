"""`fleetcast audit`: who did what, from a real edge, and one line for whatever is wrong."""

import asyncio
import json
import os
import pty
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from common.actions import Actions, Outcome
from common.bus import Bus
from common.errors import SettingsError
from common.models import ActionOrder
from common.roster import About
from common.tokens import make_token
from services.client.audit import Query, audit_url, line, parse_query
from services.embedded import EmbeddedServer
from tests.audits import audited, write_audit
from tests.edges import RunningEdge, running_edge
from tests.samples import ID_A, ID_B
from tests.support import PATIENCE_S, eventually

SECRET = "a secret of at least thirty-two bytes"


def token(role: Any = "admin", ttl_s: float = 60) -> str:
    return make_token(SECRET.encode(), f"a-{role}", role, ttl_s)


@pytest.fixture
async def edge(valkey: EmbeddedServer, bus: Bus) -> AsyncIterator[RunningEdge]:
    await bus.note_seen("web-1", "executor", About())
    async with running_edge(valkey.url, jwt_secret=SECRET) as running:
        await eventually(lambda: running.server.edge.hub.hosts, what="the roster")
        yield running


async def fleetcast(
    edge: RunningEdge | str, *arguments: str, stdout: int = asyncio.subprocess.PIPE, **environment: str
) -> tuple[int, str, str]:
    """Exit code, output and complaints of `fleetcast audit`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCAST_")}
    known = {"FLEETCAST_URL": edge if isinstance(edge, str) else edge.ws, "FLEETCAST_TOKEN": token()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", "audit", *arguments),
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**clean, **known, "TZ": "Etc/GMT-2", **environment},
    )
    async with asyncio.timeout(PATIENCE_S):
        out, complaints = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (out or b"").decode(), complaints.decode()


async def on_a_terminal(edge: RunningEdge, *arguments: str, columns: int = 160) -> str:
    """What a terminal is told, with its control sequences."""
    ours, theirs = pty.openpty()
    try:
        running = asyncio.create_task(
            fleetcast(edge, *arguments, stdout=theirs, TERM="xterm-256color", COLUMNS=str(columns))
        )
        code, _, complaints = await running
        assert (code, complaints) == (0, "")
        return os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def requests(json_lines: str) -> list[str]:
    return [json.loads(text)["requestId"] for text in json_lines.splitlines()]


async def settled(bus: Bus, request_id: str, outcome: Outcome, **fields: Any) -> None:
    """As an edge submits and an executor settles."""
    known: dict[str, Any] = {"container_id": ID_A, "name": "nginx", "action": "restart", "actor": "ann"}
    order = ActionOrder(
        request_id=request_id,
        host="web-1",
        edge_id="edge-1",
        deadline=bus.clock.now_ms() + 30_000,
        **{**known, **fields},
    )
    actions = Actions(bus)
    await actions.submit(order)
    assert await actions.claim(order, "token", executor="machine x") == "claimed"
    assert await actions.settle(order, "0-0", "token", outcome)


# What it shows


async def test_each_action_is_a_line_of_who_did_what_when_and_with_what_outcome(edge: RunningEdge, bus: Bus) -> None:
    await settled(bus, "r-1", Outcome("succeeded", duration_ms=312))
    await settled(bus, "r-2", Outcome("failed", error="no\tsuch\x1b[2J container"), actor="bob", name="")
    code, out, complaints = await fleetcast(edge)
    assert (code, complaints) == (0, "")
    newest, oldest = out.splitlines()
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+02:00"
    asked = r"\(asked of edge-1 \d+ ms before\)"
    assert re.fullmatch(f"{when} ann restart web-1/nginx: succeeded in 312 ms {asked}", oldest)
    assert re.fullmatch(f"{when} bob restart web-1/{ID_A[:12]}: failed: no�such�\\[2J container {asked}", newest)


async def test_on_a_terminal_it_is_a_table_that_nothing_in_it_can_steer(edge: RunningEdge, bus: Bus) -> None:
    await settled(bus, "r-1", Outcome("succeeded", duration_ms=312))
    await settled(bus, "r-2", Outcome("failed", error="no such [red]thing[/]\x1b[2J"), actor="b\x1b]0;b")
    shown = await on_a_terminal(edge)
    words = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    for column in ("ENDED", "TOOK", "WHO", "ACTION", "CONTAINER", "OUTCOME", "EDGE"):
        assert column in words.splitlines()[0]
    assert re.search(r" \d+ ms +b�\]0;b +restart +web-1/nginx +failed: no such \[red\]thing\[/\]�\[2J +edge-1", words)
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\d+ ms +ann +restart +web-1/nginx +succeeded in 312 ms", words)
    assert "\x1b[1;32msucceeded" in shown
    assert "\x1b[1;31mfailed" in shown
    assert "\x1b[2J" not in shown
    assert "older" not in words


async def test_on_a_narrow_terminal_each_action_is_a_line(edge: RunningEdge, bus: Bus) -> None:
    await settled(bus, "r-1", Outcome("succeeded", duration_ms=312))
    shown = await on_a_terminal(edge, columns=80)
    assert "\x1b[1;32msucceeded" in shown
    words = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", shown).split())
    assert re.search(r"T[0-9:+]+ ann restart web-1/nginx: succeeded in 312 ms \(asked of edge-1 \d+ ms before\)", words)


async def test_an_audit_of_nothing_is_said_on_a_terminal_and_is_no_line(edge: RunningEdge) -> None:
    assert "Nothing in the audit fits" in await on_a_terminal(edge)
    assert await fleetcast(edge) == (0, "", "")


async def test_a_table_that_is_not_all_says_how_to_see_more(edge: RunningEdge, bus: Bus) -> None:
    await write_audit(bus, "web-1", *((f"{ms}-0", audited("web-1", f"r-{ms}")) for ms in range(1, 4)))
    assert "There are older ones" in await on_a_terminal(edge, "--limit", "2")
    assert "There are older ones" not in await on_a_terminal(edge, "--limit", "3")


async def test_as_json_it_prints_the_entries_as_the_edge_has_them(edge: RunningEdge, bus: Bus) -> None:
    entry = audited("web-1", "r-1", noop=True, executor="machine x", accepted_at=3)
    await write_audit(bus, "web-1", ("1-0", entry))
    code, out, _ = await fleetcast(edge, "--json")
    assert code == 0
    [text] = out.splitlines()
    assert json.loads(text) == entry.model_dump(mode="json", exclude_none=True)


async def test_it_asks_page_after_page_until_there_are_as_many_as_were_asked_for(edge: RunningEdge, bus: Bus) -> None:
    await write_audit(bus, "web-1", *((f"{ms}-{ms % 3}", audited("web-1", f"r-{ms}")) for ms in range(1, 1301)))
    expected = [f"r-{ms}" for ms in range(1300, 0, -1)]
    for limit in (1, 500, 1100, 1300, 5000):
        code, out, _ = await fleetcast(edge, "--json", "--limit", str(limit))
        assert (code, requests(out)) == (0, expected[:limit])
    _, out, _ = await fleetcast(edge)
    assert len(out.splitlines()) == 50


async def test_it_shows_only_what_is_asked_for(edge: RunningEdge, bus: Bus) -> None:
    noon = int(datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2))).timestamp() * 1000)
    await write_audit(
        bus,
        "web-1",
        (f"{noon - 1}-0", audited("web-1", "a")),
        (f"{noon}-0", audited("web-1", "b", actor="bob")),
        (f"{noon + 1}-0", audited("web-1", "c", container_id=ID_B, name="db")),
    )
    await write_audit(bus, "old-1", (f"{noon}-0", audited("old-1", "d")))
    for arguments, expected in (
        (("--actor", "bob"), ["b"]),
        (("--container", "db"), ["c"]),
        (("--container", ID_A[:6]), ["b", "a"]),
        (("--host", "old-1"), ["d"]),
        (("--before", "2026-07-01T12:00"), ["a"]),
        (("--before", "2026-07-01T10:00Z"), ["a"]),
        (("--before", "2026-07-02"), ["c", "b", "a"]),
    ):
        code, out, complaints = await fleetcast(edge, "--json", *arguments)
        assert (code, requests(out), complaints) == (0, expected, ""), arguments


async def test_a_reader_that_goes_ends_it_quietly(edge: RunningEdge, bus: Bus) -> None:
    await write_audit(bus, "web-1", *((f"{ms}-0", audited("web-1", f"r-{ms}")) for ms in range(1, 1301)))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert await fleetcast(edge, "--json", "--limit", "1300", stdout=writing) == (0, "", "")
    finally:
        os.close(writing)


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(edge: RunningEdge) -> None:
    nobody = "http://127.0.0.1:1"
    code, _, complaints = await fleetcast(edge, HTTP_PROXY=nobody, http_proxy=nobody, ALL_PROXY=nobody, NO_PROXY="")
    assert (code, complaints) == (0, "")


# What is wrong


def only_line(complaints: str) -> str:
    [complaint] = complaints.splitlines()
    assert complaint.startswith("fleetcast: ")
    return complaint


async def test_who_is_no_admin_is_told_to_sign_in_as_one(edge: RunningEdge) -> None:
    for given, said in (
        (token("operator"), "the role operator may not audit"),
        (token(ttl_s=-1), "expired"),
        ("x.y.z", "cannot be read"),
        ("", "sign in"),
    ):
        code, out, complaints = await fleetcast(edge, FLEETCAST_TOKEN=given)
        assert (code, out) == (1, "")
        complaint = only_line(complaints)
        assert said in complaint
        assert "--role admin" in complaint
        assert not given or given not in complaint


async def test_an_edge_that_cannot_answer_is_one_line(edge: RunningEdge, valkey: EmbeddedServer) -> None:
    await valkey.stop()
    code, _, complaints = await fleetcast(edge)
    assert code == 1
    assert "unavailable" in only_line(complaints)
    code, _, complaints = await fleetcast("ws://ann:hush@127.0.0.1:1/api/ws")
    assert code == 1
    assert "http://127.0.0.1:1" in only_line(complaints)
    assert "--url or FLEETCAST_URL" in complaints
    assert "hush" not in complaints


@asynccontextmanager
async def answering(status: str, kind: str, *bodies: str) -> AsyncIterator[str]:
    """A server that is no edge: what it answers, the last for ever. Yields its address as an edge's."""
    left = list(bodies)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = (left.pop(0) if len(left) > 1 else left[0]).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/ws"


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        ("404 Not Found", "text/html", "<html>\n", "no edge of this version"),
        ("403 Forbidden", "text/plain", "This page may not:\x1b[2J see X.\n", "This page may not:�[2J see X."),
        ("200 OK", "text/html", "<html>\n", "no edge of this version"),
        ("200 OK", "application/json", '{"entries": 3, "before": null}', "no edge of this version"),
        ("200 OK", "application/json", '{"entries": [], "before": 7}', "do not come to an end"),
        (
            "500 Oh",
            "application/json",
            '{"type":"error","code":"unavailable","message":"soon\\u001b[2J"}',
            "soon�[2J (unavailable)",
        ),
    ],
)
async def test_what_is_no_edge_is_one_line(status: str, kind: str, body: str, said: str) -> None:
    async with answering(status, kind, body) as url:
        code, out, complaints = await fleetcast(url)
    assert (code, out) == (1, "")
    assert said in only_line(complaints)


async def test_an_entry_that_this_version_does_not_know_is_skipped_and_said() -> None:
    known = audited("web-1", "r-1").model_dump(mode="json", exclude_none=True)
    entries = [{**known, "status": "dancing"}, {**known, "mood": "good"}, {**known, "at": 10**15}, {}]
    async with answering("200 OK", "application/json", json.dumps({"entries": entries, "before": None})) as url:
        code, out, complaints = await fleetcast(url)
        assert (code, len(out.splitlines())) == (0, 2)
        assert len(complaints.splitlines()) == 1
        assert "skipping entries" in complaints
        code, out, _ = await fleetcast(url, "--json")
        assert [json.loads(text) for text in out.splitlines()] == entries


@pytest.mark.parametrize(
    ("arguments", "url", "said"),
    [
        (("--limit", "0"), None, "--limit"),
        (("--limit", "many"), None, "--limit"),
        (("--before", "soon"), None, "--before"),
        (("--before", "1969-01-01"), None, "--before"),
        (("--before", "999999d"), None, "--before"),
        (("--host", "a b"), None, "--host"),
        (("--actor", ""), None, "--actor"),
        (("--container", "a b"), None, "--container"),
        (("--dance",), None, "--dance"),
        ((), "ws://127.0.0.1:1/other", "FLEETCAST_URL"),
        ((), "ws://127.0.0.1:port/api/ws", "FLEETCAST_URL"),
        ((), "ws://[1/api/ws", "FLEETCAST_URL"),
        ((), "http://127.0.0.1:1/api/ws", "FLEETCAST_URL"),
    ],
)
async def test_wrong_use_is_one_line_and_exit_code_2(arguments: tuple[str, ...], url: str | None, said: str) -> None:
    code, _, complaints = await fleetcast(url or "ws://127.0.0.1:1/api/ws", *arguments)
    assert code == 2, complaints
    assert said in only_line(complaints)


async def test_the_help_says_what_it_shows_and_to_whom() -> None:
    code, out, _ = await fleetcast("", "--help")
    shown = " ".join(out.split())
    assert code == 0
    for words in ("who did what", "admin's token", "--json", "--before TIME", "`fleetcast audit --actor ann"):
        assert words in shown


# Pure


NOW = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
NOON_MS = int(NOW.timestamp()) * 1000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", NOON_MS - 90_000),
        ("15m", NOON_MS - 900_000),
        ("12h", NOON_MS - 43_200_000),
        ("30d", NOON_MS - 30 * 86_400_000),
        ("2026-07-01T12:00+02:00", NOON_MS),
        ("2026-07-01T10:00:00.5Z", NOON_MS + 500),
    ],
)
def test_a_time_is_said_in_either_way(text: str, ms: int) -> None:
    assert parse_query(None, None, None, text, 50, NOW) == Query(before_ms=ms)


@pytest.mark.parametrize("text", ["", "15", "h", "15 m", "-15m", "now", "2026-13-01", "0001-01-01", "9999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--before"):
        parse_query(None, None, None, text, 50, NOW)


@pytest.mark.parametrize(
    ("socket", "audit"),
    [
        ("ws://127.0.0.1:8080/api/ws", "http://127.0.0.1:8080/api/audit"),
        ("wss://fleet.example.com/api/ws/", "https://fleet.example.com/api/audit"),
        ("wss://example.com/fleet/api/ws?x=1", "https://example.com/fleet/api/audit"),
    ],
)
def test_the_audit_is_beside_the_socket(socket: str, audit: str) -> None:
    assert audit_url(socket) == audit


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"noop": True, "duration_ms": 3}, "succeeded, was so already (asked of edge-1)"),
        ({"accepted_at": 5, "at": 1505}, "succeeded (asked of edge-1 1.5 s before)"),
        ({"accepted_at": 5, "at": 600_005}, "succeeded (asked of edge-1 10 min before)"),
        ({"accepted_at": 9, "at": 5, "edge_id": ""}, "succeeded (asked 0 ms before)"),
        ({"edge_id": ""}, "web-1/web: succeeded"),
        ({"status": "unknown", "error": "Docker\ndied", "edge_id": "e\x1b"}, "unknown: Docker�died (asked of e�)"),
    ],
)
def test_a_line_says_what_is_known(fields: dict[str, Any], said: str) -> None:
    assert line(audited("web-1", "r-1", **fields)).plain.endswith(said)
