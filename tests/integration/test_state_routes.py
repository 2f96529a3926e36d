"""Polling: history for charts, last events, processes that are sampled because somebody asks."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import httpx
import pytest

from common.bus import Bus, Point
from common.envelope import Version, wrap
from common.history import UsagePoint, encode
from common.http_models import History
from common.keys import StateKind
from common.models import Disk, Process, Processes, Usage
from common.protocol import EventMessage, MetricsMessage, ProcessesMessage, UsageMessage, parse_server_message
from common.telemetry import malformed
from common.tenure import StatePublisher
from services.collector.history import MetricsHistory, UsageHistory
from services.edge import state_routes
from services.embedded import EmbeddedServer
from tests.edges import FakeHost, RunningEdge, fake_host, running_edge
from tests.samples import ID_A, ID_B, host_metrics
from tests.support import eventually

SECOND = 1_000
MINUTE = 60_000


@pytest.fixture
async def edge(valkey: EmbeddedServer) -> AsyncIterator[RunningEdge]:
    async with running_edge(valkey.url) as running:
        yield running


@pytest.fixture
async def http(edge: RunningEdge) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{edge.http}/api", timeout=20) as client:
        yield client


def now_ms() -> int:
    return int(time.time() * 1000)


def usage(cpu_percent: float, *ids: str) -> Usage:
    unknown = (None,) * len(ids)
    return Usage(
        cores=2,
        ids=ids,
        cpu_percent=(cpu_percent,) * len(ids),
        memory_bytes=(1024 * 1024,) * len(ids),
        memory_limit_bytes=unknown,
        rx_bytes_per_sec=unknown,
        tx_bytes_per_sec=(7.0,) * len(ids),
        read_bytes_per_sec=unknown,
        write_bytes_per_sec=unknown,
        pids=unknown,
    )


async def remember(bus: Bus, kind: StateKind, sampled: Sequence[tuple[int, Sequence[Point]]]) -> None:
    """Points in the streams of web-1, as if they had been published when they were sampled."""
    with bus.reaching() as redis:
        pipeline = redis.pipeline(transaction=False)
        for at, points in sampled:
            for point in points:
                pipeline.xadd(bus.keys.history("web-1", kind, point.grain), {"p": point.payload}, id=f"{at}-*")
        await pipeline.execute()


async def remember_an_hour(bus: Bus, until: int) -> None:
    """An hour of samples every ten seconds, whose CPU use is the minute's number; of containers ID_A in all of them,
    ID_B in the last minutes only."""
    metrics, containers = MetricsHistory(), UsageHistory()
    at_ms = range(until - 60 * MINUTE, until + 1, 10 * SECOND)
    disks = (Disk(mount="/", total_bytes=10, used_bytes=5, percent=50.0),)
    await remember(
        bus, "metrics", [(at, metrics.points(at, host_metrics(minute_of(at), disks=disks), 10.0)) for at in at_ms]
    )
    found = []
    for at in at_ms:
        ids = (ID_A, ID_B) if at > until - 5 * MINUTE else (ID_A,)
        found.append((at, containers.points(at, usage(minute_of(at), *ids), 10.0)))
    await remember(bus, "usage", found)


def minute_of(at: int) -> float:
    return float(at // MINUTE % 60)


async def ask(http: httpx.AsyncClient, url: str) -> History:
    answer = await http.get(url)
    assert answer.status_code == 200, answer.text
    return History.model_validate_json(answer.content)


async def refusal(http: httpx.AsyncClient, url: str) -> tuple[int, str, str]:
    answer = await http.get(url)
    return answer.status_code, answer.json()["code"], answer.json()["message"]


# History


async def test_the_last_minutes_are_told_sample_by_sample(http: httpx.AsyncClient, bus: Bus) -> None:
    until = now_ms()
    await remember_an_hour(bus, until)
    answer = await ask(http, "/hosts/web-1/history")
    assert (answer.host, answer.minutes) == ("web-1", 15)
    assert answer.metrics
    assert answer.usage
    samples = answer.metrics.sampled_at
    assert samples == tuple(range(samples[0], until + 1, 10 * SECOND))
    assert len(samples) in (89, 90)
    assert answer.metrics.cpu_percent == tuple(minute_of(at) for at in samples)
    assert answer.metrics.per_core_percent == (answer.metrics.cpu_percent,) * 2
    assert answer.metrics.disks == {"/": (50.0,) * len(samples)}
    assert answer.metrics.memory_total_bytes == (8_000,) * len(samples)
    assert answer.usage.sampled_at == samples
    assert answer.usage.containers[ID_A[:12]].cpu_percent == answer.metrics.cpu_percent
    assert answer.usage.containers[ID_A[:12]].memory_bytes == (1024 * 1024,) * len(samples)
    assert answer.usage.containers[ID_A[:12]].rx_bytes_per_sec == (None,) * len(samples)
    late = [percent for percent in answer.usage.containers[ID_B[:12]].cpu_percent if percent is not None]
    assert len(late) == 30
    assert (await ask(http, "/hosts/web-1/history?minutes=2")).metrics.sampled_at == samples[-12:]  # type: ignore[union-attr]


async def test_beyond_them_minutes_are_told_and_the_samples_since(http: httpx.AsyncClient, bus: Bus) -> None:
    until = now_ms()
    await remember_an_hour(bus, until)
    answer = await ask(http, "/hosts/web-1/history?minutes=60")
    assert answer.metrics
    assert answer.usage
    this_minute = until // MINUTE * MINUTE
    first = answer.metrics.sampled_at[0]
    assert until - 60 * MINUTE <= first <= until - 59 * MINUTE
    assert answer.metrics.sampled_at == (
        *range(first, this_minute, MINUTE),
        *(at for at in range(until - 60 * MINUTE, until + 1, 10 * SECOND) if at >= this_minute),
    )
    assert answer.metrics.cpu_percent == tuple(minute_of(at) for at in answer.metrics.sampled_at)
    assert answer.usage.sampled_at == answer.metrics.sampled_at


async def test_kind_and_container_choose(http: httpx.AsyncClient, bus: Bus) -> None:
    await remember_an_hour(bus, now_ms())
    both = (await http.get("/hosts/web-1/history")).json()
    metrics = (await http.get("/hosts/web-1/history?kind=metrics")).json()
    usage = (await http.get(f"/hosts/web-1/history?kind=usage&container={ID_B}")).json()
    assert both.keys() == {"host", "minutes", "metrics", "usage"}
    assert metrics.keys() == {"host", "minutes", "metrics"}
    assert usage.keys() == {"host", "minutes", "usage"}
    assert both["usage"]["containers"].keys() == {ID_A[:12], ID_B[:12]}
    assert usage["usage"]["containers"].keys() == {ID_B[:12]}


async def test_a_chart_gets_no_more_rows_than_it_has_room_for(http: httpx.AsyncClient, bus: Bus) -> None:
    until = now_ms()
    await remember_an_hour(bus, until)
    answer = await ask(http, "/hosts/web-1/history?minutes=15&points=30")
    assert answer.metrics
    assert answer.usage
    assert 25 <= len(answer.metrics.sampled_at) <= 30
    assert answer.metrics.sampled_at == answer.usage.sampled_at
    assert answer.metrics.sampled_at[-1] == until
    assert len(answer.usage.containers[ID_B[:12]].cpu_percent) == len(answer.usage.sampled_at)


async def test_what_a_host_has_published_outlives_it_and_the_edge(
    valkey: EmbeddedServer, bus: Bus, http: httpx.AsyncClient
) -> None:
    history = MetricsHistory()
    async with fake_host(bus) as host:
        publisher = StatePublisher(host.metrics_tenure, "metrics")
        for i in range(20):
            at = bus.clock.now_ms()
            data = host_metrics(float(i))
            body = MetricsMessage(host="web-1", epoch=host.metrics_tenure.epoch, seq=i, sampled_at=at, data=data)
            encoded = body.model_dump_json().encode()
            assert await publisher.publish(lambda _, body=encoded: body, history.points(at + i, data, 1.0))  # type: ignore[misc]
    before = (await http.get("/hosts/web-1/history")).json()
    async with running_edge(valkey.url) as other, httpx.AsyncClient(base_url=f"{other.http}/api") as elsewhere:
        after = (await elsewhere.get("/hosts/web-1/history")).json()
    assert before == after
    assert after["metrics"]["cpuPercent"] == [float(i) for i in range(20)]


async def test_points_that_cannot_be_read_are_skipped_and_counted(
    http: httpx.AsyncClient, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    until = now_ms()
    counted = malformed.labels("history point")._value.get()
    await remember(bus, "metrics", [(until - 9, MetricsHistory().points(until - 9, host_metrics(), 1.0))])
    foreign = [b"rubbish", b"", encode(UsagePoint(until, *[()] * 7))]
    await remember(bus, "metrics", [(until - 8, [Point("full", payload, 900, 900) for payload in foreign])])
    await remember(bus, "metrics", [(until - 7, MetricsHistory().points(until - 7, host_metrics(), 1.0))])
    answer = await ask(http, "/hosts/web-1/history?kind=metrics")
    assert answer.metrics
    assert answer.metrics.sampled_at == (until - 9, until - 7)
    assert malformed.labels("history point")._value.get() == counted + 3
    assert next(r.getMessage() for r in caplog.records if "history point" in r.getMessage()).startswith(
        "skipping 3 entries (history point) of web-1, the first: "
    )


async def test_an_unknown_host_has_no_history_and_a_known_one_may_have_none_yet(
    http: httpx.AsyncClient, bus: Bus
) -> None:
    await eventually(lambda: is_answered(http, "/hosts", 200))
    for what in ("history", "history?minutes=1440", "events"):
        assert (await refusal(http, f"/hosts/nobody/{what}"))[:2] == (404, "unknown-host")
    async with fake_host(bus):
        await eventually(lambda: is_answered(http, "/hosts/web-1/history", 200))
        answer = await ask(http, "/hosts/web-1/history?minutes=60")
        assert answer.metrics
        assert answer.metrics.sampled_at == ()
        assert answer.usage
        assert answer.usage.containers == {}


async def is_answered(http: httpx.AsyncClient, url: str, status: int) -> bool:
    return (await http.get(url)).status_code == status


@pytest.mark.parametrize(
    "query",
    [
        *(f"history?minutes={minutes}" for minutes in ("0", "1441", "soon")),
        "history?kind=containers",
        "history?container=web",
        "history?container=",
        f"history?container={ID_A}0",
        "events?limit=0",
        "events?limit=257",
        "history?points=9",
        "history?points=1001",
        "lottery",
    ],
)
async def test_what_cannot_be_asked_is_refused(http: httpx.AsyncClient, query: str) -> None:
    assert (await refusal(http, f"/hosts/web-1/{query}"))[:2] == (422, "invalid-message")


async def test_without_redis_nothing_is_told(http: httpx.AsyncClient, valkey: EmbeddedServer) -> None:
    await valkey.stop()
    for what in ("history", "history?minutes=60", "events", "metrics", "processes"):
        assert (await refusal(http, f"/hosts/web-1/{what}"))[:2] == (503, "unavailable"), what


async def test_two_histories_are_made_at_a_time_and_those_beyond_the_waiting_are_refused(
    http: httpx.AsyncClient, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remember_an_hour(bus, now_ms())
    monkeypatch.setattr(state_routes, "MOST_WAITING", 6)
    real = state_routes._history
    may_go_on = asyncio.Event()
    running = most = 0

    async def held_up(*arguments: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await may_go_on.wait()
        try:
            return await real(*arguments)
        finally:
            running -= 1

    monkeypatch.setattr(state_routes, "_history", held_up)
    asking = [asyncio.create_task(http.get("/hosts/web-1/history?minutes=60")) for _ in range(10)]
    await eventually(lambda: sum(one.done() for one in asking) == 4)
    may_go_on.set()
    statuses = [answer.status_code for answer in await asyncio.gather(*asking)]
    assert (statuses.count(200), statuses.count(503)) == (6, 4)
    assert (running, most) == (0, 2)
    assert (await http.get("/hosts/web-1/history")).status_code == 200


async def test_the_routes_and_their_answers_stand_in_the_openapi_document(edge: RunningEdge) -> None:
    async with httpx.AsyncClient(base_url=edge.http) as http:
        document = (await http.get("/openapi.json")).json()
    for route, model in (("history", "History"), ("events", "HostEvents")):
        answer = document["paths"][f"/api/hosts/{{host}}/{route}"]["get"]["responses"]["200"]
        assert answer["content"]["application/json"]["schema"]["$ref"].endswith(f"/{model}")
    assert "sampledAt" in document["components"]["schemas"]["MetricsColumns"]["properties"]


# Events


def event(seq: int, **fields: Any) -> bytes:
    said = EventMessage(
        host="web-1",
        container_id=ID_A,
        name="web",
        **{"from": "running"},  # type: ignore[arg-type]
        to="exited",
        at=seq,
        exit_code=137,
        cause="docker",
    )
    return wrap(Version(1, seq), json.dumps(said.model_dump(mode="json") | fields, separators=(",", ":")).encode())


async def test_the_last_events_are_told_oldest_first(http: httpx.AsyncClient, bus: Bus) -> None:
    async with fake_host(bus) as host:
        await bus.publish_events("web-1", host.containers_tenure.token, [event(i) for i in range(120)])
    answer = (await http.get("/hosts/web-1/events")).json()
    assert answer["host"] == "web-1"
    assert [parse_server_message(json.dumps(one)).at for one in answer["events"]] == list(range(20, 120))  # type: ignore[union-attr]
    assert [one["at"] for one in (await http.get("/hosts/web-1/events?limit=2")).json()["events"]] == [118, 119]
    assert len((await http.get("/hosts/web-1/events?limit=256")).json()["events"]) == 120


async def test_the_last_events_of_all_hosts_are_told_oldest_first(http: httpx.AsyncClient, bus: Bus) -> None:
    async with fake_host(bus) as web, fake_host(bus, "db-1") as db, fake_host(bus, "quiet"):
        await bus.publish_events("web-1", web.containers_tenure.token, [event(i) for i in range(0, 240, 2)])
        await bus.publish_events("db-1", db.containers_tenure.token, [event(i, host="db-1") for i in (231, 233, 235)])

        async def told() -> list[dict[str, Any]]:
            return (await http.get("/events/last?limit=8")).json().get("events", [])

        last = await eventually(lambda: told_of_both(told))
    assert [(one["host"], one["at"]) for one in last] == [
        ("web-1", 230),
        ("db-1", 231),
        ("web-1", 232),
        ("db-1", 233),
        ("web-1", 234),
        ("db-1", 235),
        ("web-1", 236),
        ("web-1", 238),
    ]
    every = (await http.get("/events/last?limit=500")).json()["events"]
    assert [one["host"] for one in every].count("web-1") == 50, "of one of several hosts"
    of_one = (await http.get("/events/last?limit=500&host=web-1")).json()["events"]
    assert [one["at"] for one in of_one] == list(range(0, 240, 2))
    assert (await http.get("/events/last?host=quiet")).json() == {"events": []}
    assert (await refusal(http, "/events/last?host=nobody"))[:2] == (404, "unknown-host")
    assert (await refusal(http, "/events/last?limit=501"))[:2] == (422, "invalid-message")


async def told_of_both(told: Callable[[], Awaitable[list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Once the edge's roster has both hosts."""
    last = await told()
    return last if {one["host"] for one in last} == {"web-1", "db-1"} else []


async def test_events_that_cannot_be_read_are_skipped_and_those_of_a_later_version_are_told(
    http: httpx.AsyncClient, bus: Bus
) -> None:
    counted = malformed.labels("event")._value.get()
    foreign = [b"rubbish", wrap(Version(1, 3), b'{"type":"event","host":"db-1","at":1}'), event(4, to="lost")]
    async with fake_host(bus) as host:
        payloads = [event(1), *foreign, event(5, more="of a later version")]
        await bus.publish_events("web-1", host.containers_tenure.token, payloads)
    answer = (await http.get("/hosts/web-1/events")).json()
    assert [one["at"] for one in answer["events"]] == [1, 5]
    assert answer["events"][1]["more"] == "of a later version"
    assert malformed.labels("event")._value.get() == counted + 3


# Processes, and who counts as watching


async def is_watched(bus: Bus, kind: StateKind) -> bool:
    with bus.reaching() as redis:
        return bool(await redis.exists(bus.keys.watch("web-1", kind)))


async def publish_processes(bus: Bus, host: FakeHost, publisher: StatePublisher, pid: int, sampled_at: int) -> None:
    listed = (Process(pid=pid, name="busy", cpu_percent=99.0, memory_bytes=1, container_id=None),)
    data = Processes(by_cpu=listed, by_memory=listed)
    await publisher.publish(
        lambda version: (
            ProcessesMessage(host="web-1", epoch=version.epoch, seq=version.seq, sampled_at=sampled_at, data=data)
            .model_dump_json()
            .encode()
        )
    )


async def test_who_asks_for_processes_watches_them_and_gets_fresh_ones(http: httpx.AsyncClient, bus: Bus) -> None:
    async with fake_host(bus) as host:
        publisher = StatePublisher(host.metrics_tenure, "processes")
        await publish_processes(bus, host, publisher, 1, bus.clock.now_ms() - 60 * SECOND)
        await eventually(lambda: lists(http, "web-1"))
        assert not await is_watched(bus, "processes")
        asking = asyncio.create_task(http.get("/hosts/web-1/processes"))
        await eventually(lambda: is_watched(bus, "processes"))
        assert not asking.done(), "the old ones are no answer"
        await publish_processes(bus, host, publisher, 2, bus.clock.now_ms())
        answer = parse_server_message((await asking).content)
        assert answer.type == "processes"
        assert answer.data.by_cpu[0].pid == 2
        again = parse_server_message((await http.get("/hosts/web-1/processes")).content)
        assert again.type == "processes"
        assert again.data.by_cpu[0].pid == 2, "those are fresh enough for the next one"


async def lists(http: httpx.AsyncClient, host: str) -> bool:
    answer = await http.get("/hosts")
    return answer.status_code == 200 and any(one["host"] == host for one in answer.json()["hosts"])


async def test_processes_that_do_not_come_are_unavailable_and_it_is_said_why(
    http: httpx.AsyncClient, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_routes, "PROCESSES_WITHIN_S", 0.5)
    await eventually(lambda: is_answered(http, "/hosts", 200))
    assert (await refusal(http, "/hosts/nobody/processes"))[:2] == (404, "unknown-host")
    async with fake_host(bus):
        await eventually(lambda: lists(http, "web-1"))
        await eventually(
            lambda: says(http, "no processes of web-1: none came within 0.5 s; its metrics collector is live")
        )
    await eventually(lambda: says(http, "its metrics collector is gone (stopped)"))


async def says(http: httpx.AsyncClient, told: str) -> bool:
    status, code, message = await refusal(http, "/hosts/web-1/processes")
    assert (status, code) == (503, "unavailable")
    return message.endswith(told)


async def test_who_asks_for_metrics_or_usage_counts_as_watching_but_is_answered_at_once(
    http: httpx.AsyncClient, bus: Bus
) -> None:
    async with fake_host(bus) as host:
        for kind in ("metrics", "usage"):
            assert (await refusal(http, f"/hosts/web-1/{kind}"))[:2] == (404, "unknown-host")
        await host.publish_metrics(33.0)
        await host.publish_containers()
        await StatePublisher(host.containers_tenure, "usage").publish(
            lambda version: (
                UsageMessage(host="web-1", epoch=version.epoch, seq=version.seq, sampled_at=1, data=usage(1.0, ID_A))
                .model_dump_json()
                .encode()
            )
        )
        assert (await http.get("/hosts/web-1/containers")).status_code == 200
        for kind in ("metrics", "usage"):
            assert (await http.get(f"/hosts/web-1/{kind}")).json()["type"] == kind
        for kind in ("metrics", "usage"):
            await eventually(lambda kind=kind: is_watched(bus, kind))  # type: ignore[misc]
        assert not await is_watched(bus, "containers")
