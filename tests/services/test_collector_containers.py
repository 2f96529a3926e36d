import asyncio
import logging
import platform
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from common.bus import Bus
from common.errors import BusError
from common.keys import Keys
from common.models import Container
from common.protection import Endpoint, Protection
from common.protocol import ContainersMessage
from common.settings import ContainersCollectorSettings, ProtectionSettings
from common.whereabouts import Guard
from services.collector.containers import Times, run_containers_collector
from services.embedded import EmbeddedServer
from tests.conftest import Containers, docker
from tests.services.collector_support import (
    HOST,
    REAL_ENGINE,
    FakeEngine,
    LastState,
    collecting,
    engine_proxy,
    fault,
    running,
    told,
)
from tests.support import eventually

ID_A, ID_B = "a" * 64, "b" * 64
SHORT = 0.1


@pytest.fixture
def settings(valkey: EmbeddedServer) -> ContainersCollectorSettings:
    return engine_at(valkey, f"unix://{REAL_ENGINE}")


def engine_at(valkey: EmbeddedServer, address: str, **changes: Any) -> ContainersCollectorSettings:
    settings = ContainersCollectorSettings(
        redis_url=valkey.url, host_id=HOST, docker_host=address, interval=SHORT, idle_interval=SHORT
    )
    return settings.model_copy(update=changes)


@pytest.fixture
def last(bus: Bus) -> LastState[ContainersMessage]:
    return LastState(bus, "containers", ContainersMessage)


def named(message: ContainersMessage, name: str) -> Container:
    [found] = [container for container in message.data if container.name == name]
    return found


def names(message: ContainersMessage) -> list[str]:
    return [container.name for container in message.data]


def shows(name: str, predicate: Callable[[Container], Any] = lambda container: True) -> Callable[..., Any]:
    """For LastState.that: the container is there, and so."""
    return lambda message: name in names(message) and predicate(named(message, name))


# With the real engine


@pytest.mark.docker
async def test_a_container_appears_after_docker_run(
    settings: ContainersCollectorSettings, last: LastState[ContainersMessage], containers: Containers
) -> None:
    async with running(run_containers_collector(settings)):
        await eventually(last.that(lambda message: True))
        labels = ("--label", "com.docker.compose.project=shop", "--label", "secret=s3cret")
        name = await containers.run(options=("-p", "127.0.0.1::80", "--env", "PASSWORD=s3cret", *labels))
        message = await eventually(last.that(shows(name, lambda container: container.state == "running")))
        found = named(message, name)
        assert found.image == "busybox:1"
        assert found.id == await docker("inspect", "-f", "{{.Id}}", name)
        assert found.started_at is not None
        assert abs(message.sampled_at - found.started_at) < 10_000
        assert found.exit_code is None
        [port] = found.ports
        assert (port.ip, port.container_port, port.protocol) == ("127.0.0.1", 80, "tcp")
        assert port.host_port
        assert found.project == "shop"
        assert found.labels == {"com.docker.compose.project": "shop"}
        assert "s3cret" not in message.model_dump_json()


@pytest.mark.docker
async def test_a_restart_stop_start_pause_and_removal_are_seen(
    settings: ContainersCollectorSettings, last: LastState[ContainersMessage], containers: Containers
) -> None:
    name = await containers.run()
    async with running(run_containers_collector(settings)):
        message = await eventually(last.that(shows(name)))
        seen = {named(message, name).started_at}
        for _ in range(3):
            await docker("restart", "-t", "0", name)
            message = await eventually(last.that(shows(name, lambda container: container.started_at not in seen)))
            seen.add(named(message, name).started_at)
        await docker("pause", name)
        await eventually(last.that(shows(name, lambda container: container.state == "paused")))
        await docker("unpause", name)
        await docker("kill", name)
        message = await eventually(last.that(shows(name, lambda container: container.state == "exited")))
        exited = named(message, name)
        assert exited.exit_code == 137
        assert exited.finished_at is not None
        await docker("rm", name)
        await eventually(last.that(lambda message: name not in names(message)))


@pytest.mark.docker
async def test_health_and_restarts_by_policy_are_seen(
    settings: ContainersCollectorSettings, last: LastState[ContainersMessage], containers: Containers
) -> None:
    checked = await containers.run(options=("--health-cmd", "true", "--health-interval", "1s"))
    dying = await containers.run("false", options=("--restart", "on-failure:2"))
    created = f"{checked}-created"
    containers._names.append(created)
    await docker("create", "--name", created, "busybox:1", "true")
    async with running(run_containers_collector(settings)):
        await eventually(last.that(shows(checked, lambda container: container.health == "healthy")))
        message = await eventually(
            last.that(shows(dying, lambda container: container.state == "exited" and container.restart_count == 2))
        )
        never_ran = named(message, created)
        assert (never_ran.state, never_ran.started_at, never_ran.exit_code) == ("created", None, None)
        assert never_ran.created_at > 1_700_000_000_000


@pytest.mark.docker
async def test_an_engine_that_appears_and_goes_is_found_and_missed(
    valkey: EmbeddedServer,
    bus: Bus,
    last: LastState[ContainersMessage],
    containers: Containers,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "common.docker")
    path = tmp_path / "docker.sock"

    async def has_fault(expected: str | None) -> bool:
        return await fault(bus, "containers") == expected

    async with running(run_containers_collector(engine_at(valkey, f"unix://{path}"))):
        await eventually(lambda: has_fault("gone docker-unreachable"))
        assert await last.read() is None
        name = await containers.run()
        async with engine_proxy(path):
            await eventually(last.that(shows(name)))
            await eventually(lambda: has_fault(None))
        await eventually(lambda: has_fault("gone docker-unreachable"))
        stays = await last.read()
        assert stays is not None
        assert name in names(stays)
        async with engine_proxy(path):
            again = await eventually(last.that(lambda message: message.seq > stays.seq))
            assert again.epoch == stays.epoch
            await eventually(lambda: has_fault(None))
            waits = [record.message for record in caplog.records if "waiting for it" in record.message]
            assert len(waits) == 2, "said once an episode"


# What is let alone, on the real engine

VALKEY = ("valkey-server", "--protected-mode", "no")


@asynccontextmanager
async def shown_by_a_collector_on(url: str) -> AsyncIterator[LastState[ContainersMessage]]:
    """What a collector publishes by the Redis at this address, once that answers."""
    bus = Bus(url, Keys())

    async def answers() -> bool:
        try:
            await bus.sync_clock()
        except BusError:
            return False
        return True

    try:
        await eventually(answers)
        settings = ContainersCollectorSettings(
            redis_url=url, host_id=HOST, docker_host=f"unix://{REAL_ENGINE}", interval=SHORT
        )
        async with running(run_containers_collector(settings)):
            yield LastState(bus, "containers", ContainersMessage)
    finally:
        await bus.close()


@pytest.mark.docker
@pytest.mark.parametrize("published", ["127.0.0.1::6379", "6379"])
async def test_the_redis_that_publishes_the_port_of_the_bus_is_protected(
    containers: Containers, published: str
) -> None:
    redis = await containers.run(*VALKEY, image="valkey/valkey:9", options=("-p", published))
    beside = await containers.run(options=("-p", "127.0.0.1::80"))
    port = (await docker("port", redis, "6379/tcp")).splitlines()[0].rpartition(":")[2]
    async with shown_by_a_collector_on(f"redis://127.0.0.1:{port}") as last:
        message = await eventually(last.that(lambda message: {redis, beside} <= set(names(message))))
        assert named(message, redis).protected
        assert not named(message, beside).protected


@pytest.mark.docker
@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere containers' addresses are another machine's")
async def test_the_redis_that_has_the_address_of_the_bus_is_protected_and_not_who_publishes_its_port_here(
    containers: Containers,
) -> None:
    beside = await containers.run(options=("-p", "80"))
    port = (await docker("port", beside, "80/tcp")).splitlines()[0].rpartition(":")[2]
    redis = await containers.run(*VALKEY, "--port", port, image="valkey/valkey:9")
    [address] = (
        await docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", redis)
    ).split()
    async with shown_by_a_collector_on(f"redis://{address}:{port}") as last:
        message = await eventually(last.that(lambda message: {redis, beside} <= set(names(message))))
        assert named(message, redis).protected
        assert not named(message, beside).protected


@pytest.mark.docker
@pytest.mark.parametrize(
    ("setting", "protected"),
    [
        ({}, {"protect"}),
        ({"forbid_labels": "tier=d*"}, {"protect", "db"}),
        ({"allow_labels": "tier=web,tier=db"}, {"protect", "none"}),
        ({"allow_labels": "tier", "forbid_labels": "tier=db"}, {"protect", "none", "db"}),
    ],
)
async def test_what_the_host_forbids_or_does_not_allow_is_protected_beside_what_carries_the_label(
    valkey: EmbeddedServer,
    last: LastState[ContainersMessage],
    containers: Containers,
    setting: dict[str, str],
    protected: set[str],
) -> None:
    labels = {"protect": ("fleetcast.protect=true", "tier=web"), "db": ("tier=db",), "web": ("tier=web",), "none": ()}
    made = {
        what: await containers.run(options=tuple(f"--label={label}" for label in carried))
        for what, carried in labels.items()
    }
    async with running(run_containers_collector(engine_at(valkey, f"unix://{REAL_ENGINE}", **setting))):
        message = await eventually(last.that(lambda message: set(made.values()) <= set(names(message))))
        assert {what for what, name in made.items() if named(message, name).protected} == protected


# With an engine that does what the test says


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.put(ID_A, "web")
    return engine


@pytest.fixture
async def address(engine: FakeEngine, tmp_path: Path) -> AsyncIterator[str]:
    async with engine.serving(tmp_path / "docker.sock") as address:
        yield address


async def test_what_does_not_change_is_listed_now_and_then_and_inspected_once(
    bus: Bus, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    async with collecting(bus, address, Times(debounce=0.02, full=0.1)):
        await eventually(lambda: len(engine.subscriptions) == 1)
        await eventually(last.that(shows("web")))
        lists = engine.lists
        await eventually(lambda: engine.lists >= lists + 5)
        message = await last.read()
        assert message is not None
        assert message.seq <= 2
        inspections = len(engine.inspections)
        engine.put(ID_B, "db")
        engine.tell("create", ID_B)
        engine.tell("start", ID_B)
        await eventually(last.that(shows("db")))
        assert engine.inspections[inspections:] == [ID_B]


async def test_an_unchanged_snapshot_is_published_again_with_a_new_time(
    bus: Bus, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    async with collecting(bus, address, Times(debounce=0.02, full=0.05, republish=0.2)):
        first = await eventually(last.that(lambda message: True))
        third = await eventually(last.that(lambda message: message.seq >= 3))
        assert third.data == first.data
        assert third.sampled_at - first.sampled_at >= 200


class MovingBus(Guard):
    """Says at once what it says in time of a bus that moves."""

    def __init__(self) -> None:
        super().__init__(ProtectionSettings(redis_url="unix:///nowhere"))
        self.rule = Protection()

    async def protection(self) -> Protection:
        return self.rule


async def test_a_rule_that_has_changed_is_published_where_no_container_has(
    bus: Bus, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    engine.put(ID_A, "web", NetworkSettings={"Networks": {"shop": {"IPAddress": "172.18.0.5"}}})
    guard = MovingBus()
    async with collecting(bus, address, guard=guard):
        await eventually(last.that(shows("web", lambda container: not container.protected)))
        await eventually(lambda: len(engine.subscriptions) == 1)
        guard.rule = Protection(bus=frozenset({Endpoint("172.18.0.5", 6379, is_local=False)}))
        await eventually(last.that(shows("web", lambda container: container.protected)))


async def test_a_container_that_vanishes_between_list_and_inspection_is_left_out(
    valkey: EmbeddedServer, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    engine.put(ID_B, "db")
    engine.vanishing = {ID_A}
    async with running(run_containers_collector(engine_at(valkey, address))):
        message = await eventually(last.that(lambda message: True))
        assert names(message) == ["db"]


async def test_a_container_that_hangs_in_docker_does_not_hide_the_others(
    valkey: EmbeddedServer, bus: Bus, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    async with collecting(bus, address):
        await eventually(last.that(shows("web")))
        engine.hanging = {ID_A}
        engine.put(ID_A, "web", Status="Up 4 hours")
        engine.put(ID_B, "db")
        message = await eventually(last.that(shows("db")))
        kept = named(message, "web")
        assert kept.status == "Up 4 hours"
        assert await fault(bus, "containers") is None


NO_HURRY = Times(debounce=0.02, full=3600)
"""Whatever is published is published because something has come."""


async def test_a_container_that_docker_is_at_is_shown_at_once_and_whole_when_docker_answers(
    bus: Bus, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    async with collecting(bus, address, NO_HURRY):
        await eventually(last.that(shows("web")))
        await eventually(lambda: len(engine.subscriptions) == 1)
        engine.hanging = {ID_B}
        engine.put(ID_B, "db", State="created", Status="Created")
        engine.tell("create", ID_B, name="db")
        message = await eventually(last.that(shows("db")))
        assert (named(message, "db").state, named(message, "db").started_at) == ("created", None)
        engine.put("c" * 64, "cache")
        engine.tell("create", "c" * 64, name="cache")
        message = await eventually(last.that(shows("cache", lambda container: container.started_at is not None)))
        assert named(message, "db").started_at is None
        engine.put(ID_B, "db")
        engine.release()
        message = await eventually(last.that(shows("db", lambda container: container.started_at is not None)))
        assert named(message, "db").state == "running"


async def test_an_answer_from_before_an_event_is_not_taken_for_one_from_after_it(
    bus: Bus, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    async with collecting(bus, address, NO_HURRY):
        before = await eventually(last.that(shows("web")))
        await eventually(lambda: len(engine.subscriptions) == 1)
        engine.hanging = {ID_A}
        asked = len(engine.inspections)
        engine.tell("start", ID_A, name="web")
        await eventually(lambda: len(engine.inspections) > asked)
        engine.tell("start", ID_A, name="web")
        await eventually(lambda: len(engine.inspections) > asked + 1)
        engine.put(ID_A, "web", StartedAt="2026-11-23T14:00:00Z")
        engine.release()
        started_at = named(before, "web").started_at
        await eventually(last.that(shows("web", lambda container: container.started_at != started_at)))


async def test_how_a_run_ended_that_no_event_told_is_told_once_docker_answers(
    bus: Bus, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    async def ends() -> list[tuple[int | None, bool | None]]:
        return [(event.exit_code, event.oom_killed) for event in await told(bus) if event.to == "exited"]

    async with collecting(bus, address):
        await eventually(last.that(shows("web")))
        engine.hanging = {ID_A}
        engine.put(ID_A, "web", State="exited", Status="Exited (137) 1 second ago")
        message = await eventually(last.that(shows("web", lambda container: container.state == "exited")))
        assert named(message, "web").exit_code is None
        again = await eventually(last.that(lambda later: later.seq > message.seq))
        assert named(again, "web").exit_code is None
        assert await ends() == []
        engine.containers[ID_A][1]["State"] |= {"ExitCode": 137, "OOMKilled": True}
        engine.release()
        await eventually(ends)
        assert await ends() == [(137, True)]


async def test_a_refused_list_is_a_fault_and_is_over_when_docker_answers(
    valkey: EmbeddedServer,
    bus: Bus,
    last: LastState[ContainersMessage],
    engine: FakeEngine,
    address: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def has_fault(expected: str | None) -> bool:
        return await fault(bus, "containers") == expected

    async with collecting(bus, address):
        before = await eventually(last.that(shows("web")))
        engine.refusal = (500, "the storage driver is gone")
        await eventually(lambda: has_fault("stalled docker-error"))
        stays = await last.read()
        assert stays is not None
        engine.refusal = None
        after = await eventually(last.that(lambda message: message.seq > stays.seq))
        assert after.data == before.data
        await eventually(lambda: has_fault(None))
    told = [record.message for record in caplog.records if "the storage driver is gone" in record.message]
    assert len(told) == 1


async def test_a_snapshot_that_did_not_reach_redis_goes_out_later(
    valkey: EmbeddedServer, bus: Bus, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    async with collecting(bus, address):
        before = await eventually(last.that(shows("web")))
        await valkey.stop()
        engine.put(ID_B, "db")
        lists = engine.lists
        await eventually(lambda: engine.lists >= lists + 2)
        await valkey.start()
        after = await eventually(last.that(shows("db")))
        assert after.epoch == before.epoch


async def test_a_second_collector_takes_over_when_the_first_one_ends(
    valkey: EmbeddedServer, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    settings = engine_at(valkey, address)
    async with running(run_containers_collector(settings)) as first:
        before = await eventually(last.that(shows("web")))
        async with running(run_containers_collector(settings)):
            first.cancel()
            await asyncio.wait([first])
            after = await eventually(last.that(lambda message: message.epoch > before.epoch))
            assert (after.seq, after.data) == (1, before.data)


async def test_an_odd_container_hides_no_other(
    valkey: EmbeddedServer, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    engine.put(ID_B, "db", State="levitating")
    engine.put("c" * 64, "cache", Ports=None, Labels=None)
    async with running(run_containers_collector(engine_at(valkey, address))):
        message = await eventually(last.that(lambda message: True))
        assert names(message) == ["cache", "web"]


async def test_labels_of_the_setting_are_published(
    valkey: EmbeddedServer, last: LastState[ContainersMessage], engine: FakeEngine, address: str
) -> None:
    engine.put(ID_A, "web", Labels={"team": "blue", "secret": "s3cret"})
    async with running(run_containers_collector(engine_at(valkey, address, labels="te*"))):
        message = await eventually(last.that(shows("web")))
        found = named(message, "web")
        assert found.labels == {"team": "blue"}
