"""What is published: the states of hosts that do not exist, each with the moment it was sent. Pure but for the clocks.

A body is what a collector sends, with one field more: `sentNs`, on the monotonic clock that all processes of a machine
share. It begins as the envelope wants it, and every system carries the same bytes.
"""

import random
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from pydantic import TypeAdapter

from common.envelope import Version, body_prefix
from common.keys import StateKind
from common.models import Container, Cpu, Disk, DiskIo, HostMetrics, Memory, NetworkInterface, Port, Swap, Temperature
from common.protocol import ContainersMessage

_CONTAINERS = TypeAdapter(tuple[Container, ...])


class State(NamedTuple):
    """One message."""

    host: str
    kind: StateKind
    version: Version
    body: bytes


class Fleet:
    """Hosts whose metrics are `body_bytes` long: versions, times and padding."""

    def __init__(self, hosts: int, body_bytes: int) -> None:
        self.hosts = [f"web-{number:04}" for number in range(hosts)]
        self.body_bytes = body_bytes
        self.epoch = int(time.time() * 1000)
        self._seq: dict[tuple[str, StateKind], int] = {}

    def newest(self, kind: StateKind = "metrics") -> dict[str, int]:
        """Host → sequence number last made."""
        return {host: seq for (host, of), seq in self._seq.items() if of == kind}

    def metrics(self, host: str) -> State:
        """The host's next metrics."""
        return self._next(host, "metrics", None)

    def every_metrics(self) -> list[Callable[[], State]]:
        """For each host, what makes its next metrics."""
        return [partial(self.metrics, host) for host in self.hosts]

    def _next(self, host: str, kind: StateKind, data: bytes | None) -> State:
        seq = self._seq[host, kind] = self._seq.get((host, kind), 0) + 1
        opening = b'%b"epoch":%d,"seq":%d,"sampledAt":%d,"sentNs":%d,"data":' % (
            body_prefix(kind, host),
            self.epoch,
            seq,
            time.time() * 1000,
            time.monotonic_ns(),
        )
        if data is None:
            data = b'{"pad":"%b"}' % (b"x" * (self.body_bytes - len(opening) - len('{"pad":""}}')))
        return State(host, kind, Version(self.epoch, seq), b"%b%b}" % (opening, data))


class BelievableFleet(Fleet):
    """Hosts that look like real ones: metrics of about 1 KB that wander, and lists of containers of which a tenth
    change each time. For what depends on how well they compress."""

    def __init__(self, hosts: int, containers: int, seed: int = 1) -> None:
        super().__init__(hosts, 0)
        self._rng = random.Random(seed)  # noqa: S311 - the same hosts each time, no secrets
        self._containers = {host: _containers_of_a_host(self._rng, containers, self.epoch) for host in self.hosts}

    def metrics(self, host: str) -> State:
        return self._next(host, "metrics", _host_metrics(self._rng).model_dump_json().encode())

    def containers(self, host: str) -> State:
        """The host's next list."""
        listed = self._containers[host]
        for number in self._rng.sample(range(len(listed)), max(1, len(listed) // 10)):
            changed = {"status": f"Up {self._rng.randint(2, 59)} minutes"}
            listed[number] = listed[number].model_copy(update=changed)
        return self._next(host, "containers", _CONTAINERS.dump_json(tuple(listed)))


def one_container(host: str) -> tuple[State, str]:
    """The containers of a host that has one, exactly as a collector sends them, since edges read these for actions;
    and the name of that one."""
    now_ms = int(time.time() * 1000)
    [container] = _containers_of_a_host(random.Random(1), 1, now_ms)  # noqa: S311 - no secret
    message = ContainersMessage(host=host, epoch=now_ms, seq=1, sampled_at=now_ms, data=(container,))
    return State(host, "containers", Version(now_ms, 1), message.model_dump_json().encode()), container.name


def _containers_of_a_host(rng: random.Random, count: int, now_ms: int) -> list[Container]:
    """Compose projects of eight containers each; what belongs together was brought up together."""
    listed: list[Container] = []
    while len(listed) < count:
        project = f"{rng.choice(('shop', 'blog', 'intranet', 'monitoring', 'billing', 'wiki'))}-{len(listed) // 8}"
        hours = rng.randint(2, 2000)
        for service in ("api", "worker", "db", "cache", "proxy", "mailer", "search", "cron"):
            began = now_ms - hours * 3_600_000 + rng.randrange(9_000)
            listed.append(_container(rng, project, service, began, f"Up {hours} hours"))
    return listed[:count]


def _container(rng: random.Random, project: str, service: str, began: int, status: str) -> Container:
    port = rng.randint(1024, 65535)
    published = Port(ip="0.0.0.0", host_port=port, container_port=8080, protocol="tcp")  # noqa: S104
    exposed = Port(ip=None, host_port=None, container_port=9090, protocol="tcp")
    return Container(
        id=rng.randbytes(32).hex(),
        name=f"{project}-{service}-1",
        image=f"{project}/{service}:{rng.randint(1, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}",
        state="running",
        status=status,
        health=rng.choice((None, "healthy")),
        created_at=began,
        started_at=began + rng.randrange(200, 900),
        finished_at=None,
        exit_code=None,
        oom_killed=False,
        restart_count=rng.choice((0, 0, 0, 1, 4)),
        ports=rng.choice(((), (), (published,), (published, exposed))),
        project=project,
        service=service,
        labels={"com.docker.compose.container-number": "1"},
        protected=False,
    )


def _host_metrics(rng: random.Random) -> HostMetrics:
    def percent() -> float:
        return round(rng.uniform(0, 100), 1)

    def rate() -> float:
        return round(rng.uniform(0, 1e7), 1)

    return HostMetrics(
        cpu=Cpu(
            percent=percent(),
            per_core_percent=tuple(percent() for _ in range(8)),
            cores=8,
            load=(round(rng.uniform(0, 8), 2), round(rng.uniform(0, 8), 2), round(rng.uniform(0, 8), 2)),
        ),
        memory=Memory(
            total_bytes=67_434_582_016,
            used_bytes=rng.randrange(10**10, 6 * 10**10),
            available_bytes=rng.randrange(10**9, 10**10),
            percent=percent(),
        ),
        swap=Swap(total_bytes=8_589_930_496, used_bytes=rng.randrange(10**9), percent=percent()),
        disks=tuple(
            Disk(mount=mount, total_bytes=512_110_190_592, used_bytes=rng.randrange(10**11), percent=percent())
            for mount in ("/", "/var/lib/docker")
        ),
        disk_io=DiskIo(read_bytes_per_sec=rate(), write_bytes_per_sec=rate()),
        network=tuple(
            NetworkInterface(interface=name, rx_bytes_per_sec=rate(), tx_bytes_per_sec=rate())
            for name in ("eth0", "docker0")
        ),
        temperatures=tuple(Temperature(sensor=f"core-{n}", celsius=round(rng.uniform(40, 80), 1)) for n in range(2)),
        uptime_sec=round(rng.uniform(1e6, 1e7), 2),
        processes=rng.randint(200, 900),
        stale=(),
    )
