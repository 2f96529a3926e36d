"""What becomes of the page's connection, and what the page says of it."""

import re
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.browser.pages import Page, button, connection, fact, go, stale, tile, visit
from tests.services.fake_edge import FakeEdge, host_status, hosts, link, metrics
from tests.support import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTAINERS = "Containers \N{EN DASH} Fleetcast"


def banner(page: Page) -> Locator:
    found: Locator = page.get_by_role("banner")
    return found


async def test_the_connection_is_shown_with_its_latency_and_all_of_it_behind_a_press(page: Page) -> None:
    await expect(connection(page)).to_have_text(re.compile(r"Live\s*\d+\sms$"))
    await connection(page).click()
    details = page.get_by_role("dialog", name="Connection")
    for words in ("WebSocket", "edge-1", "local, admin"):
        await expect(details).to_contain_text(words)
    await page.keyboard.press("Escape")
    await expect(details).to_have_count(0)
    await expect(connection(page)).to_be_focused()


@pytest.mark.parametrize(
    ("code", "words"),
    [(1008, "broke the protocol"), (1009, "too large"), (4403, "does not allow this")],
)
async def test_close_codes_that_stay_stop_it_until_somebody_tries_again(
    page: Page, edge: FakeEdge, code: int, words: str
) -> None:
    await edge.has_client()
    await edge.close(code)
    await expect(connection(page)).to_contain_text("Refused")
    await expect(banner(page)).to_contain_text(words)
    await expect(stale(fact(tile(page), "CPU"))).to_have_count(1)
    # What was seen grows older in plain sight, and nobody knocks meanwhile.
    await expect(tile(page)).to_contain_text(re.compile(r"lost its connection\s*[2-9]\ss ago"))
    assert edge.connections == 1
    await button(banner(page), "Try again").click()
    await expect(connection(page)).to_contain_text("Live")
    await expect(stale(tile(page))).to_have_count(0)


@pytest.mark.parametrize("code", [1012, 1013, 4408, 4409, 4999])
async def test_other_close_codes_reconnect(page: Page, edge: FakeEdge, code: int) -> None:
    await edge.has_client()
    await edge.close(code)
    await connected(page, edge, 2)


async def test_an_edge_that_restarts_is_asked_again_after_what_it_announced(page: Page, edge: FakeEdge) -> None:
    await edge.has_client()
    await edge.close(1012, '{"retryAfterMs": 40000}')
    # The backoff would say half a second at most; and what is for programs is not shown.
    await expect(connection(page)).to_contain_text(re.compile(r"Retry in (40|39|38) s"))
    await expect(banner(page)).to_contain_text("The edge is restarting")
    await expect(banner(page)).not_to_contain_text("retryAfterMs")
    await expect(connection(page)).to_contain_text("Retry in 37 s")
    assert edge.connections == 1
    await banner(page).get_by_role("button", name=re.compile(r"^Try now \(3\d s\)$")).click()
    await eventually(lambda: edge.connections == 2, what="another connection")
    await expect(connection(page)).to_contain_text("Live")


async def test_the_backoff_does_not_grow_by_what_an_edge_announces(page: Page, edge: FakeEdge) -> None:
    for number in range(1, 7):
        await connected(page, edge, number)
        await edge.close(1012, '{"retryAfterMs": 0}')
    await connected(page, edge, 7)
    said = await record_connection(page)
    edge.drop()
    await connected(page, edge, 8)
    # Grown six times, it would be up to half a minute.
    assert not [text for text in await said() if re.search(r"in ([2-9]|\d\d) s", text)]


async def test_what_is_no_announcement_leaves_it_to_the_backoff(page: Page, edge: FakeEdge) -> None:
    said = await record_connection(page)
    for number, reason in enumerate(("soon", '{"retryAfterMs": 60001}', '{"retryAfterMs": "40000"}'), 2):
        await edge.has_client(number - 1)
        await edge.close(1012, reason)
        await connected(page, edge, number)
    told = [text for text in await said() if not text.startswith("Live")]
    assert told
    assert all(re.fullmatch(r"Retry in [012] s|Reconnecting", text) for text in told), told


async def test_an_edge_that_lets_nobody_in_now_is_tried_again(page: Page, edge: FakeEdge) -> None:
    await edge.has_client()
    edge.refuses_with, edge.refusal_headers = 503, (("Retry-After", "1"),)
    edge.drop()
    # A page is told nothing of a refused upgrade, and so it asks.
    await expect(banner(page)).to_contain_text("HTTP 503")
    await eventually(lambda: edge.refused >= 4, what="two tries, and a question after each")
    edge.refuses_with = None
    await expect(connection(page)).to_contain_text("Live")


async def test_a_connection_that_went_silent_is_found_by_its_heartbeats(page: Page, edge: FakeEdge) -> None:
    edge.heartbeat_ms = 200
    edge.drop()
    await edge.has_client(2)
    edge.beats = False
    await expect(banner(page)).to_contain_text("not been heard of for too long")
    edge.beats = True
    await expect(connection(page)).to_contain_text("Live")
    await expect(banner(page)).not_to_contain_text("Connection lost")


async def test_a_view_whose_files_did_not_come_is_loaded_anew_with_the_page(page: Page, edge: FakeEdge) -> None:
    await page.route("**/assets/HostView-*", lambda route: route.abort("connectionreset"), times=1)
    await visit(page, f"{edge.page}hosts/web-1")
    await expect(page.get_by_role("region", name="CPU now")).to_contain_text("12.0 %")


async def test_a_view_whose_files_never_come_says_so_instead_of_loading_the_page_again_and_again(
    page: Page, edge: FakeEdge
) -> None:
    loads = []
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    await page.route("**/assets/HostView-*", lambda route: route.abort("connectionreset"))
    await visit(page, f"{edge.page}hosts/web-1")
    await expect(page.get_by_role("heading", name="Something on this page has failed")).to_be_visible()
    assert len(loads) == 2
    page.faults.clear()  # which React has put into the console, as it should


async def test_states_that_were_left_out_are_counted(page: Page, edge: FakeEdge) -> None:
    await edge.send(metrics(seq=2, cpu=20))
    await expect(tile(page)).to_contain_text("20 %")
    await expect(page.get_by_text("behind")).to_have_count(0)
    await edge.send(metrics(seq=6, cpu=30))
    await expect(page.get_by_text("you are 3 frames behind")).to_be_visible()
    await expect(tile(page)).to_contain_text("30 %")
    await connection(page).click()
    await expect(page.get_by_role("dialog", name="Connection")).to_contain_text("What is shown is the newest.")


async def test_what_lies_between_two_connections_was_not_left_out(page: Page, edge: FakeEdge) -> None:
    edge.replay = [hosts(), metrics(seq=50, cpu=44)]
    edge.drop()
    await expect(tile(page)).to_contain_text("44 %")
    await expect(page.get_by_text("behind")).to_have_count(0)


async def test_title_and_favicon_show_trouble(page: Page, edge: FakeEdge) -> None:
    icon = page.locator("link[rel=icon]")
    await expect(page).to_have_title("Fleetcast")
    await expect(icon).to_have_attribute("href", "/favicon.svg")
    gone = host_status("web-2", metrics=link("gone", "silent"))
    # One that may be off is no trouble.
    laptop = {name: link("gone", "silent") for name in ("metrics", "containers", "executor")}
    await edge.send(hosts(host_status(), gone, host_status("laptop", "sometimes", **laptop)))
    await expect(page).to_have_title("(1) Fleetcast")
    troubled = re.compile(r"^data:image/svg\+xml,.*e5484d")
    await expect(icon).to_have_attribute("href", troubled)
    await go(page, "Containers")
    await expect(page).to_have_title(f"(1) {CONTAINERS}")
    await edge.stop()
    await expect(page).to_have_title(f"⚠ {CONTAINERS}")
    await expect(icon).to_have_attribute("href", re.compile(r"^data:image/svg\+xml,.*6b7280"))
    await edge.listen()
    await expect(page).to_have_title(CONTAINERS)
    await expect(icon).to_have_attribute("href", "/favicon.svg")


async def connected(page: Page, edge: FakeEdge, number: int) -> None:
    """By its so many-eth connection."""
    await eventually(lambda: edge.connections == number and edge.sockets, what=f"connection number {number}")
    await expect(connection(page)).to_contain_text("Live")


async def record_connection(page: Page) -> Any:
    """From now on what the page says of its connection is kept, however shortly; what it said, when asked."""
    await connection(page).evaluate(
        """(pill) => {
            window.said = [];
            const look = () => window.said.push(pill.textContent.replace(/^Connection: /, ""));
            new MutationObserver(look).observe(pill, { childList: true, characterData: true, subtree: true });
        }"""
    )
    return lambda: page.evaluate("window.said")
