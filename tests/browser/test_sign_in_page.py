"""Signing in on the page, against a real edge that wants it."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from common.bus import Bus
from common.tokens import make_token
from services.embedded import EmbeddedServer
from tests.browser.pages import Page, button, chromium, connection, expect_off, go, opened, row, tile
from tests.edges import RunningEdge, fake_host, running_edge
from tests.samples import ID_A, container

SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture
async def edge(valkey: EmbeddedServer, bus: Bus) -> AsyncIterator[RunningEdge]:
    async with running_edge(valkey.url, jwt_secret=SECRET) as running, fake_host(bus) as host:
        await host.publish_metrics(12.0)
        await host.publish_containers(container("web", ID_A))
        yield running


@pytest.fixture
async def page(edge: RunningEdge) -> AsyncIterator[Page]:
    async with chromium() as browser, opened(browser, edge.http) as page:
        yield page


async def sign_in(page: Page, token: str) -> None:
    await page.get_by_label("Token").fill(token)
    await button(page, "Sign in").click()


async def test_the_page_asks_for_a_token_and_says_what_is_wrong_with_one(page: Page) -> None:
    problem = page.get_by_role("alert")
    await expect(page.get_by_label("Token")).to_be_focused()
    await expect(page.get_by_text("web-1")).to_have_count(0)
    await expect(page.get_by_role("navigation")).to_have_count(0)
    # Nobody has tried yet: nobody is to be accused.
    await expect(problem).to_be_empty()
    await sign_in(page, "nonsense")
    await expect(problem).to_contain_text("This is no token")
    await sign_in(page, make_token(SECRET.encode(), "ops", "operator", -1))
    await expect(problem).to_contain_text("This token ran out")
    await sign_in(page, make_token(b"another secret of thirty-two bytes", "ops", "operator", 60))
    await expect(problem).to_contain_text("This token was not taken")
    await sign_in(page, make_token(SECRET.encode(), "ops", "operator", 60))
    await expect(tile(page)).to_contain_text("12 %")
    await expect(page.get_by_label("Token")).to_have_count(0)
    assert "ey" not in page.url
    await page.reload()
    await expect(tile(page)).to_contain_text("12 %")


async def test_who_signs_out_leaves_nothing_in_the_tab(page: Page) -> None:
    await sign_in(page, make_token(SECRET.encode(), "ops", "operator", 60))
    await expect(tile(page)).to_be_visible()
    await connection(page).click()
    await expect(page.get_by_role("dialog", name="Connection")).to_contain_text("ops, operator")
    await button(page, "Sign out").click()
    await expect(page.get_by_label("Token")).to_be_focused()
    await expect(page.get_by_text("web-1")).to_have_count(0)
    assert await page.evaluate("sessionStorage.length + localStorage.length") == 0


async def test_a_viewer_sees_and_has_no_button_that_works(page: Page) -> None:
    await sign_in(page, make_token(SECRET.encode(), "eve", "viewer", 60))
    await expect(tile(page)).to_be_visible()
    await go(page, "Containers")
    for verb in ("Stop", "Restart"):
        await expect_off(button(row(page, "web"), f"{verb} web"), "your role, viewer, may look but not act")
    await button(row(page, "web"), "More actions on web").click()
    for item in await page.get_by_role("menuitem").all():
        await expect(item).to_have_attribute("aria-disabled", "true")
        await expect(item).to_contain_text("viewer, may look but not act")


async def test_a_sign_in_that_ends_takes_what_it_showed_off_the_screen(page: Page) -> None:
    await sign_in(page, make_token(SECRET.encode(), "ops", "operator", 4))
    await expect(tile(page)).to_be_visible()
    await expect(page.get_by_label("Token")).to_be_visible(timeout=15_000)
    await expect(page.get_by_role("alert")).to_contain_text(re.compile("expired|ran out"))
    await expect(page.get_by_text("web-1")).to_have_count(0)
