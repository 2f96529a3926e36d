"""One client's connection to an edge, over all the sockets that it takes.

It connects, subscribes, reads and connects again by itself; whoever uses it sees `Up`, `Received` and `Down` events in
the order in which they happened. What the edge sends is input from outside: what does not parse is counted, told once,
and skipped. It knows nothing of what the messages mean beyond `connected`.

What a reconnect loses: messages between `Down` and `Up`, and answers to what was sent. The edge sends the last states
again; whoever sent a request asks again.
"""

import asyncio
import ipaddress
import json
import logging
import random
import re
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI
from websockets.http11 import Response

from common.backoff import Backoff
from common.errors import FleetcastError, ProtocolError, SettingsError
from common.protocol import ClientMessage, Connected, ServerMessage, Subscribe, parse_server_message
from common.settings import ClientSettings
from services.output import plain

logger = logging.getLogger(__name__)


@dataclass
class EdgeRefusedError(FleetcastError):
    """The edge closed the connection for good: trying again would end the same way. `code` is the WebSocket close code,
    or the HTTP status where it did not get that far."""

    url: str
    code: int
    reason: str

    def __str__(self) -> str:
        meaning = _REFUSALS.get(self.code, "refused the connection")
        said = f", {self.reason}" if self.reason else ""
        return f"the edge at {self.url} {meaning} ({self.code}{said})"


_REFUSALS = {
    1008: "closed the connection because this client broke the protocol: are both of the same version?",
    1009: "closed the connection because this client's message is too large",
    4401: "wants a sign-in: it is not signed in, or the sign-in has expired",
    4403: "does not allow this",
    401: "wants a sign-in",
    403: "does not allow this",
}


@dataclass(frozen=True)
class Up:
    """Connected and subscribed."""

    connected: Connected


@dataclass(frozen=True)
class Received:
    """One message, and the frame it came in."""

    message: ServerMessage
    raw: str


@dataclass(frozen=True)
class Down:
    """The connection is gone, or was not made; the next try begins in `retry_in_s`."""

    reason: str
    retry_in_s: float


Event = Up | Received | Down


@dataclass(frozen=True)
class _Loss:
    """Why there is no connection, and what the edge said of coming back."""

    reason: str
    announced_s: float | None = None
    """Wait this long instead of the backoff's delay: an edge that restarts spreads its clients by itself."""
    at_least_s: float = 0.0
    """Come no sooner; the edge told everybody the same."""


@dataclass(frozen=True)
class Limits:
    """How long to wait for what."""

    open_s: float = 10.0
    """For the opening handshake, and then for `connected`."""
    silent_heartbeats: float = 2.5
    """A connection without any message for this many heartbeat intervals is dead."""
    shortest_silence_s: float = 1.0
    longest_silence_s: float = 150.0
    """Bounds of that, whatever interval the edge announces."""
    close_s: float = 1.0
    """For the closing handshake."""
    max_message_bytes: int = 16 * 1024 * 1024
    """A longer message ends the connection; the next one may go better."""


class EdgeConnection:
    """A connection that lasts until its user ends it or the edge refuses it for good.

    `events()` drives it and may run once at a time. `skipped` counts frames that did not parse. Raises SettingsError
    for an address that cannot be one.
    """

    def __init__(
        self,
        url: str,
        channels: Sequence[str] = (),
        limits: Limits | None = None,
        backoff: Backoff | None = None,
        token: str | None = None,
    ) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._channels = tuple(channels)
        self._limits = limits or Limits()
        self._backoff = backoff or Backoff()
        self._socket: ClientConnection | None = None
        self.skipped = 0
        try:
            self._open()
        except (InvalidURI, ValueError):
            raise SettingsError("--url / FLEETCAST_URL", f"{plain(url)!r:.200} is no ws:// or wss:// address") from None

    async def events(self) -> AsyncGenerator[Event, None]:
        """What happens on the connection, for ever. Close the generator (contextlib.aclosing) to hang up.

        Raises EdgeRefusedError where the edge says that coming back is no use, and SettingsError where the environment
        names a proxy that cannot be used.
        """
        while True:
            connected_at: float | None = None
            silence_s = self._limits.open_s
            try:
                async with self._open() as self._socket:
                    if self._channels:
                        await self._socket.send(_encode(Subscribe(type="subscribe", channels=self._channels)))
                    while (raw := await _receive(self._socket, silence_s)) is not None:
                        message = self._parse(raw)
                        if isinstance(message, Connected):
                            connected_at = time.monotonic()
                            silence_s = self._silence_s(message)
                            yield Up(message)
                        if message is not None:
                            yield Received(message, raw if isinstance(raw, str) else raw.decode())
                loss = _Loss("silent for too long" if connected_at else "no Fleetcast edge answers there")
            except ConnectionClosed as closed:
                loss = self._why_closed(closed)
            except InvalidStatus as refused:
                loss = self._why_not_opened(refused.response)
            except (InvalidProxy, ImportError) as wrong:
                raise SettingsError("proxy of the environment", plain(str(wrong))) from None
            except (OSError, InvalidHandshake, EOFError) as error:
                loss = _Loss(_why_failed(error))
            finally:
                self._socket = None
            if connected_at is not None:
                self._backoff.note_healthy(time.monotonic() - connected_at)
            delay_s = self._delay_s(loss)
            yield Down(loss.reason, delay_s)
            await asyncio.sleep(delay_s)

    async def send(self, message: ClientMessage) -> bool:
        """False where there is no connection: nothing was sent. True says only that it is on its way."""
        if self._socket is None:
            return False
        try:
            await self._socket.send(_encode(message))
        except ConnectionClosed:
            return False
        return True

    def _open(self) -> connect:
        # The edge's heartbeats find a dead connection, so the library's own pings are off. It sends no Origin, which
        # is for browsers. A proxy from the environment cannot reach this machine's loopback.
        return connect(
            self._url,
            additional_headers=self._headers,
            compression=None,
            proxy=None if _is_loopback(self._url) else True,
            open_timeout=self._limits.open_s,
            close_timeout=self._limits.close_s,
            ping_interval=None,
            max_size=self._limits.max_message_bytes,
        )

    def _silence_s(self, connected: Connected) -> float:
        announced_s = connected.heartbeat_interval_ms / 1000 * self._limits.silent_heartbeats
        return min(max(announced_s, self._limits.shortest_silence_s), self._limits.longest_silence_s)

    def _parse(self, raw: str | bytes) -> ServerMessage | None:
        try:
            return parse_server_message(raw)
        except ProtocolError as invalid:
            self.skipped += 1
            if self.skipped == 1:
                logger.warning(
                    "skipping messages that this version does not know, the first: %s (%s)",
                    plain(str(raw)[:200]),
                    plain(str(invalid)),
                )
            return None

    def _delay_s(self, loss: _Loss) -> float:
        if loss.announced_s is not None:
            return loss.announced_s
        spread_s = random.uniform(0, loss.at_least_s / 2)  # noqa: S311 - jitter, not a secret
        return loss.at_least_s + spread_s + self._backoff.next_delay()

    def _why_closed(self, closed: ConnectionClosed) -> _Loss:
        if closed.rcvd is None:
            too_big = f"message over {self._limits.max_message_bytes} bytes"
            return _Loss(too_big if _too_big(closed) else "connection lost")
        code, said = closed.rcvd.code, plain(closed.rcvd.reason)
        if code in {1008, 1009, 4401, 4403}:
            raise EdgeRefusedError(self._url, code, said) from None
        meaning = _CLOSE_MEANINGS.get(code, f"closed with {code}")
        if code == _RESTARTING:  # what it says is for programs
            return _Loss(meaning, announced_s=_announced_s(closed.rcvd.reason))
        return _Loss(f"{meaning} ({said})" if said else meaning)

    def _why_not_opened(self, response: Response) -> _Loss:
        status = response.status_code
        if status in {401, 403}:
            raise EdgeRefusedError(self._url, status, "") from None
        hint = ": is the path /api/ws?" if status in {200, 404} else ""
        reason = _STATUS_MEANINGS.get(status, f"HTTP {status} instead of a WebSocket{hint}")
        return _Loss(reason, at_least_s=_retry_after_s(response.headers.get_all("Retry-After")))


_RESTARTING = 1012

_CLOSE_MEANINGS = {
    1000: "closed by the edge",
    1001: "the edge is going away",
    _RESTARTING: "the edge is restarting",
    1013: "no room on this edge now",
    4408: "the edge heard nothing for too long",
    4409: "could not keep up",
}

_STATUS_MEANINGS = {503: "no new clients are let in just now (HTTP 503)"}

_LONGEST_WAIT_S = 60
"""Whatever an edge asks for."""


def _announced_s(reason: str) -> float | None:
    """When an edge that restarts wants its client back; None where it does not say so in good form."""
    try:
        said = json.loads(reason)
    except ValueError:
        return None
    wait_ms = said.get("retryAfterMs") if isinstance(said, dict) else None
    if type(wait_ms) is not int or not 0 <= wait_ms <= _LONGEST_WAIT_S * 1000:  # not isinstance: true is no number
        return None
    return wait_ms / 1000


def _retry_after_s(values: Sequence[str]) -> float:
    """Of a Retry-After in seconds; 0 where there is none, or one in another form."""
    if len(values) != 1 or not re.fullmatch(r"[0-9]{1,9}", values[0].strip()):
        return 0.0
    return float(min(int(values[0]), _LONGEST_WAIT_S))


async def _receive(socket: ClientConnection, within_s: float) -> str | bytes | None:
    """The next message; None, and the socket cut off, where none came in time: a peer that says nothing does not answer
    a closing handshake either."""
    try:
        async with asyncio.timeout(within_s):
            return await socket.recv()
    except TimeoutError:
        socket.transport.abort()
        return None


def _too_big(closed: ConnectionClosed) -> bool:
    return closed.sent is not None and closed.sent.code == 1009


def _encode(message: ClientMessage) -> str:
    return message.model_dump_json(exclude_none=True)


def _why_failed(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        # asyncio's own text repeats the address: "Connect call failed ('127.0.0.1', 8080)".
        return "connection refused" if isinstance(error, ConnectionRefusedError) else plain(error.strerror)
    return plain(str(error)) or type(error).__name__


def token_of(settings: ClientSettings) -> str | None:
    """The sign-in token that the settings name, if any. Raises SettingsError."""
    token = settings.token
    if settings.token_file is not None:
        name = f"{settings.option('token_file')} / {settings.variable('token_file')}"
        try:
            token = settings.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(name, f"cannot read {settings.token_file} ({error})") from None
    if token is not None and not re.fullmatch(r"[A-Za-z0-9_.-]+", token):
        raise SettingsError(settings.variable("token"), "is no token: it has letters, digits, dots, - and _ only")
    return token


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
