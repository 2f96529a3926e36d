import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from common.models import Cpu, Disk, DiskIo, HostMetrics, Memory, Swap
from services.collector.host import HostSampler, Readings
from services.collector.probe import Part, Probe, Reader
from tests.support import PATIENCE_S, eventually

CPU = Cpu(percent=1.0, per_core_percent=(1.0,), cores=1, load=(0.0, 0.0, 0.0))
DISK = Disk(mount="/", total_bytes=10, used_bytes=5, percent=50.0)
DISK_IO = DiskIo(read_bytes_per_sec=0.0, write_bytes_per_sec=0.0)
LOGGER = "services.collector.probe"


class Stuck:
    """A read that hangs while `hang` is set, and counts who waits in it."""

    def __init__(self, value: tuple[Disk, ...] = (DISK,)) -> None:
        self.calls = 0
        self.inside = 0
        self.most_inside = 0
        self.value = value
        self._free = threading.Event()
        self._free.set()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def __call__(self) -> tuple[Disk, ...]:
        self.calls += 1
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self._free.wait()
        self.inside -= 1
        return self.value


def sampler_of(readings: Readings | None = None, deadline_s: float = 5.0) -> HostSampler:
    """One that reads every part for each sample."""
    return HostSampler(readings, deadline_s, slow_every_s=0.0)


async def first_sample(sampler: HostSampler) -> HostMetrics:
    """The first one that there is; the counters need two looks some time apart."""
    sample: HostMetrics = await eventually(sampler.sample)
    return sample


async def test_this_machine_is_sampled_in_full() -> None:
    sample = await first_sample(sampler_of())
    assert sample.stale == ()
    assert sample.cpu.cores == len(sample.cpu.per_core_percent) >= 1
    assert 0 <= sample.cpu.percent <= 100
    assert 0 < sample.memory.used_bytes < sample.memory.total_bytes
    assert 0 < sample.memory.available_bytes <= sample.memory.total_bytes
    assert sample.uptime_sec > 0
    assert sample.processes >= 1
    assert sample.disks
    names = [interface.interface for interface in sample.network]
    assert "lo" not in names
    assert not any(name.startswith("veth") for name in names)


@pytest.mark.skipif(not psutil.LINUX, reason="/proc is Linux'")
async def test_a_host_whose_proc_is_elsewhere_is_sampled_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", psutil.PROCFS_PATH)  # put back afterwards
    elsewhere = tmp_path / "proc"
    elsewhere.symlink_to("/proc")
    sample = await first_sample(sampler_of(Readings.of_host(elsewhere, Path("/"))))
    assert str(elsewhere) == psutil.PROCFS_PATH
    assert sample.stale == ()
    assert sample.uptime_sec > 0
    assert sample.processes > 1


@pytest.mark.skipif(not psutil.LINUX, reason="/proc is Linux'")
async def test_a_host_whose_proc_went_away_goes_stale_and_keeps_its_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", psutil.PROCFS_PATH)
    elsewhere = tmp_path / "proc"
    elsewhere.symlink_to("/proc")
    sampler = sampler_of(Readings.of_host(elsewhere, Path("/")))
    before = await first_sample(sampler)
    elsewhere.unlink()
    gone = await sampler.sample()
    assert gone is not None
    assert {"cpu", "memory", "disks", "network", "uptimeSec", "processes"} <= set(gone.stale)
    assert gone.memory == before.memory
    elsewhere.symlink_to("/proc")

    async def is_back() -> bool:  # the counters' looks have to be some time apart
        back = await sampler.sample()
        return back is not None and back.stale == ()

    await eventually(is_back)


async def test_a_busy_core_is_seen() -> None:
    sampler = sampler_of()
    await sampler.sample()
    spun_until = time.process_time() + 0.2
    while time.process_time() < spun_until:
        pass
    sample = await sampler.sample()
    assert sample is not None
    assert max(sample.cpu.per_core_percent) > 20


async def test_the_first_look_only_takes_the_counters() -> None:
    assert await sampler_of().sample() is None


async def test_a_stuck_probe_is_stale_and_holds_up_nothing() -> None:
    disks = Stuck()
    sampler = sampler_of(Readings(disks=disks, disk_io=lambda: DISK_IO), deadline_s=2.0)
    before = await first_sample(sampler)
    assert before.disks == (DISK,)
    with disks.hanging():
        async with asyncio.timeout(PATIENCE_S):
            stuck = await sampler.sample()
        assert stuck is not None
        assert stuck.stale == ("disks",)
        assert stuck.disks == (DISK,), "the last value stays"
        assert stuck.uptime_sec >= before.uptime_sec


async def test_a_stuck_probe_is_not_asked_again_until_it_came_back(caplog: pytest.LogCaptureFixture) -> None:
    disks = Stuck()
    sampler = sampler_of(Readings(disks=disks, disk_io=lambda: DISK_IO), deadline_s=2.0)
    await first_sample(sampler)
    with disks.hanging():
        await sampler.sample()
        calls = disks.calls
        for _ in range(5):
            sample = await sampler.sample()
            assert sample is not None
            assert sample.stale == ("disks",)
        assert disks.calls == calls
        (record,) = caplog.records
        assert "disks is not available (no answer within 2 s)" in record.message
    await eventually(lambda: disks.inside == 0)
    sample = await sampler.sample()
    assert sample is not None
    assert sample.stale == ()
    assert disks.most_inside == 1


async def test_rounds_beside_a_stuck_probe_do_not_wait_for_its_deadline() -> None:
    disks = Stuck()
    sampler = sampler_of(Readings(disks=disks, disk_io=lambda: DISK_IO), deadline_s=3600)

    async def only_the_disks_are_stale() -> bool:
        sample = await sampler.sample()  # the other parts may still be at the round that was given up
        return sample is not None and sample.stale == ("disks",) and sample.disks == ()

    with disks.hanging():
        first = asyncio.ensure_future(sampler.sample())
        await eventually(lambda: disks.inside == 1)
        first.cancel()
        await asyncio.wait([first])
        async with asyncio.timeout(PATIENCE_S):
            await eventually(only_the_disks_are_stale)


async def test_a_probe_that_is_always_late_still_brings_values() -> None:
    disks = Stuck()
    probe = Probe("disks", disks, deadline_s=0.01)
    for value in ((DISK,), ()):
        disks.value = value
        with disks.hanging():
            await probe.refresh()
            assert not probe.fresh
        await eventually(lambda: disks.inside == 0)

        async def brings(value: object) -> bool:
            with disks.hanging():
                await probe.refresh()
                assert not probe.fresh
                return probe.value == value

        await eventually(partial(brings, value))
        await eventually(lambda: disks.inside == 0)


async def test_a_probe_that_raises_is_stale_and_said_once_an_episode(caplog: pytest.LogCaptureFixture) -> None:
    broken = False

    def read() -> int:
        if broken:
            raise OSError(5, "Input/output error")
        return 7

    probe = Probe("processes", read, deadline_s=5)
    await probe.refresh()
    assert (probe.value, probe.fresh) == (7, True)
    with caplog.at_level(logging.INFO, LOGGER):
        for _ in range(2):
            broken = True
            for _ in range(3):
                await probe.refresh()
                assert (probe.value, probe.fresh) == (7, False)
            broken = False
            await probe.refresh()
            assert (probe.value, probe.fresh) == (7, True)
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 2
    assert "processes" in told[0]
    assert "Input/output error" in told[0]


async def test_one_part_that_raises_does_not_stop_the_others() -> None:
    def broken() -> tuple[Disk, ...]:
        raise KeyError("no such disk")

    sample = await first_sample(sampler_of(Readings(disks=broken)))
    assert sample.stale == ("disks",)
    assert sample.disks == ()
    assert sample.processes >= 1


async def test_what_hangs_among_the_quick_parts_keeps_what_was_read_before_it_and_holds_up_no_other_reader() -> None:
    swaps = Stuck()

    def read_swap() -> Swap:
        swaps()
        return Swap(total_bytes=2, used_bytes=1, percent=50.0)

    readings = Readings(cpu=lambda: CPU, swap=read_swap, disk_io=lambda: DISK_IO)
    sampler = sampler_of(readings, deadline_s=2.0)
    before = await first_sample(sampler)
    assert before.stale == ()
    with swaps.hanging():
        for _ in range(3):
            sample = await sampler.sample()
            assert sample is not None
            assert sample.swap == before.swap
            assert "swap" in sample.stale
            assert not {"disks", "temperatures", "processes"} & set(sample.stale)
        assert swaps.most_inside == 1
    await eventually(lambda: swaps.inside == 0)
    sample = await sampler.sample()
    assert sample is not None
    assert sample.stale == ()


async def test_the_quick_parts_before_the_one_that_hangs_are_fresh() -> None:
    swaps = Stuck()
    first, second, third = Part("first", lambda: 1), Part("second", swaps), Part("third", lambda: 3)
    reader = Reader([first, second, third], deadline_s=2.0)
    with swaps.hanging():
        reader.ask()
        await reader.answer()
        assert [part.fresh for part in reader.parts] == [True, False, False]
        assert [part.value for part in reader.parts] == [1, None, None]
    await eventually(lambda: swaps.inside == 0)
    reader.ask()
    await reader.answer()
    assert [part.value for part in reader.parts] == [1, (DISK,), 3]
    assert [part.fresh for part in reader.parts] == [True, True, True]


async def test_what_moves_slowly_is_not_read_for_every_sample_and_is_not_stale_meanwhile() -> None:
    disks = Stuck()
    sampler = HostSampler(Readings(disks=disks, disk_io=lambda: DISK_IO), slow_every_s=3600)
    await first_sample(sampler)
    for _ in range(3):
        sample = await sampler.sample()
        assert sample is not None
        assert sample.stale == ()
        assert sample.disks == (DISK,)
    assert disks.calls == 1


async def test_what_moves_slowly_is_read_again_at_once_where_the_last_read_failed() -> None:
    answers = iter([OSError("away"), OSError("away"), (DISK,)])

    def read() -> tuple[Disk, ...]:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    probe = Probe("disks", read, deadline_s=5, every_s=3600)
    await probe.refresh()
    assert not probe.fresh
    await probe.refresh()
    assert not probe.fresh
    await probe.refresh()
    await probe.refresh()
    assert (probe.value, probe.fresh) == ((DISK,), True)


async def test_without_cpu_or_memory_there_is_no_sample() -> None:
    def broken() -> Memory:
        raise OSError("no /proc")

    sampler = sampler_of(Readings(cpu=lambda: CPU, memory=broken))
    for _ in range(3):
        assert await sampler.sample() is None


async def test_wire_names_of_all_parts_are_known_to_stale() -> None:
    def broken() -> None:
        raise OSError("nothing here")

    readings = Readings(
        cpu=broken,
        memory=broken,
        swap=broken,
        disks=broken,
        disk_io=broken,
        network=broken,
        temperatures=broken,
        uptime_sec=broken,
        processes=broken,
    )
    working = Readings()
    for part in ("cpu", "memory"):
        setattr(readings, part, getattr(working, part))
    sample = await first_sample(sampler_of(readings))
    wire = sample.model_dump(by_alias=True)
    assert sample.stale == ("swap", "disks", "diskIo", "network", "temperatures", "uptimeSec", "processes")
    assert set(sample.stale) < set(wire)


async def test_a_reader_has_one_thread_which_goes_with_it() -> None:
    threads = set()

    def read() -> int:
        threads.add(threading.current_thread())
        return 1

    probe = Probe("number", read, deadline_s=5)
    for _ in range(3):
        await probe.refresh()
    (thread,) = threads
    assert thread.is_alive()
    del probe
    await eventually(lambda: not thread.is_alive())


async def test_a_thread_that_comes_back_after_the_loop_ended_does_no_harm() -> None:
    disks = Stuck()
    others = set(threading.enumerate())

    def in_a_loop_of_its_own() -> None:
        asyncio.run(sampler_of(Readings(disks=disks, disk_io=lambda: DISK_IO), deadline_s=0.05).sample())

    with disks.hanging():
        await asyncio.to_thread(in_a_loop_of_its_own)
        assert disks.inside == 1
    await eventually(lambda: disks.inside == 0)
    await eventually(lambda: not any(thread.name == "probe disks" for thread in set(threading.enumerate()) - others))
