import copy
import logging
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.models import Container
from common.protection import Endpoint, Protection
from common.telemetry import malformed
from services.collector.inventory import Inspection, Inventory
from services.collector.snapshot import LabelFilter

ID_A, ID_B = "a" * 64, "b" * 64


def listed(container_id: str = ID_A, name: str = "web", status: str = "Up 3 hours", **changes: Any) -> dict[str, Any]:
    return {"Id": container_id, "Names": [f"/{name}"], "State": "running", "Status": status, **changes}


def inspected(started_at: str = "2026-11-23T13:45:53.5Z", restarts: int = 0) -> dict[str, Any]:
    return {"RestartCount": restarts, "State": {"StartedAt": started_at}}


class Host:
    """An engine and the inventory that is fed from it."""

    def __init__(self) -> None:
        self.inventory = Inventory(LabelFilter())
        self.protection = Protection()
        self.inspections: dict[str, Inspection] = {}
        self.asked: list[str] = []
        self.now_s = 1_000.0

    def round(self, *raw_list: Any, named: Collection[str] = (), after_s: float = 0.1) -> tuple[Container, ...]:
        self.now_s += after_s
        entries = self.inventory.read(raw_list)
        self.asked = self.inventory.to_inspect(entries, named, self.now_s)
        answers = {id: self.inspections[id] for id in self.asked if id in self.inspections}
        return self.inventory.snapshot(entries, answers, self.protection, self.now_s)


@pytest.fixture
def host() -> Host:
    host = Host()
    host.inspections = {ID_A: inspected(), ID_B: inspected()}
    return host


def skipped() -> float:
    return malformed.labels("container")._value.get()


def test_a_new_container_is_inspected_once(host: Host) -> None:
    host.round(listed())
    assert host.asked == [ID_A]
    host.round(listed(), listed(ID_B, "db"))
    assert host.asked == [ID_B]
    host.round(listed(), listed(ID_B, "db"))
    assert host.asked == []


@pytest.mark.parametrize(
    "changed", [{"status": "Exited (1) 2 seconds ago"}, {"State": "paused"}, {"status": "Up 3 hours (unhealthy)"}]
)
def test_a_container_whose_state_or_status_changed_is_inspected(host: Host, changed: dict[str, Any]) -> None:
    host.round(listed())
    host.round(listed(**changed))
    assert host.asked == [ID_A]


def test_a_container_that_an_event_names_is_inspected_and_no_other(host: Host) -> None:
    host.round(listed(), listed(ID_B, "db"))
    host.round(listed(), listed(ID_B, "db"), named={ID_B, "c" * 64})
    assert host.asked == [ID_B]


def test_time_that_passes_is_no_reason_to_inspect(host: Host) -> None:
    host.round(listed(status="Up 3 minutes"))
    for status, after_s in [
        ("Up 4 minutes", 60),
        ("Up 59 minutes", 3_300),
        ("Up About an hour", 60),
        ("Up 2 days", 1e5),
    ]:
        host.round(listed(status=status), after_s=after_s)
        assert host.asked == []


@pytest.mark.parametrize(
    ("before", "after", "after_s"),
    [
        ("Up 3 hours", "Up 25 seconds", 30.0),
        ("Up 3 hours", "Up About a minute", 200.0),
        ("Up 5 minutes", "Up 5 minutes", 400.0),
        ("Exited (0) 3 hours ago", "Exited (0) 25 seconds ago", 30.0),
        ("Exited (0) 3 hours ago", "Exited (1) 3 hours ago", 30.0),
    ],
)
def test_a_text_that_betrays_another_run_is_a_reason(host: Host, before: str, after: str, after_s: float) -> None:
    host.round(listed(status=before))
    host.round(listed(status=after), after_s=after_s)
    assert host.asked == [ID_A]


@pytest.mark.parametrize("status", ["Up 3 seconds", "Up Less than a second", "Exited (0) 2 seconds ago", "Up 1 second"])
def test_one_that_was_young_when_it_was_inspected_is_inspected_once_more(host: Host, status: str) -> None:
    [before] = host.round(listed(status=status))
    host.inspections[ID_A] = inspected("2026-11-23T13:45:54.5Z")
    [soon] = host.round(listed(status=status))
    assert host.asked == []
    [after] = host.round(listed(status="Up 7 seconds"), after_s=4)
    assert (before.started_at, soon.started_at, after.started_at) == (1795441553500, 1795441553500, 1795441554500)
    host.round(listed(status="Up 11 seconds"), after_s=4)
    assert host.asked == []


def test_after_missed_lists_everything_is_inspected(host: Host) -> None:
    host.round(listed(), listed(ID_B, "db"))
    host.inventory.doubt()
    host.round(listed(), listed(ID_B, "db"))
    assert host.asked == [ID_A, ID_B]
    host.round(listed(), listed(ID_B, "db"))
    assert host.asked == []


def test_what_the_list_says_is_published_without_an_inspection(host: Host) -> None:
    host.round(listed())
    [renamed] = host.round(listed(name="web-old"))
    assert host.asked == []
    assert renamed.name == "web-old"


def test_a_container_that_the_rule_lets_alone_is_protected(host: Host) -> None:
    host.protection = Protection(forbid="tier=db", own_id=ID_B)
    network = {"Networks": {"shop": {"IPAddress": "172.18.0.5"}}}
    shown = host.round(listed(Labels={"tier": "web"}, NetworkSettings=network), listed(ID_B, "fleetcast"))
    assert {found.name: found.protected for found in shown} == {"web": False, "fleetcast": True}


def test_a_rule_that_has_changed_shows_without_an_inspection(host: Host) -> None:
    unchanged = listed(NetworkSettings={"Networks": {"shop": {"IPAddress": "172.18.0.5"}}})
    [before] = host.round(unchanged)
    host.protection = Protection(bus=frozenset({Endpoint("172.18.0.5", 6379, is_local=False)}))
    [after] = host.round(unchanged)
    assert host.asked == []
    assert (before.protected, after.protected) == (False, True)
    assert after.model_copy(update={"protected": False}) == before


@pytest.mark.parametrize(
    "junk", [{"NetworkSettings": "none"}, {"NetworkSettings": {"Networks": [1]}}, {"HostConfig": None}]
)
def test_a_network_that_cannot_be_read_hides_no_container(host: Host, junk: dict[str, Any]) -> None:
    assert [found.protected for found in host.round(listed(**junk))] == [False]


def test_one_that_moved_on_between_list_and_inspection_is_shown_as_it_is_and_looked_at_again(host: Host) -> None:
    host.inspections[ID_A] = inspected() | {"State": {"Status": "running", "StartedAt": "2026-11-23T13:45:54.5Z"}}
    [moved] = host.round(listed(State="exited", status="Exited (0) 1 second ago"))
    assert (moved.state, moved.started_at, moved.exit_code) == ("running", 1795441554500, None)
    [settled] = host.round(listed(status="Up 1 second"))
    assert host.asked == [ID_A]
    assert settled.state == "running"
    host.round(listed(status="Up 1 second"))
    assert host.asked == []


@pytest.mark.parametrize(
    ("said", "moved"),
    [
        ({"State": {"Status": "running"}}, False),
        ({"State": {"Status": "exited"}}, True),
        ({"State": {}}, False),
        ({"State": "up"}, False),
        (None, False),
    ],
)
def test_a_list_is_out_of_date_where_an_inspection_after_it_shows_another_state(
    host: Host, said: Inspection, moved: bool
) -> None:
    entries = host.inventory.read([listed(), listed(ID_B, "db")])
    assert host.inventory.have_moved(entries, {ID_A: said}) == moved


def test_what_has_not_changed_is_not_made_anew(host: Host) -> None:
    [before] = host.round(listed())
    [after] = host.round(listed())
    assert after is before


def test_one_that_is_there_but_not_shown_is_named(host: Host) -> None:
    host.inspections[ID_A] = {"State": "up"}
    host.round(listed(), listed(ID_B, "db", State="levitating"))
    assert host.inventory.unreadable >= {ID_A}
    host.round()
    assert host.inventory.unreadable == frozenset()


def test_containers_are_sorted_by_name(host: Host) -> None:
    assert [found.name for found in host.round(listed(), listed(ID_B, "db"))] == ["db", "web"]


def test_a_container_that_vanished_before_its_inspection_is_left_out_silently(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.inspections[ID_A] = None
    before = skipped()
    assert [found.id for found in host.round(listed(), listed(ID_B, "db"))] == [ID_B]
    assert skipped() == before
    assert not caplog.records


def test_a_container_that_is_removed_is_forgotten(host: Host) -> None:
    host.round(listed())
    assert host.round() == ()
    host.round(listed())
    assert host.asked == [ID_A]


def test_an_unanswered_inspection_keeps_the_last_one_and_is_asked_again(host: Host) -> None:
    host.round(listed())
    del host.inspections[ID_A]
    for _ in range(2):
        [kept] = host.round(listed(status="Up 2 seconds"), after_s=30)
        assert host.asked == [ID_A]
        assert kept.status == "Up 2 seconds"
        assert kept.started_at == 1795441553500
    host.inspections[ID_A] = inspected(restarts=1)
    [fresh] = host.round(listed(status="Up 10 seconds"))
    assert fresh.restart_count == 1
    host.round(listed(status="Up 10 seconds"))
    assert host.asked == []


def test_doubt_outlives_an_unanswered_inspection(host: Host) -> None:
    host.round(listed())
    host.inventory.doubt()
    answer = host.inspections.pop(ID_A)
    host.round(listed())
    host.inspections[ID_A] = answer
    host.round(listed())
    assert host.asked == [ID_A]


@pytest.mark.parametrize("odd", [listed(State="levitating"), {"Id": ID_A}, {"Names": []}, None, [], "web"])
def test_one_that_cannot_be_read_is_counted_and_said_once(
    host: Host, odd: object, caplog: pytest.LogCaptureFixture
) -> None:
    before = skipped()
    with caplog.at_level(logging.WARNING, "services.collector.inventory"):
        for _ in range(3):
            assert [found.id for found in host.round(odd, listed(ID_B, "db"))] == [ID_B]
    assert skipped() == before + 3
    assert len(caplog.records) == 1


def test_one_whose_inspection_cannot_be_read_is_left_out(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.inspections[ID_A] = {"State": "up"}
    assert [found.id for found in host.round(listed(), listed(ID_B, "db"))] == [ID_B]
    assert "aaaaaaaaaaaa" in caplog.text


def test_one_that_docker_is_at_is_shown_as_the_list_has_it_until_it_answers(host: Host) -> None:
    answer = host.inspections.pop(ID_A)
    [found] = host.round(listed(Image="nginx", State="created", Status="Created"))
    assert (found.name, found.image, found.state) == ("web", "nginx", "created")
    assert (found.started_at, found.exit_code, found.restart_count) == (None, None, 0)
    host.inspections[ID_A] = answer
    [found] = host.round(listed(Image="nginx", State="created", Status="Created"))
    assert host.asked == [ID_A]
    assert found.started_at == 1795441553500


def test_of_one_that_changed_its_state_and_that_docker_is_at_nothing_old_is_told(host: Host) -> None:
    host.inspections[ID_A] = {"RestartCount": 3, "State": {"StartedAt": "2026-11-23T13:45:53.5Z", "ExitCode": 0}}
    host.round(listed())
    del host.inspections[ID_A]
    for _ in range(2):
        [found] = host.round(listed(State="exited", Status="Exited (137) 1 second ago"))
        assert host.asked == [ID_A]
        assert (found.state, found.exit_code, found.started_at) == ("exited", None, None)
        assert found.restart_count == 3
    host.inspections[ID_A] = {"State": {"ExitCode": 137, "OOMKilled": True}}
    [found] = host.round(listed(State="exited", Status="Exited (137) 2 seconds ago"))
    assert (found.exit_code, found.oom_killed) == (137, True)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*listed(), "x"]), inner, max_size=4),
    max_leaves=6,
)


@given(st.lists(st.lists(junk | st.just(listed()) | st.just(listed(ID_B)), max_size=3), max_size=3))
def test_no_list_whatever_raises(rounds: list[list[object]]) -> None:
    host = Host()
    host.inspections = {ID_A: inspected(), ID_B: inspected()}
    for raw_list in rounds:
        found = host.round(*copy.deepcopy(raw_list))
        assert {container.id for container in found} == {
            raw["Id"] for raw in raw_list if raw in (listed(), listed(ID_B)) and isinstance(raw, dict)
        }
