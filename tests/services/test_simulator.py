"""The simulated fleet on the bus: many workers in one process, each like a real one."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import httpx
import pytest

from common.bus import Bus
from common.envelope import Version, unwrap
from common.errors import BusRefusedError, BusUnavailableError
from common.keys import BEAT_S, LEASE_BEATS, Keys, StateKind
from common.protocol import EventMessage, parse_server_message
from common.roster import About
from common.settings import SimulateSettings
from services.collector.simulator.fleet import SimulatedHost
from services.collector.simulator.noise import Noise
from services.collector.simulator.past import write_past
from services.collector.simulator.run import run_simulation
from services.collector.simulator.tenancy import FleetBus, TakenError, await_leases
from services.embedded import EmbeddedServer
from services.processes import kill
from tests.edges import host_worker, running_edge
from tests.rosters import faults
from tests.support import PATIENCE_S, eventually

# Many workers on one bus


@pytest.fixture
async def fleet_bus(valkey: EmbeddedServer) -> AsyncIterator[FleetBus]:
    bus = FleetBus(valkey.url, Keys())
    yield bus
    await bus.close()


async def test_beats_in_one_batch_tell_each_worker_its_own(fleet_bus: FleetBus) -> None:
    keys = fleet_bus.keys
    with fleet_bus.reaching() as redis:
        await redis.set(keys.lease("a", "metrics"), "1 m i", px=60_000)
        await redis.set(keys.lease("b", "containers"), "2 m i", px=60_000)
        await redis.set(keys.watch("b", "usage"), "1")
        await redis.set(keys.watch(None, "processes"), "1")
    pair: tuple[StateKind, StateKind] = ("metrics", "processes")
    a, b, c = await asyncio.gather(
        fleet_bus.beat("a", "metrics", 5_000, About(), pair),
        fleet_bus.beat("b", "containers", 7_000, About(fault="gone docker-unreachable"), ("containers", "usage")),
        fleet_bus.beat("c", "metrics", 5_000, About(), pair),
    )
    assert (a.holder, a.watched) == (b"1 m i", {"processes"})
    assert (b.holder, b.watched) == (b"2 m i", {"usage"})
    assert (c.holder, c.watched) == (None, {"processes"})
    with fleet_bus.reaching() as redis:
        assert 0 < await redis.pttl(keys.lease("a", "metrics")) <= 5_000
        assert 5_000 < await redis.pttl(keys.lease("b", "containers")) <= 7_000
    roster = await fleet_bus.read_roster()
    assert {worker: [*seen] for worker, seen in roster.seen.items()} == {
        "metrics": ["a", "c"],
        "containers": ["b"],
        "executor": [],
    }
    assert await faults(fleet_bus, "containers") == {"b": "gone docker-unreachable"}


async def test_what_redis_refuses_one_of_a_batch_the_others_get(fleet_bus: FleetBus) -> None:
    keys = fleet_bus.keys
    with fleet_bus.reaching() as redis:
        await redis.set(keys.lease("a", "metrics"), "mine")
        await redis.lpush(keys.lease("b", "metrics"), "no string")
        await redis.set(keys.lease("c", "metrics"), "another's")
    publish = [fleet_bus.publish_state(host, "metrics", "mine", Version(1, 1), b"{}") for host in "abc"]
    a, b, c = await asyncio.gather(*publish, return_exceptions=True)
    assert (a, c) == (True, False)
    assert isinstance(b, BusRefusedError)


async def test_without_redis_everyone_of_a_batch_is_told(fleet_bus: FleetBus, valkey: EmbeddedServer) -> None:
    await valkey.stop()
    beats = [fleet_bus.beat(host, "metrics", 5_000, About()) for host in "abc"]
    answers = await asyncio.gather(*beats, return_exceptions=True)
    assert [type(answer) for answer in answers] == [BusUnavailableError] * 3


async def test_a_lease_that_a_dead_process_left_is_waited_for(fleet_bus: FleetBus) -> None:
    with fleet_bus.reaching() as redis:
        await redis.set(fleet_bus.keys.lease("b", "metrics"), "1 machine dead", px=300)
    said: list[str] = []
    await await_leases(fleet_bus, ["a", "b"], said.append)
    [line] = said
    assert "metrics of b" in line


async def test_a_host_that_is_there_is_not_simulated(fleet_bus: FleetBus, bus: Bus) -> None:
    async with host_worker(bus, "b", "executor", lease_ttl_ms=2_000):
        with pytest.raises(TakenError, match=r"executor of the host 'b' is at work already .*--prefix"):
            await await_leases(fleet_bus, ["a", "b", "c"], lambda line: None)


# As a real one


@asynccontextmanager
async def simulating(redis_url: str, **given: object) -> AsyncIterator[None]:
    task = asyncio.create_task(run_simulation(SimulateSettings.model_validate({"redis_url": redis_url, **given})))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


async def test_a_client_sees_all_of_a_simulated_fleet(valkey: EmbeddedServer) -> None:
    hosts = {f"sim-{number:04}" for number in range(1, 21)}
    wanted = {(kind, host) for kind in ("metrics", "containers", "usage") for host in hosts}
    async with (
        simulating(valkey.url, hosts=20, containers=5, interval=0.2, incident_every=1),
        running_edge(valkey.url) as edge,
        edge.client("hosts", "metrics", "containers", "usage", "events") as client,
    ):
        found: set[tuple[str, str]] = set()
        links: set[str] = set()
        event: EventMessage | None = None
        async with asyncio.timeout(PATIENCE_S):
            while not (found >= wanted and links == hosts and event):
                message = await client.next()
                match message.type:
                    case "hosts":
                        live = [one for one in message.hosts if one.links.metrics.state == "live"]
                        links = {one.host for one in live if one.links.containers.state == "live"}
                        assert {one.links.executor.reason for one in message.hosts} <= {"never-seen"}
                    case "containers":
                        assert len(message.data) == 5
                        found.add((message.type, message.host))
                    case "metrics" | "usage":
                        found.add((message.type, message.host))
                    case "event":
                        event = message
        assert event.host in hosts
        assert event.cause == "docker"


async def test_it_samples_while_somebody_watches_and_at_once_when_that_begins(valkey: EmbeddedServer, bus: Bus) -> None:
    async def numbers(*wanted: tuple[str, StateKind]) -> list[int]:
        payloads = await bus.last_states(wanted)
        return [unwrap(payload)[0].seq if payload else 0 for payload in payloads]

    async def wake(host: str | None, kind: StateKind) -> None:
        with bus.reaching() as redis:
            await redis.set(bus.keys.watch(host, kind), "1", ex=15)
            await redis.spublish(bus.keys.wake(host), kind)

    def beyond(least: int, *wanted: tuple[str, StateKind]) -> object:
        async def are() -> bool:
            return min(await numbers(*wanted)) > least

        return eventually(are, what=f"more than {least} of {wanted}")

    one, two = "sim-0001", "sim-0002"
    async with simulating(valkey.url, hosts=2, containers=3, interval=0.1, idle_interval=3600):
        await beyond(0, (one, "metrics"), (two, "metrics"), (one, "usage"), (two, "usage"))
        await wake(one, "metrics")
        await beyond(5, (one, "metrics"))
        assert max(await numbers((two, "metrics"), (one, "usage"), (two, "usage"))) <= 2, "nobody watches these"
        await wake(None, "usage")
        await beyond(5, (one, "usage"), (two, "usage"))
        assert await numbers((two, "metrics"), (one, "processes")) in ([1, 0], [2, 0])
        await wake(one, "processes")
        await beyond(3, (one, "processes"))
        [payload] = await bus.last_states([(one, "processes")])
        assert payload is not None
        assert parse_server_message(unwrap(payload)[1]).type == "processes"


async def test_it_hears_a_wake_up_that_no_beat_could_tell_of(valkey: EmbeddedServer, bus: Bus) -> None:
    """Without a watch key: a hint that is believed for a while, and then found to be untrue."""
    fleet: list[tuple[str, StateKind]] = [("sim-0001", "metrics"), ("sim-0002", "metrics")]

    async def numbers() -> list[int]:
        return [unwrap(payload)[0].seq if payload else 0 for payload in await bus.last_states(fleet)]

    async def heard(host: str | None, *, beyond: list[int]) -> bool:
        with bus.reaching() as redis:
            await redis.spublish(bus.keys.wake(host), "metrics")
        return all(now > least for now, least in zip(await numbers(), beyond, strict=True))

    async with simulating(valkey.url, hosts=2, containers=0, interval=0.1, idle_interval=3600):
        await eventually(lambda: heard("sim-0002", beyond=[0, 10]), what="samples of the second host")
        assert (await numbers())[0] <= 2, "nobody watches this"
        await eventually(lambda: heard(None, beyond=[10, 10]), what="samples of both hosts")


async def test_it_goes_on_where_it_was_when_redis_comes_back(valkey: EmbeddedServer, bus: Bus) -> None:
    async def versions() -> list[Version]:
        payloads = await bus.last_states([(host, "metrics") for host in ("sim-0001", "sim-0002")])
        return [unwrap(payload)[0] for payload in payloads if payload]

    async def are_beyond(seq: int) -> bool:
        return [version.seq > seq for version in await versions()] == [True, True]

    async with simulating(valkey.url, hosts=2, containers=1, interval=0.1, idle_interval=0.1):
        await eventually(lambda: are_beyond(2))
        before = await versions()
        await valkey.stop()
        await valkey.start()
        await eventually(lambda: are_beyond(before[0].seq + before[1].seq + 5))
        assert [version.epoch for version in await versions()] == [version.epoch for version in before]


@asynccontextmanager
async def command(*arguments: str) -> AsyncIterator[tuple[Process, list[str]]]:
    """`fleetcast simulate` and the lines that it says."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCAST_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", "simulate", *arguments), stderr=PIPE, env=clean, start_new_session=True
    )
    said: list[str] = []

    async def read() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            said.append(line.decode())

    reading = asyncio.create_task(read())
    try:
        yield process, said
    finally:
        kill(process)
        await process.wait()
        await reading


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_and_gives_all_leases_back(
    valkey: EmbeddedServer, bus: Bus, stop: signal.Signals
) -> None:
    arguments = ("--redis", valkey.url, "--hosts", "150", "--containers", "2")
    async with command(*arguments) as (process, said):
        await eventually(lambda: "at work" in "".join(said), what="all hosts to be at work")
        assert len(await holders(bus)) == 300
        process.send_signal(stop)
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 128 + stop
    assert await holders(bus) == []
    for worker in ("metrics", "containers"):
        told = await faults(bus, worker)
        assert (len(told), {*told.values()}) == (150, {"gone stopped"})
    assert [line for line in said if " WARNING " in line or " ERROR " in line] == []
    assert len(said) == 3


async def holders(bus: Bus) -> Sequence[bytes]:
    with bus.reaching() as redis:
        found: list[bytes] = await redis.keys("*:lease:*")
    return found


async def test_the_command_refuses_a_host_id_that_is_in_use_in_one_line(valkey: EmbeddedServer, bus: Bus) -> None:
    async with host_worker(bus, "web-0002", "metrics", lease_ttl_ms=2_000):
        async with command("--redis", valkey.url, "--hosts", "3", "--prefix", "web-") as (process, said):
            async with asyncio.timeout(LEASE_BEATS * BEAT_S + 20):
                assert await process.wait() == 1
    assert "metrics of the host 'web-0002' is at work already" in said[-1]
    assert said[-1].startswith("fleetcast: ")
    assert len(await holders(bus)) <= 1


# A past


async def test_a_fleet_with_a_past_has_full_charts_at_once_and_keeps_what_was_there(
    valkey: EmbeddedServer, bus: Bus
) -> None:
    now_ms = bus.clock.now_ms()
    for _ in range(2):  # the second time it is all there
        fleet = [SimulatedHost(1, "past-1", 3, now_ms, Noise("1"), 600.0)]
        await write_past(bus, fleet, 30, now_ms)
        now_ms = bus.clock.now_ms()
    async with running_edge(valkey.url) as edge, host_worker(bus, "past-1", "metrics"):
        async with httpx.AsyncClient(base_url=edge.http) as http:
            url = "/api/hosts/past-1/history"
            await eventually(lambda: _is_known(http, "past-1"), what="the host in the roster")
            full = (await http.get(url, params={"minutes": 15})).json()
            long = (await http.get(url, params={"minutes": 30})).json()
    # One every 5 s; the first may have left the window by now.
    assert 170 <= len(full["metrics"]["sampledAt"]) <= 180
    assert full["metrics"]["sampledAt"] == full["usage"]["sampledAt"]
    assert len(full["usage"]["containers"]) == 3
    assert all(step == 5_000 for step in _steps(full["metrics"]["sampledAt"]))
    assert 28 <= len([step for step in _steps(long["metrics"]["sampledAt"]) if step == 60_000]) <= 30
    assert None not in long["metrics"]["cpuPercent"]


async def _is_known(http: httpx.AsyncClient, host: str) -> bool:
    answer = await http.get("/api/hosts")
    return answer.status_code == 200 and host in {status["host"] for status in answer.json()["hosts"]}


def _steps(times: Sequence[int]) -> list[int]:
    return [later - earlier for earlier, later in pairwise(times)]
