"""What the page shows of the fleet: as it is now, and where it is not, since when and why."""

import itertools
import re

import pytest
from playwright.async_api import expect

from tests.browser.pages import Page, button, connection, dialog, fact, go, has, row, stale, tile, visit
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
    now_ms,
    process,
    processes,
    usage,
)
from tests.support import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVIL = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'


async def test_a_host_is_shown_with_its_values(page: Page) -> None:
    await expect(fact(tile(page), "CPU")).to_contain_text("12 %")
    await expect(fact(tile(page), "Memory")).to_contain_text("38 %")
    await expect(fact(tile(page), "Memory")).to_have_attribute("title", re.compile("3.0.GiB of 8.0.GiB"))
    await expect(fact(tile(page), "Network")).to_contain_text(re.compile(r"in 122\sKiB/s\s*out 2\.0\sKiB/s"))
    await expect(fact(tile(page), "Load")).to_contain_text("0.40")
    await expect(fact(tile(page), "Up")).to_contain_text("1 d")
    await expect(tile(page).get_by_role("meter", name="Disk /")).to_have_attribute("aria-valuenow", "42")
    await expect(tile(page)).to_contain_text("1/1 containers running")
    await expect(stale(tile(page))).to_have_count(0)


async def test_a_sample_is_late_only_after_three_intervals_of_its_host(page: Page, edge: FakeEdge) -> None:
    a_minute = link() | {"intervalMs": 60_000}
    of_two_minutes_ago = now_ms() - 120_000
    quick, slow = host_status("quick"), host_status("slow", metrics=a_minute)
    has(
        edge,
        hosts(quick, slow),
        *(metrics(host) | {"sampledAt": of_two_minutes_ago} for host in ("quick", "slow")),
        *(containers(host=host) for host in ("quick", "slow")),
    )
    await visit(page, edge.page)
    await expect(tile(page, "quick")).to_contain_text(re.compile(r"no new sample\s*2\smin ago"))
    await expect(fact(tile(page, "slow"), "CPU")).to_contain_text("12 %")
    await expect(stale(tile(page, "slow"))).to_have_count(0)


async def test_totals_count_hosts_and_containers(page: Page, edge: FakeEdge) -> None:
    main = page.get_by_role("main")
    for term, count in (("live", "1"), ("in trouble", "0"), ("containers run", "1")):
        await expect(fact(main, term)).to_have_text(re.compile(rf"^{term}\s*{count}$"))
    await edge.send(
        hosts(host_status(), host_status("web-2", metrics=link("gone", "silent"))),
        containers(container(), container("db"), container("old", "exited"), seq=2),
    )
    for term, count in (("live", "1"), ("in trouble", "1"), ("containers run", "2")):
        await expect(fact(main, term)).to_have_text(re.compile(rf"^{term}\s*{count}$"))


async def test_a_hosts_own_page_shows_each_part_of_it(page: Page, edge: FakeEdge) -> None:
    sensor = {"sensor": "coretemp", "celsius": 54.0}
    nginx = container()
    has(
        edge,
        hosts(),
        metrics(temperatures=[sensor]),
        containers(nginx),
        processes([process(7, "nginx", 61.5, 300 << 20, nginx["id"])], []),
        events=(event("cron", exitCode=1),),
    )
    await visit(page, f"{edge.page}hosts/web-1")
    await expect(page.get_by_role("heading", level=1, name="web-1")).to_be_visible()
    for card, words in (
        *(("CPU now", "12.0 %"), ("Memory now", "3.0 GiB of 8.0 GiB"), ("Disks", "42.0 GiB of 100 GiB")),
        *(("Network interfaces", "eth0"), ("Sensors", "54 °C"), ("Last events", "exited (1)")),
    ):
        await expect(page.get_by_role("region", name=card)).to_contain_text(words)
    for part in ("Metrics", "Containers", "Executor"):
        await expect(fact(page.get_by_role("main"), part)).to_contain_text("live")
    top = page.get_by_role("region", name="Top processes")
    await top.scroll_into_view_if_needed()
    await expect(top.get_by_role("row").filter(has_text="61.5 %")).to_contain_text(
        re.compile(r"nginx\s*nginx.*300\sMiB")
    )
    await expect(page.get_by_role("figure", name="CPU")).to_contain_text("12.0 %")
    await expect(row(page)).to_be_visible()


async def test_containers_stand_under_their_projects_with_what_they_use(page: Page, edge: FakeEdge) -> None:
    ports = [{"ip": "0.0.0.0", "hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    await go(page, "Containers")
    await edge.send(
        containers(
            container(project="shop", ports=ports, health="healthy", image="registry.example.com/acme/nginx:1.27"),
            container("db", project="shop", restartCount=3),
            container("alone", "exited", exitCode=3),
            seq=2,
        ),
        usage(("nginx", 50.0, 256 << 20), ("db", None, None)),
    )
    for words in ("nginx:1.27", "healthy", "up", "8080→80", "50 %", "256 MiB"):
        await expect(row(page)).to_contain_text(words)
    # 100 is one core of two.
    await expect(row(page).get_by_role("meter", name="CPU of nginx")).to_have_attribute("aria-valuenow", "25")
    await expect(row(page, "db").get_by_role("meter", name="CPU of db")).to_have_attribute(
        "aria-valuetext", "not known"
    )
    await expect(row(page, "alone")).to_contain_text("exited (3)")
    names = page.get_by_role("gridcell").locator("button[aria-expanded]:not([aria-haspopup]), a")
    assert await names.all_inner_texts() == ["shop", "db", "nginx", "No project", "alone"]
    await button(page, "shop").click()
    await expect(row(page)).to_have_count(0)
    await expect(row(page, "alone")).to_be_visible()


async def test_containers_are_found_by_what_is_typed(page: Page, edge: FakeEdge) -> None:
    await go(page, "Containers")
    await expect(row(page)).to_be_visible()
    await edge.send(containers(container(), container("db", image="postgres:17"), seq=2))
    await expect(row(page, "db")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("postgres")
    await expect(row(page)).to_have_count(0)
    await expect(row(page, "db")).to_be_visible()


async def test_a_new_container_appears_and_one_that_vanished_says_so_and_goes(page: Page, edge: FakeEdge) -> None:
    await go(page, "Containers")
    await expect(row(page)).to_be_visible()
    await edge.send(containers(container("new"), seq=2))
    await expect(row(page, "new")).to_be_visible()
    await expect(row(page)).to_contain_text("gone")
    await expect(row(page)).to_have_count(0)


async def test_new_values_replace_old_ones_and_older_ones_do_not(page: Page, edge: FakeEdge) -> None:
    await edge.send(hosts(host_status(), host_status("marker")))
    cpu = fact(tile(page), "CPU")
    await edge.send(metrics(seq=3, cpu=55), metrics(seq=2, cpu=11), metrics("marker", cpu=1))
    await expect(fact(tile(page, "marker"), "CPU")).to_contain_text("1 %")
    await expect(cpu).to_contain_text("55 %")
    # A later run of the collector counts anew, and the one before has nothing more to say.
    await edge.send(metrics(epoch=2, seq=1, cpu=33), metrics(seq=99, cpu=11), metrics("marker", seq=2, cpu=2))
    await expect(fact(tile(page, "marker"), "CPU")).to_contain_text("2 %")
    await expect(cpu).to_contain_text("33 %")


async def test_nothing_jumps_back_after_a_reconnect(page: Page, edge: FakeEdge) -> None:
    await edge.send(metrics(seq=9, cpu=66))
    await expect(tile(page)).to_contain_text("66 %")
    # The last state that another edge has may be older than what is on the screen.
    has(edge, hosts(host_status(), host_status("marker")), metrics(seq=8, cpu=1), containers())
    edge.drop()
    await expect(tile(page, "marker")).to_be_visible()
    await expect(connection(page)).to_contain_text("Live")
    await edge.send(metrics("marker", cpu=2))
    await expect(tile(page, "marker")).to_contain_text("2 %")
    await expect(tile(page)).to_contain_text("66 %")


async def test_values_of_a_broken_link_are_greyed_with_their_age_and_the_reason(page: Page, edge: FakeEdge) -> None:
    await edge.send(hosts(host_status(metrics=link("gone", "silent"))))
    await expect(tile(page)).to_contain_text(re.compile(r"metrics collector gone: silent\s*\d+\ss ago"))
    await expect(stale(fact(tile(page), "CPU"))).to_have_count(1)
    await expect(stale(tile(page).get_by_text("1/1"))).to_have_count(0)
    await edge.send(hosts())
    await expect(stale(tile(page))).to_have_count(0)
    await expect(tile(page)).not_to_contain_text("silent")


async def test_containers_that_are_not_known_any_more_are_greyed_with_the_reason(page: Page, edge: FakeEdge) -> None:
    broken = hosts(host_status(containers=link("gone", "docker-unreachable")))
    await edge.send(broken)
    await expect(tile(page)).to_contain_text("Docker is unreachable")
    await expect(stale(fact(tile(page), "CPU"))).to_have_count(0)
    await expect(stale(tile(page)).filter(has_text="1/1")).to_have_count(1)
    await go(page, "Containers")
    await expect(stale(row(page))).to_have_count(1)
    await expect(page.get_by_role("status").filter(has_text="As last seen")).to_contain_text("Docker is unreachable")
    await edge.send(hosts())
    await expect(stale(row(page))).to_have_count(0)


async def test_a_hosts_own_page_says_since_when_its_values_are_old(page: Page, edge: FakeEdge) -> None:
    await visit(page, f"{edge.page}hosts/web-1")
    now = page.get_by_role("region", name="CPU now")
    await expect(stale(now)).to_have_count(0)
    await expect(now).to_contain_text("12.0 %")
    await edge.send(hosts(host_status(metrics=link("stalled", "bus-unreachable"))))
    await expect(stale(now)).to_have_count(1)
    await expect(page.get_by_role("main")).to_contain_text(
        re.compile(r"The last values came \d+\ss ago: the edge cannot reach Redis")
    )


async def test_everything_is_greyed_while_there_is_no_connection_and_comes_back(page: Page, edge: FakeEdge) -> None:
    await go(page, "Containers")
    await go(page, "Fleet")
    await edge.stop()
    await expect(page.get_by_role("banner")).to_contain_text("Connection lost")
    await expect(tile(page)).to_contain_text(re.compile(r"this page has lost its connection\s*\d+\ss ago"))
    await expect(stale(fact(tile(page), "CPU"))).to_have_count(1)
    await expect(stale(tile(page)).filter(has_text="1/1")).to_have_count(1)
    await go(page, "Containers")
    await expect(stale(row(page))).to_have_count(1)
    await edge.listen()
    await expect(connection(page)).to_contain_text("Live")
    await expect(stale(row(page))).to_have_count(0)
    await expect(page.get_by_role("banner")).not_to_contain_text("Connection lost")


async def test_a_host_that_left_the_fleet_is_gone(page: Page, edge: FakeEdge) -> None:
    await edge.send(hosts(host_status("web-1"), host_status("web-2")))
    await expect(tile(page, "web-2")).to_be_visible()
    await edge.send(hosts(host_status("web-2")))
    await expect(tile(page)).to_have_count(0)
    await expect(tile(page, "web-2")).to_be_visible()


async def test_messages_that_make_no_sense_harm_nothing(page: Page, edge: FakeEdge) -> None:
    await edge.send("no JSON", "null", "[]", '{"type": "novelty"}', '{"type": "metrics"}', b"\x00")
    await edge.send({"type": "metrics", "host": "bad", "epoch": 1, "seq": 1, "sampledAt": 1, "data": {}})
    await edge.send({"type": "hosts", "hosts": None}, {"type": "containers", "host": "web-1", "epoch": 9, "seq": 9})
    # Of hosts that are not in the roster, for they are hidden from this user or have left, nothing is shown.
    await edge.send(metrics("hidden", cpu=77), containers(container("secret"), host="hidden"))
    await edge.send(metrics(seq=2, cpu=88))
    await expect(tile(page)).to_contain_text("88 %")
    await expect(tile(page, "hidden")).to_have_count(0)
    await expect(connection(page)).to_contain_text("Live")
    assert edge.connections == 1


@pytest.mark.parametrize(
    ("view", "watched"), [("", "[aria-label=Hosts] li"), ("hosts/web-1", "[aria-label='CPU now']")]
)
async def test_it_renders_at_most_four_times_a_second(page: Page, edge: FakeEdge, view: str, watched: str) -> None:
    await visit(page, f"{edge.page}{view}")
    await expect(page.locator(watched)).to_contain_text("12")
    await page.evaluate(
        """(watched) => {
            window.changes = 0;
            new MutationObserver(() => window.changes++).observe(document.querySelector(watched),
                { childList: true, characterData: true, subtree: true });
            window.began = performance.now();
        }""",
        watched,
    )
    seqs = itertools.count(2)
    edge.beat = lambda: metrics(seq=(seq := next(seqs)), cpu=float(seq % 90))
    edge.heartbeat_ms = 5
    await eventually(lambda: next(seqs) > 300)
    changes, took_ms = await page.evaluate("[window.changes, performance.now() - window.began]")
    assert 1 <= changes <= took_ms / 250 + 1


async def test_markup_in_names_stays_text_on_every_page(page: Page, edge: FakeEdge) -> None:
    ports = [{"ip": EVIL, "hostPort": 1, "containerPort": 2, "protocol": EVIL}]
    evil = container(EVIL, image=EVIL, status=EVIL, ports=ports, project=EVIL, service=EVIL, labels={EVIL: EVIL})
    status = host_status(metrics=link("stalled", EVIL)) | {"labels": {"env": EVIL}}
    parts = {
        "disks": [{"mount": EVIL, "totalBytes": 2, "usedBytes": 1, "percent": 50.0}],
        "network": [{"interface": EVIL, "rxBytesPerSec": 1.0, "txBytesPerSec": 1.0}],
        "temperatures": [{"sensor": EVIL, "celsius": 40.0}],
        "stale": [EVIL],
    }
    caused = {"requestId": "r", "actor": EVIL, "action": "stop"}
    crash, stop = event(EVIL, exitCode=1), event(EVIL, cause=caused, at=now_ms() + 10)
    has(
        edge,
        *(hosts(status), metrics(**parts), containers(evil), processes([process(7, EVIL, 1.0, 1, evil["id"])], [])),
        events=(crash, stop),
    )
    record = {"requestId": "q", "host": "web-1", "containerId": evil["id"], "name": EVIL, "action": "kill"}
    record |= {"actor": EVIL, "status": "failed", "error": EVIL, "at": now_ms()}
    edge.answers["/api/audit"] = {"entries": [record], "before": None}
    for view, places in (
        ("", [tile(page)]),
        ("hosts/web-1", [page.get_by_role("region", name=card) for card in ("Disks", "Sensors", "Top processes")]),
        ("hosts/web-1?container=" + evil["id"][:12], [page.get_by_role("complementary", name="Container")]),
        ("timeline", [page.get_by_role("list", name="Newest first")]),
        ("containers", [row(page, EVIL)]),
    ):
        await visit(page, f"{edge.page}{view}")
        for place in places:
            await place.scroll_into_view_if_needed()
            await expect(place).to_contain_text(EVIL)
        await unharmed(page)
    await button(row(page, EVIL), f"Restart {EVIL}").click()
    await expect(dialog(page)).to_contain_text(f"Restart {EVIL} on web-1?")
    await button(dialog(page), f"Restart {EVIL}").click()
    await edge.send(ack(await edge.action(), "failed", error=EVIL))
    await button(row(page, EVIL), "failed").hover()
    await expect(page.get_by_role("tooltip")).to_contain_text(EVIL)
    await unharmed(page)


async def unharmed(page: Page) -> None:
    assert await page.locator("img, body script").count() == 0
    assert "owned" not in await page.title()
