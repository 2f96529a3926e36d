"""On files in a folder of the test's own, as the kernel documents them, for control groups v1 and v2: the engine that
other tests use (test_collector_usage_engine.py) has v1.
"""

import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.collector import usage_files
from services.collector.rates import UsageCounters, UsageRates, UsageRow
from tests.services.usage_support import (
    ID_A,
    ID_B,
    ID_C,
    MIB,
    TOTAL,
    V1,
    V2,
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
from tests.support import eventually


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path, V1)


@pytest.fixture(params=[V1, V2])
def either(tmp_path: Path, request: pytest.FixtureRequest) -> Tree:
    return Tree(tmp_path, request.param)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine(tmp_path / "docker.sock") as engine:
        yield engine


@pytest.fixture
async def samplers() -> AsyncIterator[Samplers]:
    made = Samplers()
    yield made
    await made.close()


# Rates


def test_rates_are_of_the_monotonic_time_between_two_readings() -> None:
    rates = UsageRates()
    first = rates.update(UsageCounters(10.0, 10**9, 5, 9, (0, 0), (100, 200), 2), cores=4)
    assert first == UsageRow(None, 5, 9, None, None, None, None, 2)
    second = rates.update(UsageCounters(12.0, 4 * 10**9, 6, 9, (10, 30), (100, 300), 3), cores=4)
    assert second == UsageRow(150.0, 6, 9, 5.0, 15.0, 0.0, 50.0, 3)


def test_a_counter_that_falls_starts_a_new_baseline_of_its_own() -> None:
    rates = UsageRates()
    rates.update(UsageCounters(1.0, 10**9, traffic=(100, 100), io=(5, 5)), cores=4)
    fallen = rates.update(UsageCounters(2.0, 10**8, traffic=(200, 90), io=(6, 7)), cores=4)
    assert fallen == UsageRow(None, read_bytes_per_sec=1.0, write_bytes_per_sec=2.0)
    again = rates.update(UsageCounters(3.0, 6 * 10**8, traffic=(201, 92), io=(6, 7)), cores=4)
    assert again == UsageRow(50.0, None, None, 1.0, 2.0, 0.0, 0.0)


def test_what_moved_while_nobody_looked_is_told_over_all_of_that_time() -> None:
    rates = UsageRates()
    rates.update(UsageCounters(9.0, 0, traffic=(0, 0), io=(0, 0)), cores=1)
    rates.update(UsageCounters(10.0, 0, traffic=(0, 0), io=(0, 0)), cores=1)
    late = UsageCounters(11.0, 0, traffic=(50, 100), io=(50, 100), moved_since_s=1.0)
    assert rates.update(late, cores=1) == UsageRow(0.0, None, None, 5.0, 10.0, 5.0, 10.0)
    soon = UsageCounters(13.0, 0, traffic=(60, 100), io=(50, 100), moved_since_s=12.0)
    assert rates.update(soon, cores=1) == UsageRow(0.0, None, None, 5.0, 0.0, 0.0, 0.0)


@given(st.floats(0, 1e6), st.integers(0, 2**64 - 1))
def test_rates_are_told_to_the_tenth(elapsed_s: float, gained: int) -> None:
    rates = UsageRates()
    rates.update(UsageCounters(0.0, traffic=(0, 0)), cores=1)
    found = rates.update(UsageCounters(elapsed_s, traffic=(gained, 0)), cores=1).rx_bytes_per_sec
    if found is not None:
        assert found == pytest.approx(gained / elapsed_s, rel=1e-9, abs=0.0501)
        assert found == round(found, 1)


def test_two_readings_at_the_same_time_say_nothing_and_lose_nothing() -> None:
    rates = UsageRates()
    rates.update(UsageCounters(1.0, 0), cores=1)
    assert rates.update(UsageCounters(1.0, 10**8), cores=1).cpu_percent is None
    assert rates.update(UsageCounters(2.0, 5 * 10**8), cores=1).cpu_percent == 50.0


def test_no_container_uses_more_than_all_cores() -> None:
    rates = UsageRates()
    rates.update(UsageCounters(1.0, 0), cores=2)
    assert rates.update(UsageCounters(1.5, 3 * 10**9), cores=2).cpu_percent == 200.0


# The files


async def test_what_is_held_is_known_at_once_and_rates_from_the_second_sample(
    either: Tree, engine: Engine, samplers: Samplers
) -> None:
    either.put(A, cpu_ms=10, rx=1000, tx=50, read=4096, write=1)
    sampler = samplers.at(either, engine)
    assert sampler.source is None
    usage = await sample(sampler, A)
    assert row(usage) == UsageRow(None, 7 * MIB, TOTAL, None, None, None, None, 3)
    assert usage.cores == os.cpu_count()
    assert sampler.source == "cgroup"
    either.put(A, cpu_ms=11, rx=4000, tx=1050, read=6096, write=4001)
    cpu, _, _, rx, tx, read, write, _ = row(await with_rates(sampler, A))
    assert cpu is not None
    assert cpu > 0
    assert None not in (rx, tx, read, write)
    assert [rate / tx for rate in (rx, read, write)] == pytest.approx([3, 2, 4], rel=0.01)
    assert engine.requests == []


async def test_a_counter_that_fell_has_no_rate(either: Tree, engine: Engine, samplers: Samplers) -> None:
    either.put(A, cpu_ms=100, rx=1000)
    sampler = samplers.at(either, engine)
    await sample(sampler, A)
    await with_rates(sampler, A)
    either.put(A, cpu_ms=101, rx=5)

    async def fallen() -> bool:
        found = row(await with_rates(sampler, A))
        return found.cpu_percent is not None and found.rx_bytes_per_sec is None

    assert await fallen()
    assert row(await with_rates(sampler, A)).rx_bytes_per_sec == 0.0


async def test_another_run_is_a_new_baseline(tree: Tree, engine: Engine, samplers: Samplers) -> None:
    tree.put(A, cpu_ms=100)
    sampler = samplers.at(tree, engine)
    await sample(sampler, A)
    await with_rates(sampler, A)
    again = running(ID_A, 102, "2026-11-23T23:00:00Z")
    tree.put(again, cpu_ms=200)
    assert row(await sample(sampler, again)).cpu_percent is None
    assert open_descriptors(tree.proc) == [str(tree.proc / "102")]
    assert row(await with_rates(sampler, again)).cpu_percent == 0.0


async def test_traffic_is_unknown_on_the_hosts_network(tree: Tree, engine: Engine, samplers: Samplers) -> None:
    on_host = running(ID_A, 101, host_network=True)
    tree.put(on_host, rx=5)
    sampler = samplers.at(tree, engine)
    await sample(sampler, on_host)
    found = row(await with_rates(sampler, on_host))
    assert (found.rx_bytes_per_sec, found.tx_bytes_per_sec) == (None, None)
    assert found.read_bytes_per_sec == 0.0


async def test_long_files_are_read_to_their_end(tree: Tree, engine: Engine, samplers: Samplers) -> None:
    net_dev = tree.proc / "101/net/dev"

    def move(count: int) -> None:
        tree.put(A, cpu_ms=count)
        lines = (f"veth{n}: {count} 0 0 0 0 0 0 0 {count} 0 0 0 0 0 0 0\n" for n in range(1000))
        tree.write(net_dev, "\n\n" + "".join(lines) + f"eth0: {10**6 * count} 0 0 0 0 0 0 0 {count}{' 0' * 7}\n")

    move(0)
    sampler = samplers.at(tree, engine)
    await sample(sampler, A)
    await with_rates(sampler, A)
    move(1)
    found = row(await with_rates(sampler, A))
    assert found.rx_bytes_per_sec
    assert found.tx_bytes_per_sec
    assert found.rx_bytes_per_sec / found.tx_bytes_per_sec == pytest.approx(1_001_000 / 1001, rel=0.01)


async def test_one_that_is_gone_has_only_nulls_and_costs_the_others_nothing(
    tree: Tree, engine: Engine, samplers: Samplers
) -> None:
    b, c = running(ID_B, 102), running(ID_C, 103)
    tree.put(A)
    tree.put(c)
    engine.stats[ID_B] = statistics()
    sampler = samplers.at(tree, engine)
    usage = await sample(sampler, c, b, A)
    assert usage.ids == (ID_C, ID_B, ID_A)
    assert row(usage, ID_B).memory_bytes is None, "the engine, which may be slow, is not asked about what has ended"
    assert usage.pids == (3, None, 3)
    assert row(usage, ID_B) == UsageRow()
    assert sampler.source == "cgroup"


async def test_a_changed_limit_is_noticed(either: Tree, engine: Engine, samplers: Samplers) -> None:
    either.put(A)
    sampler = samplers.at(either, engine, all_every_s=0.0)
    assert row(await sample(sampler, A)).memory_limit_bytes == TOTAL
    [limit] = [*either.cgroup.rglob("memory.limit_in_bytes"), *either.cgroup.rglob("memory.max")]
    limit.write_text(f"{20 * MIB}\n")
    assert row(await sample(sampler, A)).memory_limit_bytes == 20 * MIB


async def test_what_cannot_be_understood_is_null_and_said_once(
    tree: Tree, engine: Engine, samplers: Samplers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_files, "_said", set())
    tree.put(A)
    tree.write(tree.cgroup / f"memory/docker/{ID_A}/memory.usage_in_bytes", "lots\n")
    sampler = samplers.at(tree, engine)
    for _ in range(3):
        found = row(await sample(sampler, A))
        assert (found.memory_bytes, found.pids) == (None, 3)
    [record] = caplog.records
    assert "b'lots\\n' is no number" in record.message


async def test_descriptors_are_bounded_and_closed_with_their_containers(
    tree: Tree, engine: Engine, samplers: Samplers, tmp_path: Path
) -> None:
    containers = [running(f"{number:064x}", number) for number in range(1, 9)]
    for container in containers:
        tree.put(container)
    sampler = samplers.at(tree, engine, most_descriptors=23)
    for _ in range(3):
        assert (await sample(sampler, *containers)).pids == (3,) * 8
        assert len(open_descriptors(tmp_path / "cgroup") + open_descriptors(tmp_path / "proc")) == 21
    await sample(sampler, *containers[1:4])
    assert len(open_descriptors(tree.proc)) == 3
    assert (await sample(sampler)).ids == ()
    assert open_descriptors(tree.proc) + open_descriptors(tree.cgroup) == []
    await sample(sampler, A, containers[0])
    sampler.close()
    assert open_descriptors(tree.proc) + open_descriptors(tree.cgroup) == []


async def test_a_reading_that_hangs_holds_up_nothing_and_closes_its_descriptors_late(
    tree: Tree, engine: Engine, samplers: Samplers, tmp_path: Path
) -> None:
    b = running(ID_B, 102)
    tree.put(A)
    tree.put(b)
    file, other_name = tree.cgroup / f"pids/docker/{ID_B}/pids.current", tmp_path / "fifo"

    def hang() -> None:
        file.unlink()
        os.mkfifo(other_name)
        file.hardlink_to(other_name)

    def release() -> None:
        file.unlink()
        file.write_text("3\n")
        other_name.open("wb").close()
        other_name.unlink()

    sampler = samplers.at(tree, engine, deadline_s=0.05)
    hang()
    for _ in range(3):
        assert await sampler.sample([A, b]) is None
    assert [thread.name for thread in threading.enumerate()].count("probe container usage") == 1
    release()
    usage = await eventually(lambda: sampler.sample([A, b]))
    assert usage.pids[0] == 3
    await sample(sampler)
    hang()
    assert await sampler.sample([A, b]) is None
    sampler.close()
    assert open_descriptors(tree.proc)
    release()
    await eventually(lambda: not open_descriptors(tree.proc) + open_descriptors(tree.cgroup))
