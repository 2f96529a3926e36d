"""The feed as a log: a line for each change and event, and none for what has been told."""

import json
from typing import Any

from common.protocol import parse_server_message
from services.client.changes import ChangeLog
from tests.services.fake_edge import connected, container, containers, event, host_status, hosts, link, metrics, usage


class Log:
    """The lines of a change log."""

    def __init__(self, *channels: str) -> None:
        self._log = ChangeLog(channels or ("hosts", "metrics", "containers"))
        self.now_s = 0.0

    def __call__(self, message: dict[str, Any]) -> list[str]:
        return self._log.lines(parse_server_message(json.dumps(message)), self.now_s)


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


def test_a_log_with_events_tells_changes_by_these_alone() -> None:
    log = Log("hosts", "containers", "events")
    log(connected())
    log(hosts())
    assert log(containers()) == ["web-1/nginx: running, nginx:1.27, Up 3 minutes"]
    assert log(event(exitCode=1)) == ["web-1/nginx: running → exited (1)"]
    assert log(containers(container(state="exited", exitCode=1), container("db"), seq=2)) == []
    assert log(containers(container(state="exited", exitCode=1), container("db") | {"name": "sql"}, seq=3)) == [
        "web-1/db: renamed to sql"
    ]
    by_ops = {"requestId": "r", "actor": "ops\x1b", "action": "remove"}
    assert log(event(before="exited", after=None, cause=by_ops)) == ["web-1/nginx: removed, by ops� (remove)"]
    assert log(containers(container("db") | {"name": "sql"}, seq=4)) == []
    assert log(usage(("db", 1.0, 1))) == []


def test_a_log_tells_what_happened_without_a_connection_from_the_first_list_after_it() -> None:
    log = Log("hosts", "containers", "events:web-1")
    log(containers())
    log(connected())
    assert log(containers(container(state="exited", exitCode=1), seq=2)) == ["web-1/nginx: running → exited (1)"]
    assert log(containers(container(), seq=3)) == [], "from here on events tell"
    other = Log("containers", "events:web-2")
    other(containers())
    assert other(containers(container(state="paused"), seq=2)) == ["web-1/nginx: running → paused"]


def test_a_log_says_off_of_a_host_that_may_be() -> None:
    gone = link("gone", "silent")
    assert Log()(hosts(host_status(expected="sometimes", metrics=gone, containers=gone, executor=gone))) == [
        "web-1: off"
    ]


def test_a_log_has_each_hosts_numbers_every_ten_seconds() -> None:
    log = Log()
    assert log(metrics()) == ["web-1: cpu 12 %, memory 38 % of 8.0 GiB, disk / 42 %, net in 122 KiB/s out 2.0 KiB/s"]
    log.now_s = 9.9
    assert log(metrics(seq=2)) == []
    log.now_s = 10
    assert len(log(metrics(seq=3))) == 1
