import logging
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.collector import readings
from services.collector.rates import CoreTimes
from services.collector.readings import Mounted, bounded, core_times, one_mount_a_device, printable, read_disks


@pytest.fixture
def places(tmp_path: Path) -> Path:
    for name in ("data", "data/docker", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "hosts").touch()
    return tmp_path


def test_bind_mounts_of_a_device_are_left_out(places: Path) -> None:
    mounted = [
        Mounted("/dev/sda1", f"{places}/data/docker", "ext4"),
        Mounted("/dev/sda1", f"{places}/data", "ext4"),
        Mounted("/dev/sdb1", f"{places}/other", "xfs"),
    ]
    assert one_mount_a_device(mounted) == [f"{places}/data", f"{places}/other"]


def test_images_and_single_files_are_left_out(places: Path) -> None:
    mounted = [
        Mounted("/dev/loop3", f"{places}/data", "squashfs"),
        Mounted("/dev/sda1", f"{places}/hosts", "ext4"),
        Mounted("/dev/sdc1", f"{places}/unplugged", "ext4"),
    ]
    assert one_mount_a_device(mounted) == []


def test_this_machine_has_its_root_once_and_no_pseudo_file_system() -> None:
    disks = read_disks()
    mounts = [disk.mount for disk in disks]
    assert len(mounts) == len(set(mounts))
    assert not any(mount.startswith(("/proc", "/sys", "/dev")) for mount in mounts)
    assert all(0 < disk.used_bytes <= disk.total_bytes for disk in disks)


def test_a_file_system_that_refuses_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(psutil, "disk_usage", refuse)
    assert read_disks() == ()


def test_a_guests_time_is_counted_once_and_waiting_is_idle() -> None:
    spent = {"user": 10.0, "nice": 1.0, "system": 5.0, "idle": 80.0, "iowait": 4.0, "guest": 3.0, "guest_nice": 1.0}
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
