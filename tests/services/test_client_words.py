"""Containers, events and numbers in words."""

import json
from typing import Any

import pytest

from common.models import Container
from common.protocol import EventMessage, ServerMessage, parse_server_message
from services.client.words import (
    describe_cause,
    describe_event,
    describe_state,
    format_age,
    format_bytes,
    network_totals,
)
from tests.services.fake_edge import container, event, metrics


def parse(message: dict[str, Any]) -> ServerMessage:
    return parse_server_message(json.dumps(message))


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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exitCode": 137, "oomKilled": True}, "running → exited (137, out of memory)"),
        ({"exitCode": 0}, "running → exited (0)"),
        ({"from": None, "to": "created"}, "new, created"),
        ({"from": "exited", "to": None}, "removed"),
        ({"to": "running", "health": "unhealthy"}, "running, unhealthy"),
        ({"to": "paused"}, "running → paused"),
    ],
)
def test_events_in_words(changes: dict[str, Any], words: str) -> None:
    message = parse(event() | changes)
    assert isinstance(message, EventMessage)
    assert describe_event(message) == words
    assert describe_cause(message) == ""
