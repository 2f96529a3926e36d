"""How an edge serves the built dashboard, and what it says where there is none."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from shutil import copy

import httpx
import pytest
from fastapi import FastAPI

from services.edge.page import STATIC, add_page, read_page, takes_gzip

INDEX = "<!doctype html><title>the page</title>"
SCRIPT = "console.log('a script');" * 100


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """As `scripts/dashboard build` leaves it."""
    assets = tmp_path / "dashboard" / "assets"
    assets.mkdir(parents=True)
    (assets.parent / "index.html").write_text(INDEX)
    (assets.parent / "favicon.svg").write_text("<svg/>")
    (assets / "index-abc.js").write_text(SCRIPT)
    (assets / "index-abc.js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    (assets / "index-def.css").write_text("a{}")
    (tmp_path / "secret").write_text("nobody's business")
    return tmp_path


@pytest.fixture
def unbuilt(tmp_path: Path) -> Path:
    copy(STATIC / "unbuilt.html", tmp_path)
    return tmp_path


def browser(static: Path) -> httpx.AsyncClient:
    app = FastAPI()
    add_page(app, read_page(static))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://edge", headers={"Accept-Encoding": ""}
    )


@pytest.fixture
async def http(built: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(built) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/hosts/web-1", "/hosts/web-1/containers", "/containers", "/timeline"])
async def test_the_page_is_there_under_each_of_its_paths_with_a_policy(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.text) == (200, INDEX)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= {*policy}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_who_has_the_page_is_told_so_until_it_changes(http: httpx.AsyncClient, built: Path) -> None:
    etag = (await http.get("/")).headers["etag"]
    for names in (etag, f'"other", {etag}', etag.removeprefix("W/"), "*"):
        answer = await http.get("/", headers={"If-None-Match": names})
        assert (answer.status_code, answer.content) == (304, b""), names
        assert answer.headers["etag"] == etag
    assert (await http.get("/", headers={"If-None-Match": '"other"'})).status_code == 200
    (built / "dashboard" / "index.html").write_text(f"{INDEX} of another build")
    assert (await http.get("/", headers={"If-None-Match": etag})).status_code == 304, "it is read once, at the start"
    async with browser(built) as restarted:
        assert (await restarted.get("/", headers={"If-None-Match": etag})).status_code == 200


async def test_what_the_page_loads_is_kept_for_ever(http: httpx.AsyncClient) -> None:
    script = await http.get("/assets/index-abc.js")
    assert (script.status_code, script.text) == (200, SCRIPT)
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await http.get("/assets/index-def.css")).headers["content-type"] == "text/css; charset=utf-8"
    favicon = await http.get("/favicon.svg")
    assert (favicon.headers["content-type"], favicon.headers["cache-control"]) == ("image/svg+xml", "no-cache")


async def test_who_takes_gzip_gets_what_was_compressed_beside_it(http: httpx.AsyncClient) -> None:
    compressed = await http.get("/assets/index-abc.js", headers={"Accept-Encoding": "br, gzip"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert int(compressed.headers["content-length"]) < len(SCRIPT) == len(compressed.content)
    plain = await http.get("/assets/index-abc.js")
    assert "content-encoding" not in plain.headers
    assert compressed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    small = await http.get("/assets/index-def.css", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers, "nothing was compressed beside it"


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("", False),
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("br", False),
        ("gzip;level=0", True),
        (";;,=;q", False),
    ],
)
def test_what_a_browser_takes_stands_in_its_header(header: str, takes: bool) -> None:
    assert takes_gzip(header) == takes


@pytest.mark.parametrize(
    "path",
    [
        "/assets/index-abc.js.gz",
        "/assets/other.js",
        "/assets/",
        "/assets/..%2f..%2fsecret",
        "/assets/%2e%2e/index.html",
        "/assets/..%5csecret",
        "/assets/index-abc.js%00",
        "/secret",
    ],
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


@pytest.mark.parametrize("path", ["/", "/hosts/web-1", "/containers", "/timeline"])
async def test_without_a_dashboard_a_page_says_what_to_do(unbuilt: Path, path: str) -> None:
    async with browser(unbuilt) as http:
        answer = await http.get(path)
        assert answer.status_code == 200
        for words in ("scripts/dashboard build", "fleetcast watch", "/api/hosts", "Nobody has built it"):
            assert words in answer.text
        assert "<script" not in answer.text
        assert (await http.get("/favicon.svg")).status_code == 404
        assert (await http.get("/assets/index-abc.js")).status_code == 404


async def test_why_there_is_no_dashboard_is_told_as_the_build_has_said_it(unbuilt: Path) -> None:
    (unbuilt / "dashboard").mkdir()
    (unbuilt / "dashboard" / "why-not.txt").write_text("npm: no network <script>alert(1)</script>")
    async with browser(unbuilt) as http:
        text = (await http.get("/")).text
    assert "npm: no network &lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "Nobody has built it" not in text
