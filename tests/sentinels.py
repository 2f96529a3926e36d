"""Real servers that stand in for each other under real Sentinels, on loopback."""

import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.embedded import find_server
from tests.support import NotYet, eventually, free_ports

NAME = "mymaster"

_WHERE = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME")


class Node:
    """One server process, a Sentinel or what it watches."""

    def __init__(self, folder: Path, port: int, config: str, *arguments: str) -> None:
        folder.mkdir(parents=True)
        self.port = port
        self.redis = Redis(port=port, socket_timeout=5, protocol=2)
        path = folder / "node.conf"
        path.write_text(f'port {port}\nbind 127.0.0.1\ndir "{folder}"\nlogfile "{folder}/log"\n{config}\n')
        self._process = subprocess.Popen([find_server(), path, *arguments], start_new_session=True)

    async def is_up(self) -> bool:
        try:
            return bool(await self.redis.execute_command("ROLE"))
        except RedisError:
            return False

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def close(self) -> None:
        await self.redis.aclose()
        self.kill()


class Watched:
    """A primary, a replica of it, and three Sentinels who agree by two."""

    def __init__(self, servers: list[Node], sentinels: list[Node]) -> None:
        self.servers = servers
        self.sentinels = sentinels
        self.url = url_of(*(sentinel.port for sentinel in sentinels))

    async def primary(self) -> Node:
        """The one that may be written to, by its own word; waits until there is one."""

        async def find() -> Node | NotYet:
            said = [await _said(node) for node in self.servers]
            found = [node for node, role in zip(self.servers, said, strict=True) if role == b"master"]
            return found[0] if len(found) == 1 else NotYet(*said)

        found: Node = await eventually(find, 30, what="one primary")
        return found

    async def replica(self) -> Node:
        """The other one, once it has all that the primary has."""
        primary = await self.primary()
        [other] = [node for node in self.servers if node is not primary]

        async def follows() -> Any:
            info = await other.redis.info("replication")
            return (info["role"] == "slave" and info["master_link_status"] == "up") or NotYet(info)

        await eventually(follows, 30, what="the replica to follow")
        return other

    async def fail_over(self) -> Node:
        """The replica takes the primary's place, and is returned. The old one does not know it yet."""
        replica = await self.replica()

        async def begins() -> Any:  # not before the Sentinel has asked the replica how it is
            try:
                return await self.sentinels[0].redis.execute_command("SENTINEL", "FAILOVER", NAME)
            except RedisError as error:
                return NotYet(error)

        await eventually(begins, 30, what="the fail-over to begin")

        async def is_told() -> Any:
            told = [await sentinel.redis.execute_command(*_WHERE, NAME) for sentinel in self.sentinels]
            return {int(port) for _, port in told} == {replica.port} or NotYet(told)

        await eventually(is_told, 30, what="the Sentinels to name the other one")
        return replica


def url_of(*sentinel_ports: int) -> str:
    return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in sentinel_ports)}/{NAME}"


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Watched]:
    """All of it, once the Sentinels know each other and the replica."""
    first = free_ports(5)
    ports = range(first, first + 5)
    async with AsyncExitStack() as stack:

        def start(kind: str, port: int, config: str, *arguments: str) -> Node:
            node = Node(folder / f"{kind}-{port}", port, config, *arguments)
            stack.push_async_callback(node.close)
            return node

        data = 'save ""\nappendonly no\nrepl-diskless-sync-delay 0'
        servers = [start("server", ports[0], data)]
        servers.append(start("server", ports[1], f"{data}\nreplicaof 127.0.0.1 {ports[0]}"))
        for server in servers:
            await eventually(server.is_up)
        rules = (
            f"sentinel monitor {NAME} 127.0.0.1 {ports[0]} 2\nsentinel down-after-milliseconds {NAME} 1000\n"
            f"sentinel failover-timeout {NAME} 6000"
        )
        cluster = Watched(servers, [start("sentinel", port, rules, "--sentinel") for port in ports[2:]])
        await cluster.replica()
        for sentinel in cluster.sentinels:
            await eventually(lambda node=sentinel: _knows_all(node), 30, what="the Sentinels to know each other")
        yield cluster


async def _knows_all(sentinel: Node) -> Any:
    try:
        said = await sentinel.redis.execute_command("SENTINEL", "MASTER", NAME)
    except RedisError as error:
        return NotYet(error)
    facts = dict(zip(said[::2], said[1::2], strict=True))
    found = facts[b"num-slaves"], facts[b"num-other-sentinels"], facts[b"flags"]
    return found == (b"1", b"2", b"master") or NotYet(found)


async def _said(node: Node) -> Any:
    try:
        return (await node.redis.execute_command("ROLE"))[0]
    except RedisError as error:
        return error
