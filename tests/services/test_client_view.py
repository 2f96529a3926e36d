"""What viewers in a terminal are shown: the newest state, and never a stale value as a live one."""

import json
from typing import Any

import pytest
from rich.console import Console

from common.models import Container
from common.protocol import ServerMessage, parse_server_message
from services.client.changes import ChangeLog
from services.client.view import (
    ConnectionLine,
    Fleet,
    describe_state,
    format_age,
    format_bytes,
    kinds_of,
    network_totals,
    render,
)
from tests.services.fake_edge import (
    connected,
    container,
    containers,
    host_status,
    hosts,
    link,
    metrics,
    now_ms,
)


def parse(message: dict[str, Any]) -> ServerMessage:
    return parse_server_message(json.dumps(message))


class Viewer:
    """A fleet and a clock."""

    def __init__(self, *messages: dict[str, Any], whole_roster: bool = True) -> None:
        self.fleet = Fleet(whole_roster)
        self.now_s = 1000.0
        self.tell(connected(), *messages)

    def tell(self, *messages: dict[str, Any]) -> list[bool]:
        return [self.fleet.apply(parse(message), self.now_s) for message in messages]

    def screen(self, width: int = 140, height: int = 40) -> str:
        """The screen's text, with styles as ANSI codes left out."""
        console = Console(width=width, height=height, force_terminal=False, color_system=None)
        line = ConnectionLine("● connected", "green")
        with console.capture() as captured:
            console.print(render(self.fleet, line, self.fleet.now_ms(self.now_s), height))
        return captured.get()

    def is_grey(self, text: str) -> bool:
        """Whether this text, which stands on the screen, is greyed there."""
        console = Console(width=140, height=40)
        rendered = render(self.fleet, ConnectionLine("", ""), self.fleet.now_ms(self.now_s), 40)
        found = [segment for segment in console.render(rendered) if text in segment.text]
        assert found, f"{text!r} is not on the screen"
        return all(str(segment.style) == "bright_black" for segment in found)


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


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "exited", "exitCode": 137, "oomKilled": True}, "exited (137, out of memory)"),
        ({"state": "exited", "exitCode": 0}, "exited (0)"),
        ({"health": "unhealthy"}, "running, unhealthy"),
        ({"state": "paused"}, "paused"),
    ],
)
def test_states_in_words(fields: dict[str, Any], words: str) -> None:
    assert describe_state(Container.model_validate(container(**fields), strict=False)) == words


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1024, "1.0 KiB"), (1023 * 1024, "1.0 MiB"), (33e9, "30.7 GiB"), (5e15, "4547.5 TiB")],
)
def test_bytes_in_three_digits(count: float, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119.9, "119 s"), (120, "2 min"), (7200, "2 h"), (2e5, "2 d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


def test_bridges_do_not_count_traffic_twice() -> None:
    interfaces = [
        {"interface": name, "rxBytesPerSec": 10.0, "txBytesPerSec": 1.0}
        for name in ("lo", "eth0", "wlan0", "docker0", "veth12", "br-abc")
    ]
    message = parse(metrics(network=interfaces))
    assert network_totals(message.data) == (20.0, 2.0)  # type: ignore[union-attr, arg-type]
    only_lo = parse(metrics(network=interfaces[:1]))
    assert network_totals(only_lo.data) == (10.0, 1.0)  # type: ignore[union-attr, arg-type]


def test_channels_choose_the_tables() -> None:
    assert kinds_of(["metrics:a"]) == ("metrics",)
    assert kinds_of(["containers"]) == ("containers",)
    assert kinds_of(["hosts"]) == ("metrics",)
    assert kinds_of(["containers", "hosts"]) == ("metrics", "containers")


class Log:
    """The lines of a change log."""

    def __init__(self, whole_roster: bool = True) -> None:
        self._log = ChangeLog(whole_roster)
        self.now_s = 0.0

    def __call__(self, message: dict[str, Any]) -> list[str]:
        return self._log.lines(parse(message), self.now_s)


def test_a_log_tells_what_changes_and_nothing_else() -> None:
    log = Log()
    assert log(connected()) == ["connected to edge edge-1 as local (admin)"]
    assert log(hosts()) == ["web-1: live"]
    assert log(hosts()) == []
    assert log(containers()) == ["web-1/nginx: running, nginx:1.27, Up 3 minutes"]
    assert log(containers(container(status="Up 4 minutes"), seq=2)) == []
    assert log(containers(container(state="exited", exitCode=137), seq=3)) == ["web-1/nginx: running → exited (137)"]
    assert log(containers(container(), seq=4)) == ["web-1/nginx: exited (137) → running"]
    assert log(containers(container(startedAt=9), seq=5)) == ["web-1/nginx: restarted, running"]
    assert log(containers(container(startedAt=9), container("db"), seq=6)) == [
        "web-1/db: new, running, nginx:1.27, Up 3 minutes"
    ]
    assert log(containers(container("db"), seq=7)) == ["web-1/nginx: removed"]
    assert log(hosts(host_status(executor=link("gone", "silent")))) == ["web-1: executor gone: silent"]
    assert log(hosts() | {"hosts": []}) == ["web-1: no longer in the fleet"]
    assert log({"type": "error", "code": "unavailable", "message": "Redis is\naway"}) == [
        "error unavailable: Redis is�away"
    ]
    assert log({"type": "heartbeat", "serverTime": 1}) == []


def test_a_log_has_each_hosts_numbers_every_ten_seconds() -> None:
    log = Log()
    assert log(metrics()) == ["web-1: cpu 12 %, memory 38 % of 8.0 GiB, disk / 42 %, net in 122 KiB/s out 2.0 KiB/s"]
    log.now_s = 9.9
    assert log(metrics(seq=2)) == []
    log.now_s = 10
    assert len(log(metrics(seq=3))) == 1
