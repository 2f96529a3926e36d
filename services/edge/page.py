"""The dashboard as Vite has built it into static/dashboard/: read once at the start, and served from memory.

index.html is the page under each of its own paths and is asked for again each time; what it loads has a hash in its
name and is kept for ever. Where it was not built, another page says why and what to do; everything else works.
"""

import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response

STATIC = Path(__file__).parent / "static"

PAGE_PATHS = ("/", "/hosts/{rest:path}", "/containers", "/timeline")

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_ASKED_AGAIN = "no-cache"
_FOR_EVER = "public, max-age=31536000, immutable"

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".woff2": "font/woff2",
}

_WHY = "<!-- why -->"
_MOST_WHY = 4_000


@dataclass(frozen=True)
class File:
    media_type: str
    body: bytes
    gzipped: bytes | None = None
    """The same, where it was compressed beside it."""
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.body).hexdigest()[:20]
        object.__setattr__(self, "etag", f'W/"{digest}"')  # weak: the same whether compressed or not


@dataclass(frozen=True)
class Page:
    index: File
    favicon: File | None = None
    assets: Mapping[str, File] = field(default_factory=dict)
    """By name."""


def read_page(static: Path) -> Page:
    """What was built there, or the page that says why nothing was."""
    built = static / "dashboard"
    index = _read(built / "index.html")
    if index is None:
        return Page(_unbuilt(static))
    assets = built / "assets"
    names = [path.name for path in assets.iterdir() if path.suffix != ".gz"] if assets.is_dir() else []
    found = {name: file for name in names if (file := _read(assets / name)) is not None}
    return Page(index, _read(built / "favicon.svg"), found)


def _read(path: Path) -> File | None:
    if not path.is_file():
        return None
    gzipped = path.with_name(f"{path.name}.gz")
    return File(
        _MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        path.read_bytes(),
        gzipped.read_bytes() if gzipped.is_file() else None,
    )


def _unbuilt(static: Path) -> File:
    why_not = static / "dashboard" / "why-not.txt"
    said = why_not.read_text("utf-8", "replace").strip()[:_MOST_WHY] if why_not.is_file() else ""
    told = f"<pre>{html.escape(said)}</pre>" if said else "<p>Nobody has built it here yet.</p>"
    text = (static / "unbuilt.html").read_text("utf-8")
    return File(_MEDIA_TYPES[".html"], text.replace(_WHY, told).encode())


def answer(file: File, cache_control: str, accept_encoding: str = "", if_none_match: str = "") -> Response:
    """The file, compressed for who takes it, or 304 for who has it."""
    headers = {**_HEADERS, "Cache-Control": cache_control, "ETag": file.etag}
    if file.gzipped is not None:
        headers["Vary"] = "Accept-Encoding"
    if _names(if_none_match, file.etag):
        return Response(None, 304, headers)
    body = file.body
    if file.gzipped is not None and takes_gzip(accept_encoding):
        headers["Content-Encoding"] = "gzip"
        body = file.gzipped
    return Response(body, 200, {**headers, "Content-Type": file.media_type})


def takes_gzip(accept_encoding: str) -> bool:
    """RFC 9110, 12.5.3: where gzip is not named, `*` stands for it."""
    weights: dict[str, bool] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameters = part.partition(";")
        name, _, weight = parameters.partition("=")
        is_refused = name.strip() == "q" and weight.strip().strip("0") in {"", "."}
        weights[coding.strip()] = not is_refused
    return weights.get("gzip", weights.get("*", False))


def _names(if_none_match: str, etag: str) -> bool:
    """RFC 9110, 13.1.2: compared weakly."""
    named = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in named or etag.removeprefix("W/") in named


def add_page(app: FastAPI, page: Page) -> None:
    """Adds the routes of the page, which everybody may have: nothing of the fleet is in it."""

    async def index(request: Request) -> Response:
        return _answer(request, page.index, _ASKED_AGAIN)

    for path in PAGE_PATHS:
        app.get(path, include_in_schema=False)(index)

    @app.get("/favicon.svg", include_in_schema=False)
    async def favicon(request: Request) -> Response:
        return _answer(request, page.favicon, _ASKED_AGAIN)

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(request: Request, name: str) -> Response:
        return _answer(request, page.assets.get(name), _FOR_EVER)


def _answer(request: Request, file: File | None, cache_control: str) -> Response:
    if file is None:
        raise HTTPException(404)
    headers = request.headers
    return answer(file, cache_control, headers.get("accept-encoding", ""), headers.get("if-none-match", ""))
