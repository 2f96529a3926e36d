"""uvicorn's sans-I/O WebSocket class, with what an edge must be able to do to a connection and ASGI cannot say.

Handed to uvicorn as its `ws` class; the app finds it in the ASGI scope under `extensions`.
"""

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

EXTENSION = "fleetcast.connection"

logger = logging.getLogger(__name__)


class EdgeWebSocketProtocol(WebSocketsSansIOProtocol):
    """One client's connection."""

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = self

    def abort(self) -> None:
        """Ends the connection now. `transport.close()` would wait for ever on a peer that does not read."""
        self.transport.abort()

    def keepalive_timeout(self) -> None:
        """The client has not answered a ping: say so if it can still hear, then end it."""
        self.pong_timer = None
        self.pending_ping_payload = None
        if not self.close_sent and not self.transport.is_closing():
            self.conn.fail(4408, "silent for too long")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.loop.call_later(1.0, self.transport.abort)

    def send_receive_event_to_app(self) -> None:
        """Text that is not UTF-8 fails the connection (RFC 6455, 8.1), without a stack trace in the log."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                logger.info("closing a client that sent text which is not UTF-8")
                self.frames = []
                self.conn.fail(1007, "text is not UTF-8")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()
