"""Runs the hub's flushes at its pace, a slice at a time, and tells Prometheus what they cost."""

import asyncio
import time

from prometheus_client import Counter, Gauge, Histogram

from services.edge.hub import Hub
from services.edge.pace import Pace

SLICE_S = 0.002
"""Others get the loop after this long: acks and heartbeats are never stuck behind a flush over many clients."""

flush_seconds = Histogram(
    "fleetcast_flush_seconds",
    "CPU time that one flush took",
    buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
)
window_seconds = Gauge(
    "fleetcast_window_seconds",
    "How long messages wait for each other now; 0 where they don't",
    multiprocess_mode="livemax",
)
messages_sent = Counter("fleetcast_messages_sent_total", "State messages written to clients")
bytes_sent = Counter("fleetcast_bytes_sent_total", "Bytes of state written to clients, frames included")
passed_over = Counter(
    "fleetcast_clients_passed_over_total", "Times that a client missed a flush, because the one before waits still"
)


class Flusher:
    """`wake` it when the hub has work."""

    def __init__(self, hub: Hub, pace: Pace) -> None:
        self._hub = hub
        self._pace = pace
        self._work = asyncio.Event()

    def wake(self) -> None:
        self._work.set()

    async def run(self) -> None:
        """Flushes for ever."""
        while True:
            await self._work.wait()
            wait_s = self._pace.wait_s(time.monotonic())
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._work.clear()
            await self._flush()

    async def _flush(self) -> None:
        changed = self._hub.changed
        messages, sent, over = self._hub.messages_sent, self._hub.bytes_sent, self._hub.passed_over
        began = slice_began = time.monotonic()
        # The thread's own CPU time: what else runs on this core makes flushing no dearer.
        cpu_began = time.thread_time()
        cost_s = 0.0
        for _ in self._hub.flush():
            if time.monotonic() - slice_began > SLICE_S:
                cost_s += time.thread_time() - cpu_began
                await asyncio.sleep(0)
                slice_began, cpu_began = time.monotonic(), time.thread_time()
        cost_s += time.thread_time() - cpu_began
        self._pace.flushed(began, cost_s, changed)
        flush_seconds.observe(cost_s)
        window_seconds.set(self._pace.window_s)
        messages_sent.inc(self._hub.messages_sent - messages)
        bytes_sent.inc(self._hub.bytes_sent - sent)
        passed_over.inc(self._hub.passed_over - over)
