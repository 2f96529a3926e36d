"""The containers collector: lists the engine's containers on a steady clock and publishes what has changed, for as long
as it holds the host's lease.

Independent of the metrics collector. While the engine is away nothing is published: the last state stays, and the
worker's fault says why it is not live. A snapshot that does not reach Redis goes out with the next round.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from common.bus import Bus
from common.docker import Docker
from common.envelope import Version
from common.errors import DockerApiError, DockerUnreachableError
from common.keys import Keys
from common.models import Container
from common.outage import Outage
from common.protection import Protection
from common.protocol import ContainersMessage
from common.settings import ContainersCollectorSettings
from common.whereabouts import Guard
from common.worker import HostWorker, StatePublisher, Tenure
from services.collector.inventory import Inspection, Inventory
from services.collector.pace import Pace
from services.collector.snapshot import LabelFilter

logger = logging.getLogger(__name__)

REPUBLISH_S = 10.0
"""An unchanged snapshot is published again after this, so that its `sampledAt` says that it still holds."""

_DOCKER_TIMEOUT_S = 5.0
_INSPECT_TIMEOUT_S = 2.0
"""One container that hangs in Docker must not take the others' list with it."""

_INSPECTIONS_AT_ONCE = 8
_RETRY_S = 2.0
"""At most this between two tries to reach an engine that is away, however long the interval."""

_MISSED_S = 30.0
"""Docker's status text betrays a restart for a minute (see inventory.py). After half of that without a list it is not
relied on."""


async def run_containers_collector(settings: ContainersCollectorSettings) -> None:
    """Runs until it is cancelled. Raises HostIdConflictError and SettingsError."""
    docker = Docker(settings.docker_host, timeout_s=_DOCKER_TIMEOUT_S)
    bus = Bus(settings.redis_url, Keys(settings.namespace))
    job = partial(
        collect_containers,
        docker=docker,
        guard=Guard(settings),
        label_filter=LabelFilter.parse(settings.labels),
        interval_s=settings.interval,
    )
    try:
        await HostWorker.of(settings, bus, "containers").run(job)
    finally:
        await bus.close()
        await docker.close()


async def collect_containers(
    tenure: Tenure,
    docker: Docker,
    guard: Guard,
    label_filter: LabelFilter,
    interval_s: float,
    republish_s: float = REPUBLISH_S,
) -> None:
    """A tenure's job: never returns."""
    now_s = asyncio.get_running_loop().time
    feed = _Feed(tenure, republish_s)
    inventory = Inventory(label_filter)
    refusal = Outage(f"the list of containers of Docker at {docker.address}", logger)
    ticks = Pace(tenure, "usage", interval_s, interval_s)
    listed_at_s = now_s()
    while True:
        if now_s() - listed_at_s > _MISSED_S:
            inventory.doubt()
        protection = await guard.protection()
        sampled_at = tenure.bus.clock.now_ms()
        try:
            containers = await _look(docker, inventory, protection)
        except (DockerUnreachableError, DockerApiError) as error:
            if isinstance(error, DockerApiError):
                refusal.note(error.message)
                tenure.fault = "stalled docker-error"
            else:
                tenure.fault = "gone docker-unreachable"
            feed.interrupt()
            inventory.doubt()
            await asyncio.sleep(min(interval_s, _RETRY_S))
            continue
        refusal.over()
        tenure.fault = None
        tenure.note_done()
        listed_at_s = now_s()
        await feed.offer(containers, sampled_at)
        await ticks.wait()


class _Feed:
    """Publishes a snapshot that differs from the one last published, that is the first after an interruption, or whose
    like went out too long ago."""

    def __init__(self, tenure: Tenure, republish_s: float) -> None:
        self._host = tenure.host
        self._publisher = StatePublisher(tenure, "containers")
        self._republish_s = republish_s
        self._now_s = asyncio.get_running_loop().time
        self._published: tuple[Container, ...] | None = None
        self._published_at_s = 0.0

    def interrupt(self) -> None:
        self._published = None

    async def offer(self, containers: tuple[Container, ...], sampled_at: int) -> None:
        is_news = containers != self._published or self._now_s() - self._published_at_s >= self._republish_s
        if is_news:
            done = await self._publisher.publish(partial(_encode, self._host, sampled_at, containers))
            self._published = containers if done else None
            self._published_at_s = self._now_s()


def _encode(host: str, sampled_at: int, containers: tuple[Container, ...], version: Version) -> bytes:
    message = ContainersMessage(host=host, epoch=version.epoch, seq=version.seq, sampled_at=sampled_at, data=containers)
    return message.model_dump_json().encode()


async def _look(docker: Docker, inventory: Inventory, protection: Protection) -> tuple[Container, ...]:
    """Raises DockerUnreachableError, and DockerApiError where Docker refuses the list."""
    entries = inventory.read(await docker.list_containers())
    return inventory.snapshot(entries, await _inspect(docker, inventory.to_inspect(entries)), protection)


async def _inspect(docker: Docker, ids: list[str]) -> Mapping[str, Inspection]:
    """What Docker says of each; those are missing of which it says nothing in time. Raises DockerUnreachableError."""
    found: dict[str, Inspection] = {}
    away: list[DockerUnreachableError] = []
    turns = asyncio.Semaphore(_INSPECTIONS_AT_ONCE)

    async def inspect(container_id: str) -> None:
        async with turns:
            try:
                async with asyncio.timeout(_INSPECT_TIMEOUT_S):
                    found[container_id] = await docker.inspect(container_id)
            except DockerApiError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    found[container_id] = None
                else:
                    logger.debug("inspecting %s: %s", container_id, error)
            except DockerUnreachableError as error:
                away.append(error)
            except TimeoutError:
                logger.debug("inspecting %s: no answer within %g s", container_id, _INSPECT_TIMEOUT_S)

    async with asyncio.TaskGroup() as tasks:
        for container_id in ids:
            tasks.create_task(inspect(container_id), name=f"inspect {container_id:.12}")
    if away:
        raise away[0]
    return found
