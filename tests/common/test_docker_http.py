"""The Docker client and HTTP: ways to an engine, streams, bounds, and what may have been sent."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.docker import MAX_CONNECTIONS, Docker, DockerInterruptedError
from common.errors import DockerApiError, DockerUnreachableError, SettingsError
from common.http1 import MAX_BODY_BYTES
from tests.common.test_docker import ID, VERSION, answering, client, engine
from tests.common.test_http1 import listening
from tests.engine import DROP, HANG, http
from tests.support import PATIENCE_S, eventually

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def remote_engine(host: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[str]]]:
    """Its port, and the heads that it was sent."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        writer.write(VERSION if "/version " in head else http("[]"))
        await reader.read()  # until the client hangs up

    async with listening(serve, host, tls) as port:
        yield port, heads


# Ways to an engine


@pytest.mark.parametrize(
    ("host", "named", "prefix"),
    [("127.0.0.1", "tcp://127.0.0.1", ""), ("127.0.0.1", "http://localhost", "/a%20b"), ("::1", "tcp://[::1]", "/x")],
    ids=["plain", "by name, with a path", "version 6, with a path"],
)
async def test_an_engine_is_found_by_its_address(
    monkeypatch: pytest.MonkeyPatch, host: str, named: str, prefix: str
) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # is not asked
    async with remote_engine(host) as (port, heads), client(f"{named}:{port}{prefix.replace('%20', ' ')}/") as made:
        assert await made.list_containers() == []
        assert f"GET {prefix}/v1.45/containers/json?all=1 HTTP/1.1" in heads[-1].split("\r\n")
        assert f"Host: {named.partition('://')[2]}:{port}" in heads[-1].split("\r\n")


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as free:
        try:
            free.bind(("::1", 0))
        except OSError:
            return False
        return True


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Signed by itself, for 127.0.0.1; with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an engine")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *plain)
    )
    return path


async def test_https_is_spoken_only_with_whom_the_system_trusts(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with remote_engine("127.0.0.1", tls) as (port, heads):
        async with client(f"https://127.0.0.1:{port}") as made:
            with pytest.raises(DockerUnreachableError, match="certificate verify failed") as away:
                await made.act(ID, "stop", grace_s=1)
            assert not isinstance(away.value, DockerInterruptedError)
        assert heads == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with client(f"https://127.0.0.1:{port}") as made:
            assert await made.list_containers() == []


@pytest.mark.parametrize(
    "address",
    ["tcp://a b:1", "tcp://h\r\nX: y:1", "tcp://[::zz", "tcp://..", "unix:///a\0b", "tcp://" + "a" * 70],
    ids=["space", "lines", "bracket", "dots", "zero", "long"],
)
async def test_an_address_that_cannot_be_asked_is_a_wrong_setting(address: str) -> None:
    with pytest.raises(SettingsError, match="DOCKER_HOST"):
        Docker(address)


# What may have been sent


async def test_who_finds_no_free_connection_has_sent_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(request: str) -> str | bytes:
        return VERSION if " /version " in request else HANG

    async with engine(tmp_path, rule, timeout_s=1, act_margin_s=60) as (proxy, made):
        await made.version()
        acting = [asyncio.create_task(made.act(ID, "pause", grace_s=None)) for _ in range(MAX_CONNECTIONS)]
        await eventually(lambda: len(proxy.asked("pause")) == MAX_CONNECTIONS)
        monkeypatch.setattr("common.docker.ACT_CONNECT_S", 0.1)
        for call, within in ((made.act(ID, "kill", grace_s=None), r"0\.1"), (made.ping(), "1")):
            with pytest.raises(DockerUnreachableError, match=f"no answer within {within} s") as away:
                await call
            assert not isinstance(away.value, DockerInterruptedError)
            assert not made.available
        assert proxy.asked("_ping") == proxy.asked("kill") == []
        for task in acting:
            task.cancel()
        await asyncio.gather(*acting, return_exceptions=True)
        proxy.rule = answering(http("OK"))
        await made.ping()


async def test_a_reason_is_given_where_the_engine_is_away(tmp_path: Path) -> None:
    async with client(f"unix://{tmp_path}/nothing.sock") as made:
        with pytest.raises(DockerUnreachableError, match="No such file or directory"):
            await made.ping()
    async with engine(tmp_path, lambda _: DROP) as (_, made):
        with pytest.raises(DockerInterruptedError, match="the connection ended without an answer"):
            await made.ping()


async def test_an_answer_too_large_is_none_and_an_action_may_have_been_done(tmp_path: Path) -> None:
    large = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MAX_BODY_BYTES + 1)
    async with engine(tmp_path, answering(large), timeout_s=20, act_margin_s=20) as (_, made):
        with pytest.raises(DockerApiError, match="no Docker engine: it is larger than"):
            await made.list_containers()
        assert made.available
        with pytest.raises(DockerInterruptedError, match="it is larger than"):
            await made.act(ID, "pause", grace_s=None)


async def test_an_encoding_that_was_not_asked_for_hides_no_outcome(tmp_path: Path) -> None:
    encoded = "Content-Encoding: gzip\r\n"
    async with engine(tmp_path, answering(http("?", headers=encoded))) as (proxy, made):
        assert await made.act(ID, "pause", grace_s=None) is True
        with pytest.raises(DockerApiError, match="gzip"):
            await anext(made.events(["die"], None))
        proxy.rule = answering(http("?", "409 Conflict", encoded))
        with pytest.raises(DockerApiError, match=r"^HTTP 409 Conflict$"):
            await made.act(ID, "pause", grace_s=None)


# Streams


async def test_events_come_as_whole_lines_after_an_empty_list(tmp_path: Path) -> None:
    stream = CHUNKED + b'6\r\n{"a": \r\n7\r\n1}\n{"b"\r\n5\r\n: 2}\n\r\n0\r\n\r\n'
    async with engine(tmp_path, answering(stream)) as (proxy, made):
        told = [lines async for lines in made.events(["die", "health_status: healthy"], "17.5")]
    assert told[0] == []
    assert [json.loads(line) for lines in told for line in lines] == [{"a": 1}, {"b": 2}]
    assert proxy.requests[-1] == (
        "GET /v1.45/events?filters=%7B%22type%22%3A%20%5B%22container%22%5D%2C%20%22event%22%3A%20%5B%22die%22%2C%20"
        "%22health_status%3A%20healthy%22%5D%7D&since=17.5 HTTP/1.1"
    )


@pytest.mark.parametrize(
    ("stream", "listens"),
    [(b"SSH-2.0-x\r\n", False), (DROP, False), (HANG, False), (CHUNKED + b"2\r\n{}", True)],
    ids=["no http", "nothing", "silence", "cut"],
)
async def test_a_stream_that_never_begins_is_an_absence_and_one_that_breaks_off_is_none(
    tmp_path: Path, stream: str | bytes, listens: bool
) -> None:
    async with engine(tmp_path, lambda request: VERSION if " /version " in request else stream, timeout_s=1) as (
        _,
        made,
    ):
        begun = False
        with pytest.raises(DockerUnreachableError):
            async for _ in made.events(["die"], None):
                begun = True
        assert begun is made.available is listens


@pytest.mark.parametrize("status", ["403 Forbidden", "500 Internal Server Error"])
async def test_a_refused_stream_says_why(tmp_path: Path, status: str) -> None:
    async with engine(tmp_path, answering(http('{"message": "not for you"}', status))) as (_, made):
        with pytest.raises(DockerApiError, match="not for you"):
            await anext(made.events(["die"], None))


async def test_an_event_without_end_is_no_event(tmp_path: Path) -> None:
    stream = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000_000
    async with engine(tmp_path, answering(stream)) as (_, made):
        with pytest.raises(DockerApiError, match="has no end"):
            async for _ in made.events(["die"], None):
                pass


async def test_who_stops_listening_hangs_up(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(VERSION if b" /version " in head else CHUNKED)
        await reader.read()
        if b"/events" in head:
            left.set()
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "docker.sock")
    async with server, client(f"unix://{tmp_path}/docker.sock", timeout_s=5) as made:
        async with aclosing(made.events(["die"], None)) as events:
            assert await anext(events) == []
            assert not left.is_set()
        async with asyncio.timeout(PATIENCE_S):
            await left.wait()
