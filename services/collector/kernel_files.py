"""Reading files that the kernel writes while they are read: /proc, control groups. Blocks."""

import os

from common.errors import MalformedError

_CHUNK = 16_384
_SURELY_WHOLE = 3072
"""Where the kernel writes a file in pieces, each is almost a page or more: a shorter answer is the whole file."""
_MOST_BYTES = 16 * 1_048_576


def contents(path: str | os.PathLike[str], folder: int | None = None) -> bytes:
    """The whole file, of a path or of one below the open `folder`. Raises OSError, and MalformedError for one that has
    no end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return read_again(descriptor)
    finally:
        os.close(descriptor)


def read_again(descriptor: int) -> bytes:
    """The whole of an open file as it is now. Raises as `contents` does."""
    text = os.pread(descriptor, _CHUNK, 0)
    if len(text) <= _SURELY_WHOLE:
        return text
    pieces, size = [text], len(text)
    while more := os.pread(descriptor, _CHUNK, size):
        pieces.append(more)
        size += len(more)
        if size > _MOST_BYTES:
            raise MalformedError("kernel file", f"more than {_MOST_BYTES} bytes")
    return b"".join(pieces)
