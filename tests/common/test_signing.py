"""Signed actions: what a known key signed is believed, nothing else is; keys are read and made."""

import base64
import hashlib
import hmac
import itertools
import json
import logging
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from common.errors import SettingsError, SignatureError
from common.settings import EdgeSettings, ExecutorSettings
from common.signing import MAX_TOKEN_CHARS, Signer, Verifier, key_id, make_pair, peek, read_signer, read_verifier

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SIGNER = Signer(KEY)
VERIFIER = Verifier([KEY.public_key()])
TOKEN = SIGNER.sign(b'{"action":"restart"}')
HEADER = {"alg": "EdDSA", "kid": SIGNER.key_id, "typ": "fleetcast-action"}

# Section 10 of RFC 8410: the keys of another maker, one line each.
RFC_PRIVATE = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC"
RFC_PUBLIC = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(header: Any, payload: bytes = b"{}", sign: Any = KEY.sign) -> str:
    """A token with any header, signed with whatever is given."""
    text = f"{encode(json.dumps(header).encode())}.{encode(payload)}"
    return f"{text}.{encode(sign(text.encode()))}"


def refusal(token: str | bytes, verifier: Verifier = VERIFIER) -> str:
    with pytest.raises(SignatureError) as raised:
        verifier.verify(token)
    return str(raised.value)


def private_pem(key: Any, password: bytes | None = None) -> str:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return pem.decode()


def public_pem(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def line(pem: str) -> str:
    return "".join(pem.splitlines()[1:-1])


# What is believed


@given(st.binary(max_size=2000))
def test_what_a_known_key_signed_comes_back_byte_for_byte(payload: bytes) -> None:
    token = SIGNER.sign(payload)
    assert VERIFIER.verify(token) == payload
    assert VERIFIER.verify(token.encode()) == payload
    assert peek(token.encode()) == payload


def test_a_signed_action_is_a_jws_of_its_own_type() -> None:
    header, payload, signature = (base64.urlsafe_b64decode(f"{part}==") for part in TOKEN.split("."))
    assert json.loads(header) == HEADER
    assert payload == b'{"action":"restart"}'
    KEY.public_key().verify(signature, TOKEN.rpartition(".")[0].encode())
    assert SIGNER.key_id == hashlib.sha256(KEY.public_key().public_bytes_raw()).hexdigest()[:16]


def test_a_token_signed_by_an_older_version_stays_good() -> None:
    assert (
        VERIFIER.verify(
            "eyJhbGciOiJFZERTQSIsImtpZCI6IjU2NDc1YWE3NTQ2MzQ3NGMiLCJ0eXAiOiJmbGVldGNhc3QtYWN0aW9uIn0."
            "eyJhY3Rpb24iOiJyZXN0YXJ0In0."
            "TvnTyaJxHzONV4Kt6lC-AC1ecGkvvavZQPmb8yGtsMEaoZdlpwy5k3gq5ItslMph3TEJ9v6cd3r1EBtm-u8DDA"
        )
        == b'{"action":"restart"}'
    )


def test_while_keys_are_changed_both_are_believed() -> None:
    both = Verifier([KEY.public_key(), OTHER.public_key()])
    assert both.verify(SIGNER.sign(b"old")) == b"old"
    assert both.verify(Signer(OTHER).sign(b"new")) == b"new"
    assert "does not know" in refusal(SIGNER.sign(b"old"), Verifier([OTHER.public_key()]))


# What is refused


@given(st.integers(0, len(TOKEN) - 1), st.characters(), st.sampled_from(["replace", "insert", "delete"]))
def test_a_token_with_any_one_character_changed_is_refused(at: int, character: str, change: str) -> None:
    if change == "replace" and character == TOKEN[at]:
        return
    put = "" if change == "delete" else character
    refusal(TOKEN[:at] + put + TOKEN[at + (change != "insert") :])


@pytest.mark.parametrize("at", range(len(TOKEN)))
def test_each_place_of_a_token_is_protected(at: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    neighbour = alphabet[(alphabet.index(TOKEN[at]) + 1) % 64] if TOKEN[at] != "." else "A"
    refusal(TOKEN[:at] + neighbour + TOKEN[at + 1 :])


@pytest.mark.parametrize("suffix", ["\n", " ", "=", "==", ".", ".x", "\x00"])
def test_a_token_has_one_form_only(suffix: str) -> None:
    assert refusal(TOKEN + suffix) == "it is not signed"


@given(st.data())
def test_one_tokens_signature_does_not_serve_another(data: st.DataObject) -> None:
    payloads = data.draw(st.lists(st.binary(max_size=50), min_size=2, max_size=2, unique=True))
    first, second = (SIGNER.sign(payload).rpartition(".") for payload in payloads)
    assert refusal(f"{first[0]}.{second[2]}") == "it was altered after it was signed"


@pytest.mark.parametrize(
    "token", [b"", b"{}", b'{"action":"restart"}', "a.b", "a.b.c", "....", b"\xff.\xff.\xff", "é.é.é", "\udc80.a.a"]
)
def test_what_is_no_jws_is_not_signed(token: str | bytes) -> None:
    assert refusal(token) == "it is not signed"


@pytest.mark.parametrize("header", [[], "EdDSA", 1, None, [HEADER]])
def test_a_header_that_is_no_object_is_not_signed(header: Any) -> None:
    assert refusal(forge(header)) == "it is not signed"


def test_a_key_that_the_executor_does_not_know_is_named() -> None:
    said = refusal(Signer(OTHER).sign(b"{}"))
    assert said == f"it is signed with a key that this executor does not know ({key_id(OTHER.public_key())})"


def test_the_name_of_an_unknown_key_is_cleaned_and_cut() -> None:
    said = refusal(forge(HEADER | {"kid": "\x1b[31m\nroot\u202e" + "x" * 1000}))
    assert said == "it is signed with a key that this executor does not know (??31m?root?xxxxx)"


def test_another_key_under_a_known_name_is_refused() -> None:
    assert refusal(forge(HEADER, sign=OTHER.sign)) == "it was altered after it was signed"


def hmac_with(secret: bytes) -> Any:
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key().public_bytes_raw()


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ({"alg": "none"}, lambda text: b"x"),
        ({"alg": "None"}, lambda text: b"x"),
        ({"alg": ""}, KEY.sign),
        ({"alg": None}, KEY.sign),
        ({"alg": ["EdDSA"]}, KEY.sign),
        ({"alg": "eddsa"}, KEY.sign),
        ({"alg": "Ed25519"}, KEY.sign),
        ({"alg": "HS256"}, hmac_with(PUBLIC)),
        ({"alg": "HS256"}, hmac_with(base64.b64encode(PUBLIC))),
        ({"alg": "HS256"}, hmac_with(public_pem(KEY).encode())),
        ({"alg": "HS256"}, hmac_with(line(public_pem(KEY)).encode())),
        ({"alg": "RS256"}, lambda text: RSA.sign(text, padding.PKCS1v15(), SHA256())),
        ({"alg": "ES256"}, lambda text: EC.sign(text, ec.ECDSA(SHA256()))),
        ({"typ": "JWT"}, KEY.sign),
        ({"typ": "FLEETCAST-ACTION"}, KEY.sign),
        ({"typ": None}, KEY.sign),
        ({"kid": 7}, KEY.sign),
        ({"kid": None}, KEY.sign),
        ({"crit": ["exp"], "exp": 1}, KEY.sign),
        ({"crit": []}, KEY.sign),
        ({"crit": ["b64"], "b64": True}, KEY.sign),
        ({"b64": True}, KEY.sign),
        ({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": encode(OTHER.public_key().public_bytes_raw())}}, OTHER.sign),
        ({"x5c": ["MIIB"]}, KEY.sign),
        ({"jku": "https://example.com/keys"}, KEY.sign),
        ({"x5u": "https://example.com/key"}, KEY.sign),
        ({"cty": "x"}, KEY.sign),
    ],
)
def test_another_algorithm_type_or_header_is_refused_whoever_signed_it(changes: dict[str, Any], sign: Any) -> None:
    assert refusal(forge(HEADER | changes, sign=sign)) == "it is signed in another way than edges sign actions"


@pytest.mark.parametrize("missing", HEADER)
def test_a_header_with_less_than_edges_write_is_refused(missing: str) -> None:
    header = {name: value for name, value in HEADER.items() if name != missing}
    assert refusal(forge(header)) == "it is signed in another way than edges sign actions"


@pytest.mark.parametrize("crit", [{"crit": ["b64"]}, {}])
def test_a_payload_that_is_not_encoded_is_refused(crit: dict[str, Any]) -> None:
    header = encode(json.dumps(HEADER | crit | {"b64": False}).encode())
    signature = encode(KEY.sign(f"{header}.payload".encode()))
    refusal(f"{header}.payload.{signature}")
    refusal(f"{header}..{encode(KEY.sign(f'{header}.'.encode()))}")
    refusal(f"{header}..{signature}")


def test_a_token_that_is_too_long_is_refused_before_it_is_read() -> None:
    overhead = len(SIGNER.sign(b""))
    longest = (MAX_TOKEN_CHARS - overhead) // 4 * 3
    assert VERIFIER.verify(SIGNER.sign(bytes(longest))) == bytes(longest)
    too_long = SIGNER.sign(bytes(longest + 3))
    assert refusal(too_long) == "it is too long for a signed action"
    assert peek(too_long.encode()) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)


@given(
    st.text(max_size=200)
    | st.binary(max_size=200)
    | st.from_regex(r"[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{1,90}", fullmatch=True)
    | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), json_values).map(
        lambda changes: forge(HEADER | changes | {"cty": "x"})
    )
)
def test_nothing_but_a_signature_error_is_raised_and_nothing_by_a_peek(token: str | bytes) -> None:
    refusal(token)
    peek(token if isinstance(token, bytes) else token.encode(errors="replace"))


def test_a_header_nested_too_deep_to_read_is_refused() -> None:
    deep = encode(b"[" * 30_000 + b"]" * 10_000)
    assert refusal(f"{deep}.e30.e30") == "it is not signed"


# What an entry claims to be


def test_a_peek_shows_what_an_entry_claims_to_be_whoever_wrote_it() -> None:
    assert peek(b'{"action":"restart"}') == b'{"action":"restart"}'
    assert peek(Signer(OTHER).sign(b"anything").encode()) == b"anything"
    assert peek(forge({"alg": "none"}, b"anything").encode()) == b"anything"
    assert peek(forge(HEADER, b'{"action":"restart"}', OTHER.sign).encode()) == b'{"action":"restart"}'


@pytest.mark.parametrize("entry", [b"", b"restart", b"[]", b"a.b.c", b"\xff\xff"])
def test_a_peek_at_anything_else_shows_nothing(entry: bytes) -> None:
    assert peek(entry) is None


# Keys from the settings


def edge(**given: Any) -> EdgeSettings:
    return EdgeSettings.load(given, {})


def executor(**given: Any) -> ExecutorSettings:
    return ExecutorSettings.load(given, {})


def written(file: Path, text: str | bytes, mode: int = 0o600) -> Path:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(mode)
    return file


FOLDED = public_pem(KEY).replace("\n", " ")
"""What some tools make of a PEM in a variable."""


@pytest.mark.parametrize(
    "text", [RFC_PRIVATE, f"-----BEGIN PRIVATE KEY-----\n{RFC_PRIVATE}\n-----END PRIVATE KEY-----\n"]
)
@pytest.mark.parametrize(
    "public", [RFC_PUBLIC, f"-----BEGIN PUBLIC KEY-----\r\n{RFC_PUBLIC}\r\n-----END PUBLIC KEY-----"]
)
def test_keys_of_another_maker_are_read_from_variables_and_files(text: str, public: str, tmp_path: Path) -> None:
    from_variables = read_signer(edge(action_signing_key=text)), read_verifier(executor(action_verify_key=public))
    private_file, public_file = written(tmp_path / "private", text), written(tmp_path / "public", public)
    from_files = (
        read_signer(edge(action_signing_key_file=private_file)),
        read_verifier(executor(action_verify_key_file=public_file)),
    )
    for signer, verifier in (from_variables, from_files):
        assert signer is not None
        assert verifier is not None
        assert verifier.verify(signer.sign(b"{}")) == b"{}"


@pytest.mark.parametrize(
    "text",
    [
        public_pem(KEY) + public_pem(OTHER),
        public_pem(OTHER).strip() + public_pem(KEY),
        f"{line(public_pem(KEY))},{line(public_pem(OTHER))}",
        f"  {line(public_pem(KEY))} , {line(public_pem(OTHER))}\n",
        f"{line(public_pem(KEY))}\n{line(public_pem(OTHER))}\n",
        f"{FOLDED} {line(public_pem(OTHER))}",
    ],
)
def test_an_executor_may_be_given_several_keys(text: str, tmp_path: Path) -> None:
    given = ({"action_verify_key": text}, {"action_verify_key_file": written(tmp_path / "keys", text)})
    for verifier in (read_verifier(executor(**fields)) for fields in given):
        assert verifier is not None
        assert verifier.verify(SIGNER.sign(b"{}")) == verifier.verify(Signer(OTHER).sign(b"{}")) == b"{}"


def test_an_edge_without_a_key_does_not_sign() -> None:
    assert read_signer(edge()) is None


def test_an_executor_without_a_key_has_to_be_told_so() -> None:
    with pytest.raises(SettingsError, match=r"FLEETCAST_ACTION_VERIFY_KEY_FILE: no verify key.*--insecure-unsigned"):
        read_verifier(executor())
    assert read_verifier(executor(insecure_unsigned=True)) is None


def test_an_executor_with_a_key_does_nothing_unsigned() -> None:
    with pytest.raises(SettingsError, match="--insecure-unsigned / FLEETCAST_INSECURE_UNSIGNED: a verify key is set"):
        read_verifier(executor(insecure_unsigned=True, action_verify_key=RFC_PUBLIC))


def test_a_key_is_given_in_one_way(tmp_path: Path) -> None:
    both_signing = edge(action_signing_key=RFC_PRIVATE, action_signing_key_file=written(tmp_path / "s", RFC_PRIVATE))
    both_verify = executor(action_verify_key=RFC_PUBLIC, action_verify_key_file=written(tmp_path / "v", RFC_PUBLIC))
    with pytest.raises(SettingsError, match="SIGNING_KEY_FILE: FLEETCAST_ACTION_SIGNING_KEY is set too"):
        read_signer(both_signing)
    with pytest.raises(SettingsError, match="VERIFY_KEY_FILE: FLEETCAST_ACTION_VERIFY_KEY is set too"):
        read_verifier(both_verify)


WRONG = {
    "an RSA key": (private_pem(RSA), "holds a key of another kind than Ed25519"),
    "an RSA public key": (public_pem(RSA), "holds a key of another kind than Ed25519"),
    "an RSA key's line": (line(private_pem(RSA)), "holds a key of another kind than Ed25519"),
    "an EC key": (private_pem(EC), "holds a key of another kind than Ed25519"),
    "an EC public key": (public_pem(EC), "holds a key of another kind than Ed25519"),
    "an Ed448 key": (private_pem(ed448.Ed448PrivateKey.generate()), "holds a key of another kind than Ed25519"),
    "an X25519 key": (private_pem(x25519.X25519PrivateKey.generate()), "holds a key of another kind than Ed25519"),
    "an encrypted key": (private_pem(KEY, b"passphrase"), "holds an encrypted key"),
    "an encrypted key's line": (line(private_pem(KEY, b"passphrase")), "holds an encrypted key"),
    "blanks": (" \n , ", "holds nothing"),
    "words": ("correct horse battery staple", "holds what is no key"),
    "base64 of nothing": ("aGVsbG8gd29ybGQ=", "holds what is no key"),
    "raw key bytes": (base64.b64encode(PUBLIC).decode(), "holds what is no key"),
    "half a PEM": (public_pem(KEY)[:60], "holds what is no key"),
    "an empty PEM": ("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", "holds what is no key"),
    "a key and half a PEM": (public_pem(KEY) + public_pem(OTHER)[:60], "holds what is no key"),
    "a secret": ("kG5n" * 16, "holds what is no key"),
    "not ASCII": ("schlüssel", "holds what is no key"),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_a_key_that_cannot_be_used_is_told_and_never_quoted(text: str, said: str, tmp_path: Path) -> None:
    file = written(tmp_path / "key", text)
    for read, settings, name in (
        (read_signer, edge(action_signing_key=text), "FLEETCAST_ACTION_SIGNING_KEY: "),
        (read_signer, edge(action_signing_key_file=file), "/ FLEETCAST_ACTION_SIGNING_KEY_FILE: "),
        (read_verifier, executor(action_verify_key=text), "FLEETCAST_ACTION_VERIFY_KEY: "),
        (read_verifier, executor(action_verify_key_file=file), "/ FLEETCAST_ACTION_VERIFY_KEY_FILE: "),
    ):
        with pytest.raises(SettingsError) as raised:
            read(settings)  # type: ignore[operator]
        told = str(raised.value)
        assert f"{name}{said}" in told
        assert told.endswith("`fleetcast keys SIGNING VERIFY` makes a pair")
        assert "\n" not in told
        for word in text.split():
            assert len(word) < 8 or word not in told


@pytest.mark.parametrize("text", [private_pem(KEY), line(private_pem(KEY)), public_pem(OTHER) + private_pem(KEY)])
def test_an_executor_does_not_take_a_private_key(text: str) -> None:
    with pytest.raises(SettingsError, match="VERIFY_KEY: holds a private key, where only the public one belongs"):
        read_verifier(executor(action_verify_key=text))


@pytest.mark.parametrize("text", [public_pem(KEY), line(public_pem(KEY))])
def test_an_edge_does_not_take_a_public_key(text: str) -> None:
    with pytest.raises(SettingsError, match="SIGNING_KEY: holds a public key, where the private one belongs"):
        read_signer(edge(action_signing_key=text))


def test_an_edge_signs_with_one_key() -> None:
    with pytest.raises(SettingsError, match="holds 2 keys, and an edge signs with one"):
        read_signer(edge(action_signing_key=private_pem(KEY) + private_pem(OTHER)))


def test_a_key_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    for file, said in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (written(tmp_path / "binary", b"\xff\xfe\x00"), "it is no text"),
        (written(tmp_path / "empty", ""), "holds nothing"),
    ):
        with pytest.raises(SettingsError, match=f"SIGNING_KEY_FILE: .*{said}.*makes a pair"):
            read_signer(edge(action_signing_key_file=file))
        with pytest.raises(SettingsError, match=f"VERIFY_KEY_FILE: .*{said}.*makes a pair"):
            read_verifier(executor(action_verify_key_file=file))


@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1), (0o666, 1)])
def test_a_private_key_that_others_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warnings: int
) -> None:
    file = written(tmp_path / "key", RFC_PRIVATE, mode)
    with caplog.at_level(logging.WARNING):
        assert read_signer(edge(action_signing_key_file=file)) is not None
    assert [str(file) in record.getMessage() for record in caplog.records] == [True] * warnings
    assert RFC_PRIVATE not in caplog.text


# Making a pair


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "private" / "signing.pem", tmp_path / "public" / "verify.pem"


def belong_together(signing: Path, verify: Path) -> bool:
    signer = read_signer(edge(action_signing_key_file=signing))
    verifier = read_verifier(executor(action_verify_key_file=verify))
    assert signer is not None
    assert verifier is not None
    return verifier.verify(signer.sign(b"{}")) == b"{}"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_pair_is_made_of_which_only_the_private_part_is_private(pair: tuple[Path, Path]) -> None:
    umask = os.umask(0o077)
    try:
        made = make_pair(*pair)
    finally:
        os.umask(umask)
    signing, verify = pair
    assert belong_together(signing, verify)
    assert (mode_of(signing), mode_of(signing.parent), mode_of(verify)) == (0o600, 0o700, 0o644)
    assert made == line(verify.read_text())
    assert [*signing.parent.iterdir(), *verify.parent.iterdir()] == [signing, verify], "nothing is left behind"


def test_a_pair_that_is_there_is_left_alone(pair: tuple[Path, Path]) -> None:
    made = make_pair(*pair)
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in pair]
    assert make_pair(*pair) == made
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in pair] == before


def test_a_pair_that_was_interrupted_is_finished(pair: tuple[Path, Path]) -> None:
    signing, verify = pair
    verify.parent.symlink_to("nowhere")  # stops it between its two files
    with pytest.raises(SettingsError, match=f"{verify}: cannot be written"):
        make_pair(*pair)
    private = signing.read_bytes()
    verify.parent.unlink()
    make_pair(*pair)
    assert signing.read_bytes() == private
    assert belong_together(*pair)


def test_a_public_key_is_written_for_a_private_one_of_another_maker(pair: tuple[Path, Path]) -> None:
    signing, verify = pair
    signing.parent.mkdir()
    written(signing, RFC_PRIVATE)
    assert make_pair(*pair) == RFC_PUBLIC
    assert line(verify.read_text()) == RFC_PUBLIC
    assert signing.read_text() == RFC_PRIVATE


def test_a_public_key_of_another_pair_is_told(pair: tuple[Path, Path]) -> None:
    make_pair(*pair)
    written(pair[1], public_pem(OTHER))
    with pytest.raises(
        SettingsError, match=r"verify.pem: belongs to another private key than .*signing.pem: remove it"
    ):
        make_pair(*pair)
    assert pair[1].read_text() == public_pem(OTHER)


def test_a_file_with_the_old_public_key_too_belongs_to_the_pair(pair: tuple[Path, Path]) -> None:
    made = make_pair(*pair)
    both = written(pair[1], pair[1].read_text() + public_pem(OTHER)).read_text()
    assert make_pair(*pair) == made
    assert pair[1].read_text() == both


def test_a_public_key_without_its_private_one_is_told(pair: tuple[Path, Path]) -> None:
    make_pair(*pair)
    pair[0].unlink()
    with pytest.raises(SettingsError, match=r"verify.pem: is there without its private key .*signing.pem: bring"):
        make_pair(*pair)
    assert not pair[0].exists()


@pytest.mark.parametrize("content", ["", "no key", public_pem(KEY), private_pem(RSA), private_pem(KEY, b"passphrase")])
def test_what_is_no_private_key_is_left_as_it_is_and_told(pair: tuple[Path, Path], content: str) -> None:
    pair[0].parent.mkdir()
    written(pair[0], content)
    with pytest.raises(SettingsError, match=r"signing.pem: holds .*: remove it, or name another file"):
        make_pair(*pair)
    assert pair[0].read_text() == content
    assert not pair[1].exists()


def test_one_file_for_both_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"both.pem: holds a private key"):
        make_pair(tmp_path / "both.pem", tmp_path / "both.pem")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match=r"file/s.pem: cannot be used \(Not a directory\)"):
        make_pair(tmp_path / "file" / "s.pem", tmp_path / "v.pem")


def test_calls_at_the_same_time_end_with_one_pair(tmp_path: Path) -> None:
    callers = 8
    for round_ in range(25):
        files = tmp_path / str(round_) / "signing.pem", tmp_path / str(round_) / "verify.pem"
        start = threading.Barrier(callers)

        def make(files: tuple[Path, Path] = files, start: threading.Barrier = start) -> str:
            start.wait()
            return make_pair(*files)

        with ThreadPoolExecutor(callers) as threads:
            made = {call.result() for call in [threads.submit(make) for _ in range(callers)]}
        assert made == {line(files[1].read_text())}
        assert belong_together(*files)
        assert sorted(files[0].parent.iterdir()) == sorted(files), "nothing is left behind"


@pytest.mark.parametrize("look", [1, 2, 3])
def test_a_call_that_another_one_overtakes_ends_with_its_pair(pair: tuple[Path, Path], look: int) -> None:
    looks = itertools.count(1)
    others: list[str] = []

    class Overtaken(type(pair[0])):  # type: ignore[misc]
        """A file after whose n-th look somebody else makes the pair."""

        def stat(self, **options: Any) -> os.stat_result:
            try:
                return super().stat(**options)
            finally:
                if next(looks) == look:
                    others.append(make_pair(*pair))

    assert [make_pair(Overtaken(pair[0]), Overtaken(pair[1]))] == others
    assert belong_together(*pair)
