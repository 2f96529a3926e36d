import logging
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.collector import readings
from services.collector.procfs import parse_disk_stats, parse_memory
from services.collector.rates import CoreTimes
from services.collector.readings import (
    OWN_PROC,
    CpuReading,
    DiskIoReading,
    NetworkReading,
    bounded,
    core_times,
    memory_of,
    printable,
    read_memory,
    read_processes,
    read_swap,
    read_uptime_sec,
    text_of,
)
from tests.support import eventually_sync


def test_waiting_is_idle() -> None:
    spent = {"user": 10.0, "nice": 1.0, "system": 5.0, "idle": 80.0, "iowait": 4.0}
    assert core_times(spent) == CoreTimes(busy_s=16.0, idle_s=84.0)


def test_a_system_without_the_finer_kinds_will_do() -> None:
    assert core_times({"user": 1.0, "system": 2.0, "idle": 3.0}) == CoreTimes(busy_s=3.0, idle_s=3.0)


@given(st.binary(max_size=400))
def test_any_bytes_make_a_name_that_json_can_carry(raw: bytes) -> None:
    name = printable(raw.decode("utf-8", "surrogateescape"))
    assert len(name) <= 256
    name.encode()


def test_what_is_beyond_the_bound_is_left_out_and_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "_said_bounds", set())
    with caplog.at_level(logging.WARNING, "services.collector.readings"):
        for _ in range(3):
            assert len(bounded(range(1000), "disks")) == readings.MOST_LISTED
    assert len(caplog.records) == 1
    assert "1000 disks" in caplog.text


def test_sensors_without_a_number_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sensor:
        def __init__(self, label: str, current: float | None) -> None:
            self.label = label
            self.current = current

    chips = {
        "coretemp": [Sensor("Core 0", 41.04), Sensor("Core 1", None), Sensor("Core 2", float("nan"))],
        "acpitz": [Sensor("", 30.0)],
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: chips, raising=False)
    assert [(found.sensor, found.celsius) for found in readings.read_temperatures()] == [
        ("acpitz", 30.0),
        ("coretemp Core 0", 41.0),
    ]


def test_a_system_without_sensors_has_no_temperatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    assert readings.read_temperatures() == ()


@pytest.fixture
def host_proc(tmp_path: Path) -> Path:
    """The /proc of a host, as far as the readings of this module go."""
    for pid in ("1", "77", "4711", "self", "sys"):
        (tmp_path / pid).mkdir()
    (tmp_path / "1/net").mkdir()
    (tmp_path / "uptime").write_text("6037.03 8449.40\n")
    write_net_dev(tmp_path, "eth0", 1_000_000)
    return tmp_path


def write_net_dev(proc: Path, interface: str, received: int) -> None:
    columns = [str(received), *["0"] * 15]
    (proc / "1/net/dev").write_text(f"Inter-| Receive\n face |bytes\n{interface}: {' '.join(columns)}\n")


def test_a_hosts_network_is_that_of_its_first_process(host_proc: Path) -> None:
    read = NetworkReading(host_proc)
    assert read() == ()
    write_net_dev(host_proc, "eth0", 3_000_000)
    (eth0,) = eventually_sync(read)
    assert eth0.interface == "eth0"
    assert eth0.rx_bytes_per_sec > 0
    assert eth0.tx_bytes_per_sec == 0


def test_a_network_that_cannot_be_read_raises_instead_of_showing_another_one(host_proc: Path) -> None:
    (host_proc / "1/net/dev").unlink()
    with pytest.raises(FileNotFoundError):
        NetworkReading(host_proc)()


def test_a_hosts_uptime_and_processes_are_read_from_its_proc(host_proc: Path) -> None:
    assert read_uptime_sec(host_proc) == 6037.03
    assert read_processes(host_proc) == 3


def test_a_proc_that_hides_others_processes_is_not_counted(host_proc: Path) -> None:
    (host_proc / "1").rename(host_proc / "hidden")
    with pytest.raises(PermissionError, match="hidepid"):
        read_processes(host_proc)


@pytest.mark.skipif(not psutil.LINUX, reason="/proc is Linux'")
def test_the_own_counters_are_those_that_psutil_reads() -> None:
    before = psutil.net_io_counters(pernic=True, nowrap=False)
    read = NetworkReading()
    counters = read._counters()
    assert counters
    after = psutil.net_io_counters(pernic=True, nowrap=False)
    for name in before.keys() & counters.keys() & after.keys():
        assert before[name].bytes_recv <= counters[name][0] <= after[name].bytes_recv
        assert before[name].bytes_sent <= counters[name][1] <= after[name].bytes_sent


@pytest.mark.skipif(not psutil.LINUX, reason="/proc is Linux'")
def test_memory_and_swap_are_what_psutil_makes_of_the_same_file() -> None:
    amounts = parse_memory(text_of(OWN_PROC / "meminfo"))
    told, swap = psutil.virtual_memory(), psutil.swap_memory()
    assert memory_of(amounts).total_bytes == told.total
    assert memory_of(amounts).available_bytes == pytest.approx(told.available, rel=0.1)
    assert read_memory().used_bytes == pytest.approx(told.used, rel=0.1, abs=told.total / 20)
    assert read_swap().total_bytes == swap.total


@pytest.mark.parametrize(
    ("amounts", "used", "percent"),
    [
        ({"MemTotal": 1000, "MemFree": 100, "MemAvailable": 750}, 250, 25.0),
        ({"MemTotal": 1000, "MemFree": 100, "Buffers": 50, "Cached": 200, "SReclaimable": 50}, 600, 60.0),
        ({"MemTotal": 1000, "MemFree": 400, "MemAvailable": 9000}, 600, 60.0),
        ({"MemTotal": 1000, "MemFree": 9000, "MemAvailable": 9000}, 0, 0.0),
    ],
    ids=["as-the-kernel-estimates", "before-it-did", "of-another-machine", "all-of-another-machine"],
)
def test_memory_in_use_is_what_a_program_could_not_have(amounts: dict[str, int], used: int, percent: float) -> None:
    memory = memory_of(amounts)
    assert (memory.used_bytes, memory.percent) == (used, percent)
    assert memory.used_bytes + memory.available_bytes == memory.total_bytes


@pytest.mark.skipif(not psutil.LINUX, reason="/proc is Linux'")
def test_what_the_disks_moved_is_what_psutil_counts() -> None:
    def counted() -> dict[str, tuple[int, int]]:
        told = psutil.disk_io_counters(perdisk=True, nowrap=False)
        return {name: (disk.read_bytes, disk.write_bytes) for name, disk in told.items()}

    before, found, after = counted(), parse_disk_stats(text_of(OWN_PROC / "diskstats")), counted()
    assert before.keys() <= found.keys()
    for name in before.keys() & after.keys():
        assert before[name] <= found[name] <= after[name]


@pytest.mark.parametrize("part", ["network", "disk"])
def test_a_counter_that_falls_gives_no_spike(host_proc: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(readings.time, "monotonic", lambda: now_s)
    disk_io = DiskIoReading(host_proc)
    monkeypatch.setattr(disk_io, "_counts", lambda name: True)
    network = NetworkReading(host_proc)

    def rate(counter: int) -> float | None:
        """A second later."""
        nonlocal now_s
        now_s += 1
        if part == "network":
            write_net_dev(host_proc, "eth0", counter)
            found = network()
            return found[0].rx_bytes_per_sec if found else None
        (host_proc / "diskstats").write_text(f" 254 0 vda 1 0 {counter // 512} 0 1 0 0 0 0 0 0\n")
        moved = disk_io()
        return moved.read_bytes_per_sec if moved else None

    assert [rate(counter) for counter in (2**32 - 512, 2**32 + 512, 512, 1536)] == [None, 1024.0, None, 1024.0]


def test_a_cpu_whose_times_fall_gives_no_spike(host_proc: Path) -> None:
    read = CpuReading(host_proc)
    (host_proc / "loadavg").write_text("0.83 1.06 1.23 2/196 9883\n")
    found = []
    for busy, idle in ((1000, 9000), (1050, 9050), (10, 9100), (20, 9190)):
        (host_proc / "stat").write_text(f"cpu  0 0 0 0\ncpu0 {busy} 0 0 {idle} 0 0 0 0 0 0\nintr 1 2\n")
        cpu = read()
        found.append(cpu.percent if cpu else None)
    assert found == [None, 50.0, 0.0, 10.0]


def test_a_clock_that_steps_back_moves_nothing(host_proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wall_s = 1_900_000_000.0
    monkeypatch.setattr(readings.time, "time", lambda: wall_s)
    read = NetworkReading(host_proc)
    read()
    wall_s -= 3600
    write_net_dev(host_proc, "eth0", 3_000_000)
    (eth0,) = eventually_sync(read)
    assert eth0.rx_bytes_per_sec > 0
    assert read_uptime_sec(host_proc) == 6037.03
