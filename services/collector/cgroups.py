"""What Linux says of a container's control groups → where they are, and what the container uses. Pure.

The files are those of docs.kernel.org's admin-guide/cgroup-v1 and cgroup-v2.rst. Their contents come as bytes, for they
are read for every container at every sample; whatever they say, nothing but MalformedError is raised.
"""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from common.errors import MalformedError
from services.collector.rates import Counters

UNIFIED = ""
"""The name of v2's one hierarchy in `/proc/<pid>/cgroup`, where v1's have their controllers'."""

_MOST = 2**64
"""The kernel's counters have 64 bits."""

_UNLIMITED = 2**62
"""v1 says "no limit" as the largest number of whole pages, a little below 2**63."""

_NET_DEV_HEADINGS = 2
_RX_BYTES, _TX_BYTES = 0, 8

T = TypeVar("T")


def parse_groups(text: str, container_id: str) -> dict[str, str] | None:
    """The control groups of a container in `/proc/<pid>/cgroup`: controller → path below its hierarchy's mount, with
    UNIFIED for v2's.

    A path ends at the component that has the container's id (`docker/<id>`, `system.slice/docker-<id>.scope`,
    `libpod-<id>.scope`): below it are groups that the container makes, and in which systemd puts its first process.
    None where no path has the id, or one goes up: it is another process', or its groups are told as from another
    cgroup namespace, and their files are not where the path says. Raises MalformedError.
    """
    groups = {}
    for line in text.split("\n"):
        if not line:
            continue
        number, colon, rest = line.partition(":")
        controllers, second_colon, path = rest.partition(":")
        if not colon or not second_colon or not number.isdecimal() or not path.startswith("/"):
            raise MalformedError("cgroup", f"no control group in {line!r:.200}")
        components = path.split("/")
        if ".." in components or "\0" in path:
            return None
        own = next((place for place, name in enumerate(components) if container_id in name), None)
        if own is not None:
            whole = "/".join(components[: own + 1])
            groups.update(dict.fromkeys(controllers.split(","), whole))
    return groups or None


class GroupFile(NamedTuple, Generic[T]):
    """A file of a control group, and what it says."""

    path: str
    """Below the place where the hierarchies are mounted (/sys/fs/cgroup)."""
    parse: Callable[[bytes], T]
    """Raises MalformedError."""


class GroupFiles(NamedTuple):
    """What tells a container's use; None where no controller does."""

    cpu_ns: GroupFile[int]
    memory: GroupFile[int] | None
    inactive: GroupFile[int] | None
    """What `memory` counts of files that nobody has touched lately."""
    limit: GroupFile[int | None] | None
    """Of memory; None: there is none."""
    pids: GroupFile[int] | None
    io: GroupFile[Counters] | None


def group_files(groups: dict[str, str], unified_mount: str) -> GroupFiles | None:
    """The files in a container's groups. `unified_mount` is where v2's hierarchy is, beside v1's (`unified`) or alone
    (empty). A controller that is not in v1 is looked for in v2. None where neither tells the CPU's use."""

    def file(v1: tuple[str, str, Callable[[bytes], T]], v2: tuple[str, Callable[[bytes], T]]) -> GroupFile[T] | None:
        controller, name, parse = v1
        if controller in groups:
            return GroupFile(f"{controller}{groups[controller]}/{name}", parse)
        if UNIFIED in groups:
            return GroupFile(f"{unified_mount}{groups[UNIFIED]}/{v2[0]}".removeprefix("/"), v2[1])
        return None

    cpu_ns = file(("cpuacct", "cpuacct.usage", parse_amount), ("cpu.stat", parse_cpu_stat_ns))
    if cpu_ns is None:
        return None
    return GroupFiles(
        cpu_ns=cpu_ns,
        memory=file(("memory", "memory.usage_in_bytes", parse_amount), ("memory.current", parse_amount)),
        inactive=file(("memory", "memory.stat", parse_inactive_v1), ("memory.stat", parse_inactive_v2)),
        limit=file(("memory", "memory.limit_in_bytes", parse_limit), ("memory.max", parse_limit)),
        pids=file(("pids", "pids.current", parse_amount), ("pids.current", parse_amount)),
        io=file(("blkio", "blkio.throttle.io_service_bytes", parse_io_v1), ("io.stat", parse_io_v2)),
    )


def parse_amount(text: bytes) -> int:
    """A file that is a number."""
    try:
        amount = int(text)
    except ValueError:
        raise MalformedError("cgroup", f"{text!r:.100} is no number") from None
    if not 0 <= amount < _MOST:
        raise MalformedError("cgroup", f"{text!r:.100} is no amount")
    return amount


def parse_cpu_stat_ns(text: bytes) -> int:
    """The CPU time spent (v2's cpu.stat), which is told in µs."""
    return 1000 * _entry(text, b"usage_usec ")


def parse_inactive_v1(text: bytes) -> int:
    """With the groups below it (memory.stat)."""
    return _entry(text, b"total_inactive_file ")


def parse_inactive_v2(text: bytes) -> int:
    """With the groups below it (memory.stat), as all of v2's."""
    return _entry(text, b"inactive_file ")


def parse_limit(text: bytes) -> int | None:
    """Of memory (v1's memory.limit_in_bytes, v2's memory.max); None: unlimited."""
    return None if text == b"max\n" else known_limit(parse_amount(text))


def known_limit(limit: int) -> int | None:
    """None for the huge numbers that mean that there is none."""
    return limit if limit < _UNLIMITED else None


def effective_limit(limit: int | None, total_bytes: int | None) -> int | None:
    """What a container can use at most: without a limit, or with one that is above it, the host's memory."""
    if limit is None:
        return total_bytes
    return limit if total_bytes is None else min(limit, total_bytes)


def memory_in_use(usage: int, inactive: int) -> int:
    """As the docker command counts it (docker/cli, cli/command/container/stats_helpers.go): without files that would go
    as soon as anyone needs the room."""
    return usage - inactive if inactive < usage else usage


def parse_io_v1(text: bytes) -> Counters:
    """Bytes read and written, over all devices (blkio.throttle.io_service_bytes): `8:0 Read 4096` and so on."""
    read = written = 0
    for line in text.split(b"\n"):
        words = line.split(b" ")
        if len(words) == 3:
            if words[1] == b"Read":
                read += parse_amount(words[2])
            elif words[1] == b"Write":
                written += parse_amount(words[2])
        elif line and not line.startswith(b"Total "):
            raise MalformedError("cgroup", f"no device's bytes in {line!r:.100}")
    return read, written


def parse_io_v2(text: bytes) -> Counters:
    """Bytes read and written, over all devices (io.stat): `8:0 rbytes=4096 wbytes=0 rios=1 ...`. A device without any
    yet may be named alone."""
    read = written = 0
    for line in text.split(b"\n"):
        for word in line.split(b" ")[1:]:
            if word.startswith(b"rbytes="):
                read += parse_amount(word[7:])
            elif word.startswith(b"wbytes="):
                written += parse_amount(word[7:])
    return read, written


def parse_traffic(text: bytes) -> Counters:
    """Bytes received and sent over all interfaces but the loopback (/proc/<pid>/net/dev)."""
    received = sent = 0
    for line in text.split(b"\n")[_NET_DEV_HEADINGS:]:
        name, colon, amounts = line.rpartition(b":")
        if name.strip() == b"lo" or not line:
            continue
        columns = amounts.split()
        if not colon or len(columns) <= _TX_BYTES:
            raise MalformedError("net/dev", f"no counters in {line!r:.100}")
        received += parse_amount(columns[_RX_BYTES])
        sent += parse_amount(columns[_TX_BYTES])
    return received, sent


def parse_total_bytes(text: bytes) -> int:
    """The machine's memory (/proc/meminfo)."""
    return 1024 * parse_amount(_value(text, b"MemTotal:").removesuffix(b" kB"))


def _entry(text: bytes, name: bytes) -> int:
    return parse_amount(_value(text, name))


def _value(text: bytes, name: bytes) -> bytes:
    """What follows a name at the beginning of a line."""
    if text.startswith(name):
        begin = len(name)
    else:
        found = text.find(b"\n" + name)
        if found < 0:
            raise MalformedError("cgroup", f"no {name.decode().strip()} in {text!r:.100}")
        begin = found + len(name) + 1
    end = text.find(b"\n", begin)
    return text[begin:] if end < 0 else text[begin:end]
