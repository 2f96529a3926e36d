"""`fleetcast health`: what a part of this machine says of itself."""

from http.client import HTTPConnection, HTTPException
from pathlib import Path

from common.errors import SettingsError
from common.health import judge, read
from common.keys import Worker
from common.settings import HealthSettings

_WORKERS: dict[str, tuple[Worker, ...]] = {"collector": ("metrics", "containers"), "executor": ("executor",)}


def why_not_healthy(part: str, settings: HealthSettings) -> str | None:
    """Why this part is not healthy, or None where it is. Raises SettingsError."""
    if part == "edge":
        return _why_not_ready(settings.port)
    if part not in _WORKERS:
        raise SettingsError("PART", f"{part!r:.40} is none of edge, collector, executor")
    if settings.run_dir is None:
        raise SettingsError(
            "--run-dir / FLEETCAST_RUN_DIR", "not set: name the directory that the worker was started with"
        )
    return _why_not_working(part, settings.run_dir)


def _why_not_working(part: str, run_dir: Path) -> str | None:
    said = False
    for worker in _WORKERS[part]:
        try:
            found = read(run_dir, worker)
        except (OSError, ValueError) as error:
            return f"{worker}: {error}"
        if found is not None:
            said = True
            problem = judge(*found)
            if problem is not None:
                return problem
    return None if said else f"{part}: has not said anything in {run_dir} yet"


def _why_not_ready(port: int) -> str | None:
    connection = HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        words = answer.read(500).decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        return f"edge: does not answer on port {port} ({error or type(error).__name__})"
    finally:
        connection.close()
    return None if answer.status == 200 else f"edge: {words}"
