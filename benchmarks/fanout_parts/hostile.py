"""Workloads in which something is wrong: more than a core can carry, clients that do not read, an edge that ends."""

import asyncio
import math
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.fanout_parts.bodies import Fleet, one_container
from benchmarks.fanout_parts.dialects import ALL
from benchmarks.fanout_parts.executor import StandInExecutor
from benchmarks.fanout_parts.machine import cpu_seconds
from benchmarks.fanout_parts.publishing import Timetable, follow
from benchmarks.fanout_parts.stage import CLIENTS, Figures, Sampler, Stage, ages
from benchmarks.fanout_parts.steady import BODY_BYTES, PROBES
from benchmarks.fanout_parts.systems import Fleetcast, Floor, System
from benchmarks.fanout_parts.workload import Bench, Column, Results, Target, Workload, at_most


@asynccontextmanager
async def acting(stage: Stage, fleet: Fleet, *, every_s: float) -> AsyncIterator[StandInExecutor]:
    """Every probe asks for an action on the fleet's first host every so often, and an executor does them."""
    host = fleet.hosts[0]
    state, container = one_container(host)
    await stage.serving.publisher.publish(state)
    async with StandInExecutor(stage.site.valkey.url, host) as executor:
        await stage.load.ask("act", group=CLIENTS, every_s=every_s, host=host, container=container)
        yield executor


async def acts_end(stage: Stage, fleet: Fleet, executor: StandInExecutor, within_s: float = 15.0) -> Figures:
    """Asks for nothing more, and waits for what has no final answer yet."""
    await stage.load.ask("act_no_more")
    deadline = time.monotonic() + within_s
    acks = (await stage.report(fleet))["acks"]
    while acks["pending"] and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        acks = (await stage.report(fleet))["acks"]
    return {
        "acks_asked": acks["asked"],
        "acks_refused": acks["refused"],
        "acks_lost": acks["pending"] + acks["not_succeeded"],
        "acks_twice": acks["answered_twice"],
        "done_not_once": abs(await executor.settled() - acks["asked"]),
        "ack_p50_ms": acks["round_trips_ms"].get("p50"),
        "ack_p99_ms": acks["round_trips_ms"].get("p99"),
    }


def memory(samples: list[float]) -> Figures:
    return {
        "rss_start_mb": samples[0] / 1e6,
        "rss_max_mb": max(samples) / 1e6,
        "rss_end_mb": samples[-1] / 1e6,
        "rss_growth_mb": (max(samples) - samples[0]) / 1e6,
    }


class Overload(Workload):
    name = "overload"
    title = (
        "four times what one core carries at one write a message: 1,000 clients on hosts of 1 to 2 messages/s, 500 B"
    )
    columns = (
        Column("per_second", "deliveries/s wanted", ",.0f"),
        Column("delivered", "delivered %", ".1f", 100),
        Column("us_per_delivery", "CPU us a delivery"),
        Column("p99_ms", "p99 age ms", ".0f"),
        Column("ack_p50_ms", "p50 ack ms"),
        Column("ack_p99_ms", "p99 ack ms"),
        Column("rss_start_mb", "RSS MB start", ".0f"),
        Column("rss_max_mb", "max", ".0f"),
        Column("rss_end_mb", "end", ".0f"),
        Column("server_share", "server's core %", ".0f", 100),
        Column("load_share", "load client's core %", ".0f", 100),
    )

    def rows(self) -> Mapping[str, System]:
        return {"floor": Floor(), "fleetcast": Fleetcast()}

    async def run(self, row: str, system: System, bench: Bench) -> Figures:
        return await (self._calibrate if row == "floor" else self._flood)(system, bench)

    async def _calibrate(self, floor: System, bench: Bench) -> Figures:
        """What one core carries: the floor, busy but not full, so that no frame is lost."""
        fleet = Fleet(1, BODY_BYTES)
        timetable = Timetable.evenly(1 / 40, fleet.every_metrics())
        clients = bench.clients(1_000)
        async with bench.staged(floor) as stage:
            await stage.open(clients, probes=PROBES, channels=())
            await stage.prime(fleet, timetable)
            figures = await stage.play(fleet, timetable, bench.lasting(5, 2), clients)
        bench.capacity = 1e6 / figures["us_per_delivery"]
        return {**figures, "per_second": timetable.per_second * clients}

    async def _flood(self, system: System, bench: Bench) -> Figures:
        assert bench.capacity is not None, "the floor has to be run first: it says what a core carries"
        clients = bench.clients(1_000)
        per_second = 4 * bench.capacity / clients
        fleet = Fleet(math.ceil(per_second / 2), BODY_BYTES)
        timetable = Timetable.evenly(len(fleet.hosts) / per_second, fleet.every_metrics())
        async with bench.staged(system) as stage:
            await stage.open(clients, probes=PROBES, channels=(ALL,))
            await stage.prime(fleet, timetable)
            async with acting(stage, fleet, every_s=2.0) as executor, Sampler(stage.rss) as rss:
                figures = await stage.play(fleet, timetable, 2 * bench.seconds, clients)
                acks = await acts_end(stage, fleet, executor)
        return {
            **figures,
            **acks,
            **memory(rss.values),
            "hosts": len(fleet.hosts),
            "per_second": per_second * clients,
            "healthy_closed": sum(figures["closes"].values()),
        }

    def targets(self, results: Results) -> list[Target]:
        most, start = results.worst("fleetcast", "rss_max_mb"), results.median("fleetcast", "rss_start_mb")
        growth = most / start if most is not None and start else None
        return [
            at_most("no healthy client closed", results.worst("fleetcast", "healthy_closed"), 0, digits=0),
            at_most("RSS flat: max <= 1.1 x start", growth, 1.1, " x"),
            at_most("p99 age of state <= 1 s", results.median("fleetcast", "p99_ms"), 1000, " ms", 0),
            at_most("p99 of ack round trips <= 250 ms", results.median("fleetcast", "ack_p99_ms"), 250, " ms", 0),
        ]


class Slow(Workload):
    name = "slow"
    title = "10 hosts x 1 message/s x 8 KB, 1,000 clients, 50 of which stop reading for 30 s; 25 of them come back"
    columns = (
        Column("p50_ms", "others' p50 age ms"),
        Column("p99_ms", "others' p99 age ms"),
        Column("rss_start_mb", "RSS MB start", ".0f"),
        Column("rss_max_mb", "max", ".0f"),
        Column("slow_missed", "states that the slow missed %", ".0f", 100),
        Column("caught_up_s", "s to newest of all, worst", ".2f"),
        Column("behind", "not caught up", ".0f"),
        Column("disordered", "out of order", ".0f"),
        Column("slow_closed", "slow ones closed", ".0f"),
        Column("server_share", "server's core %", ".0f", 100),
        Column("load_share", "load client's core %", ".0f", 100),
    )
    most_rounds = 2
    _after_s = 8.0

    def rows(self) -> Mapping[str, System]:
        system = Fleetcast()
        return {"all read": system, "50 stall": system}

    async def run(self, row: str, system: System, bench: Bench) -> Figures:
        fleet = Fleet(10, 8_000)
        timetable = Timetable.evenly(1.0, fleet.every_metrics())
        slow = max(2, bench.clients(50) // 2)
        stall_s = bench.lasting(30, 6)
        async with bench.staged(system) as stage:
            await stage.open(bench.clients(1_000) - 2 * slow, probes=PROBES, channels=(ALL,))
            stalling = ("slow", "gone") if row != "all read" else ()
            for group in stalling:
                small: dict[str, Any] = {"receive_buffer": 4096, "reconnects": True}
                await stage.open(slow, group=group, probes=slow, channels=(ALL,), **small)
            await stage.prime(fleet, timetable)
            await stage.mark()
            before = stage.usage()
            async with Sampler(stage.rss) as rss, asyncio.TaskGroup() as tasks:
                publishing = follow(timetable, stage.serving.publisher, stall_s + self._after_s)
                published = tasks.create_task(publishing)
                for group in stalling:
                    await stage.load.ask("stall", group=group)
                await asyncio.sleep(stall_s)
                shares = stage.shares(stage.usage().since(before))
                others = await stage.report(fleet)
                if stalling:
                    await stage.load.ask("resume", group="slow", newest=fleet.newest())
            figures: Figures = {**ages(others), **memory(rss.values), **shares}
            afterwards = await stage.report(fleet)
            figures |= {"disordered": afterwards["disordered"], "healthy_closed": sum(afterwards["closes"].values())}
            if stalling:
                figures |= _came_back(await stage.report(fleet, "slow"), figures, published.result().states * slow)
        return figures

    def targets(self, results: Results) -> list[Target]:
        row = "50 stall"
        worst = results.worst(row, "disordered")
        return [
            at_most("others' p99 age <= 1.2 x without slow ones", results.ratio("p99_ms", row, "all read"), 1.2, " x"),
            at_most("RSS grows by <= 16 MB", results.worst(row, "rss_growth_mb"), 16, " MB", 1),
            at_most("all that came back have the newest", results.worst(row, "behind"), 0, " behind", 0),
            at_most("... within 3 s", results.worst(row, "caught_up_s"), 3, " s"),
            at_most("never an older state after a newer one", worst, 0, "", 0),
            at_most("no healthy client closed", results.worst(row, "healthy_closed"), 0, digits=0),
        ]


def _came_back(slow: dict[str, Any], figures: Figures, published: int) -> Figures:
    return {
        "slow_missed": 1 - slow["delivered"] / published,
        "caught_up_s": max(slow["caught_up_s"], default=None),
        "behind": slow["behind"],
        "disordered": figures["disordered"] + slow["disordered"],
        "slow_closed": sum(slow["closes"].values()),
        "slow_closes": slow["closes"],
    }


class Drain(Workload):
    name = "drain"
    title = "2,000 clients on 2 edges, 10 hosts x 1 message/s x 500 B; one edge gets SIGTERM and 10 s to drain"
    columns = (
        Column("longest_gap_s", "longest without data s", ".2f"),
        Column("moved", "reconnects", ".0f"),
        Column("busiest_second", "in the busiest second", ".0f"),
        Column("last_moved_s", "last one after s"),
        Column("took_s", "edge ended after s"),
        Column("acks_asked", "actions", ".0f"),
        Column("acks_lost", "lost", ".0f"),
        Column("acks_twice", "answered twice", ".0f"),
        Column("ack_p99_ms", "p99 ack ms", ".0f"),
        Column("load_share", "load client's core %", ".0f", 100),
    )
    most_rounds = 2
    _before_s = 3.0

    def rows(self) -> Mapping[str, System]:
        # Whoever moves has to get past the other edge's guard against crowds, as it is by default.
        settings = {"FLEETCAST_DRAIN_SEC": "10", "FLEETCAST_MAX_HANDSHAKES_PER_SEC": "500"}
        return {"fleetcast": Fleetcast(edges=2, settings=settings)}

    async def run(self, row: str, system: System, bench: Bench) -> Figures:
        fleet = Fleet(10, BODY_BYTES)
        timetable = Timetable.evenly(1.0, fleet.every_metrics())
        clients = bench.clients(2_000)
        async with bench.staged(system) as stage:
            await stage.open(clients, probes=2 * PROBES, channels=(ALL,), reconnects=True)
            await stage.prime(fleet, timetable)
            async with acting(stage, fleet, every_s=4.0) as executor:
                await stage.mark()
                busy, began = cpu_seconds([stage.load.pid]), time.monotonic()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(follow(timetable, stage.serving.publisher, self._before_s + 10 + 5))
                    await asyncio.sleep(self._before_s)
                    stopping = stage.serving.processes[0]
                    term_ns = time.monotonic_ns()
                    stopping.send_signal(signal.SIGTERM)
                    await stopping.wait()
                    took_s = (time.monotonic_ns() - term_ns) / 1e9
                seen = await stage.report(fleet)
                share = (cpu_seconds([stage.load.pid]) - busy) / (time.monotonic() - began)
                acks = await acts_end(stage, fleet, executor)
        moments = [(moment - term_ns) / 1e9 for moment in seen["reopened_ns"]]
        per_second = Counter(int(moment) for moment in moments)
        return {
            **acks,
            "longest_gap_s": seen["longest_gap_s"],
            "open": seen["open"],
            "still_away": clients - seen["open"],
            "closes": seen["closes"],
            "moved": len(moments),
            "moved_in_second": [per_second[second] for second in range(max(per_second, default=-1) + 1)],
            "busiest_second": max(per_second.values(), default=0),
            "last_moved_s": max(moments, default=None),
            "took_s": took_s,
            "load_share": share,
            "notes": [],
        }

    def targets(self, results: Results) -> list[Target]:
        row = "fleetcast"
        moved, busiest = results.median(row, "moved"), results.worst(row, "busiest_second")
        peak = busiest / (moved / 10) if moved and busiest is not None else None
        return [
            at_most("no client without data for > 5 s", results.worst(row, "longest_gap_s"), 5, " s"),
            at_most("all connected in the end", results.worst(row, "still_away"), 0, " away", 0),
            at_most("no ack lost", results.worst(row, "acks_lost"), 0, digits=0),
            at_most("one final ack for each action", results.worst(row, "acks_twice"), 0, " twice", 0),
            at_most("each action done once", results.worst(row, "done_not_once"), 0, digits=0),
            at_most("no second with > 3 x its share of the reconnects", peak, 3, " x"),
        ]
