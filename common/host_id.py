"""Which name a host has in the fleet: the one that was set, else the machine's.

A container without `uts: host` has a name of its own, the beginning of its id, which another one has after each
`docker run`. There the machine's name is read where the host's files are bound to, or asked of the engine.
"""

import asyncio
import logging
import socket
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from common.backoff import Backoff
from common.errors import DockerApiError, DockerUnreachableError, SettingsError
from common.outage import Outage
from common.setting_kinds import fit_host_id
from common.settings import MetricsCollectorSettings, WorkerSettings
from common.whereabouts import own_container_id

if TYPE_CHECKING:
    from common.docker import Docker  # not imported: it takes megabytes, and the metrics collector does without

logger = logging.getLogger(__name__)

_MOST_BYTES = 4096
"""Of a file that holds a name."""


def is_own_id(hostname: str, container_id: str | None) -> bool:
    """Whether this is the name that the engine gives a container that was given none. Pure."""
    return container_id is not None and len(hostname) >= 12 and container_id.startswith(hostname)


def name_in(text: str) -> str | None:
    """From /etc/hostname (hostname(5)): its first line that is no comment. None where that names no machine. Pure."""
    for line in text.splitlines():
        name = line.strip()
        if name and not name.startswith("#"):
            return name if _tells_apart(name) else None
    return None


def read_host_id(settings: MetricsCollectorSettings) -> str:
    """For who has the host's files. Raises SettingsError."""
    if not _needs_the_machines_name(settings):
        return settings.host_id
    where = settings.host_root / "etc/hostname"
    if settings.host_root == Path("/"):  # this one is the container's
        raise _unknown("the host's / is not bound to where --host-root says")
    try:
        with open(where, "rb") as file:
            name = name_in(file.read(_MOST_BYTES).decode(errors="replace"))
    except OSError as error:
        raise _unknown(f"{where} cannot be read ({error.strerror})") from None
    if name is None:
        raise _unknown(f"{where} names no machine")
    return _found(name, str(where))


async def ask_host_id(settings: WorkerSettings, docker: "Docker") -> str:
    """For who has the engine: an absent one is waited for. Raises SettingsError."""
    if not _needs_the_machines_name(settings):
        return settings.host_id
    backoff = Backoff()
    refusals = Outage(f"the name of the machine that the Docker engine at {docker.address} runs on", logger)
    while True:
        try:
            name = (await docker.info()).get("Name")
        except DockerUnreachableError as error:
            logger.debug("no name yet: %s", error)  # the client has said it
        except DockerApiError as error:
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:  # a proxy that lets only some requests through
                raise _unknown(f"the Docker engine does not tell its machine's ({error})") from None
            refusals.note(str(error))
        else:
            refusals.over()
            if not isinstance(name, str) or not _tells_apart(name):
                raise _unknown(f"the Docker engine does not tell its machine's (it is {name!r:.100})")
            return _found(name, f"the Docker engine at {docker.address}")
        await asyncio.sleep(backoff.next_delay())


def _needs_the_machines_name(settings: WorkerSettings) -> bool:
    return "host_id" not in settings.model_fields_set and is_own_id(socket.gethostname(), own_container_id())


def _tells_apart(name: str) -> bool:
    return bool(name.strip()) and name.partition(".")[0] != "localhost"


def _found(name: str, where: str) -> str:
    host_id = fit_host_id(name)
    logger.info("this host is %s in the fleet, after %s; FLEETCAST_HOST_ID gives it another name", host_id, where)
    return host_id


def _unknown(why: str) -> SettingsError:
    return SettingsError(
        "--host-id / FLEETCAST_HOST_ID", f"must be set: this container's name is its id, and {' '.join(why.split())}"
    )
