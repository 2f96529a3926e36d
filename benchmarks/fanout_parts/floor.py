"""The floor: what it costs to hand one WebSocket frame to every client's socket in Python, and nothing else.

    python -m benchmarks.fanout_parts.floor PORT PUBLISHING_PORT

No handshake, no Redis, nothing is read from a client. Bodies come over a connection to the second port, four bytes of
length before each; a body becomes one frame, and `send` is called once for every client. What does not fit into a
socket is not sent again.
"""

import select
import socket
import sys

from benchmarks.fanout_parts.frames import server_frame


def serve(port: int, publishing_port: int) -> None:
    """Until the publisher has gone."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    publisher, _ = socket.create_server(("127.0.0.1", publishing_port)).accept()
    poller = select.epoll()
    poller.register(listener.fileno(), select.EPOLLIN)
    poller.register(publisher.fileno(), select.EPOLLIN)
    clients: list[socket.socket] = []
    unread = b""
    while True:
        for fd, _ in poller.poll():
            if fd == listener.fileno():
                client, _ = listener.accept()
                client.setblocking(False)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients.append(client)
                continue
            got = publisher.recv(1 << 16)
            if not got:
                return
            unread += got
            while len(unread) >= 4 and len(unread) >= (end := 4 + int.from_bytes(unread[:4], "big")):
                broadcast(clients, server_frame(unread[4:end]))
                unread = unread[end:]


def broadcast(clients: list[socket.socket], frame: bytes) -> None:
    for client in clients:
        try:
            client.send(frame)
        except BlockingIOError:
            continue


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
