"""The simulated fleet by itself: believable, the same for the same seed, and a story that holds together."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.models import Container
from services.collector.engine_events import EngineEvent
from services.collector.simulator.catalogue import labels_of
from services.collector.simulator.container import human
from services.collector.simulator.fleet import CATCH_UP_MS, SimulatedHost
from services.collector.simulator.noise import Noise, daily_wave
from services.collector.transitions import Transition, Transitions

BEGAN = 1_780_000_000_000
HOUR_MS = 3_600_000
NOISE = Noise("1")


def simulated(
    host: str = "sim-0001", *, seed: int = 1, containers: int = 40, incident_every_s: float = 60
) -> SimulatedHost:
    return SimulatedHost(seed, host, containers, BEGAN, NOISE, incident_every_s)


def live(host: SimulatedHost, for_ms: int, step_ms: int = 1000) -> list[EngineEvent]:
    """What an engine tells of it, asked every `step_ms`."""
    times = [*range(BEGAN, BEGAN + for_ms, step_ms), BEGAN + for_ms]
    return [event for at in times for event in host.advance(at)]


def shown(host: SimulatedHost, at: int) -> tuple[str, ...]:
    models = (host.metrics(at), host.usage(at), host.processes(at), *host.containers(at))
    return tuple(model.model_dump_json() for model in models)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), containers=st.integers(0, 60), after_s=st.integers(-86_400, 40 * 86_400))
def test_its_values_are_within_their_bounds(seed: int, containers: int, after_s: int) -> None:
    at = BEGAN + 1000 * after_s
    host = simulated(seed=seed, containers=containers)
    host.advance(at)
    metrics, usage = host.metrics(at), host.usage(at)

    assert len(metrics.cpu.per_core_percent) == metrics.cpu.cores == usage.cores
    assert 0 <= metrics.cpu.percent <= 100
    assert max(metrics.cpu.per_core_percent) <= 100
    assert metrics.memory.used_bytes + metrics.memory.available_bytes == metrics.memory.total_bytes
    assert metrics.swap.used_bytes <= metrics.swap.total_bytes
    for part in (metrics.memory, metrics.swap, *metrics.disks):
        assert 0 <= part.percent <= 100

    running = [one.id for one in host.containers(at) if one.state in ("running", "paused")]
    assert list(usage.ids) == running
    columns = [column for name, column in usage if name not in ("cores", "ids")]
    assert {len(column) for column in columns} == {len(running)}
    assert sum(filter(None, usage.cpu_percent)) <= 100 * usage.cores
    assert all(used <= limit for used, limit in zip(usage.memory_bytes, usage.memory_limit_bytes, strict=True))

    processes = host.processes(at)
    assert [one.cpu_percent for one in processes.by_cpu] == sorted(one.cpu_percent for one in processes.by_cpu)[::-1]
    assert len(processes.by_memory) == len(processes.by_cpu) <= 10


def test_it_has_as_many_containers_as_it_was_asked_for_each_of_its_own_name_and_id() -> None:
    for count in (0, 1, 40, 500):
        containers = simulated(containers=count).containers(BEGAN)
        assert len({one.name for one in containers}) == len({one.id for one in containers}) == count


def test_the_same_seed_makes_the_same_fleet_and_another_one_another() -> None:
    def history(seed: int, host: str) -> tuple[list[EngineEvent], tuple[str, ...]]:
        made = simulated(host, seed=seed)
        return live(made, HOUR_MS), shown(made, BEGAN + HOUR_MS)

    assert history(1, "a") == history(1, "a")
    for other in (history(2, "a"), history(1, "b")):
        assert other[0] != history(1, "a")[0]
        assert {*other[1]}.isdisjoint(history(1, "a")[1])


def test_hosts_have_labels_to_group_them_by_which_the_seed_decides() -> None:
    hosts = [f"sim-{number:04}" for number in range(200)]
    labels = [dict(labels_of(1, host)) for host in hosts]
    assert labels == [dict(labels_of(1, host)) for host in hosts] != [dict(labels_of(2, host)) for host in hosts]
    assert Counter(said["env"] for said in labels).most_common(1)[0][0] == "prod"
    assert {said["env"] for said in labels} == {"prod", "staging", "dev"}
    assert {said["region"] for said in labels} == {"eu-1", "us-1", "ap-1"}


@pytest.mark.parametrize("step_ms", [250, 7_001, CATCH_UP_MS - 1])
def test_what_happens_does_not_depend_on_how_often_one_looks(step_ms: int) -> None:
    often, rarely = simulated(), simulated()
    assert live(often, HOUR_MS) == live(rarely, HOUR_MS, step_ms)
    assert shown(often, BEGAN + HOUR_MS) == shown(rarely, BEGAN + HOUR_MS)


def test_values_move_from_second_to_second_and_with_the_day() -> None:
    host = simulated()
    seconds = range(BEGAN, BEGAN + 60_000, 1000)
    assert len({host.metrics(at).cpu.percent for at in seconds}) > 20
    assert len({host.usage(at).cpu_percent for at in seconds}) == 60

    def mean_percent(around: int) -> float:
        times = range(around - HOUR_MS, around + HOUR_MS, 20_000)
        return sum(host.metrics(at).cpu.percent for at in times) / len(times)

    by_day = [mean_percent(BEGAN + hour * HOUR_MS) for hour in range(0, 24, 3)]
    assert max(by_day) > 1.5 * min(by_day)
    assert daily_wave(20 * HOUR_MS, 20) == pytest.approx(1)


def test_its_story_holds_together() -> None:
    """Each step begins where the one before has ended, and the snapshots agree with the steps."""
    host = simulated()
    transitions = Transitions(host.containers(BEGAN))
    state = {one.id: one.state for one in host.containers(BEGAN)}
    steps: list[Transition] = []
    for at in range(BEGAN, BEGAN + 4 * HOUR_MS, 500):
        for event in host.advance(at):
            transitions.on_event(event)
        containers = host.containers(at)
        assert not transitions.on_snapshot(containers), "the engine has told every step"
        for step in transitions.take():
            assert step.before == state.get(step.container_id)
            if step.after is None:
                del state[step.container_id]
            else:
                state[step.container_id] = step.after
            steps.append(step)
        assert state == {one.id: one.state for one in containers}
    seen = Counter((step.before, step.after) for step in steps)
    for wanted in (
        *(("running", "restarting"), ("restarting", "running"), ("running", "exited"), ("exited", "running")),
        *(("running", "paused"), ("paused", "running"), ("exited", None), (None, "created"), ("created", "running")),
    ):
        assert seen[wanted], f"{wanted} never happened: {seen}"
    assert {step.health for step in steps} == {None, "healthy", "unhealthy"}
    assert any(step.oom_killed and step.exit_code == 137 for step in steps), "none ran out of memory"


def test_a_restart_moves_started_at_and_only_its_policys_is_counted() -> None:
    host = simulated()
    before = {one.id: one for one in host.containers(BEGAN)}
    events = live(host, HOUR_MS)
    after = {one.id: one for one in host.containers(BEGAN + HOUR_MS)}
    started = Counter(event.container_id for event in events if event.action == "start")
    by_itself = Counter(
        event.container_id for event in events if event.action == "die" and event.exit_code not in (0, 143)
    )
    assert started
    assert by_itself
    for container_id in before.keys() & after.keys():
        was, now = before[container_id], after[container_id]
        assert (was.started_at != now.started_at) == bool(started[container_id])
        if now.state == "running":
            assert now.restart_count == by_itself[container_id]
            assert now.exit_code is None


def test_ids_stay_until_a_container_is_deployed_anew() -> None:
    host = simulated()
    before = {one.name: one for one in host.containers(BEGAN)}
    gone = {event.container_id for event in live(host, HOUR_MS) if event.action == "destroy"}
    after = {one.name: one for one in host.containers(BEGAN + HOUR_MS)}
    assert gone
    assert after.keys() == before.keys()
    for name, was in before.items():
        assert (after[name].id != was.id) == (was.id in gone)
        if was.id in gone:
            assert after[name].created_at > BEGAN


def test_memory_leaks_until_the_limit_ends_it() -> None:
    host = simulated(incident_every_s=1e9)
    worker = next(one for one in host.containers(BEGAN) if one.service == "worker")

    def memory(at: int) -> tuple[int, int]:
        usage = host.usage(at)
        place = usage.ids.index(worker.id)
        used, limit = usage.memory_bytes[place], usage.memory_limit_bytes[place]
        assert used is not None
        assert limit is not None
        return used, limit

    at, used, died = BEGAN, [], False
    while not died:
        at += 60_000
        used.append(memory(at)[0])
        died = any(event.container_id == worker.id and event.action == "oom" for event in host.advance(at))
    assert used[-1] > 0.95 * memory(BEGAN)[1]
    live_again = at + 60_000
    host.advance(live_again)
    assert memory(live_again)[0] < 0.5 * used[-1]
    assert {one.id: one.restart_count for one in host.containers(live_again)}[worker.id] == 1


def test_whoever_slept_for_a_day_goes_on_where_it_was() -> None:
    host = simulated(incident_every_s=1)
    live(host, 60_000)
    assert len(host.advance(BEGAN + 24 * HOUR_MS)) < 20
    assert host.next_ms is not None
    assert host.next_ms > BEGAN + 24 * HOUR_MS


def test_its_containers_say_what_compose_would() -> None:
    containers: Sequence[Container] = simulated().containers(BEGAN)
    for one in containers:
        assert one.labels["com.docker.compose.project"] == one.project
        assert one.labels["com.docker.compose.service"] == one.service
    assert all(earlier.name < later.name for earlier, later in pairwise(containers))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *[(-5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (120, "2 minutes")],
        *[(3600, "About an hour"), (26 * 3600, "26 hours"), (3 * 86400, "3 days"), (20 * 86400, "2 weeks")],
        *[(90 * 86400, "3 months")],
    ],
)
def test_times_are_put_as_docker_puts_them(seconds: int, said: str) -> None:
    assert human(1000 * seconds) == said
