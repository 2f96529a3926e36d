import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.envelope import Version, body_prefix, unwrap, wrap
from common.errors import MalformedError
from common.protocol import ContainersMessage, MetricsMessage
from tests.samples import container, host_metrics

numbers = st.integers(min_value=0, max_value=10**15 - 1)
bodies = st.binary().map(lambda inner: b"{" + inner + b"}")


@given(numbers, numbers, bodies)
def test_what_is_wrapped_unwraps_to_itself(epoch: int, seq: int, body: bytes) -> None:
    assert unwrap(wrap(Version(epoch, seq), body)) == (Version(epoch, seq), body)


@given(st.binary() | st.builds(lambda rest: b"1 5 6\n" + rest, st.binary()))
def test_any_bytes_are_a_state_or_malformed(payload: bytes) -> None:
    try:
        version, body = unwrap(payload)
    except MalformedError as error:
        assert error.what == "published state"
    else:
        assert wrap(version, body).endswith(body)
        assert body[:1] == b"{"
        assert body[-1:] == b"}"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"1 5 6",
        b"1 5 6\n",
        b"1 5 6\n[]",
        b'1 5 6\n{"cut": "sho',
        b"2 5 6\n{}",
        b"1 -5 6\n{}",
        b"1 5\n{}",
        b"1 5 1234567890123456\n{}",
        "1 \u0665 6\n{}".encode(),
        b"1 5 6\r\n{}",
    ],
)
def test_what_this_version_does_not_write_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedError):
        unwrap(payload)


def test_a_state_of_another_host_or_kind_is_malformed() -> None:
    payload = wrap(Version(5, 6), b'{"type":"metrics","host":"web-1","epoch":5}')
    assert unwrap(payload, body_prefix("metrics", "web-1")).__class__ is tuple
    for kind, host in (("metrics", "web-2"), ("metrics", "web"), ("containers", "web-1")):
        with pytest.raises(MalformedError):
            unwrap(payload, body_prefix(kind, host))


def test_a_later_run_is_newer_than_any_number_of_an_earlier_one() -> None:
    assert Version(6, 1) > Version(5, 1000) > Version(5, 999)


def test_state_messages_begin_as_their_prefix_says() -> None:
    metrics = MetricsMessage(host="web-1", epoch=5, seq=6, sampled_at=7, data=host_metrics())
    assert metrics.model_dump_json().encode().startswith(body_prefix("metrics", "web-1"))
    containers = ContainersMessage(host="a.B_c-9", epoch=5, seq=6, sampled_at=7, data=(container(),))
    assert containers.model_dump_json().encode().startswith(body_prefix("containers", "a.B_c-9"))
