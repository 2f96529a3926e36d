"""A client that does not give up: when its connection breaks, or no ack comes, it asks again at the other edge, by the
same `requestId`, until it knows what came of each of its actions."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from common.models import FINAL_STATUSES, ActionStatus
from common.protocol import ContainerAck, ContainerAction, Error
from services.client.connection import Down, EdgeConnection, Limits, Received, Up
from services.client.terminal import first_done

ASK_AGAIN_S = 3.0
"""An edge that has said nothing of an action for so long is left for the other one."""

REFUSED_S = 0.5
"""Until what was refused for now is asked for again."""

REMIND_S = 15.0
"""Beyond the deadline: by then an edge that has acknowledged an action should have told its end."""

_PASSING = frozenset({"unavailable", "rate-limited"})


@dataclass
class Asked:
    """One action as its client knows it."""

    message: ContainerAction
    done: asyncio.Future[ContainerAck | Error]
    ask_at: float = 0.0
    """When to ask (again), monotonic seconds."""
    asked_here: bool = False
    """On this connection, and not refused."""
    heard_here: bool = False
    heard: list[ActionStatus] = field(default_factory=list)


class Client:
    """One of the clients of a run."""

    def __init__(self, urls: Sequence[str], first: int) -> None:
        """Begins at the edge number `first`."""
        self._urls = urls
        self._next = first
        self._open: dict[str, Asked] = {}
        self._wake = asyncio.Event()
        self._limits = Limits(open_s=3.0)
        self.heard: dict[str, list[ActionStatus]] = {}
        """Everything that was told of each action, in order."""
        self.sent = 0
        self.connections = 0
        self.reminders = 0
        """Actions of which an edge had acknowledged the beginning and did not tell the end until it was asked."""

    async def act(self, message: ContainerAction) -> ContainerAck | Error:
        """Asks for an action and returns the final ack, or the error with which it was refused for good."""
        asked = Asked(message, asyncio.get_running_loop().create_future())
        self._open[message.request_id] = asked
        self.heard[message.request_id] = asked.heard
        self._wake.set()
        try:
            return await asked.done
        finally:
            del self._open[message.request_id]

    async def run(self) -> None:
        """Connects to one edge after the other, for ever. Raises EdgeRefusedError."""
        while True:
            connection = EdgeConnection(self._urls[self._next % len(self._urls)], limits=self._limits)
            self._next += 1
            for asked in self._open.values():
                asked.asked_here = asked.heard_here = False
                asked.ask_at = 0.0
            self._wake.clear()
            await first_done(self._listen(connection), self._ask(connection))

    async def _listen(self, connection: EdgeConnection) -> None:
        async with aclosing(connection.events()) as events:
            async for event in events:
                match event:
                    case Up():
                        self.connections += 1
                        self._wake.set()
                    case Down(retry_in_s=delay_s):
                        await asyncio.sleep(delay_s)
                        return
                    case Received(message=ContainerAck() as ack) if ack.request_id in self.heard:
                        self._take(ack)
                    case Received(message=Error(request_id=str() as request_id) as error) if request_id in self._open:
                        self._take_refusal(self._open[request_id], error)

    def _take(self, ack: ContainerAck) -> None:
        self.heard[ack.request_id].append(ack.status)
        asked = self._open.get(ack.request_id)
        if asked is None:
            return
        asked.heard_here = True
        asked.ask_at = time.monotonic() + asked.message.expires_in_sec + REMIND_S
        if ack.status in FINAL_STATUSES and not asked.done.done():
            asked.done.set_result(ack)

    def _take_refusal(self, asked: Asked, error: Error) -> None:
        if error.code in _PASSING:
            asked.asked_here = False
            asked.ask_at = time.monotonic() + REFUSED_S
        elif not asked.done.done():
            asked.done.set_result(error)

    async def _ask(self, connection: EdgeConnection) -> None:
        """Asks for whatever is due; ends where the edge leaves it without an answer."""
        while True:
            now = time.monotonic()
            for asked in list(self._open.values()):
                if now < asked.ask_at:
                    continue
                if asked.asked_here:
                    self.reminders += asked.heard_here
                    return
                if await connection.send(asked.message):
                    self.sent += 1
                    asked.asked_here = True
                    asked.ask_at = now + ASK_AGAIN_S
            self._wake.clear()
            try:
                async with asyncio.timeout(0.1):
                    await self._wake.wait()
            except TimeoutError:
                continue
