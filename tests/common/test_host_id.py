"""A host's name in the fleet, in a container and out of it, from files and from an engine."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common import host_id
from common.docker import Docker
from common.errors import SettingsError
from common.host_id import ask_host_id, is_own_id, name_in, read_host_id
from common.setting_kinds import default_host_id
from common.settings import ContainersCollectorSettings, MetricsCollectorSettings
from tests.engine import EngineProxy, Rule, http
from tests.support import PATIENCE_S, eventually

ID = "8cf4" * 16
VERSION = http(json.dumps({"ApiVersion": "1.45", "MinAPIVersion": "1.24"}))


@pytest.fixture
def in_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that was given no name."""
    monkeypatch.setattr(host_id.socket, "gethostname", lambda: ID[:12])
    monkeypatch.setattr(host_id, "own_container_id", lambda: ID)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text("web 1.example.com\n")
    return tmp_path


def metrics(environ: dict[str, str] | None = None, **given: object) -> MetricsCollectorSettings:
    return MetricsCollectorSettings.load(given, environ or {})


@pytest.mark.parametrize(
    ("hostname", "container_id", "expected"),
    [
        (ID[:12], ID, True),
        (ID, ID, True),
        ("web-1", ID, False),
        ("8", ID, False),
        (ID[:12], None, False),
        ("0123456789ab", ID, False),
    ],
    ids=["short-id", "whole-id", "named", "named-by-chance", "no-container", "another-id"],
)
def test_a_containers_own_id_is_told_from_a_name(hostname: str, container_id: str | None, expected: bool) -> None:
    assert is_own_id(hostname, container_id) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web-1\n", "web-1"),
        ("# set by hand\n\n  web-1.example.com  \nother\n", "web-1.example.com"),
        ("", None),
        ("# nothing\n\n", None),
        ("localhost\n", None),
        ("localhost.localdomain\n", None),
    ],
)
def test_a_machines_name_is_read_from_its_file(text: str, expected: str | None) -> None:
    assert name_in(text) == expected


def test_outside_of_a_container_it_is_the_machines_name(root: Path) -> None:
    assert read_host_id(metrics(host_root=root)) == default_host_id()


async def test_outside_of_a_container_no_engine_is_asked(tmp_path: Path) -> None:
    async with engine(tmp_path, lambda request: http("{}")) as (proxy, docker):
        assert await ask_host_id(containers(proxy), docker) == default_host_id()
        assert proxy.requests == []


@pytest.mark.usefixtures("in_container")
def test_in_a_container_it_is_what_the_hosts_file_says(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, host_id.__name__):
        assert read_host_id(metrics(host_root=root)) == "web-1.example.com"
    assert "FLEETCAST_HOST_ID" in caplog.text


@pytest.mark.usefixtures("in_container")
async def test_what_was_set_stands(root: Path, tmp_path: Path) -> None:
    assert read_host_id(metrics({"FLEETCAST_HOST_ID": "chosen"}, host_root=root)) == "chosen"
    assert read_host_id(metrics(host_id=ID[:12], host_root=root)) == ID[:12], "also where it is the container's"
    async with engine(tmp_path, lambda request: http("{}")) as (proxy, docker):
        assert await ask_host_id(containers(proxy, host_id="chosen"), docker) == "chosen"
        assert proxy.requests == []


@pytest.mark.usefixtures("in_container")
@pytest.mark.parametrize("fault", ["not-bound", "absent", "a-folder", "localhost", "bytes-of-nobody"])
def test_where_no_name_can_be_had_the_start_ends_with_one_line(root: Path, fault: str) -> None:
    file = root / "etc/hostname"
    match fault:
        case "not-bound":
            root = Path("/")
        case "absent":
            file.unlink()
        case "a-folder":
            file.unlink()
            file.mkdir()
        case "localhost":
            file.write_text("localhost\n")
        case "bytes-of-nobody":
            file.write_bytes(b"\n# \xff\n")
    with pytest.raises(SettingsError) as refused:
        read_host_id(metrics(host_root=root))
    said = str(refused.value)
    assert said.startswith("--host-id / FLEETCAST_HOST_ID: must be set")
    assert "\n" not in said


@asynccontextmanager
async def engine(tmp_path: Path, info: Rule) -> AsyncIterator[tuple[EngineProxy, Docker]]:
    def rule(request: str) -> str | bytes:
        return VERSION if " /version " in request else info(request)

    async with EngineProxy(tmp_path / "docker.sock", rule) as proxy:
        docker = Docker(proxy.address, timeout_s=5)
        try:
            yield proxy, docker
        finally:
            await docker.close()


def containers(proxy: EngineProxy, **given: object) -> ContainersCollectorSettings:
    return ContainersCollectorSettings.load({"docker_host": proxy.address, **given}, {})


@pytest.mark.usefixtures("in_container")
async def test_in_a_container_it_is_what_the_engine_says(tmp_path: Path) -> None:
    async with engine(tmp_path, lambda request: http('{"Name": "web 1.example.com"}')) as (proxy, docker):
        assert await ask_host_id(containers(proxy), docker) == "web-1.example.com"


@pytest.mark.usefixtures("in_container")
async def test_an_engine_that_is_away_is_waited_for_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with engine(tmp_path, lambda request: http('{"Name": "web-1"}')) as (proxy, docker):
        await proxy.vanish()
        asking = asyncio.create_task(ask_host_id(containers(proxy), docker))
        await eventually(lambda: caplog.text.count("no name yet") >= 2)
        await proxy.appear()
        async with asyncio.timeout(PATIENCE_S):
            assert await asking == "web-1"
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


@pytest.mark.usefixtures("in_container")
async def test_an_engine_that_fails_for_a_while_is_waited_for_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [http('{"message": "starting"}', "503 Service Unavailable")] * 3 + [http('{"Name": "web-1"}')]
    async with engine(tmp_path, lambda request: answers.pop(0)) as (proxy, docker):
        async with asyncio.timeout(PATIENCE_S):
            assert await ask_host_id(containers(proxy), docker) == "web-1"
    assert caplog.text.count("starting") == 1


@pytest.mark.usefixtures("in_container")
@pytest.mark.parametrize(
    "answer",
    [
        http('{"message": "info is not allowed"}', "403 Forbidden"),
        http("{}"),
        http('{"Name": ""}'),
        http('{"Name": 7}'),
        http('{"Name": "localhost"}'),
    ],
    ids=["refused", "unnamed", "empty", "a-number", "localhost"],
)
async def test_an_engine_that_tells_no_name_ends_the_start_with_one_line(tmp_path: Path, answer: bytes) -> None:
    async with engine(tmp_path, lambda request: answer) as (proxy, docker):
        with pytest.raises(SettingsError) as refused:
            async with asyncio.timeout(PATIENCE_S):
                await ask_host_id(containers(proxy), docker)
    assert str(refused.value).startswith("--host-id / FLEETCAST_HOST_ID: must be set")
    assert "\n" not in str(refused.value)
