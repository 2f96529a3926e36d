"""What settings may be: their kinds, each with what is wrong with others, and the defaults that a machine gives."""

import os
import re
import socket
import uuid
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from common.sentinel_url import SentinelUrl

VERBS = ("start", "stop", "restart", "kill", "pause", "unpause", "remove")
"""What can be done to a container. (The models are not imported here: they take a while to build.)"""

MAX_HOST_LABELS = 16

LABEL_WORD = re.compile(r"[A-Za-z0-9._/-]{1,63}")
"""A host label's key, or its value."""


def _redis_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme in {"redis+sentinel", "rediss+sentinel"}:
        SentinelUrl.parse(url)  # raises ValueError that says what is wrong
        return url
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must begin with redis://, rediss://, unix://, redis+sentinel:// or rediss+sentinel://")
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("unix:// needs the path of a socket: unix:///run/valkey.sock")
    if parts.scheme != "unix":
        if not parts.hostname:
            raise ValueError("names no server: redis://localhost:6379")
        _ = parts.port  # raises ValueError where it is no port
    return url


def _docker_host(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in {"unix", "tcp", "http", "https"} or not rest:
        raise ValueError("must be unix:///path/to/docker.sock or tcp://host:port")
    return address


def _host_id(host: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", host):
        raise ValueError("a host id has 1 to 64 of A-Z a-z 0-9 . _ -")
    return host


def _address(address: str) -> str:
    if address != "localhost":
        try:
            ip_address(address)
        except ValueError:
            raise ValueError("must be an IP address of this machine, such as 127.0.0.1") from None
    return address


def _networks(networks: str) -> str:
    for network in filter(None, (part.strip() for part in networks.split(","))):
        if network != "*":
            try:
                ip_network(network)
            except ValueError as wrong:
                raise ValueError(f"{wrong}; write addresses or networks such as 10.0.0.0/8") from None
    return networks


def _host_proc(proc: Path) -> Path:
    proc = Path(os.path.realpath(proc))
    if proc != Path("/proc") and not os.path.isfile(proc / "stat"):  # not everything that runs this has a /proc
        raise ValueError("is no /proc of a host: bind it there (-v /proc:/host/proc:ro)")
    return proc


def _host_root(root: Path) -> Path:
    if not os.path.isdir(root):
        raise ValueError("is no directory: bind the host's / there (-v /:/host/root:ro)")
    return Path(os.path.realpath(root))


def _verbs(verbs: str) -> str:
    chosen = [verb.strip() for verb in verbs.split(",") if verb.strip()]
    if wrong := [verb for verb in chosen if verb not in VERBS]:
        raise ValueError(f"{wrong[0]!r:.40} is none of {', '.join(VERBS)}")
    return ",".join(chosen)


def _selectors(selectors: str) -> str:
    for selector in filter(None, (part.strip() for part in selectors.split(","))):
        if not re.fullmatch(r"[^=\s]+(=.*)?", selector):
            raise ValueError(f"{selector!r:.80} is no label selector: write LABEL or LABEL=VALUE, * fits anything")
    return selectors


def parse_host_labels(labels: str) -> dict[str, str]:
    """`env=prod,region=eu-1` by key, in their order. Raises ValueError that says what is wrong."""
    found: dict[str, str] = {}
    for label in filter(None, (part.strip() for part in labels.split(","))):
        key, separator, value = label.partition("=")
        if not separator or not LABEL_WORD.fullmatch(key) or not LABEL_WORD.fullmatch(value):
            raise ValueError(f"{label!r:.80} is no label: write KEY=VALUE, each 1 to 63 of A-Z a-z 0-9 . _ - /")
        if key in found:
            raise ValueError(f"{key} stands twice in it")
        found[key] = value
    if len(found) > MAX_HOST_LABELS:
        raise ValueError(f"a host has at most {MAX_HOST_LABELS} labels")
    return found


def _host_labels(labels: str) -> str:
    parse_host_labels(labels)
    return labels


def _log_level(level: str) -> str:
    if level.lower() not in {"debug", "info", "warning", "error"}:
        raise ValueError("must be debug, info, warning or error")
    return level.lower()


def default_host_id() -> str:
    """This machine's name; in a container that was given none, its id: see common/host_id.py."""
    return fit_host_id(socket.gethostname())


def fit_host_id(name: str) -> str:
    """A machine's name, with what a host id may not have replaced."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:64] or "localhost"


def default_edge_id() -> str:
    """This machine's name and a random part: edges come and go, and none is mistaken for another."""
    return f"{default_host_id()[:50]}-{uuid.uuid4().hex[:6]}"


def default_docker_host() -> str:
    """Docker's usual socket; where that does not exist, that of a rootless Docker, of Docker Desktop, or of Podman."""
    of_the_user = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"))
    others = (
        of_the_user / "docker.sock",
        Path(os.path.expanduser("~/.docker/run/docker.sock")),
        Path("/run/podman/podman.sock"),
        of_the_user / "podman/podman.sock",
    )
    return f"unix://{first_present(Path('/var/run/docker.sock'), *others)}"


def first_present(preferred: Path, *others: Path) -> Path:
    """The first that exists, as far as this user may see; the preferred one where none does."""
    for path in (preferred, *others):
        try:
            if path.exists():
                return path
        except PermissionError:  # Podman's folder is root's own
            continue
    return preferred


def default_state_dir() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "fleetcast"


Port = Annotated[int, Field(ge=0, le=65535)]
Interval = Annotated[float, Field(ge=0.05, le=3600)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
DockerHost = Annotated[str, AfterValidator(_docker_host)]
Address = Annotated[str, AfterValidator(_address)]
Networks = Annotated[str, AfterValidator(_networks)]
HostProc = Annotated[Path, AfterValidator(_host_proc)]
HostRoot = Annotated[Path, AfterValidator(_host_root)]
Verbs = Annotated[str, AfterValidator(_verbs)]
Selectors = Annotated[str, AfterValidator(_selectors)]
LogLevel = Annotated[str, AfterValidator(_log_level)]
HostId = Annotated[str, AfterValidator(_host_id)]
HostLabels = Annotated[str, AfterValidator(_host_labels)]
