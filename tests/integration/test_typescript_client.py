"""The TypeScript client, as Node runs it, with a real edge: over each of its transports, and over a restart."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from common.settings import EdgeSettings
from services.edge.server import build_server, listen
from services.embedded import EmbeddedServer
from tests.edges import FakeHost, RunningEdge
from tests.support import PATIENCE_S, eventually

SCRIPT = Path(__file__).parents[2] / "dashboard" / "client" / "test" / "real.ts"

TRANSPORTS = ("websocket", "sse", "polling")


def _node_missing() -> str | None:
    """Why the client cannot be run, or None where it can."""
    node = shutil.which("node")
    if node is None:
        return "no Node here"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60).stdout.strip()
    if int(version.lstrip("v").split(".")[0] or 0) < 24:
        return f"Node {version} does not run TypeScript by itself"
    return None


missing = _node_missing()
pytestmark = pytest.mark.skipif(missing is not None, reason=missing or "")


class Client:
    """What the client in Node has seen."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.seen: list[dict[str, Any]] = []

    async def restart(self, container: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{container}\n".encode())
        await self._process.stdin.drain()

    async def until(self, saw: str, wanted: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The first such thing from now on that is wanted."""
        unwanted = []
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while line := await self._process.stdout.readline():
                    said: dict[str, Any] = json.loads(line)
                    self.seen.append(said)
                    if said["saw"] == saw and wanted(said):
                        return said
                    unwanted.append(said)
        except TimeoutError:
            pass
        raise AssertionError(f"no {saw} that was wanted came; these came: {unwanted[-20:]}")


@asynccontextmanager
async def client_of(url: str, transport: str) -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(
        "node", SCRIPT, url, transport, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Client(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(PATIENCE_S):  # with its stdin it ends by itself: close() has left nothing behind
            await process.wait()


@asynccontextmanager
async def edge_on(port: int, redis_url: str) -> AsyncIterator[int]:
    """An edge on this port, 0 for any; says which."""
    settings = EdgeSettings(redis_url=redis_url, port=port)
    server = build_server(settings)
    serving = asyncio.create_task(server.serve(sockets=[listen(settings)]))
    try:
        await eventually(lambda: server.started or serving.done(), what="the edge to listen")
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_sees_a_host_over_each_transport(edge: RunningEdge, host: FakeHost, transport: str) -> None:
    await host.publish_metrics(12.5)
    async with client_of(edge.http, transport) as client:
        status = await client.until("status", lambda s: s["state"] == "open" and s["measured"])
        assert (status["transport"], status["user"]) == (transport, "local")
        if not any(said["saw"] == "metrics" for said in client.seen):
            assert (await client.until("metrics"))["percent"] == 12.5
        await host.publish_metrics(80)
        await client.until("metrics", lambda m: m["percent"] == 80)
        await host.publish_event("db")
        event = await client.until("event")
        assert (event["host"], event["name"]) == ("web-1", "db")
        assert abs(event["late"]) < 5_000
        assert ["web-1"] in [said["hosts"] for said in client.seen if said["saw"] == "hosts"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_action_has_its_stages_and_its_outcome_over_each_transport(
    edge: RunningEdge, host: FakeHost, transport: str
) -> None:
    async with client_of(edge.http, transport) as client:
        await client.until("hosts", lambda h: h["hosts"] == ["web-1"])
        await client.restart("nothing")
        assert await client.until("outcome") == {"saw": "outcome", "status": "rejected", "code": "unknown-container"}
        await client.restart("web")
        assert (await client.until("ack"))["status"] == "accepted"
        assert (await client.until("outcome"))["status"] == "expired"  # nobody is there to do it


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_comes_back_after_the_edge_was_restarted(
    valkey: EmbeddedServer, host: FakeHost, transport: str
) -> None:
    await host.publish_metrics(1)
    async with AsyncExitStack() as stack:
        async with edge_on(0, valkey.url) as port:
            client = await stack.enter_async_context(client_of(f"http://127.0.0.1:{port}", transport))
            await client.until("metrics", lambda m: m["percent"] == 1)
            await host.publish_metrics(1.5)
            await client.until("metrics", lambda m: m["percent"] == 1.5)  # whoever polls has gone round once by now
            await host.publish_event("before")
            await client.until("event", lambda e: e["name"] == "before")
        await client.until("status", lambda s: s["state"] == "waiting")
        await host.publish_event("meanwhile")
        async with edge_on(port, valkey.url):
            await client.until("status", lambda s: s["state"] == "open" and s["transport"] == transport)
            await host.publish_metrics(2)
            await host.publish_event("after")
            await client.until("event", lambda e: e["name"] == "after")
            if not any(said.get("percent") == 2 for said in client.seen):
                await client.until("metrics", lambda m: m["percent"] == 2)
            names = [said["name"] for said in client.seen if said["saw"] == "event"]
            assert names == ["before", "meanwhile", "after"], "each once, and in their order"
            versions = [(said["epoch"], said["seq"]) for said in client.seen if said["saw"] == "metrics"]
            assert versions == sorted(set(versions)), "nothing jumps back"
