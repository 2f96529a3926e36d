"""Workloads in which nothing goes wrong: what a delivery costs, how late it is, and what a connection costs."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from benchmarks.fanout_parts.bodies import BelievableFleet, Fleet, State
from benchmarks.fanout_parts.dialects import ALL
from benchmarks.fanout_parts.peers import Centrifugo, Nats, Nchan
from benchmarks.fanout_parts.publishing import Timetable
from benchmarks.fanout_parts.stage import Figures
from benchmarks.fanout_parts.systems import FastApi, Fleetcast, Floor, Node, System
from benchmarks.fanout_parts.workload import Bench, Column, Results, Target, Workload, at_least, at_most

BODY_BYTES = 500
PROBES = 10

_SYSTEMS: dict[str, System] = {
    system.name: system for system in (Floor(), Fleetcast(), FastApi(), Node(), Nchan(), Nats(), Centrifugo())
}

DELIVERY = (
    Column("us_per_delivery", "CPU us a delivery"),
    Column("delivered", "delivered %", ".1f", 100),
    Column("p50_ms", "p50 age ms"),
    Column("p99_ms", "p99 age ms"),
    Column("server_share", "server's core %", ".0f", 100),
    Column("load_share", "load client's core %", ".0f", 100),
)


async def _delivered(
    bench: Bench,
    system: System,
    fleet: Fleet,
    timetable: Timetable,
    clients: int,
    channels: tuple[str, ...],
    *,
    deflate: bool = False,
) -> Figures:
    """One run of a system with so many clients on these channels."""
    async with bench.staged(system) as stage:
        await stage.open(clients, probes=PROBES, channels=channels, deflate=deflate)
        await stage.prime(fleet, timetable)
        return await stage.play(fleet, timetable, bench.seconds, clients)


class Feed(Workload):
    name = "feed"
    title = "one feed: 1,000 clients x 20 messages/s x 500 B"
    columns = DELIVERY
    reference = ("us_per_delivery", "floor")

    def rows(self) -> Mapping[str, System]:
        return _SYSTEMS

    async def run(self, row: str, system: System, bench: Bench) -> Figures:
        fleet = Fleet(1, BODY_BYTES)
        timetable = Timetable.evenly(1 / 20, fleet.every_metrics())
        clients = bench.clients(1_000)
        return await _delivered(bench, system, fleet, timetable, clients, tuple(fleet.hosts))

    def targets(self, results: Results) -> list[Target]:
        mine = results.median("fleetcast", "us_per_delivery")
        others = {row: results.median(row, "us_per_delivery") for row in results.rows}
        baselines = {row: us for row, us in others.items() if us is not None and row not in {"floor", "fleetcast"}}
        cheapest = min(baselines, key=lambda row: baselines[row], default=None)
        below = Target("CPU a delivery below every baseline", "not measured", None)
        if cheapest is not None and mine is not None:
            found = f"{mine:.1f} us, {cheapest} {baselines[cheapest]:.1f} us"
            below = Target(below.text, found, mine < baselines[cheapest])
        return [
            at_most("CPU a delivery <= 1.2 x floor", results.ratio("us_per_delivery", "fleetcast", "floor"), 1.2),
            below,
            at_most("CPU a delivery <= 0.6 x fastapi", results.ratio("us_per_delivery", "fleetcast", "fastapi"), 0.6),
        ]


class FleetFeed(Workload):
    name = "fleet"
    title = "100 hosts x 1 message/s x 500 B, spread over the second, 500 clients on all of them"
    columns = DELIVERY
    reference = ("us_per_delivery", "fastapi")

    def rows(self) -> Mapping[str, System]:
        return _SYSTEMS

    async def run(self, row: str, system: System, bench: Bench) -> Figures:
        fleet = Fleet(100, BODY_BYTES)
        timetable = Timetable.evenly(1.0, fleet.every_metrics())
        clients = bench.clients(500)
        return await _delivered(bench, system, fleet, timetable, clients, (ALL,))

    def targets(self, results: Results) -> list[Target]:
        figure = "us_per_delivery"
        return [
            at_most("CPU a delivery <= 1/8 of fastapi", results.ratio(figure, "fleetcast", "fastapi"), 1 / 8, digits=3),
            at_most("CPU a delivery <= 1/5 of nchan", results.ratio(figure, "fleetcast", "nchan"), 1 / 5, digits=3),
            at_most("p99 age <= 150 ms", results.median("fleetcast", "p99_ms"), 150, " ms", 1),
        ]


class Quiet(Workload):
    name = "quiet"
    title = "10 messages/s x 500 B, 10 clients: the age of a message when it arrives"
    columns = (
        Column("p50_ms", "p50 age ms", ".2f"),
        Column("p99_ms", "p99 age ms", ".2f"),
        Column("max_ms", "greatest ms", ".2f"),
        Column("delivered", "delivered %", ".1f", 100),
    )
    reference = ("p50_ms", "fastapi")

    def rows(self) -> Mapping[str, System]:
        return _SYSTEMS

    async def run(self, row: str, system: System, bench: Bench) -> Figures:
        fleet = Fleet(1, BODY_BYTES)
        timetable = Timetable.evenly(1 / 10, fleet.every_metrics())
        return await _delivered(bench, system, fleet, timetable, 10, tuple(fleet.hosts))

    def targets(self, results: Results) -> list[Target]:
        mine, other = results.median("fleetcast", "p50_ms"), results.median("fastapi", "p50_ms")
        above = mine - other if mine is not None and other is not None else None
        return [at_most("p50 <= 2 ms above fastapi's", above, 2, " ms")]


class Idle(Workload):
    name = "idle"
    title = "10,000 connections to one process, subscribed to nothing"
    columns = (
        Column("rss_before_mb", "RSS MB before"),
        Column("rss_after_mb", "after"),
        Column("kb_per_client", "KB a client"),
        Column("us_to_connect", "CPU us to connect", ".0f"),
        Column("idle_percent", "CPU % while idle"),
        Column("connect_s", "s to connect all"),
        Column("oldest_beat_s", "oldest last heartbeat s"),
        Column("load_share", "load client's core %", ".0f", 100),
    )
    most_rounds = 2
    _warm = 100
    """Connections before the first that counts: what a server loads or makes once is not theirs."""

    def rows(self) -> Mapping[str, System]:
        return {name: system for name, system in _SYSTEMS.items() if name != "floor"}

    async def run(self, row: str, system: System, bench: Bench) -> Figures:
        clients = bench.clients(10_000)
        fleet = Fleet(1, BODY_BYTES)
        async with bench.staged(system) as stage:
            await stage.open(self._warm, group="warm", probes=0, channels=())
            await stage.rest()
            rss, before = stage.rss(), stage.usage()
            await stage.open(clients, probes=PROBES, channels=())
            opened = stage.usage()
            await stage.rest()
            await stage.mark()
            connected = stage.usage()
            await asyncio.sleep(bench.lasting(20, 6))
            idle = stage.usage().since(connected)
            seen = await stage.report(fleet)
            rss_after = stage.rss()
            shares = stage.shares(opened.since(before))
            if seen["open"] < clients:
                shares["notes"].append(f"open at the end: {seen['open']}")
            return {
                "rss_before_mb": rss / 1e6,
                "rss_after_mb": rss_after / 1e6,
                "kb_per_client": (rss_after - rss) / clients / 1024,
                "us_to_connect": connected.since(before).server / clients * 1e6,
                "idle_percent": idle.server / idle.at * 100,
                "connect_s": opened.since(before).at,
                "oldest_beat_s": seen["oldest_beat_s"] if seen["heartbeat_s"] else None,
                "heartbeat_s": seen["heartbeat_s"] or None,
                "open": seen["open"],
                "refused": seen["refused"],
                "closes": seen["closes"],
                **shares,
            }

    def targets(self, results: Results) -> list[Target]:
        beat, interval = results.worst("fleetcast", "oldest_beat_s"), results.median("fleetcast", "heartbeat_s")
        return [
            at_most("RSS <= 16 KB a client", results.median("fleetcast", "kb_per_client"), 16, " KB", 1),
            at_most("CPU <= 300 us to connect", results.median("fleetcast", "us_to_connect"), 300, " us", 0),
            at_most("last heartbeat of every client < 2 intervals", beat, 2 * (interval or 0), " s", 1),
        ]


class Wire(Workload):
    name = "wire"
    title = "20 believable hosts: 50 containers (24 KB) every 2 s, metrics (1 KB) every second; 500 clients on all"
    columns = (
        Column("wire_mb", "MB on the wire", ".0f"),
        Column("bytes_per_delivery", "bytes a delivery", ".0f"),
        *DELIVERY,
    )
    reference = ("bytes_per_delivery", "plain")

    def rows(self) -> Mapping[str, System]:
        system = Fleetcast(with_containers=True)
        return {"plain": system, "deflate offered": system}

    async def run(self, row: str, system: System, bench: Bench) -> Figures:
        fleet = BelievableFleet(20, 50)
        timetable = Timetable(2.0, list(_moments(fleet)))
        clients = bench.clients(500)
        figures = await _delivered(bench, system, fleet, timetable, clients, (ALL,), deflate=row != "plain")
        return {**figures, "bytes_per_delivery": figures["wire_mb"] * 1e6 / max(1, figures["deliveries"])}

    def targets(self, results: Results) -> list[Target]:
        fewer = results.ratio("bytes_per_delivery", "plain", "deflate offered")
        cpu = results.ratio("us_per_delivery", "deflate offered", "plain")
        return [
            at_least("bytes: >= 5 x fewer with deflate", fewer, 5, " x"),
            at_most("CPU: <= 1.2 x with deflate", cpu, 1.2, " x"),
        ]


def _moments(fleet: BelievableFleet) -> Iterator[tuple[float, Callable[[], State]]]:
    """In two seconds each host sends metrics twice and containers once, and no two hosts at the same moment."""
    for number, host in enumerate(fleet.hosts):
        share = number / len(fleet.hosts)
        yield share, partial(fleet.metrics, host)
        yield share + 1, partial(fleet.metrics, host)
        yield 2 * share + 1 / len(fleet.hosts), partial(fleet.containers, host)
