"""What the engine says of containers' usage, and that the files say the same. The real engine has control groups v1; v2
is tested on files in the documented format (test_collector_usage.py, test_collector_cgroups.py).
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.collector.rates import UsageRow
from services.collector.usage import MOST_STATS_AT_ONCE, Running
from tests.conftest import Containers, docker
from tests.engine import HANG, http
from tests.services.collector_support import REAL_ENGINE
from tests.services.usage_support import (
    ID_A,
    ID_B,
    MIB,
    V1,
    A,
    Engine,
    Samplers,
    Tree,
    open_descriptors,
    row,
    running,
    sample,
    statistics,
    with_rates,
)
from tests.support import NotYet, eventually


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path, V1)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine(tmp_path / "docker.sock") as engine:
        yield engine


@pytest.fixture
async def samplers() -> AsyncIterator[Samplers]:
    made = Samplers()
    yield made
    await made.close()


# The engine's statistics


async def test_a_pid_whose_process_is_not_the_containers_is_not_believed(
    tree: Tree, engine: Engine, samplers: Samplers
) -> None:
    b = running(ID_B, 102)
    tree.put(A)
    tree.put(b)
    tree.write(tree.proc / "102/cgroup", (tree.proc / "101/cgroup").read_text())
    engine.stats[ID_B] = statistics(memory_bytes=5)
    sampler = samplers.at(tree, engine)
    usage = await sample(sampler, A, b)
    assert usage.memory_bytes == (7 * MIB, 5)
    assert usage.cores == 5
    assert sampler.source == "stats"
    assert len(engine.asked("/stats")) == 1


async def test_one_that_has_stopped_says_nothing_of_the_source(tree: Tree, engine: Engine, samplers: Samplers) -> None:
    tree.put(A)
    engine.stats[ID_B] = statistics(read="0001-01-01T00:00:00Z")
    sampler = samplers.at(tree, engine)
    assert row(await sample(sampler, A, running(ID_B, 102)), ID_B) == UsageRow()
    assert sampler.source == "cgroup"


async def test_an_engine_that_refuses_is_said_once_an_episode(
    tree: Tree, engine: Engine, samplers: Samplers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "services.collector.usage")
    sampler = samplers.at(tree, engine)
    for answer in (
        http('{"message": "not with me"}', "403 Forbidden"),
        http('{"read": "2026-11-23T22:59:06Z", "cpu_stats": 5}'),
    ):
        engine.stats[ID_A] = answer
        for _ in range(2):
            assert row(await sample(sampler, A)) == UsageRow()
            assert sampler.source == "stats"
        engine.stats[ID_A] = statistics()
        assert row(await sample(sampler, A)).memory_bytes == 5
    said = [record.message for record in caplog.records if record.name == "services.collector.usage"]
    assert ["not with me" in said[0], "cpu_stats is no object" in said[2]] == [True, True]
    assert [" is back " in line for line in said] == [False, True, False, True]


async def test_few_are_asked_at_once_and_those_left_out_are_first_in_the_next_round(
    tree: Tree, engine: Engine, samplers: Samplers
) -> None:
    containers = [running(f"{number:064x}", number) for number in range(1, 2 * MOST_STATS_AT_ONCE + 1)]
    engine.stats = {container.id: HANG for container in containers}
    sampler = samplers.at(tree, engine, stats_deadline_s=30.0, stats_round_s=0.3)
    await sample(sampler, *containers)
    assert len(engine.asked("/stats")) == MOST_STATS_AT_ONCE
    await sample(sampler, *containers)
    assert {request.split("/")[3] for request in engine.asked("/stats")} == set(engine.stats)


async def test_those_that_do_not_answer_in_time_do_not_hide_the_others(
    tree: Tree, engine: Engine, samplers: Samplers
) -> None:
    containers = [running(f"{number:064x}", number) for number in range(1, MOST_STATS_AT_ONCE + 4)]
    hanging = {container.id: HANG for container in containers[:MOST_STATS_AT_ONCE]}
    engine.stats = {container.id: statistics() for container in containers} | hanging
    sampler = samplers.at(tree, engine, stats_deadline_s=1.0)
    assert (await sample(sampler, *containers)).memory_bytes == (*[None] * MOST_STATS_AT_ONCE, 5, 5, 5)


# The real engine


async def inspected(*names: str) -> list[Running]:
    return [
        Running(each["Id"], each["State"]["Pid"], each["State"]["StartedAt"], False)
        for each in json.loads(await docker("inspect", *names))
    ]


async def shown_by_docker(name: str) -> UsageRow:
    """As the docker command says it."""
    shown = json.loads(await docker("stats", "--no-stream", "--format", "json", name))
    memory, limit = (in_bytes(amount) for amount in shown["MemUsage"].split(" / "))
    return UsageRow(float(shown["CPUPerc"].rstrip("%")), memory, limit)


def in_bytes(amount: str) -> int:
    for power, unit in enumerate(("KiB", "MiB", "GiB"), 1):
        if amount.endswith(unit):
            return round(float(amount.removesuffix(unit)) * 1024**power)
    return round(float(amount.removesuffix("B")))


@pytest.fixture
async def busy(containers: Containers) -> str:
    return await containers.run("sh", "-c", "while :; do :; done", options=("--cpus", "0.5"))


@pytest.fixture
async def holding(containers: Containers) -> str:
    hold = "(head -c 50m /dev/zero; sleep 3600) | tail"
    return await containers.run("sh", "-c", hold, options=("--memory", "200m"))


def same(one: UsageRow, another: UsageRow) -> bool:
    """Within 5 points of CPU and 2 % of memory."""
    return (
        abs((one.cpu_percent or 0) - (another.cpu_percent or 0)) <= 5
        and one.memory_bytes == pytest.approx(another.memory_bytes, rel=0.02)
        and one.memory_limit_bytes == pytest.approx(another.memory_limit_bytes, rel=0.01)
    )


@pytest.mark.docker
async def test_usage_is_what_docker_stats_shows_both_by_the_files_and_by_the_engine(
    busy: str, holding: str, samplers: Samplers, tmp_path: Path
) -> None:
    found = await inspected(busy, holding)
    files = samplers.make(f"unix://{REAL_ENGINE}")
    stats = samplers.make(f"unix://{REAL_ENGINE}", proc=tmp_path)

    async def agree() -> bool | NotYet:
        """All over the same two seconds; a look may be off where the machine is busy elsewhere for a part of them."""
        await asyncio.gather(sample(files, *found), sample(stats, *found))
        shown = await asyncio.gather(shown_by_docker(busy), shown_by_docker(holding))
        both = await asyncio.gather(sample(files, *found), sample(stats, *found))
        of_each = [
            (row(both[0], each.id), row(both[1], each.id), said) for each, said in zip(found, shown, strict=True)
        ]
        is_same = all(same(file, said) and same(stat, said) and same(file, stat) for file, stat, said in of_each)
        return is_same or NotYet(*of_each)

    await eventually(agree)
    for sampler, source in ((files, "cgroup"), (stats, "stats")):
        usage = await with_rates(sampler, *found)
        assert usage.memory_limit_bytes[1] == 200 * MIB
        assert usage.pids[0] == 1
        assert sampler.source == source


@pytest.mark.docker
async def test_a_container_that_dies_has_only_nulls_and_leaves_no_descriptor(
    containers: Containers, samplers: Samplers, engine: Engine
) -> None:
    staying, dying = await inspected(await containers.run(), await containers.run())
    sampler = samplers.make(engine.address)
    assert (await sample(sampler, staying, dying)).pids == (1, 1)
    assert len(open_descriptors(f"/proc/{dying.pid}")) == 1
    await docker("kill", dying.id)
    usage = await sample(sampler, staying, dying)
    assert row(usage, dying.id) == UsageRow()
    assert usage.pids == (1, None)
    assert (engine.requests, sampler.source) == ([], "cgroup"), "nobody had to be asked"
    assert not [path for path in open_descriptors("/sys/fs/cgroup") if dying.id in path]
    assert (await sample(sampler, staying, dying)).pids == (1, None)
    assert sampler.source == "cgroup"
