"""One simulated container: what Docker would say of it, and how that changes. Pure: times come as arguments, chance
from a `Random` that is handed in.
"""

import hashlib
from collections.abc import Callable, Generator
from random import Random

from common.models import Container, ContainerState, Health, Port
from services.collector.engine_events import EngineAction, EngineEvent
from services.collector.simulator.catalogue import Service

DAY_MS = 86_400_000

Script = Generator[int, int, None]
"""An incident, step by step: yields for how many ms it waits, and is sent the time at which it goes on."""


class SimulatedContainer:
    """Born running for a while already; a job has ended."""

    def __init__(
        self,
        seed: str,
        project: str,
        service: Service,
        number: int,
        random: Random,
        at_ms: int,
        tell: Callable[[EngineEvent], None],
    ) -> None:
        """`tell` hears what the engine would tell of it."""
        self.service = service
        self.name = f"{project}-{service.name}-{number}"
        self.is_busy = False
        """An incident of its own is under way."""
        self.offset = random.randrange(1 << 20)
        self.size = random.uniform(0.6, 1.6)
        self.limit_bytes = round(service.memory_bytes * self.size * 3) if service.leaks else None
        self.full_after_ms = random.randint(2 * 3_600_000, 12 * 3_600_000)
        """Of one that leaks: from its start until its limit."""
        self._seed = seed
        self._project = project
        self._number = number
        self._tell = tell
        self._generation = 0
        self._tag = f"{random.randint(1, 4)}.{random.randint(0, 30)}"
        self._patch = 0
        self._host_port = random.randint(20_000, 60_000) if service.public else None
        self._restarts = 0
        self.id = self._make_id()
        self.created_at = at_ms - random.randint(DAY_MS, 40 * DAY_MS)
        age = random.randint(0, self.full_after_ms if service.leaks else at_ms - self.created_at)
        self.started_at: int | None = at_ms - age
        self.finished_at: int | None = None
        self.exit_code: int | None = None
        self.oom_killed = False
        self.state: ContainerState = "running"
        self.health: Health | None = "healthy" if service.health_check else None
        if service.job:
            self.state, self.exit_code = "exited", 0
            self.finished_at = at_ms - age + min(age, random.randint(2_000, 40_000))
        self._described: tuple[str, Container] | None = None

    # What it is

    @property
    def is_running(self) -> bool:
        return self.state in ("running", "paused")

    def memory_bytes(self, at_ms: int, noise: float) -> int:
        """`noise` around 1."""
        held = self.service.memory_bytes * self.size
        taken = held * (0.9 + 0.1 * noise)
        if self.limit_bytes is not None and self.started_at is not None:
            leaked = (self.limit_bytes - held) * (at_ms - self.started_at) / self.full_after_ms
            return min(self.limit_bytes, max(0, round(taken + leaked)))
        return round(taken)

    def describe(self, at_ms: int) -> Container:
        status = self._status(at_ms)
        if self._described is None or self._described[0] != status:
            self._described = status, self._describe(status)
        return self._described[1]

    def _describe(self, status: str) -> Container:
        return Container(
            id=self.id,
            name=self.name,
            image=self.service.image.format(tag=f"{self._tag}.{self._patch}"),
            state=self.state,
            status=status,
            health=self.health if self.is_running else None,
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            exit_code=self.exit_code,
            oom_killed=self.oom_killed,
            restart_count=self._restarts,
            ports=self._ports(),
            project=self._project,
            service=self.service.name,
            labels={
                "com.docker.compose.project": self._project,
                "com.docker.compose.service": self.service.name,
                "com.docker.compose.container-number": str(self._number),
            },
            protected=False,
        )

    def _ports(self) -> tuple[Port, ...]:
        if self.service.port is None:
            return ()
        is_published = self._host_port is not None and self.is_running
        return (
            Port(
                ip="0.0.0.0" if is_published else None,  # noqa: S104 - nothing listens here
                host_port=self._host_port if is_published else None,
                container_port=self.service.port,
                protocol="tcp",
            ),
        )

    def _status(self, at_ms: int) -> str:
        match self.state:
            case "running" | "paused":
                up = f"Up {human(at_ms - (self.started_at or at_ms))}"
                words = "Paused" if self.state == "paused" else self.health and _HEALTH_WORDS[self.health]
                return f"{up} ({words})" if words else up
            case "created":
                return "Created"
            case _:
                verb = "Restarting" if self.state == "restarting" else "Exited"
                return f"{verb} ({self.exit_code}) {human(at_ms - (self.finished_at or at_ms))} ago"

    def _make_id(self) -> str:
        return hashlib.sha256(f"{self._seed} {self.name} {self._generation}".encode()).hexdigest()

    # How it changes

    def end(self, at: int, code: int, to: ContainerState = "exited", *, oom_killed: bool = False) -> None:
        if oom_killed:
            self._tell_of(at, "oom")
        self.finished_at, self.exit_code, self.oom_killed = at, code, oom_killed
        self._become(to)
        self._tell_of(at, "die", exit_code=code)

    def start(self, at: int, *, by_policy: bool = False) -> None:
        self.started_at, self.exit_code, self.oom_killed = at, None, False
        self._restarts += by_policy
        self.health = "starting" if self.service.health_check else None
        self._become("running")
        self._tell_of(at, "start")

    def pause(self, at: int) -> None:
        self._become("paused")
        self._tell_of(at, "pause")

    def unpause(self, at: int) -> None:
        self._become("running")
        self._tell_of(at, "unpause")

    def turn(self, at: int, health: Health) -> None:
        self.health = health
        self._tell_of(at, "health_status", health=health)

    def replace(self, at: int) -> None:
        """Deployed anew: another container of the same name."""
        self._tell_of(at, "destroy")
        self._generation += 1
        self._patch += 1
        self._restarts = 0
        self.id = self._make_id()
        self.created_at, self.started_at, self.finished_at, self.exit_code = at, None, None, None
        self.health, self.oom_killed = None, False
        self._become("created")
        self._tell_of(at, "create")

    def _become(self, state: ContainerState) -> None:
        self.state, self._described = state, None

    def _tell_of(
        self, at: int, action: EngineAction, *, exit_code: int | None = None, health: Health | None = None
    ) -> None:
        self._tell(EngineEvent(action, self.id, self.name, at * 1_000_000, exit_code, health))


_HEALTH_WORDS: dict[Health, str] = {"starting": "health: starting", "healthy": "healthy", "unhealthy": "unhealthy"}


# Incidents


def crash(container: SimulatedContainer, random: Random, at: int) -> Script:
    """Ends by itself; its restart policy brings it back."""
    container.end(at, random.choice((1, 1, 2, 134, 139)), "restarting")
    at = yield random.randint(500, 8_000)
    container.start(at, by_policy=True)
    yield from _get_healthy(container, random)


def out_of_memory(container: SimulatedContainer, random: Random, at: int) -> Script:
    container.end(at, 137, "restarting", oom_killed=True)
    at = yield random.randint(500, 4_000)
    container.start(at, by_policy=True)
    yield from _get_healthy(container, random)


def restart(container: SimulatedContainer, random: Random, at: int) -> Script:
    """Somebody restarts it at the engine."""
    container.end(at, random.choice((0, 143)))
    at = yield random.randint(200, 1_500)
    container.start(at)
    yield from _get_healthy(container, random)


def sicken(container: SimulatedContainer, random: Random, at: int) -> Script:
    """Its health check fails for a while."""
    container.turn(at, "unhealthy")
    at = yield random.randint(15_000, 120_000)
    container.turn(at, "healthy")


def freeze(container: SimulatedContainer, random: Random, at: int) -> Script:
    container.pause(at)
    at = yield random.randint(5_000, 60_000)
    container.unpause(at)


def deploy(container: SimulatedContainer, random: Random, at: int) -> Script:
    """A new version takes its place, under a new id."""
    container.end(at, random.choice((0, 143)))
    at = yield random.randint(100, 600)
    container.replace(at)
    at = yield random.randint(100, 900)
    container.start(at)
    yield from _get_healthy(container, random)


def _get_healthy(container: SimulatedContainer, random: Random) -> Script:
    if container.service.health_check:
        at = yield random.randint(5_000, 15_000)
        container.turn(at, "healthy")


def human(ms: int) -> str:
    """A time as Docker puts it: `Less than a second`, `42 seconds`, `About a minute`, `3 hours`, `2 weeks`."""
    seconds = max(0, ms) // 1000
    minutes, hours = seconds // 60, (seconds + 1800) // 3600
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    return f"{days} days" if days < 14 else f"{days // 7} weeks" if days < 60 else f"{days // 30} months"
