"""The whole path with every process that production has: `fleetcast up` and real containers."""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from websockets.asyncio.client import connect

from common.schema import json_schema
from tests.conftest import Containers, docker
from tests.edges import Socket
from tests.support import PATIENCE_S
from tests.ups import RunningUp, running_up

pytestmark = pytest.mark.docker


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[RunningUp]:
    async with running_up(tmp_path / "state", edges=2) as running:
        yield running


def lists(name: str, **expected: Any) -> Any:
    """A `containers` message in which this container is as expected."""

    def matches(message: Any) -> bool:
        if message.type != "containers":
            return False
        found = [c for c in message.data if c.name == name]
        return bool(found) and all(getattr(found[0], field) == value for field, value in expected.items())

    return matches


async def shows(client: Socket, wanted: Callable[[Any], bool]) -> Any:
    """The newest list of containers where it is as wanted, else the first one to come that is: it may have come before
    the ack that a test waited for."""
    newest = next((message for message in reversed(client.received) if message.type == "containers"), None)
    return newest if newest is not None and wanted(newest) else await client.until(wanted)


def runs_since(name: str, earlier: int) -> Any:
    """A `containers` message in which this container runs and was started later than that."""

    def matches(message: Any) -> bool:
        return lists(name, state="running")(message) and (container_in(message, name).started_at or 0) > earlier

    return matches


def container_in(message: Any, name: str) -> Any:
    return next(c for c in message.data if c.name == name)


async def act(client: Socket, name: str, action: str, request_id: str | None = None, **fields: Any) -> list[Any]:
    """Sends an action and returns its acks."""
    request_id = request_id or uuid.uuid4().hex
    await client.send(
        {"type": "container-action", "requestId": request_id, "containerId": name, "action": action, **fields}
    )
    return await acks(client, request_id)


async def acks(client: Socket, request_id: str) -> list[Any]:
    found: list[Any] = []
    while not found or found[-1].status in {"accepted", "running"}:
        found.append(await client.until(lambda m: m.type == "container-ack" and m.request_id == request_id))
    return found


async def started_at(name: str) -> str:
    return await docker("inspect", "--format", "{{.State.StartedAt}}", name)


async def test_a_container_appears_restarts_stops_and_goes(up: RunningUp, containers: Containers) -> None:
    async with up.client("containers", "metrics", "hosts") as client:
        await client.get("metrics")
        name = await containers.run("sh", "-c", "trap exit TERM; while :; do sleep 0.1; done")
        shown = container_in(await client.until(runs_since(name, 0)), name)
        before = await started_at(name)

        restarted = await act(client, name, "restart", expect={"id": shown.id, "startedAt": shown.started_at})
        assert [ack.status for ack in restarted] == ["accepted", "running", "succeeded"]
        assert {ack.container_id for ack in restarted} == {shown.id}
        assert await started_at(name) != before
        await shows(client, runs_since(name, shown.started_at))

        assert (await act(client, shown.id[:12], "stop", timeoutSec=1))[-1].status == "succeeded"
        await shows(client, lists(name, state="exited"))
        assert (await act(client, name, "remove"))[-1].status == "succeeded"
        await shows(client, lambda m: m.type == "containers" and all(c.name != name for c in m.data))


async def test_a_repeated_request_id_does_nothing_twice_on_any_edge(up: RunningUp, containers: Containers) -> None:
    async with up.client("containers", edge=0) as first, up.client("containers", edge=1) as second:
        name = await containers.run()
        await first.until(lists(name, state="running"))
        once = await act(first, name, "restart", "the-one", timeoutSec=0)
        assert once[-1].status == "succeeded"
        after = await started_at(name)
        again = await act(second, name, "restart", "the-one", timeoutSec=0)
        assert again[-1] == once[-1], "the same answer, word for word"
        assert (await act(first, name, "restart", "the-one"))[-1] == once[-1]
        assert await started_at(name) == after


async def test_whoever_asks_for_the_same_request_on_another_edge_hears_the_rest(
    up: RunningUp, containers: Containers
) -> None:
    async with up.client("containers", edge=0) as first, up.client("containers", edge=1) as second:
        name = await containers.run("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
        await first.until(lists(name, state="running"))
        request = {
            "type": "container-action",
            "requestId": "shared",
            "containerId": name,
            "action": "stop",
            "timeoutSec": 2,
        }
        await first.send(request)
        await first.until(lambda m: m.type == "container-ack" and m.status == "running")
        await second.send(request)
        heard = await acks(second, "shared")
        assert [ack.status for ack in heard] == ["running", "succeeded"]
        assert (await acks(first, "shared"))[-1] == heard[-1]


async def test_every_server_message_fits_the_published_schema(up: RunningUp, containers: Containers) -> None:
    schema = json_schema()
    validator = jsonschema.Draft202012Validator({**schema["$defs"]["ServerMessage"], "$defs": schema["$defs"]})
    name = await containers.run(
        options=("--label", "secret=hush", "--label", "fleetcast.team=ops", "-p", "127.0.0.1::80")
    )
    wanted = {"connected", "metrics", "containers", "hosts", "container-ack", "heartbeat", "error"}
    async with connect(up.ws()) as connection:
        await connection.send('{"type":"subscribe","channels":["metrics","containers","hosts"]}')
        await connection.send("rubbish")
        asked = False
        while wanted:
            async with asyncio.timeout(PATIENCE_S):
                text = await connection.recv(decode=True)
            message = json.loads(text)
            problems = list(validator.iter_errors(message))
            assert not problems, f"{text[:300]}: {problems[0].message}"
            assert "hush" not in text, "labels that are not on the allow-list stay on the host"
            wanted.discard(message["type"])
            if message["type"] == "containers" and not asked and any(c["name"] == name for c in message["data"]):
                asked = True
                await connection.send(
                    json.dumps(
                        {
                            "type": "container-action",
                            "requestId": "p",
                            "containerId": name,
                            "action": "pause",
                            "host": "here",
                        }
                    )
                )


async def test_the_commands_watch_and_act(up: RunningUp, containers: Containers) -> None:
    name = await containers.run()
    async with up.client("containers") as client:
        await client.until(lists(name))
    code, out = await fleetcast(up, "act", "pause", f"here/{name}")
    assert (code, "succeeded" in out) == (0, True), out
    code, out = await fleetcast(up, "act", "pause", f"here/{name}")
    assert (code, "failed" in out) == (1, True), out
    code, out = await fleetcast(up, "act", "pause", "here/no-such-container")
    assert (code, "no-such-container" in out) == (1, True), out
    assert (await fleetcast(up, "act", "explode", f"here/{name}"))[0] == 2

    watch = await start(up, "watch", "--json", "hosts", "metrics")
    assert watch.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        kinds = {json.loads(await watch.stdout.readline())["type"] for _ in range(5)}
    assert kinds >= {"hosts", "metrics"}
    watch.terminate()
    assert await watch.wait() == 143


async def start(up: RunningUp, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", *arguments, "--url", up.ws()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def fleetcast(up: RunningUp, *arguments: str) -> tuple[int | None, str]:
    process = await start(up, *arguments)
    async with asyncio.timeout(PATIENCE_S):
        out, _ = await process.communicate()
    return process.returncode, out.decode()
