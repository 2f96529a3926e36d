"""What a worker's last word on itself, of some age, says of its health."""

import pytest

from common.health import Health, judge


@pytest.mark.parametrize(
    ("beat_s", "age_s", "hangs"), [(2, 9, False), (2, 11, True), (60, 140, False), (60, 160, True)]
)
def test_a_worker_hangs_that_has_said_nothing_for_long_by_its_own_beat(
    beat_s: float, age_s: float, hangs: bool
) -> None:
    problem = judge(Health("metrics", "working", beat_s=beat_s), age_s)
    assert problem == (f"metrics: hangs, it last said something {age_s} s ago" if hangs else None)


@pytest.mark.parametrize(
    ("health", "problem"),
    [
        (Health("executor", "standing by"), None),
        (Health("executor", "without Redis"), "executor: Redis is not available"),
        (Health("containers", "working", "gone docker-unreachable"), "containers: gone docker-unreachable"),
        (Health("executor", "working", "live insecure-unsigned"), None),
    ],
    ids=str,
)
def test_a_worker_is_healthy_that_does_its_job_or_stands_by(health: Health, problem: str | None) -> None:
    assert judge(health, 1.0) == problem
