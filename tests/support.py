"""Waiting in tests: for something to be true, with a deadline, never for time to pass; and servers that end whole."""

import asyncio
import inspect
import itertools
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

PATIENCE_S = 30.0
"""How long a test waits for what must come. It is not what a thing takes: on a busy machine anything takes longer."""


_PORTS_EACH = 1_000
_turns = itertools.count()


def free_ports(count: int = 1) -> int:
    """The first of up to 8 consecutive ports that are free: below those that a system gives to connections, any of
    which could take one before it is listened on, and for each of pytest's workers elsewhere."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for turn in itertools.islice(_turns, _PORTS_EACH):
        first = 20_000 + worker % 10 * _PORTS_EACH + turn * 8 % _PORTS_EACH
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


class NotYet:
    """For a predicate: what it saw, where that is not what is waited for."""

    def __init__(self, *seen: object) -> None:
        self._seen = seen

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return ", ".join(map(repr, self._seen))


async def eventually(
    predicate: Callable[[], Any | Awaitable[Any]], within_s: float = PATIENCE_S, every_s: float = 0.02, what: str = ""
) -> Any:
    """Returns the predicate's first true value, or fails with the last value it gave."""
    deadline = time.monotonic() + within_s
    while True:
        value = predicate()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what or 'the condition'} did not come true within {within_s} s; last seen: {value!r}"
            )
        await asyncio.sleep(every_s)


def eventually_sync(
    predicate: Callable[[], Any], within_s: float = PATIENCE_S, every_s: float = 0.02, what: str = ""
) -> Any:
    """The same for tests without a loop."""
    deadline = time.monotonic() + within_s
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what or 'the condition'} did not come true within {within_s} s; last seen: {value!r}"
            )
        time.sleep(every_s)
    return value


class Listening(Protocol):
    """A server of asyncio's, or of websockets'."""

    @property
    def sockets(self) -> Iterable[socket.socket]: ...

    def close(self) -> None: ...


async def stop_listening(server: Listening) -> None:
    """Closes it with nothing between the accepting of a connection and its transport: asyncio would leave that one open
    and unserved (python/cpython#109564)."""
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    await asyncio.sleep(0)
    server.close()
