"""Where the server is that may be written to, of several that stand in for each other: Redis Sentinel knows.

What it promises:
- Each new connection goes to where a Sentinel says that the primary is, and is given up unless that says so itself.
- A connection to a server that is a replica by now is closed, and what was asked over it is told as not done.
- For up to 10 s after a fail-over that somebody asked for, the old primary takes itself for one still, and loses what
  is written to it. So the bus looks here every few seconds, and whenever a write that has to outlive a fail-over is
  confirmed by no replica.

It keeps no address: connections are made seldom, and Sentinel may name another one each time.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import Any

from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry as BlockingRetry

from common.sentinel_url import SentinelUrl

logger = logging.getLogger(__name__)

ANSWER_WITHIN_S = 1.0
"""A Sentinel that takes longer is passed over: the next one is asked."""

_WHERE = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME")


def watched_servers(url: SentinelUrl) -> set[tuple[str, int]]:
    """The Sentinels, the primary and its replicas, as the first Sentinel that answers has them. Blocks. Raises
    redis-py's errors where none does."""
    problem: RedisError = RedisConnectionError("no Sentinel is named")
    for host, port in url.sentinels:
        retry = BlockingRetry(NoBackoff(), 0)
        with closing(BlockingRedis(host=host, port=port, retry=retry, **_options(url))) as sentinel:
            try:
                primary: Any = sentinel.execute_command(*_WHERE, url.name)  # type: ignore[no-untyped-call]
                replicas: Any = sentinel.sentinel_slaves(url.name)
            except RedisError as error:
                problem = error
                continue
        found = {(replica["ip"], int(replica["port"])) for replica in replicas}
        return {*url.sentinels, *found, (primary[0].decode(), int(primary[1]))}
    raise problem


class Primary:
    """Asks the Sentinels, the one first that has answered last. `on_move` is called whenever they name another server
    than before."""

    def __init__(self, url: SentinelUrl, on_move: Callable[[], Awaitable[None]]) -> None:
        self.name = url.name
        self._on_move = on_move
        self._sentinels: list[tuple[str, Redis]] = []
        for host, port in url.sentinels:
            redis = Redis(host=host, port=port, retry=Retry(NoBackoff(), 0), **_options(url))
            self._sentinels.append((f"{host}:{port}", redis))
        self._said: tuple[str, int] | None = None
        self.moves = 0
        """How often the Sentinels have named another one than before."""

    async def address(self) -> tuple[str, int]:
        """Host and port. Raises redis-py's ConnectionError where no Sentinel tells them."""
        problems = []
        for sentinel in list(self._sentinels):
            shown, redis = sentinel
            try:
                said = await redis.execute_command(*_WHERE, self.name)  # type: ignore[no-untyped-call]
            except (RedisError, OSError) as error:
                problems.append(f"{shown}: {str(error) or type(error).__name__}")
                continue
            if said is None:
                problems.append(f"{shown}: it watches nothing of this name")
                continue
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            return await self._note(said)
        raise RedisConnectionError(f"no Sentinel tells where {self.name} is ({'; '.join(problems)})")

    async def _note(self, said: Sequence[bytes]) -> tuple[str, int]:
        address = said[0].decode(errors="replace"), int(said[1])
        before, self._said = self._said, address
        if address != before:
            logger.info("the primary of %s is %s:%d", self.name, *address)
            if before is not None:
                self.moves += 1
                await self._on_move()
        return address

    async def aclose(self) -> None:
        for _, redis in self._sentinels:
            await redis.aclose()


class ToPrimary:
    """A connection of redis-py's that goes to the primary, wherever that is when it is made."""

    def __init__(self, *, primary: Primary, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._primary = primary

    async def connect_check_health(self: Any, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        if not self.is_connected:
            self.host, self.port = await self._primary.address()
        await super().connect_check_health(check_health, retry_socket_connect)  # type: ignore[misc]  # the mixed-in's

    async def on_connect_check_health(self: Any, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)  # type: ignore[misc]  # the mixed-in's
        await self.send_command("ROLE", check_health=False)
        role = (await self.read_response())[0]
        if role != b"master":
            raise RedisConnectionError(f"{self.host}:{self.port} says that it is a replica: not yet, or not any more")


def _options(url: SentinelUrl) -> dict[str, Any]:
    """Of connections to Sentinels: their own user, and the servers' TLS."""
    tls = {name: value for name, value in parse_url(url.server_url).items() if name.startswith("ssl_")}
    return {
        "socket_timeout": ANSWER_WITHIN_S,
        "socket_connect_timeout": ANSWER_WITHIN_S,
        "client_name": "fleetcast",
        "ssl": url.server_url.startswith("rediss:"),
        **tls,
        **dict(url.options),
    }
