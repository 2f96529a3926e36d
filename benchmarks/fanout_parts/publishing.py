"""What stands in for the collectors: publishes states to each system as it wants them, by a timetable."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import hiredis

from benchmarks.fanout_parts.bodies import State
from common.envelope import wrap
from common.keys import LAST_STATE_TTL_S, WORKERS, Keys


class PublishingError(Exception):
    """A system refused what was published."""


class Publisher(ABC):
    """One connection to publish on."""

    @abstractmethod
    async def publish(self, state: State) -> None:
        """Hands it over; what comes of it is seen by the clients. Raises PublishingError and OSError."""

    @abstractmethod
    def close(self) -> None: ...


class _Replies(asyncio.Protocol):
    """Reads a server's replies only for what it refuses."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self.refused = ""

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                self.refused = str(reply)


class RedisPipe:
    """Commands whose replies nobody waits for: a client library would cost more than what is measured here."""

    def __init__(self, transport: asyncio.WriteTransport, replies: _Replies) -> None:
        self._transport = transport
        self._replies = replies

    @classmethod
    async def connect(cls, socket_path: str) -> "RedisPipe":
        transport, replies = await asyncio.get_running_loop().create_unix_connection(_Replies, socket_path)
        return cls(transport, replies)

    def send(self, *commands: Sequence[str | bytes | int]) -> None:
        if self._replies.refused:
            raise PublishingError(self._replies.refused)
        # Its stub has a tuple of one element.
        packed = [hiredis.pack_command(tuple(command)) for command in commands]  # type: ignore[arg-type]
        self._transport.write(b"".join(packed))

    def close(self) -> None:
        self._transport.close()


class BusPublisher(Publisher):
    """As the collectors of Fleetcast do it, but without a lease: keeps the last state, publishes, and says once a
    second that every host published so far is there."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys
        self._hosts: set[str] = set()
        self._announced_at = float("-inf")

    async def publish(self, state: State) -> None:
        now = time.monotonic()
        if now - self._announced_at >= 1:
            self._announced_at = now
            self._announce(self._hosts)
        if state.host not in self._hosts:
            self._hosts.add(state.host)
            self._announce({state.host})
        payload = wrap(state.version, state.body)
        self._pipe.send(
            ("SET", self._keys.last(state.host, state.kind), payload, "EX", LAST_STATE_TTL_S),
            ("SPUBLISH", self._keys.channel(state.host, state.kind), payload),
        )

    def _announce(self, hosts: set[str]) -> None:
        now_ms = int(time.time() * 1000)
        if hosts:
            scores = [part for host in hosts for part in (now_ms, host)]
            self._pipe.send(*(("ZADD", self._keys.seen(worker), *scores) for worker in WORKERS))

    def close(self) -> None:
        self._pipe.close()


class ChannelPublisher(Publisher):
    """PUBLISH to one channel, for servers that send everything to everybody."""

    def __init__(self, pipe: RedisPipe, channel: str) -> None:
        self._pipe = pipe
        self._channel = channel

    async def publish(self, state: State) -> None:
        self._pipe.send(("PUBLISH", self._channel, state.body))

    def close(self) -> None:
        self._pipe.close()


class StreamPublisher(Publisher):
    """Over a TCP connection on which nothing has to be read."""

    def __init__(self, writer: asyncio.StreamWriter, packed: Callable[[State], bytes]) -> None:
        self._writer = writer
        self._packed = packed

    @classmethod
    async def connect(cls, port: int, packed: Callable[[State], bytes], hello: bytes = b"") -> "StreamPublisher":
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(hello)
        return cls(writer, packed)

    async def publish(self, state: State) -> None:
        self._writer.write(self._packed(state))
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


class HttpPublisher(Publisher):
    """One POST a state, on one connection that is kept open; each waits for its answer."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], head: str, content: bytes) -> None:
        self._reader, self._writer = streams
        self._head = head
        self._content = content

    @classmethod
    async def connect(
        cls, port: int, path: str, *, headers: str = "", before: bytes = b"", after: bytes = b""
    ) -> "HttpPublisher":
        """`before` and `after` stand around each body."""
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n{headers}"
        return cls(await asyncio.open_connection("127.0.0.1", port), head, before + b"%b" + after)

    async def publish(self, state: State) -> None:
        content = self._content % state.body
        self._writer.write(f"{self._head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().splitlines()
        length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
        answer = await self._reader.readexactly(length)
        if not status.split()[1].startswith("2") or b'"error"' in answer:
            raise PublishingError(f"{status}: {answer[:200]!r}")

    def close(self) -> None:
        self._writer.close()


class Timetable:
    """What is published when, over and over: `entries` are moments in a period of `period_s`, with what makes the
    state that is due."""

    def __init__(self, period_s: float, entries: Sequence[tuple[float, Callable[[], State]]]) -> None:
        self.period_s = period_s
        self.entries = sorted(entries, key=lambda entry: entry[0])

    @classmethod
    def evenly(cls, period_s: float, makers: Sequence[Callable[[], State]]) -> "Timetable":
        return cls(period_s, [(period_s * n / len(makers), maker) for n, maker in enumerate(makers)])

    @property
    def per_second(self) -> float:
        return len(self.entries) / self.period_s


class Published(NamedTuple):
    states: int
    body_bytes: int
    late_s: float
    """By how much the last one was late."""


async def follow(timetable: Timetable, publisher: Publisher, seconds: float) -> Published:
    """Publishes by the timetable, whole periods, for at least `seconds`."""
    periods = max(1, -int(-seconds // timetable.period_s))
    began = time.monotonic()
    states, body_bytes, late_s = 0, 0, 0.0
    for period in range(periods):
        for offset_s, make in timetable.entries:
            late_s = time.monotonic() - (began + period * timetable.period_s + offset_s)
            if late_s < 0:
                await asyncio.sleep(-late_s)
            state = make()
            await publisher.publish(state)
            states += 1
            body_bytes += len(state.body)
    # The last period is to be as long as the others.
    await asyncio.sleep(began + periods * timetable.period_s - time.monotonic())
    return Published(states, body_bytes, max(0.0, late_s))
