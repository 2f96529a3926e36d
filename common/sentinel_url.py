"""A URL that names Sentinels instead of a server, in its parts. Pure."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

DEFAULT_PORT = 26379

_OPTIONS = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True)
class SentinelUrl:
    """`redis+sentinel://user:password@h1,h2:26380,[::1]/mymaster/0?sentinel_password=...` in its parts; over TLS,
    `rediss+sentinel://`."""

    sentinels: tuple[tuple[str, int], ...]
    name: str
    """Of what Sentinel watches: `sentinel monitor NAME ...`."""
    options: tuple[tuple[str, str], ...]
    """For connections to Sentinels."""
    server_url: str
    """As of a single server, whose host and port are to be replaced."""

    @classmethod
    def parse(cls, url: str) -> "SentinelUrl | None":
        """None of a URL of another kind. Raises ValueError that says what is wrong."""
        parts = urlsplit(url)
        scheme, separator, _ = parts.scheme.partition("+sentinel")
        if not separator:
            return None
        user, at, hosts = parts.netloc.rpartition("@")
        name, _, database = unquote(parts.path.lstrip("/")).partition("/")
        if not name or not hosts:
            raise ValueError("names no Sentinels, or not what they watch: redis+sentinel://h1,h2,h3/mymaster")
        if database and not database.isdigit():
            raise ValueError(f"{database!r:.40} is no database: redis+sentinel://h1,h2,h3/mymaster/0")
        query = parse_qsl(parts.query, keep_blank_values=True)
        rest = urlencode([pair for pair in query if pair[0] not in _OPTIONS])
        return cls(
            sentinels=tuple(_address(host) for host in hosts.split(",")),
            name=name,
            options=tuple((key.removeprefix("sentinel_"), value) for key, value in query if key in _OPTIONS),
            server_url=f"{scheme}://{user}{at}primary:6379/{database or 0}" + (f"?{rest}" if rest else ""),
        )


def _address(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname:
            return parts.hostname, parts.port or DEFAULT_PORT
    except ValueError:
        pass  # the error below says it
    raise ValueError(f"{text!r:.80} is no address of a Sentinel: HOST or HOST:PORT, with commas between")
