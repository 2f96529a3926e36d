"""Sign-in tokens: who somebody is, what role they have, which hosts they see, and until when. Pure but for the clock
and the secret's file.

JWT, HS256, under a secret of at least 32 bytes that all edges share. Claims: `sub`, `role`, `exp`, and optionally
`hosts`, a list of selectors such as `web-*` (none: every host).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, get_args

import jwt

from common.errors import ProtocolError, SettingsError
from common.protocol import Role
from common.settings import SecretSettings

MIN_SECRET_BYTES = 32
MAX_TOKEN_CHARS = 4096
_ALGORITHM = "HS256"
_ROLES: tuple[Role, ...] = get_args(Role)
_LEEWAY_S = 30
"""How far the clocks of whoever made the token may be ahead (`iat`, `nbf`); never of `exp`."""


@dataclass(frozen=True)
class Identity:
    """Somebody who is signed in."""

    user: str
    role: Role
    hosts: tuple[str, ...] | None = None
    """Selectors of the hosts they see; None: every host."""
    expires_at: float | None = None
    """Seconds since the epoch; None: never."""

    def sees(self, host: str) -> bool:
        return sees(self.hosts, host)


def sees(selectors: tuple[str, ...] | None, host: str) -> bool:
    """Whether host selectors, None for every host, let a host through."""
    return selectors is None or any(fnmatchcase(host, selector) for selector in selectors)


def make_token(secret: bytes, user: str, role: Role, ttl_s: float, hosts: Sequence[str] = ()) -> str:
    """A token that is good from now on, for `ttl_s` seconds."""
    now = time.time()
    claims: dict[str, Any] = {"sub": user, "role": role, "iat": int(now), "exp": int(now + ttl_s)}
    if hosts:
        claims["hosts"] = list(hosts)
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def read_token(secret: bytes, token: str) -> Identity:
    """Whoever the token names. Raises ProtocolError (`unauthenticated`) that says what is wrong with it, but never
    quotes it."""
    if len(token) > MAX_TOKEN_CHARS:
        raise ProtocolError("unauthenticated", "the token is too long")
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            leeway=_LEEWAY_S,
            options={"require": ["sub", "role", "exp"], "verify_aud": False},
        )
    except jwt.ExpiredSignatureError:
        raise _expired() from None
    except jwt.InvalidSignatureError:
        raise ProtocolError("unauthenticated", "the token is not signed with this fleet's secret") from None
    except jwt.MissingRequiredClaimError as missing:
        raise ProtocolError("unauthenticated", f"the token has no claim {missing.claim!r}") from None
    except (jwt.PyJWTError, ValueError) as wrong:
        raise ProtocolError("unauthenticated", f"the token cannot be read ({type(wrong).__name__})") from None
    return _identity(claims)


def resolve_secret(settings: SecretSettings) -> bytes | None:
    """The secret itself or what its file holds; None where neither is set. Raises SettingsError."""
    name, secret = settings.variable("jwt_secret"), settings.jwt_secret
    if settings.jwt_secret_file is not None:
        name = f"{settings.option('jwt_secret_file')} / {settings.variable('jwt_secret_file')}"
        try:
            secret = settings.jwt_secret_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise SettingsError(name, f"cannot read {settings.jwt_secret_file} ({why})") from None
    if secret is None:
        return None
    encoded = secret.encode()
    if len(encoded) < MIN_SECRET_BYTES:
        raise SettingsError(
            name, f"has {len(encoded)} bytes, needs {MIN_SECRET_BYTES}: `fleetcast secret FILE` makes one"
        )
    return encoded


def _identity(claims: dict[str, Any]) -> Identity:
    user, role, hosts, expires_at = claims["sub"], claims["role"], claims.get("hosts"), claims["exp"]
    if not isinstance(user, str) or not user or not user.isprintable() or len(user) > 128:
        raise ProtocolError("unauthenticated", "the token's sub is no name of 1 to 128 characters")
    if role not in _ROLES:
        raise ProtocolError("unauthenticated", f"the token's role is none of {', '.join(_ROLES)}")
    if hosts is not None and not (isinstance(hosts, list) and all(isinstance(selector, str) for selector in hosts)):
        raise ProtocolError("unauthenticated", "the token's hosts is no list of selectors")
    if expires_at <= time.time():
        raise _expired()
    return Identity(user, role, None if hosts is None else tuple(hosts), float(expires_at))


def _expired() -> ProtocolError:
    return ProtocolError("unauthenticated", "the token has expired: sign in again")
