"""uvicorn's sans-I/O WebSocket class, made to hand the connection over after the opening handshake.

The handshake is uvicorn's and the app's: routes, `Origin`, sign-in. The app finds `Handshake` in the ASGI scope under
`extensions`, accepts, and takes the connection over; from then on there is no task, no queue and no ASGI for it.
Given to uvicorn as its `ws` class.
"""

import asyncio
import sys
from http import HTTPStatus
from typing import Any, cast

from httptools import HttpParserUpgrade
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request

from services.edge.connection import Connection, Listener

EXTENSION = "fleetcast.handshake"

_VERSION = "13"


class SharedDeflate(ServerPerMessageDeflateFactory):
    """Agrees to permessage-deflate only so that a frame compressed once is right for every client: no context taken
    over, and the usual window."""

    def __init__(self) -> None:
        super().__init__(server_no_context_takeover=True, client_no_context_takeover=True)

    def process_request_params(self, params: Any, accepted_extensions: Any) -> Any:
        response, extension = super().process_request_params(params, accepted_extensions)
        if extension.local_max_window_bits < 15:
            raise NegotiationError("a smaller window would need frames of this client's own")
        return response, extension


class Http(HttpToolsProtocol):
    """uvicorn's HTTP class, which gives an upgrade to the WebSocket class as it has read it, instead of putting it
    together again for that to parse: a quarter of what a handshake costs. Given to uvicorn as its `http` class."""

    _received = 0

    def data_received(self, data: bytes) -> None:
        self._received = len(data)
        super().data_received(data)

    def handle_websocket_upgrade(self) -> None:
        upgrade = sys.exc_info()[1]
        assert isinstance(upgrade, HttpParserUpgrade)  # uvicorn calls this where it catches that
        self.connections.discard(self)
        handshake = Handshake(self.config, self.server_state, self.app_state)
        handshake.connection_made(self.transport)
        self.transport.set_protocol(handshake)
        del self.parser  # it refers back to this
        headers = Headers()
        for name, value in self.headers:
            headers.set_insecure(name.decode("latin-1"), value.decode("latin-1"))
        protocol = f"HTTP/{self.scope['http_version']}"
        handshake.handle_connect(Request(self.url.decode("latin-1"), headers, self.scope["method"], protocol))
        if upgrade.args[0] < self._received:
            handshake.data_received(b"")


class Handshake(WebSocketsSansIOProtocol):
    """One opening handshake."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spoke_early = False
        self.conn.available_extensions = [SharedDeflate()] if self.config.ws_per_message_deflate else []

    def handle_connect(self, event: Any) -> None:
        if event.headers.get_all("Sec-WebSocket-Version") not in ([], [_VERSION]):
            self._refuse_version()
            return
        super().handle_connect(event)
        if not self.close_sent:
            cast(dict[str, Any], self.scope["extensions"])[EXTENSION] = self

    def _refuse_version(self) -> None:
        response = self.conn.reject(HTTPStatus.UPGRADE_REQUIRED, f"This speaks version {_VERSION} of WebSocket.\n")
        response.headers["Upgrade"] = "websocket"
        response.headers["Sec-WebSocket-Version"] = _VERSION  # RFC 6455, 4.2.2
        self.conn.send_response(response)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self.handshake_complete = True
        self.transport.close()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # or uvicorn logs that a handshake which was refused is incomplete

    def data_received(self, data: bytes) -> None:
        """A client is to wait for the answer; until then nothing it sends is read."""
        self.spoke_early = True

    def take_over(self, listener: Listener) -> Connection | None:
        """The connection, just accepted, for a listener; `start` it. None where the client has gone meanwhile."""
        if self.disconnected or self.transport.is_closing():
            return None
        transport, self.transport = self.transport, _NoTransport()
        self.connections.discard(self)
        connection = Connection(transport, listener, self.connections, self.conn.extensions, self.config.ws_max_size)
        # What refers back to itself would be left to the garbage collector, which under a storm of clients takes a
        # third of the time.
        self.conn.parser.close()
        del self.scope["extensions"][EXTENSION]
        return connection


class _NoTransport(asyncio.Transport):
    """What is left of a connection that has been handed over."""

    def close(self) -> None:
        pass

    def is_closing(self) -> bool:
        return True


def handshake_of(scope: Scope) -> Handshake:
    """The handshake behind an ASGI scope."""
    handshake: Handshake = scope["extensions"][EXTENSION]
    return handshake
