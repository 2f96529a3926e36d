import asyncio
import ipaddress
import json
import os
import platform
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest

from common.protection import Endpoint, Facts, facts_of_inspected
from common.settings import ProtectionSettings
from common.whereabouts import BusWhereabouts, Guard, id_by_cgroup, id_by_mounts, own_container_id
from tests.conftest import Containers, docker
from tests.support import PATIENCE_S, eventually

CHECKOUT = Path(__file__).parents[2]

# The own container

ID = "3d6b57319a392abc97f4d2f0ad4b327286a5d9ede55257d13e502d971c9a6419"
OTHER_ID = "f" * 64

CGROUP_V1 = f"""\
9:name=systemd:/docker/{ID}
8:pids:/docker/{ID}
1:cpu:/docker/{ID}
0::/docker/{ID}
"""
CGROUP_V1_SYSTEMD = f"""\
12:memory:/system.slice/docker-{ID}.scope
1:name=systemd:/system.slice/docker-{ID}.scope
0::/system.slice/containerd.service
"""
CGROUP_V2_SYSTEMD = f"0::/system.slice/docker-{ID}.scope\n"
CGROUP_V2_PODMAN = f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container\n"
CGROUP_V2_CONMON = f"0::/machine.slice/libpod-conmon-{ID}.scope\n"
CGROUP_V2_PRIVATE = "0::/\n"
CGROUP_IN_A_CONTAINERS_CONTAINER = f"4:memory:/docker/{OTHER_ID}/docker/{ID}\n"
CGROUP_OF_A_LOGIN = """\
4:memory:/user.slice/user-1000.slice/session-3.scope
1:name=systemd:/user.slice/user-1000.slice/session-3.scope
0::/user.slice/user-1000.slice/session-3.scope
"""

MOUNTS = f"""\
78 52 0:39 / / rw master:3 - overlay overlay rw,upperdir=/var/lib/docker/overlay2/{OTHER_ID}/diff
84 83 0:29 /docker/{OTHER_ID} /sys/fs/cgroup/cpu ro,nosuid,nodev,noexec,relatime - cgroup cgroup rw,cpu
94 80 0:47 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k
95 78 254:0 /var/lib/docker/volumes/{OTHER_ID}/_data /data rw,relatime master:1 - ext4 /dev/vda rw
96 78 254:0 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda rw
97 78 254:0 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw
98 78 254:0 /var/lib/docker/containers/{ID}/hosts /etc/hosts rw,relatime - ext4 /dev/vda rw
"""
MOUNTS_PODMAN = f"""\
735 729 0:24 /containers/storage/overlay-containers/{ID}/userdata/hostname /etc/hostname rw,nosuid - tmpfs tmpfs rw
736 729 0:24 /containers/storage/overlay-containers/{ID}/userdata/.containerenv /run/.containerenv rw - tmpfs tmpfs rw
"""
MOUNTS_OF_A_HOST = f"""\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
42 27 254:0 /var/lib/docker /var/lib/docker rw,relatime shared:1 - ext4 /dev/vda rw
51 27 0:47 / /var/lib/docker/containers/{OTHER_ID}/mounts/shm rw,nosuid - tmpfs shm rw,size=65536k
"""
MOUNTS_OF_WHO_SEES_ANOTHERS_FILES = f"""\
99 78 254:0 /var/lib/docker/containers/{OTHER_ID}/hostname /host/etc/hostname rw,relatime - ext4 /dev/vda rw
"""


@pytest.mark.parametrize(
    "cgroup",
    [CGROUP_V1, CGROUP_V1_SYSTEMD, CGROUP_V2_SYSTEMD, CGROUP_V2_PODMAN, CGROUP_IN_A_CONTAINERS_CONTAINER],
)
def test_a_cgroup_names_the_container(cgroup: str) -> None:
    assert id_by_cgroup(cgroup) == ID


@pytest.mark.parametrize("cgroup", [CGROUP_V2_PRIVATE, CGROUP_V2_CONMON, CGROUP_OF_A_LOGIN, "", f"0::/x{ID}\n"])
def test_a_cgroup_outside_of_a_container_or_seen_from_within_names_none(cgroup: str) -> None:
    assert id_by_cgroup(cgroup) is None


@pytest.mark.parametrize("mountinfo", [MOUNTS, MOUNTS_PODMAN])
def test_the_files_that_an_engine_mounts_name_the_container(mountinfo: str) -> None:
    assert id_by_mounts(mountinfo) == ID


@pytest.mark.parametrize("mountinfo", [MOUNTS_OF_A_HOST, MOUNTS_OF_WHO_SEES_ANOTHERS_FILES, ""])
def test_mounts_of_others_containers_name_none(mountinfo: str) -> None:
    assert id_by_mounts(mountinfo) is None


def test_without_proc_there_is_no_container(tmp_path: Path) -> None:
    assert own_container_id(tmp_path) is None


@pytest.mark.docker
@pytest.mark.parametrize("image", ["busybox:1", "python:3.13-slim"])
@pytest.mark.parametrize("way", ["--network=host", "--network=none", "--cgroupns=private", "--cgroupns=host"])
async def test_a_process_in_a_real_container_finds_its_id(
    containers: Containers, tmp_path: Path, image: str, way: str
) -> None:
    name = await containers.run(options=(way, "--read-only"), image=image)
    assert await id_seen_in(name, tmp_path) == await docker("inspect", "-f", "{{.Id}}", name)


@pytest.mark.docker
async def test_a_process_in_the_network_of_another_container_finds_one_of_the_two(
    containers: Containers, tmp_path: Path
) -> None:
    other = await containers.run()
    name = await containers.run(options=(f"--network=container:{other}", "--cgroupns=host"))
    own_id, other_id = (await docker("inspect", "-f", "{{.Id}}", name, other)).split()
    assert await id_seen_in(name, tmp_path) == own_id
    (tmp_path / "self/cgroup").write_text(CGROUP_V2_PRIVATE)
    assert own_container_id(tmp_path) == other_id


async def id_seen_in(container: str, tmp_path: Path) -> str | None:
    """What `own_container_id` says of what a process in the container reads of itself."""
    (tmp_path / "self").mkdir()
    for name in ("cgroup", "mountinfo"):
        (tmp_path / "self" / name).write_text(await docker("exec", container, "cat", f"/proc/self/{name}") + "\n")
    return own_container_id(tmp_path)


# Where the bus is, without DNS


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("redis://127.0.0.1", Endpoint("127.0.0.1", 6379, is_local=True)),
        ("rediss://user:s3cret@127.0.0.5:7000/2", Endpoint("127.0.0.5", 7000, is_local=True)),
        ("redis://[::1]:6379", Endpoint("::1", 6379, is_local=True)),
        ("redis://[::ffff:127.0.0.1]:6379", Endpoint("127.0.0.1", 6379, is_local=True)),
        ("redis://0.0.0.0:6379", Endpoint("127.0.0.1", 6379, is_local=True)),
        ("redis://192.0.2.254:6379", Endpoint("192.0.2.254", 6379, is_local=False)),
    ],
)
async def test_an_address_is_where_the_bus_is(url: str, endpoint: Endpoint) -> None:
    assert await BusWhereabouts(url).endpoints() == {endpoint}


async def test_localhost_is_this_machine() -> None:
    endpoints = await BusWhereabouts("redis://localhost:7000").endpoints()
    assert Endpoint("127.0.0.1", 7000, is_local=True) in endpoints
    assert all(endpoint.is_local for endpoint in endpoints)


async def test_an_address_of_an_interface_is_this_machine() -> None:
    said = [each.address for every in psutil.net_if_addrs().values() for each in every if each.family == socket.AF_INET]
    outward = [address for address in said if not ipaddress.ip_address(address).is_loopback]
    if not outward:
        pytest.skip("this machine has no interface but loopback")
    for address in outward:
        assert await BusWhereabouts(f"redis://{address}").endpoints() == {Endpoint(address, 6379, is_local=True)}


async def test_a_bus_behind_a_unix_socket_is_at_no_address(caplog: pytest.LogCaptureFixture) -> None:
    assert await BusWhereabouts("unix:///run/valkey.sock").endpoints() == frozenset()
    assert not caplog.records


async def test_a_name_that_can_be_none_is_said_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bus = BusWhereabouts(f"redis://:s3cret@{'a' * 64}.example:6379", lookup_every_s=0)
    for _ in range(3):
        assert await bus.endpoints() == frozenset()
    [record] = caplog.records
    assert "the address of Redis' host aaaa" in record.getMessage()
    assert "s3cret" not in caplog.text


# Where the bus is, with a DNS that does what the test says


class Dns(asyncio.DatagramProtocol):
    """A DNS server that knows one name, at `address`, or fails, or says nothing."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.address: str | None = None
        """None: it fails."""
        self.silent = False
        self.asked = 0
        self._waiting: list[tuple[bytes, Any]] = []
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def waiting(self) -> int:
        """Questions without an answer."""
        return len(self._waiting)

    def speak(self) -> None:
        self.silent = False
        for question in self._waiting:
            self.datagram_received(*question)
        self._waiting.clear()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.silent:
            self._waiting.append((data, addr))
            return
        name_end = data.index(0, 12) + 1
        kind, question = struct.unpack("!H", data[name_end : name_end + 2])[0], data[12 : name_end + 4]
        is_a = kind == 1
        self.asked += is_a
        answer = b""
        if self.address and is_a:
            answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(self.address)
        flags = 0x8580 if self.address else 0x8583  # no such name
        head = data[:2] + struct.pack("!HHHHH", flags, 1, bool(answer), 0, 0)
        assert self._transport is not None
        self._transport.sendto(head + question + answer, addr)


DRIVER = """
import asyncio, json, logging, sys
from common.whereabouts import BusWhereabouts

async def main():
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    lookup_every_s, wait_s = map(float, sys.argv[1:])
    bus = BusWhereabouts("redis://:s3cret@redis.test:7000", lookup_every_s=lookup_every_s, wait_s=wait_s)
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    while times := await stdin.readline():
        answers = await asyncio.gather(*(bus.endpoints() for _ in range(int(times))))
        told = [sorted((at.address, at.port, at.is_local) for at in endpoints) for endpoints in answers]
        print(json.dumps(told), flush=True)

asyncio.run(main())
"""


class Asker:
    """A process that asks where its bus is, in a file system of its own where the test's DNS server is the only one."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    async def ask_at_once(self, times: int) -> list[list[Any]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"%d\n" % times)
        async with asyncio.timeout(PATIENCE_S):
            answer = await self.process.stdout.readline()
        assert answer, self._log.read_text()
        return list(json.loads(answer))

    async def ask(self) -> list[Any]:
        [answer] = await self.ask_at_once(1)
        return list(answer)

    async def answers(self, address: str) -> bool:
        return await self.ask() == [[address, 7000, False]]

    def said(self, words: str) -> int:
        assert "s3cret" not in self._log.read_text()
        return self._log.read_text().count(words)


@pytest.fixture
async def dns() -> AsyncIterator[Dns]:
    if platform.system() != "Linux" or os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and unshare to give a process a DNS server of its own")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    address = f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(254) + 1}.53"
    transport, dns = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Dns(address), local_addr=(address, 53)
    )
    yield dns
    transport.close()


@asynccontextmanager
async def asker(dns: Dns, tmp_path: Path, lookup_every_s: float, wait_s: float) -> AsyncIterator[Asker]:
    resolv, nsswitch, log = tmp_path / "resolv.conf", tmp_path / "nsswitch.conf", tmp_path / "log"
    resolv.write_text(f"nameserver {dns.server}\noptions timeout:30 attempts:1\n")
    nsswitch.write_text("hosts: files dns\n")
    enter = 'mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"'
    command = ("unshare", "--mount", "sh", "-euc", enter, "sh", str(resolv), str(nsswitch))
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(*command, sys.executable, "-c", DRIVER, str(lookup_every_s), str(wait_s)),
            cwd=CHECKOUT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    try:
        yield Asker(process, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        assert process.stdin is not None
        process.stdin.close()


async def test_a_bus_that_moves_is_found_again(dns: Dns, tmp_path: Path) -> None:
    dns.address = "10.1.2.3"
    async with asker(dns, tmp_path, lookup_every_s=0, wait_s=10) as process:
        assert await process.ask() == [["10.1.2.3", 7000, False]]
        dns.address = "10.1.2.4"
        assert await process.ask() == [["10.1.2.4", 7000, False]]


async def test_dns_is_not_asked_again_soon_and_once_for_all_who_ask(dns: Dns, tmp_path: Path) -> None:
    dns.address = "10.1.2.3"
    async with asker(dns, tmp_path, lookup_every_s=3600, wait_s=10) as process:
        assert await process.ask_at_once(5) == [[["10.1.2.3", 7000, False]]] * 5
        dns.address = "10.1.2.4"
        assert await process.ask() == [["10.1.2.3", 7000, False]]
    assert dns.asked == 1


async def test_while_dns_fails_the_last_answer_holds_and_that_is_said_once(dns: Dns, tmp_path: Path) -> None:
    async with asker(dns, tmp_path, lookup_every_s=0, wait_s=10) as process:
        assert await process.ask() == []
        dns.address = "10.1.2.3"
        assert await process.ask() == [["10.1.2.3", 7000, False]]
        assert process.said("is back") == 1
        dns.address = None
        for _ in range(3):
            assert await process.ask() == [["10.1.2.3", 7000, False]]
        assert process.said("the address of Redis' host redis.test is not available") == 2, "once an episode"


async def test_a_dns_that_hangs_holds_up_nobody_and_counts_when_it_comes_back(dns: Dns, tmp_path: Path) -> None:
    # An answer of `ask` within its 10 s shows it: the resolver would wait for 30.
    dns.address = "10.1.2.3"
    async with asker(dns, tmp_path, lookup_every_s=0, wait_s=1) as process:
        await eventually(lambda: process.answers("10.1.2.3"))
        told, told_back = process.said("no answer within 1 s"), process.said("is back")
        dns.silent = True
        for _ in range(3):
            assert await process.ask() == [["10.1.2.3", 7000, False]]
        await eventually(lambda: dns.waiting)
        assert dns.waiting <= 2, "IPv4 and IPv6, of one lookup"
        assert process.said("no answer within 1 s") == told + 1
        dns.address = "10.1.2.4"
        dns.speak()
        await eventually(lambda: process.answers("10.1.2.4"))
        assert process.said("is back") == told_back + 1


async def test_a_process_ends_although_dns_hangs(dns: Dns, tmp_path: Path) -> None:
    dns.silent = True
    async with asker(dns, tmp_path, lookup_every_s=0, wait_s=0.2) as process:
        assert await process.ask() == []
        await eventually(lambda: dns.waiting)
        assert process.process.stdin is not None
        process.process.stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            assert await process.process.wait() == 0


# The rule that follows


def bare(**changes: Any) -> Facts:
    return Facts(**{"id": ID, "labels": {}, "addresses": frozenset(), "published": frozenset(), **changes})


async def test_a_guard_goes_by_its_settings_and_by_where_the_bus_is() -> None:
    settings = ProtectionSettings(
        redis_url="redis://127.0.0.1:7000", allow_labels="team", forbid_labels="team=red,tier=db"
    )
    rule = await Guard(settings).protection()
    assert rule.reason(bare(labels={"team": "blue"})) is None
    assert "it is forbidden on this host by its label team=red" in str(rule.reason(bare(labels={"team": "red"})))
    assert "it has none of the labels" in str(rule.reason(bare()))
    published = bare(labels={"team": "blue"}, published=frozenset({("", 7000)}))
    assert rule.reason(published) == "it is the Redis that Fleetcast talks to"


async def test_the_rule_is_the_same_object_until_something_changes() -> None:
    guard = Guard(ProtectionSettings(redis_url="redis://127.0.0.1:7000"))
    assert await guard.protection() is await guard.protection()


# In a container, as compose runs it

IMAGE = f"fleetcast-test-guard:{uuid.uuid4().hex[:10]}"

DOCKERFILE = f"""\
FROM python:3.13-slim
RUN pip install --no-cache-dir psutil=={version("psutil")} pydantic=={version("pydantic")}
COPY common /app/common
WORKDIR /app
USER 10001:10001
"""

GUARD = """\
import asyncio, json
from common.protection import Facts
from common.settings import ProtectionSettings
from common.whereabouts import Guard, own_container_id

async def main():
    rule = await Guard(ProtectionSettings.load({})).protection()
    own = Facts(own_container_id() or "", {}, frozenset(), frozenset())
    print(json.dumps([own.id, rule.reason(own), [at.address for at in rule.bus]]))

asyncio.run(main())
"""


@pytest.fixture
def image(docker_engine: None) -> Iterator[str]:
    build = ("docker", "build", "--quiet", "--tag", IMAGE, "--file", "-", str(CHECKOUT))
    subprocess.run(build, input=DOCKERFILE, text=True, check=True, capture_output=True, timeout=110)
    yield IMAGE
    subprocess.run(("docker", "rmi", "--force", IMAGE), check=True, capture_output=True, timeout=30)


@pytest.fixture
async def network(containers: Containers) -> AsyncIterator[str]:
    name = f"fleetcast-test-{uuid.uuid4().hex[:10]}"
    await docker("network", "create", "--internal", name)
    yield name
    containers.remove()
    await docker("network", "rm", name)


@pytest.mark.docker
async def test_in_a_container_a_guard_knows_its_own_and_by_its_name_the_one_of_redis(
    image: str, containers: Containers, network: str
) -> None:
    redis = await containers.run(options=("--network", network, "--network-alias", "redis"))
    confined = ("--network", network, "--read-only", "--cap-drop=ALL", "-e", "FLEETCAST_REDIS_URL=redis://redis:6379")
    guard = await containers.run("python", "-c", GUARD, image=image, options=confined)
    await docker("wait", guard)
    own_id, own_reason, bus = json.loads(await docker("logs", guard))
    assert own_id == await docker("inspect", "-f", "{{.Id}}", guard)
    assert own_reason == "it is Fleetcast's own container"
    [inspected] = json.loads(await docker("inspect", redis))
    assert facts_of_inspected(inspected).addresses == set(bus)
