"""A real edge in the test's own process, hosts that are nothing but their published states, and clients."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from common.bus import Bus
from common.envelope import Version, wrap
from common.keys import Worker
from common.models import Container, Usage
from common.protocol import (
    ContainersMessage,
    EventMessage,
    MetricsMessage,
    ServerMessage,
    UsageMessage,
    parse_server_message,
)
from common.settings import EdgeSettings
from common.tenure import StatePublisher, Tenure
from common.worker import HostWorker
from services.collector.messages import encoder
from services.edge.server import EdgeServer, build_server, listen
from tests.samples import ID_A, host_metrics
from tests.support import PATIENCE_S, eventually


class Socket:
    """A client that keeps all it receives; every message must be one of the protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[ServerMessage] = []

    async def send(self, message: Any) -> None:
        await self.connection.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    async def next(self, within_s: float = PATIENCE_S) -> ServerMessage:
        async with asyncio.timeout(within_s):
            text = await self.connection.recv(decode=True)
        message = parse_server_message(text)
        assert json.loads(text) == json.loads(message.model_dump_json()), "a field that the models do not have"
        self.received.append(message)
        return message

    async def until(self, wanted: Callable[[Any], bool], within_s: float = PATIENCE_S) -> Any:
        """The first message from now on that is wanted."""
        seen: list[str] = []
        try:
            async with asyncio.timeout(within_s):
                while True:
                    message = await self.next(within_s)
                    if wanted(message):
                        return message
                    seen.append(message.type)
        except TimeoutError:
            raise AssertionError(f"the message did not come within {within_s} s; these did: {seen}") from None

    async def get(self, kind: str, within_s: float = PATIENCE_S) -> Any:
        return await self.until(lambda message: message.type == kind, within_s)

    async def ping(self) -> None:
        """Until everything sent before has been answered."""
        nonce = f"ping-{id(self)}-{len(self.received)}"
        await self.send({"type": "ping", "nonce": nonce})
        await self.until(lambda message: message.type == "heartbeat" and message.nonce == nonce)


async def knows(client: Socket, *hosts: str) -> None:
    """Until a client that watches the roster has been told of these hosts."""
    await client.until(lambda m: m.type == "hosts" and {s.host for s in m.hosts} >= set(hosts))


async def closing(connection: ClientConnection) -> tuple[int, str]:
    """The code and reason with which the edge closes a connection, whatever it says before."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            await connection.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


class RunningEdge:
    def __init__(self, server: EdgeServer, port: int) -> None:
        self.server = server
        self.port = port
        self.http = f"http://127.0.0.1:{port}"
        self.ws = f"ws://127.0.0.1:{port}/api/ws"

    @asynccontextmanager
    async def client(self, *channels: str, **options: Any) -> AsyncIterator[Socket]:
        async with connect(self.ws, **options) as connection:
            socket = Socket(connection)
            assert (await socket.next()).type == "connected"
            if channels:
                await socket.send({"type": "subscribe", "channels": list(channels)})
            yield socket


@asynccontextmanager
async def running_edge(redis_url: str, **settings: Any) -> AsyncIterator[RunningEdge]:
    chosen = EdgeSettings(redis_url=redis_url, port=0, **settings)
    server = build_server(chosen)
    serving = asyncio.create_task(server.serve(sockets=[listen(chosen)]))
    try:
        await eventually(lambda: server.started or serving.done(), what="the edge to listen")
        yield RunningEdge(server, server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def host_worker(bus: Bus, host: str, worker: Worker, lease_ttl_ms: int = 60_000) -> AsyncIterator[Tenure]:
    """A worker of a host that holds its lease, on a busy machine too, and stands in the roster, and does nothing by
    itself."""
    tenures: asyncio.Queue[Tenure] = asyncio.Queue()

    async def job(tenure: Tenure) -> None:
        tenures.put_nowait(tenure)
        await asyncio.Event().wait()

    service = HostWorker(bus, host, worker, renew_s=0.2, lease_ttl_ms=lease_ttl_ms, overdue_s=3600)
    running = asyncio.create_task(service.run(job))
    try:
        async with asyncio.timeout(PATIENCE_S):
            tenure = await tenures.get()
        yield tenure
    finally:
        running.cancel()
        await asyncio.wait([running])


class FakeHost:
    """A host whose collectors publish what the test says; on a machine so busy that their lease has run out, once they
    have it again."""

    def __init__(self, host: str, metrics: Tenure, containers: Tenure) -> None:
        self.host = host
        self.metrics_tenure = metrics
        self.containers_tenure = containers
        self._metrics = StatePublisher(metrics, "metrics")
        self._containers = StatePublisher(containers, "containers")
        self._usage = StatePublisher(containers, "usage")
        self._events = 0

    def _now_ms(self) -> int:
        return self.metrics_tenure.bus.clock.now_ms()

    async def publish_metrics(self, percent: float = 12.5) -> None:
        message = encoder(MetricsMessage, self.host, self._now_ms(), host_metrics(percent))
        await eventually(lambda: self._metrics.publish(message))

    async def publish_containers(self, *containers: Container) -> None:
        message = encoder(ContainersMessage, self.host, self._now_ms(), containers)
        await eventually(lambda: self._containers.publish(message))

    async def publish_usage(self, cpu_percent: float = 12.5, container_id: str = ID_A) -> None:
        """Of one container."""
        data = Usage(
            cores=2,
            ids=(container_id,),
            cpu_percent=(cpu_percent,),
            memory_bytes=(1_000,),
            memory_limit_bytes=(8_000,),
            rx_bytes_per_sec=(None,),
            tx_bytes_per_sec=(None,),
            read_bytes_per_sec=(0.0,),
            write_bytes_per_sec=(0.0,),
            pids=(1,),
        )
        message = encoder(UsageMessage, self.host, self._now_ms(), data)
        await eventually(lambda: self._usage.publish(message))

    async def publish_event(self, name: str = "web", **changes: Any) -> None:
        """A container's crash, unless `changes` say otherwise."""
        await self.publish_events(name, **changes)

    async def publish_events(self, *names: str, **changes: Any) -> None:
        """One event for each of these containers, all at once."""
        payloads = []
        for name in names:
            self._events += 1
            event = EventMessage(
                host=self.host,
                container_id=ID_A,
                name=name,
                from_="running",
                to="exited",
                at=self._now_ms(),
                exit_code=137,
                cause="docker",
            ).model_copy(update=changes)
            version = Version(self.containers_tenure.epoch, self._events)
            payloads.append(wrap(version, event.model_dump_json().encode()))
        tenure = self.containers_tenure
        await eventually(lambda: tenure.bus.publish_events(self.host, tenure.token, payloads))


@asynccontextmanager
async def fake_host(bus: Bus, host: str = "web-1") -> AsyncIterator[FakeHost]:
    async with host_worker(bus, host, "metrics") as metrics, host_worker(bus, host, "containers") as containers:
        yield FakeHost(host, metrics, containers)
