"""Redis 8 as the server, TLS and a password, a second host without an engine, and starts in the worst order."""

import asyncio
import json
import socket
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.cluster.driver import Cluster, Compose, Targets, aside, docker, run
from tests.cluster.viewers import gather_all, viewers
from tests.support import eventually, free_ports

pytestmark = [pytest.mark.docker, pytest.mark.cluster, pytest.mark.timeout(300)]

HOST = socket.gethostname()
NAME = "fleet.example.com"
PASSWORD = uuid.uuid4().hex


class Certificate:
    """Signed by itself, for NAME and loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder.parent / f"{folder.name}-ca.pem"
        folder.chmod(0o755)
        self.renew()

    def renew(self) -> None:
        key = self.folder.parent / f"{self.folder.name}.key"
        run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "1", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(self.ca)),
        )
        fresh = self.folder.parent / "fresh.pem"
        fresh.write_text(self.ca.read_text() + key.read_text())
        fresh.chmod(0o644)  # to be read by user 10001
        fresh.replace(self.folder / "fleet.pem")

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def redis_port() -> int:
    return free_ports()


@pytest.fixture(scope="module")
def cluster(image: str, projects: list[Compose], certificate: Certificate, redis_port: int) -> Iterator[Cluster]:
    settings = {
        "FLEETCAST_REDIS_IMAGE": "redis:8",
        "FLEETCAST_REDIS_PASSWORD": PASSWORD,
        "FLEETCAST_REDIS_BIND": f"127.0.0.1:{redis_port}",
        "FLEETCAST_TLS_DIR": str(certificate.folder),
    }
    files = ("compose.yaml", "deploy/tls.compose.yaml", "deploy/redis-tls.compose.yaml")
    with Cluster(image, files=files, **settings) as cluster:
        projects.append(cluster)
        cluster.up(edges=2)
        yield cluster
    assert cluster.leftovers() == [], "`docker compose down -v` leaves something behind"


async def test_on_redis_8_behind_tls_states_actions_and_a_killed_server(
    cluster: Cluster, certificate: Certificate, targets: Targets
) -> None:
    version = await aside(cluster.compose, "exec", "-T", "redis", "redis-server", "--version")
    assert version.startswith("Redis server v=8."), version
    async with viewers(cluster.ws, cluster.token(), 60, host=HOST, tls=certificate.trusted()) as fleet:
        assert sorted(fleet.edges.values()) == [30, 30]
        one, other = fleet[0], next(viewer for viewer in fleet if viewer.edge != fleet[0].edge)

        def known() -> bool:
            shown = one.newest.get(("containers", HOST), {"data": ()})["data"]
            return targets.names[0] in {container["name"] for container in shown}

        await eventually(known, 15, what="the target on the page")
        wanted = f"redis8-{uuid.uuid4().hex}"
        asked = {"host": HOST, "timeoutSec": 2}
        acting = [
            asyncio.create_task(viewer.act(wanted, targets.names[0], "restart", **asked)) for viewer in (one, other)
        ]
        await eventually(lambda: "running" in one.statuses(wanted), what="the action to begin")
        [server] = await aside(cluster.containers, "redis")
        before = one.version("metrics", HOST)
        await aside(cluster.crash, server)
        outcomes = await gather_all(acting, 30)
        assert [outcome["status"] for outcome in outcomes] == ["succeeded", "succeeded"]
        assert (await aside(targets.starts))[0] == 2
        await fleet.all(lambda viewer: viewer.version("metrics", HOST) > before, 15, "data after the server's end")
        assert fleet.violations() == []


async def test_redis_is_reached_from_outside_with_tls_and_the_password_alone(
    cluster: Cluster, certificate: Certificate, redis_port: int
) -> None:
    def client(scheme: str, password: str | None) -> Redis:
        tls = {"ssl_ca_certs": str(certificate.ca)} if scheme == "rediss" else {}
        return Redis.from_url(f"{scheme}://127.0.0.1:{redis_port}", password=password, socket_timeout=5, **tls)

    async with client("rediss", PASSWORD) as redis:
        assert await redis.ping()
    async with client("rediss", None) as redis:
        with pytest.raises(AuthenticationError):
            await redis.ping()
    async with client("redis", PASSWORD) as redis:
        with pytest.raises(RedisConnectionError):
            await redis.ping()


async def test_a_second_host_without_an_engine_shows_its_metrics_and_says_what_is_missing(
    cluster: Cluster, certificate: Certificate, image: str, projects: list[Compose]
) -> None:
    host = Compose(
        ("deploy/host.compose.yaml",),
        {
            "FLEETCAST_IMAGE": image,
            "FLEETCAST_HOST_ID": "second",
            "FLEETCAST_REDIS_URL": f"rediss://:{PASSWORD}@{NAME}:6380?ssl_ca_certs=/etc/fleetcast/ca.pem",
            "FLEETCAST_CA_FILE": str(certificate.ca),
            "FLEETCAST_ACTION_VERIFY_KEY": cluster.verify_key(),
            "FLEETCAST_DOCKER_SOCKET": "/dev/null",  # as good as none
        },
    )
    projects.append(host)
    try:
        await aside(host.compose, "up", "--detach", "--no-build")
        # The way between the two machines; before it is there, the host waits.
        [balancer] = await aside(cluster.containers, "haproxy")
        await aside(docker, "network", "connect", "--alias", NAME, f"{host.project}_bus", balancer)
        async with viewers(cluster.ws, cluster.token(), 4, host="second", tls=certificate.trusted()) as fleet:
            await fleet.all(
                lambda viewer: (
                    viewer.link("second", "metrics")[0] == "live"
                    and viewer.link("second", "containers") == ("gone", "docker-unreachable")
                    and viewer.link("second", "executor") == ("gone", "docker-unreachable")
                ),
                20,
                "the second host's links",
            )
            assert all(viewer.link(HOST, "containers")[0] == "live" for viewer in fleet)
            # Somebody who may see only this one is told of no other.
            only = cluster.token("--hosts", "second", role="viewer")
            async with viewers(cluster.ws, only, 1, host="second", tls=certificate.trusted()) as [narrow]:
                assert set(narrow.hosts) == {"second"}
                assert {of for _, of in narrow.newest} == {"second"}
            await aside(host.compose, "stop", "--timeout", "5")
            await fleet.all(
                lambda viewer: viewer.link("second", "metrics") == ("gone", "stopped"), 10, "word that it has stopped"
            )
        await aside(docker, "network", "disconnect", f"{host.project}_bus", balancer)
    finally:
        await aside(host.down)
    assert host.leftovers() == []


async def test_a_renewed_certificate_is_served_after_a_reload_which_cuts_nobody_off(
    cluster: Cluster, certificate: Certificate
) -> None:
    async with viewers(cluster.ws, cluster.token(), 10, host=HOST, tls=certificate.trusted()) as fleet:
        certificate.renew()
        await aside(cluster.compose, "exec", "-T", "haproxy", "sh", "-c", "kill -USR2 1")

        def served() -> str:
            return ssl.get_server_certificate(("127.0.0.1", cluster.port), timeout=5)

        await eventually(lambda: served().split() == certificate.ca.read_text().split(), what="the new certificate")
        before = max(viewer.version("metrics", HOST) for viewer in fleet)
        await fleet.all(lambda viewer: viewer.version("metrics", HOST) > before, 10, "data after the reload")
        assert sum(sum(viewer.closes.values()) for viewer in fleet) == 0


async def test_it_starts_in_the_worst_order_too(cluster: Cluster, certificate: Certificate) -> None:
    everything = {one["Name"]: one for one in cluster.inspect()}
    docker("stop", "--time", "5", *everything)
    last = [name for name in everything if "-redis-" in name]
    docker("start", *(name for name in everything if name not in last))

    def why_not_ready() -> str:
        [edge, *_] = cluster.containers("edge")
        return run("sh", "-c", f"docker exec {edge} fleetcast health edge 2>&1 || true")

    await eventually(
        lambda: "edge: " in why_not_ready(), 15, every_s=0.2, what="an edge that says that it is not ready"
    )
    # The page still answers, and says what is missing.
    tls = certificate.trusted()
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port, ssl=tls)
    authorization = f"Authorization: Bearer {cluster.token()}"
    writer.write(f"GET /api/ws HTTP/1.1\r\nHost: x\r\n{authorization}\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert json.loads(answer.partition("\r\n\r\n")[2])["ready"] is False, answer
    docker("start", *last)
    async with viewers(cluster.ws, cluster.token(), 4, host=HOST, tls=tls) as fleet:
        await fleet.all(lambda viewer: viewer.link(HOST, "executor")[0] == "live", 15, "links that are live")
