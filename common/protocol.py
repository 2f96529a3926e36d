"""The WebSocket protocol, version 1: one JSON text frame a message, told apart by `type`.

This module is the contract: docs/PROTOCOL.md and the JSON Schema (common/schema.py) are made from it.
A field marked optional is left out where it has no value; every other field is always there.
"""

import json
import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from common.errors import ErrorCode, ProtocolError
from common.models import (
    MAX_TARGETS,
    ActionStatus,
    ActionVerb,
    Cause,
    Container,
    ContainerRef,
    ContainerState,
    Expectation,
    Health,
    HostId,
    HostMetrics,
    Millis,
    Processes,
    RequestId,
    TargetIndex,
    Usage,
    WireModel,
    absent,
)

PROTOCOL_VERSION = 1

Topic = Literal["metrics", "containers", "usage", "processes", "events", "hosts"]
TOPICS: tuple[Topic, ...] = get_args(Topic)


# Client to server

_ChannelName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
_Channels = Annotated[tuple[_ChannelName, ...], Field(min_length=1, max_length=1000)]


class Subscribe(WireModel):
    """Get the last state of each matching host at once, then every change. Twice is once."""

    type: Literal["subscribe"]
    channels: _Channels
    """`metrics`, `containers`, `usage`, `processes`, `events` or `hosts`, each alone (every host) or as
    `metrics:<host>`."""


class Unsubscribe(WireModel):
    """Undo `subscribe`, channel by channel as they were named; what was not subscribed is no error."""

    type: Literal["unsubscribe"]
    channels: _Channels


class Target(WireModel):
    """One of the containers that a message names."""

    host: HostId | None = None
    """May be left out while the fleet has one host."""
    container_id: ContainerRef
    """Id, unambiguous id prefix, or name."""
    expect: Expectation | None = None
    """Act only while this is still so."""


class ContainerAction(WireModel):
    """Do something to a container, or to each of several. Answered with `container-ack` messages, or with an `error`.

    It names one container (`containerId`, with `host` and `expect`), or up to 100 in `targets`. Each target is an
    action of its own, with its own acks and outcome; they are told apart by `target`, its index.
    """

    type: Literal["container-action"]
    request_id: RequestId
    """Made by the client, unique: the idempotency key. Sent again, it gets the same action's present state."""
    host: HostId | None = None
    """May be left out while the fleet has one host."""
    container_id: ContainerRef | None = None
    """Id, unambiguous id prefix, or name. Required where there are no `targets`."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=MAX_TARGETS)] | None = None
    """Several containers instead of one: then without `host`, `containerId` and `expect`."""
    action: ActionVerb
    timeout_sec: Annotated[int, Field(ge=0, le=3600)] | None = None
    """Docker's grace before it kills, for `stop` and `restart`; without it the container's own."""
    expires_in_sec: Annotated[int, Field(ge=1, le=3600)] = 30
    """What has not begun by then will not begin."""
    expect: Expectation | None = None
    """Act only while this is still so."""

    @model_validator(mode="after")
    def _names_one_or_several(self) -> Self:
        if self.targets is None and self.container_id is None:
            raise ValueError("containerId or targets is required")
        if self.targets is not None and (self.container_id or self.host or self.expect):
            raise ValueError("targets stands instead of host, containerId and expect")
        return self


class Ping(WireModel):
    """Answered with a `heartbeat` that carries the nonce."""

    type: Literal["ping"]
    nonce: Annotated[str, StringConstraints(max_length=128)] | None = None


ClientMessage = Annotated[Subscribe | Unsubscribe | ContainerAction | Ping, Field(discriminator="type")]


# Server to client

Role = Literal["viewer", "operator", "admin"]
LinkState = Literal["live", "stalled", "gone"]
Expected = Literal["always", "sometimes"]
UsageSource = Literal["cgroup", "stats"]


class Connected(WireModel):
    """The first message."""

    type: Literal["connected"] = "connected"
    client_id: str
    edge_id: str
    protocol: Literal[1] = 1
    server_time: Millis
    heartbeat_interval_ms: int
    user: str
    role: Role


class MetricsMessage(WireModel):
    """A host's metrics."""

    type: Literal["metrics"] = "metrics"
    host: HostId
    epoch: Millis
    """Names one run of the collector; a later run has a higher one."""
    seq: Millis
    """Counts up by one within an epoch."""
    sampled_at: Millis
    data: HostMetrics


class ContainersMessage(WireModel):
    """All containers of a host."""

    type: Literal["containers"] = "containers"
    host: HostId
    epoch: Millis
    seq: Millis
    sampled_at: Millis
    data: tuple[Container, ...]


class UsageMessage(WireModel):
    """What the running containers of a host use."""

    type: Literal["usage"] = "usage"
    host: HostId
    epoch: Millis
    seq: Millis
    sampled_at: Millis
    data: Usage


class ProcessesMessage(WireModel):
    """The processes of a host that use the most; sampled only while somebody watches them."""

    type: Literal["processes"] = "processes"
    host: HostId
    epoch: Millis
    seq: Millis
    sampled_at: Millis
    data: Processes


class EventMessage(WireModel):
    """A container's transition and its cause: it came, changed its state or its health, or went."""

    type: Literal["event"] = "event"
    host: HostId
    container_id: str
    """All 64 characters."""
    name: str
    from_: Annotated[ContainerState | None, Field(alias="from")]
    """Null where it was not there before."""
    to: ContainerState | None
    """Null where it is gone. The same as `from` where only its health has changed."""
    at: Millis
    """When it happened; of what no event of Docker's told, when it was noticed, or as its inspection says."""
    exit_code: Annotated[int | None, Field(exclude_if=absent)] = None
    """Optional: of the run that ended with this."""
    oom_killed: Annotated[bool | None, Field(exclude_if=absent)] = None
    """Optional: true where the run ended because it was out of memory."""
    health: Annotated[Health | None, Field(exclude_if=absent)] = None
    """Optional: the new health, where this is about it."""
    cause: Cause | Literal["docker"]
    """The action that made it, or `docker`: the container itself, its restart policy, or somebody at the engine."""


class Link(WireModel):
    """Whether a host's worker does its job now, and if not, why."""

    state: LinkState
    reason: Annotated[str | None, Field(exclude_if=absent)] = None
    """Optional: `docker-unreachable`, `silent`, `stopped`, `never-seen`, `bus-unreachable`, ...; of a live executor:
    `insecure-unsigned`, it does actions that nobody has signed."""
    interval_ms: Annotated[int | None, Field(exclude_if=absent)] = None
    """Optional: milliseconds between two samples while somebody watches, where they are more than 1000."""


class Links(WireModel):
    metrics: Link
    containers: Link
    executor: Link


class HostStatus(WireModel):
    host: HostId
    status: LinkState
    """The best of the three links: whether anything on the host is there."""
    expected: Expected
    """`sometimes`: it may be off, and nobody has to worry where it is gone."""
    last_seen_at: Millis
    """When any of its workers was last seen."""
    links: Links
    labels: dict[str, str]
    """What its workers were given with FLEETCAST_HOST_LABELS, such as `env` and `region`; where they differ, the word
    of the metrics collector counts first, then that of the containers collector."""
    usage: Annotated[UsageSource | None, Field(exclude_if=absent)] = None
    """Optional: where its containers' usage is read. `cgroup`: the kernel's files; `stats`: the engine's statistics,
    where those cannot be seen."""
    actions: Annotated[tuple[ActionVerb, ...] | None, Field(exclude_if=absent)] = None
    """Optional: what its executor may do at all (FLEETCAST_ALLOW_ACTIONS); left out while none has said it."""


class HostsMessage(WireModel):
    """The roster; sent whenever a status or a link changes."""

    type: Literal["hosts"] = "hosts"
    hosts: tuple[HostStatus, ...]


class ContainerAck(WireModel):
    """Where an action stands: `accepted`, `running`, then a final status; one may be skipped, none goes back."""

    type: Literal["container-ack"] = "container-ack"
    request_id: RequestId
    target: Annotated[TargetIndex | None, Field(exclude_if=absent)] = None
    """Optional: which of the message's targets this is about, from 0."""
    host: HostId
    container_id: str
    """All 64 characters, whatever the action named."""
    action: ActionVerb
    status: ActionStatus
    at: Millis
    actor: str
    error: Annotated[str | None, Field(exclude_if=absent)] = None
    """Optional: why it is `failed`, `expired`, `rejected` or `unknown`."""
    duration_ms: Annotated[int | None, Field(exclude_if=absent)] = None
    """Optional: how long Docker took."""
    noop: Annotated[bool | None, Field(exclude_if=absent)] = None
    """Optional: true where it succeeded without a change, for it was so already."""


class Heartbeat(WireModel):
    """Sent every `heartbeatIntervalMs`, whatever else flows, and in answer to a `ping`."""

    type: Literal["heartbeat"] = "heartbeat"
    server_time: Millis
    nonce: Annotated[str | None, Field(exclude_if=absent)] = None
    """Optional: the ping's."""


class Error(WireModel):
    """A message that could not be served. The connection goes on."""

    type: Literal["error"] = "error"
    code: ErrorCode
    message: str
    request_id: Annotated[str | None, Field(exclude_if=absent)] = None
    """Optional: the action's."""
    target: Annotated[TargetIndex | None, Field(exclude_if=absent)] = None
    """Optional: which of the action's targets this is about; without it, all of them."""


ServerMessage = Annotated[
    Connected
    | MetricsMessage
    | ContainersMessage
    | UsageMessage
    | ProcessesMessage
    | EventMessage
    | HostsMessage
    | ContainerAck
    | Heartbeat
    | Error,
    Field(discriminator="type"),
]

_client_message: TypeAdapter[ClientMessage] = TypeAdapter(ClientMessage)
_server_message: TypeAdapter[ServerMessage] = TypeAdapter(ServerMessage)


def parse_client_message(text: str | bytes) -> ClientMessage:
    """Reads one client frame. Raises ProtocolError (`invalid-message`) that names the field, and nothing else."""
    try:
        return _client_message.validate_json(text)
    except ValidationError as invalid:
        raise ProtocolError("invalid-message", _explain(invalid), _request_id_in(text)) from None


def parse_server_message(text: str | bytes) -> ServerMessage:
    """Reads one server frame, for clients in Python; fields that a later version has added are ignored. Raises
    ProtocolError."""
    try:
        return _server_message.validate_json(text, extra="ignore")
    except ValidationError as invalid:
        raise ProtocolError("invalid-message", _explain(invalid)) from None


def _explain(invalid: ValidationError) -> str:
    """The first few problems in one line: `channels.0: Input should be a valid string`."""
    problems = invalid.errors(include_url=False, include_context=False, include_input=False)
    told = [
        f"{_place(problem['type'], problem['loc'])}{problem['msg'].removeprefix('Value error, ')}"
        for problem in problems[:3]
    ]
    return "; ".join(told)[:500]


def _place(kind: str, loc: tuple[int | str, ...]) -> str:
    if kind.startswith("union_tag"):
        return "type: "
    # The union's tag comes first in a location; to the client it is no field.
    path = [str(part) for part in loc[1:]]
    return f"{'.'.join(path)}: " if path else ""


_PRINTABLE_ID = re.compile(r"[!-~]{1,128}\Z")


def _request_id_in(text: str | bytes) -> str | None:
    """The request id of a message that is invalid otherwise, so that its sender knows which action was refused."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    request_id = found.get("requestId") if isinstance(found, dict) else None
    return request_id if isinstance(request_id, str) and _PRINTABLE_ID.match(request_id) else None


# Channels


def parse_channel(name: str) -> tuple[Topic, str | None]:
    """`metrics:web-1` → (`metrics`, `web-1`); `metrics` → (`metrics`, None). Raises ProtocolError."""
    topic, separator, host = name.partition(":")
    for known in TOPICS:
        if topic == known:
            if not separator:
                return known, None
            if _HOST_ID.match(host):
                return known, host
            raise ProtocolError(
                "invalid-message", f"channels: {name!r:.140}: a host id has 1 to 64 of A-Z a-z 0-9 . _ -"
            )
    raise ProtocolError(
        "unknown-channel", f"channels: {name!r:.140} is none of {', '.join(TOPICS)}, alone or with :<host>"
    )


_HOST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
