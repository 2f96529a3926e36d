"""A stand-in for a host's executor: every action succeeds as soon as it is read, so that what is timed is the way there
and back."""

import asyncio
from contextlib import suppress
from typing import Any, Self

from redis.exceptions import ResponseError

from common.actions import ORDER_FIELD, Actions, Outcome, parse_order
from common.bus import READ_BLOCK_MS, Bus
from common.keys import EXECUTOR_GROUP, Keys


class StandInExecutor:
    """Serves one host's stream while the context is open. Leaving it raises what it failed with."""

    def __init__(self, redis_url: str, host: str) -> None:
        self._bus = Bus(redis_url, Keys())
        self._actions = Actions(self._bus)
        self._host = host
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._bus.sync_clock()
        with self._bus.reaching() as redis, suppress(ResponseError):  # the group is there already
            await redis.xgroup_create(self._bus.keys.actions(self._host), EXECUTOR_GROUP, "0", mkstream=True)
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._bus.close()

    async def settled(self) -> int:
        """How many actions the host's audit knows of."""
        with self._bus.reaching() as redis:
            count: int = await redis.xlen(self._bus.keys.audit(self._host))
        return count

    async def _serve(self) -> None:
        stream = self._bus.keys.actions(self._host)
        while True:
            with self._bus.reaching() as redis:
                answer: Any = await redis.xreadgroup(
                    EXECUTOR_GROUP, EXECUTOR_GROUP, {stream: ">"}, count=64, block=READ_BLOCK_MS
                )
            for entry_id, fields in answer[0][1] if answer else ():
                order = parse_order(fields[ORDER_FIELD.encode()])
                await self._actions.claim(order, "fanout")
                await self._actions.settle(order, entry_id.decode(), "fanout", Outcome("succeeded", duration_ms=0))
