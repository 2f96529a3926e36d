"""How a client speaks with each system: where it connects, what it says first, where the bodies stand. Pure.

A body is the JSON that was published. Most clients of a run are not parsed: they count frames and their bytes, from
which `delivered` tells how many bodies of one size came.
"""

import json
from collections.abc import Iterator, Sequence

from benchmarks.fanout_parts.frames import BINARY, TEXT

ALL = "*"
"""The channel of every host; any other name is one host's."""


class Dialect:
    """A system whose clients subscribe by connecting, and get each body in a frame of its own."""

    upgrades = True
    """False: the frames begin at once, without a handshake."""
    path = "/"
    opcode = TEXT
    """Of what the client says."""

    def greeting(self, channels: Sequence[str]) -> bytes:
        """What a client says when it is connected, to get these channels; nothing, where that is empty."""
        return b""

    def bodies(self, payload: bytes) -> Iterator[bytes]:
        """The bodies in a frame, and whatever else is said in JSON."""
        yield payload

    def answer(self, payload: bytes) -> bytes:
        """What has to be said to a short message of the server, so that it keeps the connection."""
        return b""

    def delivered(self, frames: int, payload_bytes: int, body_bytes: int, host: str) -> int:
        """How many bodies of this size, of hosts with names as long as this one, these frames of one client brought.
        The few bytes of a ping that shares a frame with them make no difference."""
        return frames


class FloorDialect(Dialect):
    upgrades = False


class FleetcastDialect(Dialect):
    path = "/api/ws"
    topics: tuple[str, ...] = ("metrics",)

    def greeting(self, channels: Sequence[str]) -> bytes:
        named = [topic if channel == ALL else f"{topic}:{channel}" for channel in channels for topic in self.topics]
        return json.dumps({"type": "subscribe", "channels": named}).encode() if named else b""


class FleetcastContainersDialect(FleetcastDialect):
    topics = ("metrics", "containers")


class PlainDialect(Dialect):
    """The small servers of ours: everybody gets everything."""

    path = "/ws"


class NchanDialect(Dialect):
    path = "/subscribe"


class NatsDialect(Dialect):
    """The NATS protocol inside of binary frames; a frame may carry several messages."""

    opcode = BINARY

    def greeting(self, channels: Sequence[str]) -> bytes:
        options = {"verbose": False, "pedantic": False, "lang": "fanout", "version": "1", "protocol": 1}
        subscribed = "".join(
            f"SUB metrics.{'>' if channel == ALL else channel} {number}\r\n"
            for number, channel in enumerate(channels, start=1)
        )
        return f"CONNECT {json.dumps(options)}\r\n{subscribed}".encode()

    def bodies(self, payload: bytes) -> Iterator[bytes]:
        while payload:
            line, _, payload = payload.partition(b"\r\n")
            if line.startswith(b"MSG "):
                size = int(line.rpartition(b" ")[2])
                if len(payload) < size + 2:
                    raise ValueError("a frame of NATS ends inside of a message")
                yield payload[:size]
                payload = payload[size + 2 :]

    def answer(self, payload: bytes) -> bytes:
        return b"PONG\r\n" if payload == b"PING\r\n" else b""

    def delivered(self, frames: int, payload_bytes: int, body_bytes: int, host: str) -> int:
        return payload_bytes // (len(f"MSG metrics.{host} 1 {body_bytes}\r\n\r\n") + body_bytes)


class CentrifugoDialect(Dialect):
    """Its JSON protocol: lines, of which a frame may carry several."""

    path = "/connection/websocket"
    channel = "fleet"

    def greeting(self, channels: Sequence[str]) -> bytes:
        commands = [{"id": 1, "connect": {}}]
        if channels:
            commands.append({"id": 2, "subscribe": {"channel": self.channel}})
        return b"\n".join(json.dumps(command).encode() for command in commands)

    def bodies(self, payload: bytes) -> Iterator[bytes]:
        opening = b'{"push":{"channel":"%b","pub":{"data":' % self.channel.encode()
        for line in payload.split(b"\n"):
            if line.startswith(opening) and line.endswith(b"}}}"):
                yield line[len(opening) : -3]

    def answer(self, payload: bytes) -> bytes:
        return b"{}" if payload == b"{}" else b""

    def delivered(self, frames: int, payload_bytes: int, body_bytes: int, host: str) -> int:
        line = len('{"push":{"channel":"","pub":{"data":}}}') + len(self.channel) + body_bytes
        # n lines in a frame are joined by n - 1 line feeds.
        return (payload_bytes + frames) // (line + 1)


DIALECTS: dict[str, Dialect] = {
    "floor": FloorDialect(),
    "fleetcast": FleetcastDialect(),
    "fleetcast containers": FleetcastContainersDialect(),
    "fastapi": PlainDialect(),
    "node": PlainDialect(),
    "nchan": NchanDialect(),
    "nats": NatsDialect(),
    "centrifugo": CentrifugoDialect(),
}
