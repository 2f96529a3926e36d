"""`fleetcast watch` as a process: its output, its signals, its pipes and its terminal."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common.errors import SettingsError
from common.settings import ClientSettings
from services.client.watch import for_lines, for_tables, run_watch
from tests.services.fake_edge import (
    FakeEdge,
    container,
    containers,
    event,
    host_status,
    hosts,
    link,
    metrics,
    process,
    processes,
    usage,
)
from tests.support import PATIENCE_S, eventually


@pytest.fixture
async def edge() -> AsyncIterator[FakeEdge]:
    async with FakeEdge(heartbeat_ms=100) as edge:
        edge.replay = [hosts(), metrics(), containers()]
        yield edge


class Watching:
    """A `fleetcast watch` process and what it has written."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out = ""

    async def read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):  # a pty's other end is closed
            while chunk := await reader.read(65536):
                self.out += chunk.decode(errors="replace")

    async def says(self, text: str, within_s: float = PATIENCE_S) -> None:
        await eventually(lambda: text in self.out, within_s, what=f"{text!r} in {self.out[-2000:]!r}")

    async def ends(self, within_s: float = PATIENCE_S) -> int:
        async with asyncio.timeout(within_s):
            return await self.process.wait()


def command(url: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "services.cli", "watch", "--url", url, *arguments)


@asynccontextmanager
async def watching(url: str, *arguments: str, read: bool = True) -> AsyncIterator[Watching]:
    """With standard output and standard error in a pipe. `read`: whether anybody reads it."""
    ours, theirs = os.pipe()
    process = await asyncio.create_subprocess_exec(*command(url, *arguments), stdout=theirs, stderr=theirs)
    os.close(theirs)
    reader = asyncio.StreamReader()
    pipe = os.fdopen(ours, "rb", buffering=0)
    watch = Watching(process)
    reading = None
    if read:
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        reading = asyncio.create_task(watch.read(reader))
    try:
        yield watch
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if reading is not None:
            await reading
        else:
            pipe.close()


@asynccontextmanager
async def watching_on_a_terminal(url: str, *arguments: str) -> AsyncIterator[Watching]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40"}
    process = await asyncio.create_subprocess_exec(
        *command(url, *arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True
    )
    os.close(theirs)
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
    )
    watch = Watching(process)
    reading = asyncio.create_task(watch.read(reader))
    try:
        yield watch
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading
        transport.close()


async def test_json_is_every_message_one_a_line(edge: FakeEdge) -> None:
    edge.replay = [containers(container("snow\u2028man")), usage(("nginx", 1.0, 1)), event(), processes([], [])]
    async with watching(edge.url, "--json") as watch:
        await watch.says("snow")
        await watch.says('"processes"')
        await edge.send('{"type":\n"heartbeat",\r\n"serverTime": 7}')
        await watch.says('"serverTime": 7')
    lines = watch.out.strip().split("\n")
    assert [json.loads(line)["type"] for line in lines[:5]] == [
        "connected",
        "containers",
        "usage",
        "event",
        "processes",
    ]
    assert edge.received == [{"type": "subscribe", "channels": ["hosts", "metrics", "containers", "usage", "events"]}]


async def test_json_subscribes_to_what_is_asked_and_nothing_else(edge: FakeEdge) -> None:
    async with watching(edge.url, "--json", "metrics:web-1"):
        await edge.has_client()
    assert edge.received == [{"type": "subscribe", "channels": ["metrics:web-1"]}]


async def test_it_ends_quietly_when_nobody_reads_any_more(edge: FakeEdge) -> None:
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m services.cli watch --url {edge.url} --json | head -n 1; echo ${{PIPESTATUS[0]}}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        executable="/bin/bash",
    )
    async with asyncio.timeout(PATIENCE_S):
        out, _ = await process.communicate()
    first, code = out.decode().strip().split("\n")
    assert json.loads(first)["type"] == "connected"
    assert code == "0"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("option", ["--json", "--log-level=info"])
async def test_signals_end_it_quietly(edge: FakeEdge, number: signal.Signals, code: int, option: str) -> None:
    async with watching(edge.url, option) as watch:
        await watch.says("connected")
        watch.process.send_signal(number)
        assert await watch.ends() == code
    assert "Traceback" not in watch.out


async def test_signals_end_it_while_nobody_takes_its_output(edge: FakeEdge) -> None:
    big = containers(*(container(f"c{number}") for number in range(500)))
    edge.replay = [big] * 20
    async with watching(edge.url, "--json", read=False) as watch:
        await edge.has_client()
        await eventually(lambda: _is_blocked_writing(watch.process.pid), what="a full pipe")
        watch.process.send_signal(signal.SIGINT)
        assert await watch.ends() == 130


def _is_blocked_writing(pid: int) -> bool:
    """Whether one of the process' threads waits for room in a pipe."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/syscall") as file:
            if file.read().startswith("1 0x1 "):
                return True
    return False


async def test_signals_end_it_while_no_edge_answers(edge: FakeEdge) -> None:
    await edge.stop()
    async with watching(edge.url, "--json") as watch:
        await watch.says("connection refused")
        watch.process.send_signal(signal.SIGTERM)
        assert await watch.ends() == 143
    assert watch.out.count("connection refused") == 1


async def test_json_resumes_after_the_edge_was_away(edge: FakeEdge) -> None:
    async with watching(edge.url, "--json") as watch:
        await watch.says('"containers"')
        await edge.stop()
        await watch.says("is not available")
        await edge.listen()
        await watch.says("is back after")
        await eventually(lambda: watch.out.count('"containers"') >= 2)


async def test_without_a_terminal_it_logs_changes(edge: FakeEdge) -> None:
    async with watching(edge.url, "containers:web-1") as watch:
        await watch.says("web-1/nginx: running, nginx:1.27, Up 3 minutes")
        await edge.send(containers(container(state="exited", exitCode=1), seq=2))
        await watch.says("web-1/nginx: running → exited (1)")
        await edge.send(containers(container(), seq=1))
        edge.drop()
        await watch.says("disconnected, values are stale: connection lost; reconnecting")
        await eventually(lambda: watch.out.count("connected to edge") == 2)
    assert edge.received[0]["channels"] == ["containers:web-1", "hosts:web-1"]
    assert watch.out.count("exited") == 1
    assert all(re.match(r"\d\d:\d\d:\d\d \S", line) for line in watch.out.strip().split("\n"))


async def test_without_a_terminal_each_event_is_a_line(edge: FakeEdge) -> None:
    async with watching(edge.url) as watch:
        await watch.says("web-1/nginx: running, nginx:1.27")
        await edge.send(event(exitCode=137, oomKilled=True))
        await watch.says("web-1/nginx: running → exited (137, out of memory)\n")
        ended = containers(container(state="exited", exitCode=137, oomKilled=True), seq=2)
        cause = {"requestId": "r", "actor": "ops", "action": "restart"}
        await edge.send(ended, event(before="exited", after="running", cause=cause))
        await watch.says("web-1/nginx: exited → running, by ops (restart)\n")
    assert watch.out.count("(137, out of memory)") == 1


async def test_on_a_terminal_it_shows_usage_processes_and_the_last_events(edge: FakeEdge) -> None:
    edge.replay += [usage(("nginx", 37.0, 5 << 20)), processes([process(4711, "nginx-worker")], []), event("db")]
    async with watching_on_a_terminal(edge.url, "usage", "events", "processes:web-1", "metrics") as watch:
        for text in ("37 %", "5.0 MiB", "4711", "nginx-worker", "web-1/db", "running → exited"):
            await watch.says(text)
    assert edge.received[0]["channels"] == ["usage", "events", "processes:web-1", "metrics", "containers", "hosts"]


async def test_on_a_terminal_it_shows_tables_and_how_the_connection_stands(edge: FakeEdge) -> None:
    async with watching_on_a_terminal(edge.url) as watch:
        await watch.says("connected to edge edge-1")
        await watch.says("CONTAINER")
        await watch.says("Up 3 minutes")
        await edge.send(hosts(host_status(containers=link("gone", "docker-unreachable"))))
        await watch.says("s old: docker-unreachable")
        await edge.stop()
        await watch.says("connection refused: reconnecting in ")
        await edge.listen()
        await eventually(lambda: watch.out.count("connected to edge edge-1") >= 2)
        watch.process.send_signal(signal.SIGINT)
        assert await watch.ends() == 130
    assert watch.out.rstrip().endswith("\x1b[?1049l\x1b[?25h") or "\x1b[?1049l" in watch.out[-200:]
    assert "Traceback" not in watch.out


async def test_on_a_terminal_it_draws_at_most_four_times_a_second(edge: FakeEdge) -> None:
    edge.beats = True
    edge.heartbeat_ms = 5
    async with watching_on_a_terminal(edge.url) as watch:
        await watch.says("connected to edge edge-1")
        loop = asyncio.get_running_loop()
        begun, drawn = loop.time(), watch.out.count("CONTAINER")
        await eventually(lambda: watch.out.count("CONTAINER") >= drawn + 8)
        assert loop.time() - begun >= 7 * 0.25 * 0.9


async def test_a_refusal_ends_it_with_one_line(edge: FakeEdge) -> None:
    async with watching(edge.url, "--json") as watch:
        await edge.has_client()
        await edge.close(4401, "expired")
        assert await watch.ends() == 1
        await watch.says("wants a sign-in")
    assert "Traceback" not in watch.out


@pytest.mark.parametrize("channel", ["weather", "metrics:", "metrics:a b"])
async def test_a_wrong_channel_is_wrong_use(edge: FakeEdge, channel: str) -> None:
    async with watching(edge.url, channel) as watch:
        assert await watch.ends() == 2
    assert watch.out.startswith("fleetcast: CHANNEL: ")
    assert watch.out.count("\n") == 1


async def test_a_wrong_address_is_wrong_use() -> None:
    async with watching("ws://host:99999/", "--json") as watch:
        assert await watch.ends() == 2
    assert "--url" in watch.out


async def test_no_channels_at_all_mean_the_default(edge: FakeEdge, capfd: pytest.CaptureFixture[str]) -> None:
    task = asyncio.create_task(run_watch(ClientSettings(url=edge.url), None, as_json=False))
    await edge.has_client()
    task.cancel()
    await asyncio.wait([task])
    assert edge.received == [{"type": "subscribe", "channels": ["hosts", "metrics", "containers", "events"]}]


def test_links_come_with_the_hosts_that_are_watched() -> None:
    links_of_both = ("metrics:a", "containers:b", "hosts:a", "hosts:b")
    assert for_tables(["metrics:a", "containers:b", "hosts:a"]) == links_of_both
    assert for_tables(["metrics", "containers:b"]) == ("metrics", "containers:b", "hosts")


def test_containers_come_with_their_usage() -> None:
    assert for_tables(["usage:a", "hosts"]) == ("usage:a", "hosts", "containers:a")
    assert for_tables(["usage", "containers:a"]) == ("usage", "containers", "hosts")


def test_what_makes_no_lines_is_not_subscribed_to_for_them() -> None:
    assert for_lines(["usage", "processes:a", "events:b"]) == ("events:b", "hosts:b")
    with pytest.raises(SettingsError, match="--json"):
        for_lines(["usage", "processes"])
