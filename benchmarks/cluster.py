"""What the cluster of compose.yaml costs, and how fast it starts and recovers, on this machine:

    python -m benchmarks.cluster [--runs 5] [--clients 300] [--json cluster.json]

Starts clusters of its own on the Docker engine, and removes them. Everything runs on this one machine, clients too, so
the figures are of all of it together.
"""

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.cluster.driver import PARTS, Cluster, aside, docker, run
from tests.cluster.viewers import viewers

HOST = socket.gethostname()
EDGES = 3


def measure_image(image: str) -> dict[str, float]:
    """Sizes in MB. The engine adds up the layers' files; a registry's are compressed."""

    def size(name: str) -> float:
        return int(docker("image", "inspect", "--format", "{{.Size}}", name)) / 1e6

    return {"image_mb": size(image), "above_its_base_mb": size(image) - size("python:3.13-slim")}


async def measure_start(image: str) -> dict[str, float]:
    """Seconds from `docker compose up -d` without any volume to a client's first message, and to its first metrics."""
    with Cluster(image) as cluster:
        began = time.monotonic()
        starting = asyncio.create_task(aside(cluster.compose, "up", "-d", "--no-build", "--scale", f"edge={EDGES}"))
        token = ""
        while not token:
            found = await aside(cluster.containers, "secret")
            stopped = found or await aside(lambda: cluster.containers("secret", stopped=True))
            lines = (await aside(docker, "logs", stopped[0])).splitlines() if stopped else []
            token = next((line for line in lines if line.startswith("ey")), "")
        made: dict[str, float] = {"token_s": time.monotonic() - began}
        while "metrics_s" not in made:
            headers = {"Authorization": f"Bearer {token}"}
            try:
                async with connect(cluster.ws, additional_headers=headers, proxy=None, open_timeout=2) as socket_:
                    await socket_.send(json.dumps({"type": "subscribe", "channels": ["metrics"]}))
                    while "metrics_s" not in made:
                        message = json.loads(await socket_.recv())
                        made.setdefault("first_message_s", time.monotonic() - began)
                        if message["type"] == "metrics":
                            made["metrics_s"] = time.monotonic() - began
            except (OSError, InvalidHandshake, ConnectionClosed, EOFError, TimeoutError):
                await asyncio.sleep(0.02)
        await starting
        made["up_returns_s"] = time.monotonic() - began
        return made


def usage(cluster: Cluster) -> dict[str, dict[str, float]]:
    """Memory (as Docker counts it, page cache left out) and CPU time so far, for each service, of one container."""
    used: dict[str, dict[str, float]] = {}
    for part in PARTS:
        container = cluster.containers(part)[0]
        stats = json.loads(
            run(
                *("curl", "--silent", "--unix-socket", "/var/run/docker.sock"),
                f"http://docker/containers/{container}/stats?stream=false&one-shot=true",
            )
        )
        memory = stats["memory_stats"]
        cache = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
        used[part] = {
            "memory_mb": (memory["usage"] - cache) / 1e6,
            "cpu_s": stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        }
    return used


async def measure_usage(cluster: Cluster, seconds: float) -> dict[str, dict[str, float]]:
    """Memory at the end, and CPU in percent of one core meanwhile; health checks are in it."""
    before, began = await aside(usage, cluster), time.monotonic()
    await asyncio.sleep(seconds)
    after, took_s = await aside(usage, cluster), time.monotonic() - began
    return {
        part: {
            "memory_mb": after[part]["memory_mb"],
            "cpu_percent": (after[part]["cpu_s"] - before[part]["cpu_s"]) / took_s * 100,
        }
        for part in PARTS
    }


async def measure_kills(cluster: Cluster, clients: int, runs: int) -> dict[str, list[float]]:
    """The longest time that any of the clients was without metrics, after SIGKILL of one container of each part."""
    gaps: dict[str, list[float]] = {part: [] for part in PARTS}
    async with viewers(cluster.ws, cluster.token(), clients, host=HOST) as fleet:
        for _ in range(runs):
            for part in PARTS:
                fleet.watch_gaps()
                [victim, *_] = await aside(cluster.containers, part)
                await aside(cluster.crash, victim)
                before = max(viewer.version("metrics", HOST) for viewer in fleet)
                await fleet.all(
                    lambda viewer, before=before: viewer.connected and viewer.version("metrics", HOST) > before,
                    30,
                    f"data after {part}",
                )
                gaps[part].append(fleet.longest_gap_s())
                await aside(cluster.wait_for_edges, EDGES)
    return gaps


async def measure_rolling_restarts(cluster: Cluster, clients: int, runs: int) -> dict[str, list[float]]:
    gaps, took = [], []
    async with viewers(cluster.ws, cluster.token(), clients, host=HOST) as fleet:
        for _ in range(runs):
            fleet.watch_gaps()
            began = time.monotonic()
            await aside(cluster.command, "deploy/rolling-restart")
            took.append(time.monotonic() - began)
            await fleet.all(lambda viewer: viewer.connected, 15, "connections after the last edge")
            gaps.append(fleet.longest_gap_s())
    return {"longest_gap_s": gaps, "took_s": took}


async def measure(image: str, clients: int, runs: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "docker": docker("version", "--format", "{{.Server.Version}}"),
        },
        "clients": clients,
        "edges": EDGES,
        "image": measure_image(image),
        "start": [await measure_start(image) for _ in range(runs)],
    }
    with Cluster(image) as cluster:
        cluster.up(EDGES)
        await asyncio.sleep(10)
        found["idle"] = await measure_usage(cluster, 60)
        async with viewers(cluster.ws, cluster.token(), clients, host=HOST):
            await asyncio.sleep(10)
            found["watched"] = await measure_usage(cluster, 60)
        found["gap_after_kill_s"] = await measure_kills(cluster, clients, runs)
        found["rolling_restart"] = await measure_rolling_restarts(cluster, clients, max(1, runs // 2))
    return found


def table(found: dict[str, Any]) -> str:
    def span(values: list[float]) -> str:
        return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"

    pick: Callable[[str], list[float]] = lambda name: [one[name] for one in found["start"]]  # noqa: E731
    lines = [
        f"image: {found['image']['image_mb']:.0f} MB, {found['image']['above_its_base_mb']:.0f} MB above its base",
        f"start, s, median (least to most) of {len(found['start'])}: first token {span(pick('token_s'))}, "
        f"first message {span(pick('first_message_s'))}, first metrics {span(pick('metrics_s'))}",
        f"one container of: memory MB and CPU % of a core, idle | with {found['clients']} clients on {found['edges']} "
        "edges | longest gap after SIGKILL, s",
    ]
    for part in PARTS:
        idle, watched = found["idle"][part], found["watched"][part]
        lines.append(
            f"  {part:22} {idle['memory_mb']:5.0f} {idle['cpu_percent']:5.1f} | {watched['memory_mb']:5.0f} "
            f"{watched['cpu_percent']:5.1f} | {span(found['gap_after_kill_s'][part])}"
        )
    rolling = found["rolling_restart"]
    lines.append(f"rolling restart: longest gap {span(rolling['longest_gap_s'])} s, took {span(rolling['took_s'])} s")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    image = f"fleetcast-benchmark:{uuid.uuid4().hex[:10]}"
    run("docker", "build", "--quiet", "--tag", image, ".", within_s=600)
    try:
        found = asyncio.run(measure(image, options.clients, options.runs))
    finally:
        docker("rmi", "--force", image)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
