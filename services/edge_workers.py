"""`fleetcast edge --workers N`: an edge for a host with several cores, as processes that share its port.

This process serves nobody. It keeps the port and the workers: each that ends is started again with backoff, and none
outlives it (`services.processes`). A worker listens by itself, on a socket of its own, as long as it lives: when it
dies, the kernel gives new connections to the others at once. A socket that was kept for it here would go on collecting
them until the next one is there.

The first SIGTERM or SIGINT goes on to the workers, which drain as an edge does; those that are not through in time are
killed, and all at once on a second signal. This process then ends as an edge does: by the signal that it was sent.
"""

import asyncio
import fcntl
import logging
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import Counter

from common.backoff import Backoff
from common.errors import SettingsError
from common.setting_kinds import default_edge_id
from common.settings import EdgeSettings
from common.telemetry import forget_live_metrics, share_metrics
from services.edge.app import Edge
from services.edge.server import reserved_port
from services.processes import describe_exit, end, kill, spawn

logger = logging.getLogger(__name__)

worker_restarts = Counter(
    "fleetcast_worker_restarts_total", "Workers of this edge that ended and were started again", ["worker"]
)

STOP_S = 5.0
"""A worker has this long after `drain_sec` to end: uvicorn gives open requests 3 s."""

_MAX_EDGE_ID = 61
"""Leaves room for a dot and the number of a worker."""

_DIRECTORY_PREFIX = "fleetcast-edge-"
_UNLOCKED_S = 60.0


def run_edge_workers(settings: EdgeSettings, stop_s: float = STOP_S) -> int:
    """Serves until SIGTERM or SIGINT, and ends by it. Call it in the main thread. Raises SettingsError."""
    if sys.platform != "linux":
        raise SettingsError(
            "--workers / FLEETCAST_WORKERS",
            "more than 1 needs Linux, which spreads the clients of a port over them: "
            "run several edges here, each on a port of its own",
        )
    Edge(settings)  # raises here, once, what each worker would
    edge_id = settings.edge_id or default_edge_id()
    if len(edge_id) > _MAX_EDGE_ID:
        raise SettingsError(
            "--edge-id / FLEETCAST_EDGE_ID", f"with several workers it has at most {_MAX_EDGE_ID} characters"
        )
    with reserved_port(settings) as port, _metrics_directory() as directory:
        share_metrics(directory, "supervisor")  # the workers tell its own counter as well
        logger.info("%d workers serve on %s port %d", settings.workers, settings.bind, port)
        shared = settings.model_copy(update={"edge_id": edge_id, "port": port})
        signum = asyncio.run(_Workers(shared, stop_s).run())
    signal.raise_signal(signum)
    return 128 + signum  # process 1 of a container outlives it


def worker_environment(settings: EdgeSettings, number: int) -> dict[str, str]:
    """The variables from which worker `number` has its settings, and its share of what all may have together. Not
    options: everybody on the machine can read those, and a Redis URL may have a password in it."""
    mine = settings.model_copy(
        update={
            "worker_number": number,
            "edge_id": f"{settings.edge_id}.{number}",
            "max_clients": math.ceil(settings.max_clients / settings.workers),
            "max_clients_per_address": math.ceil(settings.max_clients_per_address / settings.workers),
        }
    )
    return {settings.variable(field): _as_text(value) for field, value in mine}


def _as_text(value: object) -> str:
    """For a variable, which counts as not set while it is empty."""
    return "" if value is None else str(value) or " "


class _Workers:
    """All workers, until a signal."""

    def __init__(self, settings: EdgeSettings, stop_s: float) -> None:
        self._settings = settings
        self._stop_within_s = settings.drain_sec + stop_s
        self._processes: set[Process] = set()
        self._ended_by: signal.Signals | None = None
        """Set once, when the end begins."""
        self._restarts = {n: worker_restarts.labels(str(n)) for n in range(1, settings.workers + 1)}

    async def run(self) -> signal.Signals:
        """Returns the signal that ended them."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._on_signal, signum, task)
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(1, self._settings.workers + 1):
                    tasks.create_task(self._keep(number), name=f"worker {number}")
        except asyncio.CancelledError:
            if self._ended_by is None:
                raise
        assert self._ended_by is not None  # nothing else ends the tasks
        return self._ended_by

    def _on_signal(self, signum: signal.Signals, task: asyncio.Task[object]) -> None:
        if self._ended_by is None:
            self._ended_by = signum
            logger.info("ending the workers within %.0f s (once more ends them at once)", self._stop_within_s)
            task.cancel()  # each owner of a process ends it on the way out
            return
        for process in self._processes:
            kill(process)

    async def _keep(self, number: int) -> None:
        """Runs a worker for ever."""
        backoff = Backoff()
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            ended = await self._run_worker(number)
            self._restarts[number].inc()
            backoff.note_healthy(clock() - began)
            delay_s = backoff.next_delay()
            logger.warning("worker %d %s; starting it again in %.1f s", number, ended, delay_s)
            await asyncio.sleep(delay_s)

    async def _run_worker(self, number: int) -> str:
        """One life of a worker. Returns how it ended."""
        try:
            process = await spawn(
                # -P: a directory named `services` where the user happens to be is not ours.
                (sys.executable, "-P", "-m", "services.cli", "edge"),
                env={**os.environ, **worker_environment(self._settings, number)},
                stdout=1,
                stderr=2,
            )
        except OSError as error:
            return f"does not start ({error.strerror})"
        self._processes.add(process)
        try:
            return describe_exit(await process.wait())
        finally:
            await end(process, self._stop_within_s)
            self._processes.discard(process)
            forget_live_metrics(str(number))


@contextmanager
def _metrics_directory() -> Iterator[Path]:
    """Where the workers keep their metrics: in memory where that can be, for they are written all the time. Takes away
    what a supervisor that was killed has left."""
    place = Path("/dev/shm")  # noqa: S108 - what is made in it is this user's alone, under a name that nobody can guess
    try:
        place = place if os.access(place, os.W_OK) else Path(tempfile.gettempdir())
        for left in place.glob(f"{_DIRECTORY_PREFIX}*"):
            with suppress(OSError):
                _remove_if_left(left)
        made = tempfile.TemporaryDirectory(prefix=_DIRECTORY_PREFIX, dir=place)
    except OSError as error:
        raise SettingsError("TMPDIR", f"no directory for the workers' metrics ({error.strerror or error})") from None
    with made as directory, _locked(Path(directory)):
        yield Path(directory)


def _remove_if_left(directory: Path) -> None:
    """Raises OSError where somebody has it still, or is about to: it is locked a moment after it was made."""
    if time.time() - directory.stat().st_mtime > _UNLOCKED_S:
        with _locked(directory):
            shutil.rmtree(directory)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """The kernel lets go of it however this process ends. Raises OSError where somebody else holds it."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(held)
