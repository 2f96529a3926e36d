"""The space on this machine's disks: blocking, for a probe's thread.

In a container, the host's file systems are those that are mounted below the place where the host's root is bound to. We
look for them among our own mounts, not among those of a process of the host's: what we then ask for its space is what
the entry names, a mount that did not reach us is left out instead of shown with the space of the disk below it, and
nobody has to let us look.
"""

import logging
import os
import select
import stat
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from common.models import Disk
from services.collector.procfs import Mount, below, parse_device_file_systems, parse_mountinfo
from services.collector.readings import MOST_LISTED, OWN_PROC, bounded, printable, text_of

logger = logging.getLogger(__name__)

OWN_ROOT = Path("/")
OWN_MOUNTS = Path("/proc/self/mountinfo")

IMAGE_FILE_SYSTEMS = frozenset({"squashfs", "iso9660", "udf", "erofs", "cramfs", "romfs"})
"""Read-only images: always full, and never of interest for it. Snap mounts one for each package."""


class DisksReading:
    """The local file systems that hold data, one entry each.

    Left out: what the kernel makes up (proc, tmpfs, overlay, ...) and shares of other machines, both `nodev` in
    /proc/filesystems. A share's space is its server's affair, and asking for it hangs with the server.
    """

    def __init__(self, proc: Path = OWN_PROC, root: Path = OWN_ROOT) -> None:
        self._proc = proc
        self._root = str(root)
        self._table = MountTable()
        self._types: frozenset[str] = frozenset()
        self._found: Mounts | None = None
        self._said: set[str] = set()

    def __call__(self) -> tuple[Disk, ...]:
        """Raises OSError, and MalformedError."""
        types = parse_device_file_systems(text_of(self._proc / "filesystems")) if psutil.LINUX else frozenset()
        if self._table.has_changed() or types != self._types or self._found is None:
            self._found, self._types = None, types
            self._found = one_mount_a_device(self._root, self._mounts(types))
        found = self._found
        for path in found.closed:
            self._say(f"the disk at {printable(path)!r} is left out: a folder above it may not be entered")
        disks = []
        for path in found.open:
            try:
                space = psutil.disk_usage(_place(self._root, path))
            except OSError:  # gone since
                continue
            if space.total:
                disks.append(
                    Disk(mount=printable(path), total_bytes=space.total, used_bytes=space.used, percent=space.percent)
                )
        return tuple(bounded(disks, "disks"))

    def _mounts(self, on_devices: frozenset[str]) -> Iterable[Mount]:
        if not psutil.LINUX:
            partitions = psutil.disk_partitions(all=False)
            return [Mount(found.device, found.mountpoint, found.fstype) for found in partitions]
        mounts = below(self._root, parse_mountinfo(text_of(OWN_MOUNTS)))
        if self._root != str(OWN_ROOT):
            self._judge(mounts)
        return [mount for mount in mounts if mount.file_system in on_devices]

    def _judge(self, mounts: Sequence[Mount]) -> None:
        """Raises FileNotFoundError where nothing of the host's is there: it must not pass for a host without disks."""
        if not mounts:
            raise FileNotFoundError(f"no file system of the host's is mounted at {self._root}")
        if mounts[0].path == "/" and not mounts[0].follows:
            # The host's own / is private, as without systemd, or it was bound without rslave.
            self._say(f"disks that the host mounts from now on are left out: {self._root} does not follow its mounts")

    def _say(self, what: str) -> None:
        if what not in self._said and len(self._said) < MOST_LISTED:
            self._said.add(what)
            logger.info("%s", what)


class MountTable:
    """Whether our own mounts are as they were. To read them all takes milliseconds where containers run."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._poll = select.poll() if psutil.LINUX else None

    def has_changed(self) -> bool:
        """Since the last time, or perhaps; True at the first. Raises OSError."""
        if self._poll is None:
            return True
        if self._descriptor is None:
            self._descriptor = os.open(OWN_MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._descriptor)
            self._poll.register(self._descriptor, select.POLLPRI)
            return True
        return bool(self._poll.poll(0))  # the kernel notes it for each open file (proc_pid_mounts(5))


class Mounts(NamedTuple):
    """Paths on the host, sorted."""

    open: list[str]
    closed: list[str]
    """Of devices whose every mount is below a folder that we may not enter."""


def one_mount_a_device(root: str, mounts: Iterable[Mount]) -> Mounts:
    """Where each device is mounted: at its shortest path, for the others are bind mounts or subvolumes of the same
    space. A bind mount of a single file is none; telling that is the one look that this takes."""
    found: dict[str, str] = {}
    closed: dict[str, str] = {}
    for device, path, file_system, _ in mounts:
        if file_system in IMAGE_FILE_SYSTEMS:
            continue
        try:
            is_folder = stat.S_ISDIR(os.stat(_place(root, path)).st_mode)
        except PermissionError:
            closed.setdefault(device, path)
            continue
        except OSError:  # gone since
            continue
        known = found.get(device)
        if is_folder and (known is None or (len(path), path) < (len(known), known)):
            found[device] = path
    return Mounts(sorted(found.values()), sorted(path for device, path in closed.items() if device not in found))


def _place(root: str, path: str) -> str:
    """Where a path of the host's is found from here."""
    return f"{root.rstrip('/')}{path}"
