"""A client of an edge that notes when it got what."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect

from benchmarks.collector_parts.engine import Moments
from common.models import Container
from common.protocol import ContainersMessage, Error, EventMessage, parse_server_message

_PARSED = ('{"type":"containers"', '{"type":"event"', '{"type":"error"')
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class Viewer:
    """What it has been sent."""

    def __init__(self) -> None:
        self.events: Moments[EventMessage] = Moments()
        self.lists: Moments[ContainersMessage] = Moments()
        self.errors: list[str] = []
        self.counts: Counter[str] = Counter()
        """Messages by type."""

    @property
    def containers(self) -> dict[str, Container]:
        """As the last list has them, by id."""
        return {found.id: found for found in self.lists.all[-1][1].data} if self.lists.all else {}

    async def read(self, socket: ClientConnection) -> None:
        """Until the connection ends, which it must not."""
        async for raw in socket:
            at_s = time.monotonic()
            text = raw if isinstance(raw, str) else raw.decode()
            self.counts[text[9 : text.find('"', 9)]] += 1
            if not text.startswith(_PARSED):
                continue
            match parse_server_message(text):
                case EventMessage() as event:
                    self.events.tell(at_s, event)
                case ContainersMessage() as listed:
                    del self.lists.all[:-1]
                    self.lists.tell(at_s, listed)
                case Error() as error:
                    self.errors.append(f"{error.code}: {error.message}")
        raise ConnectionError("the edge has closed the connection")


@asynccontextmanager
async def viewer(url: str, channels: Sequence[str]) -> AsyncIterator[Viewer]:
    """One that is connected and subscribed."""
    found = Viewer()
    async with connect(url, proxy=None, compression=None, max_size=_MAX_MESSAGE_BYTES) as socket:
        await socket.send(json.dumps({"type": "subscribe", "channels": list(channels)}))
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(found.read(socket), name="viewer")
            yield found
            reading.cancel()
