"""`fleetcast up` as a process of its own, with a real Valkey server and small real programs for its parts."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from common.settings import EdgeSettings, ExecutorSettings, UpSettings
from common.signing import make_pair, read_signer, read_verifier
from services.embedded import EmbeddedServer
from services.local import Limits, edge_ports, fleetcast_parts, own_keys, taken_port
from services.output import LEAVE_S
from tests.support import PATIENCE_S, eventually_sync, free_ports

DRIVER = Path(__file__).with_name("up_driver.py")
ROOT = Path(__file__).parents[2]

IDLE = "import signal; signal.pause()"
STUBBORN = "import signal; signal.signal(15, lambda *_: print('not yet', flush=True))\nwhile True: signal.pause()"
CHATTY = "while True: print('x' * 1000)"
KEYS = "FLEETCAST_ACTION_", "FLEETCAST_INSECURE"
TELLS_KEYS = (
    f"import os; print({{name: of for name, of in sorted(os.environ.items()) if name.startswith({KEYS})}})\n" + IDLE
)


class Up:
    """One run of the driver, its output in files."""

    def __init__(self, tmp_path: Path, stdout: int | None = None, **wanted: Any) -> None:
        settings = {"state_dir": str(tmp_path / "state"), "port": free_ports(), **wanted.get("settings", {})}
        parts = wanted.get("parts", {"idle": IDLE, "edge": None})
        self.port = int(settings["port"])
        self.state_dir = Path(settings["state_dir"])
        self._out = tmp_path / f"out-{time.monotonic_ns()}"
        self._err = self._out.with_suffix(".err")
        arguments = json.dumps({"settings": settings, "limits": wanted.get("limits", {}), "parts": parts})
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(DRIVER), arguments],
                stdout=out if stdout is None else stdout,
                stderr=err,
                env={**os.environ, "PYTHONPATH": str(ROOT), **wanted.get("environment", {})},
            )
        self.seen: dict[int, psutil.Process] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        return self._out.read_text()

    def complained(self) -> str:
        return self._err.read_text()

    def children(self) -> dict[str, psutil.Process]:
        """What it runs now, by name."""
        found = {}
        try:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                self.seen[child.pid] = child
                try:
                    command = child.cmdline()
                except psutil.Error:
                    continue
                if command and command[0] != sys.executable:
                    found["valkey"] = child
                elif len(command) == 4 and command[1] == "-c":
                    found[command[3]] = child
        except psutil.NoSuchProcess:
            pass
        return found

    def wait_until_up(self, *names: str) -> "Up":
        eventually_sync(lambda: f"Fleetcast is up: {self.url}" in self.said(), what=f"up ({self.complained()})")
        eventually_sync(lambda: self.children().keys() >= set(names), what=f"the parts {names}")
        return self

    def signal(self, signum: int) -> None:
        self.children()
        self.process.send_signal(signum)

    def wait(self, within_s: float = PATIENCE_S) -> int:
        return self.process.wait(within_s)

    def alive(self) -> list[psutil.Process]:
        return [child for child in self.seen.values() if is_alive(child)]

    def end(self) -> None:
        if self.process.poll() is None:
            self.children()
            self.process.terminate()
            try:
                self.process.wait(8)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        for child in self.alive():
            child.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    runs: list[Up] = []

    def start(**wanted: Any) -> Up:
        runs.append(Up(tmp_path, **wanted))
        return runs[-1]

    yield start
    for run in runs:
        run.end()


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def settings(**fields: Any) -> UpSettings:
    return UpSettings.load(fields, {})


# What is started


def test_the_parts_are_one_worker_of_each_kind_and_edges_on_consecutive_ports() -> None:
    parts = {part.name: part for part in fleetcast_parts(settings(port=9000, edges=2, host_id="web-1"), "unix:///s")}
    assert list(parts) == ["metrics", "containers", "executor", "edge-1", "edge-2"]
    assert [part.argv[4:] for part in parts.values()] == [
        ("collector", "metrics"),
        ("collector", "containers"),
        ("executor",),
        ("edge",),
        ("edge",),
    ]
    assert all(part.environment["FLEETCAST_HOST_ID"] == "web-1" for part in parts.values())
    assert all(part.environment["FLEETCAST_REDIS_URL"] == "unix:///s" for part in parts.values())
    edge = parts["edge-2"].environment
    assert (edge["FLEETCAST_PORT"], edge["FLEETCAST_EDGE_ID"], edge["FLEETCAST_BIND"]) == (
        "9001",
        "edge-2",
        "127.0.0.1",
    )
    assert edge["FLEETCAST_DRAIN_SEC"] == "0", "all edges go at once: nobody can move to another"


def test_the_workers_get_the_hosts_labels() -> None:
    parts = fleetcast_parts(settings(host_labels="env=prod"), "unix:///s")
    said = {part.name: part.environment.get("FLEETCAST_HOST_LABELS") for part in parts}
    assert said == dict.fromkeys(("metrics", "containers", "executor"), "env=prod") | {"edge-1": None}


def test_a_password_in_the_redis_url_is_not_on_any_command_line() -> None:
    for part in fleetcast_parts(settings(), "redis://:geheim@localhost"):
        assert "geheim" not in " ".join(part.argv)


def key_variables(settings: UpSettings, environ: dict[str, str]) -> dict[str, dict[str, str]]:
    """What each part finds in its environment about keys, where `up`'s own is `environ`; empty is not set."""
    return {
        part.name: {name: of for name, of in {**environ, **part.environment}.items() if of and name.startswith(KEYS)}
        for part in fleetcast_parts(settings, "unix:///s", environ)
    }


def test_edges_sign_with_the_key_that_the_executor_verifies_and_nobody_else_has_one(tmp_path: Path) -> None:
    up = settings(state_dir=tmp_path, edges=2)
    keys = own_keys(up, {})
    assert keys is not None
    make_pair(*keys)
    found = key_variables(up, {})
    assert found["metrics"] == found["containers"] == {}
    signer = read_signer(EdgeSettings.load({}, found["edge-1"]))
    verifier = read_verifier(ExecutorSettings.load({}, found["executor"]))
    assert signer is not None
    assert verifier is not None
    assert verifier.verify(signer.sign(b"{}")) == b"{}"
    assert found["edge-2"] == found["edge-1"] == {"FLEETCAST_ACTION_SIGNING_KEY_FILE": str(keys[0])}
    assert found["executor"] == {"FLEETCAST_ACTION_VERIFY_KEY_FILE": str(keys[1])}


@pytest.mark.parametrize("name", ["FLEETCAST_ACTION_SIGNING_KEY", "FLEETCAST_ACTION_SIGNING_KEY_FILE"])
def test_the_users_signing_key_is_for_edges_alone(name: str) -> None:
    public = {"FLEETCAST_ACTION_VERIFY_KEY": "public"}
    found = key_variables(settings(), {name: "private", **public})
    assert found["edge-1"] == {name: "private", **public}
    assert found["metrics"] == found["containers"] == found["executor"] == public


@pytest.mark.parametrize("name", ["ACTION_VERIFY_KEY", "ACTION_VERIFY_KEY_FILE", "INSECURE_UNSIGNED"])
def test_what_the_user_says_of_signatures_is_handed_through(name: str) -> None:
    environ = {f"FLEETCAST_{name}": "given"}
    assert own_keys(settings(), environ) is None
    assert all(found == environ for found in key_variables(settings(), environ).values())


def test_an_empty_variable_brings_no_keys() -> None:
    assert own_keys(settings(), {"FLEETCAST_ACTION_SIGNING_KEY": ""}) is not None


def test_a_port_that_somebody_listens_on_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert taken_port(range(port, port + 1)) == port
    assert taken_port(range(port, port + 1)) is None


def test_the_last_port_is_65535() -> None:
    assert list(edge_ports(settings(port=65535))) == [65535]


# While it runs


def test_it_says_where_the_page_is_once_an_edge_is_ready(start: Any) -> None:
    up = start(settings={"port": free_ports(2), "edges": 2}).wait_until_up("valkey", "idle", "edge-1", "edge-2")
    assert up.said().splitlines()[0] == f"Fleetcast is up: {up.url}  (Ctrl-C ends it)"
    assert f"other edges: http://127.0.0.1:{up.port + 1}" in up.said()


def test_what_a_part_says_is_shown_under_its_name(start: Any) -> None:
    speaker = (
        "import sys; print('to out'); print('to err \\x1b[31m', file=sys.stderr); print('no newline', end='')\n" + IDLE
    )
    up = start(parts={"speaker": f"{speaker}", "edge": None}).wait_until_up()
    eventually_sync(lambda: "speaker | to out\n" in up.said() and "speaker | to err �[31m\n" in up.said())
    up.signal(signal.SIGTERM)
    assert up.wait() == 0
    assert "speaker | no newline\n" in up.said()


def test_a_part_that_is_not_ready_is_reported_with_its_reason(start: Any) -> None:
    edge = (
        "import os, socket\n"
        "listener = socket.create_server(('127.0.0.1', int(os.environ['FLEETCAST_PORT'])))\n"
        "while True:\n"
        "    client, _ = listener.accept()\n"
        "    client.recv(4096)\n"
        "    client.sendall(b'HTTP/1.1 503 Nope\\r\\n\\r\\nno canary was heard')\n"
        "    client.close()\n"
    )
    up = start(parts={"edge": edge}, limits={"patience_s": 0.1})
    eventually_sync(lambda: "Still starting: edge-1 is not ready: no canary was heard" in up.said())


def test_every_process_that_is_killed_is_started_again_in_turn(start: Any) -> None:
    up = start(parts={"one": IDLE, "two": IDLE, "edge": None}).wait_until_up("valkey", "one", "two", "edge-1")
    for name in ("one", "two", "edge-1", "valkey"):
        before = up.children()[name]
        before.kill()
        eventually_sync(lambda name=name: f"{name} was ended by SIGKILL; starting it again in 0." in up.said())
        eventually_sync(lambda name=name, before=before: up.children().get(name, before) != before, what=name)
    assert up.process.poll() is None


def test_the_killed_server_serves_its_data_again(start: Any) -> None:
    up = start().wait_until_up("valkey")
    path = str(up.state_dir / "valkey" / "valkey.sock")
    with redis.Redis(unix_socket_path=path) as client:
        client.set("kept", "yes")
        assert client.execute_command("WAITAOF", 1, 0, 5000)[0] == 1
    up.children()["valkey"].kill()

    def answers() -> bytes | None:
        try:
            with redis.Redis(unix_socket_path=path) as client:
                return client.get("kept")
        except redis.ConnectionError:
            return None

    assert eventually_sync(answers) == b"yes"


def test_a_part_that_keeps_failing_is_tried_ever_more_slowly(start: Any) -> None:
    up = start(parts={"failing": "import sys; sys.exit(7)", "edge": None}, limits={"restart_initial_s": 0.02})
    eventually_sync(lambda: up.said().count("failing ended with exit code 7; starting it again in") >= 4)
    delays = [float(line.split(" in ")[1].split()[0]) for line in up.said().splitlines() if "failing ended" in line]
    assert delays[3] > delays[0]


def test_with_a_redis_of_the_users_no_server_is_started(start: Any, tmp_path: Path) -> None:
    up = start(settings={"redis_url": "redis://127.0.0.1:1"}).wait_until_up("idle", "edge-1")
    assert "valkey" not in up.children()
    assert not (up.state_dir / "valkey").exists()


def test_it_makes_its_keys_once_and_hands_each_part_its_own(start: Any, tmp_path: Path) -> None:
    wanted = {"parts": {"executor": TELLS_KEYS, "metrics": TELLS_KEYS, "edge": None}}
    first = start(**wanted).wait_until_up("executor", "metrics")
    signing, verify = first.state_dir / "action-signing-key.pem", first.state_dir / "action-verify-key.pem"
    nothing = {"FLEETCAST_ACTION_SIGNING_KEY": "", "FLEETCAST_ACTION_SIGNING_KEY_FILE": ""}
    executor = {**nothing, "FLEETCAST_ACTION_VERIFY_KEY_FILE": str(verify)}
    eventually_sync(lambda: f"metrics | {nothing}\n" in first.said())
    eventually_sync(lambda: f"executor | {executor}\n" in first.said())
    made = signing.read_bytes(), verify.read_bytes()
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    start(**wanted).wait_until_up("executor")
    assert (signing.read_bytes(), verify.read_bytes()) == made


def test_it_makes_no_keys_where_the_user_brings_some(start: Any) -> None:
    up = start(
        environment={"FLEETCAST_ACTION_SIGNING_KEY": "private", "FLEETCAST_ACTION_VERIFY_KEY": "public"},
        parts={"executor": TELLS_KEYS, "edge": TELLS_KEYS},
    )
    eventually_sync(lambda: "'FLEETCAST_ACTION_SIGNING_KEY': 'private'" in up.said(), what="the edge's line")
    eventually_sync(lambda: "executor | {" in up.said())
    [executor] = [line for line in up.said().splitlines() if line.startswith("executor | ")]
    assert "private" not in executor
    assert "'FLEETCAST_ACTION_VERIFY_KEY': 'public'" in executor
    assert list(up.state_dir.glob("*.pem")) == []


# How it ends

ENDLESS = {"stop_parts_s": 3600, "stop_server_s": 3600}
"""Whoever waits for these to pass does not come to an end in a test."""


def test_the_end_is_allowed_less_than_the_promised_five_seconds() -> None:
    limits = Limits()
    assert limits.stop_parts_s + limits.last_lines_s + limits.stop_server_s + LEAVE_S < 5


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_in_order(start: Any, signum: int) -> None:
    up = start(limits=ENDLESS).wait_until_up("valkey", "idle", "edge-1")
    up.signal(signum)
    assert up.wait() == 0
    assert up.alive() == []
    assert up.complained() == ""
    assert "starting it again" not in up.said()


def test_a_part_that_does_not_end_is_killed(start: Any) -> None:
    up = start(parts={"stubborn": STUBBORN, "edge": None}).wait_until_up("stubborn")
    up.signal(signal.SIGTERM)
    eventually_sync(lambda: "stubborn | not yet" in up.said(), what="the part's last words")
    assert up.wait() == 0
    assert up.alive() == []


def test_a_second_signal_ends_everything_at_once(start: Any) -> None:
    up = start(parts={"stubborn": STUBBORN, "edge": None}, limits=ENDLESS).wait_until_up("stubborn")
    up.signal(signal.SIGINT)
    eventually_sync(lambda: "Stopping" in up.said())
    up.signal(signal.SIGINT)
    assert up.wait() == 1
    assert up.alive() == []


def test_a_signal_before_it_is_up_leaves_nothing_either(start: Any) -> None:
    up = start(parts={"idle": IDLE})  # no edge: it waits for one
    eventually_sync(lambda: "idle" in up.children())
    up.signal(signal.SIGTERM)
    assert up.wait() == 0
    assert up.alive() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_sigkill_leaves_no_process_and_the_next_run_starts_clean(start: Any) -> None:
    first = start(parts={"stubborn": STUBBORN, "edge": None}).wait_until_up("valkey", "stubborn", "edge-1")
    first.signal(signal.SIGKILL)
    eventually_sync(lambda: not first.alive(), what="the end of what it started")
    start(settings={"port": first.port}).wait_until_up("valkey", "idle", "edge-1")


def test_a_terminal_that_takes_no_output_neither_stops_the_parts_nor_the_end(start: Any) -> None:
    unread, stdout = os.pipe()
    try:
        up = start(stdout=stdout, parts={"chatty": CHATTY, "edge": None}, limits=ENDLESS)
        eventually_sync(lambda: up.children().keys() >= {"chatty", "edge-1"})
        chatty = up.children()["chatty"]
        written = chatty.io_counters().write_chars
        eventually_sync(lambda: chatty.io_counters().write_chars > written + (8 << 20), what="8 MB more written")
        up.signal(signal.SIGTERM)
        assert up.wait() == 0
        assert up.alive() == []
    finally:
        os.close(unread)
        os.close(stdout)


def test_it_outlives_the_reader_of_its_output(start: Any) -> None:
    unread, stdout = os.pipe()
    os.close(unread)
    try:
        up = start(stdout=stdout)
        eventually_sync(lambda: up.children().keys() >= {"valkey", "idle", "edge-1"})
        up.children()["idle"].kill()
        eventually_sync(lambda: "idle" in up.children())
        up.signal(signal.SIGTERM)
        assert up.wait() == 0
        assert up.complained() == ""
    finally:
        os.close(stdout)


# What keeps it from starting


def test_a_second_one_on_the_same_state_directory_says_who_is_up_and_stops(start: Any) -> None:
    first = start().wait_until_up("valkey")
    second = start()
    assert second.wait() == 1
    assert second.complained() == (
        f"fleetcast: already up on {first.state_dir} as process {first.process.pid}: {first.url}\n"
    )
    assert first.process.poll() is None
    assert first.children().keys() >= {"valkey", "idle", "edge-1"}


def test_a_taken_port_is_one_line(start: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        up = start(settings={"port": port})
        assert up.wait() == 1
    assert up.complained().startswith(f"fleetcast: port {port} is in use: choose another with --port")
    assert up.complained().count("\n") == 1
    assert up.said() == ""


@pytest.mark.parametrize("exit_code", [2, 78])
def test_a_part_that_cannot_start_at_all_ends_everything_with_its_reason(start: Any, exit_code: int) -> None:
    complaint = "fleetcast: --port: is wrong\\n╰──╯"
    wrong = f"import sys; print('first'); print('{complaint}', file=sys.stderr); sys.exit({exit_code})"
    up = start(parts={"wrong": wrong, "idle": IDLE})
    assert up.wait() == 2
    assert up.complained() == "fleetcast: wrong cannot start: --port: is wrong\n"
    assert "starting it again" not in up.said()
    assert up.alive() == []


def test_edges_beyond_the_last_port_are_one_line(start: Any) -> None:
    up = start(settings={"port": 65535, "edges": 2})
    assert up.wait() == 2
    assert up.complained() == "fleetcast: --port / FLEETCAST_PORT: 2 edges do not fit between it and 65535\n"


def test_a_state_directory_that_cannot_be_used_is_one_line(start: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    up = start(settings={"state_dir": str(tmp_path / "file" / "state")})
    assert up.wait() == 2
    assert up.complained().startswith("fleetcast: --state-dir / FLEETCAST_STATE_DIR: cannot use ")
    assert up.complained().count("\n") == 1


def test_keys_that_do_not_belong_together_are_one_line(start: Any, tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    make_pair(state_dir / "action-signing-key.pem", state_dir / "action-verify-key.pem")
    (state_dir / "action-signing-key.pem").unlink()
    up = start()
    assert up.wait() == 2
    assert up.complained().startswith(f"fleetcast: {state_dir}/action-verify-key.pem: is there without its private key")
    assert up.complained().count("\n") == 1


async def test_a_server_that_does_not_start_says_why_in_one_line(start: Any, tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "state"):
        pass
    [log] = (tmp_path / "state" / "valkey" / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"this is no append-only file\r\n" * 10)
    up = start()
    assert up.wait() == 1
    assert "Bad file format reading the append only file" in up.complained()
    assert str(tmp_path / "state" / "valkey") in up.complained()
    assert up.complained().count("\n") == 1
