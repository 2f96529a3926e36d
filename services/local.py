"""`fleetcast up`: everything on this machine, as the separate processes that production has.

It owns its processes: each one that ends is started again with backoff, and none outlives it. On Ctrl-C, SIGTERM or
SIGHUP the parts have 3.5 s to end, then they are killed, then the embedded server ends; a second signal kills all at
once. SIGKILL of `up` itself ends its processes on Linux; `services.processes` says what is left elsewhere.

Its edges sign actions and its executor verifies them with a pair of keys in the state directory, unless the user's
environment brings others.

The exit code: 0 after a signal, 1 where `up` runs already, a port is taken, the server does not start, or a second
signal forced the end, 2 where a setting is wrong (its own or one of a part).
"""

import asyncio
import fcntl
import hashlib
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from common.backoff import Backoff
from common.errors import BusError, SettingsError
from common.setting_kinds import default_host_id
from common.settings import UpSettings
from common.signing import make_pair
from services.embedded import EmbeddedServer, up_setting
from services.output import Output, forward
from services.processes import describe_exit, end, kill, spawn

CANNOT_START = frozenset({2, 78})
"""Exit codes that starting again does not change: wrong settings, and another machine with the same host id."""


@dataclass(frozen=True)
class Limits:
    """Times of `up`, in seconds; tests shrink them."""

    restart_initial_s: float = 0.2
    restart_cap_s: float = 10.0
    healthy_s: float = 30.0
    """A process that ran this long is started again as if it had never failed."""
    stop_parts_s: float = 3.5
    last_lines_s: float = 0.2
    stop_server_s: float = 0.7
    """Together with the two above, and what `Output` gives the terminal, less than the 5 s that are promised."""
    patience_s: float = 2.0
    """Whatever takes longer is said."""
    reminder_s: float = 15.0
    probe_every_s: float = 0.1
    probe_timeout_s: float = 2.0


@dataclass(frozen=True)
class Part:
    """A process that `up` keeps running."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    """On top of this process' own. Settings go here, not into argv, which everybody on the machine can read."""


Parts = Callable[[UpSettings, str], Sequence[Part]]
"""The parts for these settings and this Redis URL."""


_SIGNING = ("FLEETCAST_ACTION_SIGNING_KEY", "FLEETCAST_ACTION_SIGNING_KEY_FILE")
_FOR_EDGES = (*_SIGNING, "FLEETCAST_JWT_SECRET", "FLEETCAST_JWT_SECRET_FILE")
"""Secrets that no other part gets, whatever the user's environment has."""
_KEYS = (
    *_SIGNING,
    "FLEETCAST_ACTION_VERIFY_KEY",
    "FLEETCAST_ACTION_VERIFY_KEY_FILE",
    "FLEETCAST_INSECURE_UNSIGNED",
)
"""Where the user's environment has one of these, it says how actions are signed, and `up` adds no keys of its own."""


def own_keys(settings: UpSettings, environ: Mapping[str, str] = os.environ) -> tuple[Path, Path] | None:
    """The files of `up`'s own keys, the signing key's and the verify key's; None where the user brings keys."""
    if any(environ.get(name) for name in _KEYS):
        return None
    state_dir = settings.state_dir.absolute()
    return state_dir / "action-signing-key.pem", state_dir / "action-verify-key.pem"


def fleetcast_parts(settings: UpSettings, redis_url: str, environ: Mapping[str, str] = os.environ) -> Sequence[Part]:
    """One of each worker of a host, and the edges on consecutive ports of loopback. Only edges get a signing key."""
    # -P: a directory named `services` where the user happens to be is not ours.
    command = (sys.executable, "-P", "-m", "services.cli")
    common = {
        "FLEETCAST_REDIS_URL": redis_url,
        "FLEETCAST_LOG_LEVEL": settings.log_level,
        "FLEETCAST_METRICS_PORT": "0",  # one from the user's environment would be for three workers at once
        # Only one `up` at a time owns a state directory, so its workers' leases are theirs after a crash as well.
        "FLEETCAST_INSTANCE": f"up-{hashlib.sha256(os.fsencode(settings.state_dir.absolute())).hexdigest()[:12]}",
        "PYTHONUNBUFFERED": "1",
    }
    if settings.host_id is not None or not environ.get("FLEETCAST_HOST_ID"):
        # Named by us, for in a container each part would look for the machine's name, and some would not find it.
        common["FLEETCAST_HOST_ID"] = settings.host_id or default_host_id()
    worker = {**common, "FLEETCAST_HOST_LABELS": settings.host_labels, **dict.fromkeys(_FOR_EDGES, "")}
    keys = own_keys(settings, environ)
    signs = {} if keys is None else {"FLEETCAST_ACTION_SIGNING_KEY_FILE": str(keys[0])}
    verifies = {} if keys is None else {"FLEETCAST_ACTION_VERIFY_KEY_FILE": str(keys[1])}
    workers = [
        Part("metrics", (*command, "collector", "metrics"), worker),
        Part("containers", (*command, "collector", "containers"), worker),
        Part("executor", (*command, "executor"), {**worker, **verifies}),
    ]
    edges = [
        Part(
            f"edge-{number}",
            (*command, "edge"),
            {
                **common,
                **signs,
                "FLEETCAST_BIND": "127.0.0.1",
                "FLEETCAST_PORT": str(port),
                "FLEETCAST_EDGE_ID": f"edge-{number}",
                "FLEETCAST_DRAIN_SEC": "0",  # all of them go at once: there is no other to send a client to
            },
        )
        for number, port in enumerate(edge_ports(settings), start=1)
    ]
    return [*workers, *edges]


async def run_up(settings: UpSettings, parts: Parts = fleetcast_parts, limits: Limits | None = None) -> int:
    """Runs everything until a signal ends it, and returns the exit code. Call it in the main thread.

    What goes wrong is said here, in one line; nothing is raised for it.
    """
    with Output() as output:
        try:
            with locked(settings.state_dir, page_url(settings.port)) as other:
                if other is not None:
                    output.complain(f"fleetcast: {other}")
                    return 1
                if (taken := taken_port(edge_ports(settings))) is not None:
                    output.complain(
                        f"fleetcast: port {taken} is in use: "
                        "choose another with --port or FLEETCAST_PORT (each further edge takes the next one)"
                    )
                    return 1
                if (keys := own_keys(settings)) is not None:
                    make_pair(*keys)
                return await _Up(settings, parts, limits or Limits(), output).run()
        except SettingsError as error:
            output.complain(f"fleetcast: {error}")
            return 2
        except BusError as error:
            output.complain(f"fleetcast: {error}")
            return 1


class _Up:
    """One run of `up`, after it is known that it may."""

    def __init__(self, settings: UpSettings, parts: Parts, limits: Limits, output: Output) -> None:
        self._settings = settings
        self._parts = parts
        self._limits = limits
        self._output = output
        self._server: EmbeddedServer | None = None
        self._processes: set[Process] = set()
        self._exit_code: int | None = None
        """Set once, when the end begins."""
        self._body: asyncio.Task[None] | None = None

    async def run(self) -> int:
        self._body = asyncio.create_task(self._run_all(), name="up")
        with _signals(self._on_signal):
            try:
                await self._body
            except asyncio.CancelledError:
                if self._exit_code is None:  # it was not `_end`: somebody cancelled this very call
                    raise
        return self._exit_code or 0

    async def _run_all(self) -> None:
        """The server around everything else: it starts first and ends last."""
        async with AsyncExitStack() as server:
            if self._settings.redis_url is None:
                self._server = EmbeddedServer(self._settings.state_dir, stop_within_s=self._limits.stop_server_s)
                with self._said_if_slow("still waiting for Valkey to read its data"):
                    await server.enter_async_context(self._server)
                redis_url = self._server.url
            else:
                redis_url = self._settings.redis_url
            async with asyncio.TaskGroup() as tasks:
                if self._server is not None:
                    tasks.create_task(self._keep("valkey", partial(_serve, self._server)))
                for part in self._parts(self._settings, redis_url):
                    tasks.create_task(self._keep(part.name, partial(self._run_part, part)))
                tasks.create_task(self._announce())

    def _end(self, exit_code: int) -> None:
        """Begins the orderly end: each owner of a process ends it on the way out."""
        if self._exit_code is None and self._body is not None:
            self._exit_code = exit_code
            self._body.cancel()

    def _on_signal(self) -> None:
        if self._exit_code is None:
            self._output.say("Stopping (once more ends it at once)")
            self._end(0)
            return
        self._exit_code = self._exit_code or 1
        for process in self._processes:
            kill(process)
        if self._server is not None:
            self._server.kill()

    async def _keep(self, name: str, attempt: Callable[[], Awaitable[str]]) -> None:
        """Runs `attempt` for ever; it returns how its process ended."""
        backoff = Backoff(self._limits.restart_initial_s, self._limits.restart_cap_s, self._limits.healthy_s)
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            ended = await attempt()
            if self._exit_code is not None:
                return
            backoff.note_healthy(clock() - began)
            delay_s = backoff.next_delay()
            self._output.say(f"{name} {ended}; starting it again in {delay_s:.1f} s")
            await asyncio.sleep(delay_s)

    async def _run_part(self, part: Part) -> str:
        """One life of a part. Returns how it ended, or ends everything where it cannot start at all."""
        try:
            process = await spawn(part.argv, env={**os.environ, **part.environment}, stdout=PIPE, stderr=PIPE)
        except OSError as error:
            return f"does not start ({error.strerror})"
        self._processes.add(process)
        try:
            # Its last lines are read while it ends, so that it is not held up by a full pipe, and they are shown.
            async with asyncio.TaskGroup() as readers:
                assert process.stdout is not None
                assert process.stderr is not None
                out = readers.create_task(forward(process.stdout, part.name, self._output))
                err = readers.create_task(forward(process.stderr, part.name, self._output))
                try:
                    exit_code = await process.wait()
                finally:
                    await end(process, self._limits.stop_parts_s)
                    _, unread = await asyncio.wait([out, err], timeout=self._limits.last_lines_s)
                    for reader in unread:  # something that it started holds its pipes
                        reader.cancel()
        finally:
            self._processes.discard(process)
        if exit_code in CANNOT_START and self._exit_code is None:
            said = "" if err.cancelled() else err.result().removeprefix("fleetcast: ")
            self._output.complain(f"fleetcast: {part.name} cannot start: {said or describe_exit(exit_code)}")
            self._end(2)
        return describe_exit(exit_code)

    async def _announce(self) -> None:
        """Says where the page is, once an edge is ready to serve it."""
        ports = edge_ports(self._settings)
        clock = asyncio.get_running_loop().time
        reminder_at = clock() + self._limits.patience_s
        while True:
            why_not = {port: await probe(port, self._limits.probe_timeout_s) for port in ports}
            ready = [port for port in ports if not why_not[port]]
            if ready:
                self._output.say(f"Fleetcast is up: {page_url(ready[0])}  (Ctrl-C ends it)")
                if others := [page_url(port) for port in ports if port != ready[0]]:
                    self._output.say(f"The same page from the other edges: {', '.join(others)}")
                return
            if clock() >= reminder_at:
                self._output.say(f"Still starting: edge-1 {why_not[ports[0]]}")
                reminder_at = clock() + self._limits.reminder_s
            await asyncio.sleep(self._limits.probe_every_s)

    @contextmanager
    def _said_if_slow(self, what: str) -> Iterator[None]:
        timer = asyncio.get_running_loop().call_later(self._limits.patience_s, self._output.say, f"Starting: {what}")
        try:
            yield
        finally:
            timer.cancel()


async def _serve(server: EmbeddedServer) -> str:
    """One life of the embedded server; the first one has begun already."""
    try:
        await server.start()
    except (BusError, SettingsError) as error:
        return f"does not start: {error}"
    return describe_exit(await server.wait())


async def probe(port: int, timeout_s: float) -> str:
    """Asks an edge whether it is ready: an empty string, or why it is not."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                head, _, body = (await reader.read(4096)).partition(b"\r\n\r\n")
            finally:
                writer.transport.abort()
    except TimeoutError:
        return f"does not answer /readyz within {timeout_s:g} s"
    except OSError:
        return f"does not listen on port {port} yet"
    status = head.split(b" ", 2)[1:2]
    if status == [b"200"]:
        return ""
    said = (body or head.split(b"\r\n")[0]).decode(errors="replace")
    return f"is not ready: {' '.join(said.split())[:200]}"


def page_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def edge_ports(settings: UpSettings) -> range:
    """Raises SettingsError where there are not that many ports."""
    if settings.port + settings.edges > 65536:
        raise SettingsError(up_setting("port"), f"{settings.edges} edges do not fit between it and 65535")
    return range(settings.port, settings.port + settings.edges)


def taken_port(ports: range) -> int | None:
    """The first of the ports that nobody can listen on now."""
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the edge does: TIME_WAIT is no obstacle
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return port
    return None


@contextmanager
def locked(state_dir: Path, url: str) -> Iterator[str | None]:
    """Holds the state directory: yields None, or who holds it. The kernel lets go of it however this process ends.

    Raises SettingsError where the directory cannot be used.
    """
    path = state_dir / "up.lock"
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(up_setting("state_dir"), f"cannot use {error.filename} ({error.strerror})") from error
    with open(lock, "r+", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield _describe_holder(state_dir, file.read(1000))
            return
        except OSError as error:
            raise SettingsError(up_setting("state_dir"), f"{state_dir} takes no locks ({error.strerror})") from error
        file.truncate()
        json.dump({"pid": os.getpid(), "url": url}, file)
        file.flush()
        try:
            yield None
        finally:
            file.truncate(0)


def _describe_holder(state_dir: Path, record: str) -> str:
    with suppress(ValueError, TypeError, KeyError):
        holder: dict[str, Any] = json.loads(record)
        return f"already up on {state_dir} as process {holder['pid']}: {holder['url']}"
    return f"already up on {state_dir}"  # it has only just got the lock


@contextmanager
def _signals(handle: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    signums = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signums.append(signal.SIGHUP)
    for signum in signums:
        loop.add_signal_handler(signum, handle)
    try:
        yield
    finally:
        for signum in signums:
            loop.remove_signal_handler(signum)
