import asyncio
import logging
import os
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.bus import Bus
from common.models import Processes
from common.protocol import ProcessesMessage
from common.settings import MetricsCollectorSettings
from services.collector import processes
from services.collector.metrics import run_metrics_collector
from services.collector.processes import (
    LISTED,
    Load,
    ProcessesReading,
    ProcessLoads,
    ProcessSampler,
    collect_processes,
    largest,
)
from services.collector.procfs import ProcessStat
from services.collector.readings import TICK_S
from services.embedded import EmbeddedServer
from tests.conftest import Containers, docker
from tests.edges import host_worker
from tests.services.collector_support import HOST, LastState, running
from tests.support import eventually, eventually_sync

CONTAINER = "3f" * 32
SECOND = round(1 / TICK_S)

pytestmark = pytest.mark.skipif(not psutil.LINUX, reason="/proc is Linux'")


class Host:
    """A host's /proc with processes as a test has them, and the time there."""

    def __init__(self, proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc = proc
        self._now_s = 1000.0
        monkeypatch.setattr(processes.time, "monotonic", lambda: self._now_s)
        self.wait(0)
        self.run(1, "init", started_s=0)

    def wait(self, seconds: float) -> None:
        self._now_s += seconds
        (self.proc / "uptime").write_text(f"{self._now_s:.2f} 0.00\n")

    def run(
        self, pid: int, name: str, cpu_s: float = 0, pages: int = 1, started_s: float = 10, container: str = ""
    ) -> None:
        """A process as it stands now."""
        folder = self.proc / str(pid)
        folder.mkdir(exist_ok=True)
        ticks = round(cpu_s / TICK_S)
        (folder / "stat").write_text(
            f"{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 {round(started_s / TICK_S)} 0 {pages} 0 0\n",
        )
        (folder / "cgroup").write_text(f"0::/system.slice/docker-{container}.scope\n" if container else "0::/\n")

    def end(self, pid: int) -> None:
        for file in (self.proc / str(pid)).iterdir():
            file.unlink()
        (self.proc / str(pid)).rmdir()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def shares(found: Processes | None) -> dict[str, float]:
    assert found is not None
    return {process.name: process.cpu_percent for process in found.by_cpu}


def test_the_busiest_and_the_largest_are_told_with_their_containers(host: Host) -> None:
    host.run(7, "busy", cpu_s=5, pages=10, container=CONTAINER)
    host.run(8, "large", cpu_s=1, pages=1000)
    read = ProcessesReading(host.proc)
    assert read() is None
    host.wait(2)
    host.run(7, "busy", cpu_s=8, pages=10, container=CONTAINER)
    found = read()
    assert found is not None
    assert [process.name for process in found.by_cpu] == ["busy", "large", "init"]
    assert [process.name for process in found.by_memory] == ["large", "busy", "init"]
    busy = found.by_cpu[0]
    assert (busy.pid, busy.cpu_percent, busy.container_id) == (7, 150.0, CONTAINER)
    assert busy.memory_bytes == 10 * os.sysconf("SC_PAGE_SIZE")
    assert found.by_memory[0].container_id is None


def test_only_ten_of_each_are_told(host: Host) -> None:
    for pid in range(2, 50):
        host.run(pid, f"p{pid}", pages=pid)
    read = ProcessesReading(host.proc)
    read()
    host.wait(1)
    found = read()
    assert found is not None
    assert [process.pid for process in found.by_memory] == list(range(49, 39, -1))
    assert len(found.by_cpu) == LISTED


@pytest.mark.parametrize("name", [") S 1 (", "a b", "line\nend", "", "(((", "\udcff"])
def test_a_process_is_told_whatever_it_calls_itself(host: Host, name: str) -> None:
    host.run(7, "first", pages=9)
    stat = host.proc / "7/stat"
    stat.write_bytes(stat.read_bytes().replace(b"first", name.encode("utf-8", "surrogateescape")))
    read = ProcessesReading(host.proc)
    read()
    host.wait(1)
    found = read()
    assert found is not None
    assert found.by_memory[0].name == name.replace("\udcff", "�")
    assert found.model_dump_json()


def test_a_process_that_took_anothers_id_does_not_inherit_its_time(host: Host) -> None:
    host.run(7, "old", cpu_s=1)
    read = ProcessesReading(host.proc)
    read()
    host.wait(1)
    host.run(7, "new", cpu_s=0.5, started_s=1000.5)
    assert shares(read())["new"] == 50.0


def test_one_that_was_started_since_the_last_round_has_used_all_its_time_since_then(host: Host) -> None:
    read = ProcessesReading(host.proc)
    read()
    host.wait(1)
    host.run(7, "compiler", cpu_s=0.8, started_s=1000.1)
    assert shares(read())["compiler"] == 80.0


def test_one_that_is_seen_for_the_first_time_but_is_older_waits_for_the_next_round(host: Host) -> None:
    read = ProcessesReading(host.proc)
    read()
    host.wait(1)
    host.run(7, "old", cpu_s=500, started_s=10)
    assert "old" not in shares(read())
    host.wait(1)
    host.run(7, "old", cpu_s=500.5, started_s=10)
    assert shares(read())["old"] == 50.0


def test_a_time_that_falls_gives_no_spike(host: Host) -> None:
    read = ProcessesReading(host.proc)
    host.run(7, "strange", cpu_s=100)
    read()
    for cpu_s, percent in ((50, 0.0), (50.5, 50.0)):
        host.wait(1)
        host.run(7, "strange", cpu_s=cpu_s)
        assert shares(read())["strange"] == percent


def test_a_baseline_from_when_somebody_last_looked_is_not_used(host: Host) -> None:
    read = ProcessesReading(host.proc, oldest_baseline_s=10)
    host.run(7, "busy", cpu_s=1)
    read()
    host.wait(3600)
    assert read() is None
    host.wait(1)
    host.run(7, "busy", cpu_s=1.5)
    assert shares(read())["busy"] == 50.0


def test_processes_that_go_while_they_are_read_are_left_out(host: Host) -> None:
    read = ProcessesReading(host.proc)
    host.run(7, "going")
    host.run(8, "gone")
    read()
    host.wait(1)
    (host.proc / "7/cgroup").unlink()
    (host.proc / "8/stat").unlink()
    assert shares(read()) == {"init": 0.0}


def test_where_others_processes_are_hidden_nothing_passes_for_the_largest(host: Host) -> None:
    read = ProcessesReading(host.proc)
    host.run(7, "own")
    host.end(1)
    with pytest.raises(PermissionError, match="hidepid"):
        read()


def test_where_others_processes_are_closed_nothing_passes_for_the_largest(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.open

    def refuse(path: str | os.PathLike[str], flags: int, *, dir_fd: int | None = None) -> int:
        if str(path).endswith("/1/stat"):
            raise PermissionError(13, "Permission denied", path)
        return look(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match="hidepid"):
        ProcessesReading(host.proc)()


def test_more_processes_than_can_be_looked_at_are_said_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    for pid in range(2, 20):
        host.run(pid, f"p{pid}")
    read = ProcessesReading(host.proc, most_read=5)
    with caplog.at_level(logging.WARNING, processes.__name__):
        for _ in range(3):
            found = read()
            host.wait(1)
    assert found is not None
    assert len(found.by_cpu) == 5
    (record,) = caplog.records
    assert "19 processes: only 5" in record.message


stats = st.builds(
    ProcessStat,
    st.integers(1, 50),
    st.integers(0, 5),
    st.integers(0, 10**9),
    st.integers(0, 10**6),
    st.just(b"p"),
)


@given(st.lists(st.tuples(st.floats(0, 20), st.lists(stats, unique_by=lambda process: process.pid)), max_size=5))
def test_whatever_the_rounds_bring_the_lists_are_sorted_and_no_share_is_negative(
    rounds: list[tuple[float, list[ProcessStat]]],
) -> None:
    loads = ProcessLoads()
    now_s = 0.0
    for elapsed_s, found in rounds:
        now_s += elapsed_s
        told = loads.update(now_s, now_s, found, oldest_s=10)
        if told is None:
            continue
        assert all(load.cpu_percent >= 0 for load in told)
        by_cpu, by_memory = largest(told)
        assert [load.cpu_percent for load in by_cpu] == sorted((load.cpu_percent for load in told), reverse=True)[:10]
        assert [load.memory_bytes for load in by_memory] == sorted((load.memory_bytes for load in told), reverse=True)[
            :10
        ]


def test_of_equal_processes_the_same_ones_are_listed_each_time() -> None:
    loads = [Load(0.0, 0, ProcessStat(pid, 0, 0, 0, b"p")) for pid in range(30, 0, -1)]
    by_cpu, by_memory = largest(loads)
    assert [load.process.pid for load in by_cpu] == [load.process.pid for load in by_memory] == list(range(1, 11))


async def test_a_busy_process_of_this_machine_is_among_the_first() -> None:
    busy = await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
    try:
        read = ProcessesReading()

        def found() -> bool:
            told = read()
            return told is not None and busy.pid in {
                process.pid for process in told.by_cpu if process.cpu_percent > 5 and process.name.startswith("python")
            }

        await asyncio.to_thread(eventually_sync, found, every_s=0.2)
    finally:
        busy.kill()
        await busy.wait()


@pytest.mark.docker
async def test_a_busy_container_is_named(containers: Containers) -> None:
    name = await containers.run("sh", "-c", "while :; do :; done", options=("--cpus=0.5",))
    container_id = await docker("inspect", "--format", "{{.Id}}", name)
    read = ProcessesReading()

    def found() -> bool:
        told = read()
        return told is not None and container_id in {process.container_id for process in told.by_cpu}

    await asyncio.to_thread(eventually_sync, found, every_s=0.2)


@pytest.fixture
def last(bus: Bus) -> LastState[ProcessesMessage]:
    return LastState(bus, "processes", ProcessesMessage)


async def test_processes_are_published_only_while_somebody_watches(bus: Bus, last: LastState[ProcessesMessage]) -> None:
    rounds = 0

    class Counting(ProcessesReading):
        def __call__(self) -> Processes | None:
            nonlocal rounds
            rounds += 1
            return super().__call__()

    async with host_worker(bus, HOST, "metrics") as tenure:
        async with running(collect_processes(tenure, ProcessSampler(Counting()), fast_s=0.05)):
            for _ in range(20):
                await bus.sync_clock()
            assert rounds == 0
            with bus.reaching() as redis:
                await redis.set(bus.keys.watch(HOST, "processes"), b"1")
            first = await eventually(last.that(lambda message: True))
            assert (first.seq, first.epoch) == (1, tenure.epoch)
            assert len(first.data.by_memory) > 1
            await eventually(last.that(lambda message: message.seq >= 3))
            with bus.reaching() as redis:
                await redis.delete(bus.keys.watch(HOST, "processes"))
            await eventually(lambda: not tenure.interest.has("processes"))
            seen = rounds
            for _ in range(200):
                await bus.sync_clock()
            assert rounds <= seen + 1, "one may have been under way"


async def test_a_first_list_comes_soon_after_the_first_watcher_also_on_a_slow_clock(
    bus: Bus, last: LastState[ProcessesMessage]
) -> None:
    async with host_worker(bus, HOST, "metrics") as tenure:
        async with running(collect_processes(tenure, ProcessSampler(ProcessesReading()), fast_s=3600)):
            await asyncio.sleep(0)
            tenure.interest.note_woken("processes")
            await eventually(last.that(lambda message: message.seq == 1))


async def test_where_a_round_takes_much_the_next_one_comes_later(bus: Bus, last: LastState[ProcessesMessage]) -> None:
    rounds = 0

    class Costly(ProcessesReading):
        def __call__(self) -> Processes | None:
            nonlocal rounds
            rounds += 1
            found = super().__call__()
            self.took_s = 60.0
            return found

    sampler = ProcessSampler(Costly())
    async with host_worker(bus, HOST, "metrics") as tenure:
        async with running(collect_processes(tenure, sampler, fast_s=0.01)):
            with bus.reaching() as redis:
                await redis.set(bus.keys.watch(HOST, "processes"), b"1")
            await eventually(last.that(lambda message: True))
            assert sampler.pause_s > 1000
            for _ in range(200):
                await bus.sync_clock()
            assert rounds == 2, "a baseline and a list"


async def test_the_whole_collector_publishes_processes_to_who_watches_and_metrics_beside_them(
    valkey: EmbeddedServer, bus: Bus, last: LastState[ProcessesMessage]
) -> None:
    settings = MetricsCollectorSettings(redis_url=valkey.url, host_id=HOST, interval=0.1, idle_interval=0.1, beat=1)
    async with running(run_metrics_collector(settings)):
        with bus.reaching() as redis:
            await redis.set(bus.keys.watch(HOST, "processes"), b"1", ex=60)
        await eventually(last.that(lambda message: message.seq >= 2))
        with bus.reaching() as redis:
            assert await redis.get(bus.keys.last(HOST, "metrics"))
