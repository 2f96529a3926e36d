"""Runs an edge on uvicorn."""

import logging

import uvicorn

from common.settings import EdgeSettings
from services.edge.app import Edge, OriginGate, create_app
from services.edge.websocket import EdgeWebSocketProtocol

logger = logging.getLogger(__name__)


def build_server(settings: EdgeSettings) -> uvicorn.Server:
    """uvicorn with what an edge needs of it; nothing listens yet."""
    edge = Edge(settings)
    return uvicorn.Server(
        uvicorn.Config(
            OriginGate(create_app(edge), edge),
            host=settings.bind,
            port=settings.port,
            ws=EdgeWebSocketProtocol,
            ws_max_size=settings.max_message_bytes,
            # The library would compress every message for each client anew: twice the CPU, and memory for each.
            ws_per_message_deflate=False,
            ws_ping_interval=20.0,
            ws_ping_timeout=20.0,
            lifespan="on",
            timeout_graceful_shutdown=3,
            log_config=None,
            access_log=False,
            server_header=False,
        )
    )


def run_edge(settings: EdgeSettings) -> None:
    """Serves until SIGTERM or SIGINT. Raises SystemExit(1) where it cannot listen."""
    build_server(settings).run()
