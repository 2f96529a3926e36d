"""The dashboard in Chromium, open at an edge that a test plays, and where its things are: by role and name, as whoever
uses it finds them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Error, Locator, Request, async_playwright, expect

from benchmarks.dashboard_parts.chromium import CHROMIUM, FLAGS
from tests.services.fake_edge import FakeEdge, containers, hosts, metrics, now_ms

Page = Any
"""Playwright's, and what `opened` adds to it."""

PATIENCE_MS = 30_000

expect.set_options(timeout=PATIENCE_MS)

_NETWORK = ("Failed to load resource", "WebSocket connection to")
"""How the console begins what the browser itself says of an edge that is away."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(browser: Browser, url: str, **options: Any) -> AsyncIterator[Page]:
    """The page, which must come to its end without a fault: an error that nobody caught, one in the console, or
    something that its Content-Security-Policy forbids."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
    page: Page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(f"uncaught: {error}"))
    page.on("console", lambda said: page.faults.append(said.text) if _is_fault(said) else None)
    await visit(page, url)
    yield page
    await context.close()
    assert page.faults == []


async def visit(page: Page, url: str) -> None:
    """Goes there, once more where it was cut off: Chromium gives up what is under way when a network interface comes or
    goes, and tests start containers."""
    cut_off: list[str] = []

    def note(request: Request) -> None:
        if _is_cut(request.failure):
            cut_off.append(request.url)

    page.on("requestfailed", note)
    try:
        for _ in range(5):
            cut_off.clear()
            try:
                await page.goto(url)
            except Error as error:
                if not _is_cut(str(error)):
                    raise
            else:
                if not cut_off:
                    return
            page.faults.clear()
    finally:
        page.remove_listener("requestfailed", note)
    raise AssertionError(f"cut off again and again: {cut_off}")


def _is_cut(failure: str | None) -> bool:
    return "net::ERR_NETWORK_CHANGED" in (failure or "")


def _is_fault(said: Any) -> bool:
    if "Content Security Policy" in said.text:
        return True
    return said.type == "error" and not said.text.startswith(_NETWORK)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def edge() -> AsyncIterator[FakeEdge]:
    """Of one host, "web-1", with one container, "nginx"."""
    async with FakeEdge(heartbeat_ms=2_000) as edge:
        has(edge, hosts(), metrics(), containers())
        yield edge


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, edge: FakeEdge) -> AsyncIterator[Page]:
    """The fleet's page, with the values of `edge` on it."""
    async with opened(browser, edge.page) as page:
        await expect(tile(page)).to_contain_text("12 %")
        yield page


# The edge


def has(edge: FakeEdge, *states: dict[str, Any], events: tuple[dict[str, Any], ...] = ()) -> None:
    """These are its last states, and the events that it has kept: for whoever subscribes, and over HTTP."""
    edge.replay = list(states)
    status = {"edgeId": "edge-1", "version": "0", "protocol": 1, "ready": True, "reason": None}
    edge.answers = {
        "/api/ws": status | {"serverTime": now_ms(), "clients": 1, "hosts": 1},
        "/api/audit": {"entries": [], "before": None},
        "/api/events/last": {"events": list(events)},
    }
    for state in states:
        if state["type"] == "hosts":
            edge.answers["/api/hosts"] = state
            for status in state["hosts"]:
                edge.answers |= _answers_of(status["host"], events)
    for state in states:
        if "host" in state:
            edge.answers[f"/api/hosts/{state['host']}/{state['type']}"] = state


def _answers_of(host: str, events: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    of_host = f"/api/hosts/{host}"
    blank = {"host": host, "epoch": 0, "seq": 0, "sampledAt": now_ms()}
    names = ("memoryBytes", "memoryLimitBytes", "pids", "rxBytesPerSec", "txBytesPerSec")
    unused = {name: [] for name in ("ids", "cpuPercent", *names, "readBytesPerSec", "writeBytesPerSec")}
    return {
        f"{of_host}/events": {"host": host, "events": [event for event in events if event["host"] == host]},
        f"{of_host}/history": {"host": host, "minutes": 15, "metrics": _no_history(), "usage": _no_usage()},
        f"{of_host}/containers": blank | {"type": "containers", "data": []},
        f"{of_host}/usage": blank | {"type": "usage", "data": unused | {"cores": 2}},
        f"{of_host}/processes": blank | {"type": "processes", "data": {"byCpu": [], "byMemory": []}},
    }


def _no_history() -> dict[str, Any]:
    columns = ("sampledAt", "cpuPercent", "perCorePercent", "load1", "memoryUsedBytes", "memoryTotalBytes")
    rates = ("swapUsedBytes", "readBytesPerSec", "writeBytesPerSec", "rxBytesPerSec", "txBytesPerSec")
    return {name: [] for name in (*columns, *rates)} | {"disks": {}, "temperatures": {}}


def _no_usage() -> dict[str, Any]:
    return {"sampledAt": [], "containers": {}, "omitted": 0}


# The page


def tile(page: Page, host: str = "web-1") -> Locator:
    """A host's place on the fleet's page."""
    link = page.get_by_role("link", name=host, exact=True)
    found: Locator = page.get_by_role("list", name="Hosts", exact=True).get_by_role("listitem").filter(has=link)
    return found


def row(page: Page, name: str = "nginx") -> Locator:
    """A container's place in a list of them."""
    link = page.get_by_role("link", name=name, exact=True)
    found: Locator = page.get_by_role("grid", name="Containers").get_by_role("row").filter(has=link)
    return found


def fact(within: Locator, term: str) -> Locator:
    """A quantity by its name, and its value."""
    found: Locator = within.get_by_text(term, exact=True).first.locator("xpath=..")
    return found


def stale(within: Locator) -> Locator:
    """What is greyed in there, or around it."""
    return within.locator("[data-stale=true]").or_(within.locator("xpath=self::*[@data-stale='true']"))


def button(within: Any, name: str) -> Locator:
    found: Locator = within.get_by_role("button", name=name, exact=True)
    return found


def dialog(page: Page) -> Locator:
    """The one that is open, a question or another."""
    found: Locator = page.get_by_role("alertdialog").or_(page.get_by_role("dialog"))
    return found


def connection(page: Page) -> Locator:
    """The connection at a glance, a button in the header."""
    found: Locator = page.get_by_role("button", name=re.compile("^Connection:"))
    return found


async def expect_off(what: Locator, reason: str) -> None:
    """It cannot be pressed, can be reached all the same, and says why."""
    await expect(what).to_have_attribute("aria-disabled", "true")
    await expect(what).to_have_attribute("aria-description", re.compile(re.escape(reason)))


async def go(page: Page, view: str) -> None:
    await page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
    await expect(page.get_by_role("heading", level=1, name=view)).to_be_visible()
