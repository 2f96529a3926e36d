"""Very many actions at once on one host, on a small scale of `python -m benchmarks.actions flood`."""

import pytest

from benchmarks.actions_parts.flood import Options, run_flood

pytestmark = [pytest.mark.docker, pytest.mark.alone]

SMALL = Options(actions=600, containers=4, clients=2, waves=1, quiet_s=0.5)


@pytest.mark.timeout(180)
async def test_a_flood_is_settled_to_the_last_action_and_pings_go_on_meanwhile(docker_engine: None) -> None:
    [wave] = await run_flood(SMALL, limited=False, say=lambda text: None)
    assert wave.violations == []
    assert wave.outcomes == {"succeeded": 600}


@pytest.mark.timeout(180)
async def test_beyond_its_rate_limit_a_client_is_refused_and_stays_connected(docker_engine: None) -> None:
    [wave] = await run_flood(SMALL, limited=True, say=lambda text: None)
    assert wave.violations == []
    assert wave.outcomes == {"succeeded": 400, "rate-limited": 200}
