"""What a worker says of itself comes back as it was said, and rubbish is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MalformedError
from common.roster import MAX_EVERY_MS, About
from common.setting_kinds import MAX_HOST_LABELS, VERBS, parse_host_labels

words = st.from_regex(r"[A-Za-z0-9._/-]{1,63}", fullmatch=True)
labels = st.dictionaries(words, words, max_size=MAX_HOST_LABELS)
abouts = st.builds(
    About,
    beat_ms=st.integers(1, MAX_EVERY_MS),
    interval_ms=st.integers(1, MAX_EVERY_MS),
    fault=st.none() | st.text(min_size=1, max_size=200),
    expected=st.sampled_from(["always", "sometimes"]),
    usage=st.sampled_from([None, "cgroup", "stats"]),
    labels=labels.map(lambda said: tuple(said.items())),
    actions=st.none() | st.sets(st.sampled_from(VERBS)).map(lambda said: tuple(v for v in VERBS if v in said)),
)


@given(abouts)
def test_what_is_said_is_read(about: About) -> None:
    assert About.from_json(about.to_json()) == about


def test_the_usual_takes_no_room_and_a_host_that_allows_nothing_says_so() -> None:
    assert About().to_json() == b"{}"
    assert About(actions=()).to_json() == b'{"actions":[]}'


def test_what_a_later_version_can_do_is_left_out() -> None:
    assert About.from_json(b'{"actions":["teleport","stop"]}').actions == ("stop",)


@pytest.mark.parametrize(
    "said",
    [
        {"labels": [["env", "prod"]]},
        {"labels": {"env": 1}},
        {"labels": {"env": ""}},
        {"labels": {"a b": "c"}},
        {"labels": {"a": "b" * 64}},
        {"labels": {f"label-{number}": "x" for number in range(MAX_HOST_LABELS + 1)}},
        {"actions": "stop"},
        {"beat_ms": 0},
        {"interval_ms": "soon"},
        {"fault": 1},
    ],
    ids=lambda said: json.dumps(said)[:40],
)
def test_rubbish_is_refused(said: object) -> None:
    with pytest.raises(MalformedError):
        About.from_json(json.dumps(said).encode())


@given(labels)
def test_labels_are_written_as_they_are_read(said: dict[str, str]) -> None:
    assert parse_host_labels(", ".join(f"{key}={value}" for key, value in said.items())) == said


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("prod", "KEY=VALUE"),
        ("env=", "KEY=VALUE"),
        ("=prod", "KEY=VALUE"),
        ("env=a=b", "KEY=VALUE"),
        ("env=é", "KEY=VALUE"),
        ("env=" + "x" * 64, "KEY=VALUE"),
        ("env=a,env=b", "env stands twice"),
        (",".join(f"k{number}=v" for number in range(MAX_HOST_LABELS + 1)), "at most 16"),
    ],
)
def test_labels_that_are_none_are_told(setting: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_host_labels(setting)
