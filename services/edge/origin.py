"""Which pages may talk to an edge. Pure.

A browser sends cookies and reaches loopback for any page that it shows, so every upgrade and every request that a
browser makes is checked: `Origin` must be the edge's own or an allowed one, and `Host` must be a name under which this
edge is meant to be reached, or a page could point its own name at 127.0.0.1 (DNS rebinding). Programs send no `Origin`.
"""

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit


def parse_origins(setting: str) -> frozenset[str]:
    """`https://a.example, https://b.example:8443` → the set of them. Raises ValueError that names the wrong one."""
    origins = [origin.strip().rstrip("/").lower() for origin in setting.split(",") if origin.strip()]
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query:
            raise ValueError(f"{origin!r} is no origin: write https://ops.example.com")
    return frozenset(origins)


def is_allowed(host: str | None, origin: str | None, allowed: frozenset[str], *, any_host: bool = False) -> bool:
    """Whether a request with these headers may go on. `any_host`: whoever asks has to sign in, so that a page gains
    nothing by pointing its own name here."""
    if not host or not (any_host or _is_ours(host, allowed)):
        return False
    if origin is None:
        return True
    origin = origin.lower()
    return origin in allowed or origin in {f"http://{host}".lower(), f"https://{host}".lower()}


@lru_cache(256)
def _is_ours(host: str, allowed: frozenset[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name in {urlsplit(origin).hostname for origin in allowed}:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
