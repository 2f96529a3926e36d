"""What `fleetcast doctor` makes of what it has found out."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common.settings import DoctorSettings
from common.signing import make_pair
from services.doctor.clock import judge_clock
from services.doctor.docker import advice_for, judge_engine
from services.doctor.finding import Finding, Level, exit_code
from services.doctor.host import Holding, judge_host
from services.doctor.keys import check_keys
from services.doctor.parts import check_parts
from services.doctor.run import line, within
from services.doctor.server import judge_replicas, judge_round_trip, judge_server

GOOD: dict[str, Any] = {
    "valkey_version": "9.0.1",
    "redis_version": "7.2.4",
    "role": "master",
    "used_memory": 4_000_000,
    "maxmemory": 512_000_000,
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
}
ALWAYS = {"appendfsync": "always"}


def worst(findings: list[Finding]) -> Finding:
    order: tuple[Level, ...] = ("failed", "warning", "note", "ok")
    return min(findings, key=lambda finding: order.index(finding.level))


def test_a_server_as_it_should_be_is_all_right() -> None:
    found = list(judge_server(GOOD, ALWAYS))
    assert {finding.level for finding in found} == {"ok"}
    assert found[0].text == "Valkey 9.0.1"


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({"valkey_version": "7.2.8"}, "failed", "Valkey 7.2.8 is too old"),
        ({"role": "slave", "master_host": "db-1", "master_port": 6379}, "failed", "replica of db-1:6379"),
        ({"maxmemory": 0}, "note", "without a bound"),
        ({"used_memory": 500_000_000}, "warning", "500 of 512 MB used"),
        ({"maxmemory_policy": "allkeys-lru"}, "warning", "throws keys away (allkeys-lru)"),
        ({"aof_enabled": 0}, "warning", "forgets everything when it ends"),
        ({"aof_last_write_status": "err"}, "failed", "cannot write its append-only file"),
    ],
)
def test_what_is_wrong_with_a_server_is_said_with_what_to_do(changes: dict[str, Any], level: Level, said: str) -> None:
    found = worst(list(judge_server(GOOD | changes, ALWAYS)))
    assert found.level == level
    assert said in found.text
    assert found.advice


def test_a_redis_of_version_7_will_do_and_one_of_6_will_not() -> None:
    redis = {name: value for name, value in GOOD.items() if name != "valkey_version"}
    assert next(judge_server(redis, ALWAYS)) == Finding("redis", "ok", "Redis 7.2.4")
    assert next(judge_server(redis | {"redis_version": "6.2.14"}, ALWAYS)).level == "failed"


def test_a_server_that_answers_before_it_has_written_is_warned_of() -> None:
    found = worst(list(judge_server(GOOD, {"appendfsync": "everysec"})))
    assert (found.level, found.advice is not None) == ("warning", True)
    assert "everysec" in found.text


def test_a_server_that_tells_nothing_is_no_failure() -> None:
    assert exit_code(judge_server({}, None)) == 0
    assert worst(list(judge_server(GOOD, None))).level == "note"


@pytest.mark.parametrize(("replicas", "level"), [(0, "warning"), (1, "ok"), (2, "ok")])
def test_a_server_that_sentinel_watches_wants_a_replica(replicas: int, level: Level) -> None:
    assert judge_replicas(GOOD | {"connected_slaves": replicas}).level == level


@pytest.mark.parametrize(
    ("difference_ms", "level", "said"),
    [
        (0.2, "ok", "agree"),
        (-4_000, "ok", "4.0 s behind"),
        (90_000, "warning", "1.5 min ahead of"),
        (-7_200_000, "failed", "2.0 h behind"),
    ],
)
def test_clocks_are_judged_by_what_their_difference_breaks(difference_ms: float, level: Level, said: str) -> None:
    found = judge_clock(difference_ms)
    assert (found.level, said in found.text) == (level, True), found
    assert (found.advice is None) == (level == "ok")


@pytest.mark.parametrize(("median_ms", "level"), [(0.3, "ok"), (80.0, "warning")])
def test_a_far_away_redis_is_warned_of(median_ms: float, level: Level) -> None:
    assert judge_round_trip(median_ms).level == level


# Who works for this host


def holding(machine: str | None = "here", seen_ago_ms: int | None = 1_000, fault: str | None = None) -> Holding:
    return Holding("executor", machine, seen_ago_ms, fault)


def test_another_machine_with_this_hosts_id_is_found() -> None:
    [found] = judge_host("web-1", [holding("elsewhere")], "here")
    assert found.level == "failed"
    assert "another machine works as 'web-1': executor" in found.text


def test_a_machine_that_runs_no_part_of_fleetcast_is_nothing_wrong() -> None:
    assert exit_code(judge_host("web-1", [holding(None, None)], "here")) == 0


@pytest.mark.parametrize(
    ("held", "level", "said"),
    [
        (holding(), "ok", "at work"),
        (holding(fault="gone docker-unreachable"), "failed", "docker-unreachable"),
        (Holding("containers", "here", 1_000, usage="cgroup"), "ok", "at work"),
        (Holding("containers", "here", 1_000, usage="stats"), "warning", "asks the engine"),
        (holding(fault="live insecure-unsigned"), "warning", "insecure-unsigned"),
        (holding(None, 60_000, "gone stopped"), "note", "not at work"),
        (holding(None, 60_000), "warning", "not heard of for 60 s"),
    ],
)
def test_each_worker_of_this_host_is_judged(held: Holding, level: Level, said: str) -> None:
    other = Holding("metrics", "here", 1_000)
    _, found = judge_host("web-1", [other, held], "here")
    assert (found.level, said in found.text) == (level, True), found
    assert (found.advice is None) == (level == "ok")


# Docker


@pytest.mark.parametrize(
    ("address", "reason", "said"),
    [
        ("unix:///var/run/docker.sock", "[Errno 13] Permission denied", "usermod -aG docker"),
        ("unix:///var/run/docker.sock", "[Errno 2] No such file or directory", "systemctl start docker"),
        ("tcp://10.0.0.7:2375", "Connection refused", "what lies between"),
    ],
)
def test_an_engine_that_does_not_answer_comes_with_what_to_do(address: str, reason: str, said: str) -> None:
    assert said in advice_for(address, reason)


def test_an_engine_is_named_with_its_containers() -> None:
    version = {"Version": "26.1.5", "ApiVersion": "1.45", "Components": [{"Name": "Podman Engine"}]}
    found = judge_engine("unix:///x", version, [{"State": "running"}, {"State": "exited"}])
    assert found.text == "Podman Engine 26.1.5 (API 1.45) at unix:///x: 1 of 2 containers running"
    assert judge_engine("unix:///x", {}, []).level == "ok"


# Settings and keys


def test_settings_that_every_part_understands_are_said_in_one_line() -> None:
    [found] = check_parts({}, {})
    assert found.level == "ok"


def test_a_wrong_setting_is_said_once_with_the_parts_that_would_not_start() -> None:
    [found] = check_parts({}, {"FLEETCAST_INTERVAL": "soon"})
    assert found.level == "failed"
    assert "FLEETCAST_INTERVAL" in found.text
    assert found.advice == "the collector metrics and the collector containers would not start: correct it, or unset it"


def test_a_wrong_option_is_judged_like_a_variable() -> None:
    levels = {finding.level for finding in check_parts({"namespace": "a b", "state_dir": "x"}, {})}
    assert levels == {"failed"}


def keys_of(**settings: Any) -> list[Finding]:
    return list(check_keys(DoctorSettings.load({name: str(value) for name, value in settings.items()}, {})))


def test_keys_that_belong_together_are_all_right(tmp_path: Path) -> None:
    make_pair(tmp_path / "signing", tmp_path / "verify")
    secret = tmp_path / "secret"
    secret.write_text("s" * 40)
    secret.chmod(0o600)
    found = keys_of(
        action_signing_key_file=tmp_path / "signing", action_verify_key_file=tmp_path / "verify", jwt_secret_file=secret
    )
    assert {finding.level for finding in found} == {"ok"}


def test_keys_of_two_pairs_are_found_before_an_executor_refuses_every_action(tmp_path: Path) -> None:
    make_pair(tmp_path / "signing", tmp_path / "verify")
    make_pair(tmp_path / "other", tmp_path / "others")
    found = worst(keys_of(action_signing_key_file=tmp_path / "signing", action_verify_key_file=tmp_path / "others"))
    assert (found.level, "it refuses all of them" in found.text) == ("failed", True)


def test_the_wrong_half_of_a_pair_is_named(tmp_path: Path) -> None:
    make_pair(tmp_path / "signing", tmp_path / "verify")
    assert "private key" in worst(keys_of(action_verify_key_file=tmp_path / "signing")).text


def test_what_others_can_read_and_what_is_too_short_is_said_without_showing_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    found = keys_of(jwt_secret_file=secret)
    assert {finding.level for finding in found} == {"failed", "note", "warning"}
    assert not any("hunter2" in f"{finding.text}{finding.advice}" for finding in found)


def test_unsigned_actions_are_warned_of() -> None:
    assert worst(keys_of(insecure_unsigned=True)).level == "warning"


def test_only_a_failure_makes_the_exit_code() -> None:
    assert exit_code([Finding("redis", "warning", "x"), Finding("redis", "note", "x")]) == 0
    assert exit_code([Finding("redis", "ok", "x"), Finding("docker", "failed", "x")]) == 1


async def test_a_check_that_fails_is_told_beside_what_it_has_found() -> None:
    async def broken() -> AsyncIterator[Finding]:
        yield Finding("docker", "ok", "one answers")
        raise KeyError("Version")

    first, second = await within("docker", broken())
    assert first.level == "ok"
    assert (second.level, "KeyError" in second.text) == ("failed", True)


def test_where_it_is_no_terminal_a_finding_is_a_line() -> None:
    found = Finding("redis", "failed", "it is \x1b[2Jfull", "raise maxmemory")
    assert line(found) == "✗ redis: it is �[2Jfull → raise maxmemory"
