"""Whether the keys that this machine has are good for something, and belong together. Reads their files."""

from collections.abc import Iterator
from contextlib import suppress

from common.errors import SettingsError
from common.settings import DoctorSettings
from common.signing import others_may_read, read_signer, read_verifier
from common.tokens import resolve_secret
from services.doctor.finding import Finding


def check_keys(settings: DoctorSettings) -> Iterator[Finding]:
    yield from _secret(settings)
    yield from _pair(settings)
    for file in (settings.jwt_secret_file, settings.action_signing_key_file):
        with suppress(OSError):  # that it cannot be read has been said
            if file is not None and others_may_read(file):
                yield Finding("keys", "warning", f"others than its owner may read {file}", f"chmod 600 {file}")


def _secret(settings: DoctorSettings) -> Iterator[Finding]:
    try:
        secret = resolve_secret(settings)
    except SettingsError as wrong:
        yield Finding("keys", "failed", str(wrong), "`fleetcast secret FILE` makes one; give all edges the same")
        return
    if secret is None:
        yield Finding("keys", "note", "no sign-in secret here: an edge with these settings serves this machine alone")
    else:
        yield Finding("keys", "ok", f"a sign-in secret of {len(secret)} bytes")


def _pair(settings: DoctorSettings) -> Iterator[Finding]:
    try:
        signer = read_signer(settings)
    except SettingsError as wrong:
        yield Finding("keys", "failed", str(wrong), "no edge starts with this key")
        signer = None
    if settings.insecure_unsigned:
        yield Finding(
            "keys",
            "warning",
            "an executor with these settings does what nobody has signed: whoever can write to Redis is root here",
            "unset FLEETCAST_INSECURE_UNSIGNED, and give it the edges' public key",
        )
        return
    if not (settings.action_verify_key or settings.action_verify_key_file):
        if signer is not None:
            yield Finding("keys", "ok", f"a key to sign actions with: {signer.key_id}")
        missing = "to sign actions with, and none to verify them" if signer is None else "to verify actions with"
        yield Finding("keys", "note", f"no key {missing}: an executor does not start without one")
        return
    try:
        verifier = read_verifier(settings)
    except SettingsError as wrong:
        yield Finding("keys", "failed", str(wrong), "no executor starts with this key")
        return
    assert verifier is not None  # only where unsigned ones are done
    known = ", ".join(verifier.key_ids)
    if signer is None:
        yield Finding("keys", "ok", f"actions are verified with {known}")
    elif signer.key_id in verifier.key_ids:
        yield Finding("keys", "ok", f"actions are signed with {signer.key_id}, which an executor here knows")
    else:
        yield Finding(
            "keys",
            "failed",
            f"actions are signed with {signer.key_id}, but an executor here knows only {known}: it refuses all of them",
            "give executors the public key that was made with the edges' private one: `fleetcast keys SIGNING VERIFY`",
        )
