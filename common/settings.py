"""One settings model per service: every field is an option of the command line and a `FLEETCAST_*` variable.

Read once, at the entry point, and handed down as values. A wrong one ends the start with one line (exit code 2).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import SettingsError
from common.setting_kinds import (
    Address,
    DockerHost,
    HostId,
    HostLabels,
    HostProc,
    HostRoot,
    Interval,
    LogLevel,
    Networks,
    Port,
    RedisUrl,
    Selectors,
    Verbs,
    default_docker_host,
    default_host_id,
    default_state_dir,
)


class Settings(BaseModel):
    """What every service takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    log_level: LogLevel = "info"
    """debug, info, warning or error."""

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field."""
        return "DOCKER_HOST" if field == "docker_host" else f"FLEETCAST_{field.upper()}"

    @classmethod
    def option(cls, field: str) -> str:
        return "--redis" if field == "redis_url" else f"--{field.replace('_', '-')}"

    @classmethod
    def load(cls, given: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Self:
        """The settings from what the command line gave (None: not given), else the environment, else the defaults.

        Raises SettingsError for the first field that is wrong.
        """
        values: dict[str, Any] = {}
        for field in cls.model_fields:
            value = given.get(field)
            if value is None:
                value = environ.get(cls.variable(field)) or None
            if value is not None:
                values[field] = value
        try:
            return cls.model_validate(values)
        except ValidationError as invalid:
            problem = invalid.errors(include_url=False)[0]
            field = str(problem["loc"][0]) if problem["loc"] else ""
            name = cls.variable(field) if field in VARIABLE_ONLY else f"{cls.option(field)} / {cls.variable(field)}"
            said = problem["msg"].removeprefix("Value error, ")
            shown = "" if field in _SECRET else f" (it is {problem['input']!r:.100})"
            raise SettingsError(name, f"{said}{shown}") from None


_SECRET = frozenset({"redis_url", "jwt_secret", "token", "action_signing_key"})
"""Fields that may carry a secret: their value is never shown."""

VARIABLE_ONLY = frozenset({"jwt_secret", "token", "action_signing_key", "action_verify_key", "worker_number"})
"""Fields without an option: secrets and keys, for everybody on the machine can read a command line, and what only
Fleetcast itself sets."""


class BusSettings(Settings):
    """What every part that speaks to Redis takes."""

    redis_url: RedisUrl = "redis://localhost:6379"
    """Redis >= 7 or Valkey >= 8: redis://, rediss:// or unix://, or where Sentinel watches over it,
    redis+sentinel://h1,h2,h3/mymaster. With a password in it, use the variable: others on this machine can read a
    command line."""
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")] = "fc"
    """Prefix of every key and channel in Redis."""


class WorkerSettings(BusSettings):
    """What every part of a host takes."""

    host_id: Annotated[HostId, Field(default_factory=default_host_id)]
    """This host's name in the fleet. Default: the machine's name, from within a container too."""
    instance: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = None
    """Names this process across its restarts, so that it takes its own lease over at once instead of after 6 s. No two
    processes of a host may share it. Default: a new one each time."""
    beat: Annotated[float, Field(ge=1, le=600)] = 2.0
    """Seconds between two signs of life. A host that has given none for three of them is shown as gone, and a stand-by
    takes over; more for a host behind a slow or dear connection."""
    expected: Literal["always", "sometimes"] = "always"
    """always or sometimes: whether it is worth a worry where this host is gone."""
    host_labels: HostLabels = ""
    """What this host is, for those who look for it: KEY=VALUE, with commas between, such as env=prod,region=eu-1. Give
    all of a host's workers the same."""
    run_dir: Path | None = None
    """Write a health file here with every sign of life, for `fleetcast health`. Default: none."""
    metrics_port: Port = 0
    """Serve Prometheus metrics of this process on this port of loopback; 0 for none."""


class ProtectionSettings(BusSettings):
    """Which containers are let alone. The containers collector, which tells everyone, and the executor, which refuses,
    take the same."""

    allow_labels: Selectors = ""
    """Act only on containers that have one of these labels: LABEL or LABEL=VALUE, where * fits anything, with commas
    between. Empty: on every one that is not forbidden."""
    forbid_labels: Selectors = ""
    """Never act on containers that have one of these labels, written as above. Fleetcast's own containers, its Redis
    and what carries fleetcast.protect=true are let alone anyway."""


class AuditSettings(BusSettings):
    """What whoever settles actions takes."""

    audit_max: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    """Entries kept of each host's audit; the oldest go first."""


class MetricsCollectorSettings(WorkerSettings):
    """`fleetcast collector metrics`."""

    interval: Interval = 1.0
    """Seconds between two samples while somebody watches this host."""
    idle_interval: Interval = 10.0
    """Seconds between two samples while nobody does."""
    host_proc: HostProc = Path("/proc")
    """The host's /proc. In a container: where it is bound to, such as /host/proc."""
    host_root: HostRoot = Path("/")
    """The host's root file system. In a container: where it is bound to, such as /host/root."""


class ContainersCollectorSettings(WorkerSettings, ProtectionSettings):
    """`fleetcast collector containers`."""

    docker_host: Annotated[DockerHost, Field(default_factory=default_docker_host)]
    """The Docker engine: unix:///path/to/docker.sock or tcp://host:port."""
    interval: Interval = 1.0
    """Seconds between two samples of the containers' usage while somebody watches it."""
    idle_interval: Interval = 10.0
    """Seconds between two samples while nobody does. Containers are listed when Docker says that something happened."""
    host_proc: HostProc = Path("/proc")
    """The host's /proc. In a container: where it is bound to, such as /host/proc."""
    host_cgroup: Path = Path("/sys/fs/cgroup")
    """The host's control groups. In a container: where they are bound to, such as /host/cgroup."""
    labels: str = ""
    """More labels to publish than compose's, OCI's and Fleetcast's: names or prefixes ending in *, comma between."""


class VerifyingSettings(Settings):
    """What decides whether an action is to be believed."""

    action_verify_key: str | None = None
    """The public key of the edges' signatures, or several: PEM, or the one line that `fleetcast keys` prints."""
    action_verify_key_file: Path | None = None
    """A file with the public key, or several, of the edges' signatures; `fleetcast keys` makes one."""
    insecure_unsigned: bool = False
    """Do actions that nobody has signed: whoever can write to Redis is root here then."""


class ExecutorSettings(WorkerSettings, ProtectionSettings, VerifyingSettings, AuditSettings):
    """`fleetcast executor`."""

    docker_host: Annotated[DockerHost, Field(default_factory=default_docker_host)]
    """The Docker engine: unix:///path/to/docker.sock or tcp://host:port."""
    parallel: Annotated[int, Field(ge=1, le=64)] = 8
    """Containers acted on at the same time."""
    allow_actions: Verbs = "start,stop,restart"
    """What may be done on this host, with commas between: start, stop, restart, kill, pause, unpause, remove."""


class SecretSettings(Settings):
    """What makes and reads sign-in tokens."""

    jwt_secret: str | None = None
    """The secret of sign-in tokens, at least 32 bytes, the same for all edges."""
    jwt_secret_file: Path | None = None
    """A file that holds the secret of sign-in tokens; `fleetcast secret FILE` makes one."""


class SigningSettings(Settings):
    """What actions are signed with."""

    action_signing_key: str | None = None
    """The private key that this edge signs actions with: PEM, or its one line without the frame."""
    action_signing_key_file: Path | None = None
    """A file with the private key that this edge signs actions with; `fleetcast keys` makes one, and executors get its
    public part."""


class EdgeSettings(SecretSettings, SigningSettings, AuditSettings):
    """`fleetcast edge`."""

    bind: Address = "127.0.0.1"
    """Address to listen on. One that others can reach needs sign-in: a secret."""
    port: Port = 8080
    """Port to listen on; 0 takes a free one."""
    edge_id: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = None
    """This edge's name. Default: the machine's name and a random part."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the port and the work, for a host with several cores; more than 1 on Linux only."""
    worker_number: Annotated[int | None, Field(ge=1, le=64)] = None
    """Which of several workers this process is. Set by the process that starts them, for nobody else."""
    allowed_origins: str = ""
    """Origins of other pages that may connect, with commas between: https://ops.example.com. Its own is always
    allowed."""
    heartbeat_sec: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """Seconds between two heartbeats to a client."""
    window_ms: Annotated[int, Field(ge=0, le=1000)] = 130
    """Under load, messages wait for each other this many milliseconds and leave together."""
    flush_share: Annotated[float, Field(ge=0.05, le=0.9)] = 0.3
    """Part of the edge's time that sending may take before messages have to wait for each other."""
    compress: bool = True
    """Compress for clients that offer permessage-deflate: once for all of them. false turns it off."""
    drain_sec: Annotated[float, Field(ge=0, le=3600)] = 10.0
    """On SIGTERM, clients are told over this many seconds to connect elsewhere; 0 tells all at once."""
    unsubscribe_after_sec: Annotated[float, Field(ge=0, le=3600)] = 10.0
    """What nobody watches any more is followed in Redis for this many seconds still."""
    max_clients: Annotated[int, Field(ge=1)] = 10_000
    """Connections at the same time; more are closed with 1013."""
    max_clients_per_address: Annotated[int, Field(ge=1)] = 1_000
    """Connections from one address at the same time, this machine's own not counted; more are closed with 1013."""
    max_handshakes_per_sec: Annotated[float, Field(ge=1)] = 500
    """New connections a second; more are answered 503 with Retry-After."""
    max_subscriptions: Annotated[int, Field(ge=1)] = 1_000
    """Subscriptions of one client; more are refused as too-large."""
    max_messages_per_sec: Annotated[float, Field(ge=1)] = 20
    """Messages of one client, ten seconds' worth at once; more are refused as rate-limited, and who keeps at it is
    closed with 1008."""
    max_actions_per_sec: Annotated[float, Field(ge=0.1)] = 20
    """Actions of one client (over HTTP, of one user from one address), ten seconds' worth at once, each target counted;
    more are refused as rate-limited."""
    max_message_bytes: Annotated[int, Field(ge=1024, le=1_048_576)] = 65_536
    """A longer message of a client closes its connection with 1009."""
    max_pending_bytes: Annotated[int, Field(ge=4096)] = 1_048_576
    """Acks and errors that wait for a client that takes nothing; more close its connection with 4409."""
    slow_client_sec: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """A client that takes nothing for this long is cut off."""
    silent_client_sec: Annotated[float, Field(ge=1, le=3600)] = 45.0
    """A client of which nothing is heard for this long, no pong either, is closed with 4408."""
    trusted_proxies: Networks = "127.0.0.1,::1"
    """Addresses or networks of load balancers whose X-Forwarded-For is believed, with commas between."""


class UpSettings(Settings):
    """`fleetcast up`."""

    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Port of the page; a second edge takes the next one, and so on."""
    edges: Annotated[int, Field(ge=1, le=16)] = 1
    """How many edges to run."""
    redis_url: RedisUrl | None = None
    """Use this Redis or Valkey instead of an embedded one. With a password in it, use the variable."""
    state_dir: Annotated[Path, Field(default_factory=default_state_dir)]
    """Where the embedded server keeps its data. Default: fleetcast in the user's state directory."""
    host_id: HostId | None = None
    """This host's name in the fleet. Default: the machine's name."""
    host_labels: HostLabels = ""
    """What this host is: KEY=VALUE, with commas between, such as env=prod,region=eu-1."""


class SimulateSettings(BusSettings):
    """`fleetcast simulate`."""

    hosts: Annotated[int, Field(ge=1, le=5000)] = 20
    """Hosts to simulate."""
    containers: Annotated[int, Field(ge=0, le=500)] = 10
    """Containers of each host."""
    interval: Interval = 1.0
    """Seconds between two samples of a host while somebody watches it."""
    idle_interval: Interval = 10.0
    """Seconds between two samples while nobody does."""
    incident_every: Annotated[float, Field(ge=0.1, le=86_400)] = 600.0
    """Seconds, on average, until something happens to one of a host's containers: it restarts, crashes, falls ill, is
    paused or deployed anew."""
    history: bool = False
    """Keep history in Redis, as the collectors do: with 40 containers up to 2 MB for each host that is watched."""
    past: Annotated[int, Field(ge=0, le=1440)] = 0
    """Minutes of history to write before it begins, so that charts are full at once. Takes up to a second a host."""
    seed: Annotated[int, Field(ge=0)] = 1
    """What the fleet is made from: the same number makes the same hosts and containers."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,60}$")] = "sim-"
    """How the hosts' ids begin; a number of four digits follows."""


class ClientSettings(Settings):
    """`fleetcast watch`, `fleetcast act` and `fleetcast audit`."""

    url: Annotated[str, Field(pattern=r"^wss?://[^/]+")] = "ws://127.0.0.1:8080/api/ws"
    """An edge's WebSocket: ws://host:port/api/ws."""
    token: str | None = None
    """Sign-in token, where the edge wants one."""
    token_file: Path | None = None
    """A file that holds the sign-in token."""


class TokenSettings(SecretSettings):
    """`fleetcast token`."""


class DoctorSettings(SecretSettings, SigningSettings, VerifyingSettings, BusSettings):
    """`fleetcast doctor`: of each part's, what can be wrong about it on this machine."""

    log_level: LogLevel = "error"
    """debug, info, warning or error."""
    host_id: Annotated[HostId, Field(default_factory=default_host_id)]
    """This host's name in the fleet. Default: the machine's name."""
    docker_host: Annotated[DockerHost, Field(default_factory=default_docker_host)]
    """The Docker engine: unix:///path/to/docker.sock or tcp://host:port."""
    port: Port = 8080
    """The port of an edge on this machine."""
    state_dir: Annotated[Path, Field(default_factory=default_state_dir)]
    """Where a `fleetcast up` on this machine keeps its data: while it runs, its Redis is looked at."""


class HealthSettings(Settings):
    """`fleetcast health`."""

    run_dir: Path | None = None
    """Where the workers write their health files."""
    port: Port = 8080
    """The edge's port."""
