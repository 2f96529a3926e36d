"""What Linux writes under /proc → values: the files of which psutil, in a container, would read the container's own.
Pure.

Text comes decoded with `surrogateescape`, for names are any bytes, and with its line ends untouched. Whatever it says,
nothing but MalformedError is raised.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from common.errors import MalformedError
from services.collector.rates import Counters

_NET_DEV_HEADINGS = 2
_RX_BYTES, _TX_BYTES, _NET_DEV_COLUMNS = 0, 8, 16

_DIGITS = re.compile(r"[0-9]{1,20}")
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,9})?")


def parse_net_dev(text: str) -> dict[str, Counters]:
    """Bytes received and sent by each interface of a network namespace (/proc/<pid>/net/dev)."""
    counters = {}
    for line in _lines(text)[_NET_DEV_HEADINGS:]:
        name, colon, columns = line.rpartition(":")
        amounts = columns.split()
        if not colon or len(amounts) < _NET_DEV_COLUMNS:
            raise MalformedError("net/dev", f"no counters in {line!r:.100}")
        counters[name.strip(" ")] = (_integer("net/dev", amounts[_RX_BYTES]), _integer("net/dev", amounts[_TX_BYTES]))
    return counters


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


def _decimals(what: str, text: str, count: int) -> list[float]:
    """The first numbers of a line that has more."""
    words = text.split(" ", count)[:count]
    if len(words) < count or not all(_NUMBER.fullmatch(word.rstrip("\n")) for word in words):
        raise MalformedError(what, f"no numbers in {text!r:.100}")
    return [float(word) for word in words]
