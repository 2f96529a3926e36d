"""`fleetcast edge --workers N` as real processes: clients spread over them, one that dies and all that end."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from common.bus import Bus
from common.errors import SettingsError
from common.settings import EdgeSettings
from services.edge.drain import retry_after_ms
from services.edge.server import listen, reserved_port
from services.edge_workers import run_edge_workers, worker_environment
from services.embedded import EmbeddedServer
from tests.edges import Socket, fake_host
from tests.support import PATIENCE_S, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads the clients of a port")

ROOT = Path(__file__).parents[2]

WITHOUT_PATIENCE = """
import logging
from common.settings import EdgeSettings
from services.edge_workers import run_edge_workers
logging.basicConfig(level=logging.INFO)
run_edge_workers(EdgeSettings.load({}), stop_s=0.3)
"""


class RunningWorkers:
    """An edge with workers, as the process that was started."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log
        self._seen: set[psutil.Process] = set()

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def port(self) -> int:
        """Known as soon as it is said."""
        found = re.search(r"port (\d+)", self.said)
        return int(found[1]) if found else 0

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/ws"

    def workers(self) -> dict[str, psutil.Process]:
        """Those that run now, by edge id."""
        found = {}
        for child in psutil.Process(self.pid).children():
            try:
                found[child.environ()["FLEETCAST_EDGE_ID"]] = child
            except (psutil.Error, KeyError):  # it has gone, or is not yet what it will be
                continue
        self._seen.update(found.values())
        return found

    def left(self) -> list[psutil.Process]:
        """The processes seen so far that are still there."""
        return [process for process in self._seen if not has_gone(process)]

    def metrics_directory(self) -> Path:
        return Path(self.workers()["edge.1"].environ()["PROMETHEUS_MULTIPROC_DIR"])

    async def get(self, path: str) -> httpx.Response | None:
        """Over a connection of its own, so that the kernel chooses again who answers; None where nobody listens."""
        async with httpx.AsyncClient() as http:
            try:
                return await http.get(f"http://127.0.0.1:{self.port}{path}")
            except httpx.TransportError:
                return None

    async def until_all_serve(self, *edge_ids: str) -> None:
        seen: set[str] = set()

        async def all_answered() -> bool:
            answer = await self.get("/api/ws")
            if answer is not None and answer.json()["ready"]:
                seen.add(answer.json()["edgeId"])
            return seen == set(edge_ids)

        await eventually(all_answered, what=f"{edge_ids} to serve; {seen} did; {self.said}")
        assert self.workers().keys() == set(edge_ids)

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[httpx.AsyncClient]:
        """Over one connection, which is one worker's."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as http:
            yield http

    async def clients(self, stack: AsyncExitStack, count: int, *channels: str) -> list[Socket]:
        clients = []
        for _ in range(count):
            client = Socket(await stack.enter_async_context(connect(self.ws)))
            assert (await client.next()).type == "connected"
            if channels:
                await client.send({"type": "subscribe", "channels": list(channels)})
            clients.append(client)
        return clients

    async def end(self) -> None:
        if self.process.returncode is None:
            self.workers()
            self.process.terminate()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.process.wait()
        finally:
            for process in self.left():
                process.kill()


def has_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def environment(**settings: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCAST_")}
    return {**clean, "PYTHONPATH": str(ROOT), **settings}


@asynccontextmanager
async def started(
    redis_url: str, log: Path, *, arguments: Sequence[str] = ("-m", "services.cli", "edge"), **settings: str
) -> AsyncIterator[RunningWorkers]:
    chosen = {
        "FLEETCAST_REDIS_URL": redis_url,
        "FLEETCAST_PORT": "0",
        "FLEETCAST_EDGE_ID": "edge",
        "FLEETCAST_WORKERS": "2",
        "FLEETCAST_DRAIN_SEC": "0.2",
    }
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdout=out, stderr=out, env=environment(**(chosen | settings))
        )
    edge = RunningWorkers(process, log)
    try:
        yield edge
    finally:
        await edge.end()


@pytest.fixture
async def edge(valkey: EmbeddedServer, tmp_path: Path) -> AsyncIterator[RunningWorkers]:
    async with started(valkey.url, tmp_path / "log", FLEETCAST_DRAIN_SEC="1") as running:
        await running.until_all_serve("edge.1", "edge.2")
        yield running


def percent_is(percent: float) -> Any:
    return lambda message: message.type == "metrics" and message.data.cpu.percent == percent


def edge_of(client: Socket) -> str:
    edge_id: str = client.received[0].edge_id
    return edge_id


async def metric(http: httpx.AsyncClient, sample: str) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    [value] = [line.split()[-1] for line in lines if line.startswith(f"{sample} ")]
    return float(value)


async def closing_of(client: Socket) -> Any:
    """What the edge said when it closed the connection; None where it just broke."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            await client.next()
    return closed.value.rcvd


async def test_clients_are_spread_over_the_workers_and_all_get_the_same_state(edge: RunningWorkers, bus: Bus) -> None:
    async with AsyncExitStack() as stack, fake_host(bus) as host:
        clients = await edge.clients(stack, 40, "metrics")
        assert {edge_of(client) for client in clients} == {"edge.1", "edge.2"}
        await host.publish_metrics(7.0)
        states = [await client.until(percent_is(7.0)) for client in clients]
        assert states == [states[0]] * 40


async def test_a_killed_worker_is_back_and_the_clients_of_the_others_do_not_notice(
    edge: RunningWorkers, bus: Bus
) -> None:
    before = edge.workers()
    async with AsyncExitStack() as stack, fake_host(bus) as host:
        clients = await edge.clients(stack, 40, "metrics")
        lost = [client for client in clients if edge_of(client) == "edge.1"]
        kept = [client for client in clients if edge_of(client) == "edge.2"]
        before["edge.1"].kill()
        assert [await closing_of(client) for client in lost] == [None] * len(lost)
        await eventually(lambda: has_gone(before["edge.1"]))
        back = await edge.clients(stack, len(lost), "metrics")
        await host.publish_metrics(2.0)
        for client in [*kept, *back]:
            await client.until(percent_is(2.0))
        await edge.until_all_serve("edge.1", "edge.2")
        after = edge.workers()
        assert after["edge.1"].pid != before["edge.1"].pid
        assert after["edge.2"].pid == before["edge.2"].pid
        assert "worker 1 was ended by SIGKILL; starting it again in" in edge.said
        async with edge.asked() as http:
            assert await metric(http, 'fleetcast_worker_restarts_total{worker="1"}') == 1
            assert await metric(http, 'fleetcast_worker_restarts_total{worker="2"}') == 0
        for client in kept:
            await client.ping()


async def test_while_a_worker_is_missing_the_others_take_every_new_connection(edge: RunningWorkers) -> None:
    missing = edge.workers()["edge.1"]
    os.kill(edge.pid, signal.SIGSTOP)  # nobody starts it again now
    try:
        missing.kill()
        await eventually(lambda: has_gone(missing))
        async with AsyncExitStack() as stack:
            clients = await edge.clients(stack, 20)
            assert Counter(map(edge_of, clients)) == {"edge.2": 20}
    finally:
        os.kill(edge.pid, signal.SIGCONT)
    await edge.until_all_serve("edge.1", "edge.2")


async def test_metrics_are_those_of_all_workers_whoever_is_asked(edge: RunningWorkers) -> None:
    async with AsyncExitStack() as stack, edge.asked() as http:
        asked = (await http.get("/api/ws")).json()["edgeId"]
        [other] = edge.workers().keys() - {asked}

        async def clients_are(expected: int) -> bool:
            return await metric(http, "fleetcast_clients") == expected

        clients = await edge.clients(stack, 20)
        there = Counter(map(edge_of, clients))
        assert there[other]
        await eventually(lambda: clients_are(20), what="the sum of all clients")
        edge.workers()[other].kill()
        await eventually(lambda: clients_are(there[asked]), what="the clients of the living worker alone")
        await edge.until_all_serve("edge.1", "edge.2")
        assert await clients_are(there[asked]), "the new worker does not bring back the clients of the dead one"


@pytest.mark.parametrize("whom", ["the supervisor", "every process"])
async def test_sigterm_sends_all_clients_away_and_ends_all_processes(edge: RunningWorkers, whom: str) -> None:
    """Every process gets it at once where a service manager stops the service."""
    workers = edge.workers()
    directory = edge.metrics_directory()
    assert list(directory.glob("*.db"))
    async with AsyncExitStack() as stack:
        clients = await edge.clients(stack, 40)
        for pid in [edge.pid] if whom == "the supervisor" else [*(w.pid for w in workers.values()), edge.pid]:
            os.kill(pid, signal.SIGTERM)
        for client in clients:
            closing = await closing_of(client)
            assert closing.code == 1012
            assert 0 <= retry_after_ms(closing.reason) < 1000
    assert await edge.process.wait() == -signal.SIGTERM
    assert not edge.left()
    assert not directory.exists()
    for number in (1, 2):
        assert re.search(rf"\[{number}\] services\.edge\.drain: telling \d+ clients", edge.said)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
async def test_an_edge_ends_the_same_way_with_one_worker_and_with_several(
    valkey: EmbeddedServer, tmp_path: Path, workers: int, signum: signal.Signals, exit_code: int
) -> None:
    with reserved_port(EdgeSettings(port=0)) as port:
        pass
    settings = {"FLEETCAST_WORKERS": str(workers), "FLEETCAST_PORT": str(port)}
    async with started(valkey.url, tmp_path / "log", **settings) as edge:

        async def answers() -> bool:
            async with httpx.AsyncClient() as http:
                try:
                    return (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

        await eventually(answers)
        edge.workers()
        edge.process.send_signal(signum)
        assert await edge.process.wait() == exit_code
        assert not edge.left()
        assert "Traceback" not in edge.said


async def test_a_second_signal_ends_all_at_once(valkey: EmbeddedServer, tmp_path: Path) -> None:
    async with started(valkey.url, tmp_path / "log", FLEETCAST_DRAIN_SEC="3600") as edge:
        await edge.until_all_serve("edge.1", "edge.2")
        edge.workers()["edge.1"].suspend()  # it ends by nothing less than SIGKILL
        edge.process.terminate()
        await eventually(lambda: "ending the workers" in edge.said)
        edge.process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            assert await edge.process.wait() == -signal.SIGTERM
        assert not edge.left()


async def test_a_worker_that_does_not_end_in_time_is_killed(valkey: EmbeddedServer, tmp_path: Path) -> None:
    driver = ("-c", WITHOUT_PATIENCE)
    async with started(valkey.url, tmp_path / "log", arguments=driver, FLEETCAST_DRAIN_SEC="0") as edge:
        await edge.until_all_serve("edge.1", "edge.2")
        edge.workers()["edge.1"].suspend()
        edge.process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            assert await edge.process.wait() == -signal.SIGTERM
        assert not edge.left()


async def test_nothing_outlives_a_supervisor_that_is_killed(
    edge: RunningWorkers, valkey: EmbeddedServer, tmp_path: Path
) -> None:
    left = edge.metrics_directory()
    edge.process.kill()
    await eventually(lambda: not edge.left())
    os.utime(left, (1, 1))  # long ago
    async with started(valkey.url, tmp_path / "another-log") as another:
        await another.until_all_serve("edge.1", "edge.2")
        assert not left.exists(), "the next one takes away what it could not"
        assert list(another.metrics_directory().glob("*.db"))


async def test_the_metrics_of_a_living_edge_are_left_alone_by_the_next(
    edge: RunningWorkers, valkey: EmbeddedServer, tmp_path: Path
) -> None:
    os.utime(edge.metrics_directory(), (1, 1))
    async with started(valkey.url, tmp_path / "another-log") as another:
        await another.until_all_serve("edge.1", "edge.2")
        assert list(edge.metrics_directory().glob("*.db"))


# The port


@pytest.mark.parametrize("others", ["1", "2"])
async def test_a_port_with_workers_on_it_is_taken_for_every_other_edge(edge: RunningWorkers, others: str) -> None:
    assert_cannot_listen(edge.port, others)


def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert_cannot_listen(taken.getsockname()[1], "2")


def refused(*arguments: str) -> str:
    """The one line with which an edge ends for wrong use."""
    answer = subprocess.run(
        [sys.executable, "-m", "services.cli", "edge", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert answer.returncode == 2, answer.stderr
    [line] = answer.stderr.splitlines()
    return line


def assert_cannot_listen(port: int, workers: str) -> None:
    line = refused("--port", str(port), "--workers", workers)
    assert line.startswith("fleetcast: --port / FLEETCAST_PORT")
    assert f"cannot listen on 127.0.0.1 port {port} (Address already in use)" in line


def test_a_reserved_port_is_free_for_workers_only_and_gets_no_connections_itself() -> None:
    with reserved_port(EdgeSettings(port=0)) as port:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with pytest.raises(SettingsError), reserved_port(EdgeSettings(port=port)):
            pass
        with pytest.raises(SettingsError):
            listen(EdgeSettings(port=port))
        with listen(EdgeSettings(port=port, worker_number=1)), listen(EdgeSettings(port=port, worker_number=2)):
            socket.create_connection(("127.0.0.1", port)).close()
    listen(EdgeSettings(port=port)).close()


# Settings


def test_a_worker_has_its_supervisors_settings_and_its_share_of_what_all_may_have_together() -> None:
    settings = EdgeSettings(
        redis_url="redis://:hunter2@redis:6380/3",
        bind="::1",
        port=8081,
        edge_id="edge",
        workers=3,
        compress=False,
        drain_sec=0.1,
        max_clients=100,
        max_clients_per_address=10,
        trusted_proxies="",
        jwt_secret="x" * 40,
        jwt_secret_file=Path("/run/secret"),
    )
    mine = EdgeSettings.load({}, worker_environment(settings, 2))
    own = {"worker_number": 2, "edge_id": "edge.2", "max_clients": 34, "max_clients_per_address": 4}
    assert stripped(mine) == stripped(settings) | own


def stripped(settings: EdgeSettings) -> dict[str, Any]:
    """A blank is what nothing becomes in a variable: empty, it would count as not set, and bring the default back."""
    return {name: value.strip() if isinstance(value, str) else value for name, value in settings}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workers", "0"), "--workers / FLEETCAST_WORKERS"),
        (("--workers", "2", "--bind", "0.0.0.0"), "sign-in"),
        (("--workers", "2", "--allowed-origins", "*"), "FLEETCAST_ALLOWED_ORIGINS"),
        (("--workers", "2", "--edge-id", "e" * 62), "at most 61 characters"),
    ],
)
def test_what_is_wrong_is_said_once_for_all_workers(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused("--port", "0", *arguments)


def test_several_workers_are_refused_where_the_kernel_does_not_spread_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SettingsError, match="needs Linux"):
        run_edge_workers(EdgeSettings(workers=2))
