"""Containers' counters by the files of their control groups: blocking calls, for a probe's thread.

Descriptors are kept open where that is cheaper (see GroupReading), up to a bound; above it files are opened at each
reading.
"""

import logging
import os
import resource
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from enum import Enum
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from common.errors import MalformedError
from services.collector.cgroups import (
    GroupFile,
    GroupFiles,
    effective_limit,
    group_files,
    memory_in_use,
    parse_groups,
    parse_total_bytes,
    parse_traffic,
)
from services.collector.kernel_files import contents, read_again
from services.collector.rates import Counters, UsageCounters

logger = logging.getLogger(__name__)

MOST_DESCRIPTORS = 8192

_DESCRIPTORS_EACH = 7

_SMALL_BYTES = 256
"""Most files are one number, for which a large buffer costs more than the read."""

BATCH_BYTES = 64 * 4096
"""The kernel charges memory to a control group in batches of so much (MEMCG_CHARGE_BATCH), which a core takes in
advance and gives back: a smaller change of its usage says nothing of what it holds."""

ALL_EVERY_S = 10.0
"""How old that may be which is not read at each sample (see GroupReading)."""

T = TypeVar("T")


class Running(NamedTuple):
    """A running container, as its inspection has it."""

    id: str
    """All 64 characters."""
    pid: int
    """Of its first process, as the engine sees it (`State.Pid`)."""
    run: str
    """`State.StartedAt`: names the run; another one is a new baseline."""
    host_network: bool
    """Its traffic cannot be told from the host's."""


class Missing(Enum):
    """Why there are no counters of a container."""

    GONE = "gone"
    UNSEEN = "unseen"
    """Its files are not here, or nothing says that they are its."""
    ENDED = "ended"
    """Its process is not here: it has ended, or all of them are elsewhere."""


Seen = Mapping[str, UsageCounters | Missing]


def raise_descriptor_limit() -> None:
    """Takes the descriptors that this process may have if it asks for them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS: less than it says
        logger.debug("no more descriptors: %s", error)


def descriptor_bound() -> int:
    """A third of the descriptors that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft // 3, MOST_DESCRIPTORS)


class GroupReading:
    """Containers' counters by their files. Blocks; one thread at a time.

    A kept descriptor saves 5.6 of the 6.3 µs that a control group's small file costs. It holds up nothing, and reads as
    gone once the group is, whatever is at its path by then; one of `/proc/<pid>` cannot come to mean another process.
    Through that, `net/dev` is opened at each sample, although 7 µs could be saved: a descriptor of it would keep the
    network of a dead container alive.

    What a cheaper sign shows to be as it was is not read, but for `all_every_s` at most, since no sign is certain:
    - Anything but the CPU's use, while that stands still and the last look found no traffic or I/O. The kernel
      reclaims memory and writes back later without the container, forwards for it, and takes what it never asks for
      (broadcasts): that is noticed late, told as the average of the time without a look, and then followed sample by
      sample.
    - `memory.stat` (7 µs, cold 15), while the memory's usage is within BATCH_BYTES of what it was then. Files in it may
      grow old or young meanwhile, or come and go: a batch of them at most.
    - The limit, which changes only where somebody says so (`docker update`).
    """

    def __init__(self, proc: Path, cgroup: Path, most_descriptors: int, all_every_s: float) -> None:
        self._proc = str(proc)
        self._cgroup = str(cgroup)
        self._most_kept = most_descriptors // _DESCRIPTORS_EACH
        self._all_every_s = all_every_s
        self._total_bytes: int | None = None
        self._total_due_s = float("-inf")
        self._wanted: tuple[Running, ...] = ()
        """At the last reading."""
        self._kept: dict[str, _Opened] = {}
        self._in_use = threading.Lock()
        self._closed = False

    def read(self, containers: Iterable[Running]) -> Seen:
        """By id."""
        try:
            with self._in_use:
                return {} if self._closed else self._read(containers)
        finally:
            if self._closed:
                self.close()

    def close(self) -> None:
        """Descriptors that a reading uses are closed by it: their numbers may mean other files right after."""
        self._closed = True
        if self._in_use.acquire(blocking=False):
            try:
                self._drop(list(self._kept))
            finally:
                self._in_use.release()

    def _read(self, containers: Iterable[Running]) -> Seen:
        self._renew_total()
        wanted = tuple(containers)
        if wanted != self._wanted:
            runs = {running.id: running.run for running in wanted}
            self._drop([key for key, kept in self._kept.items() if runs.get(key) != kept.run])
            self._wanted = wanted
        return {running.id: self._counters(running) for running in wanted}

    def _counters(self, running: Running) -> UsageCounters | Missing:
        kept = self._kept.get(running.id)
        if kept is None:
            opened = self._opened(running)
            if isinstance(opened, Missing):
                return opened
            if len(self._kept) >= self._most_kept:
                with closing(opened):
                    return opened.read(self._total_bytes) or Missing.GONE
            self._kept[running.id] = kept = opened
        counters = kept.read(self._total_bytes)
        if counters is None:
            self._drop([running.id])
            return Missing.GONE
        return counters

    def _opened(self, running: Running) -> "_Opened | Missing":
        try:
            return self._open(running) or Missing.UNSEEN
        except OSError:
            return Missing.UNSEEN if os.path.exists(f"{self._proc}/{running.pid}") else Missing.ENDED
        except MalformedError as error:
            _say_once(error)
            return Missing.UNSEEN

    def _open(self, running: Running) -> "_Opened | None":
        """None where the process is not the container's. Raises OSError where its groups' files are not here, and
        MalformedError."""
        with ExitStack() as descriptors:
            process = _open(f"{self._proc}/{running.pid}", descriptors, os.O_DIRECTORY)
            groups = parse_groups(os.fsdecode(contents("cgroup", process)), running.id)
            unified_mount = "" if os.path.exists(f"{self._cgroup}/cgroup.controllers") else "unified"
            files = group_files(groups, unified_mount) if groups else None
            if files is None:
                return None
            network = None if running.host_network else process
            opened = _Opened(running.run, files, self._cgroup, network, self._all_every_s, descriptors)
            opened.descriptors = descriptors.pop_all()
            return opened

    def _drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._kept.pop(key).close()

    def _renew_total(self) -> None:
        now_s = time.monotonic()
        if now_s < self._total_due_s:
            return
        self._total_due_s = now_s + self._all_every_s
        try:
            self._total_bytes = parse_total_bytes(contents(f"{self._proc}/meminfo"))
        except (OSError, MalformedError):
            self._total_bytes = None  # so that it is not known either what having no limit means


class _Opened:
    """The files of one run of a container, with open descriptors."""

    def __init__(
        self,
        run: str,
        files: GroupFiles,
        root: str,
        network: int | None,
        all_every_s: float,
        descriptors: ExitStack,
    ) -> None:
        """`network`: the descriptor of its process' folder. Raises OSError where the CPU's use is not there; any other
        file may be missing."""
        self.run = run
        self.descriptors = descriptors
        self._network = network
        self._cpu = _Kept(files.cpu_ns, root, descriptors)
        self._memory = _kept(files.memory, root, descriptors)
        self._inactive = _kept(files.inactive, root, descriptors)
        self._pids = _kept(files.pids, root, descriptors)
        self._io = _kept(files.io, root, descriptors)
        self._limit = _kept(files.limit, root, descriptors)
        self._all_every_s = all_every_s
        self._rest_due_s = float("-inf")
        """When more than the CPU's use is to be read, if not earlier."""
        self._memory_due_s = float("-inf")
        """When the limit is, and what memory is made of."""
        self._last = UsageCounters(float("-inf"))
        """What was read when more than the CPU's use was."""
        self._moves = True
        """There was traffic or I/O then."""
        self._memory_bytes: int | None = None
        """When it was looked what memory is made of."""
        self._inactive_bytes = 0
        self._limit_bytes: int | None = None
        self._traffic: Counters = (0, 0)
        self._traffic_text = b""

    def close(self) -> None:
        self.descriptors.close()

    def read(self, total_bytes: int | None) -> UsageCounters | None:
        """None: its groups are gone."""
        at_s = time.monotonic()
        try:
            cpu_ns: int | None = self._cpu.read()
        except MalformedError as error:
            _say_once(error)
            cpu_ns = None
        except OSError:
            return None
        last = self._last
        worked = cpu_ns is None or cpu_ns != last.cpu_ns
        if not worked and not self._moves and at_s < self._rest_due_s:
            return UsageCounters(at_s, *last[1:-1])
        self._rest_due_s = at_s + self._all_every_s
        memory_due = at_s >= self._memory_due_s
        if memory_due:
            self._memory_due_s = at_s + self._all_every_s
            self._limit_bytes = self._limit.known() if self._limit else None
        memory_bytes = self._memory.known() if self._memory else None
        if memory_due or _is_batch(self._memory_bytes, memory_bytes):
            self._memory_bytes = memory_bytes
            self._inactive_bytes = (self._inactive.known() or 0) if self._inactive else 0
        self._last = now = UsageCounters(
            at_s,
            cpu_ns,
            None if memory_bytes is None else memory_in_use(memory_bytes, self._inactive_bytes),
            effective_limit(self._limit_bytes, total_bytes) if self._memory else None,
            None if self._network is None else _known(self._read_traffic),
            self._io.known() if self._io else None,
            self._pids.known() if self._pids else None,
            None if worked else last.at_s,
        )
        self._moves = now.traffic != last.traffic or now.io != last.io
        return now

    def _read_traffic(self) -> Counters:
        text = contents("net/dev", self._network)
        if text != self._traffic_text:
            self._traffic, self._traffic_text = parse_traffic(text), text
        return self._traffic


class _Kept(Generic[T]):
    """An open file. What it says is parsed again only where it says something else."""

    def __init__(self, file: GroupFile[T], root: str, descriptors: ExitStack) -> None:
        self._parse = file.parse
        self._descriptor = _open(f"{root}/{file.path}", descriptors)
        self._is_small = True
        self._text: bytes | None = None
        """What it said last, when that was understood."""
        self._value: T

    def read(self) -> T:
        """Raises OSError and MalformedError."""
        text = os.pread(self._descriptor, _SMALL_BYTES, 0) if self._is_small else read_again(self._descriptor)
        if text != self._text:
            if self._is_small and len(text) == _SMALL_BYTES:
                self._is_small = False
                text = read_again(self._descriptor)
            self._value = self._parse(text)
            self._text = text
        return self._value

    def known(self) -> T | None:
        return _known(self.read)


def _is_batch(before: int | None, now: int | None) -> bool:
    """Whether memory's usage has changed by so much that what it is made of may have."""
    if before is None or now is None:
        return before is not now
    return abs(now - before) >= BATCH_BYTES


def _kept(file: GroupFile[T] | None, root: str, descriptors: ExitStack) -> _Kept[T] | None:
    try:
        return _Kept(file, root, descriptors) if file else None
    except OSError:
        return None


def _known(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except MalformedError as error:
        _say_once(error)
    except OSError:
        pass  # of one that ends just now, or a controller that is not there
    return None


def _open(path: str, descriptors: ExitStack, flags: int = 0) -> int:
    descriptor = os.open(path, os.O_RDONLY | flags)
    descriptors.callback(os.close, descriptor)
    return descriptor


_said: set[str] = set()


def _say_once(error: MalformedError) -> None:
    """Once for what is read wrongly, for a kernel's next word will be no better."""
    if error.what not in _said:
        _said.add(error.what)
        logger.warning("containers' usage is not all understood (%s): null in its place", error)
