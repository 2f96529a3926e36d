"""The sampler in a real container, as compose runs it: not root, no capability, nothing writable, no network. What it
says of its host is compared with what the host says of itself."""

import platform
import subprocess
import uuid
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

from common.models import HostMetrics
from common.settings import default_host_id
from services.collector.host import HostSampler
from tests.support import eventually

pytestmark = pytest.mark.docker

CHECKOUT = Path(__file__).parents[2]
IMAGE = f"fleetcast-test-sampler:{uuid.uuid4().hex[:10]}"

DOCKERFILE = f"""\
FROM python:3.13-slim
RUN pip install --no-cache-dir psutil=={version("psutil")} pydantic=={version("pydantic")}
COPY common /app/common
COPY services /app/services
WORKDIR /app
USER 10001:10001
"""

CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none")
SEES_ITS_HOST = (
    *("--uts=host", "-v=/proc:/host/proc:ro", "-v=/:/host/root:ro"),
    *("-e=FLEETCAST_HOST_PROC=/host/proc", "-e=FLEETCAST_HOST_ROOT=/host/root"),
)

DRIVER = """\
import asyncio
from common.settings import MetricsCollectorSettings
from services.collector.host import HostSampler, Readings

async def main():
    settings = MetricsCollectorSettings.load({})
    sampler = HostSampler(Readings.of_host(settings.host_proc, settings.host_root))
    for _ in range(20):
        sample = await sampler.sample()
        if sample is not None and not sample.stale:
            break
    print(settings.host_id, sample.model_dump_json(), sep="\\n")

asyncio.run(main())
"""


class Seen(NamedTuple):
    host: str
    sample: HostMetrics


@pytest.fixture(scope="module")
def image(docker_engine: None) -> Iterator[str]:
    build = ("docker", "build", "--quiet", "--tag", IMAGE, "--file", "-", str(CHECKOUT))
    subprocess.run(build, input=DOCKERFILE, text=True, check=True, capture_output=True, timeout=110)
    yield IMAGE
    subprocess.run(("docker", "rmi", "--force", IMAGE), check=True, capture_output=True, timeout=30)


def look(image: str, *options: str) -> Seen:
    """What the sampler says in a container of its own."""
    run = ("docker", "run", "--rm", *CONFINED, *options, image, "python", "-c", DRIVER)
    said = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    host, sample = said.stdout.splitlines()
    return Seen(host, HostMetrics.model_validate_json(sample))


async def here() -> HostMetrics:
    """What the host says itself."""
    sampler = HostSampler()

    async def whole() -> HostMetrics | None:
        sample = await sampler.sample()
        return sample if sample is not None and not sample.stale else None

    sample: HostMetrics = await eventually(whole)
    return sample


def interfaces(sample: HostMetrics) -> set[str]:
    return {found.interface for found in sample.network}


def sizes(sample: HostMetrics) -> dict[str, int]:
    return {disk.mount: disk.total_bytes for disk in sample.disks}


@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere the engine's host is another machine")
async def test_a_container_without_rights_sees_its_host_as_the_host_sees_itself(image: str) -> None:
    before = await here()
    host, seen = look(image, *SEES_ITS_HOST)
    after = await here()
    assert seen.stale == ()
    assert host == default_host_id()
    assert seen.cpu.cores == before.cpu.cores
    assert seen.memory.total_bytes == before.memory.total_bytes
    assert seen.swap.total_bytes == before.swap.total_bytes
    assert before.uptime_sec <= seen.uptime_sec <= after.uptime_sec
    # Other tests may add a bridge or a mount meanwhile, and processes all the time.
    assert interfaces(before) & interfaces(after) <= interfaces(seen) <= interfaces(before) | interfaces(after)
    assert seen.processes == pytest.approx(after.processes, rel=0.5)
    assert sizes(before).items() & sizes(after).items() <= sizes(seen).items()
    assert sizes(seen)["/"] == sizes(after)["/"]
    assert {found.sensor for found in seen.temperatures} == {found.sensor for found in after.temperatures}


async def test_without_the_hosts_files_it_sees_but_its_container(image: str) -> None:
    host, seen = look(image)
    assert host != default_host_id()
    assert seen.network == ()
    assert seen.processes < 5


async def test_where_the_network_counters_are_hidden_only_that_part_is_stale(image: str) -> None:
    hidden = "--mount=type=tmpfs,destination=/host/proc/1/net"
    _, seen = look(image, *SEES_ITS_HOST, hidden)
    assert seen.stale == ("network",)
    assert seen.processes > 5


async def test_where_the_hosts_root_is_not_bound_disks_are_stale_and_not_the_containers(image: str) -> None:
    _, seen = look(image, *SEES_ITS_HOST, "-e=FLEETCAST_HOST_ROOT=/opt")
    assert seen.stale == ("disks",)
    assert seen.disks == ()
