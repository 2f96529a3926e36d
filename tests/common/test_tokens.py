"""Sign-in tokens: who they name, and what is wrong with the others."""

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ProtocolError, SettingsError
from common.settings import TokenSettings
from common.tokens import make_token, read_token, resolve_secret

SECRET = b"a secret of at least thirty-two bytes"


def claims(**changes: Any) -> dict[str, Any]:
    good = {"sub": "ops", "role": "operator", "exp": int(time.time()) + 60}
    return {name: value for name, value in (good | changes).items() if value is not None}


def test_a_token_names_whom_it_was_made_for() -> None:
    made_at = int(time.time())
    identity = read_token(SECRET, make_token(SECRET, "ops", "operator", 60, ["web-*", "db-1"]))
    assert (identity.user, identity.role, identity.hosts) == ("ops", "operator", ("web-*", "db-1"))
    assert identity.expires_at is not None
    assert made_at + 60 <= identity.expires_at <= time.time() + 60


def test_selectors_say_which_hosts_are_seen() -> None:
    some = read_token(SECRET, make_token(SECRET, "ops", "viewer", 60, ["web-*", "db-1"]))
    assert [host for host in ("web-1", "web-", "db-1", "db-10", "WEB-1") if some.sees(host)] == [
        "web-1",
        "web-",
        "db-1",
    ]
    assert read_token(SECRET, make_token(SECRET, "ops", "viewer", 60)).sees("anything")
    assert not read_token(SECRET, jwt.encode(claims(hosts=[]), SECRET)).sees("anything"), "no hosts are not all hosts"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "exp"),
        ({"sub": None}, "sub"),
        ({"role": None}, "role"),
        ({"role": "emperor"}, "role"),
        ({"role": ["admin"]}, "role"),
        ({"sub": ""}, "sub"),
        ({"sub": "a\nb"}, "sub"),
        ({"sub": "x" * 200}, "sub"),
        ({"hosts": "web-1"}, "hosts"),
        ({"hosts": [1]}, "hosts"),
        ({"exp": "soon"}, "read"),
        ({"nbf": 4102444800}, "read"),
    ],
)
def test_a_wrong_claim_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ProtocolError, match=said) as raised:
        read_token(SECRET, jwt.encode(claims(**changes), SECRET))
    assert raised.value.code == "unauthenticated"


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(claims(), b"another secret of thirty-two bytes!!"),
        jwt.encode(claims(), "", algorithm="none"),
        jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
        jwt.encode(claims(), SECRET)[:-2],
        "a.b.c",
        "",
        "x" * 10_000,
    ],
)
def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        read_token(SECRET, token)
    assert raised.value.code == "unauthenticated"
    assert not token or token not in raised.value.message


@given(st.text(max_size=100) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_nothing_but_the_protocols_own_error_is_raised(token: str) -> None:
    with pytest.raises(ProtocolError):
        read_token(SECRET, token)


def test_a_secret_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET.decode() + "\n")
    assert resolve_secret(TokenSettings(jwt_secret_file=tmp_path / "secret")) == SECRET
    assert resolve_secret(TokenSettings()) is None


@pytest.mark.parametrize("content", [None, b"short", b"\xff" * 40])
def test_a_secret_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(SettingsError, match="FLEETCAST_JWT_SECRET_FILE"):
        resolve_secret(TokenSettings(jwt_secret_file=tmp_path / "secret"))
