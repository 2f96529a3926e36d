"""What Linux writes under /proc → values: the files of which psutil, in a container, would read the container's own.
Pure.

Text comes decoded with `surrogateescape`, for names are any bytes, and with its line ends untouched. Whatever it says,
nothing but MalformedError is raised.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from common.errors import MalformedError
from services.collector.rates import CoreTimes, Counters

_NET_DEV_HEADINGS = 2
_RX_BYTES, _TX_BYTES, _NET_DEV_COLUMNS = 0, 8, 16

_DISK_NAME, _SECTORS_READ, _SECTORS_WRITTEN, _DISKSTATS_COLUMNS = 2, 5, 9, 14
_SECTOR_BYTES = 512
"""Whatever the disk's own are."""

_IDLE, _IOWAIT, _STEAL = 3, 4, 7
_CPU_COLUMNS = 4
"""At least: kernels have added to them."""

# Of /proc/<pid>/stat, counted from behind the name.
_UTIME, _STIME, _START, _RSS = 11, 12, 19, 21

_DIGITS = re.compile(r"[0-9]{1,20}")
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,9})?")
_MEMORY = re.compile(r"^(Mem\w+|Buffers|Cached|SReclaimable|Swap(?:Total|Free)): +([0-9]{1,16}) kB$", re.MULTILINE)


def parse_core_times(text: str, tick_s: float) -> list[CoreTimes]:
    """What each core has spent its time on (/proc/stat). A guest's time is in `user` and `nice` already."""
    cores = []
    for line in text.partition("\nintr")[0].split("\n"):
        name, *amounts = line.split()[: _STEAL + 2] or ("",)
        if not name.startswith("cpu") or name == "cpu":
            continue
        if len(amounts) < _CPU_COLUMNS:
            raise MalformedError("stat", f"no times in {line!r:.100}")
        ticks = _integers("stat", amounts)
        idle = sum(ticks[_IDLE : _IOWAIT + 1])
        cores.append(CoreTimes(busy_s=(sum(ticks) - idle) * tick_s, idle_s=idle * tick_s))
    return cores


def parse_memory(text: str) -> dict[str, int]:
    """Bytes by name: MemTotal, MemFree, SwapTotal and a few more, but not all (/proc/meminfo)."""
    found = {name: 1024 * int(kib) for name, kib in _MEMORY.findall(text)}
    if not found.get("MemTotal"):
        raise MalformedError("meminfo", f"no memory in {text!r:.100}")
    return found


def parse_disk_stats(text: str) -> dict[str, Counters]:
    """Bytes read from and written to each block device, partitions and loops among them (/proc/diskstats)."""
    counters = {}
    for line in _lines(text):
        fields = line.split()
        if len(fields) < _DISKSTATS_COLUMNS:
            raise MalformedError("diskstats", f"no counters in {line!r:.100}")
        read, written = _integers("diskstats", (fields[_SECTORS_READ], fields[_SECTORS_WRITTEN]))
        counters[fields[_DISK_NAME]] = (read * _SECTOR_BYTES, written * _SECTOR_BYTES)
    return counters


def parse_net_dev(text: str, skipped: tuple[str, ...] = ()) -> dict[str, Counters]:
    """Bytes received and sent by each interface of a network namespace (/proc/<pid>/net/dev), but those whose names
    begin so."""
    counters = {}
    for line in _lines(text)[_NET_DEV_HEADINGS:]:
        if skipped and line.startswith(skipped):  # a host with many containers has little else
            continue
        name, colon, columns = line.rpartition(":")
        name = name.strip(" ")
        if colon and name.startswith(skipped):
            continue
        amounts = columns.split()
        if not colon or len(amounts) < _NET_DEV_COLUMNS:
            raise MalformedError("net/dev", f"no counters in {line!r:.100}")
        counters[name] = (_integer("net/dev", amounts[_RX_BYTES]), _integer("net/dev", amounts[_TX_BYTES]))
    return counters


class ProcessStat(NamedTuple):
    """A process' line; it is one process as long as `pid` and `started_ticks` are the same."""

    pid: int
    started_ticks: int
    """Since the machine was started."""
    cpu_ticks: int
    """In the program and in the kernel, of all its threads; of its children nothing."""
    memory_pages: int
    """Resident."""
    name: bytes
    """Any bytes, for programs choose it: parentheses, blanks and line ends too."""


def parse_process_stat(line: bytes) -> ProcessStat:
    """/proc/<pid>/stat, proc_pid_stat(5), undecoded: it is read by the thousand, and few names are wanted."""
    before, _, behind = line.rpartition(b") ")  # a name may have it too, what follows has not
    pid, _, name = before.partition(b" (")
    fields = behind.split(b" ", _RSS + 1)
    try:
        return ProcessStat(
            int(pid),
            int(fields[_START]),
            int(fields[_UTIME]) + int(fields[_STIME]),
            max(0, int(fields[_RSS])),
            name,
        )
    except (ValueError, IndexError):
        raise MalformedError("process stat", f"no process in {line!r:.100}") from None


def parse_uptime_sec(text: str) -> float:
    """Seconds since the start, sleep included (/proc/uptime)."""
    return _decimals("uptime", text, 1)[0]


def parse_load(text: str) -> tuple[float, float, float]:
    """Of the last 1, 5 and 15 minutes (/proc/loadavg)."""
    one, five, fifteen = _decimals("loadavg", text, 3)
    return one, five, fifteen


def parse_device_file_systems(text: str) -> frozenset[str]:
    """The types of file system that live on a device (/proc/filesystems). Of ZFS the kernel says `nodev`, although it
    has disks of its own."""
    types = {"zfs"}
    for line in _lines(text):
        mark, tab, name = line.partition("\t")
        if not tab:
            raise MalformedError("filesystems", f"no type in {line!r:.100}")
        if mark != "nodev":
            types.add(name)
    return frozenset(types)


class Mount(NamedTuple):
    """A place where a file system is mounted."""

    device: str
    """Alike for all mounts of one file system, and for all subvolumes of a btrfs."""
    path: str
    file_system: str
    follows: bool = True
    """Whether what the host mounts below it from now on appears here too."""


def parse_mountinfo(text: str) -> list[Mount]:
    """The mounts that a process sees (/proc/<pid>/mountinfo, proc_pid_mountinfo(5)), lower ones before those on top."""
    mounts = []
    for line in _lines(text):
        place, dash, what = line.partition(" - ")
        # id, parent, device, root, mount point, options, then tags such as `master:7`
        fields = place.split(" ")
        if not dash or len(fields) < 6:
            raise MalformedError("mountinfo", f"no mount in {line!r:.100}")
        follows = " master:" in place
        mounts.append(Mount(fields[2], _unescaped(fields[4]), what.partition(" ")[0], follows))
    return mounts


def below(root: str, mounts: Iterable[Mount]) -> list[Mount]:
    """The mounts at `root` and under it, each by its path from there, as whoever has it for `/` knows it. Of several at
    the same place only the uppermost, for the others are hidden."""
    prefix = root.rstrip("/")
    seen = {}
    for mount in mounts:
        if mount.path == root or mount.path.startswith(f"{prefix}/"):
            path = mount.path[len(prefix) :] or "/"
            seen[path] = mount._replace(path=path)
    return list(seen.values())


def _lines(text: str) -> list[str]:
    """Unlike `splitlines`, which breaks at a carriage return too, and one may be in a mount's name."""
    return [line for line in text.split("\n") if line]


def _unescaped(path: str) -> str:
    """The kernel writes blanks, line ends and backslashes as three octal digits."""
    return re.sub(r"\\([01][0-7]{2})", lambda octal: chr(int(octal[1], 8)), path) if "\\" in path else path


def _integer(what: str, digits: str) -> int:
    if not _DIGITS.fullmatch(digits):
        raise MalformedError(what, f"{digits!r:.100} is no number")
    return int(digits)


def _integers(what: str, words: Sequence[str]) -> list[int]:
    digits = "".join(words)
    if not (digits.isascii() and digits.isdigit()) or max(map(len, words)) > 20:
        raise MalformedError(what, f"{words!r:.100} are no numbers")
    return [int(word) for word in words]


def _decimals(what: str, text: str, count: int) -> list[float]:
    """The first numbers of a line that has more."""
    words = text.split(" ", count)[:count]
    if len(words) < count or not all(_NUMBER.fullmatch(word.rstrip("\n")) for word in words):
        raise MalformedError(what, f"no numbers in {text!r:.100}")
    return [float(word) for word in words]
