"""States on the bus, of any bytes and any size, without a collector."""

import itertools
import random
from collections.abc import Iterable

import httpx

from common.bus import Bus
from common.envelope import Version, body_prefix, wrap
from common.keys import LAST_STATE_TTL_S
from tests.edges import RunningEdge

_NOT_ASCII = "é€😀".encode()
_POOL_BYTES = 1_100_000
_source = random.Random(1)
_NOISE = bytes(_source.choices(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", k=_POOL_BYTES))
_WORDS = b"".join(
    _source.choices((b"cpu ", b"memory ", b"disk ", b"network ", b"0.125,", b"1024,"), k=_POOL_BYTES // 4)
)


class Fleet:
    """Hosts by the dozen; every host's name is new, so that tests can share an edge."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._numbers = itertools.count(1)

    def new_host(self) -> str:
        return f"h-{next(self._numbers)}"

    async def publish(self, host: str, body: bytes) -> None:
        """As the script of `Bus.publish_state` does it, but for the lease."""
        payload = wrap(Version(1, next(self._numbers)), body)
        with self._bus.reaching() as redis:
            pipeline = redis.pipeline(transaction=True)
            pipeline.set(self._bus.keys.last(host, "metrics"), payload, ex=LAST_STATE_TTL_S)
            pipeline.execute_command("SPUBLISH", self._bus.keys.channel(host, "metrics"), payload)
            await pipeline.execute()


def body(host: str, size: int, *, noise_bytes: int | None = None) -> bytes:
    """A state of exactly so many bytes, not all of them ASCII; of words or, where `noise_bytes` is given, of so much
    that can hardly be deflated and the rest all the same.
    """
    beginning = body_prefix("metrics", host) + b'"pad":"' + _NOT_ASCII
    room = size - len(beginning) - 2
    offset = size % 1000
    if noise_bytes is None:
        filler = _WORDS[offset : offset + room]
    else:
        filler = _NOISE[offset : offset + min(noise_bytes, room)].ljust(room, b"x")
    assert len(filler) == room, f"{size} bytes are too few or too many"
    return beginning + filler + b'"}'


def channels(hosts: Iterable[str]) -> list[str]:
    return [f"metrics:{host}" for host in hosts]


async def clients_on(edge: RunningEdge) -> int:
    """How many clients the edge says it has."""
    async with httpx.AsyncClient() as http:
        status = (await http.get(f"{edge.http}/api/ws")).json()
    count: int = status["clients"]
    return count
