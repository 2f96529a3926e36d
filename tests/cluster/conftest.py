"""The image, built once, and what is shown and cleaned up whatever happens."""

import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.driver import Compose, Targets, docker, run

_projects = pytest.StashKey[list[Compose]]()


@pytest.fixture(scope="session")
def image(docker_engine: None) -> Iterator[str]:
    """The image of this checkout."""
    name = f"fleetcast-test:{uuid.uuid4().hex[:10]}"
    run("docker", "build", "--quiet", "--tag", name, ".", within_s=600)
    try:
        yield name
    finally:
        subprocess.run(["docker", "rmi", "--force", name], capture_output=True, timeout=60, check=False)


@pytest.fixture(scope="session")
def projects(request: pytest.FixtureRequest, docker_engine: None) -> Iterator[list[Compose]]:
    """Every Compose project that the session has made: what is left of one goes at the end."""
    made: list[Compose] = []
    request.session.stash[_projects] = made
    yield made
    for project in made:
        project.down()


@pytest.fixture
def targets(docker_engine: None) -> Iterator[Targets]:
    """Containers to act on."""
    made = Targets(6)
    try:
        yield made
    finally:
        made.remove()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Shows what the containers said where a test has failed."""
    report = yield
    if call.excinfo is not None and call.when != "teardown" and not call.excinfo.errisinstance(pytest.skip.Exception):
        for project in item.session.stash.get(_projects, []):
            if project.containers(stopped=True):
                states = docker("ps", "--all", "--filter", f"label=com.docker.compose.project={project.project}")
                report.sections.append((f"cluster {project.project}", f"{states}\n{project.logs()}"))
    return report
