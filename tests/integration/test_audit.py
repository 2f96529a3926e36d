"""The audit over HTTP: what was done, by whom, on all hosts that somebody may see."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from common.actions import Actions, Outcome
from common.bus import Bus
from common.models import ActionOrder
from common.roster import About
from common.tokens import make_token
from services.embedded import EmbeddedServer
from tests.audits import audited, write_audit
from tests.edges import RunningEdge, running_edge
from tests.samples import ID_A, ID_B
from tests.support import eventually

SECRET = "a secret of at least thirty-two bytes"
HOSTS = ("db-1", "web-1", "web-2")
TOKEN = "17 machine instance 1-0"


def admin(**options: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {make_token(SECRET.encode(), 'boss', 'admin', 60, **options)}"}


@pytest.fixture
async def edge(valkey: EmbeddedServer, bus: Bus) -> AsyncIterator[RunningEdge]:
    """An edge that has heard of the hosts."""
    for host in HOSTS:
        await bus.note_seen(host, "executor", About())
    async with running_edge(valkey.url, jwt_secret=SECRET) as running:
        hub = running.server.edge.hub
        await eventually(lambda: hub.hosts and len(hub.hosts) == len(HOSTS), what="the roster")
        yield running


@pytest.fixture
async def http(edge: RunningEdge) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=edge.http, headers=admin()) as client:
        yield client


async def shown(http: httpx.AsyncClient, **query: Any) -> list[str]:
    """The request ids of one page."""
    answer = await http.get("/api/audit", params=query)
    assert answer.status_code == 200, answer.text
    return [entry["requestId"] for entry in answer.json()["entries"]]


async def pages(http: httpx.AsyncClient, **query: Any) -> list[list[str]]:
    """All pages, each a list of request ids."""
    found: list[list[str]] = []
    before: int | None = None
    while True:
        answer = await http.get("/api/audit", params=query | ({} if before is None else {"before": before}))
        assert answer.status_code == 200, answer.text
        found.append([entry["requestId"] for entry in answer.json()["entries"]])
        before = answer.json()["before"]
        if before is None:
            return found


async def test_what_was_settled_is_shown_with_who_did_it_and_what_came_of_it(http: httpx.AsyncClient, bus: Bus) -> None:
    actions = Actions(bus)
    order = ActionOrder(
        request_id="r-1",
        host="web-1",
        container_id=ID_A,
        name="web",
        action="restart",
        actor="ann",
        edge_id="edge-7",
        deadline=bus.clock.now_ms() + 30_000,
        timeout_sec=3,
    )
    await actions.submit(order)
    assert await shown(http) == [], "it is not settled yet"
    assert await actions.claim(order, TOKEN, executor="machine x") == "claimed"
    assert await actions.settle(order, "0-0", TOKEN, Outcome("failed", error="no such container", duration_ms=12))
    settled = await actions.read(order.key)
    assert settled is not None
    answer = await http.get("/api/audit")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {"entries": [settled.model_dump(mode="json", exclude_none=True)], "before": None}
    [entry] = answer.json()["entries"]
    assert (entry["actor"], entry["edgeId"], entry["executor"]) == ("ann", "edge-7", "machine x")
    assert (entry["status"], entry["error"], entry["durationMs"]) == ("failed", "no such container", 12)
    assert {"acceptedAt", "startedAt", "at"} <= entry.keys()
    assert "token" not in answer.text


async def test_hosts_are_merged_newest_first_and_pages_neither_lose_nor_repeat(
    http: httpx.AsyncClient, bus: Bus
) -> None:
    for number, host in enumerate(HOSTS):
        ids = [f"{ms}-{seq}" for ms in range(10 + number, 20) for seq in range(2)]
        await write_audit(bus, host, *((entry_id, audited(host, f"{host}/{entry_id}")) for entry_id in ids))
    expected = [
        f"{host}/{ms}-{seq}"
        for ms in range(19, 9, -1)
        for number, host in enumerate(HOSTS)
        for seq in (1, 0)
        if ms >= 10 + number
    ]
    assert await shown(http) == expected
    for limit in (1, 5, 7, 100):
        found = await pages(http, limit=limit)
        assert [entry for page in found for entry in page] == expected
        assert all(len(page) >= limit for page in found[:-1])
    assert len((await pages(http, limit=1))[0]) == 6, "a page ends with the whole of its last millisecond"
    assert await shown(http, before=11) == ["db-1/10-1", "db-1/10-0"]


async def test_entries_are_found_by_host_actor_and_container(http: httpx.AsyncClient, bus: Bus) -> None:
    await write_audit(bus, "db-1", ("1-0", audited("db-1", "a", actor="bob", container_id=ID_B, name="postgres")))
    await write_audit(bus, "web-1", ("2-0", audited("web-1", "b")), ("3-0", audited("web-1", "c", actor="bob")))
    await write_audit(bus, "web-2", ("2-0", audited("web-2", "d", container_id=ID_B, name="web")))
    assert await shown(http) == ["c", "b", "d", "a"]
    assert await shown(http, host="web-1") == ["c", "b"]
    assert await shown(http, actor="bob") == ["c", "a"]
    assert await shown(http, actor="bo") == []
    assert await shown(http, container="postgres") == ["a"]
    assert await shown(http, container=ID_B) == ["d", "a"]
    assert await shown(http, container=ID_B[:4]) == ["d", "a"]
    assert await shown(http, container="web", actor="ann", host="web-2") == ["d"]


async def test_an_admin_of_some_hosts_sees_their_audit_alone(edge: RunningEdge, bus: Bus) -> None:
    for host in HOSTS:
        await write_audit(bus, host, ("1-0", audited(host, host)))
    async with httpx.AsyncClient(base_url=edge.http, headers=admin(hosts=["web-*"])) as http:
        assert await shown(http) == ["web-1", "web-2"]
        refused = await http.get("/api/audit?host=db-1")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_a_host_that_left_the_roster_is_found_by_its_name(http: httpx.AsyncClient, bus: Bus) -> None:
    await write_audit(bus, "old-1", ("1-0", audited("old-1", "a")))
    assert await shown(http) == []
    assert await shown(http, host="old-1") == ["a"]


async def test_what_cannot_be_read_is_skipped_and_counted(http: httpx.AsyncClient, bus: Bus) -> None:
    async def skipped() -> float:
        found = re.search(
            r'^fleetcast_malformed_total\{what="audit entry"\} (\S+)$', (await http.get("/metrics")).text, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    before = await skipped()
    rubbish = {"status": "dancing"}
    await write_audit(bus, "web-1", ("1-0", audited("web-1", "a")), ("2-0", rubbish), ("3-0", audited("web-1", "b")))
    with bus.reaching() as redis:
        await redis.set(bus.keys.audit("db-1"), "no stream")
    assert await shown(http) == ["b", "a"]
    assert await skipped() == before + 2
    assert await pages(http, host="web-1", limit=1) == [["b"], ["a"]]
    assert await shown(http, host="db-1") == []


async def test_a_search_through_more_than_may_be_read_at_once_goes_on_page_by_page(
    http: httpx.AsyncClient, bus: Bus
) -> None:
    await write_audit(bus, "web-2", ("1-0", audited("web-2", "oldest", actor="bob")))
    for host in HOSTS:
        await write_audit(bus, host, *((f"{ms}-0", audited(host, f"{host}/{ms}")) for ms in range(2, 8_002)))
    await write_audit(bus, "web-1", ("8002-0", audited("web-1", "newest", actor="bob")))
    assert await pages(http, actor="bob") == [["newest"], ["oldest"]], "24,000 entries take two requests of 20,000"
    assert sum(len(page) for page in await pages(http, limit=500)) == 3 * 8_000 + 2


async def test_a_query_that_is_wrong_is_refused_by_its_field(http: httpx.AsyncClient) -> None:
    for query, names in (
        ("limit=0", "query.limit"),
        ("limit=501", "query.limit"),
        ("limit=many", "query.limit"),
        ("before=0", "query.before"),
        ("before=99999999999999999999", "query.before"),
        ("host=a:b", "query.host"),
        ("actor=", "query.actor"),
        ("container=", "query.container"),
    ):
        refused = await http.get(f"/api/audit?{query}")
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-message")
        assert refused.json()["message"].startswith(f"{names}: ")


async def test_while_redis_is_away_the_audit_is_unavailable(
    http: httpx.AsyncClient, bus: Bus, valkey: EmbeddedServer
) -> None:
    await write_audit(bus, "web-1", ("1-0", audited("web-1", "a")))
    await valkey.stop()
    refused = await http.get("/api/audit")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    await valkey.start()

    async def back() -> bool:
        return (await http.get("/api/audit")).status_code == 200

    await eventually(back)


async def test_an_edge_that_has_not_read_the_roster_yet_says_so() -> None:
    async with running_edge("redis://127.0.0.1:1", jwt_secret=SECRET) as edge:
        async with httpx.AsyncClient(base_url=edge.http, headers=admin()) as http:
            refused = await http.get("/api/audit")
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert "roster" in refused.json()["message"]
