"""The Docker client, on the real engine and on engines that misbehave."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.docker import NEWEST_API, Docker, DockerInterruptedError, parse_time
from common.errors import DockerApiError, DockerUnreachableError, SettingsError
from tests.conftest import Containers, docker
from tests.engine import DRIP, DROP, HANG, MUTE, PASS, SWALLOW, EngineProxy, Rule, http

VERSION = http(json.dumps({"ApiVersion": "1.45", "MinAPIVersion": "1.24"}))
ID = "a" * 64


@asynccontextmanager
async def client(address: str, **limits: float) -> AsyncIterator[Docker]:
    engine = Docker(address, **limits)
    try:
        yield engine
    finally:
        await engine.close()


IMPATIENT = {"timeout_s": 1.0, "act_margin_s": 1.0}
"""For engines that do not answer; those that do get the client's own times, for this machine may be busy."""


@asynccontextmanager
async def engine(tmp_path: Path, rule: Rule, **limits: float) -> AsyncIterator[tuple[EngineProxy, Docker]]:
    """An engine under a rule, and a client of it."""
    async with EngineProxy(tmp_path / "docker.sock", rule) as proxy, client(proxy.address, **limits) as made:
        yield proxy, made


def answering(answer: bytes) -> Rule:
    """An engine that says its version, and `answer` to everything else."""
    return lambda request: VERSION if " /version " in request else answer


# On the real engine


@pytest.fixture
async def real(docker_engine: None) -> AsyncIterator[Docker]:
    async with client("unix:///var/run/docker.sock") as made:
        yield made


@pytest.mark.docker
async def test_containers_are_listed_and_inspected(real: Docker, containers: Containers) -> None:
    name = await containers.run()
    await real.ping()
    assert "ApiVersion" in await real.version()
    [listed] = [found for found in await real.list_containers() if f"/{name}" in found["Names"]]
    inspected = await real.inspect(listed["Id"])
    assert inspected["Name"] == f"/{name}"
    assert inspected["State"]["Status"] == "running"


@pytest.mark.docker
async def test_a_stopped_container_is_listed_too(real: Docker, containers: Containers) -> None:
    name = await containers.run("true")
    await docker("wait", name)
    assert [found["State"] for found in await real.list_containers() if f"/{name}" in found["Names"]] == ["exited"]


@pytest.mark.docker
async def test_every_verb_does_what_it_says(real: Docker, containers: Containers) -> None:
    name = await containers.run()

    async def state() -> str:
        return str((await real.inspect(name))["State"]["Status"])

    assert await real.act(name, "pause", grace_s=None)
    assert await state() == "paused"
    assert await real.act(name, "unpause", grace_s=None)
    assert await state() == "running"
    started_at = (await real.inspect(name))["State"]["StartedAt"]
    assert await real.act(name, "restart", grace_s=0)
    assert (await real.inspect(name))["State"]["StartedAt"] > started_at
    assert await real.act(name, "stop", grace_s=0)
    assert await state() == "exited"
    assert await real.act(name, "start", grace_s=None)
    assert await real.act(name, "kill", grace_s=None)
    await docker("wait", name)
    assert await state() == "exited"
    assert await real.act(name, "remove", grace_s=None)
    with pytest.raises(DockerApiError) as gone:
        await real.inspect(name)
    assert gone.value.status == 404


@pytest.mark.docker
async def test_what_is_so_already_changes_nothing(real: Docker, containers: Containers) -> None:
    name = await containers.run()
    assert await real.act(name, "start", grace_s=None) is False
    assert await real.act(name, "stop", grace_s=0) is True
    assert await real.act(name, "stop", grace_s=0) is False


@pytest.mark.docker
async def test_a_refusal_carries_dockers_own_words(real: Docker, containers: Containers) -> None:
    name = await containers.run()
    with pytest.raises(DockerApiError, match="remove") as running:
        await real.act(name, "remove", grace_s=None)
    assert running.value.status == 409
    assert (await real.inspect(name))["State"]["Running"]
    with pytest.raises(DockerApiError, match="No such container") as missing:
        await real.act("0" * 64, "start", grace_s=None)
    assert missing.value.status == 404


@pytest.mark.docker
async def test_a_grace_above_the_read_timeout_is_waited_for(real: Docker, containers: Containers) -> None:
    name = await containers.run()  # sleep as process 1 ignores SIGTERM: it is killed after the grace
    async with client(real.address, timeout_s=1, act_margin_s=5) as impatient:
        assert await impatient.act(name, "stop", grace_s=2) is True
    assert (await real.inspect(name))["State"]["ExitCode"] == 137


@pytest.mark.docker
async def test_an_engine_is_spoken_to_over_tcp(containers: Containers) -> None:
    name = await containers.run()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection("/var/run/docker.sock")
        head = await reader.readuntil(b"\r\n\r\n")
        engine_writer.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        writer.write(await engine_reader.read())
        await writer.drain()
        writer.close()
        engine_writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with server, client(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}") as remote:
        assert any(f"/{name}" in found["Names"] for found in await remote.list_containers())


# What is asked


async def test_stop_and_restart_always_name_their_grace(tmp_path: Path) -> None:
    async with engine(tmp_path, answering(http("", "204 No Content"))) as (proxy, made):
        await made.act(ID, "stop", grace_s=None)
        await made.act(ID, "restart", grace_s=0)
        await made.act(ID, "stop", grace_s=33)
        await made.act(ID, "kill", grace_s=33)
        await made.act(ID, "remove", grace_s=33)
    assert proxy.requests[1:] == [
        f"POST /v1.45/containers/{ID}/stop?t=10 HTTP/1.1",
        f"POST /v1.45/containers/{ID}/restart?t=0 HTTP/1.1",
        f"POST /v1.45/containers/{ID}/stop?t=33 HTTP/1.1",
        f"POST /v1.45/containers/{ID}/kill HTTP/1.1",
        f"DELETE /v1.45/containers/{ID} HTTP/1.1",
    ]


async def test_an_id_cannot_leave_its_place_in_the_path(tmp_path: Path) -> None:
    async with engine(tmp_path, answering(http("{}"))) as (proxy, made):
        await made.inspect("../../v1.45/x?y")
    assert proxy.requests[-1].startswith("GET /v1.45/containers/..%2F..%2Fv1.45%2Fx%3Fy/json ")


# Versions


@pytest.mark.parametrize(
    ("said", "spoken"),
    [
        ({"ApiVersion": "1.45", "MinAPIVersion": "1.24"}, "/v1.45/"),
        ({"ApiVersion": "1.41"}, "/v1.41/"),
        ({"ApiVersion": "1.99", "MinAPIVersion": "1.44"}, f"/v{NEWEST_API[0]}.{NEWEST_API[1]}/"),
        ({"ApiVersion": "2.0", "MinAPIVersion": "1.44"}, f"/v{NEWEST_API[0]}.{NEWEST_API[1]}/"),
    ],
)
async def test_the_newest_version_that_both_know_is_spoken(tmp_path: Path, said: object, spoken: str) -> None:
    def rule(request: str) -> bytes:
        return http(json.dumps(said) if " /version " in request else "[]")

    async with engine(tmp_path, rule) as (proxy, made):
        assert await made.list_containers() == []
    assert spoken in proxy.requests[-1]


async def test_an_engine_that_has_dropped_our_version_is_named_as_too_new(tmp_path: Path) -> None:
    said = http(json.dumps({"ApiVersion": "1.99", "MinAPIVersion": "1.90"}))
    async with engine(tmp_path, lambda _: said) as (_, made):
        with pytest.raises(DockerApiError, match=r"1\.90 and newer"):
            await made.list_containers()


@pytest.mark.parametrize(
    ("podmans", "dockers"),
    [("configured", "created"), ("initialized", "created"), ("stopping", "running"), ("stopped", "exited")],
)
async def test_what_podman_says_of_a_container_is_put_in_dockers_words(
    tmp_path: Path, podmans: str, dockers: str
) -> None:
    answers = {
        "/version": VERSION,
        "/containers/json": http(json.dumps([{"Id": ID, "State": podmans}, {"Id": ID, "State": "paused"}, {}])),
        f"/{ID}/json": http(json.dumps({"State": {"Status": podmans}})),
    }
    async with engine(tmp_path, lambda request: next(answers[key] for key in answers if key in request)) as (_, docker):
        assert [each.get("State") for each in await docker.list_containers()] == [dockers, "paused", None]
        assert (await docker.inspect(ID))["State"] == {"Status": dockers}


async def test_the_version_is_negotiated_again_after_the_engine_was_away(tmp_path: Path) -> None:
    versions = iter(("1.45", "1.40"))

    def rule(request: str) -> bytes:
        return http(json.dumps({"ApiVersion": next(versions)}) if " /version " in request else "[]")

    async with engine(tmp_path, rule) as (proxy, made):
        await made.list_containers()
        await made.list_containers()
        await proxy.vanish()
        with pytest.raises(DockerUnreachableError):
            await made.list_containers()
        await proxy.appear()
        await made.list_containers()
    assert [request.split()[1].split("/")[1] for request in proxy.asked("containers")] == ["v1.45", "v1.45", "v1.40"]


# Faults


async def test_an_absent_engine_is_unreachable_and_was_asked_for_nothing(tmp_path: Path) -> None:
    async with client(f"unix://{tmp_path}/nothing.sock") as made:
        for call in (made.ping(), made.version(), made.list_containers(), made.act(ID, "stop", grace_s=1)):
            with pytest.raises(DockerUnreachableError) as away:
                await call
            assert not isinstance(away.value, DockerInterruptedError)
        assert not made.available


async def test_a_closed_port_is_unreachable(unused_port: int) -> None:
    async with client(f"tcp://127.0.0.1:{unused_port}") as made:
        with pytest.raises(DockerUnreachableError):
            await made.ping()


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(DROP, id="closes"),
        pytest.param(HANG, id="hangs"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{", id="stops half-way"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="speaks another protocol"),
        pytest.param(b"\x00\xff" * 500, id="answers bytes"),
    ],
)
async def test_an_action_whose_answer_is_not_whole_may_have_been_done(tmp_path: Path, fault: str | bytes) -> None:
    async with engine(tmp_path, lambda request: VERSION if " /version " in request else fault, **IMPATIENT) as (
        proxy,
        made,
    ):
        with pytest.raises(DockerInterruptedError):
            await made.act(ID, "pause", grace_s=None)
        with pytest.raises(DockerUnreachableError):
            await made.list_containers()
    assert len(proxy.asked("pause")) == 1  # tried once


@pytest.mark.parametrize("fault", [DROP, HANG, b"SSH-2.0-OpenSSH_9.6\r\n"])
async def test_a_failed_negotiation_has_asked_for_nothing(tmp_path: Path, fault: str | bytes) -> None:
    async with engine(tmp_path, lambda _: fault, **IMPATIENT) as (_, made):
        with pytest.raises(DockerUnreachableError) as away:
            await made.act(ID, "pause", grace_s=None)
    assert not isinstance(away.value, DockerInterruptedError)


@pytest.mark.docker
@pytest.mark.parametrize("fault", [SWALLOW, MUTE])
async def test_an_interrupted_action_may_well_be_done(tmp_path: Path, containers: Containers, fault: str) -> None:
    name = await containers.run()
    async with engine(tmp_path, lambda request: fault if "pause" in request else PASS, act_margin_s=1) as (_, made):
        with pytest.raises(DockerInterruptedError):
            await made.act(name, "pause", grace_s=None)
        assert (await made.inspect(name))["State"]["Paused"]


async def test_an_answer_that_drips_ends_in_time(tmp_path: Path) -> None:
    async with engine(tmp_path, lambda _: DRIP, **IMPATIENT) as (_, made):
        with pytest.raises(DockerInterruptedError):
            await made.version()


@pytest.mark.parametrize(
    "answer",
    [
        http("<html>welcome</html>"),
        http(""),
        http("null"),
        http('"text"'),
        http("7"),
        http("[" * 100_000),
        http("{}", headers="Content-Encoding: gzip\r\n"),
        http('{"a": 1}', "200 OK", "Content-Type: text/html; charset=nonsense\r\n"),
    ],
)
async def test_an_answer_of_the_wrong_shape_is_a_clear_error(tmp_path: Path, answer: bytes) -> None:
    async with engine(tmp_path, answering(answer)) as (_, made):
        with pytest.raises(DockerApiError, match="no Docker engine"):
            await made.list_containers()
        if b'{"a"' not in answer:
            with pytest.raises(DockerApiError, match="no Docker engine"):
                await made.inspect(ID)
        assert made.available  # something answers


@pytest.mark.parametrize("said", ["{}", '{"ApiVersion": null}', '{"ApiVersion": "one"}', '{"ApiVersion": "1.45x"}'])
async def test_a_version_that_cannot_be_read_is_a_clear_error(tmp_path: Path, said: str) -> None:
    async with engine(tmp_path, lambda _: http(said)) as (_, made):
        with pytest.raises(DockerApiError, match="ApiVersion"):
            await made.list_containers()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (http('{"message": "no such thing"}', "404 Not Found"), "no such thing"),
        (http("403 by the proxy\n", "403 Forbidden"), "403 by the proxy"),
        (http("", "500 Internal Server Error"), "HTTP 500 Internal Server Error"),
        (http("[]", "500 Internal Server Error"), "[]"),
        (http('{"message": 3}', "400 Bad Request"), "3"),
        (http("", "301 Moved Permanently", "Location: /elsewhere\r\n"), "HTTP 301 Moved Permanently"),
    ],
)
async def test_errors_carry_what_the_engine_said(tmp_path: Path, answer: bytes, message: str) -> None:
    async with engine(tmp_path, answering(answer)) as (_, made):
        for call in (made.ping(), made.inspect(ID), made.act(ID, "start", grace_s=None)):
            with pytest.raises(DockerApiError) as refused:
                await call
            assert str(refused.value) == message
            assert refused.value.status == int(answer.split()[1])


async def test_an_absence_is_said_once_and_so_is_the_return(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "common.docker")
    async with engine(tmp_path, answering(http("[]"))) as (proxy, made):
        await proxy.vanish()
        for _ in range(5):
            with pytest.raises(DockerUnreachableError):
                await made.list_containers()
        await proxy.appear()
        await made.list_containers()
        await made.list_containers()
    said = [record.getMessage() for record in caplog.records if record.name == "common.docker"]
    assert len(said) == 2
    assert "is not available" in said[0]
    assert "is back" in said[1]


async def test_a_slow_action_is_no_absence_of_the_engine(tmp_path: Path) -> None:
    async with engine(tmp_path, lambda request: VERSION if " /version " in request else HANG, **IMPATIENT) as (_, made):
        with pytest.raises(DockerInterruptedError, match=r"no answer within 1 s"):
            await made.act(ID, "pause", grace_s=None)
        assert made.available
        with pytest.raises(DockerUnreachableError):
            await made.ping(0.1)
        assert not made.available


# Small things


@pytest.mark.parametrize(
    "address", ["", "docker.sock", "unix://docker.sock", "ssh://host", "tcp://", "tcp://host:port", "tcp://host:99999"]
)
async def test_an_address_that_is_none_is_a_wrong_setting(address: str) -> None:
    with pytest.raises(SettingsError, match="DOCKER_HOST"):
        Docker(address)


@pytest.mark.parametrize(
    ("said", "ms"),
    [
        ("1970-01-01T00:00:01.5Z", 1500),
        ("2026-09-01T12:34:56.123456789Z", 1_788_266_096_123),
        ("2026-09-01T14:34:56.123999999+02:00", 1_788_266_096_123),
        ("0001-01-01T00:00:00Z", None),
        ("2026-09-01T12:34:56", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_dockers_times_are_read(said: object, ms: int | None) -> None:
    assert parse_time(said) == ms
