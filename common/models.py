"""What the system speaks about: hosts' metrics, containers, actions and their outcomes.

Frozen, camelCase on the wire, strict in what they accept. Units stand last in a name; times are integers, milliseconds
since the epoch, UTC, on Redis' clock; percentages of CPU count one core as 100 in `perCorePercent` and all cores as 100
in `percent`; `null` means unknown.
"""

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel


def absent(value: object) -> bool:
    """For `exclude_if`: of an optional field."""
    return value is None


class WireModel(BaseModel):
    """The base of everything that crosses the wire."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


HostId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
ContainerId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
RequestId = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
ContainerRef = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$")]
Millis = Annotated[int, Field(ge=0)]
Bytes = Annotated[int, Field(ge=0)]
Percent = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(ge=0)]


# Host metrics


class Cpu(WireModel):
    percent: Percent
    """Of all cores together, 0 to 100."""
    per_core_percent: tuple[Percent, ...]
    cores: Annotated[int, Field(ge=1)]
    load: tuple[float, float, float]
    """Load averages of 1, 5 and 15 minutes."""


class Memory(WireModel):
    total_bytes: Bytes
    used_bytes: Bytes
    available_bytes: Bytes
    percent: Percent


class Swap(WireModel):
    total_bytes: Bytes
    used_bytes: Bytes
    percent: Percent


class Disk(WireModel):
    mount: str
    total_bytes: Bytes
    used_bytes: Bytes
    percent: Percent


class DiskIo(WireModel):
    read_bytes_per_sec: Rate
    write_bytes_per_sec: Rate


class NetworkInterface(WireModel):
    interface: str
    rx_bytes_per_sec: Rate
    tx_bytes_per_sec: Rate


class Temperature(WireModel):
    sensor: str
    celsius: float


class HostMetrics(WireModel):
    """One sample of a host."""

    cpu: Cpu
    memory: Memory
    swap: Swap
    disks: tuple[Disk, ...]
    disk_io: DiskIo
    network: tuple[NetworkInterface, ...]
    temperatures: tuple[Temperature, ...]
    uptime_sec: Annotated[float, Field(ge=0)]
    processes: Annotated[int, Field(ge=0)]
    stale: tuple[str, ...]
    """Names of the parts above that could not be read in time: their last values stand."""


# Containers

ContainerState = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]
Health = Literal["starting", "healthy", "unhealthy"]


class Port(WireModel):
    ip: str | None
    """The host's address that is bound; null where the port is exposed but not published."""
    host_port: int | None
    container_port: int
    protocol: str


class Container(WireModel):
    """One container as Docker sees it. Never its environment; of its labels only those on the allow-list."""

    id: str
    """All 64 characters."""
    name: str
    image: str
    state: ContainerState
    status: str
    """Docker's own words, `Up 3 minutes (healthy)`."""
    health: Health | None
    """Null where the container has no health check."""
    created_at: Millis
    """This and the two below are Docker's own, on its host's clock, cut to milliseconds."""
    started_at: Millis | None
    """This and the two below are null too while Docker is at the container and answers nothing about it."""
    finished_at: Millis | None
    exit_code: int | None
    """Null while it runs, and before its first run."""
    oom_killed: bool
    restart_count: Annotated[int, Field(ge=0)]
    """Restarts by Docker's restart policy."""
    ports: tuple[Port, ...]
    project: str | None
    """Compose project."""
    service: str | None
    """Compose service."""
    labels: dict[str, str]
    protected: bool
    """True where the executor refuses every action on it."""


class Usage(WireModel):
    """What the running containers use: one array a quantity, aligned with `ids`; null where it is not known."""

    cores: Annotated[int, Field(ge=1)]
    """The host's: `cpuPercent` is at most 100 times this."""
    ids: tuple[str, ...]
    cpu_percent: tuple[Percent | None, ...]
    """100 = one core."""
    memory_bytes: tuple[Bytes | None, ...]
    """As the docker command counts it: without inactive files."""
    memory_limit_bytes: tuple[Bytes | None, ...]
    """The host's memory where the container has no limit."""
    rx_bytes_per_sec: tuple[Rate | None, ...]
    """Over all its interfaces; null on the host's network."""
    tx_bytes_per_sec: tuple[Rate | None, ...]
    read_bytes_per_sec: tuple[Rate | None, ...]
    write_bytes_per_sec: tuple[Rate | None, ...]
    pids: tuple[Annotated[int, Field(ge=0)] | None, ...]


# Processes


class Process(WireModel):
    """One process of a host. Never its command line, which may carry secrets."""

    pid: Annotated[int, Field(ge=1)]
    name: str
    """As the kernel has it, at most 15 characters of Linux'."""
    cpu_percent: Percent
    """100 = one core."""
    memory_bytes: Bytes
    """Resident."""
    container_id: str | None
    """All 64 characters; null outside of containers."""


class Processes(WireModel):
    """The processes that use the most, largest first."""

    by_cpu: tuple[Process, ...]
    by_memory: tuple[Process, ...]


# Actions

ActionVerb = Literal["start", "stop", "restart", "kill", "pause", "unpause", "remove"]
ActionStatus = Literal["accepted", "running", "succeeded", "failed", "expired", "rejected", "unknown"]
FINAL_STATUSES: frozenset[ActionStatus] = frozenset({"succeeded", "failed", "expired", "rejected", "unknown"})


MAX_TARGETS = 100
"""Containers that one message may name."""

TargetIndex = Annotated[int, Field(ge=0, lt=MAX_TARGETS)]


class Cause(WireModel):
    """The action of ours that made a container's transition."""

    request_id: RequestId
    target: Annotated[TargetIndex | None, Field(exclude_if=absent)] = None
    """Optional: which of its message's targets."""
    actor: str
    action: ActionVerb


class Expectation(WireModel):
    """What the user saw; the action happens only while it is still so."""

    id: ContainerId | None = None
    state: ContainerState | None = None
    started_at: Millis | None = None
    """As the snapshot had it."""


class Action(WireModel):
    """What is to be done, to which container, by whose word: what an order and a record have in common."""

    request_id: RequestId
    target: Annotated[TargetIndex | None, Field(exclude_if=absent)] = None
    """Optional: which of its message's targets this is; without it the message named one container."""
    host: HostId
    container_id: ContainerId
    name: str = ""
    """The container's, when the action was submitted; empty where it was not known."""
    action: ActionVerb
    actor: str
    edge_id: str = ""
    """The edge that took it."""
    deadline: Millis
    """After this it must not begin any more."""
    timeout_sec: Annotated[int | None, Field(exclude_if=absent)] = None
    """Optional: Docker's grace before it kills, for `stop` and `restart`; without it the container's own."""

    @property
    def key(self) -> "ActionKey":
        return ActionKey(self.host, self.request_id, self.target)


class ActionKey(NamedTuple):
    """Which action: its host, its client's `requestId`, and its place among that message's targets."""

    host: str
    request_id: str
    target: int | None = None

    def __str__(self) -> str:
        return self.request_id if self.target is None else f"{self.request_id}[{self.target}]"


class ActionOrder(Action):
    """An accepted action, as it stands in a host's stream."""

    expect: Expectation | None = None


class ActionRecord(Action):
    """Where an action stands: the truth that acks only hint at, and, once it is settled, its entry in the audit."""

    model_config = ConfigDict(extra="ignore")

    status: ActionStatus
    at: Millis
    """When `status` was reached."""
    accepted_at: Annotated[Millis | None, Field(exclude_if=absent)] = None
    """Optional: when an edge took it."""
    started_at: Annotated[Millis | None, Field(exclude_if=absent)] = None
    """Optional: when the executor began."""
    executor: Annotated[str | None, Field(exclude_if=absent)] = None
    """Optional: which process has it, or had it: machine and instance."""
    error: Annotated[str | None, Field(exclude_if=absent)] = None
    """Optional: why it is `failed`, `expired`, `rejected` or `unknown`."""
    duration_ms: Annotated[int | None, Field(exclude_if=absent)] = None
    """Optional: how long Docker took."""
    noop: Annotated[bool | None, Field(exclude_if=absent)] = None
    """Optional: true where it succeeded without a change: it was so already."""
