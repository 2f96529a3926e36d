"""What a page costs: bytes, time to its first values, CPU, memory and long tasks. One function a figure."""

import asyncio
import gzip
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.dashboard_parts.stage import until
from benchmarks.fanout_parts.machine import ROOT

BUILT = ROOT / "services" / "edge" / "static" / "dashboard"

THROTTLING = 4
"""How many times slower than this machine the page's CPU is for `first_paint`."""

_LONG_TASK_MS = 100

# What somebody comes for: a host with its values. Seen by the page itself, so that what the benchmark's own messages
# cost is not in it.
_WATCH_FOR_VALUES = r"""
new MutationObserver((_, observer) => {
  const host = document.querySelector("[data-host]")?.closest("li");
  if (host && /\d\s%/.test(host.textContent)) {
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.fleetShownAt = performance.now(); }));
  }
}).observe(document, { childList: true, characterData: true, subtree: true });
"""

_WATCH_LONG_TASKS = """
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.longTasks.push(Math.round(entry.duration));
}).observe({ type: "longtask", buffered: false });
"""


@dataclass(frozen=True)
class Bundle:
    """Bytes, gzipped."""

    page: int
    """Scripts that the page loads to show the fleet."""
    all: int
    """With those of all other views, which it fetches afterwards."""
    styles: int


def bundle(built: Path = BUILT) -> Bundle:
    index = (built / "index.html").read_text("utf-8")

    def size(*files: Path) -> int:
        return sum(len(gzip.compress(file.read_bytes(), 9)) for file in files)

    scripts = sorted(built.rglob("*.js"))
    return Bundle(
        size(*(file for file in scripts if file.name in index)), size(*scripts), size(*sorted(built.rglob("*.css")))
    )


@dataclass(frozen=True)
class FirstPaint:
    """Milliseconds since navigation began, of each load."""

    painted: list[float]
    """Anything at all (first contentful paint)."""
    fleet_shown: list[float]
    """The hosts with their values: the first meaningful paint."""

    @property
    def median_ms(self) -> float:
        return statistics.median(self.fleet_shown)


async def first_paint(browser: Any, url: str, loads: int) -> FirstPaint:
    """Each load in a context of its own: nothing cached."""
    found = FirstPaint([], [])
    for _ in range(loads):
        context = await browser.new_context()
        page = await context.new_page()
        await page.add_init_script(_WATCH_FOR_VALUES)
        session = await context.new_cdp_session(page)
        await session.send("Emulation.setCPUThrottlingRate", {"rate": THROTTLING})
        await page.goto(url)
        await until(lambda page=page: page.evaluate("window.fleetShownAt !== undefined"), "a host with values", 30)
        found.fleet_shown.append(await page.evaluate("window.fleetShownAt"))
        found.painted.append(
            await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
        )
        await context.close()
    return found


@dataclass(frozen=True)
class Steady:
    """A page that is left open."""

    cpu_percent: float
    """Of one core: the page's whole process, its threads for painting among them."""
    script_percent: float
    """Of it, what JavaScript took."""
    heap_bytes: list[int]
    """After a collection: at the first minute, and each minute from then on."""
    long_tasks_ms: list[int]
    """Longer than 100 ms."""

    @property
    def heap_drift(self) -> float:
        """The furthest from the first minute's, as a share of that."""
        first = self.heap_bytes[0]
        return max(abs(later - first) / first for later in self.heap_bytes)


async def steady(browser: Any, url: str, path: str, minutes: int, say: Callable[[str], None]) -> Steady:
    """From the first minute on, which is not counted."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = await context.new_page()
        await page.add_init_script(_WATCH_LONG_TASKS)
        await page.goto(url + path)
        session = await context.new_cdp_session(page)
        await session.send("Performance.enable")
        await session.send("HeapProfiler.enable")
        whole = await browser.new_browser_cdp_session()
        await asyncio.sleep(60)
        heap = [await _heap(session)]
        await page.evaluate("window.longTasks.length = 0")
        began_s, cpu_s, script_s = time.monotonic(), await _renderers_s(whole), await _script_s(session)
        spent_here_s = script_here_s = 0.0
        for minute in range(1, minutes):
            await asyncio.sleep(60)
            before_s, before_script_s = await _renderers_s(whole), await _script_s(session)
            heap.append(await _heap(session))
            # The collection is the benchmark's, not the page's.
            spent_here_s += await _renderers_s(whole) - before_s
            script_here_s += await _script_s(session) - before_script_s
            say(f"{path}: minute {minute} of {minutes - 1}, heap {heap[-1] / 1e6:.1f} MB")
        took_s = time.monotonic() - began_s
        tasks = await page.evaluate("window.longTasks")
        return Steady(
            cpu_percent=(await _renderers_s(whole) - cpu_s - spent_here_s) / took_s * 100,
            script_percent=(await _script_s(session) - script_s - script_here_s) / took_s * 100,
            heap_bytes=heap,
            long_tasks_ms=[task for task in tasks if task > _LONG_TASK_MS],
        )
    finally:
        await context.close()


async def _renderers_s(session: Any) -> float:
    """CPU time of the browser's page processes; but one of them is nearly idle."""
    found = await session.send("SystemInfo.getProcessInfo")
    return sum(process["cpuTime"] for process in found["processInfo"] if process["type"] == "renderer")


async def _script_s(session: Any) -> float:
    metrics = await session.send("Performance.getMetrics")
    return next(one["value"] for one in metrics["metrics"] if one["name"] == "ScriptDuration")


async def _heap(session: Any) -> int:
    await session.send("HeapProfiler.collectGarbage")
    usage = await session.send("Runtime.getHeapUsage")
    return int(usage["usedSize"])
