"""Signing in on the page, against a real edge that wants it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import async_playwright, expect

from common.bus import Bus
from common.tokens import make_token
from services.embedded import EmbeddedServer
from tests.browser.conftest import CHROMIUM, FLAGS
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
async def page() -> AsyncIterator[Any]:
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield await browser.new_page()
        await browser.close()


async def sign_in(page: Any, token: str) -> None:
    await page.get_by_label("Sign in").fill(token)
    await page.get_by_role("button", name="Sign in").click()


async def test_the_page_asks_for_a_token_and_says_what_is_wrong_with_one(edge: RunningEdge, page: Any) -> None:
    await page.goto(edge.http)
    await expect(page.get_by_label("Sign in")).to_be_focused()
    await expect(page.get_by_text("web-1")).to_have_count(0)
    await sign_in(page, make_token(SECRET.encode(), "ops", "operator", -1))
    await expect(page.get_by_text("has expired")).to_be_visible()
    await sign_in(page, make_token(SECRET.encode(), "ops", "operator", 60))
    await expect(page.get_by_role("heading", name="web-1")).to_be_visible()
    await expect(page.get_by_label("Sign in")).to_be_hidden()
    assert "token" not in page.url
    await page.reload()
    await expect(page.get_by_role("heading", name="web-1")).to_be_visible()


async def test_a_viewer_sees_and_has_no_button_that_works(edge: RunningEdge, page: Any) -> None:
    await page.goto(edge.http)
    await sign_in(page, make_token(SECRET.encode(), "eve", "viewer", 60))
    button = page.get_by_role("button", name="Restart web on web-1")
    await expect(button).to_have_attribute("aria-disabled", "true")
    await expect(button).to_have_attribute("title", "You are signed in as a viewer, who sees and does not act.")


async def test_a_sign_in_that_ends_takes_what_it_showed_off_the_screen(edge: RunningEdge, page: Any) -> None:
    await page.goto(edge.http)
    await sign_in(page, make_token(SECRET.encode(), "ops", "operator", 4))
    await expect(page.get_by_role("heading", name="web-1")).to_be_visible()
    await expect(page.get_by_text("the sign-in has expired")).to_be_visible(timeout=15_000)
    await expect(page.get_by_role("heading", name="web-1")).to_have_count(0)
