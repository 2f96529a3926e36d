"""Believable values for tests, each changed where a test needs it."""

from typing import Any

from common.models import Container, Cpu, DiskIo, HostMetrics, Memory, Swap

ID_A = "a1" * 32
ID_B = "b2" * 32


def host_metrics(percent: float = 12.5, **changes: Any) -> HostMetrics:
    sample = HostMetrics(
        cpu=Cpu(percent=percent, per_core_percent=(percent, percent), cores=2, load=(0.5, 0.25, 0.1)),
        memory=Memory(total_bytes=8_000, used_bytes=2_000, available_bytes=6_000, percent=25.0),
        swap=Swap(total_bytes=0, used_bytes=0, percent=0.0),
        disks=(),
        disk_io=DiskIo(read_bytes_per_sec=0.0, write_bytes_per_sec=0.0),
        network=(),
        temperatures=(),
        uptime_sec=3600.0,
        processes=100,
        stale=(),
    )
    return sample.model_copy(update=changes)


def container(name: str = "web", container_id: str = ID_A, **changes: Any) -> Container:
    sample = Container(
        id=container_id,
        name=name,
        image="busybox:1",
        state="running",
        status="Up 3 minutes",
        health=None,
        created_at=1_700_000_000_000,
        started_at=1_700_000_000_500,
        finished_at=None,
        exit_code=None,
        oom_killed=False,
        restart_count=0,
        ports=(),
        project=None,
        service=None,
        labels={},
        protected=False,
    )
    return sample.model_copy(update=changes)
