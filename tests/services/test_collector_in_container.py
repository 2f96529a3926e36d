"""The sampler in a real container, as compose runs it: not root, no capability, nothing writable, no network. What it
says of its host is compared with what the host says of itself."""

import contextlib
import platform
import subprocess
import uuid
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

from common.host_id import name_in
from common.models import HostMetrics, Processes
from common.setting_kinds import default_host_id
from services.collector.host import HostSampler
from tests.conftest import Containers, docker
from tests.support import eventually

pytestmark = pytest.mark.docker

CHECKOUT = Path(__file__).parents[2]
IMAGE = f"fleetcast-test-sampler:{uuid.uuid4().hex[:10]}"

NEEDED = ("psutil", "pydantic", "redis", "hiredis", "prometheus-client")

DOCKERFILE = f"""\
FROM python:3.13-slim
RUN pip install --no-cache-dir {" ".join(f"{name}=={version(name)}" for name in NEEDED)}
COPY common /app/common
COPY services /app/services
WORKDIR /app
USER 10001:10001
"""

CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none")
SEES_ITS_HOSTS_FILES = (
    *("-v=/proc:/host/proc:ro", "-v=/:/host/root:ro"),
    *("-e=FLEETCAST_HOST_PROC=/host/proc", "-e=FLEETCAST_HOST_ROOT=/host/root"),
)
SEES_ITS_HOST = ("--uts=host", *SEES_ITS_HOSTS_FILES)

DRIVER = """\
import asyncio
from common.errors import SettingsError
from common.host_id import read_host_id
from common.settings import MetricsCollectorSettings
from services.collector.host import HostSampler, Readings
from services.collector.processes import ProcessesReading

async def main():
    settings = MetricsCollectorSettings.load({})
    try:
        host = read_host_id(settings)
    except SettingsError as error:
        host = f"refused: {error}"
    sampler = HostSampler(Readings.of_host(settings.host_proc, settings.host_root))
    processes = ProcessesReading(settings.host_proc)
    processes()
    for _ in range(20):
        sample = await sampler.sample()
        if sample is not None and not sample.stale:
            break
        await asyncio.sleep(0.02)
    print(host, sample.model_dump_json(), processes().model_dump_json(), sep="\\n")

asyncio.run(main())
"""


class Seen(NamedTuple):
    host: str
    sample: HostMetrics
    processes: Processes


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
    host, sample, processes = said.stdout.splitlines()
    return Seen(host, HostMetrics.model_validate_json(sample), Processes.model_validate_json(processes))


def name_of_this_machine() -> str | None:
    with contextlib.suppress(OSError):
        return name_in(Path("/etc/hostname").read_text())
    return None


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
    host, seen, _ = look(image, *SEES_ITS_HOST)
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
    host, seen, processes = look(image)
    assert host.startswith("refused: --host-id / FLEETCAST_HOST_ID: must be set")
    assert {process.pid for process in processes.by_memory} <= set(range(1, 5))
    assert seen.network == ()
    assert seen.processes < 5


@pytest.mark.skipif(name_of_this_machine() is None, reason="this machine has no name of its own")
async def test_without_the_hosts_name_of_its_own_it_is_read_from_the_hosts_files(image: str) -> None:
    host, _, _ = look(image, *SEES_ITS_HOSTS_FILES)
    assert host == name_of_this_machine()
    host, _, _ = look(image, *SEES_ITS_HOSTS_FILES, "-e=FLEETCAST_HOST_ID=chosen")
    assert host == "chosen"


@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere the engine's host is another machine")
async def test_processes_of_the_host_and_of_other_containers_are_told_apart(image: str, containers: Containers) -> None:
    name = await containers.run("sh", "-c", "while :; do :; done")
    container_id = await docker("inspect", "--format", "{{.Id}}", name)
    pid = int(await docker("inspect", "--format", "{{.State.Pid}}", name))
    _, _, processes = look(image, *SEES_ITS_HOST)
    (busy,) = [process for process in processes.by_cpu if process.pid == pid]
    assert (busy.name, busy.container_id) == ("sh", container_id)
    assert any(process.container_id is None for process in processes.by_memory)


async def test_where_the_network_counters_are_hidden_only_that_part_is_stale(image: str) -> None:
    hidden = "--mount=type=tmpfs,destination=/host/proc/1/net"
    _, seen, _ = look(image, *SEES_ITS_HOST, hidden)
    assert seen.stale == ("network",)
    assert seen.processes > 5


async def test_where_the_hosts_root_is_not_bound_disks_are_stale_and_not_the_containers(image: str) -> None:
    _, seen, _ = look(image, *SEES_ITS_HOST, "-e=FLEETCAST_HOST_ROOT=/opt")
    assert seen.stale == ("disks",)
    assert seen.disks == ()
