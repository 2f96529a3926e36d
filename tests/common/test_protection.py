import copy
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.docker import Docker
from common.errors import MalformedError
from common.protection import (
    Endpoint,
    Facts,
    Protection,
    canonical_address,
    facts_of_inspected,
    facts_of_listed,
)
from tests.conftest import Containers, docker
from tests.engine import REAL_SOCKET

ID = "ab" * 32
LABELED = "it carries fleetcast.protect=true"
OWN = "it is Fleetcast's own container"
REDIS = "it is the Redis that Fleetcast talks to"
FORBIDDEN = "it is forbidden on this host by its label {} (FLEETCAST_FORBID_LABELS)"
NOT_ALLOWED = "it has none of the labels that this host allows (FLEETCAST_ALLOW_LABELS)"

LOOPBACK = Endpoint("127.0.0.1", 6379, is_local=True)
ELSEWHERE = Endpoint("10.9.8.7", 6379, is_local=False)
"""Another machine, or a container: it is no address of this machine."""


def facts(
    labels: dict[str, str] | None = None, addresses: tuple[str, ...] = (), published: tuple[tuple[str, int], ...] = ()
) -> Facts:
    return Facts(ID, labels or {}, frozenset(addresses), frozenset(published))


def reason(found: Facts, *bus: Endpoint, **rule: Any) -> str | None:
    return Protection(bus=frozenset(bus), **rule).reason(found)


# The rule


@pytest.mark.parametrize(
    ("value", "protected"), [("true", True), ("TRUE", True), (" True\n", True), ("false", False), ("yes", False)]
)
def test_what_carries_the_label_is_let_alone(value: str, protected: bool) -> None:
    assert reason(facts({"fleetcast.protect": value})) == (LABELED if protected else None)


def test_any_other_container_may_be_acted_on() -> None:
    assert reason(facts({"team": "blue"}, ("172.17.0.2",), (("", 80),)), LOOPBACK, ELSEWHERE, own_id="cd" * 32) is None


def test_the_own_container_is_let_alone() -> None:
    assert reason(facts(), own_id=ID) == OWN
    assert reason(facts(), own_id=None) is None
    assert Protection(own_id=None).reason(facts_of_listed({})) is None


@pytest.mark.parametrize("port", [6379, 7000])
def test_a_container_with_an_address_of_the_bus_is_the_redis_whatever_the_port(port: int) -> None:
    bus = Endpoint("172.18.0.5", port, is_local=False)
    assert reason(facts(addresses=("172.17.0.9", "172.18.0.5")), bus) == REDIS
    assert reason(facts(addresses=("172.18.0.50",)), bus) is None
    assert reason(facts(addresses=("fd00::5",)), Endpoint("fd00::5", port, is_local=False)) == REDIS


@pytest.mark.parametrize(
    ("bus", "published", "is_redis"),
    [
        (LOOPBACK, ("127.0.0.1", 6379), True),
        (LOOPBACK, ("0.0.0.0", 6379), True),
        (LOOPBACK, ("::", 6379), True),
        (LOOPBACK, ("", 6379), True),
        (LOOPBACK, ("127.0.0.2", 6379), False),
        (LOOPBACK, ("192.168.1.10", 6379), False),
        (LOOPBACK, ("127.0.0.1", 6380), False),
        (LOOPBACK, ("", 6380), False),
        (Endpoint("::1", 6379, is_local=True), ("::1", 6379), True),
        (Endpoint("::1", 6379, is_local=True), ("127.0.0.1", 6379), False),
        (Endpoint("192.168.1.10", 6379, is_local=True), ("192.168.1.10", 6379), True),
        (Endpoint("192.168.1.10", 6379, is_local=True), ("0.0.0.0", 6379), True),
        (Endpoint("192.168.1.10", 6379, is_local=True), ("127.0.0.1", 6379), False),
    ],
)
def test_a_container_that_publishes_the_port_of_a_bus_on_this_machine_is_the_redis(
    bus: Endpoint, published: tuple[str, int], is_redis: bool
) -> None:
    assert reason(facts(published=(("", 80), published)), bus) == (REDIS if is_redis else None)


@pytest.mark.parametrize("address", ["", "0.0.0.0", "::", "127.0.0.1", "192.168.1.10"])
def test_a_container_that_publishes_the_port_of_a_bus_on_another_machine_is_not_the_redis(address: str) -> None:
    assert reason(facts(addresses=("172.17.0.2",), published=((address, 6379),)), ELSEWHERE) is None


def test_each_of_several_addresses_of_the_bus_counts() -> None:
    assert reason(facts(published=(("", 6379),)), ELSEWHERE, LOOPBACK) == REDIS
    assert reason(facts(addresses=(ELSEWHERE.address,)), ELSEWHERE, LOOPBACK) == REDIS


@pytest.mark.parametrize(
    ("selector", "labels", "fits"),
    [
        ("team", {"team": ""}, True),
        ("team", {"team": "blue"}, True),
        ("team", {"teams": "blue"}, False),
        ("team", {"other": "team"}, False),
        ("team=blue", {"team": "blue"}, True),
        ("team=blue", {"team": "Blue"}, False),
        ("team=blue", {"team": "blue2"}, False),
        ("team=blue", {"team": "red", "other": "blue"}, False),
        ("team=", {"team": ""}, True),
        ("team=", {"team": "blue"}, False),
        ("team=*", {"team": ""}, True),
        ("team=b*e", {"team": "blue"}, True),
        ("team=b*e", {"team": "bl\nue"}, True),
        ("team=b*e", {"team": "blues"}, False),
        ("com.example.*", {"com.example.a": "x"}, True),
        ("com.example.*", {"comXexample.a": "x"}, False),
        ("com.*.tier=*db*", {"com.shop.tier": "olddb2"}, True),
        ("a=b=c", {"a": "b=c"}, True),
        ("team=[b]lue", {"team": "blue"}, False),
        ("team=[b]*", {"team": "[b]lue"}, True),
        ("team=blu?", {"team": "blue"}, False),
        ("team=blu?*", {"team": "blu?e"}, True),
        ("*", {"anything": "at all"}, True),
        ("*", {}, False),
    ],
)
def test_a_selector_is_a_label_or_a_label_and_its_value_where_a_star_fits_anything(
    selector: str, labels: dict[str, str], fits: bool
) -> None:
    assert reason(facts(labels), forbid=selector) == (FORBIDDEN.format(selector) if fits else None)
    assert reason(facts(labels), allow=selector) == (None if fits else NOT_ALLOWED)


def test_of_several_selectors_one_is_enough() -> None:
    several = " team=red,, tier "
    assert reason(facts({"tier": "web"}), forbid=several) == FORBIDDEN.format("tier")
    assert reason(facts({"tier": "web"}), allow=several) is None
    assert reason(facts({"team": "blue"}), forbid=several) is None
    assert reason(facts({"team": "blue"}), allow=several) == NOT_ALLOWED


def test_no_selectors_forbid_nothing_and_allow_everything() -> None:
    assert reason(facts(), allow=" , ", forbid=" , ") is None


def test_what_is_forbidden_stays_so_where_it_is_allowed_too() -> None:
    found = facts({"team": "blue", "tier": "db"})
    assert reason(found, allow="team=blue", forbid="tier=db") == FORBIDDEN.format("tier=db")


def test_no_setting_allows_what_is_always_let_alone() -> None:
    team = {"team": "blue"}
    assert reason(facts(team | {"fleetcast.protect": "true"}), allow="team=blue") == LABELED
    assert reason(facts(team), allow="team=blue", own_id=ID) == OWN
    assert reason(facts(team, published=(("", 6379),)), LOOPBACK, allow="team=blue") == REDIS


def test_a_reason_does_not_tell_the_value_of_a_label() -> None:
    said = reason(facts({"api-key": "s3cret"}), forbid="api-*=s*")
    assert said == FORBIDDEN.format("api-*=s*")
    assert "s3cret" not in said


def test_a_long_hostile_value_is_judged_at_once() -> None:
    # With a pattern that backtracks, this would take years.
    pattern = "x=" + "*a" * 20 + "*b"
    assert reason(facts({"x": "a" * 20_000}), forbid=pattern) is None


# What an engine says

LISTED: dict[str, Any] = {
    "Id": ID,
    "Labels": {"team": "blue"},
    "Ports": [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "127.0.0.1", "PrivatePort": 6379, "PublicPort": 32768, "Type": "tcp"},
        {"IP": "0.0.0.0", "PrivatePort": 53, "PublicPort": 53, "Type": "udp"},
        {"PrivatePort": 443, "Type": "tcp"},
    ],
    "NetworkSettings": {
        "Networks": {
            "bridge": {"IPAddress": "172.17.0.2", "GlobalIPv6Address": ""},
            "shop": {"IPAddress": "172.18.0.5", "GlobalIPv6Address": "FD00:0::5"},
            "host": None,
        }
    },
}
INSPECTED: dict[str, Any] = {
    "Id": ID,
    "Config": {"Labels": {"team": "blue"}},
    "NetworkSettings": {
        "Ports": {
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
            "6379/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}],
            "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "53"}],
            "443/tcp": None,
        },
        **LISTED["NetworkSettings"],
    },
}
FACTS = Facts(
    ID,
    {"team": "blue"},
    frozenset({"172.17.0.2", "172.18.0.5", "fd00::5"}),
    frozenset({("0.0.0.0", 8080), ("::", 8080), ("127.0.0.1", 32768)}),
)


def test_a_list_and_an_inspection_tell_the_same_facts() -> None:
    assert facts_of_listed(LISTED) == FACTS
    assert facts_of_inspected(INSPECTED) == FACTS


@pytest.fixture
async def network(containers: Containers) -> AsyncIterator[str]:
    """One with IPv6, of this test's own."""
    name, prefix = f"fleetcast-test-{uuid.uuid4().hex[:10]}", f"fd00:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}"
    await docker("network", "create", "--ipv6", "--subnet", f"{prefix}::/64", name)
    yield name
    containers.remove()
    await docker("network", "rm", name)


@pytest.mark.docker
async def test_of_real_containers_a_list_and_an_inspection_tell_the_same_facts(
    containers: Containers, network: str
) -> None:
    published = ("-p", "127.0.0.1::80", "-p", "81", "-p", "53/udp", "--expose", "82", "--label", "team=blue")
    names = [await containers.run(options=published)]
    ways = (network, "host", "none", f"container:{names[0]}")
    names += [await containers.run(options=("--network", way)) for way in ways]
    names += [await containers.run("true", options=published)]
    await docker("wait", names[-1])
    engine = Docker(f"unix://{REAL_SOCKET}")
    try:
        inspected = [facts_of_inspected(await engine.inspect(name)) for name in names]
        listed = {entry["Id"]: facts_of_listed(entry) for entry in await engine.list_containers()}
    finally:
        await engine.close()
    assert [listed[one.id] for one in inspected] == inspected
    bridged, in_network, *others = inspected
    assert bridged.labels == {"team": "blue"}
    told = {line.split(" -> ")[1] for line in (await docker("port", names[0])).splitlines() if "/tcp" in line}
    assert {f"{f'[{address}]' if ':' in address else address}:{port}" for address, port in bridged.published} == told
    assert len(bridged.addresses) == 1
    assert sorted(":" in address for address in in_network.addresses) == [False, True]
    assert all(not one.addresses and not one.published for one in others)


@pytest.mark.parametrize(
    "config",
    [
        *(None, "x", []),
        *({"Labels": labels} for labels in ("", "x", [], ["fleetcast.protect=true"], {"fleetcast.protect": True})),
    ],
)
def test_an_inspection_whose_labels_cannot_be_read_is_malformed(config: object) -> None:
    with pytest.raises(MalformedError):
        facts_of_inspected(INSPECTED | {"Config": config})


@pytest.mark.parametrize("config", [{}, {"Labels": None}, {"Labels": {}}])
def test_an_inspection_without_labels_has_none(config: object) -> None:
    assert facts_of_inspected(INSPECTED | {"Config": config}).labels == {}


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("0:0:0::1", "::1"),
        ("FD00::A", "fd00::a"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("172.17.0.2", "172.17.0.2"),
        ("", ""),
        ("redis", "redis"),
    ],
)
def test_addresses_are_compared_in_one_spelling(spelled: str, canonical: str) -> None:
    assert canonical_address(spelled) == canonical


json_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(said: Any) -> list[tuple[Any, ...]]:
    """The way to every value in a JSON document."""
    inner = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
    return [(key, *rest) for key, value in inner for rest in [(), *places(value)]]


def with_junk(said: dict[str, Any], changes: dict[tuple[Any, ...], object]) -> dict[str, Any]:
    changed = copy.deepcopy(said)
    for way, value in changes.items():
        at: Any = changed
        with suppress(TypeError, KeyError, IndexError):  # the way leads through junk by now
            for key in way[:-1]:
                at = at[key]
            at[way[-1]] = value
    return changed


@given(json_junk, st.dictionaries(st.sampled_from(places(LISTED)), json_junk, max_size=4))
def test_no_list_whatever_raises(junk: object, changes: dict[tuple[Any, ...], object]) -> None:
    rule = Protection(allow="a*=*", forbid="b*", bus=frozenset({LOOPBACK}))
    for said in (junk, with_junk(LISTED, changes)):
        rule.reason(facts_of_listed(said))


@given(st.dictionaries(st.sampled_from(places(INSPECTED)), json_junk | st.just("9" * 5000), max_size=4))
def test_no_inspection_whatever_raises_anything_but_malformed(changes: dict[tuple[Any, ...], object]) -> None:
    said = with_junk(INSPECTED, changes)
    with suppress(MalformedError):
        Protection(bus=frozenset({LOOPBACK})).reason(facts_of_inspected(json.loads(json.dumps(said))))
