"""What is not read at each sample, on files that would betray it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.collector.rates import UsageCounters
from services.collector.usage_files import BATCH_BYTES, GroupReading
from tests.services.usage_support import ID_A, MIB, V1, V2, A, Tree, running
from tests.support import eventually

AN_HOUR_S = 3600.0


@pytest.fixture(params=[V1, V2])
def tree(tmp_path: Path, request: pytest.FixtureRequest) -> Tree:
    return Tree(tmp_path, request.param)


Look = Callable[[], UsageCounters]


@pytest.fixture
def looks(tree: Tree) -> Iterator[Callable[[float], Look]]:
    """What looks at the container, with everything read at least so often."""
    with ExitStack() as readings:

        def looking(all_every_s: float) -> Look:
            reading = GroupReading(tree.proc, tree.cgroup, 100, all_every_s)
            readings.callback(reading.close)

            def look() -> UsageCounters:
                counters = reading.read([A])[ID_A]
                assert isinstance(counters, UsageCounters)
                return counters

            return look

        yield looking


def hold(tree: Tree, usage: int, inactive: int) -> None:
    """Memory, in MiB."""
    hold_bytes(tree, usage * MIB, inactive * MIB)


def hold_bytes(tree: Tree, usage: int, inactive: int) -> None:
    [stat] = tree.cgroup.rglob("memory.stat")
    name = "total_inactive_file" if tree.version == V1 else "inactive_file"
    stat.write_text(f"{name} {inactive}\n")
    [current] = [*tree.cgroup.rglob("memory.usage_in_bytes"), *tree.cgroup.rglob("memory.current")]
    current.write_text(f"{usage}\n")


def test_what_memory_is_made_of_is_read_where_its_usage_has_changed(tree: Tree, looks: Callable[[float], Look]) -> None:
    look = looks(AN_HOUR_S)

    def after(cpu_ms: int, usage: int, inactive: int) -> int:
        tree.put(A, cpu_ms=cpu_ms)
        hold(tree, usage, inactive)
        return (look().memory_bytes or 0) // MIB

    assert after(1, usage=9, inactive=2) == 7
    assert after(2, usage=9, inactive=5) == 7
    assert after(3, usage=10, inactive=5) == 5
    assert after(4, usage=9, inactive=1) == 8


def test_what_memory_is_made_of_is_not_read_for_less_than_the_kernel_charges_at_once(
    tree: Tree, looks: Callable[[float], Look]
) -> None:
    look = looks(AN_HOUR_S)

    def after(cpu_ms: int, usage: int, inactive: int) -> int | None:
        tree.put(A, cpu_ms=cpu_ms)
        hold_bytes(tree, usage, inactive)
        return look().memory_bytes

    assert after(1, usage=9 * MIB, inactive=2 * MIB) == 7 * MIB
    assert after(2, usage=9 * MIB + BATCH_BYTES - 1, inactive=0) == 7 * MIB + BATCH_BYTES - 1
    assert after(3, usage=9 * MIB - BATCH_BYTES + 1, inactive=0) == 7 * MIB - BATCH_BYTES + 1
    assert after(4, usage=9 * MIB + BATCH_BYTES, inactive=0) == 9 * MIB + BATCH_BYTES, "small steps add up"
    assert after(5, usage=9 * MIB, inactive=3 * MIB) == 6 * MIB


async def test_what_memory_is_made_of_is_read_in_time_though_its_usage_is_the_same(
    tree: Tree, looks: Callable[[float], Look]
) -> None:
    tree.put(A)
    look = looks(0.05)
    hold(tree, usage=9, inactive=2)
    assert look().memory_bytes == 7 * MIB
    hold(tree, usage=9, inactive=5)
    await eventually(lambda: look().memory_bytes == 4 * MIB)


@pytest.mark.parametrize("moving", ["rx", "tx", "read", "write"])
def test_a_container_is_read_while_it_works_or_moves_anything(
    tree: Tree, looks: Callable[[float], Look], moving: str
) -> None:
    look = looks(AN_HOUR_S)

    def after(cpu_ms: int, moved: int) -> int:
        tree.put(A, cpu_ms=cpu_ms, **{moving: moved})
        found = look()
        assert found.traffic is not None
        assert found.io is not None
        return sum(found.traffic + found.io)

    assert after(1, 10) == 10
    assert after(2, 11) == 11, "it has worked"
    assert after(2, 12) == 12, "something moved before"
    assert after(2, 13) == 13
    assert after(2, 13) == 13, "and now nothing did"
    assert after(2, 14) == 13
    assert after(2, 15) == 13
    assert after(3, 16) == 16


def test_what_a_container_holds_is_as_it_was_until_it_works(tree: Tree, looks: Callable[[float], Look]) -> None:
    look = looks(AN_HOUR_S)

    def after(cpu_ms: int, usage: int, pids: int) -> tuple[int | None, int | None]:
        tree.put(A, cpu_ms=cpu_ms)
        hold(tree, usage, inactive=0)
        [file] = tree.cgroup.rglob("pids.current")
        file.write_text(f"{pids}\n")
        found = look()
        return found.memory_bytes, found.pids

    assert after(1, usage=5, pids=3) == (5 * MIB, 3)
    assert after(1, usage=5, pids=3) == (5 * MIB, 3)
    assert after(1, usage=6, pids=4) == (5 * MIB, 3)
    assert after(2, usage=6, pids=4) == (6 * MIB, 4)


async def test_a_container_that_does_nothing_is_read_in_time_and_what_moved_is_told_over_all_of_it(
    tree: Tree, looks: Callable[[float], Look]
) -> None:
    tree.put(A, rx=10)
    look = looks(0.05)
    assert [look().traffic for _ in range(3)] == [(10, 0)] * 3
    tree.put(A, rx=11, write=5)
    hold(tree, usage=6, inactive=0)

    def moved() -> UsageCounters | None:
        counters = look()
        return counters if counters.traffic == (11, 0) else None

    found: UsageCounters = await eventually(moved)
    assert (found.memory_bytes, found.io) == (6 * MIB, (0, 5))
    assert found.moved_since_s is not None
    assert found.at_s - found.moved_since_s > 0.04


def test_what_a_container_that_works_moves_is_of_the_time_since_the_look_before(
    tree: Tree, looks: Callable[[float], Look]
) -> None:
    tree.put(A, rx=10)
    look = looks(AN_HOUR_S)
    assert look().moved_since_s is None
    second = look()
    assert second.moved_since_s is not None
    third = look()
    assert (third.moved_since_s, third.at_s > second.at_s) == (None, True)
    tree.put(A, cpu_ms=1, rx=11)
    assert look().moved_since_s is None


def test_another_run_of_a_container_is_read_anew(tree: Tree) -> None:
    tree.put(A, rx=10)
    reading = GroupReading(tree.proc, tree.cgroup, 100, AN_HOUR_S)
    for _ in range(3):
        reading.read([A])
    again = running(ID_A, 102, "2026-11-23T23:00:00Z")
    tree.put(again, rx=3)
    hold(tree, usage=9, inactive=5)
    found = reading.read([again])[ID_A]
    reading.close()
    assert isinstance(found, UsageCounters)
    assert (found.traffic, found.memory_bytes) == ((3, 0), 4 * MIB)
