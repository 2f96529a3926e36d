"""Reading files that the kernel writes while they are read: /proc, control groups. Blocks."""

import os

from common.errors import MalformedError

_CHUNK = 16_384
_MOST_BYTES = 16 * 1_048_576


def contents(path: str | os.PathLike[str], folder: int | None = None) -> bytes:
    """The whole file, of a path or of one below the open `folder`. Raises OSError, and MalformedError for one that has
    no end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return _to_the_end(descriptor, b"")
    finally:
        os.close(descriptor)


def read_again(descriptor: int) -> bytes:
    """The whole of a control group's open file as it is now. Raises as `contents` does.

    The kernel writes such a file in one piece, so that one read is all of it; a file of many records, as many of /proc
    are, comes in pieces that may be short.
    """
    text = os.pread(descriptor, _CHUNK, 0)
    return text if len(text) < _CHUNK else _to_the_end(descriptor, text)


def _to_the_end(descriptor: int, begun: bytes) -> bytes:
    pieces, size = [begun], len(begun)
    while more := os.pread(descriptor, _CHUNK, size):
        pieces.append(more)
        size += len(more)
        if size > _MOST_BYTES:
            raise MalformedError("kernel file", f"more than {_MOST_BYTES} bytes")
    return b"".join(pieces)
