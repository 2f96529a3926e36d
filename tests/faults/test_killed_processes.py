"""SIGKILL of each process in turn, of Redis too, while a client watches: the feed is back without anyone's help."""

from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support import eventually
from tests.ups import RunningUp, running_up


async def killed_and_back(up: RunningUp, *words: str) -> None:
    """Kills the process with these words in its command line and waits until another one has taken its place."""
    victim = up.find(*words)
    assert victim is not None, f"no process {words}"
    victim.kill()

    def replaced() -> psutil.Process | None:
        found = up.find(*words)
        return found if found is not None and found.pid != victim.pid else None

    await eventually(replaced, what=f"a new {words}")


@pytest.mark.parametrize(
    ("words", "link"),
    [(("collector", "metrics"), "metrics"), (("collector", "containers"), "containers"), (("executor",), "executor")],
)
async def test_a_killed_worker_is_missed_and_comes_back(tmp_path: Path, words: tuple[str, ...], link: str) -> None:
    async with running_up(tmp_path / "state") as up, up.client("hosts", "metrics") as client:
        before = await client.get("metrics")
        await killed_and_back(up, *words)
        await eventually(lambda: up.is_ready())
        after = await client.until(
            lambda m: m.type == "metrics" and (m.epoch > before.epoch if link == "metrics" else m.seq > before.seq + 3),
        )
        assert (after.epoch, after.seq) > (before.epoch, before.seq)


async def test_a_killed_redis_costs_a_gap_and_nothing_else(tmp_path: Path) -> None:
    async with running_up(tmp_path / "state") as up, up.client("hosts", "metrics") as client:
        before = await client.get("metrics")
        await killed_and_back(up, "valkey-server")
        after = await client.until(lambda m: m.type == "metrics" and m.seq > before.seq + 2)
        assert after.epoch == before.epoch, "the collector is the same one, and its lease is still its own"
        await eventually(lambda: up.is_ready())


async def test_a_killed_edge_is_back_for_clients_that_reconnect(tmp_path: Path) -> None:
    async with running_up(tmp_path / "state") as up:
        async with up.client("metrics") as client:
            await client.get("metrics")
            await killed_and_back(up, "services.cli", "edge")
            with pytest.raises(ConnectionClosed):
                while True:
                    await client.next()
        await eventually(lambda: up.is_ready())
        async with up.client("metrics") as client:
            await client.get("metrics")


async def test_everything_killed_at_once_comes_back(tmp_path: Path) -> None:
    async with running_up(tmp_path / "state") as up:
        for process in up.processes():
            process.kill()
        await eventually(lambda: up.find("valkey-server"))
        await eventually(lambda: up.is_ready())

        async def flows() -> bool:
            async with up.client("metrics") as client:
                first = await client.get("metrics")
                return bool(await client.until(lambda m: m.type == "metrics" and m.seq > first.seq))

        assert await flows()
