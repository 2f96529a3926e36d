"""Docker's raw JSON → one Container. Pure.

What is read of a container, and from where: who it is and how it is from its entry in the list, which is newer; when it
ran and how that ended from its inspection, which Docker gives for one container at a time. Never its environment.
Whatever Docker (or what takes its place) sends, nothing but MalformedError is raised.

Times are Docker's own, on its host's clock: they are compared with what an inspection says, to tell runs apart, and so
are not moved to Redis' clock. They are cut, not rounded, to milliseconds.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from common.docker import parse_time
from common.errors import MalformedError
from common.models import Container, ContainerState, Health, Port

MAX_LABEL_CHARS = 4096
"""A longer value is cut and ends in `…`: whoever writes an image's labels must not decide how large a message is."""

MAX_LABELS = 64
"""Compose and OCI together write about 25. The rest, in alphabetical order, is left out."""

MAX_PORTS = 256
"""A container may publish a range of 65535; who wants to see those asks Docker."""

_PROJECT_LABEL = "com.docker.compose.project"
_SERVICE_LABEL = "com.docker.compose.service"

_STATES: tuple[ContainerState, ...] = get_args(ContainerState)
_HEALTHS: tuple[Health, ...] = get_args(Health)
_ALIVE = frozenset[ContainerState]({"running", "paused"})


def _encodable(text: str) -> str:
    """JSON may spell half a character (`\\ud800`), which nothing can be sent as."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


_Text = Annotated[str, AfterValidator(_encodable)]


class _FromDocker(BaseModel):
    """What we read of Docker's objects; fields that may be missing may be null too."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _ListedPort(_FromDocker):
    ip: _Text | None = Field(None, alias="IP")
    private: Annotated[int, Field(alias="PrivatePort", ge=0, le=65535)]
    public: Annotated[int | None, Field(alias="PublicPort", ge=0, le=65535)] = None
    protocol: _Text = Field("tcp", alias="Type")


class Listed(_FromDocker):
    """An entry of the list of containers."""

    id: Annotated[str, Field(alias="Id", pattern=r"^[0-9a-f]{64}$")]
    names: tuple[_Text, ...] | None = Field(None, alias="Names")
    image: _Text | None = Field(None, alias="Image")
    created_sec: int | None = Field(None, alias="Created")
    ports: tuple[_ListedPort, ...] | None = Field(None, alias="Ports")
    labels: dict[_Text, _Text] | None = Field(None, alias="Labels")
    state: str = Field(alias="State")
    status: _Text = Field("", alias="Status")


class _Health(_FromDocker):
    status: str | None = Field(None, alias="Status")


class _State(_FromDocker):
    status: str | None = Field(None, alias="Status")
    started_at: str | None = Field(None, alias="StartedAt")
    finished_at: str | None = Field(None, alias="FinishedAt")
    pid: int | None = Field(None, alias="Pid")
    exit_code: int | None = Field(None, alias="ExitCode")
    oom_killed: bool | None = Field(None, alias="OOMKilled")
    health: _Health | None = Field(None, alias="Health")


class _Config(_FromDocker):
    image: _Text | None = Field(None, alias="Image")


class _HostConfig(_FromDocker):
    network_mode: str | None = Field(None, alias="NetworkMode")


class Inspected(_FromDocker):
    """An inspection of one container."""

    created: str | None = Field(None, alias="Created")
    restart_count: Annotated[int | None, Field(alias="RestartCount", ge=0)] = None
    state: _State = Field(alias="State")
    config: _Config | None = Field(None, alias="Config")
    host_config: _HostConfig | None = Field(None, alias="HostConfig")


NOTHING_SAID = Inspected.model_validate({"State": {}})
"""Of a container that Docker has not answered about."""


def read_listed(raw: object) -> Listed:
    """Raises MalformedError."""
    try:
        return Listed.model_validate(raw)
    except ValidationError as invalid:
        raise _unreadable(invalid) from None


def read_inspected(raw: object) -> Inspected:
    """Raises MalformedError."""
    try:
        return Inspected.model_validate(raw)
    except ValidationError as invalid:
        raise _unreadable(invalid) from None


def as_inspected(listed: Listed, inspected: Inspected) -> Listed:
    """The list's entry with the state that the inspection, made after the list, has found."""
    status = inspected.state.status
    return listed.model_copy(update={"state": status}) if status in _STATES and status != listed.state else listed


@dataclass(frozen=True)
class LabelFilter:
    """Which labels leave the host: compose's, OCI's, Fleetcast's, and those that a setting adds. Others may be secret.

    The setting names labels, or prefixes that end in `*`, with commas between.
    """

    names: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ("com.docker.compose.", "org.opencontainers.image.", "fleetcast.")

    @classmethod
    def parse(cls, setting: str) -> Self:
        added = [word.strip() for word in setting.split(",") if word.strip()]
        return cls(
            names=frozenset(word for word in added if not word.endswith("*")),
            prefixes=cls.prefixes + tuple(word[:-1] for word in added if word.endswith("*")),
        )

    def publishable(self, labels: Mapping[str, str]) -> dict[str, str]:
        allowed = [name for name in sorted(labels) if name in self.names or name.startswith(self.prefixes)]
        return {_shortened(name): _shortened(labels[name]) for name in allowed[:MAX_LABELS]}


def describe(listed: Listed, inspected: Inspected, label_filter: LabelFilter, *, protected: bool) -> Container:
    """The container as clients see it. Raises MalformedError where Docker says of it what cannot be."""
    state = _state(listed.state)
    ran = inspected.state
    labels = listed.labels or {}
    created_at = parse_time(inspected.created) or max(0, (listed.created_sec or 0) * 1000)
    try:
        return Container(
            id=listed.id,
            name=_name(listed),
            image=_shortened((inspected.config and inspected.config.image) or listed.image or ""),
            state=state,
            status=_shortened(listed.status),
            health=_health(state, ran.health, listed.status),
            created_at=created_at,
            started_at=parse_time(ran.started_at),
            finished_at=parse_time(ran.finished_at),
            exit_code=None if state in _ALIVE or state == "created" else ran.exit_code,
            oom_killed=bool(ran.oom_killed),
            restart_count=inspected.restart_count or 0,
            ports=_ports(listed.ports or ()),
            project=_optional(labels.get(_PROJECT_LABEL)),
            service=_optional(labels.get(_SERVICE_LABEL)),
            labels=label_filter.publishable(labels),
            protected=protected,
        )
    except ValidationError as invalid:
        raise _unreadable(invalid) from None


def _state(state: str) -> ContainerState:
    for known in _STATES:
        if state == known:
            return known
    raise MalformedError("container", f"unknown state {state!r:.40}")


def _health(state: ContainerState, said: _Health | None, status: str) -> Health | None:
    """From the inspection, or where that has no word of it (Podman's) from the list's `Up 2 minutes (healthy)`. Nobody
    checks the health of a container that does not run, although Docker still tells the last result."""
    if state not in _ALIVE:
        return None
    if said is not None:
        word = said.status
    else:
        found = re.search(r"\((?:health: )?(starting|healthy|unhealthy)\)", status)
        word = found[1] if found else None
    return next((health for health in _HEALTHS if health == word), None)


def _name(listed: Listed) -> str:
    """Its own name: links add names with two slashes (`/web/db`)."""
    names = listed.names or ()
    own = next((name for name in names if name.rfind("/") <= 0), names[0] if names else "")
    return own.removeprefix("/")[:MAX_LABEL_CHARS] or listed.id[:12]


def _ports(listed: Sequence[_ListedPort]) -> tuple[Port, ...]:
    """Without repetition, sorted by container port."""
    found = {(port.private, port.protocol, port.public or None, port.ip or None) for port in listed}
    ordered = sorted(found, key=lambda port: (port[0], port[1], port[2] or 0, port[3] or ""))
    return tuple(
        Port(ip=ip, host_port=public, container_port=private, protocol=protocol)
        for private, protocol, public, ip in ordered[:MAX_PORTS]
    )


def _optional(label: str | None) -> str | None:
    return _shortened(label) if label else None


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_LABEL_CHARS else text[: MAX_LABEL_CHARS - 1] + "…"


def _unreadable(invalid: ValidationError) -> MalformedError:
    problem = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
    return MalformedError("container", f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"[:200])
