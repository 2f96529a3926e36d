"""The page in a real browser, against an edge whose every move the test decides."""

import itertools
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright import async_api as playwright

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.services.fake_edge import FakeEdge, ack, container, containers, host_status, hosts, link, metrics, now_ms
from tests.support import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

Page = Any


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def edge() -> AsyncIterator[FakeEdge]:
    async with FakeEdge(heartbeat_ms=200) as edge:
        edge.replay = [hosts(), metrics(), containers()]
        yield edge


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Any, edge: FakeEdge) -> AsyncIterator[Page]:
    """The page, open. What goes wrong in it fails the test; confirmations are answered by `page.answers`."""
    context = await browser.new_context(viewport={"width": 1200, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(10_000)
    page.faults, page.asked, page.answers = [], [], True
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: page.faults.append(said.text) if "Content Security" in said.text else None)

    async def answer(dialog: Any) -> None:
        page.asked.append(dialog.message)
        await (dialog.accept() if page.answers else dialog.dismiss())

    page.on("dialog", answer)
    await page.goto(edge.page)
    await shows(page, "Up 3 minutes")
    yield page
    await context.close()
    assert page.faults == []


async def shows(page: Page, text: str, within: str = "body") -> None:
    await playwright.expect(page.locator(within)).to_contain_text(text, timeout=10_000)


def button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


async def test_hosts_are_shown_with_their_values(page: Page, edge: FakeEdge) -> None:
    await edge.has_client()
    assert edge.received == [{"type": "subscribe", "channels": ["hosts", "metrics", "containers"]}]
    card = "section[aria-label='Host web-1']"
    for text in (
        *("web-1", "live", "12 %", "load 0.40, 2 cores", "38 %", "3.0 GiB of 8.0 GiB", "42 %", "↓ 122 KiB/s"),
        *("↑ 2.0 KiB/s", "up 26 h, 120 processes", "nginx", "nginx:1.27", "running", "Up 3 minutes"),
    ):
        await shows(page, text, card)
    await shows(page, "connected to edge-1", "#connection")
    await shows(page, "1 of 1 hosts live, 1 of 1 containers running", "#totals")


async def test_new_values_replace_old_ones_and_older_ones_do_not(page: Page, edge: FakeEdge) -> None:
    await shows(page, "12 %")
    await edge.send(metrics(seq=3, cpu=55), containers(container(status="Up 4 minutes"), seq=3))
    await shows(page, "55 %")
    await edge.send(
        metrics(seq=2, cpu=11), containers(container(status="Up 1 minute"), seq=2), metrics("marker", cpu=1)
    )
    await shows(page, "marker")
    await shows(page, "55 %", "section[aria-label='Host web-1']")
    await shows(page, "Up 4 minutes")


async def test_markup_in_names_stays_text(page: Page, edge: FakeEdge) -> None:
    evil = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'
    ports = [{"ip": evil, "hostPort": 1, "containerPort": 2, "protocol": evil}]
    await edge.send(
        hosts(host_status(metrics=link("gone", evil)), host_status("web-2")),
        metrics(seq=2, disks=[{"mount": evil, "totalBytes": 2, "usedBytes": 1, "percent": 50.0}]),
        containers(container(evil, image=evil, status=evil, ports=ports), seq=2),
    )
    await shows(page, evil, ".name")
    await shows(page, evil, ".image")
    await shows(page, evil, ".ports")
    assert await page.locator("img, main script").count() == 0
    await button(page, f"Kill {evil} on web-1").click()
    action = await edge.action()
    await edge.send(ack(action, "failed", error=evil))
    await shows(page, f"kill failed: {evil}", ".ack")
    assert await page.locator("img, main script").count() == 0
    assert page.asked == [f"Kill {evil} on web-1?"]
    assert "owned" not in await page.title()


async def test_a_button_asks_for_what_is_on_the_screen_and_shows_each_ack(page: Page, edge: FakeEdge) -> None:
    await button(page, "Restart nginx on web-1").click()
    action = await edge.action()
    seen = container()
    assert action.pop("requestId")
    assert action == {
        "type": "container-action",
        "host": "web-1",
        "containerId": seen["id"],
        "action": "restart",
        "expiresInSec": 30,
        "expect": {"id": seen["id"], "startedAt": seen["startedAt"]},
    }


async def test_after_a_success_that_the_list_does_not_show_yet_only_the_container_is_expected(
    page: Page, edge: FakeEdge
) -> None:
    await button(page, "Restart nginx on web-1").click()
    await edge.send(ack(await edge.action(), "succeeded", at=now_ms() + 1000))
    await shows(page, "restart succeeded", ".ack")
    await button(page, "Stop nginx on web-1").click()
    assert (await edge.action(2))["expect"] == {"id": container()["id"]}


async def test_acks_show_in_place_and_success_only_after_its_ack(page: Page, edge: FakeEdge) -> None:
    await button(page, "Restart nginx on web-1").click()
    action = await edge.action()
    await shows(page, "restart sent…", ".ack")
    await playwright.expect(button(page, "Stop nginx on web-1")).to_have_attribute("aria-disabled", "true")
    for status in ("accepted", "running"):
        await edge.send(ack(action, status))
        await shows(page, f"restart {status}…", ".ack")
    # The container is up again before the ack says so: that alone is no success.
    await edge.send(containers(container(startedAt=now_ms()), seq=2), ack(action, "accepted"))
    await edge.send(metrics("marker"))
    await shows(page, "marker")
    await shows(page, "restart running…", ".ack")
    await edge.send(ack(action, "succeeded", durationMs=312))
    await shows(page, "✓ restart succeeded in 312 ms", ".ack")
    await shows(page, "nginx on web-1: ✓ restart succeeded in 312 ms", "[aria-live=polite]")
    await playwright.expect(button(page, "Stop nginx on web-1")).to_have_attribute("aria-disabled", "false")


@pytest.mark.parametrize("status", ["failed", "expired", "rejected", "unknown"])
async def test_every_other_outcome_is_shown_with_its_error(page: Page, edge: FakeEdge, status: str) -> None:
    await button(page, "Stop nginx on web-1").click()
    await edge.send(ack(await edge.action(), status, error="the reason"))
    await shows(page, f"stop {status}: the reason", ".ack")


async def test_an_error_of_the_edge_is_shown_at_its_action(page: Page, edge: FakeEdge) -> None:
    await button(page, "Pause nginx on web-1").click()
    action = await edge.action()
    await edge.send({"type": "error", "code": "forbidden", "message": "not yours", "requestId": action["requestId"]})
    await shows(page, "pause refused: not yours", ".ack")
    await edge.send({"type": "error", "code": "unavailable", "message": "Redis is away"})
    await shows(page, "Redis is away", "#notice")


@pytest.mark.parametrize(
    ("state", "verbs"),
    [
        ("created", ["Start", "Remove"]),
        ("running", ["Restart", "Stop", "Pause", "Kill"]),
        ("paused", ["Stop", "Unpause", "Kill"]),
        ("restarting", ["Stop", "Kill"]),
        ("removing", []),
        ("exited", ["Start", "Remove"]),
        ("dead", ["Remove"]),
        ("novel", []),
    ],
)
async def test_buttons_fit_the_state(page: Page, edge: FakeEdge, state: str, verbs: list[str]) -> None:
    await edge.send(containers(container(state=state, status=f"is {state}"), seq=2))
    await shows(page, f"is {state}", ".status")
    assert await page.locator("li button:visible").all_inner_texts() == verbs


async def test_kill_and_remove_ask_first(page: Page, edge: FakeEdge) -> None:
    page.answers = False
    await button(page, "Kill nginx on web-1").click()
    await eventually(lambda: page.asked == ["Kill nginx on web-1?"])
    await edge.send(containers(container(state="exited"), seq=2))
    await button(page, "Remove nginx on web-1").click()
    await eventually(lambda: page.asked[1:] == ["Remove nginx on web-1?"])
    assert edge.actions() == []
    page.answers = True
    await button(page, "Remove nginx on web-1").click()
    action = await edge.action()
    await edge.send(containers(seq=3) | {"data": []}, ack(action, "succeeded", durationMs=9))
    await shows(page, "No containers.")
    await shows(page, "nginx: ✓ remove succeeded in 9 ms", ".after")


async def test_a_protected_container_has_no_working_buttons(page: Page, edge: FakeEdge) -> None:
    await edge.send(containers(container(protected=True), seq=2))
    restart = button(page, "Restart nginx on web-1")
    await playwright.expect(restart).to_be_disabled()
    assert "Protected" in await restart.get_attribute("title")


async def test_buttons_work_by_keyboard_and_keep_the_focus(page: Page, edge: FakeEdge) -> None:
    await button(page, "Restart nginx on web-1").focus()
    for seq in range(2, 5):
        await edge.send(metrics(seq=seq, cpu=seq * 10), containers(container("a", id="a" * 64), container(), seq=seq))
        await shows(page, f"{seq}0 %")
    await page.keyboard.press("Enter")
    assert (await edge.action())["containerId"] == container()["id"]
    await page.keyboard.press("Enter")
    await playwright.expect(button(page, "Restart nginx on web-1")).to_be_focused()
    assert len(edge.actions()) == 1


async def test_a_second_click_or_key_meets_the_opposite_and_no_other_verb(page: Page, edge: FakeEdge) -> None:
    pause = button(page, "Pause nginx on web-1")
    place = await pause.bounding_box()
    await pause.focus()
    await edge.send(containers(container(state="paused"), seq=2))
    unpause = button(page, "Unpause nginx on web-1")
    await playwright.expect(unpause).to_be_focused()
    assert await unpause.bounding_box() == place


async def test_values_of_a_broken_link_are_greyed_with_reason_and_age(page: Page, edge: FakeEdge) -> None:
    await shows(page, "Up 3 minutes")
    await edge.send(hosts(host_status(containers=link("gone", "docker-unreachable"))))
    await shows(page, "containers gone: docker-unreachable", ".head")
    await playwright.expect(page.locator(".facts")).to_have_text(
        re.compile(r"containers stale: docker-unreachable, \d+ s old")
    )
    assert await page.locator(".stale-list").count() == 1
    assert await page.locator(".host.stale").count() == 0
    await edge.send(hosts())
    await playwright.expect(page.locator(".stale-list")).to_have_count(0)


async def test_nobody_can_act_where_the_executor_is_gone(page: Page, edge: FakeEdge) -> None:
    await edge.send(hosts(host_status(executor=link("gone", "silent"))))
    await shows(page, "executor gone: silent")
    restart = button(page, "Restart nginx on web-1")
    await playwright.expect(restart).to_have_attribute("aria-disabled", "true")
    assert "executor silent" in await restart.get_attribute("title")


async def test_everything_is_greyed_while_disconnected_and_comes_back(page: Page, edge: FakeEdge) -> None:
    await edge.send(metrics(seq=9, cpu=66))
    await shows(page, "66 %")
    await edge.stop()
    await shows(page, "connection lost: reconnecting", "#connection")
    await shows(page, "stale: disconnected, ", ".facts")
    assert await page.locator(".host.stale").count() == 1
    assert await page.locator(".stale-list").count() == 1
    await playwright.expect(button(page, "Restart nginx on web-1")).to_have_attribute("aria-disabled", "true")
    # The last state that an edge has may be older than what is on the screen.
    edge.replay = [hosts(), metrics(seq=8, cpu=1), containers()]
    await edge.listen()
    await shows(page, "connected to edge-1", "#connection")
    await playwright.expect(page.locator(".stale, .stale-list")).to_have_count(0)
    await shows(page, "66 %")


async def test_an_action_under_way_is_asked_about_again_after_a_reconnect(page: Page, edge: FakeEdge) -> None:
    await button(page, "Restart nginx on web-1").click()
    first = await edge.action(1)
    await edge.send(ack(first, "running"))
    await shows(page, "restart running…", ".ack")
    edge.drop()
    second = await edge.action(2)
    assert second == first
    await edge.send(ack(second, "succeeded", durationMs=12_345))
    await shows(page, "✓ restart succeeded in 12.3 s", ".ack")


async def test_a_silent_connection_is_given_up(page: Page, edge: FakeEdge) -> None:
    await shows(page, "connected to edge-1", "#connection")
    edge.beats = False
    await shows(page, "silent for too long", "#connection")
    edge.beats = True
    await shows(page, "connected to edge-1", "#connection")


@pytest.mark.parametrize(
    ("code", "words"),
    [(1008, "broke the protocol"), (1009, "too large"), (4403, "not allowed")],
)
async def test_close_codes_that_stay_stop_it(page: Page, edge: FakeEdge, code: int, words: str) -> None:
    await edge.has_client()
    await edge.close(code)
    await shows(page, words, "#connection")
    await playwright.expect(page.locator(".facts")).to_have_text(re.compile(r"stale: disconnected, [1-9]\d* s old"))
    assert edge.connections == 1


@pytest.mark.parametrize("code", [1012, 1013, 4408, 4409, 4999])
async def test_other_close_codes_reconnect(page: Page, edge: FakeEdge, code: int) -> None:
    await edge.has_client()
    await edge.close(code)
    await eventually(lambda: edge.connections == 2)
    await shows(page, "connected to edge-1", "#connection")


async def test_an_edge_that_restarts_is_asked_again_after_what_it_announced(page: Page, edge: FakeEdge) -> None:
    await edge.has_client()
    await edge.close(1012, '{"retryAfterMs": 40000}')
    # The backoff would say 1 s; and what is for programs is not shown.
    await playwright.expect(page.locator("#connection")).to_have_text(
        re.compile(r"^the edge is restarting: reconnecting in (40|39|38) s$")
    )
    assert edge.connections == 1


async def record_connection(page: Page) -> Any:
    """From now on what the page says of its connection is kept, however shortly; what it said, when asked."""
    await page.evaluate(
        """() => {
            window.said = [];
            const pill = document.getElementById('connection');
            new MutationObserver(() => window.said.push(pill.textContent)).observe(pill, { childList: true });
        }"""
    )
    return lambda: page.evaluate("window.said")


async def test_the_backoff_does_not_grow_by_what_an_edge_announces(page: Page, edge: FakeEdge) -> None:
    for number in range(1, 7):
        await edge.has_client(number)
        await edge.close(1012, '{"retryAfterMs": 0}')
    await edge.has_client(7)
    said = await record_connection(page)
    edge.drop()
    await edge.has_client(8)
    await shows(page, "connected to edge-1", "#connection")
    # Grown six times, it would begin at 8 s or more.
    assert not [text for text in await said() if re.search(r"in ([2-9]|\d\d) s", text)]


@pytest.mark.parametrize(
    "reason",
    ["", "soon", "null", "17", '{"retryAfterMs": 60001}', '{"retryAfterMs": -1}', '{"retryAfterMs": "40000"}', "{}"],
)
async def test_what_is_no_announcement_leaves_it_to_the_backoff(page: Page, edge: FakeEdge, reason: str) -> None:
    await edge.has_client()
    said = await record_connection(page)
    await edge.close(1012, reason)
    await eventually(lambda: edge.connections == 2)
    await shows(page, "connected to edge-1", "#connection")
    told = [text for text in await said() if not text.startswith("connected")]
    assert told
    assert all(re.fullmatch(r"the edge is restarting: reconnecting( in [01] s)?", text) for text in told), told


async def test_an_edge_that_lets_nobody_in_now_is_tried_again(page: Page, edge: FakeEdge) -> None:
    await edge.has_client()
    edge.refuses_with, edge.refusal_headers = 503, (("Retry-After", "2"),)
    edge.drop()
    # A page is not told more of a refusal than that there is no connection.
    await shows(page, "connection lost: reconnecting", "#connection")
    await eventually(lambda: edge.refused >= 2, what="two tries")
    edge.refuses_with = None
    await shows(page, "connected to edge-1", "#connection")


async def test_messages_that_make_no_sense_harm_nothing(page: Page, edge: FakeEdge) -> None:
    await edge.has_client()
    await edge.send("no JSON", "null", "[]", '{"type": "novelty"}', '{"type": "metrics"}', b"\x00")
    await edge.send({"type": "metrics", "host": "bad", "epoch": 1, "seq": 1, "sampledAt": 1, "data": {}})
    await edge.send({"type": "hosts", "hosts": None}, {"type": "containers", "host": "web-1", "epoch": 9, "seq": 9})
    await edge.send(metrics("web-2", cpu=88))
    await shows(page, "88 %", "section[aria-label='Host web-2']")
    await shows(page, "connected to edge-1", "#connection")
    assert edge.connections == 1


async def test_a_host_that_left_the_fleet_is_gone(page: Page, edge: FakeEdge) -> None:
    await edge.send(hosts(host_status("web-1"), host_status("web-2")))
    await shows(page, "web-2")
    await edge.send(hosts(host_status("web-2")))
    await playwright.expect(page.locator("section.host")).to_have_count(1)


async def test_it_fits_a_telephone(page: Page, edge: FakeEdge) -> None:
    await page.set_viewport_size({"width": 375, "height": 800})
    host, name = "h" * 64, "c" * 200
    long = container(name, image="registry.example.com/" + "i" * 200, status="s" * 200, health="unhealthy")
    gone = link("gone", "docker-unreachable")
    await edge.send(hosts(host_status(host, containers=gone)), containers(long, host=host), metrics(host))
    await button(page, f"Restart {name} on {host}").click()
    await edge.send(ack(await edge.action(), "failed", error="e" * 300))
    await shows(page, "eeee", ".ack")
    assert await page.evaluate("document.documentElement.scrollWidth") == 375


async def test_it_renders_at_most_four_times_a_second(page: Page, edge: FakeEdge) -> None:
    await shows(page, "12 %")
    await page.evaluate(
        """() => {
            window.changes = 0;
            new MutationObserver(() => window.changes++).observe(document.querySelector('.value'),
                { childList: true, characterData: true, subtree: true });
            window.began = performance.now();
        }"""
    )
    seqs = itertools.count(2)
    edge.beat = lambda: metrics(seq=(seq := next(seqs)), cpu=float(seq % 90))
    edge.heartbeat_ms = 5
    await eventually(lambda: next(seqs) > 200)
    changes, took_ms = await page.evaluate("[window.changes, performance.now() - window.began]")
    assert 1 <= changes <= took_ms / 250 + 1
