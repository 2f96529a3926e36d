"""The subscriber against the failures that were measured with redis-py, on the version that is installed."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from common.bus import READ_BLOCK_MS, SOCKET_TIMEOUT_S, Bus
from common.errors import BusUnavailableError
from common.keys import Keys
from common.subscriber import Subscriber
from common.telemetry import bus_reconnects
from services.embedded import EmbeddedServer
from tests.support import PATIENCE_S, eventually


class Heard:
    """What a subscriber was told."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.subscribed: list[str] = []


@asynccontextmanager
async def subscriber(bus: Bus, *channels: str, silence_s: float = 60.0) -> AsyncIterator[tuple[Subscriber, Heard]]:
    heard = Heard()
    listening = Subscriber(
        bus,
        "fc:{edge.test}:canary",
        lambda channel, payload: heard.messages.append((channel, payload)),
        heard.subscribed.append,
        canary_every_s=0.1,
        silence_s=silence_s,
    )
    listening.want(channels)
    running = asyncio.create_task(listening.run())
    try:
        yield listening, heard
    finally:
        running.cancel()
        await asyncio.wait([running])


async def publish(bus: Bus, channel: str, payload: bytes) -> int:
    with bus.reaching() as redis:
        return int(await redis.spublish(channel, payload))


def reconnects(cause: str) -> float:
    return bus_reconnects.labels(cause)._value.get()


async def test_it_follows_what_is_wanted(bus: Bus) -> None:
    async with subscriber(bus, "a", "b") as (listening, heard):
        await eventually(lambda: {"a", "b"} <= set(heard.subscribed))
        listening.want(["b", "c"])
        await listening.subscribed("c")
        await eventually(lambda: not listening.is_subscribed("a"))
        assert await publish(bus, "a", b"1") == 0
        assert await publish(bus, "c", b"2") == 1
        await eventually(lambda: heard.messages == [("c", b"2")])


async def test_a_killed_subscriber_is_back_by_itself(bus: Bus) -> None:
    async with subscriber(bus, "a") as (_, heard):
        await eventually(lambda: heard.subscribed == ["a"])
        before = reconnects("error")
        with bus.reaching() as redis:
            await redis.client_kill_filter(_type="pubsub")
        # Told again, so that the last state is read again: what was published in between is gone.
        await eventually(lambda: heard.subscribed == ["a", "a"])
        assert reconnects("error") > before
        await publish(bus, "a", b"after")
        await eventually(lambda: ("a", b"after") in heard.messages)


async def test_a_restarted_server_is_found_again(bus: Bus, valkey: EmbeddedServer) -> None:
    async with subscriber(bus, "a") as (_, heard):
        await eventually(lambda: heard.subscribed == ["a"])
        await valkey.stop()
        await eventually(lambda: not bus.available)
        await valkey.start()
        await eventually(lambda: len(heard.subscribed) >= 2)
        assert bus.available
        await publish(bus, "a", b"after")
        await eventually(lambda: ("a", b"after") in heard.messages)


async def test_a_server_that_hangs_is_noticed_by_the_canary(bus: Bus, valkey: EmbeddedServer) -> None:
    async with subscriber(bus, "a", silence_s=0.5) as (listening, heard):
        await eventually(lambda: listening.hears and heard.subscribed == ["a"])
        before = reconnects("canary-lost")
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            # Nothing else would notice: no read ends, no error comes.
            await eventually(lambda: reconnects("canary-lost") > before)
            assert not listening.hears
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
        await eventually(lambda: listening.hears and len(heard.subscribed) >= 2)


def test_a_blocking_read_ends_before_the_sockets_timeout() -> None:
    assert READ_BLOCK_MS / 1000 < SOCKET_TIMEOUT_S / 2


async def test_a_blocking_read_longer_than_the_sockets_timeout_fails(valkey: EmbeddedServer) -> None:
    """Why READ_BLOCK_MS is as short as it is: redis-py gives the socket up first."""
    impatient = Bus(valkey.url, Keys(), socket_timeout_s=0.3)
    try:
        with impatient.reaching() as redis:
            await redis.xgroup_create("stream", "group", mkstream=True)
            assert not await redis.xreadgroup("group", "me", {"stream": ">"}, block=100)
        with pytest.raises(BusUnavailableError), impatient.reaching() as redis:
            await redis.xreadgroup("group", "me", {"stream": ">"}, block=2000)
    finally:
        await impatient.close()


# The reader that spins: a network that swallows everything, so that TCP keepalive ends the connection.

_SUBNET = "10.231.7"


@pytest.fixture
def swallowing_network() -> Iterator[tuple[str, list[str]]]:
    """A network namespace behind a cable that can be pulled: its address, and the command that runs inside of it."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and iproute2 to make a network namespace")
    name = f"fct{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
    try:
        for command in (
            f"ip link add {name}a type veth peer name {name}b netns {name}",
            f"ip addr add {_SUBNET}.1/30 dev {name}a",
            f"ip link set {name}a up",
            f"ip -n {name} addr add {_SUBNET}.2/30 dev {name}b",
            f"ip -n {name} link set {name}b up",
        ):
            subprocess.run(command.split(), check=True, capture_output=True)
        yield name, ["ip", "netns", "exec", name]
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
        subprocess.run(["ip", "link", "del", f"{name}a"], check=False, capture_output=True)


@asynccontextmanager
async def server_inside(enter: list[str], state_dir: Path) -> AsyncIterator[str]:
    """A Valkey server in the namespace; its URL from outside."""
    from services.embedded import find_server

    command = [*enter, str(find_server()), "--bind", f"{_SUBNET}.2", "--port", "6379", "--protected-mode", "no"]
    process = await asyncio.create_subprocess_exec(
        *command, "--dir", str(state_dir), "--save", "", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"redis://{_SUBNET}.2:6379"
    finally:
        process.kill()
        await process.wait()


def pull_the_cable(name: str) -> None:
    # Packets vanish without an answer; an interface that is down would be an error at once.
    subprocess.run(
        ["ip", "netns", "exec", name, "ip", "link", "set", f"{name}b", "down"], check=True, capture_output=True
    )


async def test_a_connection_that_the_network_swallowed_is_given_up_instead_of_spinning(
    swallowing_network: tuple[str, list[str]], tmp_path: Path
) -> None:
    name, enter = swallowing_network
    async with server_inside(enter, tmp_path) as url:
        bus = Bus(url, Keys(), keepalive_s=1)
        plain = Redis.from_url(url, **bus_keepalive(), socket_timeout=5)
        trap = plain.pubsub()
        try:
            async with subscriber(bus, "a") as (_, heard):
                await eventually(lambda: heard.subscribed == ["a"])
                await trap.ssubscribe("a")
                while await trap.get_message(timeout=0.2):
                    pass
                before = reconnects("dead-connection") + reconnects("error")
                pull_the_cable(name)

                # The library alone: answers come back at once and empty, for ever.
                loop = asyncio.get_running_loop()

                async def comes_back_early() -> bool:
                    began = loop.time()
                    try:
                        return await trap.get_message(timeout=2.0) is None and loop.time() - began < 0.5
                    except OSError:
                        return True

                await eventually(comes_back_early, what="the trap")
                # Ours: given up and counted, and the loop is free meanwhile.
                await eventually(lambda: reconnects("dead-connection") + reconnects("error") > before)
        finally:
            await plain.connection_pool.disconnect(inuse_connections=True)
            await bus.close()


def bus_keepalive() -> dict[str, object]:
    from common.bus import _keepalive

    return _keepalive("redis://", 1)


async def test_one_that_is_cancelled_ends_although_something_fails_at_that(bus: Bus) -> None:
    listening: list[asyncio.Task[None]] = []

    def fail(channel: str, payload: bytes) -> None:
        listening[0].cancel()
        raise RuntimeError("broken")

    subscriber = Subscriber(bus, "fc:{edge.test}:canary", fail, lambda channel: None)
    subscriber.want(["a"])
    listening.append(asyncio.create_task(subscriber.run()))
    await subscriber.subscribed("a")
    await publish(bus, "a", b"1")
    ended, _ = await asyncio.wait(listening, timeout=PATIENCE_S)
    assert ended
    assert listening[0].cancelled()
