import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MalformedError
from common.models import Container, Port
from services.collector import snapshot
from services.collector.snapshot import LabelFilter, describe, read_inspected, read_listed

ID = "ab" * 32
LISTED: dict[str, Any] = {
    "Id": ID,
    "Names": ["/web"],
    "Image": "sha256:017f22ee884b",
    "Created": 1795441553,
    "Ports": [
        {"IP": "::", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"},
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"},
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"},
        {"PrivatePort": 53, "Type": "udp"},
    ],
    "Labels": {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "web",
        "org.opencontainers.image.title": "Shop",
        "fleetcast.protect": "True",
        "com.example.api-key": "s3cret",
        "team": "blue",
    },
    "State": "running",
    "Status": "Up 2 minutes (healthy)",
}
INSPECTED: dict[str, Any] = {
    "Id": ID,
    "Created": "2026-11-23T13:45:53.355572723Z",
    "RestartCount": 3,
    "Config": {"Image": "registry.example.com:5000/shop/web:1.2", "Env": ["PASSWORD=s3cret"]},
    "State": {
        "Status": "running",
        "StartedAt": "2026-11-23T13:45:53.612817045Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
        "ExitCode": 0,
        "OOMKilled": False,
        "Health": {"Status": "healthy"},
    },
}

json_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
surrogates = st.text(st.characters(categories=["Cs", "L"]), max_size=5)


def container(
    listed: dict[str, Any] | None = None, inspected: dict[str, Any] | None = None, setting: str = ""
) -> Container:
    """From the examples above, changed."""
    state = {**INSPECTED["State"], **(inspected or {}).pop("State", {})} if inspected else INSPECTED["State"]
    return describe(
        read_listed(LISTED | (listed or {})),
        read_inspected(INSPECTED | (inspected or {}) | {"State": state}),
        LabelFilter.parse(setting),
        protected=True,
    )


def test_every_field_of_a_running_container_is_read() -> None:
    assert container() == Container(
        id=ID,
        name="web",
        image="registry.example.com:5000/shop/web:1.2",
        state="running",
        status="Up 2 minutes (healthy)",
        health="healthy",
        created_at=1795441553355,
        started_at=1795441553612,
        finished_at=None,
        exit_code=None,
        oom_killed=False,
        restart_count=3,
        ports=(
            Port(ip=None, host_port=None, container_port=53, protocol="udp"),
            Port(ip="0.0.0.0", host_port=18080, container_port=80, protocol="tcp"),
            Port(ip="::", host_port=18080, container_port=80, protocol="tcp"),
        ),
        project="shop",
        service="web",
        labels={
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": "web",
            "fleetcast.protect": "True",
            "org.opencontainers.image.title": "Shop",
        },
        protected=True,
    )


def test_neither_environment_nor_secret_labels_leave_the_host() -> None:
    assert "s3cret" not in container().model_dump_json()


def test_a_setting_adds_labels_by_name_and_by_prefix() -> None:
    assert container(setting="team").labels["team"] == "blue"
    assert container(setting=" com.example.*, ,te*").labels.keys() >= {"com.example.api-key", "team"}
    assert "team" not in container(setting="te").labels


def test_an_exited_container_has_an_exit_code_and_no_health() -> None:
    exited = container(
        {"State": "exited", "Status": "Exited (137) 2 minutes ago"},
        {"State": {"ExitCode": 137, "OOMKilled": True, "FinishedAt": "2026-11-23T13:46:53.5Z"}},
    )
    assert (exited.state, exited.exit_code, exited.oom_killed) == ("exited", 137, True)
    assert exited.finished_at == 1795441613500
    assert exited.health is None


@pytest.mark.parametrize(
    ("state", "exit_code"),
    [
        ("created", None),
        ("running", None),
        ("paused", None),
        ("restarting", 0),
        ("removing", 0),
        ("exited", 0),
        ("dead", 0),
    ],
)
def test_only_what_has_ended_has_an_exit_code(state: str, exit_code: int | None) -> None:
    assert container({"State": state}).exit_code == exit_code


@pytest.mark.parametrize(
    ("said", "status", "health"),
    [
        ({"Status": "starting"}, "Up 3 seconds (health: starting)", "starting"),
        ({"Status": "unhealthy"}, "Up 3 minutes (unhealthy)", "unhealthy"),
        ({"Status": "none"}, "Up 3 minutes", None),
        ({"Status": ""}, "Up 3 minutes", None),
        ({}, "Up 3 minutes", None),
        ({"Status": "splendid"}, "Up 3 minutes", None),
        (None, "Up 3 minutes", None),
        (None, "Up 3 minutes (healthy)", "healthy"),
        (None, "Up 3 minutes (unhealthy)", "unhealthy"),
        (None, "Up 3 seconds (health: starting)", "starting"),
        (None, "Up 3 minutes (Paused)", None),
    ],
)
def test_health_comes_from_the_inspection_or_else_from_the_status_text(
    said: dict[str, str] | None, status: str, health: str | None
) -> None:
    assert container({"Status": status}, {"State": {"Health": said}}).health == health


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-11-23T13:45:53.612817045Z", 1795441553612),
        ("2026-11-23T13:45:53.9999999Z", 1795441553999),
        ("2026-11-23T13:45:53Z", 1795441553000),
        ("2026-11-23T15:45:53.5+02:00", 1795441553500),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("9999-12-31T23:59:59.999-23:59", 253402387139999),
        ("1969-12-31T23:59:59Z", None),
        ("2026-11-23T13:45:53", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_docker_times_are_cut_to_milliseconds(text: str | None, ms: int | None) -> None:
    assert container({}, {"State": {"StartedAt": text}}).started_at == ms


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["/web"], "web"),
        (["/front/db", "/db"], "db"),
        (["/front/db"], "front/db"),
        (["web"], "web"),
        ([], "abababababab"),
        (["/"], "abababababab"),
        (None, "abababababab"),
    ],
)
def test_a_container_goes_by_its_own_name(names: list[str] | None, name: str) -> None:
    assert container({"Names": names}).name == name


def test_what_docker_leaves_out_or_sets_to_null_is_no_error() -> None:
    bare = describe(
        read_listed({"Id": ID, "Names": None, "Ports": None, "Labels": None, "State": "created"}),
        read_inspected({"State": {"Health": None}, "Config": None}),
        LabelFilter(),
        protected=False,
    )
    assert bare.ports == ()
    assert bare.labels == {}
    assert (bare.image, bare.project, bare.started_at, bare.created_at) == ("", None, None, 0)
    assert not bare.protected


def test_the_image_is_the_lists_where_the_inspection_has_none() -> None:
    assert container({}, {"Config": {"Image": None}}).image == "sha256:017f22ee884b"


def test_huge_labels_are_cut_and_too_many_left_out() -> None:
    many = {f"fleetcast.note{i:04}": "x" * 1_000_000 for i in range(3)} | {f"fleetcast.z{i:04}": "" for i in range(500)}
    labels = container({"Labels": many}).labels
    assert len(labels) == snapshot.MAX_LABELS
    assert len(labels["fleetcast.note0000"]) == snapshot.MAX_LABEL_CHARS
    assert labels["fleetcast.note0000"].endswith("x…")


def test_of_a_huge_range_of_ports_the_first_are_published() -> None:
    ports = [{"IP": "0.0.0.0", "PrivatePort": n, "PublicPort": n, "Type": "tcp"} for n in range(1, 65536)]
    found = container({"Ports": ports}).ports
    assert [port.container_port for port in found] == list(range(1, snapshot.MAX_PORTS + 1))


@pytest.mark.parametrize(
    ("listed", "inspected"),
    [
        ({"State": "levitating"}, {}),
        ({"State": None}, {}),
        ({"Id": "web"}, {}),
        ({"Id": ID.upper()}, {}),
        ({"Id": f"{ID}\n"}, {}),
        ({"Id": None}, {}),
        ({"Ports": [{"PrivatePort": "many"}]}, {}),
        ({}, {"RestartCount": -1}),
        ({}, {"Config": "busybox"}),
    ],
)
def test_a_container_that_cannot_be_read_is_malformed(listed: dict[str, Any], inspected: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        container(listed, inspected)


def test_half_a_character_does_not_hide_a_container() -> None:
    odd = {"Names": ["/w\ud800b"], "Status": "\udfff", "Labels": {"fleetcast.\ud800": "\ud800 é"}}
    found = container(odd, {"Config": {"Image": "\ud800"}})
    assert (found.name, found.status, found.image, found.labels) == ("w?b", "?", "?", {"fleetcast.?": "? é"})
    assert Container.model_validate_json(found.model_dump_json()) == found


@given(json_junk, json_junk)
def test_junk_raises_nothing_but_malformed(listed: object, inspected: object) -> None:
    for read, junk in ((read_listed, listed), (read_inspected, inspected)):
        with suppress(MalformedError):
            read(junk)


_PLACES = [
    *(("listed", key) for key in LISTED),
    *(("inspected", key) for key in INSPECTED),
    *(("state", key) for key in INSPECTED["State"]),
    *(("port", key) for key in LISTED["Ports"][0]),
    ("health", "Status"),
]


@given(
    st.dictionaries(st.sampled_from(_PLACES), json_junk | surrogates | st.integers(), max_size=4),
    st.dictionaries(st.text(max_size=8) | st.just("fleetcast.x"), st.text() | surrogates, max_size=3),
)
def test_containers_with_odd_fields_are_read_or_malformed(
    changes: dict[tuple[str, str], object], labels: dict[str, str]
) -> None:
    listed, inspected = copy.deepcopy(LISTED), copy.deepcopy(INSPECTED)
    listed["Labels"] |= labels
    places = {
        "listed": listed,
        "inspected": inspected,
        "state": inspected["State"],
        "port": listed["Ports"][0],
        "health": inspected["State"]["Health"],
    }
    for (place, key), value in changes.items():
        places[place][key] = value
    try:
        found = describe(read_listed(listed), read_inspected(inspected), LabelFilter.parse("*"), protected=False)
    except MalformedError:
        return
    assert Container.model_validate_json(found.model_dump_json()) == found
    assert json.loads(found.model_dump_json())["id"] == ID
