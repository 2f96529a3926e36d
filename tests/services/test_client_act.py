"""`fleetcast act`: one action, never two, and an honest answer about what came of it."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from common.errors import SettingsError
from common.models import ActionStatus
from common.protocol import ContainerAck, ContainerAction, Error
from common.settings import ClientSettings
from services.client.act import Request, parse_request, run_act
from services.client.connection import EdgeRefusedError
from tests.services.fake_edge import FakeEdge, ack
from tests.support import PATIENCE_S, eventually


@pytest.fixture
async def edge() -> AsyncIterator[FakeEdge]:
    async with FakeEdge(heartbeat_ms=100) as edge:
        yield edge


def acting(edge: FakeEdge, verb: str = "restart", target: str = "web-1/nginx", **options: Any) -> asyncio.Task[int]:
    asked: dict[str, Any] = {
        "expires": 30,
        "timeout": None,
        "as_json": False,
        "grace_s": 0.5,
        "ask_every_s": 3600,
    } | options
    return asyncio.create_task(run_act(ClientSettings(url=edge.url), verb, target, **asked))


async def outcome(task: asyncio.Task[int]) -> int:
    async with asyncio.timeout(PATIENCE_S):
        return await task


async def test_acks_are_printed_as_they_come_and_success_is_zero(
    edge: FakeEdge, capsys: pytest.CaptureFixture[str]
) -> None:
    task = acting(edge)
    asked = await edge.action()
    assert re.fullmatch("[0-9a-f]{32}", asked["requestId"])
    assert asked == {
        "type": "container-action",
        "requestId": asked["requestId"],
        "host": "web-1",
        "containerId": "nginx",
        "action": "restart",
        "expiresInSec": 30,
    }
    seen = ""

    async def printed(text: str) -> bool:
        nonlocal seen
        seen += capsys.readouterr().out
        return seen == text

    await edge.send(ack(asked, "accepted"))
    await eventually(lambda: printed("restart web-1/nginx: accepted"))
    await edge.send(ack(asked, "running"), ack(asked, "accepted"), ack(asked, "running"))
    await eventually(lambda: printed("restart web-1/nginx: accepted → running"))
    await edge.send(ack(asked, "succeeded", durationMs=312))
    assert await outcome(task) == 0
    assert await printed("restart web-1/nginx: accepted → running → succeeded in 312 ms\n")


@pytest.mark.parametrize("status", ["failed", "expired", "rejected", "unknown"])
async def test_every_other_outcome_is_one_and_says_why(
    edge: FakeEdge, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = acting(edge)
    asked = await edge.action()
    await edge.send(ack(asked, "accepted"), ack(asked, status, error="because\x1b[2J"))
    assert await outcome(task) == 1
    assert capsys.readouterr().out == f"restart web-1/nginx: accepted → {status}: because�[2J\n"


async def test_a_refusal_by_the_edge_is_one(edge: FakeEdge, capsys: pytest.CaptureFixture[str]) -> None:
    task = acting(edge)
    asked = await edge.action()
    await edge.send(
        {"type": "error", "code": "unknown-container", "message": "no such", "requestId": asked["requestId"]}
    )
    assert await outcome(task) == 1
    assert capsys.readouterr().out == "restart web-1/nginx: refused: no such (unknown-container)\n"


async def test_json_prints_the_acks_as_they_came(edge: FakeEdge, capsys: pytest.CaptureFixture[str]) -> None:
    task = acting(edge, as_json=True)
    asked = await edge.action()
    told = [ack(asked, "accepted"), ack(asked, "succeeded", durationMs=1)]
    await edge.send(*told)
    assert await outcome(task) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == told


async def test_acks_of_other_actions_are_not_ours(edge: FakeEdge, capsys: pytest.CaptureFixture[str]) -> None:
    task = acting(edge)
    asked = await edge.action()
    await edge.send(ack(asked | {"requestId": "other"}, "failed"), ack(asked, "succeeded"))
    assert await outcome(task) == 0
    assert "failed" not in capsys.readouterr().out


async def test_after_a_cut_it_asks_again_under_the_same_request_id(
    edge: FakeEdge, capsys: pytest.CaptureFixture[str]
) -> None:
    task = acting(edge, target="nginx")
    first = await edge.action(1)
    assert "host" not in first
    edge.drop()
    second = await edge.action(2)
    assert second["requestId"] == first["requestId"]
    assert second["expiresInSec"] <= first["expiresInSec"]
    await edge.send(ack(second, "running"))
    await eventually(lambda: "running" in capsys.readouterr().out)
    edge.drop()
    # By now the name may mean another container, and the fleet may have a second host.
    third = await edge.action(3)
    assert third["requestId"] == first["requestId"]
    assert (third["host"], third["containerId"]) == ("web-1", f"{7:064x}")
    await edge.send(ack(third, "succeeded"))
    assert await outcome(task) == 0
    captured = capsys.readouterr()
    assert captured.err.count("no connection to") >= 1
    assert captured.out.endswith("succeeded\n")


async def test_a_lost_ack_is_asked_for_again(edge: FakeEdge) -> None:
    task = acting(edge, ask_every_s=0.05)
    asked = await edge.action()
    await edge.send(ack(asked, "running"))
    again = await edge.action(4)
    assert again["requestId"] == asked["requestId"]
    await edge.send(ack(again, "succeeded"))
    assert await outcome(task) == 0
    assert edge.connections == 1


async def test_an_error_that_passes_is_waited_out(edge: FakeEdge) -> None:
    task = acting(edge, ask_every_s=0.05)
    asked = await edge.action()
    for code in ("unavailable", "rate-limited"):
        await edge.send({"type": "error", "code": code, "message": "later", "requestId": asked["requestId"]})
    await edge.action(3)
    await edge.send(ack(asked, "succeeded"))
    assert await outcome(task) == 0


async def test_an_edge_that_is_not_reached_in_time_was_sent_nothing(
    edge: FakeEdge, capsys: pytest.CaptureFixture[str]
) -> None:
    await edge.stop()
    assert await outcome(acting(edge, expires=1)) == 1
    said = capsys.readouterr().err
    assert "connection refused" in said
    assert "nothing was sent" in said


async def test_an_action_that_nobody_answers_is_unknown_and_names_its_request_id(
    edge: FakeEdge, capsys: pytest.CaptureFixture[str]
) -> None:
    task = acting(edge, expires=1)
    asked = await edge.action()
    assert await outcome(task) == 1
    said = capsys.readouterr().err
    assert "the outcome is unknown: no edge has acknowledged it" in said
    assert asked["requestId"] in said


async def test_an_action_without_an_end_is_unknown(edge: FakeEdge, capsys: pytest.CaptureFixture[str]) -> None:
    task = acting(edge, expires=1)
    await edge.send(ack(await edge.action(), "running"))
    assert await outcome(task) == 1
    captured = capsys.readouterr()
    assert captured.out == "restart web-1/nginx: running\n"
    assert "the last word was 'running'" in captured.err


async def test_a_sign_in_that_is_wanted_before_anything_was_sent_is_an_error(edge: FakeEdge) -> None:
    edge.refuses_with = 401
    with pytest.raises(EdgeRefusedError):
        await outcome(acting(edge))


async def test_a_refusal_after_sending_leaves_the_outcome_unknown(
    edge: FakeEdge, capsys: pytest.CaptureFixture[str]
) -> None:
    task = acting(edge)
    await edge.action()
    await edge.close(4401, "expired")
    assert await outcome(task) == 1
    said = capsys.readouterr().err
    assert "wants a sign-in" in said
    assert "the outcome is unknown" in said


async def test_ctrl_c_says_that_the_outcome_is_unknown(edge: FakeEdge) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", "act", "restart", "web-1/nginx", "--url", edge.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    asked = await edge.action()
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(PATIENCE_S):
        _, complaint = await process.communicate()
    assert process.returncode == 130
    assert asked["requestId"] in complaint.decode()
    assert "Traceback" not in complaint.decode()


# Wrong use


@pytest.mark.parametrize(
    ("verb", "target", "expires", "timeout", "name"),
    [
        ("destroy", "web-1/nginx", 30, None, "VERB"),
        ("", "web-1/nginx", 30, None, "VERB"),
        ("restart", "", 30, None, "TARGET"),
        ("restart", "web-1/", 30, None, "TARGET"),
        ("restart", "/nginx", 30, None, "TARGET"),
        ("restart", "a/b/c", 30, None, "TARGET"),
        ("restart", "web 1/nginx", 30, None, "TARGET"),
        ("restart", "web-1/nginx\n", 30, None, "TARGET"),
        ("restart", "-nginx", 30, None, "TARGET"),
        ("restart", "nginx", 0, None, "--expires"),
        ("restart", "nginx", 3601, None, "--expires"),
        ("restart", "nginx", 30, 3601, "--timeout"),
        ("kill", "nginx", 30, 5, "--timeout"),
    ],
)
def test_wrong_use_names_what_is_wrong(verb: str, target: str, expires: int, timeout: int | None, name: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        parse_request(verb, target, expires, timeout)
    assert wrong.value.name == name
    assert "\n" not in str(wrong.value)


async def test_wrong_use_is_two() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", "act", "destroy", "web-1/nginx"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate()
    assert process.returncode == 2
    assert complaint.decode().startswith("fleetcast: VERB: 'destroy' is none of start, stop, restart")


def test_every_request_has_an_id_of_its_own() -> None:
    assert len({parse_request("kill", "a", 30, None).request_id for _ in range(10)}) == 10


# What to ask, and when


def asked_for(expires: int = 30, timeout: int | None = None) -> Request:
    return Request(parse_request("stop", "web-1/nginx", expires, timeout), begun_s=100.0, grace_s=30.0)


def acked(request: Request, status: ActionStatus) -> ContainerAck:
    return ContainerAck(
        request_id=request.request_id,
        host="web-1",
        container_id="a" * 64,
        action="stop",
        status=status,
        at=1,
        actor="local",
    )


def expiry(message: ContainerAction | None) -> int | None:
    return message.expires_in_sec if message else None


def test_it_never_asks_for_longer_than_what_is_left() -> None:
    request = asked_for(30)
    assert [expiry(request.message(now_s)) for now_s in (100.0, 111.0, 128.9, 129.5, 131.0)] == [30, 19, 1, None, None]


def test_a_first_message_may_go_out_in_the_last_second_but_not_after_the_deadline() -> None:
    assert expiry(asked_for(30).message(129.9)) == 1
    late = asked_for(30)
    assert late.message(130.0) is None
    assert not late.sent


def test_an_acknowledged_request_is_asked_about_after_its_deadline() -> None:
    request = asked_for(30)
    request.message(100)
    assert request.take(acked(request, "accepted"))
    asked = request.message(150)
    assert asked is not None
    assert asked.container_id == "a" * 64
    request.take(acked(request, "succeeded"))
    assert request.message(150) is None


def test_patience_ends_at_the_deadline_where_nothing_was_sent_and_after_grace_and_timeout_where_it_was() -> None:
    request = asked_for(30, timeout=60)
    assert request.gives_up_at_s == 130
    request.message(100)
    assert request.gives_up_at_s == 130 + 30 + 60


def test_an_error_is_no_outcome_of_what_was_acknowledged() -> None:
    request = asked_for()
    request.message(100)
    request.take(acked(request, "accepted"))
    assert not request.take(Error(code="unknown-host", message="not seen yet", request_id=request.request_id))
    assert not request.settled


def test_a_final_status_stays() -> None:
    request = asked_for()
    request.take(acked(request, "failed"))
    assert not request.take(acked(request, "succeeded"))
    assert request.ack is not None
    assert request.ack.status == "failed"
