"""One action from its turn to its settlement.

    look → policy → claim → Docker → settle

Nothing is asked of Docker that is not claimed first, and nothing that was claimed is left without an outcome while an
executor of this host lives. What nobody heard the end of is looked at (sighting.py), never repeated blindly.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

from prometheus_client import Counter

from common.actions import Actions, ClaimVerdict, Outcome, Running
from common.backoff import Backoff
from common.docker import Docker, DockerInterruptedError
from common.errors import BusError, BusRefusedError, DockerApiError, DockerUnreachableError, MalformedError
from common.models import ActionOrder
from common.outage import Outage
from common.telemetry import malformed
from common.tenure import Tenure
from common.whereabouts import Guard
from services.executor.admission import Admission, wall_ms
from services.executor.ledger import Ledger
from services.executor.policy import grace_s, refuse
from services.executor.queues import Entry
from services.executor.sighting import Sighting, Verdict, judge

logger = logging.getLogger(__name__)

settled = Counter("fleetcast_actions_total", "Actions settled by this executor", ["action", "status"])

LATE = "not begun before its deadline"
CLAIM_HOLDS_S = 1.0
"""Docker is asked so soon after a claim or not at all: the claim says until when Docker may be at it."""

LOOK_EVERY_S = 0.25
ENGINE_AWAY_MS = 60_000
"""An engine that is away when an interrupted action is to be looked at is waited for so long, beyond the time that the
action itself may take."""

_ENDING = Outcome("unknown", "the executor is about to end, and the next one takes it up")
_NOT_OURS = Outcome("unknown", "somebody else has it, or it is settled")
"""Stand in the place of an outcome where there is none to be written."""

_T = TypeVar("_T")


class Performer:
    """Performs actions in one tenure, under tokens that no other tenure has."""

    def __init__(
        self, tenure: Tenure, docker: Docker, actions: Actions, admission: Admission, guard: Guard, ledger: Ledger
    ) -> None:
        self._docker = docker
        self._actions = actions
        self._admission = admission
        self._guard = guard
        self._ledger = ledger
        self._clock = tenure.bus.clock
        self._token_prefix = f"{tenure.token} "
        self._name = tenure.token.partition(" ")[2]
        self._refusals = Outage(f"Redis' consent to the actions of {tenure.host}", logger)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """What has not begun will not begin."""
        self._stopping.set()

    async def is_left_behind(self, order: ActionOrder) -> bool:
        """Whether an executor that is gone has begun this and not settled it. Raises BusError."""
        return await self._left_behind(order) is not None

    async def perform(self, entry: Entry, overdue: str | None = None) -> None:
        """Does an action and settles it. `overdue`: why its turn did not come in time; it is settled only."""
        order = entry.order
        token = self._token_prefix + entry.id
        if entry.left_behind:
            outcome = await self._guarded(order, self._find_out(entry, token))
        elif entry.refusal:
            outcome = Outcome("rejected", entry.refusal)
        elif overdue:
            outcome = Outcome("expired", f"{LATE}: {overdue}")
        else:
            outcome = await self._guarded(order, self._do(order, token))
        if outcome is _ENDING or (outcome is not _NOT_OURS and await self._settle(entry, token, outcome)):
            return
        if not entry.left_behind and await self._persist(lambda: self.is_left_behind(order)):
            await self.perform(replace(entry, left_behind=True))
        else:
            await self._persist(lambda: self._actions.discard(order.host, entry.id))

    async def _settle(self, entry: Entry, token: str, outcome: Outcome) -> bool:
        order = entry.order
        if outcome.error:
            outcome = replace(outcome, error=_one_line(outcome.error))
        self._ledger.end(order.key, outcome)
        if not await self._persist(lambda: self._actions.settle(order, entry.id, token, outcome)):
            logger.warning("action %s %s, but its record is not ours", order.key, outcome.status)
            return False
        settled.labels(order.action, outcome.status).inc()
        logger.info("%s %.12s for %s: %s", order.action, order.container_id, order.actor, outcome.status)
        return True

    async def _guarded(self, order: ActionOrder, work: Awaitable[Outcome]) -> Outcome:
        """A mistake in this program costs one action, not the executor again and again."""
        try:
            return await work
        except Exception:
            logger.exception("%s %s failed", order.action, order.container_id)
            return Outcome("unknown", "the executor failed while doing this: its log says how")

    # Doing it

    async def _do(self, order: ActionOrder, token: str) -> Outcome:
        """Tries until Docker has been asked, or may not be any more."""
        backoff = Backoff(cap_s=1.0)
        begun = False
        why = ""
        while (left_ms := order.deadline - self._clock.now_ms()) >= 0:
            try:
                async with asyncio.timeout(left_ms / 1000):
                    inspected = await self._docker.inspect(order.container_id)
                if refusal := refuse(order, inspected, await self._guard.protection()):
                    return Outcome("rejected", refusal)
                before, grace = Sighting.of(inspected), grace_s(order, inspected)
                verdict, asked_at_s = await self._claim(order, token, before, grace)
                if verdict == "late":
                    return Outcome("expired", LATE + why)
                if verdict != "claimed":
                    return _NOT_OURS
                if time.monotonic() - asked_at_s > CLAIM_HOLDS_S:
                    continue  # this process stood still: who takes it for dead may count from the claim
                if not begun:
                    past = self._ledger.begin(order, wall_ms(), self._admission.forget_at_ms(order))
                    if past is not None:
                        return past
                begun = True
                return await self._ask(order, before, grace)
            except TimeoutError:
                why = f": the Docker engine at {self._docker.address} did not say in time what the container is now"
            except DockerUnreachableError as error:
                why = f": {error}"
            except DockerApiError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return Outcome("rejected", "there is no such container any more")
                return Outcome("failed", error.message)
            try:
                async with asyncio.timeout(backoff.next_delay()):
                    await self._stopping.wait()
                return _ENDING
            except TimeoutError:
                continue
        return Outcome("expired", LATE + why)

    async def _claim(self, order: ActionOrder, token: str, before: Sighting, grace: int) -> tuple[ClaimVerdict, float]:
        """The verdict, and when it was asked for, in monotonic seconds."""
        patience_ms = round(CLAIM_HOLDS_S * 1000) + self._docker.patience_ms(order.action, grace)

        async def claim() -> tuple[ClaimVerdict, float]:
            asked_at_s = time.monotonic()
            verdict = await self._actions.claim(
                order, token, executor=self._name, before=before.to_json(), patience_ms=patience_ms
            )
            return verdict, asked_at_s

        verdict, asked_at_s = await self._persist(claim)
        if verdict in {"missing", "malformed"}:
            malformed.labels("action record").inc()
            logger.warning("skipping action %s: its record is %s", order.key, verdict)
        return verdict, asked_at_s

    async def _ask(self, order: ActionOrder, before: Sighting, grace: int) -> Outcome:
        """Raises DockerUnreachableError where Docker could not be asked."""
        began = time.perf_counter()
        began_ms = self._clock.now_ms()
        try:
            changed = await self._docker.act(order.container_id, order.action, grace_s=grace)
        except DockerApiError as error:
            return Outcome("failed", _words(error), _ms_since(began))
        except DockerInterruptedError as error:
            until = began_ms + self._docker.patience_ms(order.action, grace)
            seen = await self._look(order, before, until)
            if seen is None:
                return _ENDING
            verdict, words = seen
            if verdict == "done":
                return Outcome("succeeded", None, _ms_since(began))
            return Outcome("unknown", f"{error}; {words}", _ms_since(began))
        return Outcome("succeeded", None, _ms_since(began), None if changed else True)

    # Finding out what came of it

    async def _find_out(self, entry: Entry, token: str) -> Outcome:
        """What came of an action that an executor that is gone had begun. Done now where it is proven that it was not
        begun after all, and its time is not over."""
        order = entry.order
        left = await self._persist(lambda: self._left_behind(order))
        if left is None or not await self._persist(
            lambda: self._actions.take_over(order, left.token, token, self._name)
        ):
            return await self._do(order, token)  # it is nobody's any more, or settled: the claim tells
        before = Sighting.from_json(left.before)
        seen = await self._look(order, before, left.until)
        if seen is None:
            return _ENDING
        verdict, words = seen
        if verdict == "done":
            return Outcome("succeeded")
        if verdict == "untouched" and entry.refusal is None:
            return await self._do(order, token)
        return Outcome("unknown", f"the executor was interrupted while doing this; {words}")

    async def _left_behind(self, order: ActionOrder) -> Running | None:
        try:
            running = await self._actions.running(order)
        except MalformedError:
            return None  # the claim says so, and that is where it is counted
        return None if running is None or running.token.startswith(self._token_prefix) else running

    async def _look(self, order: ActionOrder, before: Sighting | None, until: int) -> tuple[Verdict, str] | None:
        """Looks at the container until it is done, or until it is too late (`until`, on Redis' clock) for Docker to do
        it still: before that, what is not done yet may be under way. None where the executor is to end first."""
        while True:
            now_ms = self._clock.now_ms()
            verdict: Verdict = "unclear"
            try:
                now = await self._sight(order.container_id)
                verdict = judge(order.action, before, now)
                words = f"the container is {now or 'gone'}"
                if verdict == "done" or now_ms >= until:
                    return verdict, words
            except (DockerUnreachableError, DockerApiError) as error:
                if now_ms >= until + ENGINE_AWAY_MS:
                    return "unclear", f"what the container is now cannot be told: {error}"
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._stopping.wait()
                return None
            except TimeoutError:
                continue

    async def _sight(self, container_id: str) -> Sighting | None:
        try:
            inspected: dict[str, Any] = await self._docker.inspect(container_id)
        except DockerApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return Sighting.of(inspected)

    async def _persist(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Asks until Redis has answered: what is known here must not be forgotten because Redis was away."""
        backoff = Backoff()
        while True:
            try:
                answer = await ask()
            except BusError as error:
                if isinstance(error, BusRefusedError):
                    self._refusals.note(error.reason)
                await asyncio.sleep(backoff.next_delay())
            else:
                self._refusals.over()
                return answer


def _ms_since(began: float) -> int:
    return round((time.perf_counter() - began) * 1000)


def _one_line(text: str) -> str:
    """Fit for a record, whatever an engine has put into its words."""
    return " ".join(text.encode(errors="replace").decode().split())[:500]


def _words(error: DockerApiError) -> str:
    return "no such container" if error.status == HTTPStatus.NOT_FOUND else error.message
