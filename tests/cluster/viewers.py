"""Clients as docs/PROTOCOL.md asks for them: they come back by themselves, ask again what they have not been told, and
keep note of what they saw."""

import asyncio
import json
import random
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.support import eventually

FINAL = frozenset({"succeeded", "failed", "expired", "rejected", "unknown"})
CHANNELS = ("hosts", "metrics", "containers")


class RefusedError(Exception):
    """The edge answered an action with an error that asking again does not cure."""


@dataclass
class Asked:
    """An action that this viewer waits for."""

    message: dict[str, Any]
    done: asyncio.Future[dict[str, Any]]
    statuses: list[str] = field(default_factory=list)


class Viewer:
    """One client. `longest_gap_s` is the longest time without a metrics message since `watch_gaps`. `closes` counts its
    connections' ends by close code, the ways in which it was refused by HTTP status, and whatever else as 0."""

    def __init__(self, url: str, token: str, tls: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._token = token
        self._tls = tls
        self._socket: Any = None
        self._asked: dict[str, Asked] = {}
        self._data_at = time.monotonic()
        self.edge: str | None = None
        self.hosts: dict[str, dict[str, Any]] = {}
        self.newest: dict[tuple[str, str], dict[str, Any]] = {}
        self.seen: dict[tuple[str, str, int, int], int] = {}
        self.closes: Counter[int] = Counter()
        self.violations: list[str] = []
        self.longest_gap_s = 0.0

    # What it saw

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def gap_s(self) -> float:
        return max(self.longest_gap_s, time.monotonic() - self._data_at)

    def watch_gaps(self) -> None:
        self.longest_gap_s = 0.0
        self._data_at = time.monotonic()

    def version(self, kind: str, host: str) -> tuple[int, int]:
        state = self.newest.get((kind, host))
        return (state["epoch"], state["seq"]) if state else (0, 0)

    def link(self, host: str, worker: str) -> tuple[str, str | None]:
        link = self.hosts.get(host, {}).get("links", {}).get(worker) or {}
        return link.get("state", "unheard of"), link.get("reason")

    # What it does

    async def act(self, request_id: str, container: str, action: str, **more: Any) -> dict[str, Any]:
        """The final ack of an action, asked for again over every new connection. Raises RefusedError."""
        message = {
            "type": "container-action",
            "requestId": request_id,
            "containerId": container,
            "action": action,
            **more,
        }
        asked = Asked(message, asyncio.get_running_loop().create_future())
        self._asked[request_id] = asked
        await self._ask(asked)
        return await asked.done

    def statuses(self, request_id: str) -> list[str]:
        """What it has been told so far."""
        asked = self._asked.get(request_id)
        return asked.statuses if asked else []

    async def run(self, at_most_at_once: asyncio.Semaphore) -> None:
        delay_s = 0.1
        while True:
            announced_s, at_least_s = None, 0.0
            try:
                async with at_most_at_once:
                    self._socket_opening = connect(
                        self._url,
                        additional_headers={"Authorization": f"Bearer {self._token}"},
                        ssl=self._tls,
                        compression=None,
                        proxy=None,
                        ping_interval=None,
                        open_timeout=5,
                        close_timeout=1,
                    )
                    socket = await self._socket_opening
                async with socket:
                    await self._serve(socket)
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                self.closes[code] += 1
                if code in {1008, 1009, 4401, 4403}:
                    raise
                delay_s = 0.1 if self.edge else delay_s
                if closed.rcvd and code == 1012 and closed.rcvd.reason:
                    announced_s = json.loads(closed.rcvd.reason)["retryAfterMs"] / 1000
            except InvalidStatus as refused:
                self.closes[refused.response.status_code] += 1
                at_least_s = random.uniform(1, 1.5) * int(refused.response.headers.get("Retry-After", 0))
            except (OSError, InvalidHandshake, EOFError, TimeoutError):
                self.closes[0] += 1
            finally:
                self._socket = self.edge = None
            if announced_s is not None:
                await asyncio.sleep(announced_s)
                continue
            await asyncio.sleep(at_least_s + random.uniform(0, delay_s))
            delay_s = min(delay_s * 2, 1.0)

    async def _serve(self, socket: Any) -> None:
        sent_here: dict[tuple[str, str], tuple[int, int]] = {}
        await socket.send(json.dumps({"type": "subscribe", "channels": CHANNELS}))
        silence_s = 5.0
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    text = await socket.recv()
            except TimeoutError:
                socket.transport.abort()
                raise
            message = json.loads(text)
            match message["type"]:
                case "connected":
                    self.edge, self._socket = message["edgeId"], socket
                    silence_s = message["heartbeatIntervalMs"] / 1000 * 2.5
                    for asked in self._asked.values():
                        if not asked.done.done():
                            await self._ask(asked)
                case "metrics" | "containers" as kind:
                    self._note_state(kind, message, text, sent_here)
                case "hosts":
                    self.hosts = {status["host"]: status for status in message["hosts"]}
                case "container-ack":
                    self._note_ack(message)
                case "error":
                    await self._note_error(message)

    def _note_state(
        self, kind: str, message: dict[str, Any], text: str, sent_here: dict[tuple[str, str], tuple[int, int]]
    ) -> None:
        host, version = message["host"], (message["epoch"], message["seq"])
        if version <= sent_here.get((kind, host), (0, 0)):
            self.violations.append(f"{kind} of {host}: {version} after {sent_here[kind, host]} on one connection")
        sent_here[kind, host] = version
        if self.seen.setdefault((kind, host, *version), hash(text)) != hash(text):
            self.violations.append(f"{kind} of {host}: two different states under {version}")
        if version > self.version(kind, host):
            self.newest[kind, host] = message
            if kind == "metrics":
                now = time.monotonic()
                self.longest_gap_s = max(self.longest_gap_s, now - self._data_at)
                self._data_at = now

    def _note_ack(self, message: dict[str, Any]) -> None:
        asked = self._asked.get(message["requestId"])
        if asked is None:
            return
        asked.statuses.append(message["status"])
        if message["status"] in FINAL and not asked.done.done():
            asked.done.set_result(message)

    async def _note_error(self, message: dict[str, Any]) -> None:
        asked = self._asked.get(message.get("requestId") or "")
        if asked is None or asked.done.done():
            return
        if message["code"] in {"unavailable", "rate-limited", "unknown-host"}:
            await asyncio.sleep(0.3)
            await self._ask(asked)
        else:
            asked.done.set_exception(RefusedError(f"{message['code']}: {message['message']}"))

    async def _ask(self, asked: Asked) -> None:
        if self._socket is not None:
            with suppress(ConnectionClosed):  # it asks again when it is back
                await self._socket.send(json.dumps(asked.message))


class Fleet(list[Viewer]):
    """Viewers that run while the block does."""

    @property
    def edges(self) -> Counter[str | None]:
        return Counter(viewer.edge for viewer in self)

    def watch_gaps(self) -> None:
        for viewer in self:
            viewer.watch_gaps()

    def longest_gap_s(self) -> float:
        return max(viewer.gap_s() for viewer in self)

    def violations(self) -> list[str]:
        found = [violation for viewer in self for violation in viewer.violations]
        told: dict[tuple[str, str, int, int], int] = {}
        for viewer in self:
            for version, digest in viewer.seen.items():
                if told.setdefault(version, digest) != digest:
                    found.append(f"two viewers were told different things under {version}")
        return found

    async def all(self, true_of: Callable[[Viewer], bool], within_s: float, what: str) -> None:
        """Until it is true of every viewer at the same time."""

        def everybody() -> bool:
            return all(true_of(viewer) for viewer in self)

        try:
            await eventually(everybody, within_s, every_s=0.05, what=what)
        except AssertionError as error:
            lacking = [viewer for viewer in self if not true_of(viewer)]
            raise AssertionError(
                f"{error}: not so for {len(lacking)} of {len(self)} viewers, on edges "
                f"{dict(Counter(viewer.edge for viewer in lacking))}; closes {dict(lacking[0].closes)}; "
                f"first one's hosts: {lacking[0].hosts}"
            ) from None


@asynccontextmanager
async def viewers(
    url: str, token: str, count: int, *, host: str | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Fleet]:
    """That many viewers, all of them connected and with data."""
    fleet = Fleet(Viewer(url, token, tls) for _ in range(count))
    at_once = asyncio.Semaphore(40)
    tasks = [asyncio.create_task(viewer.run(at_once), name=f"viewer {n}") for n, viewer in enumerate(fleet)]
    try:
        await fleet.all(
            lambda viewer: viewer.connected and (viewer.newest if host is None else viewer.version("metrics", host)[0]),
            60,
            f"connection and data of {count} viewers",
        )
        yield fleet
        ended = [task for task in tasks if task.done()]
        assert not ended, f"viewers gave up: {[task.exception() for task in ended]}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def gather_all(waiting: Sequence[Any], within_s: float) -> list[Any]:
    async with asyncio.timeout(within_s):
        return list(await asyncio.gather(*waiting))
