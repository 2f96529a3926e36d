"""The build of the dashboard: what is left where it fails, and what is not done twice."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.edge.page import read_page

ROOT = Path(__file__).parents[2]
VITE = "node_modules/vite/bin/vite.js"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout whose dashboard needs no packages, as far as its installation goes; what builds it is a test's."""
    dashboard = tmp_path / "dashboard"
    (dashboard / "client" / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "dashboard" / "build.py", dashboard)
    (dashboard / "client" / "scripts" / "wire.mjs").write_text("")
    (dashboard / "package.json").write_text('{"name": "play", "private": true}')
    lock = {"name": "play", "lockfileVersion": 3, "requires": True, "packages": {"": {"name": "play"}}}
    (dashboard / "package-lock.json").write_text(json.dumps(lock))
    static = tmp_path / "services" / "edge" / "static"
    static.mkdir(parents=True)
    shutil.copy(ROOT / "services" / "edge" / "static" / "unbuilt.html", static)
    return tmp_path


def build(tree: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, str(tree / "dashboard" / "build.py"))
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def static(tree: Path) -> Path:
    return tree / "services" / "edge" / "static"


def put_vite(tree: Path, script: str) -> None:
    """What stands in the place of vite, as if it had been installed."""
    found = tree / "dashboard" / VITE
    found.parent.mkdir(parents=True, exist_ok=True)
    found.write_text(script)


BUILDS = """
import { mkdirSync, writeFileSync } from "node:fs";
const out = new URL("../../../../services/edge/static/dashboard/", import.meta.url);
mkdirSync(new URL("assets/", out), { recursive: true });
writeFileSync(new URL("index.html", out), "<title>built</title>");
writeFileSync(new URL("assets/index-abc.js", out), "x".repeat(5000));
"""


def test_a_build_that_fails_takes_the_old_page_away_and_leaves_its_reason(tree: Path) -> None:
    old = static(tree) / "dashboard"
    old.mkdir()
    (old / "index.html").write_text("an old page")
    done = build(tree)
    assert done.returncode == 1
    assert "could not be built" in done.stderr
    assert "vite" in (old / "why-not.txt").read_text()
    shown = read_page(static(tree)).index.body.decode()
    assert "an old page" not in shown
    assert "building failed" in shown


def test_what_is_built_is_served_compressed_and_built_again_only_where_its_sources_changed(tree: Path) -> None:
    assert build(tree).returncode == 1  # the installation is there now
    put_vite(tree, BUILDS)
    assert build(tree).returncode == 0
    page = read_page(static(tree))
    assert page.index.body == b"<title>built</title>"
    script = page.assets["index-abc.js"]
    assert script.gzipped is not None
    assert len(script.gzipped) < len(script.body) == 5000
    put_vite(tree, "throw new Error('built twice')")
    assert build(tree).returncode == 0
    (tree / "dashboard" / "client" / "new.ts").write_text("export {};")
    again = build(tree)
    assert again.returncode == 1
    assert "built twice" in again.stderr


def test_a_wrong_argument_is_said(tree: Path) -> None:
    done = subprocess.run(
        (sys.executable, str(tree / "dashboard" / "build.py"), "everything"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "usage" in done.stderr
