"""What the edge's HTTP routes take and answer, beside the messages that they share with the WebSocket."""

import uuid
from typing import Annotated

from pydantic import Field

from common.models import (
    ActionRecord,
    ActionVerb,
    Bytes,
    Expectation,
    HostId,
    Millis,
    Percent,
    Rate,
    RequestId,
    WireModel,
    absent,
)
from common.protocol import EventMessage

# Taken


class ActionRequest(WireModel):
    """What to do to the container that the path names; the fields mean what they mean in a `container-action`."""

    request_id: RequestId = Field(default_factory=lambda: uuid.uuid4().hex)
    """The idempotency key. Without it the edge makes one, and a request that is sent again is another action."""
    action: ActionVerb
    timeout_sec: Annotated[int, Field(ge=0, le=3600)] | None = None
    expires_in_sec: Annotated[int, Field(ge=1, le=3600)] = 30
    expect: Expectation | None = None


# Answered


class EdgeStatus(WireModel):
    """The answer of `GET /api/ws`."""

    edge_id: str
    version: str
    """Fleetcast's."""
    protocol: int
    server_time: Millis
    ready: bool
    """Whether this edge is to be given clients now."""
    reason: str | None
    """Why not; null where it is."""
    clients: Annotated[int, Field(ge=0)]
    hosts: Annotated[int, Field(ge=0)]


class HostEvents(WireModel):
    """The answer of `GET /api/hosts/{host}/events`."""

    host: HostId
    events: tuple[EventMessage, ...]
    """The last ones, the oldest first."""


class LastEvents(WireModel):
    """The answer of `GET /api/events/last`."""

    events: tuple[EventMessage, ...]
    """The last ones of all hosts, the oldest first."""


class AuditPage(WireModel):
    """The answer of `GET /api/audit`."""

    entries: tuple[ActionRecord, ...]
    """Actions that are settled, the newest first."""
    before: Millis | None
    """What to ask with for the next page; null where this was all."""


Column = tuple[Percent | None, ...]
BytesColumn = tuple[Bytes | None, ...]
RateColumn = tuple[Rate | None, ...]


class MetricsColumns(WireModel):
    """One array a quantity, aligned with `sampledAt`; null where it was not known."""

    sampled_at: tuple[Millis, ...]
    """In order. Of a minute's mean: when it began. With `points`: of the last sample of each row."""
    cpu_percent: Column
    per_core_percent: tuple[Column, ...]
    """One array a core."""
    load1: tuple[float | None, ...]
    memory_used_bytes: BytesColumn
    memory_total_bytes: BytesColumn
    swap_used_bytes: BytesColumn
    disks: dict[str, Column]
    """Percent used, by mount."""
    read_bytes_per_sec: RateColumn
    write_bytes_per_sec: RateColumn
    rx_bytes_per_sec: RateColumn
    """This and the next, over all interfaces."""
    tx_bytes_per_sec: RateColumn
    temperatures: dict[str, tuple[float | None, ...]]
    """Degrees Celsius, by sensor."""


class ContainerColumns(WireModel):
    """What one container used: one array a quantity, aligned with `sampledAt`; null where it was not known, or where
    the container was not there."""

    cpu_percent: Column
    """100 = one core."""
    memory_bytes: BytesColumn
    rx_bytes_per_sec: RateColumn
    tx_bytes_per_sec: RateColumn
    read_bytes_per_sec: RateColumn
    write_bytes_per_sec: RateColumn


class UsageColumns(WireModel):
    """What the containers of a host used."""

    sampled_at: tuple[Millis, ...]
    """In order. Of a minute's mean: when it began. With `points`: of the last sample of each row."""
    containers: dict[str, ContainerColumns]
    """By the first 12 characters of the id."""
    omitted: Annotated[int, Field(ge=0)]
    """Containers that one answer has no room for, of those that were seen longest ago: `container` asks for one."""


class History(WireModel):
    """The answer of `GET /api/hosts/{host}/history`."""

    host: HostId
    minutes: int
    metrics: Annotated[MetricsColumns | None, Field(exclude_if=absent)] = None
    """Optional: where `kind` is not `usage`."""
    usage: Annotated[UsageColumns | None, Field(exclude_if=absent)] = None
    """Optional: where `kind` is not `metrics`."""
