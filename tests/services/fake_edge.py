"""A small edge whose every move a test decides: what it says, when it drops, and how it closes.

It serves the dashboard too, as the real one does, so that one port is enough for a browser; of the HTTP routes, what
the test puts into `answers`, and 404 else.
"""

import asyncio
import http
import json
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from services.edge.page import STATIC, answer, read_page
from tests.support import eventually, free_ports, stop_listening

PROTOCOL = "fleetcast.v1"


class FakeEdge:
    """One port of loopback. `greets`: says `connected` by itself; `heartbeat_ms`: the interval it announces and keeps;
    `beats`: whether it keeps it, and answers pings."""

    def __init__(self, heartbeat_ms: int = 200, greets: bool = True, beats: bool = True) -> None:
        self.heartbeat_ms = heartbeat_ms
        self.greets = greets
        self.beats = beats
        self.beat: Callable[[], dict[str, Any]] = heartbeat
        self.refuses_with: int | None = None
        """An HTTP status in answer to upgrades."""
        self.refusal_headers: tuple[tuple[str, str], ...] = ()
        """What goes with it."""
        self.refused = 0
        self.answers: dict[str, Any] = {}
        """JSON by path, without its query."""
        self.replay: list[dict[str, Any]] = []
        """Sent to whoever subscribes: the last states; the roster to whoever asks for it."""
        self.received: list[dict[str, Any]] = []
        self.sockets: set[ServerConnection] = set()
        self.connections = 0
        self.request: Request | None = None
        self._server: Server | None = None
        self._port = free_ports()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def listen(self) -> None:
        """Starts, or starts again on the same port."""
        self._server = await serve(
            self._talk,
            "127.0.0.1",
            self._port,
            process_request=self._answer_http,
            select_subprotocol=lambda _, offered: Subprotocol(PROTOCOL) if PROTOCOL in offered else None,
            ping_interval=None,
            close_timeout=5,  # a busy browser takes its time to fetch what has been answered
        )

    async def stop(self) -> None:
        """Nobody listens there any more; every connection is cut."""
        if self._server is not None:
            self.drop()
            await stop_listening(self._server)
            await self._server.wait_closed()
            self._server = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/api/ws"

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    async def send(self, *messages: dict[str, Any] | str | bytes) -> None:
        """Says it to every client."""
        for message in messages:
            for socket in list(self.sockets):
                with suppress(ConnectionClosed):
                    await socket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def close(self, code: int, reason: str = "") -> None:
        for socket in list(self.sockets):
            await socket.close(code, reason)

    def drop(self) -> None:
        """Cuts every connection without a word."""
        for socket in list(self.sockets):
            socket.transport.abort()

    def actions(self) -> list[dict[str, Any]]:
        return [message for message in self.received if message["type"] == "container-action"]

    async def action(self, number: int = 1) -> dict[str, Any]:
        """The action that comes as this number."""
        actions: list[dict[str, Any]] = await eventually(
            lambda: found if len(found := self.actions()) >= number else None, what=f"action number {number}"
        )
        return actions[number - 1]

    async def has_client(self, number: int = 1) -> None:
        """Waits until a client has said something on this connection or a later one."""
        await eventually(
            lambda: self.connections >= number and self.sockets and len(self.received) >= number,
            what=f"connection number {number}",
        )

    async def _talk(self, socket: ServerConnection) -> None:
        self.connections += 1
        self.request = socket.request
        self.sockets.add(socket)
        beat = asyncio.create_task(self._beat(socket))
        try:
            if self.greets:
                await socket.send(json.dumps(connected(self.heartbeat_ms)))
            async for raw in socket:
                message = json.loads(raw)
                self.received.append(message)
                if message["type"] == "subscribe":
                    for state in self.replay:
                        if state["type"] != "hosts" or "hosts" in message["channels"]:
                            await socket.send(json.dumps(state))
                elif message["type"] == "ping" and self.beats:
                    await socket.send(json.dumps(heartbeat() | {"nonce": message.get("nonce")}))
        except ConnectionClosed:
            pass
        finally:
            self.sockets.discard(socket)
            beat.cancel()

    async def _beat(self, socket: ServerConnection) -> None:
        while True:
            await asyncio.sleep(self.heartbeat_ms / 1000)
            if self.beats:
                with suppress(ConnectionClosed):
                    await socket.send(json.dumps(self.beat()))

    def _answer_http(self, _: ServerConnection, request: Request) -> Response | None:
        if request.path == "/api/ws":
            if self.refuses_with is not None:
                self.refused += 1
                refusal = _response(http.HTTPStatus(self.refuses_with), b"", "text/plain")
                for name, value in self.refusal_headers:
                    refusal.headers[name] = value  # one more, where there is one already
                return refusal
            if "Upgrade" in request.headers:
                return None
        path = request.path.partition("?")[0]
        if path.startswith("/api/"):
            status = http.HTTPStatus.OK if path in self.answers else http.HTTPStatus.NOT_FOUND
            found = self.answers.get(path, {"type": "error", "code": "unknown-host", "message": "not in this play"})
            return _response(status, json.dumps(found).encode(), "application/json")
        return _page(path)


def _page(path: str) -> Response:
    page = read_page(STATIC)
    name = path.removeprefix("/assets/")
    file = page.assets.get(name) if path != name else page.favicon if path == "/favicon.svg" else page.index
    if file is None:
        return _response(http.HTTPStatus.NOT_FOUND, b"", "text/plain")
    answered = answer(file, "no-store")
    response = _response(http.HTTPStatus.OK, bytes(answered.body), file.media_type)
    response.headers["Content-Security-Policy"] = answered.headers["Content-Security-Policy"]
    return response


def _response(status: http.HTTPStatus, body: bytes, kind: str) -> Response:
    headers = Headers({"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status.value, status.phrase, headers, body)


# Messages


def now_ms() -> int:
    return round(time.time() * 1000)


def connected(heartbeat_ms: int = 200, edge_id: str = "edge-1") -> dict[str, Any]:
    return {
        "type": "connected",
        "clientId": "c1",
        "edgeId": edge_id,
        "protocol": 1,
        "serverTime": now_ms(),
        "heartbeatIntervalMs": heartbeat_ms,
        "user": "local",
        "role": "admin",
    }


def heartbeat() -> dict[str, Any]:
    return {"type": "heartbeat", "serverTime": now_ms()}


def link(state: str = "live", reason: str | None = None) -> dict[str, Any]:
    return {"state": state, "reason": reason} if reason else {"state": state}


def host_status(host: str = "web-1", expected: str = "always", **links: dict[str, Any]) -> dict[str, Any]:
    named = {"metrics": link(), "containers": link(), "executor": link()} | links
    states = [value["state"] for value in named.values()]
    status = next(state for state in ("live", "stalled", "gone") if state in states)
    said = {"host": host, "status": status, "expected": expected, "lastSeenAt": now_ms()}
    return {**said, "links": named, "labels": {}}


def hosts(*statuses: dict[str, Any]) -> dict[str, Any]:
    return {"type": "hosts", "hosts": list(statuses or [host_status()])}


def metrics(host: str = "web-1", seq: int = 1, epoch: int = 1, cpu: float = 12.0, **parts: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "cpu": {"percent": cpu, "perCorePercent": [cpu, cpu], "cores": 2, "load": [0.4, 0.3, 0.2]},
        "memory": {"totalBytes": 8 << 30, "usedBytes": 3 << 30, "availableBytes": 5 << 30, "percent": 37.5},
        "swap": {"totalBytes": 0, "usedBytes": 0, "percent": 0.0},
        "disks": [{"mount": "/", "totalBytes": 100 << 30, "usedBytes": 42 << 30, "percent": 42.0}],
        "diskIo": {"readBytesPerSec": 1000.0, "writeBytesPerSec": 2000.0},
        "network": [{"interface": "eth0", "rxBytesPerSec": 125_000.0, "txBytesPerSec": 2048.0}],
        "temperatures": [],
        "uptimeSec": 93_784.0,
        "processes": 120,
        "stale": [],
    } | parts
    return {"type": "metrics", "host": host, "epoch": epoch, "seq": seq, "sampledAt": now_ms(), "data": data}


def container(name: str = "nginx", state: str = "running", **fields: Any) -> dict[str, Any]:
    number = sum(ord(char) * 31**place for place, char in enumerate(name))
    return {
        "id": f"{number:064x}"[-64:],
        "name": name,
        "image": "nginx:1.27",
        "state": state,
        "status": "Up 3 minutes" if state == "running" else "Exited (0) 2 minutes ago",
        "health": None,
        "createdAt": 1_700_000_000_000,
        "startedAt": 1_700_000_000_500,
        "finishedAt": None,
        "exitCode": None if state == "running" else 0,
        "oomKilled": False,
        "restartCount": 0,
        "ports": [],
        "project": None,
        "service": None,
        "labels": {},
        "protected": False,
    } | fields


def containers(*listed: dict[str, Any], host: str = "web-1", seq: int = 1, epoch: int = 1) -> dict[str, Any]:
    return {
        "type": "containers",
        "host": host,
        "epoch": epoch,
        "seq": seq,
        "sampledAt": now_ms(),
        "data": list(listed or [container()]),
    }


def usage(
    *used: tuple[str, float | None, int | None], host: str = "web-1", seq: int = 1, epoch: int = 1
) -> dict[str, Any]:
    """Of containers by name: CPU and memory; nothing else is known."""
    count = len(used)
    data: dict[str, Any] = {
        "cores": 2,
        "ids": [container(name)["id"] for name, _, _ in used],
        "cpuPercent": [cpu for _, cpu, _ in used],
        "memoryBytes": [memory for _, _, memory in used],
    }
    unknown = ("memoryLimitBytes", "rxBytesPerSec", "txBytesPerSec", "readBytesPerSec", "writeBytesPerSec", "pids")
    data |= {name: [None] * count for name in unknown}
    return {"type": "usage", "host": host, "epoch": epoch, "seq": seq, "sampledAt": now_ms(), "data": data}


def process(pid: int, name: str, cpu: float = 1.0, memory: int = 10 << 20, container_id: str | None = None) -> Any:
    return {"pid": pid, "name": name, "cpuPercent": cpu, "memoryBytes": memory, "containerId": container_id}


def processes(
    by_cpu: list[Any], by_memory: list[Any], host: str = "web-1", seq: int = 1, epoch: int = 1
) -> dict[str, Any]:
    return {
        "type": "processes",
        "host": host,
        "epoch": epoch,
        "seq": seq,
        "sampledAt": now_ms(),
        "data": {"byCpu": by_cpu, "byMemory": by_memory},
    }


def event(
    name: str = "nginx", before: str | None = "running", after: str | None = "exited", **fields: Any
) -> dict[str, Any]:
    return {
        "type": "event",
        "host": "web-1",
        "containerId": container(name)["id"],
        "name": name,
        "from": before,
        "to": after,
        "at": now_ms(),
        "cause": "docker",
    } | fields


def ack(action: dict[str, Any], status: str, **fields: Any) -> dict[str, Any]:
    """An ack for a received action."""
    return {
        "type": "container-ack",
        "requestId": action["requestId"],
        "host": action.get("host") or "web-1",
        "containerId": f"{7:064x}" if len(action["containerId"]) != 64 else action["containerId"],
        "action": action["action"],
        "status": status,
        "at": now_ms(),
        "actor": "local",
    } | fields
