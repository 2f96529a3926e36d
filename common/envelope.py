"""What travels on the bus: a routing header of one line, then the wire message as its collector encoded it.

    1 <epoch> <seq>\\n{"type":"metrics","host":"web-1",...}

An edge reads the header and relays the rest byte for byte. Pure.
"""

import re
from typing import NamedTuple

from common.errors import MalformedError

_HEADER = re.compile(rb"1 (\d{1,15}) (\d{1,15})\n")


class Version(NamedTuple):
    """Which of two states is newer: compared first by run, then within it."""

    epoch: int
    seq: int


def wrap(version: Version, body: bytes) -> bytes:
    return b"1 %d %d\n%b" % (version.epoch, version.seq, body)


def unwrap(payload: bytes, prefix: bytes = b"{") -> tuple[Version, bytes]:
    """Header and body. `prefix` is how the body has to begin, which names its kind and host without parsing it.

    Raises MalformedError.
    """
    header = _HEADER.match(payload)
    if header is None:
        raise MalformedError("published state", f"no routing header in {payload[:40]!r}")
    body = payload[header.end() :]
    if not body.startswith(prefix) or not body.endswith(b"}"):
        raise MalformedError("published state", f"the body is not what the channel carries: {body[:60]!r}")
    return Version(int(header[1]), int(header[2])), body


def body_prefix(kind: str, host: str) -> bytes:
    """How every state message of this kind and host begins."""
    return f'{{"type":"{kind}","host":"{host}",'.encode()
