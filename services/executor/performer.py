"""One action from its claim to its settlement: nothing is done that is not claimed first, and nothing that was claimed
is left without an outcome while this executor lives."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from common.actions import Actions
from common.backoff import Backoff
from common.docker import Docker, DockerInterruptedError
from common.errors import BusError, BusRefusedError, DockerApiError, DockerUnreachableError, MalformedError
from common.models import ActionOrder, ActionStatus
from common.outage import Outage
from common.telemetry import malformed
from common.worker import Tenure
from services.executor.policy import grace_s, refuse
from services.executor.queues import Entry

logger = logging.getLogger(__name__)

LATE = "not begun before its deadline"
INTERRUPTED = "the executor was interrupted while doing this: look at the container"

_T = TypeVar("_T")


@dataclass(frozen=True)
class Outcome:
    """What came of an action."""

    status: ActionStatus
    error: str | None = None
    duration_ms: int | None = None


class Performer:
    """Performs actions in one tenure, under tokens that no other tenure has."""

    def __init__(self, tenure: Tenure, docker: Docker, actions: Actions) -> None:
        self._docker = docker
        self._actions = actions
        self._clock = tenure.bus.clock
        self._token_prefix = f"{tenure.token} "
        self._refusals = Outage(f"Redis' consent to the actions of {tenure.host}", logger)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """What has not begun will not begin."""
        self._stopping.set()

    async def perform(self, entry: Entry, overdue: str | None = None) -> None:
        """Claims an action, does it, and settles it. `overdue`: why its turn did not come in time; it is claimed and
        settled only."""
        order = entry.order
        token = self._token_prefix + entry.id
        late = f"{LATE}: {overdue}" if overdue else LATE
        match await self._persist(lambda: self._actions.claim(order, token)):
            case "claimed":
                outcome = Outcome("expired", late) if overdue else await self._guarded(order)
            case "late":
                outcome = Outcome("expired", late)
            case "taken":
                if not await self._persist(lambda: self.close_left_behind(entry)):
                    await self._persist(lambda: self._actions.discard(order.host, entry.id))
                return
            case verdict:
                malformed.labels("action record").inc()
                logger.warning("skipping action %s: its record is %s", order.request_id, verdict)
                await self._persist(lambda: self._actions.discard(order.host, entry.id))
                return
        error = _one_line(outcome.error) if outcome.error else None
        written = await self._persist(
            lambda: self._actions.settle(
                order, entry.id, token, outcome.status, error=error, duration_ms=outcome.duration_ms
            )
        )
        if written:
            logger.info("%s %.12s for %s: %s", order.action, order.container_id, order.actor, outcome.status)
        else:
            logger.warning("action %s %s, but its record is no longer ours", order.request_id, outcome.status)

    async def close_left_behind(self, entry: Entry) -> bool:
        """Settles an action that an earlier executor began and did not finish. False where it is none such. Raises
        BusError."""
        try:
            token = await self._actions.running_token(entry.order)
        except MalformedError:
            return False  # the claim says so, and that is where it is counted
        if token is None or token.startswith(self._token_prefix):
            return False
        return await self._actions.settle(entry.order, entry.id, token, "unknown", error=INTERRUPTED)

    async def _guarded(self, order: ActionOrder) -> Outcome:
        """A mistake in this program costs one action, not the executor again and again."""
        try:
            return await self._do(order)
        except Exception:
            logger.exception("%s %s failed", order.action, order.container_id)
            return Outcome("unknown", "the executor failed while doing this: its log says how")

    async def _do(self, order: ActionOrder) -> Outcome:
        """Tries until Docker has been asked, or may not be any more."""
        backoff = Backoff(cap_s=1.0)
        why = ""
        while (left_ms := order.deadline - self._clock.now_ms()) >= 0:
            try:
                async with asyncio.timeout(left_ms / 1000):
                    inspected = await self._docker.inspect(order.container_id)
                refusal = refuse(order, inspected)
                if refusal:
                    return Outcome("rejected", refusal)
                return await self._act(order, grace_s(order, inspected))
            except TimeoutError:
                why = f": the Docker engine at {self._docker.address} did not say in time what the container is now"
            except DockerUnreachableError as error:
                why = f": {error}"
            except DockerApiError as error:
                return Outcome("failed", _words(error))
            try:
                async with asyncio.timeout(backoff.next_delay()):
                    await self._stopping.wait()
                return Outcome("failed", f"the executor was stopped before this began{why}")
            except TimeoutError:
                continue
        return Outcome("expired", LATE + why)

    async def _act(self, order: ActionOrder, grace: int) -> Outcome:
        """Raises DockerUnreachableError where Docker could not be asked."""
        began = time.perf_counter()
        try:
            await self._docker.act(order.container_id, order.action, grace_s=grace)
            status: ActionStatus = "succeeded"
            words = None
        except DockerApiError as error:
            status, words = "failed", _words(error)
        except DockerInterruptedError as error:
            status, words = "unknown", str(error)
        return Outcome(status, words, round((time.perf_counter() - began) * 1000))

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


def _one_line(text: str) -> str:
    """Fit for a record, whatever an engine has put into its words."""
    return " ".join(text.encode(errors="replace").decode().split())[:500]


def _words(error: DockerApiError) -> str:
    return "no such container" if error.status == HTTPStatus.NOT_FOUND else error.message
