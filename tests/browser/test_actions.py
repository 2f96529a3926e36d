"""Doing something to containers from the page: it asks, tells each stage, and never claims what nobody has said."""

import re
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.browser.pages import Page, button, connection, dialog, expect_off, go, has, row
from tests.services.fake_edge import FakeEdge, ack, container, containers, host_status, hosts, link, metrics, now_ms
from tests.support import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERBS = ("Start", "Stop", "Restart", "Pause", "Unpause", "Kill", "Remove")


@pytest_asyncio.fixture(loop_scope="module")
async def listed(page: Page) -> Page:
    """The containers' page."""
    await go(page, "Containers")
    await expect(row(page)).to_be_visible()
    return page


async def restart(page: Page) -> None:
    await button(row(page), "Restart nginx").click()
    await button(dialog(page), "Restart nginx").click()


async def menu(page: Page, name: str = "nginx") -> Locator:
    await button(row(page, name), f"More actions on {name}").click()
    found: Locator = page.get_by_role("menu")
    await expect(found).to_be_visible()
    return found


async def choose(page: Page, verb: str, name: str = "nginx") -> None:
    found = await menu(page, name)
    await found.get_by_role("menuitem", name=re.compile(f"^{verb}")).click()


# What is sent


async def test_it_is_asked_for_what_is_on_the_screen(listed: Page, edge: FakeEdge) -> None:
    await restart(listed)
    action = await edge.action()
    seen = container()
    assert action.pop("requestId")
    assert action == {
        "type": "container-action",
        "host": "web-1",
        "containerId": seen["id"],
        "action": "restart",
        "expiresInSec": 30,
        "expect": {"id": seen["id"], "state": "running", "startedAt": seen["startedAt"]},
    }


@pytest.mark.parametrize("verb", ["Kill", "Pause"])
async def test_a_dangerous_one_asks_naming_container_and_host(listed: Page, edge: FakeEdge, verb: str) -> None:
    await choose(listed, verb)
    question = listed.get_by_role("alertdialog", name=f"{verb} nginx on web-1?")
    await expect(question).to_be_visible()
    # Enter out of habit does nothing.
    await expect(button(question, "Cancel")).to_be_focused()
    await listed.keyboard.press("Enter")
    await expect(question).to_have_count(0)
    await choose(listed, verb)
    await listed.keyboard.press("Escape")
    await expect(question).to_have_count(0)
    await choose(listed, verb)
    await button(question, f"{verb} nginx").click()
    assert (await edge.action())["action"] == verb.lower()
    await expect(question).to_have_count(0)
    assert len(edge.actions()) == 1


async def test_what_harms_nothing_is_not_asked_about(listed: Page, edge: FakeEdge) -> None:
    await edge.send(containers(container(state="exited"), seq=2))
    await button(row(listed), "Start nginx").click()
    assert (await edge.action())["action"] == "start"


# What is told


async def test_stages_show_in_place_and_success_only_after_its_ack(listed: Page, edge: FakeEdge) -> None:
    await restart(listed)
    action = await edge.action()
    await expect(row(listed)).to_contain_text("sent")
    await expect_off(button(row(listed), "Restart nginx"), "restart is under way")
    await edge.send(ack(action, "accepted"))
    await expect(row(listed)).to_contain_text("accepted")
    await edge.send(ack(action, "running"))
    await expect(row(listed)).to_contain_text("restarting…")
    # The container is up again before the ack says so: that alone is no success. And no stage goes back.
    again = containers(container(startedAt=now_ms()), container("marker"), seq=2)
    await edge.send(again, ack(action, "accepted"))
    await expect(row(listed, "marker")).to_be_visible()
    await expect(row(listed)).to_contain_text("restarting…")
    await expect(listed.get_by_text("restarted")).to_have_count(0)
    await edge.send(ack(action, "succeeded", durationMs=312))
    await expect(row(listed)).to_contain_text(re.compile(r"restarted in 0\.3\ss"))
    spoken = listed.get_by_role("status").filter(has_text="Restart of nginx on web-1: restarted in 0.3 s.")
    await expect(spoken).to_have_count(1)
    await expect(button(row(listed), "Restart nginx")).not_to_have_attribute("aria-disabled", "true")


async def test_every_other_outcome_is_explained_until_it_is_dismissed(listed: Page, edge: FakeEdge) -> None:
    outcomes = (
        ("failed", "no such image", "failed", "failed. Docker says: no such image."),
        ("expired", "nobody took it", "expired", "was not begun before its deadline, and will not be"),
        ("rejected", "kill is not allowed", "refused", "was refused and not done. Because: kill is not allowed."),
        ("rejected", "expected state paused", "refused", "The container is not as you saw it: expected state paused."),
        ("unknown", "the executor restarted", "unknown", "cannot tell whether it happened. Look before you try again"),
    )
    for number, (status, error, short, full) in enumerate(outcomes, 1):
        await restart(listed)
        await edge.send(ack(await edge.action(number), status, error=error))
        told = button(row(listed), short)
        await expect(told).to_have_attribute("aria-description", re.compile(re.escape(full)))
        await told.hover()
        await expect(listed.get_by_role("tooltip")).to_contain_text(full)
        await expect(listed.get_by_role("status").filter(has_text=full)).to_have_count(1)
        await button(row(listed), f"Dismiss: {short}").click()
        await expect(told).to_have_count(0)


async def test_an_error_of_the_edge_is_shown_at_its_action(listed: Page, edge: FakeEdge) -> None:
    await restart(listed)
    error = {"type": "error", "code": "forbidden", "message": "not yours"}
    await edge.send(error | {"requestId": (await edge.action())["requestId"]})
    await expect(button(row(listed), "refused")).to_have_attribute("aria-description", re.compile("Because: not yours"))


async def test_an_error_about_no_action_is_the_connections_last_trouble(listed: Page, edge: FakeEdge) -> None:
    await edge.send({"type": "error", "code": "unavailable", "message": "Redis is away"})
    await connection(listed).click()
    await expect(listed.get_by_role("dialog", name="Connection")).to_contain_text("Redis is away")


async def test_a_container_that_is_removed_goes_and_the_outcome_is_spoken(listed: Page, edge: FakeEdge) -> None:
    await edge.send(containers(container(state="exited"), container("db"), seq=2))
    await expect(row(listed, "db")).to_be_visible()
    await choose(listed, "Remove")
    await expect(dialog(listed)).to_contain_text("cannot be undone")
    await button(dialog(listed), "Remove nginx").click()
    await edge.send(containers(container("db"), seq=3), ack(await edge.action(), "succeeded", durationMs=90))
    await expect(
        listed.get_by_role("status").filter(has_text="Remove of nginx on web-1: removed in 0.1 s.")
    ).to_have_count(1)
    await expect(row(listed)).to_have_count(0)


async def test_an_action_under_way_is_asked_about_again_after_a_reconnect(listed: Page, edge: FakeEdge) -> None:
    await restart(listed)
    first = await edge.action(1)
    await edge.send(ack(first, "running"))
    await expect(row(listed)).to_contain_text("restarting…")
    edge.drop()
    second = await edge.action(2)
    # What it may still take of its time is less by now.
    assert second | {"expiresInSec": 0} == first | {"expiresInSec": 0}
    await edge.send(ack(second, "succeeded", durationMs=12_345))
    await expect(row(listed)).to_contain_text(re.compile(r"restarted in 12\ss"))
    assert len(edge.actions()) == 2


async def test_several_are_asked_for_at_once_and_each_has_its_own_outcome(listed: Page, edge: FakeEdge) -> None:
    names = ("nginx", "db", "cache", "locked")
    await edge.send(containers(*(container(name, protected=name == "locked") for name in names), seq=2))
    for name in names:
        await row(listed, name).get_by_role("checkbox").check()
    bar = listed.get_by_role("region", name="Selected containers")
    await expect(bar).to_contain_text("4 selected")
    await bar.get_by_role("button", name=re.compile("^Restart")).click()
    question = listed.get_by_role("alertdialog", name="Restart 3 containers on web-1?")
    await expect(question.get_by_role("listitem")).to_have_count(3)
    await expect(question).to_contain_text("1 more is left out: this container is protected")
    await button(question, "Restart 3").click()
    action = await edge.action()
    assert sorted(target["containerId"] for target in action["targets"]) == sorted(
        container(name)["id"] for name in names[:3]
    )
    assert all(target["expect"]["state"] == "running" for target in action["targets"])
    outcomes: tuple[tuple[str, dict[str, Any]], ...] = (
        *(("succeeded", {"durationMs": 400}), ("failed", {"error": "no"}), ("rejected", {"error": "why"})),
    )
    for index, (status, fields) in enumerate(outcomes):
        await edge.send(ack(action | action["targets"][index], status, target=index, **fields))
    panel = listed.get_by_role("region", name="Restart of 3 containers")
    await expect(panel).to_contain_text("1 succeeded, 1 failed, 1 refused")
    for words in ("restarted in 0.4 s", "failed", "refused"):
        await expect(panel.get_by_role("listitem").filter(has_text=words)).to_have_count(1)
    await button(panel, "Dismiss").click()
    await expect(panel).to_have_count(0)


# What may be done


async def test_verbs_fit_the_state(listed: Page, edge: FakeEdge) -> None:
    fitting = {
        "created": {"Start", "Remove"},
        "running": {"Restart", "Stop", "Pause", "Kill"},
        "paused": {"Stop", "Restart", "Unpause", "Kill"},
        "restarting": {"Stop", "Restart", "Kill"},
        "removing": set(),
        "exited": {"Start", "Restart", "Remove"},
        "dead": {"Remove"},
    }
    for seq, (state, verbs) in enumerate(fitting.items(), 2):
        await edge.send(containers(container(state=state), container(f"marker-{state}"), seq=seq))
        await expect(row(listed, f"marker-{state}")).to_be_visible()
        assert await possible(listed) == verbs, state


async def possible(page: Page) -> set[str]:
    """The verbs that are not off, of all of them."""
    direct = row(page).get_by_role("button", name=re.compile(rf"^({'|'.join(VERBS)}) nginx$"))
    off = {
        (await one.get_attribute("aria-label") or "").partition(" ")[0]: await one.get_attribute("aria-disabled")
        for one in await direct.all()
    }
    for item in await (await menu(page)).get_by_role("menuitem").all():
        words = await item.locator("span").first.inner_text()
        verb = next(verb for verb in VERBS if words.startswith(verb))
        off[verb] = await item.get_attribute("aria-disabled")
    await page.keyboard.press("Escape")
    assert set(off) == set(VERBS)
    return {verb for verb, is_off in off.items() if is_off != "true"}


async def test_a_protected_container_says_why_nothing_can_be_done_to_it(listed: Page, edge: FakeEdge) -> None:
    await edge.send(containers(container(protected=True), seq=2))
    await expect_off(button(row(listed), "Restart nginx"), "this container is protected")
    await button(row(listed), "Restart nginx").click(force=True)
    said = listed.get_by_role("status").filter(has_text="Restart nginx: this container is protected")
    await expect(said).to_be_visible()
    kill = (await menu(listed)).get_by_role("menuitem", name=re.compile("^Kill"))
    await expect(kill).to_contain_text("this container is protected")
    await kill.click(force=True)
    await expect(dialog(listed)).to_have_count(0)
    assert edge.actions() == []


async def test_what_a_host_does_not_allow_is_off_and_the_rest_is_not(listed: Page, edge: FakeEdge) -> None:
    await edge.send(hosts(host_status() | {"actions": ["stop"]}))
    await expect_off(button(row(listed), "Restart nginx"), "this host does not allow restart")
    await expect(button(row(listed), "Stop nginx")).not_to_have_attribute("aria-disabled", "true")


async def test_nobody_can_act_where_the_executor_is_gone(listed: Page, edge: FakeEdge) -> None:
    await edge.send(hosts(host_status(executor=link("gone", "silent"))))
    await expect_off(button(row(listed), "Restart nginx"), "executor gone: silent")


async def test_nobody_can_act_without_a_connection(listed: Page, edge: FakeEdge) -> None:
    await edge.stop()
    await expect_off(button(row(listed), "Restart nginx"), "this page has no connection")
    await edge.listen()
    await expect(button(row(listed), "Restart nginx")).not_to_have_attribute("aria-disabled", "true")


# The keyboard


async def test_a_container_is_restarted_by_the_keyboard_alone(page: Page, edge: FakeEdge) -> None:
    await page.keyboard.press("g")
    await page.keyboard.press("c")
    await expect(page.get_by_role("heading", level=1, name="Containers")).to_be_focused()
    await expect(row(page)).to_be_visible()
    lines = page.get_by_role("grid", name="Containers").locator("[data-key]")

    async def is_on_a_line() -> bool:
        await page.keyboard.press("Tab")
        return bool(await lines.evaluate_all("lines => lines.includes(document.activeElement)"))

    await eventually(is_on_a_line, what="Tab to lead to the list")
    await page.keyboard.press("End")
    await expect(row(page)).to_be_focused()
    # Whatever comes meanwhile, the focus stays where it is.
    await edge.send(containers(container("a"), container(), container("z"), seq=2), metrics(seq=2))
    await expect(row(page, "a")).to_be_visible()
    await expect(row(page)).to_be_focused()
    await page.keyboard.press("r")
    question = page.get_by_role("alertdialog", name="Restart nginx on web-1?")
    await expect(button(question, "Cancel")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    action = await edge.action()
    assert (action["action"], action["containerId"]) == ("restart", container()["id"])
    await expect(row(page)).to_be_focused()
    await page.keyboard.press("r")
    await expect(page.get_by_role("status").filter(has_text="restart is under way")).to_be_visible()
    await edge.send(ack(action, "succeeded", durationMs=312))
    await expect(row(page)).to_contain_text(re.compile(r"restarted in 0\.3\ss"))
    await expect(row(page)).to_be_focused()
    assert len(edge.actions()) == 1


async def test_a_second_press_meets_the_opposite_and_no_other_verb(listed: Page, edge: FakeEdge) -> None:
    stop = button(row(listed), "Stop nginx")
    place = await stop.bounding_box()
    await stop.focus()
    await edge.send(containers(container(state="exited"), seq=2))
    start = button(row(listed), "Start nginx")
    await expect(start).to_be_focused()
    assert await start.bounding_box() == place


async def test_the_menu_works_by_keyboard_and_gives_the_focus_back(listed: Page, edge: FakeEdge) -> None:
    await row(listed).focus()
    await listed.keyboard.press("m")
    await expect(listed.get_by_role("menuitem").first).to_be_focused()
    await listed.keyboard.press("Escape")
    await expect(listed.get_by_role("menu")).to_have_count(0)
    await expect(button(row(listed), "More actions on nginx")).to_be_focused()


async def test_what_is_selected_and_vanishes_is_not_acted_on(listed: Page, edge: FakeEdge) -> None:
    has(edge, hosts(), metrics(), containers(container("db"), seq=2))
    await row(listed).get_by_role("checkbox").check()
    await expect(listed.get_by_role("region", name="Selected containers")).to_contain_text("1 selected")
    await edge.send(containers(container("db"), seq=2))
    await expect(listed.get_by_role("region", name="Selected containers")).to_have_count(0)
