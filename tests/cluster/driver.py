"""A Fleetcast cluster of a test's own: compose.yaml on the real engine, under a project name nobody else has."""

import asyncio
import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support import eventually_sync, free_ports

ROOT = Path(__file__).parents[2]

PARTS = ("collector-metrics", "collector-containers", "executor", "edge", "redis", "haproxy")


def run(*command: str, within_s: float = 180, environment: Mapping[str, str] | None = None) -> str:
    """A command's standard output; AssertionError with its complaint where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, cwd=ROOT, env=environment)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr or done.stdout}"
    return done.stdout.strip()


def succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def docker(*arguments: str, within_s: float = 60) -> str:
    return run("docker", *arguments, within_s=within_s)


class Compose:
    """One Compose project. Nothing of the user's environment or .env reaches it; `down` leaves nothing of it."""

    def __init__(self, files: Sequence[str], settings: Mapping[str, str]) -> None:
        self.project = f"fct-test-{uuid.uuid4().hex[:10]}"
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FLEETCAST_", "COMPOSE_", "DOCKER_HOST"))
        } | {
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_FILE": ":".join(files),
            "COMPOSE_ENV_FILES": "/dev/null",
            **settings,
        }

    def set(self, **settings: str) -> None:
        """For the next `up`."""
        self._environment.update(settings)

    def compose(self, *arguments: str, within_s: float = 180) -> str:
        return self.command("docker", "compose", *arguments, within_s=within_s)

    def command(self, *command: str, within_s: float = 180) -> str:
        """Any command, in this project's environment."""
        return run(*command, within_s=within_s, environment=self._environment)

    def containers(self, service: str | None = None, *, stopped: bool = False) -> list[str]:
        """Ids of the service's containers, or of all."""
        filters = ["--filter", f"label=com.docker.compose.project={self.project}"]
        if service is not None:
            filters += ["--filter", f"label=com.docker.compose.service={service}"]
        return docker("ps", "--quiet", "--no-trunc", *(["--all"] if stopped else []), *filters).split()

    def inspect(self, service: str | None = None, *, stopped: bool = False) -> list[dict[str, Any]]:
        found = self.containers(service, stopped=stopped)
        inspected: list[dict[str, Any]] = json.loads(docker("inspect", *found)) if found else []
        return inspected

    def logs(self, tail: int = 40) -> str:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            return self.compose("logs", "--no-color", "--tail", str(tail), within_s=30).replace("\x1b[2K", "")
        return "no logs"

    def down(self) -> None:
        """Removes everything of the project, by its label where Compose cannot."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", within_s=60)
        label = f"label=com.docker.compose.project={self.project}"
        for what, listing in (
            ("rm --force --volumes", "ps --all --quiet"),
            ("volume rm --force", "volume ls --quiet"),
            ("network rm", "network ls --quiet"),
        ):
            if left := docker(*listing.split(), "--filter", label).split():
                docker(*what.split(), *left)

    def leftovers(self) -> list[str]:
        label = f"label=com.docker.compose.project={self.project}"
        return [
            name
            for listing in ("ps --all --quiet", "volume ls --quiet", "network ls --quiet")
            for name in docker(*listing.split(), "--filter", label).split()
        ]


class Cluster(Compose):
    """A whole cluster behind its load balancer."""

    def __init__(self, image: str, *, files: Sequence[str] = ("compose.yaml",), **settings: str) -> None:
        self.port = free_ports()
        super().__init__(files, {"FLEETCAST_IMAGE": image, "FLEETCAST_PORT": str(self.port), **settings})
        self.secure = "deploy/tls.compose.yaml" in files
        self._tokens: dict[tuple[str, ...], str] = {}
        self._were_ready: set[tuple[str, str]] = set()
        """Edges that have said so since they were started: (container, when that was)."""

    @property
    def http(self) -> str:
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws{'s' if self.secure else ''}://127.0.0.1:{self.port}/api/ws"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            print(self.logs())
        self.down()

    def up(self, edges: int) -> None:
        self.compose("up", "--detach", "--no-build", "--scale", f"edge={edges}")
        self.wait_for_edges(edges)

    def scale(self, edges: int) -> None:
        """As a user does it, and nothing waited for."""
        self.compose("up", "--detach", "--no-build", "--scale", f"edge={edges}")

    def ready_edges(self) -> int:
        """As many as the load balancer sends clients to."""
        ask = r'exec 3<>/dev/tcp/127.0.0.1/8405; printf "GET /edges HTTP/1.0\r\n\r\n" >&3; sed -n "s/^ready //p" <&3'
        try:
            [haproxy] = self.containers("haproxy")
            return int(docker("exec", haproxy, "bash", "-c", ask, within_s=20) or -1)
        except (AssertionError, ValueError):  # it is not there, or not yet
            return -1

    def wait_for_edges(self, edges: int, within_s: float = 40) -> None:
        """Until they say that they are ready, and the load balancer has that many: one that it has only just found it
        takes for ready until its first check."""

        def healthy() -> bool:
            found = {(edge["Id"], edge["State"]["StartedAt"]) for edge in self.inspect("edge")}
            self._were_ready &= found
            for edge in found - self._were_ready:
                if succeeds("docker", "exec", edge[0], "fleetcast", "health", "edge"):
                    self._were_ready.add(edge)
            return len(found) == edges and found == self._were_ready

        eventually_sync(healthy, within_s, every_s=0.1, what=f"{edges} edges that say that they are ready")
        eventually_sync(
            lambda: self.ready_edges() == edges, within_s, every_s=0.1, what=f"{edges} ready edges at the load balancer"
        )

    def verify_key(self) -> str:
        """The public key of the edges' signatures, as the log of `secret` shows it."""
        [container] = self.containers("secret", stopped=True)
        [line] = {line for line in docker("logs", container).splitlines() if "FLEETCAST_ACTION_VERIFY_KEY=" in line}
        return line.partition("FLEETCAST_ACTION_VERIFY_KEY=")[2]

    def redis(self, *command: str) -> str:
        """A command to the server, by its own client."""
        return self.compose("exec", "-T", "redis", "valkey-cli", *command)

    def token(self, *options: str, role: str = "admin", ttl: str = "1h") -> str:
        made = ("--sub", "tester", "--role", role, "--ttl", ttl, *options)
        if made not in self._tokens:
            self._tokens[made] = self.compose("exec", "-T", "edge", "fleetcast", "token", *made)
        return self._tokens[made]

    def crash(self, container: str) -> None:
        """SIGKILL to its first process from outside, as the kernel does it. The engine starts it again; `docker kill`
        it would take for its user's wish that the container stay down."""
        pid = docker("inspect", "--format", "{{.State.Pid}}", container)
        docker("run", "--rm", "--pid", "host", "busybox:1", "kill", "-9", pid)


class Targets:
    """Containers to act on, each of which tells of every start of its own. They take no notice of SIGTERM, so that a
    restart takes as long as its grace."""

    def __init__(self, count: int) -> None:
        self.names = [f"fct-test-target-{uuid.uuid4().hex[:10]}" for _ in range(count)]
        self.spare = f"{self.names[0]}-spare"
        for name in (*self.names, self.spare):
            docker("run", "--detach", "--name", name, "busybox:1", "sh", "-c", "echo started; exec sleep 3600")

    def starts(self) -> list[int]:
        return [docker("logs", name).count("started") for name in self.names]

    def start(self) -> None:
        """Those that are stopped."""
        docker("start", *self.names)

    def remove(self) -> None:
        subprocess.run(
            ["docker", "rm", "-f", "-v", *self.names, self.spare], capture_output=True, timeout=60, check=False
        )


async def aside(function: Any, *arguments: Any) -> Any:
    """Runs something that blocks, while this loop's clients go on."""
    return await asyncio.to_thread(function, *arguments)
