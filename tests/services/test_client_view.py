"""What viewers in a terminal are shown: the newest state, and never a stale value as a live one."""

import json
import re
from datetime import datetime
from typing import Any

from rich.console import Console

from common.protocol import ServerMessage, parse_server_message
from services.client.fleet import Fleet
from services.client.view import ConnectionLine, kinds_of, render
from tests.services.fake_edge import (
    connected,
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


def parse(message: dict[str, Any]) -> ServerMessage:
    return parse_server_message(json.dumps(message))


class Viewer:
    """A fleet and a clock."""

    def __init__(self, *messages: dict[str, Any], whole_roster: bool = True, show: str = "") -> None:
        """`show`: more than metrics and containers."""
        self.fleet = Fleet(whole_roster)
        self.show = kinds_of(["metrics", "containers", *show.split()])
        self.now_s = 1000.0
        self.tell(connected(), *messages)

    def tell(self, *messages: dict[str, Any]) -> list[bool]:
        return [self.fleet.apply(parse(message), self.now_s) for message in messages]

    def screen(self, width: int = 140, height: int = 40) -> str:
        """The screen's text, with styles as ANSI codes left out."""
        console = Console(width=width, height=height, force_terminal=False, color_system=None)
        line = ConnectionLine("● connected", "green")
        with console.capture() as captured:
            console.print(render(self.fleet, line, self.fleet.now_ms(self.now_s), height, self.show))
        return captured.get()

    def row(self, text: str, **size: int) -> list[str]:
        """The cells of the one line that this stands in."""
        [line] = [line for line in self.screen(**size).splitlines() if text in line]
        return re.split(r"  +", line.strip())

    def styles(self, text: str) -> set[str]:
        """Of the cells with this text, which stands on the screen."""
        console = Console(width=140, height=40)
        rendered = render(self.fleet, ConnectionLine("", ""), self.fleet.now_ms(self.now_s), 40, self.show)
        found = {str(segment.style) for segment in console.render(rendered) if text in segment.text}
        assert found, f"{text!r} is not on the screen"
        return found

    def is_grey(self, text: str) -> bool:
        """Whether this text, which stands on the screen, is greyed there."""
        return self.styles(text) == {"bright_black"}


def aged(message: dict[str, Any], seconds: float) -> dict[str, Any]:
    return message | {"sampledAt": now_ms() - round(seconds * 1000)}


def test_hosts_and_containers_are_shown_with_their_values() -> None:
    screen = Viewer(hosts(), metrics(), containers(container(health="healthy"))).screen()
    for expected in (
        "web-1",
        "live",
        "12 %",
        "38 %",
        "42 %",
        "122 KiB/s",
        "2.0 KiB/s",
        "nginx",
        "running, healthy",
        "nginx:1.27",
        "Up 3 minutes",
    ):
        assert expected in screen


def test_only_a_newer_state_counts() -> None:
    viewer = Viewer(hosts(), metrics(seq=5, epoch=2, cpu=50))
    assert (
        viewer.tell(metrics(seq=4, epoch=2, cpu=1), metrics(seq=5, epoch=2, cpu=1), metrics(seq=9, epoch=1, cpu=1))
        == [False] * 3
    )
    assert "50 %" in viewer.screen()
    assert viewer.tell(metrics(seq=1, epoch=3, cpu=77)) == [True]
    assert "77 %" in viewer.screen()


def test_older_containers_do_not_come_back() -> None:
    viewer = Viewer(hosts(), containers(container("new"), seq=2))
    assert viewer.tell(containers(container("old"), seq=1)) == [False]
    assert "old" not in viewer.screen()


def test_live_values_are_not_grey() -> None:
    assert not Viewer(hosts(), metrics()).is_grey("12 %")


def test_values_of_a_broken_link_are_grey_with_reason_and_age() -> None:
    broken = hosts(host_status(containers=link("gone", "docker-unreachable")))
    viewer = Viewer(broken, metrics(), aged(containers(), 12))
    assert not viewer.is_grey("12 %")
    assert viewer.is_grey("running")
    screen = viewer.screen()
    assert "12 s old: docker-unreachable" in screen
    assert "containers gone: docker-unreachable" in screen


def test_everything_is_grey_while_disconnected_and_ages() -> None:
    viewer = Viewer(hosts(), metrics(), containers())
    viewer.fleet.disconnected()
    viewer.now_s += 30
    assert viewer.is_grey("12 %")
    assert "30 s old: disconnected" in viewer.screen()
    viewer.tell(connected(), hosts(), metrics(seq=2))
    assert not viewer.is_grey("12 %")


def test_values_are_not_shown_as_live_before_the_roster_is_known() -> None:
    assert Viewer(metrics()).is_grey("12 %")


def test_an_unchanged_list_of_containers_was_good_until_its_link_broke() -> None:
    viewer = Viewer(hosts(), aged(containers(), 3600))
    viewer.now_s += 5
    viewer.tell(metrics(seq=2))
    viewer.now_s += 7
    viewer.tell(hosts(host_status(containers=link("gone", "silent"))))
    assert "7 s old: silent" in viewer.screen()


def test_a_host_that_left_the_whole_roster_is_gone() -> None:
    viewer = Viewer(hosts(host_status("a"), host_status("b")), metrics("a"), metrics("b"))
    viewer.tell(hosts(host_status("b")))
    assert viewer.fleet.hosts() == ["b"]


def test_rosters_of_single_hosts_add_up() -> None:
    viewer = Viewer(hosts(host_status("a")), hosts(host_status("b")), whole_roster=False)
    assert viewer.fleet.hosts() == ["a", "b"]


def test_one_cause_for_all_links_is_said_once() -> None:
    gone = link("gone", "silent")
    screen = Viewer(hosts(host_status(metrics=gone, containers=gone, executor=gone))).screen()
    assert "gone: silent" in screen
    assert "executor" not in screen


def test_names_from_outside_cannot_steer_the_terminal() -> None:
    viewer = Viewer(hosts(), containers(container("evil\x1b[2J\u202e\n[red]x[/red]", image="i\x9b31m")))
    screen = viewer.screen()
    assert "evil�[2J��[red]x[/red]" in screen
    assert "\x1b" not in screen
    assert "\x9b" not in screen


def test_what_does_not_fit_the_window_is_counted() -> None:
    many = containers(*(container(f"c{number:03}") for number in range(100)))
    viewer = Viewer(hosts(), metrics(), many)
    screen = viewer.screen(height=24)
    assert len(screen.splitlines()) <= 24
    assert "more containers: they need a taller window" in screen
    assert len(viewer.screen(height=6).splitlines()) <= 12


def test_a_narrow_window_cuts_words_and_never_numbers_or_hosts() -> None:
    broken = hosts(
        host_status(containers=link("gone", "docker-unreachable"), executor=link("gone", "docker-unreachable"))
    )
    viewer = Viewer(broken, metrics(), containers(container("n" * 60, image="i" * 60, status="s" * 60)))
    lines = viewer.screen(width=80).splitlines()
    assert len(lines) == 7
    for whole in ("web-1", "12 %", "38 %", "42 %", "122 KiB/s", "2.0 KiB/s", "0 s"):
        assert whole in lines[3]
    assert "containers gone" in lines[3]
    assert lines[6].startswith("web-1  nnnn")


def test_an_empty_fleet_says_so() -> None:
    screen = Viewer(hosts() | {"hosts": []}).screen()
    assert "no hosts yet" in screen
    assert "no containers yet" in screen


def test_channels_choose_the_tables() -> None:
    assert kinds_of(["metrics:a"]) == ("metrics",)
    assert kinds_of(["containers"]) == ("containers",)
    assert kinds_of(["hosts"]) == ("metrics",)
    assert kinds_of(["containers", "hosts"]) == ("metrics", "containers")
    assert kinds_of(["events:a", "processes:a", "usage"]) == ("usage", "processes", "events")


# Usage, processes, events


def test_what_a_container_uses_stands_beside_it_whatever_the_order() -> None:
    viewer = Viewer(hosts(), metrics(), containers(container("db"), container("web")), show="usage")
    viewer.tell(usage(("web", 3.25, 20 << 20), ("gone", 99.0, 1), ("db", 150.4, 1 << 30)))
    assert viewer.row(" db ")[-2:] == ["150 %", "1.0 GiB"]
    assert viewer.row(" web ")[-2:] == ["3.2 %", "20.0 MiB"]
    assert "99 %" not in viewer.screen()
    assert not viewer.is_grey("150 %")
    assert viewer.tell(usage(("db", 1.0, 1), seq=1)) == [False]


def test_without_the_channel_there_are_no_columns_of_usage() -> None:
    assert "MEMORY" not in Viewer(hosts(), containers(), usage(("nginx", 50.0, 1))).screen().splitlines()[-2]


def test_what_is_not_known_of_a_containers_usage_is_a_dash() -> None:
    listed = (container("half"), container("new"), container("ended", state="exited", exitCode=1))
    viewer = Viewer(hosts(), containers(*listed), usage(("half", None, 4096), ("ended", 70.0, 70)), show="usage")
    assert viewer.row(" half ")[-2:] == ["-", "4.0 KiB"]
    assert viewer.row(" new ")[-2:] == ["-", "-"]
    assert viewer.row(" ended ")[-2:] == ["-", "-"], "its last sample is of the time before it ended"


def test_usage_behind_a_broken_link_is_grey() -> None:
    viewer = Viewer(hosts(), containers(), usage(("nginx", 50.0, 4096)), show="usage")
    assert not viewer.is_grey("50 %")
    viewer.tell(hosts(host_status(containers=link("stalled", "docker-error"))))
    assert viewer.is_grey("50 %")
    assert viewer.is_grey("4.0 KiB")
    viewer.tell(hosts())
    viewer.fleet.disconnected()
    assert viewer.is_grey("50 %")


def test_a_host_that_left_takes_its_usage_and_processes_along() -> None:
    viewer = Viewer(hosts(), containers(), usage(("nginx", 50.0, 1)), processes([process(7, "nginx")], []))
    viewer.tell(hosts(host_status("web-2")), hosts(), containers(seq=2))
    viewer.show = kinds_of(["containers", "usage", "processes"])
    assert "50 %" not in viewer.screen()
    assert "no processes yet" in viewer.screen()
    assert viewer.tell(usage(("nginx", 1.0, 1))) == [True]


def test_processes_are_those_of_cpu_and_then_those_of_memory_each_once() -> None:
    nginx = container("nginx")
    by_cpu = [process(number, f"busy{number}", cpu=90.0 - number) for number in range(1, 10)]
    by_memory = [by_cpu[0], process(99, "big", cpu=0.0, memory=8 << 30, container_id=nginx["id"])]
    by_memory.append(process(98, "other", container_id="f" * 64))
    viewer = Viewer(hosts(), containers(nginx), processes(by_cpu, by_memory), show="processes:web-1")
    assert viewer.row("busy1") == ["web-1", "busy1", "1", "89 %", "10.0 MiB"]
    assert viewer.row(" big ") == ["web-1", "big", "nginx", "99", "0 %", "8.0 GiB"]
    assert viewer.row(" other ")[2] == "f" * 12
    assert "busy5" in viewer.screen()
    assert "busy6" not in viewer.screen()
    assert not viewer.is_grey("89 %")
    viewer.tell(hosts(host_status(metrics=link("gone", "silent"))))
    assert viewer.is_grey("89 %")


def test_the_last_events_are_listed_with_their_cause_the_newest_last() -> None:
    viewer = Viewer(hosts(), show="events")
    assert "no events yet" in viewer.screen()
    at = now_ms() - 5000
    viewer.tell(*(event(f"c{number}") for number in range(7)))
    viewer.tell(event("db", exitCode=137, oomKilled=True, at=at))
    viewer.tell(event("web", "exited", "running", cause={"requestId": "r", "actor": "ops", "action": "restart"}))
    time = f"{datetime.fromtimestamp(at / 1000).astimezone():%H:%M:%S}"
    assert viewer.row("web-1/db") == [time, "web-1/db", "running → exited (137, out of memory)"]
    assert viewer.row("web-1/web")[1:] == ["web-1/web", "exited → running", "by ops (restart)"]
    lines = viewer.screen().splitlines()
    assert ["web-1/web" in lines[-1], "web-1/db" in lines[-2]] == [True, True]
    assert "c1" in viewer.screen()
    assert "c0" not in viewer.screen()
    assert viewer.styles("running → exited (137") == {"red"}


def test_events_that_may_have_been_missed_are_said_to_be() -> None:
    viewer = Viewer(hosts(), event(), show="events")
    viewer.fleet.disconnected()
    viewer.tell(connected(), hosts(), event("db"))
    lines = viewer.screen().splitlines()
    assert "what happened meanwhile may be missing" in lines[-2]
    assert "web-1/db" in lines[-1]
    quiet = Viewer(hosts(), show="events")
    quiet.fleet.disconnected()
    quiet.tell(connected())
    assert "meanwhile" not in quiet.screen()


def test_the_whole_screen_fits_its_window() -> None:
    many = [container(f"c{number:03}") for number in range(60)]
    busy = [process(number + 1, f"p{number}") for number in range(10)]
    viewer = Viewer(hosts(), metrics(), containers(*many), processes(busy, busy), show="usage events processes")
    viewer.tell(*(event(f"e{number}") for number in range(20)))
    for height in (18, 24, 50):
        lines = viewer.screen(height=height).splitlines()
        assert len(lines) <= height
        assert "web-1/e19" in lines[-1]
        assert any("more containers" in line for line in lines)


# Hosts that may be off


def test_a_host_that_may_be_off_is_off_and_quiet_where_it_is_gone() -> None:
    silent, stopped = link("gone", "silent"), link("gone", "stopped")
    gone = {"metrics": silent, "containers": stopped, "executor": stopped}
    known = (aged(metrics("laptop"), 300), aged(containers(host="laptop"), 300))
    viewer = Viewer(hosts(host_status("laptop", "sometimes", **gone)), *known)
    assert viewer.row(" off  ")[:2] == ["laptop", "off"]
    assert viewer.is_grey("off")
    assert viewer.is_grey("5 min old: off")
    assert viewer.is_grey("12 %")
    viewer.tell(hosts(host_status("laptop", "always", **gone)))
    assert viewer.styles("metrics gone: silent") == {"yellow"}
    viewer.tell(hosts(host_status("laptop", "sometimes", **(gone | {"metrics": link()}))))
    assert "off" not in viewer.screen()
