"""Asks the Docker engine."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from common.docker import Docker
from common.errors import DockerApiError, DockerUnreachableError, DockerVersionError, SettingsError
from common.settings import DoctorSettings
from services.doctor.finding import Finding


async def check_docker(settings: DoctorSettings) -> AsyncIterator[Finding]:
    try:
        docker = Docker(settings.docker_host, timeout_s=5.0)
    except SettingsError as wrong:
        yield Finding("docker", "failed", str(wrong), "name the engine in DOCKER_HOST: unix:///var/run/docker.sock")
        return
    try:
        version = await docker.version()
        listed = await docker.list_containers()
        yield judge_engine(docker.address, version, listed)
    except DockerVersionError as error:
        yield Finding("docker", "failed", str(error), "containers are neither shown nor acted on until then")
    except DockerUnreachableError as error:
        yield Finding("docker", "failed", str(error), advice_for(docker.address, error.reason))
    except DockerApiError as error:
        yield Finding(
            "docker",
            "failed",
            f"what is at {docker.address} refuses: {error}",
            "a proxy before the engine must let through /version, /info, /events and /containers/",
        )
    finally:
        await docker.close()


def judge_engine(address: str, version: Mapping[str, Any], containers: list[dict[str, Any]]) -> Finding:
    running = sum(container.get("State") == "running" for container in containers)
    name = next((part.get("Name") for part in version.get("Components") or () if isinstance(part, Mapping)), "Docker")
    said = f"{name} {version.get('Version', '?')} (API {version.get('ApiVersion', '?')}) at {address}"
    return Finding("docker", "ok", f"{said}: {running} of {len(containers)} containers running")


def advice_for(address: str, reason: str) -> str:
    said = reason.lower()
    path = address.removeprefix("unix://")
    if "permission" in said:
        return f"who runs this may not open {path}: run it as root, or `usermod -aG docker USER` and sign in again"
    if address.startswith("unix://"):
        return f"start it (systemctl start docker), or name its socket in DOCKER_HOST instead of {path}"
    return "start it, and check DOCKER_HOST and what lies between"
