import logging
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from services.collector import disks
from services.collector.disks import OWN_MOUNTS, DisksReading, MountTable, one_mount_a_device
from services.collector.procfs import Mount, parse_mountinfo
from services.collector.readings import text_of

ROOT_MOUNT = "133 115 254:0 / {root} ro,relatime{tags} - ext4 /dev/vda rw\n"
PROC_MOUNT = "135 133 0:21 / {root}/proc ro,relatime - proc proc rw\n"
DATA_MOUNT = "136 133 8:17 / {root}/data ro,relatime master:7 - xfs /dev/sdb1 rw\n"


@pytest.fixture
def places(tmp_path: Path) -> Path:
    for name in ("data", "data/docker", "other", "proc"):
        (tmp_path / name).mkdir()
    (tmp_path / "hosts").touch()
    return tmp_path


@pytest.fixture
def host(places: Path, monkeypatch: pytest.MonkeyPatch) -> "Host":
    return Host(places, monkeypatch)


class Host:
    """A host whose root is bound to a folder, with mounts as a test has them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._mountinfo = root / "mountinfo"
        (root / "proc/filesystems").write_text("nodev\tproc\nnodev\toverlay\n\text4\n\txfs\n")
        monkeypatch.setattr(disks, "OWN_MOUNTS", self._mountinfo)
        monkeypatch.setattr(MountTable, "has_changed", lambda table: True)  # the kernel's to tell
        self.mount(ROOT_MOUNT, PROC_MOUNT)

    def mount(self, *lines: str, tags: str = " master:1") -> None:
        self._mountinfo.write_text("".join(lines).format(root=self.root, tags=tags))

    def reading(self) -> DisksReading:
        return DisksReading(self.root / "proc", self.root)


def test_a_hosts_disks_are_shown_by_its_own_paths(host: Host) -> None:
    host.mount("115 65 0:50 / / ro - overlay overlay rw\n", ROOT_MOUNT, PROC_MOUNT, DATA_MOUNT)
    found = host.reading()()
    assert [disk.mount for disk in found] == ["/", "/data"]
    assert found[0].total_bytes == psutil.disk_usage(str(host.root)).total


def test_a_disk_that_the_host_mounts_later_appears(host: Host) -> None:
    read = host.reading()
    assert [disk.mount for disk in read()] == ["/"]
    host.mount(ROOT_MOUNT, PROC_MOUNT, DATA_MOUNT)
    assert [disk.mount for disk in read()] == ["/", "/data"]


def test_without_anything_of_the_hosts_there_is_no_list_that_passes_for_its_disks(host: Host) -> None:
    host.mount("115 65 0:50 / / ro,relatime - ext4 /dev/vda rw\n")
    with pytest.raises(FileNotFoundError, match="no file system of the host's"):
        host.reading()()


def test_a_root_that_does_not_follow_the_hosts_mounts_is_said_once(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.mount(ROOT_MOUNT, tags="")
    read = host.reading()
    with caplog.at_level(logging.INFO, disks.__name__):
        for _ in range(3):
            assert len(read()) == 1
    (record,) = caplog.records
    assert "mounts from now on" in record.message


def test_bind_mounts_of_a_device_are_left_out(places: Path) -> None:
    mounts = [
        Mount("8:1", "/data/docker", "ext4"),
        Mount("8:1", "/data", "ext4"),
        Mount("8:17", "/other", "xfs"),
    ]
    assert one_mount_a_device(str(places), mounts).open == ["/data", "/other"]


def test_images_and_single_files_are_left_out(places: Path) -> None:
    mounts = [
        Mount("7:3", "/data", "squashfs"),
        Mount("8:1", "/hosts", "ext4"),
        Mount("8:33", "/unplugged", "ext4"),
    ]
    assert one_mount_a_device(str(places), mounts) == ([], [])


@pytest.fixture
def closed(places: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder that cannot be entered, also where the tests run as root."""
    look = os.stat

    def refuse(path: str, **options: bool) -> os.stat_result:
        if "/data/" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return look(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    return "/data/docker"


def test_a_disk_below_a_closed_folder_is_told_from_one_that_shows_elsewhere(places: Path, closed: str) -> None:
    seen_elsewhere = [Mount("8:1", closed, "ext4"), Mount("8:1", "/other", "ext4")]
    assert one_mount_a_device(str(places), seen_elsewhere) == (["/other"], [])
    nowhere_else = [Mount("8:1", closed, "ext4"), Mount("8:17", "/other", "ext4")]
    assert one_mount_a_device(str(places), nowhere_else) == (["/other"], [closed])


def test_a_disk_below_a_closed_folder_is_said_once(host: Host, closed: str, caplog: pytest.LogCaptureFixture) -> None:
    host.mount(ROOT_MOUNT, DATA_MOUNT.replace("/data", closed))
    read = host.reading()
    with caplog.at_level(logging.INFO, disks.__name__):
        for _ in range(3):
            assert [disk.mount for disk in read()] == ["/"]
    (record,) = caplog.records
    assert f"'{closed}' is left out" in record.message


def test_a_disk_that_went_while_it_was_read_is_left_out(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: str) -> None:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(psutil, "disk_usage", gone)
    assert host.reading()() == ()


def test_this_machine_has_its_root_once_and_no_pseudo_file_system() -> None:
    found = DisksReading()()
    mounts = [disk.mount for disk in found]
    assert len(mounts) == len(set(mounts))
    assert not any(mount.startswith(("/proc", "/sys", "/dev")) for mount in mounts)
    assert all(0 < disk.used_bytes <= disk.total_bytes for disk in found)


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere psutil's mounts are all there is")
def test_this_machines_devices_are_those_that_psutil_tells() -> None:
    told = {found.mountpoint for found in psutil.disk_partitions(all=False)}
    assert {disk.mount for disk in DisksReading()()} <= told


@pytest.mark.skipif(not psutil.LINUX or os.geteuid() != 0, reason="only root mounts")
def test_the_kernel_tells_when_mounts_have_changed(tmp_path: Path) -> None:
    table = MountTable()
    assert table.has_changed(), "at first nothing is known"
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path)], check=True)
    try:
        assert table.has_changed()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert table.has_changed()


@pytest.mark.skipif(not psutil.LINUX or os.geteuid() != 0, reason="only root mounts")
def test_mounts_with_long_lines_are_all_read(tmp_path: Path) -> None:
    """The kernel writes as many whole lines at a time as fit into a page: of such lines one, or none beside others."""
    long = tmp_path.joinpath(*("x" * 200 for _ in range(13)))
    places = [long / str(number) for number in range(6)]
    mounted = []
    try:
        for place in places:
            place.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
            mounted.append(place)
        assert set(map(str, places)) <= {mount.path for mount in parse_mountinfo(text_of(OWN_MOUNTS))}
    finally:
        for place in mounted:
            subprocess.run(["umount", str(place)], check=True)


def test_mounts_are_looked_at_again_only_where_they_have_changed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = iter([True, False, True])
    monkeypatch.setattr(MountTable, "has_changed", lambda table: next(changes))
    read = host.reading()
    assert [disk.mount for disk in read()] == ["/"]
    host.mount(ROOT_MOUNT, PROC_MOUNT, DATA_MOUNT)
    assert [disk.mount for disk in read()] == ["/"]
    assert [disk.mount for disk in read()] == ["/", "/data"]
