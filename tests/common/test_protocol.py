"""The protocol: what is encoded decodes to itself; what a client sends raises the protocol's own error or none."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from common.errors import ProtocolError
from common.http_models import AuditPage
from common.models import (
    ActionRecord,
    ActionStatus,
    ActionVerb,
    Cause,
    ContainerState,
    Expectation,
    Process,
    Processes,
    Usage,
)
from common.protocol import (
    TOPICS,
    Connected,
    ContainerAck,
    ContainerAction,
    ContainersMessage,
    Error,
    EventMessage,
    Heartbeat,
    HostsMessage,
    HostStatus,
    Link,
    Links,
    MetricsMessage,
    Ping,
    ProcessesMessage,
    Subscribe,
    Unsubscribe,
    UsageMessage,
    parse_channel,
    parse_client_message,
    parse_server_message,
)
from common.protocol_text import protocol_markdown
from common.schema import json_schema
from tests.samples import ID_A, container, host_metrics


def built(model: type[BaseModel], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(fields).map(lambda values: model(**values))


host_ids = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
request_ids = st.from_regex(r"[!-~]{1,128}", fullmatch=True)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}", fullmatch=True)
times = st.integers(0, 2**53)
channels = st.builds(
    lambda topic, host: topic if host is None else f"{topic}:{host}", st.sampled_from(TOPICS), st.none() | host_ids
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
verbs = st.sampled_from(ActionVerb.__args__)
links = built(Link, state=st.sampled_from(["live", "stalled", "gone"]), reason=st.none() | texts)

client_messages = st.one_of(
    built(Subscribe, type=st.just("subscribe"), channels=st.lists(channels, min_size=1).map(tuple)),
    built(Unsubscribe, type=st.just("unsubscribe"), channels=st.lists(channels, min_size=1).map(tuple)),
    built(Ping, type=st.just("ping"), nonce=st.none() | texts),
    built(
        ContainerAction,
        type=st.just("container-action"),
        request_id=request_ids,
        host=st.none() | host_ids,
        container_id=names,
        action=verbs,
        timeout_sec=st.none() | st.integers(0, 3600),
        expires_in_sec=st.integers(1, 3600),
        expect=st.none() | built(Expectation, id=st.none() | st.just(ID_A), started_at=st.none() | times),
    ),
)
states = st.sampled_from(ContainerState.__args__)
processes = st.lists(
    built(
        Process,
        pid=st.integers(1, 2**22),
        name=texts,
        cpu_percent=st.floats(0, 400),
        memory_bytes=times,
        container_id=st.sampled_from([None, ID_A]),
    ),
    max_size=3,
).map(tuple)


def usages(containers: int) -> st.SearchStrategy[BaseModel]:
    def column(value: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float | None, ...]]:
        return st.lists(st.none() | value, min_size=containers, max_size=containers).map(tuple)

    rates = column(st.floats(0, 1e12))
    return built(
        Usage,
        cores=st.integers(1, 256),
        ids=st.just((ID_A,) * containers),
        cpu_percent=rates,
        memory_bytes=column(times),
        memory_limit_bytes=column(times),
        rx_bytes_per_sec=rates,
        tx_bytes_per_sec=rates,
        read_bytes_per_sec=rates,
        write_bytes_per_sec=rates,
        pids=column(st.integers(0, 10**6)),
    )


server_messages = st.one_of(
    built(
        Connected,
        client_id=texts,
        edge_id=texts,
        server_time=times,
        heartbeat_interval_ms=st.integers(1, 60_000),
        user=texts,
        role=st.sampled_from(["viewer", "operator", "admin"]),
    ),
    built(
        MetricsMessage,
        host=host_ids,
        epoch=times,
        seq=times,
        sampled_at=times,
        data=st.builds(host_metrics, percent=st.floats(0, 100), processes=st.integers(0, 10_000)),
    ),
    built(
        ContainersMessage,
        host=host_ids,
        epoch=times,
        seq=times,
        sampled_at=times,
        data=st.lists(
            st.builds(container, name=names, image=texts, labels=st.dictionaries(texts, texts)), max_size=3
        ).map(tuple),
    ),
    built(
        UsageMessage,
        host=host_ids,
        epoch=times,
        seq=times,
        sampled_at=times,
        data=st.integers(0, 3).flatmap(usages),
    ),
    built(
        ProcessesMessage,
        host=host_ids,
        epoch=times,
        seq=times,
        sampled_at=times,
        data=built(Processes, by_cpu=processes, by_memory=processes),
    ),
    built(
        EventMessage,
        host=host_ids,
        container_id=st.just(ID_A),
        name=texts,
        from_=st.none() | states,
        to=st.none() | states,
        at=times,
        exit_code=st.none() | st.integers(0, 255),
        oom_killed=st.none() | st.booleans(),
        health=st.none() | st.sampled_from(["healthy", "unhealthy"]),
        cause=st.just("docker")
        | built(Cause, request_id=request_ids, target=st.none() | st.integers(0, 99), actor=texts, action=verbs),
    ),
    built(
        HostsMessage,
        hosts=st.lists(
            built(
                HostStatus,
                host=host_ids,
                status=st.sampled_from(["live", "stalled", "gone"]),
                expected=st.sampled_from(["always", "sometimes"]),
                labels=st.dictionaries(texts, texts, max_size=3),
                usage=st.sampled_from([None, "cgroup", "stats"]),
                actions=st.none() | st.lists(verbs, max_size=3).map(tuple),
                last_seen_at=times,
                links=built(Links, metrics=links, containers=links, executor=links),
            ),
            max_size=3,
        ).map(tuple),
    ),
    built(
        ContainerAck,
        request_id=request_ids,
        host=host_ids,
        container_id=st.just(ID_A),
        action=verbs,
        status=st.sampled_from(ActionStatus.__args__),
        at=times,
        actor=texts,
        error=st.none() | texts,
        duration_ms=st.none() | st.integers(0, 10**6),
    ),
    built(Heartbeat, server_time=times, nonce=st.none() | texts),
    built(Error, code=st.just("rate-limited"), message=texts, request_id=st.none() | request_ids),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["type", "channels", "requestId", "x"]) | st.text(), inner)
    ),
    max_leaves=15,
)


@given(client_messages)
def test_a_client_message_decodes_to_itself(message: BaseModel) -> None:
    assert parse_client_message(message.model_dump_json()) == message


@given(server_messages)
def test_a_server_message_decodes_to_itself_and_fits_the_schema(message: BaseModel) -> None:
    text = message.model_dump_json()
    assert parse_server_message(text) == message
    assert validator_of("ServerMessage").is_valid(json.loads(text)), text


@given(client_messages)
def test_a_client_message_fits_the_schema(message: BaseModel) -> None:
    assert validator_of("ClientMessage").is_valid(json.loads(message.model_dump_json(exclude_none=True)))


@given(st.binary(max_size=200) | st.text(max_size=200) | json_values.map(json.dumps))
def test_nothing_but_the_protocols_own_error_is_raised(frame: bytes | str) -> None:
    for parse in (parse_client_message, parse_server_message):
        try:
            parse(frame)
        except ProtocolError as error:
            assert error.code == "invalid-message"
            assert "\n" not in error.message


@given(st.text(max_size=200))
def test_a_channel_is_one_of_the_topics_or_refused(name: str) -> None:
    try:
        topic, host = parse_channel(name)
    except ProtocolError as error:
        assert error.code in {"unknown-channel", "invalid-message"}
    else:
        assert name == (topic if host is None else f"{topic}:{host}")


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        ("nope", "JSON"),
        ("[]", "object"),
        ("{}", "type"),
        ('{"type":"dance"}', "type"),
        ('{"type":"subscribe"}', "channels"),
        ('{"type":"subscribe","channels":[]}', "channels"),
        ('{"type":"subscribe","channels":"metrics"}', "channels"),
        ('{"type":"subscribe","channels":["metrics"],"loud":true}', "loud"),
        ('{"type":"ping","nonce":NaN}', "nonce"),
        ('{"type":"ping","nonce":"\\ud800"}', "JSON"),
        ('{"type":"ping","nonce":"\ud800"}', "unicode"),
        ('{"type":"ping","nonce":' + "[" * 5000 + "]" * 5000 + "}", "JSON"),
        ('{"type":"container-action","containerId":"web","action":"stop"}', "requestId"),
        ('{"type":"container-action","requestId":"a b","containerId":"web","action":"stop"}', "requestId"),
        ('{"type":"container-action","requestId":"r","containerId":"web","action":"explode"}', "action"),
        (
            '{"type":"container-action","requestId":"r","containerId":"web","action":"stop","expiresInSec":0}',
            "expiresInSec",
        ),
        (
            '{"type":"container-action","requestId":"r","containerId":"web","action":"stop","expiresInSec":1e99}',
            "expiresInSec",
        ),
        ('{"type":"container-action","requestId":"r","containerId":"web","action":"stop","host":"a/b"}', "host"),
        ('{"type":"container-action","requestId":"r","containerId":"../x","action":"stop"}', "containerId"),
        (
            '{"type":"container-action","requestId":"r","containerId":"w","action":"stop","expect":{"id":"short"}}',
            "expect.id",
        ),
    ],
)
def test_the_error_names_the_field(frame: str, named: str) -> None:
    with pytest.raises(ProtocolError, match=named) as raised:
        parse_client_message(frame)
    assert raised.value.code == "invalid-message"


def test_an_action_that_does_not_parse_is_refused_under_its_request_id() -> None:
    with pytest.raises(ProtocolError) as raised:
        parse_client_message('{"type":"container-action","requestId":"r-1","containerId":"web","action":"explode"}')
    assert raised.value.request_id == "r-1"


def test_the_document_is_what_the_models_say() -> None:
    document = Path(__file__).parents[2] / "docs" / "PROTOCOL.md"
    assert document.read_text() == protocol_markdown(), "run: fleetcast schema --markdown > docs/PROTOCOL.md"


def test_the_typescript_clients_schema_is_what_the_models_say() -> None:
    schema = Path(__file__).parents[2] / "dashboard" / "client" / "protocol.schema.json"
    mend = "run: fleetcast schema > dashboard/client/protocol.schema.json"
    assert json.loads(schema.read_text()) == json_schema(), mend


def test_the_schema_knows_what_http_routes_take_and_answer() -> None:
    taken = validator_of("ActionRequest")
    assert taken.is_valid({"action": "stop"})
    assert not taken.is_valid({"action": "explode"})
    record = ActionRecord(
        request_id="r", host="h", container_id=ID_A, action="stop", actor="ann", deadline=2, status="accepted", at=1
    )
    page = AuditPage(entries=(record,), before=None)
    assert validator_of("AuditPage").is_valid(json.loads(page.model_dump_json()))
    assert "error" not in json.loads(record.model_dump_json()), "what has no value is left out"
    assert "name" in json_schema()["$defs"]["ActionRecord"]["required"], "what has one is always there"


def test_the_schema_refuses_a_message_with_a_field_too_many() -> None:
    message = json.loads(Heartbeat(server_time=1).model_dump_json())
    assert validator_of("ServerMessage").is_valid(message)
    assert not validator_of("ServerMessage").is_valid(message | {"extra": 1})
    assert not validator_of("ServerMessage").is_valid({"serverTime": 1})


_SCHEMA = json_schema()


def validator_of(name: str) -> Any:
    return jsonschema.Draft202012Validator({**_SCHEMA["$defs"][name], "$defs": _SCHEMA["$defs"]})


def test_a_client_ignores_what_a_later_version_has_added() -> None:
    assert parse_server_message('{"type":"heartbeat","serverTime":1,"mood":"calm"}') == Heartbeat(server_time=1)
