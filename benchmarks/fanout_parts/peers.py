"""Servers of other people, where they are installed: nginx with Nchan, NATS, Centrifugo.

All of them publish every host to what every client hears, on one worker or core, with their defaults otherwise.
"""

import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from benchmarks.fanout_parts.bodies import State
from benchmarks.fanout_parts.dialects import CentrifugoDialect
from benchmarks.fanout_parts.machine import children, first_line, free_port, open_files_allowed
from benchmarks.fanout_parts.publishing import HttpPublisher, StreamPublisher
from benchmarks.fanout_parts.systems import Serving, Site, System, accepts, answers, server_process

_NCHAN_MODULES = (
    "/usr/lib/nginx/modules/ngx_nchan_module.so",
    "/usr/share/nginx/modules/ngx_nchan_module.so",
    "/usr/local/nginx/modules/ngx_nchan_module.so",
    "/etc/nginx/modules/ngx_nchan_module.so",
)

_NGINX = """\
load_module {module};
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {open_files};
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {open_files}; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    nchan_message_buffer_length 10;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        keepalive_requests 1000000;
        location = /subscribe {{
            nchan_subscriber websocket;
            nchan_subscriber_first_message newest;
            nchan_channel_id fleet;
        }}
        location = /publish {{
            nchan_publisher http;
            nchan_channel_id fleet;
        }}
    }}
}}
"""


class Nchan(System):
    """nginx with the Nchan module: published over HTTP, the serving process is nginx' one worker."""

    name = "nchan"

    async def missing(self, tools: Path) -> str | None:
        if shutil.which("nginx") is None:
            return "no nginx on the path"
        if self._module() is None:
            return "nginx has no module ngx_nchan_module.so"
        return None

    def version(self) -> str:
        packaged = first_line("dpkg-query", "--show", "--showformat=${Version}", "libnginx-mod-nchan")
        return f"nginx {first_line('nginx', '-v').rpartition('/')[2]}, nchan {packaged or 'of unknown version'}"

    @asynccontextmanager
    async def serving(self, site: Site) -> AsyncIterator[Serving]:
        port = free_port()
        config = site.directory / "nginx.conf"
        config.write_text(
            _NGINX.format(
                module=self._module(),
                user="user root;" if os.geteuid() == 0 else "",
                open_files=open_files_allowed(),
                directory=site.directory,
                port=port,
            )
        )
        # Its master listens before it has a worker: only an answer tells that there is one.
        argv = ("nginx", "-p", str(site.directory), "-c", str(config))
        async with server_process(site, argv, answers(port)) as process:
            publisher = await HttpPublisher.connect(port, "/publish")
            with closing(publisher):
                yield Serving((port,), tuple(children(process.pid)), publisher)

    def _module(self) -> str | None:
        return next((module for module in _NCHAN_MODULES if Path(module).exists()), None)


class Nats(System):
    """nats-server with its WebSocket listener: published over its TCP port."""

    name = "nats"

    async def missing(self, tools: Path) -> str | None:
        return None if shutil.which("nats-server") else "no nats-server on the path"

    def version(self) -> str:
        return first_line("nats-server", "--version").rpartition(" ")[2]

    @asynccontextmanager
    async def serving(self, site: Site) -> AsyncIterator[Serving]:
        port, tcp_port = free_port(), free_port()
        config = site.directory / "nats.conf"
        config.write_text(
            f'host: "127.0.0.1"\nport: {tcp_port}\nwebsocket {{ host: "127.0.0.1", port: {port}, no_tls: true }}\n'
        )
        async with server_process(site, ("nats-server", "-c", str(config)), accepts(port)) as process:
            hello = b'CONNECT {"verbose":false,"pedantic":false,"lang":"fanout","version":"1"}\r\n'
            publisher = await StreamPublisher.connect(tcp_port, _pub, hello)
            with closing(publisher):
                yield Serving((port,), (process.pid,), publisher)


def _pub(state: State) -> bytes:
    return b"PUB metrics.%b %d\r\n%b\r\n" % (state.host.encode(), len(state.body), state.body)


class Centrifugo(System):
    """Centrifugo 6, its JSON protocol: published over its HTTP API."""

    name = "centrifugo"

    async def missing(self, tools: Path) -> str | None:
        return None if self._binary() else "no centrifugo on the path or in $CENTRIFUGO"

    def version(self) -> str:
        return first_line(self._binary() or "centrifugo", "version")

    @asynccontextmanager
    async def serving(self, site: Site) -> AsyncIterator[Serving]:
        port = free_port()
        config = site.directory / "centrifugo.json"
        config.write_text(
            json.dumps(
                {
                    "http_server": {"address": "127.0.0.1", "port": port},
                    "http_api": {"key": "fanout"},
                    "client": {"allow_anonymous_connect_without_token": True},
                    "channel": {
                        "without_namespace": {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}
                    },
                    "log": {"level": "warn"},
                }
            )
        )
        argv = (self._binary() or "", "--config", str(config))
        async with server_process(site, argv, accepts(port)) as process:
            publisher = await HttpPublisher.connect(
                port,
                "/api/publish",
                headers="X-API-Key: fanout\r\n",
                before=b'{"channel":"%b","data":' % CentrifugoDialect.channel.encode(),
                after=b"}",
            )
            with closing(publisher):
                yield Serving((port,), (process.pid,), publisher)

    def _binary(self) -> str | None:
        return shutil.which(os.environ.get("CENTRIFUGO", "centrifugo"))
