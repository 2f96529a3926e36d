"""For the collectors' tests: running one, reading what it published, and engines that misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from common.bus import Bus
from common.docker import Docker
from common.envelope import Version, body_prefix, unwrap
from common.keys import StateKind, Worker
from common.protocol import ContainersMessage, EventMessage, MetricsMessage, ProcessesMessage, UsageMessage
from common.settings import ProtectionSettings
from common.tenure import Tenure
from common.whereabouts import Guard
from common.worker import HostWorker
from services.collector.containers import Times, collect_containers
from services.collector.snapshot import LabelFilter
from services.collector.usage import UsageSampler
from tests.rosters import faults
from tests.support import stop_listening

HOST = "web-1"
REAL_ENGINE = "/var/run/docker.sock"

M = TypeVar("M", MetricsMessage, ContainersMessage, UsageMessage, ProcessesMessage)


@asynccontextmanager
async def running(service: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """The service as a task of its own, cancelled at the end; what it raises comes out here."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(service)
        yield task
        task.cancel()


class LastState(Generic[M]):
    """What a late subscriber would get of a kind."""

    def __init__(self, bus: Bus, kind: StateKind, message: type[M], host: str = HOST) -> None:
        self._bus = bus
        self._kind: StateKind = kind
        self._message = message
        self._host = host

    async def read(self) -> M | None:
        """None before there is any."""
        [payload] = await self._bus.last_states([(self._host, self._kind)])
        if payload is None:
            return None
        version, body = unwrap(payload, body_prefix(self._kind, self._host))
        message = self._message.model_validate_json(body)
        assert version == Version(message.epoch, message.seq)
        return message

    def that(self, predicate: Callable[[M], Any]) -> Callable[[], Coroutine[Any, Any, M | None]]:
        """For `eventually`: the message, once it is so."""

        async def look() -> M | None:
            message = await self.read()
            return message if message is not None and predicate(message) else None

        return look


async def told(bus: Bus, host: str = HOST) -> list[EventMessage]:
    """The last events, the oldest first."""
    [payloads] = await bus.last_events([host])
    return [EventMessage.model_validate_json(unwrap(payload, body_prefix("event", host))[1]) for payload in payloads]


async def fault(bus: Bus, worker: Worker, host: str = HOST) -> str | None:
    return (await faults(bus, worker)).get(host)


QUICK = Times(debounce=0.02, full=0.2, without_events=0.1, republish=0.05)


@asynccontextmanager
async def collecting(
    bus: Bus, address: str, times: Times = QUICK, guard: Guard | None = None, interval_s: float = 0.1
) -> AsyncIterator[asyncio.Task[None]]:
    """A collector that is in more of a hurry than those of the command."""
    client = Docker(address)
    sampler = UsageSampler(client)

    async def job(tenure: Tenure) -> None:
        rule = guard or Guard(ProtectionSettings())
        await collect_containers(tenure, client, rule, LabelFilter(), sampler, interval_s, interval_s, times)

    try:
        async with running(HostWorker(bus, HOST, "containers", renew_s=0.2, lease_ttl_ms=60_000).run(job)) as task:
            yield task
    finally:
        sampler.close()
        await client.close()


@asynccontextmanager
async def engine_proxy(path: Path) -> AsyncIterator[None]:
    """The real engine at another path, until the end of the block, which breaks all connections."""
    pipes: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        pipes.add(task)
        try:
            engine_reader, engine_writer = await asyncio.open_unix_connection(REAL_ENGINE)
            await asyncio.gather(pipe(reader, engine_writer), pipe(engine_reader, writer))
        except asyncio.CancelledError:
            pass  # the end of the block
        finally:
            pipes.discard(task)

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        await stop_listening(server)
        path.unlink(missing_ok=True)
        for task in list(pipes):
            task.cancel()
        await asyncio.gather(*pipes)


class FakeEngine:
    """Answers as a Docker engine with what the test puts in; an inspection of what is in `hanging` waits for
    `release`."""

    def __init__(self) -> None:
        self.containers: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        """Id → list entry and inspection."""
        self.hanging: set[str] = set()
        self._released = asyncio.Event()
        self.vanishing: set[str] = set()
        """Listed, but 404 when inspected."""
        self.refusal: tuple[int, str] | None = None
        self.no_events: tuple[int, str] | None = None
        """How the stream of events is refused, where it is."""
        self.version = {"ApiVersion": "1.45", "MinAPIVersion": "1.24"}
        self.is_frozen = False
        """Takes what is asked, and answers nothing."""
        self.inspections: list[str] = []
        self.lists = 0
        self.subscriptions: list[str] = []
        """The targets of the requests for events."""
        self._subscribers: set[asyncio.StreamWriter] = set()
        self._time_ns = 1_795_441_553_000_000_000

    def put(self, container_id: str, name: str, **changes: Any) -> None:
        """A running container; `Status`, `State` and `StartedAt` may be changed."""
        started_at = changes.pop("StartedAt", "2026-11-23T13:45:53.612817045Z")
        listed = {
            "Id": container_id,
            "Names": [f"/{name}"],
            "Image": "busybox:1",
            "Created": 1795441553,
            "Ports": [],
            "Labels": {},
            "State": "running",
            "Status": "Up 3 hours",
            **changes,
        }
        inspected = {
            "Id": container_id,
            "Created": "2026-11-23T13:45:53.355572723Z",
            "RestartCount": 0,
            "Config": {"Image": "busybox:1"},
            "State": {
                "StartedAt": started_at,
                "FinishedAt": "0001-01-01T00:00:00Z",
                "ExitCode": 0,
                "OOMKilled": False,
                "Pid": 0,
            },
        }
        self.containers[container_id] = (listed, inspected)

    def inspected_since(self, number: int, container_id: str) -> list[str]:
        """What has been inspected after so many inspections, once the container is among it."""
        new = self.inspections[number:]
        return new if container_id in new else []

    def release(self) -> None:
        self.hanging = set()
        self._released.set()
        self._released = asyncio.Event()

    def tell(self, action: str, container_id: str, **attributes: str) -> None:
        """An event, to whoever listens."""
        self._time_ns += 1_000_000_000
        event = {
            "Type": "container",
            "Action": action,
            "Actor": {"ID": container_id, "Attributes": attributes},
            "timeNano": self._time_ns,
        }
        self.tell_line(json.dumps(event).encode())

    def tell_line(self, line: bytes) -> None:
        for writer in self._subscribers:
            writer.write(b"%x\r\n%b\n\r\n" % (len(line) + 1, line))

    def hang_up(self) -> None:
        """Ends every stream of events."""
        for writer in list(self._subscribers):
            writer.close()

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[str]:
        connections: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                request = await reader.readuntil(b"\r\n\r\n")
                target = request.split()[1].decode()
                if self.is_frozen:
                    await asyncio.Event().wait()
                if target.partition("?")[0].endswith("/events") and self.no_events is None:
                    await self._stream(target, reader, writer)
                    return
                status, body = await self._answer(target)
                payload = json.dumps(body).encode()
                head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(payload))
                writer.write(head + payload)
                await writer.drain()
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.close()
                connections.discard(task)

        server = await asyncio.start_unix_server(serve, path)
        try:
            yield f"unix://{path}"
        finally:
            await stop_listening(server)
            for task in list(connections):
                task.cancel()
            await asyncio.gather(*connections)

    async def _stream(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._subscribers.add(writer)
        self.subscriptions.append(target)
        try:
            await reader.read()
        finally:
            self._subscribers.discard(writer)

    async def _answer(self, target: str) -> tuple[int, Any]:
        path = target.partition("?")[0]
        if path.endswith("/version"):
            return 200, self.version
        if path.endswith("/events") and self.no_events:
            return self.no_events[0], {"message": self.no_events[1]}
        if path.endswith(("/info", "/_ping")):
            return 200, {}
        if path.endswith("/containers/json"):
            self.lists += 1
            if self.refusal:
                return self.refusal[0], {"message": self.refusal[1]}
            return 200, [listed for listed, _ in self.containers.values()]
        if path.endswith("/stats"):
            return 403, {"message": "no statistics here"}
        container_id = path.split("/")[-2]
        self.inspections.append(container_id)
        while container_id in self.hanging:
            await self._released.wait()
        if container_id in self.vanishing or container_id not in self.containers:
            return 404, {"message": f"No such container: {container_id}"}
        return 200, self.containers[container_id][1]
