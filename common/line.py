"""The short way to Redis: the library's own connections, without what it does around each command.

redis-py waits for a connection of its pool, measures, sends in a task of its own, reads each answer under a timeout of
its own and gives the connection back. A process that wakes up once a second finds nothing of that in the processor's
caches any more, and it takes several times as long as the command itself.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = tuple[str | bytes | int, ...]

MOST_KEPT = 4
"""Connections kept at hand. Who asks while all are in use takes another one of the pool for that time."""


_packed: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # it says a tuple of one word


class Line:
    """Asks over connections of a pool, a few of which it keeps. They have to be Prompt."""

    def __init__(self, pool: BlockingConnectionPool) -> None:
        """Whoever closes the pool closes these connections too."""
        self._pool: Any = pool
        self._kept: list[Any] = []

    async def ask(self, *commands: Command) -> list[Any]:
        """All in one go; the answers in their order, a refusal as the ResponseError that it is. Where anything is
        raised, some of them may have been done and others not; nothing is tried again."""
        connection = self._kept.pop() if self._kept else await self._pool.get_connection()
        try:
            # Closed by the server meanwhile, or about to be: a new one is made by sending.
            if connection.is_connected and (connection.should_reconnect() or await connection.can_read()):
                await connection.disconnect(nowait=True)
            await connection.send_packed_command([_packed(command) for command in commands])
            return await connection.read_answers(len(commands))  # type: ignore[no-any-return]
        finally:
            if len(self._kept) < MOST_KEPT:
                self._kept.append(connection)
            else:
                await self._pool.release(connection)


class Prompt:
    """A connection of redis-py's that sends without a task of its own, for that costs as much as all the rest; and on
    Python 3.11, `asyncio.wait_for`, which redis-py 8.1 does it with, loses a cancellation that arrives while the send
    ends: a task group would then wait for that task for ever."""

    async def send_packed_command(self: Any, command: Any, check_health: bool = True) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        try:
            writer = self._writer
            writer.writelines([command] if isinstance(command, bytes) else command)
            if writer.transport.get_write_buffer_size():  # more than the kernel takes at once
                async with asyncio.timeout(self.socket_timeout):
                    await writer.drain()
        except TimeoutError as error:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("writing timed out") from error
        except OSError as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"writing failed: {error}") from error
        except BaseException:  # half of it may have gone out
            await self.disconnect(nowait=True)
            raise

    async def read_answers(self: Any, count: int) -> list[Any]:
        """As `read_response` does it, but for many at once, errors among them."""
        try:
            async with asyncio.timeout(self.socket_timeout):
                answers = [await self._read_response_from_parser() for _ in range(count)]
        except TimeoutError as error:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("reading timed out") from error
        except OSError as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"reading failed: {error}") from error
        except BaseException:  # what is still to come must not answer the next command
            await self.disconnect(nowait=True)
            raise
        if any(isinstance(answer, ReadOnlyError) for answer in answers):  # this one is a replica by now
            await self.disconnect(nowait=True)
        return answers

    async def read_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().read_response(*args, **kwargs)  # type: ignore[misc]  # the mixed-in's
        except ReadOnlyError:
            await self.disconnect(nowait=True)
            raise
