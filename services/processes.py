"""Starting and ending the processes that one `fleetcast up` owns.

Every process gets a session of its own, so that Ctrl-C in a terminal reaches only `up`, which ends the others in order.

On Linux a process also dies with its parent: the kernel kills it when the thread that started it ends, however that
happened, so SIGKILL of `up` leaves nothing behind. Two things follow: start processes from a thread that lives as long
as they shall (the main thread), and do not expect it elsewhere. macOS has no such signal: there SIGKILL of `up` leaves
its children running until someone ends them; only the Valkey server is ended by the next `up` (`services.embedded`).
"""

import asyncio
import ctypes
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: nothing may be loaded after a fork


async def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | IO[bytes] = DEVNULL,
    stderr: int | IO[bytes] = DEVNULL,
) -> Process:
    """A process in its own session that dies with this one where the platform can do that. OSError if it cannot run."""
    return await asyncio.create_subprocess_exec(
        *argv,
        env=env,
        cwd=cwd,
        stdin=DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=_dying_with(os.getpid()),
    )


async def end(process: Process, within_s: float) -> int:
    """SIGTERM, and SIGKILL when it is still there after `within_s`. Returns its exit code; fine for one that ended."""
    if process.returncode is not None:
        return process.returncode
    _send(process, signal.SIGTERM)
    # Not `asyncio.timeout`: early Pythons 3.11 do not tell its end from a cancellation in a task that has been
    # cancelled, and that is where processes are ended.
    ended = asyncio.create_task(process.wait())
    try:
        await asyncio.wait([ended], timeout=within_s)
        kill(process)
        return await ended
    finally:
        ended.cancel()


def kill(process: Process) -> None:
    """SIGKILL to the process and whatever it started, if it is still there."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def describe_exit(returncode: int) -> str:
    """What to tell a human about a return code of `asyncio.subprocess` (negative: the signal that ended it)."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"was ended by signal {-returncode}"


def _send(process: Process, signum: signal.Signals) -> None:
    # Not `process.send_signal`: it reaps a process that has just ended, behind the back of asyncio's child watcher.
    with suppress(ProcessLookupError):
        os.kill(process.pid, signum)


def _dying_with(parent: int) -> Callable[[], None] | None:
    if _libc is None:
        return None
    prctl = _libc.prctl

    def ask_for_death() -> None:  # runs between fork and exec: nothing here may take a lock
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above, and its death tells nobody any more
            os._exit(1)

    return ask_for_death
