"""Signed actions: what an edge signs with its private key, an executor does, and nothing else. Whoever can write to
Redis but has no key can make no host act.

A signed action is a JWS in compact form, EdDSA over Ed25519, `typ` fleetcast-action, `kid` the key's id. Signer,
Verifier and `peek` are pure; below them is what reads keys from the settings and makes their files.
"""

import hashlib
import logging
import os
import re
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from common.errors import SettingsError, SignatureError
from common.settings import Settings, SigningSettings, VerifyingSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_TOKEN_CHARS = 65_536
_TYPE = "fleetcast-action"
_ALGORITHM = "EdDSA"
_jws = jwt.PyJWS(algorithms=[_ALGORITHM])
"""Knows no other algorithm: there is none to be talked into."""
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+")
_OTHER_WAY = "it is signed in another way than edges sign actions"


class Signer:
    """An edge's private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id(key.public_key())

    def sign(self, payload: bytes) -> str:
        return _jws.encode(payload, self._key, _ALGORITHM, headers={"typ": _TYPE, "kid": self.key_id})


class Verifier:
    """The public keys that an executor knows: one, or several while they are being changed."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys = {key_id(key): key for key in keys}

    @property
    def key_ids(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def verify(self, token: str | bytes) -> bytes:
        """The payload. Raises SignatureError with the reason, in words for a user, where no known key signed this very
        token."""
        if len(token) > MAX_TOKEN_CHARS:
            raise SignatureError("it is too long for a signed action")
        text = token if isinstance(token, str) else token.decode("ascii", "replace")
        if not _COMPACT.fullmatch(text):
            raise SignatureError("it is not signed")
        try:
            header = _jws.get_unverified_header(text)
        except jwt.DecodeError:
            raise SignatureError("it is not signed") from None
        except jwt.InvalidTokenError:
            raise SignatureError(_OTHER_WAY) from None
        # Nothing beside these three: a header may neither bring a key of its own nor change how the rest is read.
        if header.keys() != {"alg", "kid", "typ"} or (header["alg"], header["typ"]) != (_ALGORITHM, _TYPE):
            raise SignatureError(_OTHER_WAY)
        key = self._keys.get(header["kid"])
        if key is None:
            unknown = re.sub(r"[^A-Za-z0-9_-]", "?", header["kid"])[:16]
            raise SignatureError(f"it is signed with a key that this executor does not know ({unknown})")
        try:
            payload: bytes = _jws.decode(text, key, [_ALGORITHM])
        except jwt.InvalidTokenError:
            raise SignatureError("it was altered after it was signed") from None
        return payload


def peek(token: bytes) -> bytes | None:
    """What an entry claims to be: a signed one's payload, an unsigned one (a JSON object) itself, else None.

    Nothing is checked, and anybody may have written it: good for telling what was refused, never for doing it.
    """
    if token.startswith(b"{"):
        return token
    if len(token) > MAX_TOKEN_CHARS:
        return None
    try:
        payload: bytes = _jws.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None
    return payload


def key_id(key: Ed25519PublicKey) -> str:
    """A key's name: the first 16 hex digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def public_line(key: Ed25519PublicKey) -> str:
    """The key as a variable takes it: the body of its PEM, on one line."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b64encode(der).decode()


# Keys from the settings


_MAKE = "`fleetcast keys SIGNING VERIFY` makes a pair"


def read_signer(settings: SigningSettings) -> Signer | None:
    """The edge's key; None where none is set. Raises SettingsError. Logs a warning where others can read its file."""
    key = _read_setting(settings, "action_signing_key", _parse_private)
    file = settings.action_signing_key_file
    if file is not None and others_may_read(file):
        logger.warning("others than its owner may read %s, and whoever has it can sign actions: chmod 600 it", file)
    return None if key is None else Signer(key)


def others_may_read(file: Path) -> bool:
    """Whether others than its owner may. Raises OSError."""
    return bool(file.stat().st_mode & 0o077)


def read_verifier(settings: VerifyingSettings) -> Verifier | None:
    """The executor's keys; None where it is to do actions that nobody has signed. Raises SettingsError, also where
    nothing says which of the two it is to be."""
    keys = _read_setting(settings, "action_verify_key", _parse_public)
    if keys is not None and settings.insecure_unsigned:
        raise SettingsError(
            _name(settings, "insecure_unsigned"), "a verify key is set too: take one of them away, best this one"
        )
    if keys is None and not settings.insecure_unsigned:
        raise SettingsError(
            _name(settings, "action_verify_key_file"),
            f"no verify key: set the file with the edges' public key ({_MAKE}), "
            "or --insecure-unsigned to do actions that nobody has signed",
        )
    return None if keys is None else Verifier(keys)


def _read_setting(settings: Settings, field: str, parse: Callable[[str], T]) -> T | None:
    """What a key's variable holds, or the file that is set instead."""
    text: str | None = getattr(settings, field)
    file: Path | None = getattr(settings, f"{field}_file")
    name = settings.variable(field) if file is None else _name(settings, f"{field}_file")
    if file is not None and text is not None:
        raise SettingsError(name, f"{settings.variable(field)} is set too: take one of them away")
    try:
        if file is not None:
            text = _read_file(file)
        return None if text is None else parse(text)
    except ValueError as wrong:
        raise SettingsError(name, f"{wrong}: {_MAKE}") from None


def _name(settings: Settings, field: str) -> str:
    return f"{settings.option(field)} / {settings.variable(field)}"


def _read_file(file: Path) -> str:
    """Raises ValueError."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"cannot read {file} ({why})") from None


# Keys from text. All of these raise ValueError that says what the text holds instead, and quotes none of it.


_ENTRY = re.compile(r"-----BEGIN [A-Z ]+-----(?P<body>[^-]+)-----END [A-Z ]+-----|[^\s,]+")
"""A block of PEM, or the body of one as a word. What is neither becomes words that are no keys."""


def _parse_private(text: str) -> Ed25519PrivateKey:
    keys = _parse(text)
    if len(keys) > 1:
        raise ValueError(f"holds {len(keys)} keys, and an edge signs with one")
    if not isinstance(keys[0], Ed25519PrivateKey):
        raise ValueError("holds a public key, where the private one belongs")
    return keys[0]


def _parse_public(text: str) -> list[Ed25519PublicKey]:
    public = []
    for key in _parse(text):
        if isinstance(key, Ed25519PrivateKey):
            raise ValueError("holds a private key, where only the public one belongs")
        public.append(key)
    return public


def _parse(text: str) -> list[Ed25519PrivateKey | Ed25519PublicKey]:
    keys = [_parse_body(entry["body"] or entry[0]) for entry in _ENTRY.finditer(text)]
    if not keys:
        raise ValueError("holds nothing")
    return keys


def _parse_body(body: str) -> Ed25519PrivateKey | Ed25519PublicKey:
    try:
        key = _load_der(b64decode("".join(body.split()), validate=True))
    except TypeError:
        raise ValueError("holds an encrypted key, and nobody is there to decrypt it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("holds what is no key, neither in PEM nor on one line") from None
    if not isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        raise ValueError("holds a key of another kind than Ed25519")
    return key


def _load_der(der: bytes) -> object:
    """TypeError where it is encrypted."""
    with suppress(ValueError):  # no public key
        return serialization.load_der_public_key(der)
    return serialization.load_der_private_key(der, None)


# Making a pair


def make_pair(signing: Path, verify: Path) -> str:
    """Makes the private key's file and the public one's, and leaves alone what is there. Returns the public key's line.

    The private key is there first, and each file whole from the beginning. So a call that was interrupted is finished
    by the next, and calls at the same time end with one pair. Raises SettingsError where a file cannot be written or
    read, and where the two do not belong together.
    """
    if _is_there(verify) and not _is_there(signing):  # asked in this order: of a pair in the making, it is the second
        raise SettingsError(
            str(verify), f"is there without its private key {signing}: bring that back, or remove this one"
        )
    if not _is_there(signing):
        _make_file(signing, _private_pem(Ed25519PrivateKey.generate()), mode=0o600, parent_mode=0o700)
    public = _parse_existing(signing, _parse_private).public_key()
    if not _is_there(verify):
        _make_file(verify, _public_pem(public), mode=0o644, parent_mode=0o755)
    if public not in _parse_existing(verify, _parse_public):
        raise SettingsError(
            str(verify), f"belongs to another private key than {signing}: remove it, and the right one is made"
        )
    return public_line(public)


def _is_there(file: Path) -> bool:
    try:
        file.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SettingsError(str(file), f"cannot be used ({error.strerror})") from None
    return True


def _make_file(file: Path, content: bytes, mode: int, parent_mode: int) -> None:
    """Makes the file, or leaves the one that somebody else made just now."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=parent_mode)
        descriptor, unfinished = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
        try:
            with open(descriptor, "wb") as made:
                made.write(content)
                made.flush()
                os.fchmod(made.fileno(), mode)
                os.fsync(made.fileno())
            with suppress(FileExistsError):
                os.link(unfinished, file)
        finally:
            os.unlink(unfinished)
    except OSError as error:
        raise SettingsError(str(file), f"cannot be written ({error.strerror})") from None


def _parse_existing(file: Path, parse: Callable[[str], T]) -> T:
    try:
        return parse(_read_file(file))
    except ValueError as wrong:
        raise SettingsError(str(file), f"{wrong}: remove it, or name another file") from None


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
