"""The dashboard on a real `fleetcast up` with real containers: what one does on call, and what breaks meanwhile."""

import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect

from benchmarks.dashboard_parts.chromium import CHROMIUM, FLAGS
from common.tokens import make_token
from tests.browser.pages import visit
from tests.conftest import Containers, docker
from tests.support import eventually
from tests.ups import RunningUp, running_up

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

SECRET = "a secret of at least thirty-two bytes"
AXE = Path(__file__).parents[2] / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
PAGES = ("/", "/hosts/here", "/containers", "/timeline")
SOON_MS = 20_000


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningUp]:
    async with running_up(tmp_path_factory.mktemp("live") / "up") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def chromium() -> AsyncIterator[Any]:
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Any, up: RunningUp) -> AsyncIterator[Any]:
    """What goes wrong in the page fails the test."""
    async for found in _page(chromium, up):
        yield found


async def _page(chromium: Any, up: RunningUp, **options: Any) -> AsyncIterator[Any]:
    context = await chromium.new_context(base_url=f"http://127.0.0.1:{up.ports[0]}", **options)
    page: Any = await context.new_page()
    page.set_default_timeout(SOON_MS)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: page.faults.append(said.text) if "Content Security" in said.text else None)
    yield page
    await context.close()
    assert page.faults == []


def value(page: Any, term: str) -> Any:
    """A quantity of the one host there is, on the fleet's page."""
    tile = page.get_by_role("list", name="Hosts").get_by_role("listitem")
    return tile.get_by_text(term, exact=True).locator("xpath=following-sibling::*[1]")


def row(page: Any, name: str) -> Any:
    return page.get_by_role("row", name=re.compile(rf"^Select {name} on here"))


async def find(page: Any, name: str) -> Any:
    """The row of a container, among however many this machine has."""
    await visit(page, f"/containers?q={name}")
    found = row(page, name)
    await expect(found).to_be_visible(timeout=SOON_MS)
    return found


async def is_live(page: Any) -> None:
    await expect(page.get_by_role("button", name="Connection: Live")).to_be_visible(timeout=SOON_MS)


async def moves(locator: Any) -> None:
    """Until a text has changed twice."""
    seen: list[str] = []

    async def has_moved() -> bool:
        text = await locator.inner_text()
        if not seen or seen[-1] != text:
            seen.append(text)
        return len(seen) >= 3

    await eventually(has_moved, what="two changes of a value")


async def test_a_hosts_cpu_moves(page: Any, containers: Containers) -> None:
    await containers.run("sh", "-c", "while :; do i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 1; done")
    await visit(page, "/")
    await is_live(page)
    await expect(value(page, "CPU")).to_have_text(re.compile(r"\d\s*%"), timeout=SOON_MS)
    await moves(value(page, "CPU"))


async def test_a_container_that_somebody_starts_appears_and_goes(page: Any, containers: Containers) -> None:
    await visit(page, "/containers")
    await is_live(page)
    name = await containers.run()
    await page.get_by_role("searchbox").fill(name)
    await expect(row(page, name)).to_be_visible(timeout=SOON_MS)
    await docker("rm", "-f", name)
    await expect(row(page, name)).to_have_count(0, timeout=SOON_MS)


async def test_a_restart_shows_its_stages_and_the_new_uptime(page: Any, containers: Containers) -> None:
    # It takes a second to stop, so that each stage can be seen.
    name = await containers.run("sh", "-c", "trap 'sleep 1; exit' TERM; while :; do sleep 0.1; done")
    found = await find(page, name)
    await eventually(lambda: _uptime_s(found, 3, 60), what="an uptime of three seconds")
    await record(page)
    await found.get_by_role("button", name=f"Restart {name}").click()
    dialog = page.get_by_role("alertdialog").or_(page.get_by_role("dialog"))
    await expect(dialog).to_contain_text(name)
    await expect(dialog).to_contain_text("here")
    await dialog.get_by_role("button", name=re.compile("^Restart")).click()
    await expect(found).to_contain_text(re.compile(r"restarted in \d"), timeout=SOON_MS)
    stages = [text for text in await page.evaluate("window.stages") if text]
    assert any("restarting" in text for text in stages), stages
    first_done = next(at for at, text in enumerate(stages) if "restarted" in text)
    assert any("restarting" in text for text in stages[:first_done]), stages
    await eventually(lambda: _uptime_s(found, 0, 3), what="the new uptime")
    await visit(page, "/timeline")
    told = page.get_by_role("main")
    await expect(told).to_contain_text(name, timeout=SOON_MS)
    await expect(told).to_contain_text(re.compile("local"), timeout=SOON_MS)


async def record(page: Any) -> None:
    """From now on, what stands in rows is kept in `window.stages`, however shortly."""
    await page.evaluate(
        """() => {
            window.stages = [];
            const note = () => {
                for (const cell of document.querySelectorAll("[role=row] [data-tone]")) {
                    const text = cell.textContent;
                    if (text !== window.stages.at(-1)) window.stages.push(text);
                }
            };
            new MutationObserver(note).observe(document.body, { childList: true, characterData: true, subtree: true });
        }"""
    )


async def _uptime_s(found: Any, least: int, most: int) -> bool:
    text = await found.locator("time").inner_text()
    read = re.fullmatch(r"(?:(\d+) min )?(\d+) s", text.replace("\u202f", " ").replace("\u00a0", " "))
    return read is not None and least <= int(read[1] or 0) * 60 + int(read[2]) <= most


async def test_it_says_that_its_edge_died_and_shows_what_is_so_again_after(page: Any, up: RunningUp) -> None:
    await visit(page, "/")
    await is_live(page)
    edge = up.find("services.cli", "edge")
    assert edge is not None
    edge.kill()
    # Whether it is waiting or trying just then.
    await expect(page.get_by_role("button", name=re.compile("^Connection: (?!Live)"))).to_be_visible(timeout=SOON_MS)
    await is_live(page)
    await moves(page.get_by_role("list", name="Hosts").get_by_role("listitem"))


async def test_a_collector_that_stands_still_is_named_and_its_values_are_marked(page: Any, up: RunningUp) -> None:
    await visit(page, "/")
    await is_live(page)
    tile = page.get_by_role("list", name="Hosts").get_by_role("listitem")
    await expect(tile.locator("[data-stale=true]")).to_have_count(0)
    collector = up.find("collector", "metrics")
    assert collector is not None
    collector.send_signal(signal.SIGSTOP)
    try:
        await expect(tile).to_contain_text(re.compile("metrics collector (stalled|gone)"), timeout=30_000)
        await expect(page.locator("[data-stale=true]").first).to_be_visible(timeout=SOON_MS)
    finally:
        collector.send_signal(signal.SIGCONT)
    await expect(tile.locator("[data-stale=true]")).to_have_count(0, timeout=30_000)


async def test_everything_can_be_done_by_keyboard(page: Any, containers: Containers) -> None:
    name = await containers.run(options=("--stop-timeout", "1"))
    await find(page, name)
    before = await docker("inspect", "-f", "{{.State.StartedAt}}", name)
    await _press_until(page, "Tab", "document.activeElement?.matches('[role=row]')")
    await _press_until(
        page, "ArrowDown", f"document.activeElement?.closest('[role=row]')?.textContent.includes('{name}')"
    )
    await page.keyboard.press("r")
    dialog = page.get_by_role("alertdialog").or_(page.get_by_role("dialog"))
    await expect(dialog).to_be_visible()
    confirm = dialog.get_by_role("button", name=re.compile("^Restart"))
    await _press_until(page, "Tab", "document.activeElement?.textContent.startsWith('Restart')")
    await expect(confirm).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(row(page, name)).to_contain_text("restarted", timeout=SOON_MS)
    assert await docker("inspect", "-f", "{{.State.StartedAt}}", name) != before


async def _press_until(page: Any, key: str, condition: str) -> None:
    for _ in range(40):
        if await page.evaluate(condition):
            return
        await page.keyboard.press(key)
    raise AssertionError(f"{key} does not lead there: {condition}")


async def test_it_works_on_a_telephone(chromium: Any, up: RunningUp, containers: Containers) -> None:
    name = await containers.run(options=("--stop-timeout", "1"))
    async for page in _page(chromium, up, viewport={"width": 375, "height": 812}, has_touch=True, is_mobile=True):
        for path in PAGES:
            await visit(page, path)
            await is_live(page)
            assert await page.evaluate("document.documentElement.scrollWidth") == 375, path
        await visit(page, f"/containers?q={name}")
        await page.get_by_role("button", name=f"Actions on {name}").tap()
        await page.get_by_role("menuitem", name=re.compile("^Restart")).tap()
        dialog = page.get_by_role("alertdialog").or_(page.get_by_role("dialog"))
        await dialog.get_by_role("button", name=re.compile("^Restart")).tap()
        await expect(page.get_by_role("main")).to_contain_text("restarted", timeout=SOON_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious(chromium: Any, up: RunningUp, scheme: str) -> None:
    # What the page may run, its policy says; this script is the test's.
    async for page in _page(chromium, up, color_scheme=scheme, bypass_csp=True):
        for path in PAGES:
            await visit(page, path)
            await is_live(page)
            await page.add_script_tag(path=AXE)
            found = await page.evaluate("axe.run()")
            serious = [
                (problem["id"], problem["nodes"][0]["html"])
                for problem in found["violations"]
                if problem["impact"] in {"serious", "critical"}
            ]
            assert serious == [], path


async def test_a_viewer_has_no_button_that_works(
    chromium: Any, containers: Containers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = await containers.run()
    state = tmp_path_factory.mktemp("viewer") / "up"
    async with running_up(state, environment={"FLEETCAST_JWT_SECRET": SECRET}) as up:
        async for page in _page(chromium, up):
            await visit(page, f"/containers?q={name}")
            await page.get_by_role("textbox").fill(make_token(SECRET.encode(), "eve", "viewer", 600))
            await page.get_by_role("button", name="Sign in").click()
            found = row(page, name)
            await expect(found).to_be_visible(timeout=SOON_MS)
            for verb in ("Stop", "Restart"):
                button = found.get_by_role("button", name=f"{verb} {name}")
                await expect(button).to_have_attribute("aria-disabled", "true")
                await expect(button).to_have_attribute("aria-description", re.compile("viewer"))
                await button.click(force=True)
            await expect(page.get_by_role("dialog")).to_have_count(0)
            await found.get_by_role("button", name=f"More actions on {name}").click()
            for item in await page.get_by_role("menuitem").all():
                await expect(item).to_have_attribute("aria-disabled", "true")
    assert await docker("inspect", "-f", "{{.State.Running}}", name) == "true"
