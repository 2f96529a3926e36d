"""A Docker engine of a test's own, which may be stopped, killed and frozen while the machine's engine goes on.

It shares nothing with the other engine but the kernel: its data, sockets and containerd are below one directory, its
containers below one control group. By these two names all that belongs to it is found again, whatever has become of
it, and removed at the end. It has a network namespace of its own, for an engine that starts without a bridge deletes
`docker0`, whosesoever that is: its containers have no network, or with `--network host` one of nothing.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import docker
from tests.support import eventually

IMAGE = "busybox:1"

_START_S = 30.0
_STOP_S = 20.0
_REMOVE_S = 15.0

_MACHINES_PIDFILE = Path("/var/run/docker.pid")
_CGROUPS = Path("/sys/fs/cgroup")


@asynccontextmanager
async def own_engine() -> AsyncIterator["OwnEngine"]:
    """A started engine that has IMAGE; nothing is left of it afterwards. Skips the test where no engine can be started
    here, or fails it where FLEETCAST_REQUIRE_DOCKER=1. Wants the fixture `docker_engine` before it."""
    path = _path_with_engine()
    missing = None if path else "no second Docker engine: no dockerd is found"
    if path and not shutil.which("unshare", path=path):
        missing = "no second Docker engine: no unshare (of util-linux) is found"
    if os.geteuid() != 0:
        missing = "no second Docker engine: it takes root"
    if missing and os.environ.get("FLEETCAST_REQUIRE_DOCKER") == "1":
        pytest.fail(f"FLEETCAST_REQUIRE_DOCKER=1, but {missing}")
    if missing or path is None:
        pytest.skip(missing or "")
    # Below /tmp itself: a socket's address has room for 107 characters.
    engine = OwnEngine(Path(tempfile.mkdtemp(prefix="fleetcast-engine-")), path)
    try:
        await engine.start()
        await engine.load(IMAGE)
        yield engine
    finally:
        await engine.remove()


class OwnEngine:
    """One engine, which may be started again after its end."""

    def __init__(self, root: Path, path: str) -> None:
        """`root`: an empty directory with a name that nothing else has; `path`: a PATH with dockerd, what it needs, and
        unshare. Not started yet."""
        self.root = root
        self.address = f"unix://{root}/docker.sock"
        self._path = path
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """dockerd's."""
        assert self._process is not None, "the engine is not started"
        return self._process.pid

    async def start(self) -> None:
        """Returns when it answers."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                "unshare",  # becomes dockerd, so the process id stays
                "--net",
                "--",
                "dockerd",
                *self._options(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": self._path},
                start_new_session=True,
            )
        await eventually(self._answers, within_s=_START_S, every_s=0.1, what=f"an engine that answers: {self.tail()}")

    async def stop(self) -> None:
        """By SIGTERM: it stops its containers first."""
        self._send(signal.SIGTERM)
        await self._ended(_STOP_S)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def kill(self) -> None:
        """By SIGKILL, its containerd too; its containers go on."""
        self._send(signal.SIGKILL)
        await self._ended(_STOP_S)
        for pidfile in (self.root / "exec/containerd/containerd.pid", self.root / "docker.pid"):
            _kill(pid for pid in self.processes() if pid == _number_in(pidfile))
            # A dead process that nobody has collected yet would pass for a living one with the next dockerd.
            pidfile.unlink(missing_ok=True)

    def freeze(self) -> None:
        """By SIGSTOP: connections are still taken, and nothing is answered. Its containers go on."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    async def docker(self, *arguments: str) -> str:
        """The docker command's output, of this engine."""
        return await docker("-H", self.address, *arguments)

    async def load(self, image: str) -> None:
        """From the machine's engine."""
        file = self.root / "image.tar"
        await docker("save", "-o", str(file), image)
        await self.docker("load", "-i", str(file))
        file.unlink()

    async def run_container(self, *command: str, options: tuple[str, ...] = (), image: str = IMAGE) -> str:
        """Starts a container and returns its name. It is stopped by SIGKILL, at once."""
        name = f"fleetcast-test-{uuid.uuid4().hex[:10]}"
        usual = ("--network", "none", "--stop-signal", "KILL", "--stop-timeout", "1")
        await self.docker("run", "-d", "--name", name, *usual, *options, image, *(command or ("sleep", "3600")))
        return name

    async def pid_of(self, container: str) -> int:
        """Of its first process, as this machine counts."""
        return int(await self.docker("inspect", "-f", "{{.State.Pid}}", container))

    def tail(self) -> str:
        """The last of what dockerd has said."""
        return self._log.read_text(errors="replace")[-1500:] if self._log.exists() else ""

    # What belongs to it

    def processes(self) -> list[int]:
        """The living ones of the engine, of its containerd and shims, and of its containers."""
        return [process.pid for process in _processes() if self._owns(process)]

    def mounts(self) -> list[str]:
        """Below its directory, the innermost first."""
        places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        return sorted((place for place in places if place.startswith(f"{self.root}/")), key=len, reverse=True)

    def control_groups(self) -> list[Path]:
        """Of every hierarchy, the innermost first."""
        tops = [top for top in (_CGROUPS / self.root.name, *_CGROUPS.glob(f"*/{self.root.name}")) if top.is_dir()]
        found = [Path(place) for top in tops for place, _, _ in os.walk(top)]
        return sorted(found, key=lambda place: len(place.parts), reverse=True)

    async def remove(self) -> None:
        """Ends all of it, in whatever state it is. AssertionError where something stays after all."""
        addresses = self._shims()
        deadline = time.monotonic() + _REMOVE_S
        while pids := self.processes():
            assert time.monotonic() < deadline, f"processes of {self.root} do not end: {pids}"
            for paused in _CGROUPS.glob(f"freezer/{self.root.name}/*/freezer.state"):
                with suppress(OSError):
                    paused.write_text("THAWED")  # there even SIGKILL waits
            _kill(pids)
            await asyncio.sleep(0.05)
        if self._process is not None:
            await self._ended(_STOP_S)
        for place in self.mounts():
            subprocess.run(["umount", "-l", place], capture_output=True, timeout=10, check=False)
        for place in self.control_groups():
            with suppress(OSError):
                place.rmdir()
        for address in addresses:
            address.unlink(missing_ok=True)
        assert not self.mounts(), "its mounts stay, so its directory is let alone"
        shutil.rmtree(self.root)

    def _options(self) -> list[str]:
        settings = self.root / "daemon.json"  # else the machine's own would be read
        settings.write_text("{}")
        return [
            f"--config-file={settings}",
            f"--data-root={self.root}/data",
            f"--exec-root={self.root}/exec",
            f"--pidfile={self.root}/docker.pid",
            f"--host={self.address}",
            f"--cgroup-parent=/{self.root.name}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--storage-driver=vfs",  # works on every file system, and has no mounts
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--userland-proxy=false",
        ]

    @property
    def _log(self) -> Path:
        return self.root / "dockerd.log"

    async def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, f"dockerd has ended: {self.tail()}"
        try:
            await self.docker("version")
        except AssertionError:
            return False
        return True

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None, "the engine is not started"
        self._process.send_signal(number)

    async def _ended(self, within_s: float) -> None:
        assert self._process is not None
        async with asyncio.timeout(within_s):
            await self._process.wait()
        self._process = None

    def _owns(self, process: "_Process") -> bool:
        return f"{self.root}/" in process.command or f"/{self.root.name}/" in process.groups

    def _shims(self) -> list[Path]:
        """Their sockets, which are not below `root`."""
        bundles = self.root.glob("exec/containerd/daemon/*/moby/*/address")
        return [Path(bundle.read_text().removeprefix("unix://")) for bundle in bundles]


class _Process(NamedTuple):
    pid: int
    command: str
    groups: str


def _processes() -> Iterator[_Process]:
    """Those that live, but this one."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (entry / "cmdline").read_text(errors="replace")
            # A dead one that nobody has collected yet has no command line.
            if command and int(entry.name) != os.getpid():
                yield _Process(int(entry.name), command, (entry / "cgroup").read_text())


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _number_in(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _path_with_engine() -> str | None:
    """A PATH that has dockerd: our own, or that of the machine's engine."""
    candidates = [os.environ.get("PATH", "")]
    with suppress(OSError):
        environ = Path(f"/proc/{_number_in(_MACHINES_PIDFILE)}/environ").read_text(errors="replace")
        candidates += [entry.removeprefix("PATH=") for entry in environ.split("\0") if entry.startswith("PATH=")]
    return next((path for path in candidates if shutil.which("dockerd", path=path)), None)
