"""`fleetcast doctor` on what is really there."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from common.bus import Bus
from common.keys import Keys
from common.settings import DoctorSettings
from services.doctor.finding import Finding
from services.doctor.redis import check_redis
from services.doctor.run import examine
from services.embedded import EmbeddedServer
from tests.edges import fake_host, host_worker, knows, running_edge
from tests.samples import ID_A, container


async def of_redis(url: str, host_id: str = "web-1") -> list[Finding]:
    return [finding async for finding in check_redis(DoctorSettings.load({"redis_url": url}, {}), host_id)]


def texts(found: list[Finding], *levels: str) -> str:
    return "\n".join(finding.text for finding in found if finding.level in levels)


async def doctor(*arguments: str, **variables: str) -> tuple[int, list[dict[str, Any]]]:
    """The command as its users run it: its exit code, and what it has found."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FLEETCAST_", "DOCKER_"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", "doctor", "--json", *arguments),
        env=environ | variables,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in said.splitlines()]


async def test_a_good_redis_passes_every_check_and_keeps_nothing_of_them(valkey: EmbeddedServer, bus: Bus) -> None:
    async with host_worker(bus, "web-1", "metrics"):
        found = await of_redis(valkey.url)
        assert texts(found, "failed", "warning") == ""
        assert {"it lets us write", "what is published is heard", "metrics of 'web-1': at work"} <= {
            finding.text for finding in found
        }
    with bus.reaching() as redis:
        assert await redis.keys("*doctor*") == []


async def test_a_redis_that_is_not_there_is_said_without_its_password(tmp_path: Path) -> None:
    [found] = await of_redis(f"unix://:hunter2@{tmp_path}/no.sock")
    assert found.level == "failed"
    assert "hunter2" not in str(found)


async def test_a_wrong_password_and_a_missing_one_come_with_what_to_do(valkey: EmbeddedServer, bus: Bus) -> None:
    with bus.reaching() as redis:
        await redis.config_set("requirepass", "right")
    for url in (valkey.url, valkey.url.replace("unix://", "unix://:wrong@")):
        found = (await of_redis(url))[-1]
        assert (found.level, "FLEETCAST_REDIS_URL" in str(found.advice)) == ("failed", True), found
    assert texts(await of_redis(valkey.url.replace("unix://", "unix://:right@")), "failed") == ""


async def test_a_user_who_may_neither_write_nor_hear_is_told_so(valkey: EmbeddedServer, bus: Bus) -> None:
    with bus.reaching() as redis:
        await redis.acl_setuser(
            "narrow", enabled=True, passwords=["+p"], keys=["fc:*"], categories=["+@read", "+@connection"]
        )
    found = await of_redis(valkey.url.replace("unix://", "unix://narrow:p@"))
    [failed] = [finding for finding in found if finding.level == "failed"]
    assert "permission" in failed.text
    assert "docs/SECURITY.md" in str(failed.advice)


async def test_a_server_that_hangs_is_given_up(valkey: EmbeddedServer, bus: Bus) -> None:
    with bus.reaching() as redis:
        await redis.client_pause(20_000)
    found = await of_redis(valkey.url)
    assert "failed" in {finding.level for finding in found}


async def test_another_machines_lease_on_this_hosts_id_is_found(valkey: EmbeddedServer, bus: Bus) -> None:
    with bus.reaching() as redis:
        await redis.set(bus.keys.lease("web-1", "metrics"), "1 another-machine i")
    assert "another machine works as 'web-1': metrics" in texts(await of_redis(valkey.url), "failed")


async def test_all_of_it_as_a_command_beside_a_running_edge(valkey: EmbeddedServer) -> None:
    async with running_edge(valkey.url) as edge:
        code, found = await doctor(
            "--port", str(edge.port), FLEETCAST_REDIS_URL=valkey.url, DOCKER_HOST="unix:///nowhere/docker.sock"
        )
    failed = [finding for finding in found if finding["level"] == "failed"]
    assert code == 1
    assert [(finding["area"], "systemctl start docker" in finding["advice"]) for finding in failed] == [
        ("docker", True)
    ]
    assert {
        "area": "edge",
        "level": "ok",
        "text": f"the one at http://127.0.0.1:{edge.port} is ready",
        "advice": None,
    } in found


@pytest.mark.docker
async def test_a_machine_on_which_all_is_well_exits_with_0(docker_engine: None, valkey: EmbeddedServer) -> None:
    code, found = await doctor(FLEETCAST_REDIS_URL=valkey.url)
    assert (code, [finding for finding in found if finding["level"] == "failed"]) == (0, [])
    assert {"settings", "redis", "clock", "host", "docker", "keys", "edge"} == {finding["area"] for finding in found}


async def test_beside_an_up_its_redis_is_looked_at(tmp_path: Path) -> None:
    settings = DoctorSettings.load({"state_dir": str(tmp_path), "docker_host": "unix:///nowhere/docker.sock"}, {})
    assert "up" not in texts(await examine(settings, {}), "note")
    async with EmbeddedServer(tmp_path) as server:
        found = await examine(settings, {})
    assert f"one answers at {server.url}" in texts(found, "ok")
    named = DoctorSettings.load({"state_dir": str(tmp_path), "redis_url": "redis://127.0.0.1:1"}, {})
    assert "none at redis://127.0.0.1:1" in texts(await examine(named, {}), "failed")


@pytest.fixture
async def narrow_url(valkey: EmbeddedServer, bus: Bus) -> str:
    """Of a user with the rights that the documentation names."""
    said = (Path(__file__).parents[2] / "docs/SECURITY.md").read_text()
    [rule] = [line for line in said.splitlines() if line.startswith("ACL SETUSER")]
    with bus.reaching() as redis:
        await redis.execute_command(*rule.split())
    return valkey.url.replace("unix://", "unix://fleetcast:PASSWORD@")


async def test_the_rights_that_the_documentation_names_are_enough(narrow_url: str, bus: Bus) -> None:
    assert texts(await of_redis(narrow_url), "failed", "warning") == ""
    with bus.reaching() as redis:
        await redis.execute_command("ACL", "SETUSER", "fleetcast", "resetchannels")
    assert texts(await of_redis(narrow_url), "failed") != ""


async def test_edges_and_hosts_work_with_those_rights(narrow_url: str) -> None:
    narrow = Bus(narrow_url, Keys())
    async with running_edge(narrow_url) as edge, fake_host(narrow) as host, edge.client("metrics", "hosts") as client:
        await knows(client, "web-1")
        await host.publish_metrics(7.0)
        await host.publish_containers(container("web", ID_A))
        await client.until(lambda message: message.type == "metrics" and message.data.cpu.percent == 7.0)
        await client.send({"type": "container-action", "requestId": "r-1", "containerId": "web", "action": "stop"})
        assert (await client.get("container-ack")).status == "accepted"
    await narrow.close()
