"""Who may do what: one function for every route and every message. Pure but for reading the secret's file at the start.

Without a secret configured an edge serves its own machine only, and whoever is there may do everything.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Literal

from common.errors import ProtocolError, SettingsError
from common.protocol import HostStatus, Role
from common.settings import EdgeSettings
from common.tokens import Identity, read_token, resolve_secret

Permission = Literal["see", "act", "audit"]

SUBPROTOCOL = "fleetcast.v1"
"""What a browser offers beside `bearer.<token>`, and what is agreed on: the token itself is never echoed."""

_BEARER_PROTOCOL = "bearer."
_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    "viewer": frozenset({"see"}),
    "operator": frozenset({"see", "act"}),
    "admin": frozenset({"see", "act", "audit"}),
}

LOCAL = Identity("local", "admin")
"""Whoever is on the machine of an edge that has no secret."""


def authorise(
    identity: Identity,
    permission: Permission,
    host: str | None = None,
    request_id: str | None = None,
    target: int | None = None,
) -> None:
    """Returns if this identity may do this (to this host). Raises ProtocolError (`forbidden`)."""
    if permission not in _PERMISSIONS[identity.role]:
        raise ProtocolError("forbidden", f"the role {identity.role} may not {permission}", request_id, target)
    if host is not None and not identity.sees(host):
        raise ProtocolError("forbidden", f"this sign-in is not for the host {host}", request_id, target)


def hosts_seen(identity: Identity, roster: Sequence[HostStatus] | None) -> tuple[HostStatus, ...]:
    """Those hosts that this identity may see. Raises ProtocolError (`unavailable`) where there is no roster yet."""
    if roster is None:
        raise ProtocolError("unavailable", "the fleet's roster has not been read yet")
    return tuple(status for status in roster if identity.sees(status.host))


class Gatekeeper:
    """Tells who a request comes from."""

    def __init__(self, secret: bytes | None) -> None:
        self._secret = secret

    @property
    def is_open(self) -> bool:
        """No sign-in: everybody who gets here is LOCAL."""
        return self._secret is None

    def identify(self, authorization: str | None, subprotocols: Iterable[str] = ()) -> Identity:
        """From `Authorization: Bearer <token>`, or the subprotocol `bearer.<token>`.

        Raises ProtocolError (`unauthenticated`).
        """
        if self._secret is None:
            return LOCAL
        token = _token(authorization, subprotocols)
        if token is None:
            raise ProtocolError("unauthenticated", "sign in: send a token, `fleetcast token` makes one")
        return read_token(self._secret, token)


def _token(authorization: str | None, subprotocols: Iterable[str]) -> str | None:
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    for offered in subprotocols:
        if offered.startswith(_BEARER_PROTOCOL):
            return offered.removeprefix(_BEARER_PROTOCOL)
    return None


def edge_secret(settings: EdgeSettings) -> bytes | None:
    """The secret that the settings name, or None where the edge serves this machine only. Raises SettingsError."""
    secret = resolve_secret(settings)
    if secret is None and settings.bind != "localhost" and not ip_address(settings.bind).is_loopback:
        raise SettingsError(
            "--bind / FLEETCAST_BIND",
            f"{settings.bind} is open to others, so it needs sign-in: set FLEETCAST_JWT_SECRET_FILE to a file that "
            "`fleetcast secret FILE` makes, or bind to 127.0.0.1",
        )
    return secret
