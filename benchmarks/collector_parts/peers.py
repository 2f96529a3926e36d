"""What the collectors are compared with: `docker stats`, and Glances with its container plugin."""

import asyncio
import re
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.collector_parts.meter import NotReadyError
from services.processes import describe_exit, end, spawn

READY_WITHIN_S = 90.0
_INSTALL_WITHIN_S = 300.0
_KEPT_BYTES = 1 << 18
"""Of what a peer has printed: several of its rounds over some hundred containers."""


class Peer:
    """A running one, known by what it prints."""

    def __init__(self, process: Process, round_begins: bytes, seen: str) -> None:
        """`round_begins`: each of its rounds does. `seen`: a pattern, with the place for a container's name in it, of
        what it prints once it knows that container's CPU."""
        self._process = process
        self._round_begins = round_begins
        self._seen = seen
        self._tail = b""
        self.rounds = 0
        """How often it has printed all it knows."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def missing(self, names: Iterable[str]) -> list[str]:
        """Containers whose CPU it has not told lately."""
        text = self._tail.decode(errors="replace")
        return [name for name in names if not re.search(self._seen.format(name=name), text)]

    async def read(self) -> None:
        """Until it ends."""
        assert self._process.stdout is not None
        while some := await self._process.stdout.read(1 << 16):
            overlap = self._tail[len(self._tail) - len(self._round_begins) + 1 :]
            self.rounds += (overlap + some).count(self._round_begins)
            self._tail = (self._tail + some)[-_KEPT_BYTES:]

    async def ready(self, names: Sequence[str], within_s: float = READY_WITHIN_S) -> None:
        """Until it knows them all. Raises NotReadyError."""
        try:
            async with asyncio.timeout(within_s):
                while missing := self.missing(names):
                    if self._process.returncode is not None:
                        raise NotReadyError(f"it {describe_exit(self._process.returncode)}: {self._last_line()}")
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise NotReadyError(
                f"of {len(names)} containers it does not see {len(missing)} after {within_s:g} s"
            ) from None

    def _last_line(self) -> str:
        lines = self._tail.decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"


@asynccontextmanager
async def docker_stats() -> AsyncIterator[Peer]:
    """Streams what every running container uses, as it comes."""
    command = ("docker", "stats")
    async with _running(command, b"CONTAINER ID", r"{name}\s+[0-9.]+%") as peer:
        yield peer


@asynccontextmanager
async def glances(binary: Path, *, only_containers: bool) -> AsyncIterator[Peer]:
    """Without a screen, every second, in its default configuration; or with no plugin but that for containers."""
    command = [str(binary), "-C", "/dev/null", "--disable-check-update", "-t", "1", "--stdout", "containers"]
    if only_containers:
        command += ["--disable-plugin", "all", "--enable-plugin", "containers"]
    async with _running(command, b"containers: [", r"'name': '{name}', [^}}]*'cpu_percent': [0-9]") as peer:
        yield peer


@asynccontextmanager
async def _running(command: Sequence[str], round_begins: bytes, seen: str) -> AsyncIterator[Peer]:
    try:
        process = await spawn(command, stdout=PIPE, stderr=STDOUT)
    except OSError as error:
        raise NotReadyError(f"{command[0]} does not run: {error.strerror}") from error
    peer = Peer(process, round_begins, seen)
    reading = asyncio.create_task(peer.read(), name=command[0])
    try:
        yield peer
    finally:
        await end(process, 5.0)
        reading.cancel()
        await asyncio.wait([reading])


@asynccontextmanager
async def installed_glances() -> AsyncIterator[tuple[Path, str]]:
    """Its command and its version, from PyPI, in an environment of its own that is removed at the end. Raises
    NotReadyError."""
    with tempfile.TemporaryDirectory(prefix="fleetcast-glances-", ignore_cleanup_errors=True) as directory:
        python = Path(directory) / "bin" / "python"
        await _do(sys.executable, "-m", "venv", directory)
        await _do(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "glances[containers]")
        said = await _do(str(python), "-c", "import glances; print(glances.__version__)")
        yield python.with_name("glances"), said


async def _do(*command: str) -> str:
    process = await spawn(command, stdout=PIPE, stderr=STDOUT if "pip" in command else DEVNULL)
    try:
        async with asyncio.timeout(_INSTALL_WITHIN_S):
            said, _ = await process.communicate()
    except TimeoutError:
        raise NotReadyError(f"{' '.join(command[1:4])}: not done after {_INSTALL_WITHIN_S:g} s") from None
    finally:
        await end(process, 1.0)
    text = said.decode(errors="replace").strip()
    if process.returncode:
        raise NotReadyError(f"{' '.join(command[1:4])}: {text.splitlines()[-1] if text else process.returncode}")
    return text
