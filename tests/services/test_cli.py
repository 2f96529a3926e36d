"""The command: help that teaches, one line for what is wrong, exit codes that mean something."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from common.health import Health, path_of, write

COMMANDS = [
    ("up",),
    ("edge",),
    ("collector", "metrics"),
    ("collector", "containers"),
    ("executor",),
    ("simulate",),
    ("watch",),
    ("act",),
    ("audit",),
    ("token",),
    ("secret",),
    ("keys",),
    ("health",),
    ("schema",),
]


def fleetcast(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FLEETCAST_", "DOCKER_"))}
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, "COLUMNS": "200", **environment},
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_that_says_what_it_does(command: tuple[str, ...]) -> None:
    shown = fleetcast(*command, "--help")
    assert shown.returncode == 0
    assert f"Usage: fleetcast {' '.join(command)}" in shown.stdout


def test_the_help_of_a_service_names_each_option_with_its_variable() -> None:
    shown = " ".join(fleetcast("edge", "--help").stdout.split())
    for words in ("--redis", "FLEETCAST_REDIS_URL", "--port", "FLEETCAST_PORT", "--jwt-secret-file"):
        assert words in shown
    assert "--jwt-secret " not in shown, "a secret on a command line can be read by everybody"


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("edge", "--port", "soon"), {}, "--port / FLEETCAST_PORT"),
        (("edge",), {"FLEETCAST_PORT": "70000"}, "FLEETCAST_PORT"),
        (("edge", "--bind", "everywhere"), {}, "FLEETCAST_BIND"),
        (("edge", "--bind", "0.0.0.0"), {}, "sign-in"),
        (("edge",), {"FLEETCAST_JWT_SECRET": "hush"}, "FLEETCAST_JWT_SECRET"),
        (("edge", "--allowed-origins", "*"), {}, "FLEETCAST_ALLOWED_ORIGINS"),
        (("edge", "--trusted-proxies", "10.0.0.1/8"), {}, "FLEETCAST_TRUSTED_PROXIES"),
        (("edge", "--compress", "perhaps"), {}, "FLEETCAST_COMPRESS"),
        (("edge", "--redis", "http://x"), {}, "FLEETCAST_REDIS_URL"),
        (("collector", "metrics", "--host-id", "a b"), {}, "FLEETCAST_HOST_ID"),
        (("collector", "metrics", "--host-labels", "prod"), {}, "FLEETCAST_HOST_LABELS"),
        (("executor",), {"FLEETCAST_HOST_LABELS": "env=a,env=b"}, "env stands twice"),
        (("up", "--host-labels", "env=two words"), {}, "FLEETCAST_HOST_LABELS"),
        (("collector", "containers"), {"DOCKER_HOST": "ssh://x"}, "DOCKER_HOST"),
        (("executor", "--parallel", "0"), {}, "FLEETCAST_PARALLEL"),
        (("executor",), {"FLEETCAST_INSECURE_UNSIGNED": "perhaps"}, "FLEETCAST_INSECURE_UNSIGNED"),
        (("executor",), {"FLEETCAST_INSECURE_UNSIGNED": "false"}, "no verify key"),
        (("executor", "--insecure-unsigned=true"), {}, "--insecure-unsigned"),
        (("executor",), {"FLEETCAST_ACTION_VERIFY_KEY": "hush"}, "FLEETCAST_ACTION_VERIFY_KEY"),
        (("edge",), {"FLEETCAST_ACTION_SIGNING_KEY": "hush"}, "FLEETCAST_ACTION_SIGNING_KEY"),
        (("keys", "one-file"), {}, "VERIFY"),
        (("simulate", "--hosts", "5001"), {}, "FLEETCAST_HOSTS"),
        (("simulate",), {"FLEETCAST_PREFIX": "a b"}, "FLEETCAST_PREFIX"),
        (("up", "--edges", "many"), {}, "FLEETCAST_EDGES"),
        (("watch", "gossip"), {}, "CHANNEL"),
        (("act", "explode", "web"), {}, "VERB"),
        (("act",), {}, "VERB"),
        (("dance",), {}, "dance"),
        (("edge", "--dance"), {}, "--dance"),
        (("token", "--sub", "x"), {}, "FLEETCAST_JWT_SECRET"),
        (("health", "fish"), {}, "fish"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    answer = fleetcast(*arguments, **environment)
    assert answer.returncode == 2, answer.stderr
    [line] = answer.stderr.splitlines()
    assert line.startswith("fleetcast: ")
    assert said in line
    assert "hush" not in line


def test_a_password_in_an_address_is_never_shown() -> None:
    answer = fleetcast("executor", FLEETCAST_REDIS_URL="http://:hunter2@host")
    assert answer.returncode == 2
    assert "hunter2" not in answer.stderr


def test_a_secret_is_made_once_and_makes_tokens(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "jwt"
    assert fleetcast("secret", str(file)).returncode == 0
    secret = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert fleetcast("secret", str(file)).returncode == 0
    assert file.read_text() == secret
    made = fleetcast(
        *("token", "--sub", "ops", "--role", "operator", "--hosts", "web-*", "--ttl", "12h"),
        FLEETCAST_JWT_SECRET_FILE=str(file),
    )
    claims = jwt.decode(made.stdout.strip(), secret.strip(), algorithms=["HS256"])
    assert (claims["sub"], claims["role"], claims["hosts"]) == ("ops", "operator", ["web-*"])
    assert claims["exp"] - claims["iat"] == 12 * 3600


@pytest.mark.parametrize(("option", "value"), [("--role", "emperor"), ("--ttl", "soon"), ("--ttl", "0h")])
def test_a_token_that_cannot_be_made_is_told(option: str, value: str) -> None:
    answer = fleetcast("token", "--sub", "x", option, value, FLEETCAST_JWT_SECRET="x" * 40)
    assert answer.returncode == 2
    assert option in answer.stderr


def test_a_pair_of_keys_is_made_once_and_its_public_line_is_all_that_is_printed(tmp_path: Path) -> None:
    signing, verify = tmp_path / "edges" / "signing.pem", tmp_path / "executors" / "verify.pem"
    made = fleetcast("keys", str(signing), str(verify))
    assert made.returncode == 0
    assert made.stdout.strip() in verify.read_text().splitlines()
    assert made.stderr.splitlines() == [f"made {signing}", f"made {verify}"]
    assert [stat.S_IMODE(file.stat().st_mode) for file in (signing, verify)] == [0o600, 0o644]

    verify.unlink()
    again = fleetcast("keys", str(signing), str(verify))
    assert (again.returncode, again.stdout) == (0, made.stdout)
    assert again.stderr.splitlines() == [f"{signing} is there already: left as it is", f"made {verify}"]


def test_keys_that_do_not_belong_together_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    for name in "ab":
        assert fleetcast("keys", str(tmp_path / name), str(tmp_path / f"{name}.pub")).returncode == 0
    answer = fleetcast("keys", str(tmp_path / "a"), str(tmp_path / "b.pub"))
    assert (answer.returncode, answer.stdout) == (2, "")
    [line] = answer.stderr.splitlines()
    assert line.startswith(f"fleetcast: {tmp_path / 'b.pub'}: belongs to another private key")


def test_the_help_of_the_keys_says_who_gets_which_and_how_they_are_changed() -> None:
    shown = " ".join(fleetcast("keys", "--help").stdout.split())
    assert "SIGNING is the private key's file, for edges alone" in shown
    assert "VERIFY is the public key's file, for executors" in shown
    assert shown.index("both public keys") < shown.index("the new private key") < shown.index("old public key away")


@pytest.mark.parametrize(
    ("arguments", "environment"), [(("--insecure-unsigned",), {}), ((), {"FLEETCAST_INSECURE_UNSIGNED": "true"})]
)
def test_a_switch_is_set_by_its_option_without_a_value_or_by_its_variable(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    line = fleetcast("keys", str(tmp_path / "signing"), str(tmp_path / "verify")).stdout.strip()
    answer = fleetcast("executor", *arguments, FLEETCAST_ACTION_VERIFY_KEY=line, **environment)
    assert answer.returncode == 2
    assert "FLEETCAST_INSECURE_UNSIGNED: a verify key is set too" in answer.stderr, "it was heard"


def test_the_help_names_a_switch_with_its_variable_and_no_value() -> None:
    shown = " ".join(fleetcast("executor", "--help").stdout.split())
    assert "--insecure-unsigned Do actions that nobody has signed" in shown
    assert "[env var: FLEETCAST_INSECURE_UNSIGNED]" in shown


def test_health_is_what_the_worker_says_of_itself(tmp_path: Path) -> None:
    def health(part: str) -> tuple[int, str]:
        answer = fleetcast("health", part, "--run-dir", str(tmp_path))
        return answer.returncode, answer.stderr

    assert health("executor")[0] == 1, "has not said anything yet"
    write(tmp_path, Health("executor", "working"))
    assert health("executor") == (0, "")
    write(tmp_path, Health("executor", "standing by"))
    assert health("executor") == (0, "")
    write(tmp_path, Health("executor", "working", "gone docker-unreachable"))
    assert health("executor")[0] == 1
    assert "docker-unreachable" in health("executor")[1]
    write(tmp_path, Health("executor", "without Redis"))
    assert "Redis" in health("executor")[1]
    os.utime(path_of(tmp_path, "executor"), (1, 1))
    assert "hangs" in health("executor")[1]
    path_of(tmp_path, "executor").write_text("{")
    assert health("executor")[0] == 1

    write(tmp_path, Health("metrics", "working"))
    assert health("collector") == (0, "")
    write(tmp_path, Health("containers", "working", "stalled overdue"))
    assert "overdue" in health("collector")[1]


def test_an_edge_that_nobody_runs_is_not_healthy() -> None:
    answer = fleetcast("health", "edge", "--port", "1")
    assert answer.returncode == 1
    assert "port 1" in answer.stderr


def test_the_schema_is_json() -> None:
    assert "ServerMessage" in json.loads(fleetcast("schema").stdout)["$defs"]
