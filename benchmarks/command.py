"""What the benchmarks' commands have in common: telling how far they are, ending in one line, and taking away what they
have made.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Coroutine
from typing import Any

import typer

from services.client.terminal import until_signalled

_BEGAN = time.monotonic()

_REMOVED_AT_ONCE = 50


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"{time.monotonic() - _BEGAN:6.1f} s  {text}", file=sys.stderr, flush=True)


def run_command(name: str, work: Coroutine[Any, Any, int], expected: tuple[type[BaseException], ...]) -> None:
    """Runs a command to its exit code. What is expected to go wrong is said in one line."""
    code = 1
    try:
        code = asyncio.run(until_signalled(work))
    except* expected as errors:
        print(f"{name}: {_first(errors)}", file=sys.stderr)
    raise typer.Exit(code)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def remove_containers(label: str) -> None:
    """All that carry a label (`name=value`), also what was still being made. Not awaited, for nothing shall come
    between."""
    for _ in range(2):  # a creation that was interrupted may be about to make one more
        listed = docker_now("ps", "--all", "--quiet", "--filter", f"label={label}").split()
        for start in range(0, len(listed), _REMOVED_AT_ONCE):
            docker_now("rm", "--force", "--volumes", *listed[start : start + _REMOVED_AT_ONCE])


def docker_now(*arguments: str) -> str:
    """The docker command's output, whatever came of it. In a session of its own: a second Ctrl-C is not for it."""
    done = subprocess.run(
        ("docker", *arguments),  # noqa: S607 - wherever the user has it
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        start_new_session=True,
    )
    return done.stdout
