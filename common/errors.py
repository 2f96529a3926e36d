"""The one error tree. Errors carry fields; their text comes from `__str__`, one line that says what to do next.

FleetcastError
├── SettingsError        a wrong setting: ends the start with exit code 2
├── ProtocolError        a client's message that cannot be served: answered with an `error` message
├── SignatureError       an action that no known key has signed: refused
├── MalformedError       something read from Redis or Docker is not what it should be: counted and skipped
├── BusError             Redis did not do what was asked
│   ├── BusUnavailableError  it cannot be reached: waited for with backoff
│   └── BusRefusedError      it answers, but refuses: out of memory, no permission, a key of another type
├── LeaseLostError       another worker holds this host's lease: back to standing by
├── HostIdConflictError  another machine uses the same host id: ends the worker
├── EdgeRefusedError     (services/client/connection.py) the edge will not have this client: ends it
├── AnswerError          (common/http1.py) what came is no whole HTTP answer: told as one of the next two
│   └── TooLargeError    more than is read of one
├── DockerUnreachableError  no engine answers: waited for with backoff
│   └── DockerInterruptedError  (common/docker.py) it was asked, and nobody knows whether it did it
└── DockerApiError       the engine answered with an error: its status and message
    └── DockerVersionError   it speaks no API version that Fleetcast does
"""

from dataclasses import dataclass
from typing import Literal

ErrorCode = Literal[
    "invalid-message",
    "unknown-channel",
    "unknown-host",
    "unknown-container",
    "ambiguous-container",
    "unknown-action",
    "forbidden",
    "unauthenticated",
    "rate-limited",
    "too-large",
    "unavailable",
]


class FleetcastError(Exception):
    """Anything that Fleetcast itself raises."""


@dataclass
class SettingsError(FleetcastError):
    """A setting that cannot be used. `name` is how the user wrote it (`--port / FLEETCAST_PORT`)."""

    name: str
    problem: str

    def __str__(self) -> str:
        return f"{self.name}: {self.problem}"


@dataclass
class ProtocolError(FleetcastError):
    """A client's message that gets an `error` in answer; the connection goes on."""

    code: ErrorCode
    message: str
    request_id: str | None = None
    target: int | None = None

    def __str__(self) -> str:
        return self.message


@dataclass
class MalformedError(FleetcastError):
    """A payload, record or stream entry in Redis that this version did not write."""

    what: str
    problem: str

    def __str__(self) -> str:
        return f"{self.what}: {self.problem}"


@dataclass
class SignatureError(FleetcastError):
    """An action's signature that does not hold; nothing that it says is to be believed."""

    problem: str

    def __str__(self) -> str:
        return self.problem


@dataclass
class BusError(FleetcastError):
    """Redis did not do what was asked. `url` is its address without the password."""

    url: str
    reason: str


@dataclass
class BusUnavailableError(BusError):
    """Redis cannot be reached. What was asked may or may not have been done."""

    def __str__(self) -> str:
        return f"Redis at {self.url} is not available ({self.reason})"


@dataclass
class BusRefusedError(BusError):
    """Redis answers, but refused: what was asked has not been done."""

    def __str__(self) -> str:
        return f"Redis at {self.url} refused: {self.reason}"


@dataclass
class LeaseLostError(FleetcastError):
    """The lease that this worker held belongs to another one now."""

    host: str
    worker: str
    holder: str

    def __str__(self) -> str:
        return f"the lease of {self.worker} on {self.host} is held by {self.holder}"


@dataclass
class HostIdConflictError(FleetcastError):
    """Another machine works under the same host id, so its values and this one's would be mixed up."""

    host: str
    worker: str
    holder: str

    def __str__(self) -> str:
        return (
            f"another machine already runs {self.worker} as host id {self.host!r} ({self.holder}): "
            "give this one its own with --host-id or FLEETCAST_HOST_ID"
        )


@dataclass
class DockerUnreachableError(FleetcastError):
    """No engine answers at this address, or not in time. What was asked may or may not have been done."""

    address: str
    reason: str

    def __str__(self) -> str:
        return f"no Docker engine answers at {self.address} ({self.reason})"


@dataclass
class DockerApiError(FleetcastError):
    """The engine's own refusal: HTTP status and message."""

    status: int
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass
class DockerVersionError(DockerApiError):
    """The engine is too old or too new for this Fleetcast."""

    verdict: Literal["docker-too-old", "docker-too-new"]

    def __str__(self) -> str:
        return self.message
