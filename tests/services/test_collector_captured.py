"""What engines really said that the machine of these tests does not have: control groups v2 under systemd, and Podman.

`tests/captured/` has it as it came, but that of Podman's inspections only what is read is kept.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common.bus import Bus
from common.protocol import ContainersMessage, EventMessage
from services.collector.rates import UsageCounters
from services.collector.stats import read_stats
from services.collector.usage_files import GroupReading, Running
from tests.services.collector_support import QUICK, FakeEngine, LastState, collecting, told
from tests.support import NotYet, eventually

CAPTURED = Path(__file__).parents[1] / "captured"


def captured(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CAPTURED / name).read_text())
    return found


# Control groups v2


def test_the_files_of_v2_tell_what_the_engine_told_in_the_same_second(tmp_path: Path) -> None:
    docker = captured("docker-26.1-cgroup-v2.json")
    for path, text in docker["files"].items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "proc/meminfo").write_text("MemTotal:        4015552 kB\n")
    (tmp_path / "cgroup/cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    reading = GroupReading(tmp_path / "proc", tmp_path / "cgroup", 100, all_every_s=10)
    container = Running(docker["id"], docker["pid"], "2026-11-30T16:33:00Z", host_network=False)
    found = reading.read([container])[container.id]
    reading.close()
    assert isinstance(found, UsageCounters)

    said = read_stats(docker["stats"], found.at_s, host_network=False)
    assert said is not None
    assert found._replace(traffic=None) == said.counters._replace(traffic=None)
    assert (found.cpu_ns, found.io, found.pids) == (1_666_077_000, (0, 12 * 1024**2), 1)
    assert found.memory_bytes == 716_800, "of 13 MB, of which 12 MiB are the file"
    assert (found.traffic, said.counters.traffic) == ((806, 0), (876, 0)), "a packet came between the two"


# Podman

SHOWN = {
    "running": ("cap", "running", None, False, None),
    "paused": ("cap", "paused", None, False, None),
    "stopping": ("cap", "running", None, False, None),
    "exited": ("cap", "exited", 137, False, None),
    "oom": ("oom", "exited", 137, True, None),
    "created": ("new", "created", None, False, None),
    "healthy": ("hc", "running", None, False, "healthy"),
    "gone": None,
}
"""Name, state, exit code, whether memory was the reason, health: of the one container at each moment."""

TOLD = [
    ("cap", None, "created"),
    ("cap", "created", "running"),
    ("cap", "running", "paused"),
    ("cap", "paused", "running"),
    ("cap", "running", "exited", 137),
    ("cap", "exited", "running"),
    ("cap", "running", "exited", 137),
    ("cup", "exited", "running"),
    ("cup", "running", "exited", 137),
    ("cup", "exited", None),
    ("oom", None, "created"),
    ("oom", "created", "running"),
    ("oom", "running", "exited", 137, "out of memory"),
    ("oom", "exited", None),
    ("new", None, "created"),
    ("new", "created", None),
    ("hc", None, "created"),
    ("hc", "created", "running"),
    ("hc", "running", "running", "unhealthy"),
    ("hc", "running", "running", "healthy"),
    ("hc", "running", "exited", 137),
    ("hc", "exited", None),
]


@pytest.fixture(scope="module")
def podman() -> dict[str, Any]:
    return captured("podman-5.4.json")


@pytest.fixture
def engine(podman: dict[str, Any]) -> FakeEngine:
    engine = FakeEngine()
    engine.version = podman["version"]
    return engine


@pytest.fixture
async def address(engine: FakeEngine, tmp_path: Path) -> AsyncIterator[str]:
    async with engine.serving(tmp_path / "podman.sock") as address:
        yield address


async def test_podmans_containers_are_followed_through_all_they_do(
    bus: Bus, engine: FakeEngine, address: str, podman: dict[str, Any]
) -> None:
    last = LastState(bus, "containers", ContainersMessage)

    async def shown() -> list[tuple[Any, ...]] | None:
        message = await last.read()
        return message and [(it.name, it.state, it.exit_code, it.oom_killed, it.health) for it in message.data]

    async with collecting(bus, address, QUICK):
        await eventually(lambda: engine.subscriptions)
        await eventually(last.read, what="an empty list")
        for moment in podman["moments"]:
            engine.containers = {listed["Id"]: (listed, inspected) for listed, inspected in moment["containers"]}
            for event in moment["events"]:
                engine.tell_line(json.dumps(event).encode())
            expected = [found] if (found := SHOWN[moment["name"]]) else []

            async def is_shown(expected: list[Any] = expected) -> bool | NotYet:
                now = await shown()
                return now == expected or NotYet(now)

            await eventually(is_shown, what=moment["name"])

        async def all_are_told() -> bool | NotYet:
            steps = [step_of(event) for event in await told(bus)]
            return steps == TOLD or NotYet(steps)

        await eventually(all_are_told)


def step_of(event: EventMessage) -> tuple[Any, ...]:
    what = (event.exit_code, event.oom_killed and "out of memory", event.health)
    return (event.name, event.from_, event.to, *(word for word in what if word))


def test_podmans_statistics_are_read(podman: dict[str, Any]) -> None:
    said = read_stats(podman["stats"], 7.0, host_network=False)
    assert said is not None
    counters, cores = said
    assert counters.cpu_ns == podman["stats"]["cpu_stats"]["cpu_usage"]["total_usage"]
    assert counters.memory_bytes == podman["stats"]["memory_stats"]["usage"], "it does not say how much of it is files"
    assert (counters.pids, cores, counters.traffic) == (1, 2, None)
