"""Settings that are found out where nobody gives them."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.setting_kinds import first_present


def test_the_preferred_place_comes_first_and_stands_where_there_is_none(tmp_path: Path) -> None:
    docker, rootless, podman = tmp_path / "docker.sock", tmp_path / "user/docker.sock", tmp_path / "podman.sock"
    assert first_present(docker, rootless, podman) == docker
    podman.touch()
    assert first_present(docker, rootless, podman) == podman
    docker.touch()
    assert first_present(docker, rootless, podman) == docker


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that this process may not look into, although it may be root's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0)
        own = os.geteuid()
        if own == 0:
            os.seteuid(65534)
        try:
            yield path
        finally:
            os.seteuid(own)
            path.chmod(0o700)


def test_a_folder_that_is_closed_to_this_user_is_passed_over(closed: Path) -> None:
    with pytest.raises(PermissionError):
        (closed / "podman.sock").stat()
    assert first_present(Path("/nowhere/docker.sock"), closed / "podman.sock", Path("/")) == Path("/")
    assert first_present(Path("/nowhere/docker.sock"), closed / "podman.sock") == Path("/nowhere/docker.sock")
