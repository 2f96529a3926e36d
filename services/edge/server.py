"""Runs an edge on uvicorn."""

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_address
from types import FrameType

import uvicorn

from common.errors import SettingsError
from common.settings import EdgeSettings
from services.edge.app import Edge, clients_connected, create_app
from services.edge.drain import drain
from services.edge.gate import Gate
from services.edge.handshake import Handshake, Http

logger = logging.getLogger(__name__)

_BACKLOG = 2048

_GC_THRESHOLDS = (10_000, 50, 100)

_UNSENT_BYTES = 128 * 1024
"""So much may wait unsent in the kernel for one client; then its socket counts as full. Without it megabytes of old
states would wait there, and a slow client would see them one by one instead of the newest."""


class EdgeServer(uvicorn.Server):
    """uvicorn, but a first signal drains. uvicorn itself would close every socket before it tells the app."""

    def __init__(self, config: uvicorn.Config, edge: Edge) -> None:
        super().__init__(config)
        self.edge = edge
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        clients_connected.set(len(self.edge.members))  # for the other workers, which tell the sum
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drains on the first signal, ends at once on the second.

        Of several workers none takes a second: their supervisor forces the end, and passes on a signal that they may
        have had themselves already (systemd sends it to all processes of a service).
        """
        if self._captured_signals and self.edge.settings.worker_number is not None:
            return
        if self._captured_signals or self._loop is None or not self.started:
            super().handle_exit(sig, frame)
            self.force_exit = len(self._captured_signals) > 1
            return
        self._captured_signals.append(sig)
        self._loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        self._draining = asyncio.create_task(self._drain(), name="drain")

    async def _drain(self) -> None:
        try:
            await drain(self.edge, self.edge.settings.drain_sec)
        finally:
            self.should_exit = True


def build_server(settings: EdgeSettings) -> EdgeServer:
    """uvicorn with what an edge needs of it; nothing listens yet."""
    edge = Edge(settings)
    return EdgeServer(
        uvicorn.Config(
            Gate(create_app(edge), edge),
            host=settings.bind,
            port=settings.port,
            http=Http,
            ws=Handshake,
            ws_max_size=settings.max_message_bytes,
            ws_per_message_deflate=settings.compress,
            ws_ping_interval=None,  # heartbeats carry the pings
            forwarded_allow_ips=settings.trusted_proxies,
            lifespan="on",
            timeout_graceful_shutdown=3,
            log_config=None,
            access_log=False,
            server_header=False,
        ),
        edge,
    )


def listen(settings: EdgeSettings) -> socket.socket:
    """The socket that clients connect to. Raises SettingsError where there can be none.

    One of several workers has a socket of its own on the port of all, and the kernel spreads new connections over them.
    """
    with _said_in_one_line(settings):
        listener = _bound(settings, settings.port, shared=settings.worker_number is not None)
        try:
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener


@contextmanager
def reserved_port(settings: EdgeSettings) -> Iterator[int]:
    """Keeps the port for workers, which have to be this user's processes. Raises SettingsError where somebody listens
    there already. No connection comes to whoever calls this.

    Linux only. Sockets that share a port would share it with those of another edge too, so one that shares it with
    nobody finds out first whether it is free. The other one stays: it does not listen, but while it is there nobody can
    have the port alone, whether or not a worker listens there at the moment.
    """
    with _said_in_one_line(settings), closing(_bound(settings, settings.port, shared=False)) as alone:
        alone.listen()
        port: int = alone.getsockname()[1]
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        keeper = _bound(settings, port, shared=True)
    with closing(keeper):
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        yield port


def _bound(settings: EdgeSettings, port: int, *, shared: bool) -> socket.socket:
    """A socket on the address. Its options pass on to every connection."""
    host = "127.0.0.1" if settings.bind == "localhost" else settings.bind
    family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # or asyncio leaves Nagle's algorithm on
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
    if sys.platform == "linux":
        # A peer that acknowledges nothing, or takes nothing, is given up by the kernel.
        patience_ms = round(max(settings.slow_client_sec, settings.silent_client_sec) * 1000)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


@contextmanager
def _said_in_one_line(settings: EdgeSettings) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            "--port / FLEETCAST_PORT, --bind / FLEETCAST_BIND",
            f"cannot listen on {settings.bind} port {settings.port} ({error.strerror})",
        ) from None


def run_edge(settings: EdgeSettings) -> None:
    """Serves until SIGTERM or SIGINT. Raises SettingsError."""
    server = build_server(settings)
    listener = listen(settings)
    # What is there from the start stays, and connections are made so that they go without the garbage collector: it
    # need not look at all of that again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    server.run(sockets=[listener])
