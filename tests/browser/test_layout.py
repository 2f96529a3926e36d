"""The page for everybody: on a telephone, for whoever hears it, in light and dark; and it stands still."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.browser.pages import Page, button, dialog, has, opened, row, tile, visit
from tests.services.fake_edge import (
    FakeEdge,
    ack,
    container,
    containers,
    event,
    host_status,
    hosts,
    link,
    metrics,
    process,
    processes,
    usage,
)
from tests.support import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE = Path(__file__).parents[2] / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = {"": "Fleet", "hosts/web-1": "web-1", "containers": "Containers", "timeline": "Timeline"}
TELEPHONE = {"viewport": {"width": 375, "height": 800}, "has_touch": True, "is_mobile": True}


async def at(page: Page, edge: FakeEdge, view: str, heading: str) -> None:
    await visit(page, f"{edge.page}{view}")
    await expect(page.get_by_role("heading", level=1, name=heading)).to_be_visible()


# On a telephone


async def test_no_view_is_wider_than_a_telephone_whatever_the_names(browser: Browser, edge: FakeEdge) -> None:
    host, name = "h" * 64, "c" * 200
    crowded(edge, host, name)
    async with opened(browser, edge.page, **TELEPHONE) as page:
        for view, heading in {**VIEWS, f"hosts/{host}": host, f"hosts/{host}?container={name}": host}.items():
            if view == "hosts/web-1":
                continue
            await at(page, edge, view, heading)
            await expect(page.get_by_role("main")).to_contain_text("h" * 64 if view != "timeline" else name)
            assert await page.evaluate("document.documentElement.scrollWidth") == 375, view
        panel = page.get_by_role("complementary", name="Container")
        assert await panel.evaluate("(panel) => panel.scrollWidth - panel.clientWidth") == 0


async def test_the_views_lead_to_each_other_on_a_telephone(browser: Browser, edge: FakeEdge) -> None:
    async with opened(browser, edge.page, **TELEPHONE) as page:
        await tile(page).get_by_role("link", name="web-1").tap()
        await expect(page.get_by_role("heading", level=1, name="web-1")).to_be_visible()
        for view in ("Timeline", "Containers", "Fleet"):
            await page.get_by_role("navigation", name="Views").get_by_role("link", name=view).tap()
            await expect(page.get_by_role("heading", level=1, name=view)).to_be_visible()


async def test_a_container_is_restarted_on_a_telephone(browser: Browser, edge: FakeEdge) -> None:
    host, name = "h" * 64, "c" * 200
    crowded(edge, host, name)
    async with opened(browser, f"{edge.page}containers", **TELEPHONE) as page:
        await button(row(page, name), f"Actions on {name}").tap()
        await page.get_by_role("menuitem", name=re.compile("^Restart")).tap()
        await expect(dialog(page)).to_contain_text(f"Restart {name} on {host}?")
        assert await page.evaluate("document.documentElement.scrollWidth") == 375
        await button(dialog(page), f"Restart {name}").tap()
        await edge.send(ack(await edge.action(), "failed", error="e" * 300))
        await expect(row(page, name)).to_contain_text("failed")
        assert await page.evaluate("document.documentElement.scrollWidth") == 375


def crowded(edge: FakeEdge, host: str, name: str) -> None:
    """A host and a container whose names, and all else of them, are as long as can be."""
    ports = [{"ip": None, "hostPort": port, "containerPort": port, "protocol": "tcp"} for port in range(9000, 9030)]
    long = container(name, image="registry.example.com/" + "i" * 200, status="s" * 200, health="unhealthy", ports=ports)
    long |= {"project": "p" * 100, "service": "s" * 100, "labels": {"l" * 100: "v" * 200}, "restartCount": 1234}
    parts = {
        "disks": [{"mount": "/" + "m" * 100, "totalBytes": 2, "usedBytes": 1, "percent": 50.0}],
        "network": [{"interface": "e" * 60, "rxBytesPerSec": 1e12, "txBytesPerSec": 1e12}],
        "temperatures": [{"sensor": "t" * 100, "celsius": 40.0}],
    }
    status = host_status(host, metrics=link("stalled", "r" * 100)) | {"labels": {"env": "l" * 200}}
    caused = {"requestId": "r", "actor": "a" * 100, "action": "stop"}
    has(
        edge,
        *(hosts(status), metrics(host, **parts), containers(long, host=host), usage((name, 1.0, 1), host=host)),
        processes([process(7, "p" * 15, 1.0, 1, long["id"])], [], host=host),
        events=(event(name, host=host, exitCode=1), event(name, host=host, cause=caused)),
    )


# For everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_on_any_view_or_in_a_dialog(
    browser: Browser, edge: FakeEdge, scheme: str
) -> None:
    troubled(edge)
    async with opened(browser, edge.page, bypass_csp=True, color_scheme=scheme) as page:
        for view, heading in (VIEWS | {"hosts/web-1?container=nginx": "web-1"}).items():
            await at(page, edge, view, heading)
            await expect(page.get_by_role("main")).to_contain_text("nginx" if view else "web-2")
            assert await violations(page) == [], view
        await page.keyboard.press("Escape")
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
        assert await violations(page) == [], "help"
        await at(page, edge, "containers", "Containers")
        await row(page).get_by_role("checkbox").check()
        await button(row(page), "Restart nginx").click()
        await expect(dialog(page)).to_be_visible()
        assert await violations(page) == [], "question"
        await button(dialog(page), "Restart nginx").click()
        await edge.send(ack(await edge.action(), "failed", error="no"))
        await expect(row(page)).to_contain_text("failed")
        await button(row(page), "More actions on nginx").click()
        await expect(page.get_by_role("menu")).to_be_visible()
        assert await violations(page) == [], "menu and outcome"
        await page.keyboard.press("Escape")
        await edge.stop()
        await expect(page.get_by_role("banner")).to_contain_text("Connection lost")
        assert await violations(page) == [], "no connection"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_where_one_signs_in(browser: Browser, edge: FakeEdge, scheme: str) -> None:
    edge.refuses_with = 401
    async with opened(browser, edge.page, bypass_csp=True, color_scheme=scheme) as page:
        await expect(page.get_by_label("Token")).to_be_focused()
        assert await violations(page) == []
        await page.get_by_label("Token").fill("nonsense")
        await button(page, "Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("This is no token")
        assert await violations(page) == [], "refused"


def troubled(edge: FakeEdge) -> None:
    """Some of everything that has a colour."""
    listed = (
        container(health="unhealthy", project="shop", restartCount=2),
        container("db", "exited", exitCode=3, project="shop"),
        container("cache", "paused"),
        container("locked", protected=True),
    )
    has(
        edge,
        hosts(host_status(), host_status("web-2", metrics=link("gone", "silent"), containers=link("stalled"))),
        *(metrics(cpu=97.0), metrics("web-2"), containers(*listed), containers(container("old"), host="web-2")),
        usage(("nginx", 190.0, 7 << 30), ("cache", 0.0, 1)),
        processes([process(7, "nginx", 61.5, 300 << 20, listed[0]["id"])], []),
        events=(event(exitCode=137, oomKilled=True), event("db", None, "running"), event("cache", "running", "paused")),
    )


async def violations(page: Page) -> list[str]:
    """The serious and critical ones, each with the elements that it is about."""
    if not await page.evaluate("'axe' in window"):
        await page.add_script_tag(path=AXE)
    found = await page.evaluate(
        """async () => {
            await Promise.all(document.getAnimations().map((one) => one.finished.catch(() => null)));
            return (await axe.run(document, { resultTypes: ["violations"] })).violations;
        }"""
    )
    return [
        f"{one['id']}: {[(node['html'][:200], node['failureSummary'][:300]) for node in one['nodes'][:4]]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]


# It stands still


@pytest.mark.parametrize(("view", "heading"), VIEWS.items())
async def test_nothing_moves_while_values_change(page: Page, edge: FakeEdge, view: str, heading: str) -> None:
    await at(page, edge, view, heading)
    await expect(page.get_by_role("main")).to_contain_text("web-1" if view != "timeline" else "Nothing has happened")
    if view == "hosts/web-1":
        await expect(page.get_by_role("figure", name="CPU")).to_contain_text("12.0")
    counted = itertools.count()
    sent = 0

    def values() -> dict[str, Any]:
        nonlocal sent
        sent = next(counted)
        seq = 2 + sent // 2
        if sent % 2:
            return usage(("nginx", float(seq * 37 % 200), seq * 123_456_789 % (4 << 30)), seq=seq)
        net = [{"interface": "eth0", "rxBytesPerSec": 7.0 ** (seq % 12), "txBytesPerSec": 5.0 ** (seq % 13)}]
        return metrics(seq=seq, cpu=float(seq * 37 % 101), network=net, processes=10 ** (seq % 5))

    edge.beat = values
    edge.heartbeat_ms = 60
    await eventually(lambda: sent > 20)  # what comes for the first time may take its room
    await page.evaluate(
        """() => {
            window.shifts = [];
            new PerformanceObserver((list) => {
                const where = ({ node }) => node?.parentElement?.outerHTML.slice(0, 200);
                for (const { value, sources } of list.getEntries()) window.shifts.push([value, ...sources.map(where)]);
            }).observe({ type: "layout-shift" });
        }"""
    )
    await eventually(lambda: sent > 60)
    shifts = await page.evaluate("window.shifts")
    assert sum(value for value, *_ in shifts) < 0.001, shifts
