from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MalformedError
from services.collector.procfs import (
    Mount,
    ProcessStat,
    below,
    parse_core_times,
    parse_device_file_systems,
    parse_disk_stats,
    parse_load,
    parse_memory,
    parse_mountinfo,
    parse_net_dev,
    parse_process_stat,
    parse_uptime_sec,
)
from services.collector.rates import CoreTimes

# Captured on Linux 6.18, from a container with -v /proc:/host/proc:ro -v /:/host/root:ro; shortened, never reworded.

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 128367258   63349    0    0    0     0          0         0 128367258   63349    0    0    0     0       0          0
  eth0: 836114002   24145    0    0    0     0          0         0  1492484   14623    0    0    0     0       0          0
docker0:   27990     273    0    0    0     0          0         0   117616     830    0   47    0     0       0          0
"""  # noqa: E501

FILE_SYSTEMS = (
    "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\n\text4\n\tsquashfs\n\tfuseblk\nnodev\tfuse\nnodev\toverlay\n\txfs\n"
)

MOUNTINFO = """\
115 65 0:50 / / ro,relatime master:4 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/3F2I,workdir=/work
132 115 0:21 / /host/proc ro,relatime - proc proc rw
133 115 254:0 / /host/root ro,relatime - ext4 /dev/vda rw,discard,resv_strict,resuid=65534,resgid=65534
149 148 0:23 / /host/root/dev/shm ro,relatime - tmpfs tmpfs rw,size=24684092k
150 149 0:27 / /host/root/dev/shm ro,relatime - tmpfs tmpfs rw,size=24684092k
153 133 254:0 /var/lib/docker /host/root/var/lib/docker ro,relatime master:1 - ext4 /dev/vda rw,discard
175 133 0:4 net:[4026531833] /host/root/run/docker/netns/default ro - nsfs nsfs rw
177 115 254:0 /var/lib/docker/containers/8cf4/hosts /etc/hosts ro,relatime - ext4 /dev/vda rw,discard
60 95 7:0 / /host/root/tmp/a\\040b\\011c\\134d rw,relatime master:28 - ext4 /dev/loop0 rw
64 95 7:0 / /host/root/tmp/r\rn\udcffé rw,relatime master:28 - ext4 /dev/loop0 rw
71 116 0:54 /null /proc/keys rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
"""

# Captured on Linux 6.18; shortened, never reworded. The third core is one of a machine that runs guests.
STAT = """\
cpu  1469746 31850 680469 4657843 18578 0 50236 1056 0 0
cpu0 669360 16079 333803 2404579 5742 0 25936 526 0 0
cpu1 800386 15770 346665 2253263 12836 0 24299 529 0 0
cpu3 1000 100 500 8000 400 0 0 0 300 100
intr 75170484 0 0 0 0 0 0 0 0 0
ctxt 113226553
btime 1795473661
"""

MEMINFO = """\
MemTotal:       24684092 kB
MemFree:        23560072 kB
MemAvailable:   24014356 kB
Buffers:            3404 kB
Cached:           329756 kB
SwapCached:            0 kB
Active(anon):       1748 kB
SwapTotal:             0 kB
SwapFree:              0 kB
SReclaimable:      95596 kB
HugePages_Total:       0
"""

DISKSTATS = """\
   7       0 loop0 42 0 858 3 0 0 0 0 0 3 3 0 0 0 0 0 0
 254       0 vda 33873 11 3121778 14133 245906 34862 40443416 1186453 0 107116 1202091 4 0 5 1 12 1502
 104       1 cciss/c0d0p1 3 0 24 0 1 0 8 0 0 4 4
"""

PROCESS_STAT = (
    b"6803 (a) R\n(\\b\xff) R 6793 6793 26723 0 -1 4194304 951 0 1 0 17 5 0 0 20 0 1 0 3535973 13180928 2262 18446"
)

PARSERS: list[tuple[Callable[[str], object], str]] = [
    (partial(parse_core_times, tick_s=0.01), STAT),
    (parse_memory, MEMINFO),
    (parse_disk_stats, DISKSTATS),
    (lambda text: parse_process_stat(text.encode("utf-8", "surrogateescape")), PROCESS_STAT.decode("latin-1")),
    (parse_net_dev, NET_DEV),
    (parse_uptime_sec, "6037.03 8449.40\n"),
    (parse_load, "0.83 1.06 1.23 2/196 9883\n"),
    (parse_device_file_systems, FILE_SYSTEMS),
    (parse_mountinfo, MOUNTINFO),
]


def test_each_cores_times_are_read_and_a_guests_is_counted_once() -> None:
    cores = parse_core_times(STAT, 0.01)
    assert [round(core.idle_s, 2) for core in cores] == [24103.21, 22660.99, 84.0]
    assert [round(core.busy_s, 2) for core in cores] == [10457.04, 11876.49, 16.0]


def test_a_kernel_with_fewer_kinds_of_time_will_do() -> None:
    assert parse_core_times("cpu  1 2 3 4\ncpu0 1 2 3 4\n", 1.0) == [CoreTimes(busy_s=6.0, idle_s=4.0)]


def test_memory_is_read_in_bytes() -> None:
    found = parse_memory(MEMINFO)
    assert found["MemTotal"] == 24684092 * 1024
    assert found["MemAvailable"] == 24014356 * 1024
    assert found["SwapTotal"] == 0
    assert found["SReclaimable"] == 95596 * 1024


def test_what_disks_moved_is_read_in_bytes() -> None:
    assert parse_disk_stats(DISKSTATS) == {
        "loop0": (858 * 512, 0),
        "vda": (3121778 * 512, 40443416 * 512),
        "cciss/c0d0p1": (24 * 512, 8 * 512),
    }


def test_a_process_is_read_whatever_it_calls_itself() -> None:
    assert parse_process_stat(PROCESS_STAT) == ProcessStat(6803, 3535973, 22, 2262, b"a) R\n(\\b\xff")


@given(st.binary(max_size=64))
def test_any_name_of_a_process_is_read(name: bytes) -> None:
    line = b"7 (" + name + b") S" + b" 1" * 50 + b"\n"
    assert parse_process_stat(line) == ProcessStat(7, 1, 2, 1, name)


def test_interfaces_that_are_not_wanted_are_left_out() -> None:
    assert parse_net_dev(NET_DEV, ("docker", "veth")).keys() == {"lo", "eth0"}


def test_the_counters_of_all_interfaces_are_read() -> None:
    assert parse_net_dev(NET_DEV) == {
        "lo": (128367258, 128367258),
        "eth0": (836114002, 1492484),
        "docker0": (27990, 117616),
    }


def test_a_name_that_fills_its_column_is_read() -> None:
    line = f"an-interface-15:27990 {'0 ' * 7}117616 {'0 ' * 7}\n"
    assert parse_net_dev("headings\nheadings\n" + line) == {"an-interface-15": (27990, 117616)}


def test_a_namespace_without_interfaces_has_none() -> None:
    assert parse_net_dev("\n".join(NET_DEV.split("\n")[:2]) + "\n") == {}


def test_uptime_and_load_are_the_first_numbers_of_their_lines() -> None:
    assert parse_uptime_sec("6037.03 8449.40\n") == 6037.03
    assert parse_load("0.83 1.06 1.23 2/196 9883\n") == (0.83, 1.06, 1.23)


def test_file_systems_on_devices_and_zfs_are_told_from_those_without() -> None:
    assert parse_device_file_systems(FILE_SYSTEMS) == {"ext4", "squashfs", "fuseblk", "xfs", "zfs"}


def test_mounts_below_the_hosts_root_are_read_as_the_host_knows_them() -> None:
    found = below("/host/root", parse_mountinfo(MOUNTINFO))
    assert found == [
        Mount("254:0", "/", "ext4", follows=False),
        Mount("0:27", "/dev/shm", "tmpfs", follows=False),
        Mount("254:0", "/var/lib/docker", "ext4", follows=True),
        Mount("0:4", "/run/docker/netns/default", "nsfs", follows=False),
        Mount("7:0", "/tmp/a b\tc\\d", "ext4", follows=True),
        Mount("7:0", "/tmp/r\rn\udcffé", "ext4", follows=True),
    ]


def test_below_the_own_root_is_everything() -> None:
    mounts = parse_mountinfo(MOUNTINFO)
    assert {mount.path for mount in below("/", mounts)} == {mount.path for mount in mounts}


def test_a_neighbour_whose_name_begins_alike_is_not_below() -> None:
    assert below("/host/root", [Mount("8:1", "/host/root2", "ext4"), Mount("8:2", "/host", "ext4")]) == []


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_net_dev, "a\nb\n  eth0: 1 2 3\n"),
        (parse_net_dev, "a\nb\n  eth0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
        (parse_net_dev, "a\nb\n  eth0: x 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
        (parse_net_dev, "a\nb\n  eth0: -1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
        (partial(parse_core_times, tick_s=0.01), "cpu0 1 2 3\n"),
        (partial(parse_core_times, tick_s=0.01), "cpu0 1 2 3 -4\n"),
        (partial(parse_core_times, tick_s=0.01), "cpu0 1 2 3 " + "9" * 5000),
        (parse_memory, ""),
        (parse_memory, "MemTotal: 0 kB\n"),
        (parse_memory, "MemFree: 5 kB\n"),
        (parse_disk_stats, " 254 0 vda 1 2 3\n"),
        (parse_disk_stats, " 254 0 vda 1 0 x 0 1 0 0 0 0 0 0\n"),
        (parse_uptime_sec, ""),
        (parse_uptime_sec, "nan 1.0\n"),
        (parse_uptime_sec, "9" * 5000),
        (parse_load, "0.1 0.2\n"),
        (parse_load, "0.1 inf 0.2 1/2 3\n"),
        (parse_device_file_systems, "ext4\n"),
        (parse_mountinfo, "133 115 254:0 / /host/root ro,relatime ext4 /dev/vda rw\n"),
        (parse_mountinfo, "133 115 254:0 - ext4 /dev/vda rw\n"),
    ],
)
def test_what_the_kernel_does_not_write_is_malformed(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(MalformedError):
        parse(text)


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"7", b"7 (name", b"7 (name) S 1 2 3", b"x (name) S" + b" 1" * 50, b"7 (name) S" + b" x" * 50],
)
def test_a_line_that_is_no_process_is_malformed(line: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_process_stat(line)


@pytest.mark.parametrize(
    ("parse", "captured"),
    PARSERS,
    ids=["stat", "meminfo", "diskstats", "process", "net-dev", "uptime", "load", "filesystems", "mountinfo"],
)
@given(data=st.data())
def test_whatever_is_read_nothing_but_malformed_is_raised(
    parse: Callable[[str], object], captured: str, data: st.DataObject
) -> None:
    junk = data.draw(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))))
    start = data.draw(st.integers(0, len(captured)))
    end = data.draw(st.integers(start, len(captured)))
    for text in (junk, captured[:start] + junk + captured[end:]):
        try:
            parse(text)
        except MalformedError as error:
            assert "\n" not in str(error)
