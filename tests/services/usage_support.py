"""For the tests of containers' usage: the files of a host, an engine with statistics, and samplers of both."""

import json
import os
from pathlib import Path
from typing import Any

from common.docker import Docker
from common.models import Usage
from services.collector.rates import UsageRow
from services.collector.usage import Running, UsageSampler
from tests.engine import EngineProxy, http
from tests.support import eventually

ID_A, ID_B, ID_C = "a" * 64, "b" * 64, "c" * 64
RUN = "2026-11-23T22:59:06Z"
MIB = 1024**2
TOTAL = 1024 * MIB

V1, V2 = "v1", "v2"


def running(container_id: str, pid: int, run: str = RUN, *, host_network: bool = False) -> Running:
    return Running(container_id, pid, run, host_network)


A = running(ID_A, 101)


class Tree:
    """/proc and /sys/fs/cgroup as a host with control groups of that version has them."""

    def __init__(self, root: Path, version: str) -> None:
        self.proc, self.cgroup = root / "proc", root / "cgroup"
        self.version = version
        self.write(self.proc / "meminfo", f"MemTotal:  {TOTAL // 1024} kB\nMemFree: 5 kB\n")
        if version == V2:
            self.write(self.cgroup / "cgroup.controllers", "cpu io memory pids\n")

    def put(
        self, container: Running, *, cpu_ms: int = 0, rx: int = 0, tx: int = 0, read: int = 0, write: int = 0
    ) -> None:
        process, group = self.proc / str(container.pid), f"docker/{container.id}"
        traffic = f"\n\n  lo: 77{' 0' * 15}\neth0: {rx} 0 0 0 0 0 0 0 {tx}{' 0' * 7}\n"
        self.write(process / "net/dev", traffic)
        if self.version == V1:
            names = ("cpuacct", "memory", "pids", "blkio")
            self.write(process / "cgroup", "".join(f"{n}:{name}:/{group}\n" for n, name in enumerate(names, 1)))
            files = {
                f"cpuacct/{group}/cpuacct.usage": f"{cpu_ms * 10**6}",
                f"memory/{group}/memory.usage_in_bytes": f"{9 * MIB}",
                f"memory/{group}/memory.limit_in_bytes": "9223372036854771712",
                f"memory/{group}/memory.stat": f"inactive_file 1\ntotal_inactive_file {2 * MIB}",
                f"pids/{group}/pids.current": "3",
                f"blkio/{group}/blkio.throttle.io_service_bytes": f"8:0 Read {read}\n8:0 Write {write}\nTotal 1",
            }
        else:
            self.write(process / "cgroup", f"0::/{group}\n")
            files = {
                f"{group}/cpu.stat": f"usage_usec {cpu_ms * 1000}\nuser_usec 1",
                f"{group}/memory.current": f"{9 * MIB}",
                f"{group}/memory.max": "max",
                f"{group}/memory.stat": f"anon 1\ninactive_file {2 * MIB}\nactive_file 7",
                f"{group}/pids.current": "3",
                f"{group}/io.stat": f"8:0 rbytes={read} wbytes={write} rios=1 wios=1",
            }
        for path, text in files.items():
            self.write(self.cgroup / path, f"{text}\n")

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Engine(EngineProxy):
    """Has statistics of the containers in `stats`; of others it says that they are not there."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, self._answer)
        self.stats: dict[str, str | bytes] = {}
        """Id → an answer."""

    def _answer(self, request: str) -> str | bytes:
        if "/version" in request:
            return http('{"ApiVersion": "1.45"}')
        return self.stats.get(request.split("/")[3], http('{"message": "No such container"}', "404 Not Found"))


def statistics(memory_bytes: int = 5, read: str = "2026-11-23T22:59:06Z") -> bytes:
    cpu = {"cpu_usage": {"total_usage": 7}, "online_cpus": 5}
    return http(json.dumps({"read": read, "cpu_stats": cpu, "memory_stats": {"usage": memory_bytes, "limit": 9}}))


class Samplers:
    """Makes them, and closes them at the end of the test."""

    def __init__(self) -> None:
        self._made: list[UsageSampler] = []
        self._clients: list[Docker] = []

    def at(self, tree: Tree, engine: Engine, **limits: Any) -> UsageSampler:
        return self.make(engine.address, proc=tree.proc, cgroup=tree.cgroup, **limits)

    def make(self, address: str, **limits: Any) -> UsageSampler:
        self._clients.append(Docker(address))
        self._made.append(UsageSampler(self._clients[-1], **limits))
        return self._made[-1]

    async def close(self) -> None:
        for sampler in self._made:
            sampler.close()
        for client in self._clients:
            await client.close()


async def sample(sampler: UsageSampler, *containers: Running) -> Usage:
    usage = await sampler.sample(containers)
    assert usage is not None
    return usage


async def with_rates(sampler: UsageSampler, *containers: Running) -> Usage:
    """The first sample that is far enough from the one before."""

    async def look() -> Usage | None:
        usage = await sample(sampler, *containers)
        return usage if usage.cpu_percent[0] is not None else None

    found: Usage = await eventually(look)
    return found


def row(usage: Usage, container_id: str = ID_A) -> UsageRow:
    place = usage.ids.index(container_id)
    return UsageRow(*(getattr(usage, name)[place] for name in UsageRow._fields))


def open_descriptors(under: Path | str) -> list[str]:
    """Of this process, on what is below the folder."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue  # the listing's own
        if target.startswith(str(under)):
            found.append(target)
    return found
