"""What the load balancer spares the clients of edges that take nobody now, and what it tells the edges of whom it is
there for: with an edge that is full soon."""

import asyncio
import http.client
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.cluster.driver import Cluster, Compose, aside, docker
from tests.support import eventually, eventually_sync

pytestmark = [pytest.mark.docker, pytest.mark.cluster, pytest.mark.timeout(300)]

ROOM = 3
"""For clients from one address."""


@pytest.fixture(scope="module")
def running(image: str, projects: list[Compose]) -> Iterator[Cluster]:
    limits = {"FLEETCAST_MAX_CLIENTS_PER_ADDRESS": str(ROOM), "FLEETCAST_DRAIN_SEC": "3"}
    with Cluster(image, **limits) as cluster:
        projects.append(cluster)
        cluster.up(edges=1)
        yield cluster
    assert cluster.leftovers() == [], "`docker compose down -v` leaves something behind"


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """With its edge, whatever the test before has done."""
    running.compose("up", "--detach", "--no-build", "--scale", "edge=1")
    running.wait_for_edges(1)
    return running


@asynccontextmanager
async def client(cluster: Cluster, forwarded_for: str | None = None) -> AsyncIterator[str | int]:
    """A client: the type of the first message, or the code that it is closed with instead."""
    headers = {"Authorization": f"Bearer {cluster.token()}"}
    if forwarded_for is not None:
        headers["X-Forwarded-For"] = forwarded_for
    async with connect(cluster.ws, additional_headers=headers, proxy=None) as socket:
        try:
            first: str = json.loads(await socket.recv())["type"]
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            yield closed.rcvd.code
        else:
            yield first


async def outcomes(cluster: Cluster, addresses: Sequence[str | None]) -> list[str | int]:
    """Of clients that stay connected until the last one has come; there is room for all of them before."""
    async with AsyncExitStack() as stack:
        return [await stack.enter_async_context(client(cluster, address)) for address in addresses]


async def let_in(cluster: Cluster, addresses: Sequence[str | None]) -> list[str | int]:
    """The same, once the edge has noticed that the clients before have gone."""
    expected: list[str | int] = ["connected"] * ROOM

    async def has_room() -> bool:
        return await outcomes(cluster, [None] * ROOM) == expected

    await eventually(has_room, what="room for new clients")
    return await outcomes(cluster, addresses)


# An edge that takes nobody now

BUSY = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Busy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        healthy = self.path in ("/readyz", "/healthz")
        self.send_response(200 if healthy else 503)
        self.send_header("Content-Length", "0")
        self.send_header("Retry-After", "2")
        self.end_headers()
        if not healthy:
            print("refused", self.path, flush=True)

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer(("", 8080), Busy).serve_forever()
"""


@contextmanager
def busy_edge(cluster: Cluster, image: str) -> Iterator[str]:
    """What the load balancer takes for one more edge, ready and with little to do. It refuses everybody."""
    name = f"{cluster.project}-busy-{uuid.uuid4().hex[:6]}"
    network = ("--network", f"{cluster.project}_edges", "--network-alias", "fleetcast-edges")
    docker("run", "--detach", "--name", name, *network, "--entrypoint", "python", image, "-c", BUSY)
    try:
        eventually_sync(lambda: cluster.ready_edges() == 2, 20, every_s=0.1, what="one more edge to be found")
        yield name
    finally:
        docker("rm", "--force", name)


async def test_a_client_that_one_edge_refuses_is_let_in_by_another(cluster: Cluster, image: str) -> None:
    with busy_edge(cluster, image) as busy:
        async with client(cluster), client(cluster):
            for _ in range(10):
                async with client(cluster) as answer:
                    assert answer == "connected"
            connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=10)
            connection.request("GET", "/api/hosts", headers={"Authorization": f"Bearer {cluster.token()}"})
            assert connection.getresponse().status == 200
            connection.close()
        refused = (await aside(docker, "logs", busy)).splitlines()
        assert refused.count("refused /api/ws") >= 10, f"it was hardly asked: {refused}"


async def test_where_every_edge_refuses_the_client_is_told_when_to_come_back(cluster: Cluster, image: str) -> None:
    with busy_edge(cluster, image):
        await aside(cluster.compose, "stop", "edge")
        with pytest.raises(InvalidStatus) as refused:
            async with client(cluster):
                pass
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "2"


# Limits by address


async def test_clients_are_counted_by_their_own_address_whatever_they_say_of_it(cluster: Cluster, image: str) -> None:
    same = [None, "203.0.113.1", "203.0.113.2", "203.0.113.3, 203.0.113.4"]
    assert await let_in(cluster, same) == ["connected"] * ROOM + [1013]
    async with AsyncExitStack() as stack:
        for _ in range(ROOM):
            await stack.enter_async_context(client(cluster))
        assert await aside(from_elsewhere, cluster, image) == "connected", "others pay for what one address does"


def from_elsewhere(cluster: Cluster, image: str) -> str:
    """What a client of another address is told: a container next to the load balancer."""
    ask = (
        "import json, sys; from websockets.sync.client import connect\n"
        "token = {'Authorization': 'Bearer ' + sys.argv[1]}\n"
        "with connect('ws://haproxy:8080/api/ws', additional_headers=token) as socket:\n"
        "    print(json.loads(socket.recv())['type'])"
    )
    network = ("--network", f"{cluster.project}_public")
    return docker("run", "--rm", *network, "--entrypoint", "python", image, "-c", ask, cluster.token())


async def test_a_reverse_proxy_that_the_operator_names_is_believed_and_only_in_its_own_words(cluster: Cluster) -> None:
    # Who comes over the published port on loopback comes from the network's gateway, and so would a proxy on this host.
    [public] = json.loads(docker("network", "inspect", f"{cluster.project}_public"))
    cluster.set(FLEETCAST_PROXIES=f"192.0.2.1 {public['IPAM']['Config'][0]['Gateway']}")
    try:
        await aside(cluster.up, 1)
        one, other = "203.0.113.1", "203.0.113.2"
        # A proxy adds whom it heard it from at the end; what stands before is the client's own word.
        said = [one, f"{other}, {one}", one, one, other, f"{one}, {other}"]
        assert await let_in(cluster, said) == [*["connected"] * ROOM, 1013, "connected", "connected"]
    finally:
        cluster.set(FLEETCAST_PROXIES="")
        await aside(cluster.up, 1)


# An edge that goes


def test_an_edge_has_longer_to_end_than_its_drain_takes(cluster: Cluster) -> None:
    [edge] = cluster.inspect("edge")
    assert "FLEETCAST_DRAIN_SEC=3" in edge["Config"]["Env"]
    assert edge["Config"]["StopTimeout"] == 13


async def test_an_event_stream_passes_and_a_drain_ends_it_with_a_word_on_when_to_come_back(cluster: Cluster) -> None:
    url = f"{cluster.http}/api/events?channels=hosts,metrics"
    authorization = {"Authorization": f"Bearer {cluster.token()}"}
    async with httpx.AsyncClient(timeout=20) as browser, browser.stream("GET", url, headers=authorization) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        types: list[str] = []
        async for line in lines:
            if line.startswith("data: "):
                types.append(json.loads(line.removeprefix("data: "))["type"])
            if types.count("metrics") >= 2 and "hosts" in types:
                break
        assert types[0] == "connected"
        stopping = asyncio.create_task(aside(cluster.compose, "stop", "edge"))
        last = [line async for line in lines if line.startswith("retry: ")]
        assert len(last) == 1
        assert 0 <= int(last[0].removeprefix("retry: ")) <= 1000
        await stopping
