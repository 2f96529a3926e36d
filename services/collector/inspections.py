"""Inspections of containers, without waiting for those that the engine is at.

An engine answers about a container only between two things that it does to it. Starting one takes it seconds when it
starts many, and the others' list is not to wait for that: an answer that comes late is for a later round.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus

from common.docker import Docker
from common.errors import DockerApiError, DockerUnreachableError
from services.collector.inventory import Inspection

logger = logging.getLogger(__name__)

AT_ONCE = 16
WITHIN_S = 4.0
"""Less than the client's own time for an answer, after which it takes the whole engine for unreachable."""

PATIENCE_S = 0.25
PATIENCE_EACH_S = 0.01
"""For an engine that is slow with all of them."""


class _NoAnswer:
    """In time, or a refusal."""


_NO_ANSWER = _NoAnswer()

_Answer = Inspection | DockerUnreachableError | _NoAnswer


class Inspections:
    """At most one at a time of a container, AT_ONCE of all."""

    def __init__(self, docker: Docker, tasks: asyncio.TaskGroup, on_late: Callable[[], None]) -> None:
        """`tasks`: in which they run. `on_late` is called when there is an answer that nobody has waited for."""
        self._docker = docker
        self._tasks = tasks
        self._on_late = on_late
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._asked: dict[str, asyncio.Task[_Answer]] = {}

    def forget(self, ids: Collection[str] | None = None) -> None:
        """Something has happened to these, or may have to all: what was asked before says nothing of that."""
        for container_id in list(self._asked) if ids is None else ids:
            asked = self._asked.pop(container_id, None)
            if asked is not None:
                asked.cancel()

    async def of(self, ids: Collection[str]) -> Mapping[str, Inspection]:
        """What the engine says of each, without those of which it says nothing so soon. It goes on being asked about
        these, as long as every call names them. Raises DockerUnreachableError."""
        self.forget(self._asked.keys() - set(ids))
        for container_id in ids:
            asked_before = self._asked.get(container_id)
            if asked_before is None or _has_failed(asked_before):
                work = self._ask(container_id)
                self._asked[container_id] = self._tasks.create_task(work, name=f"inspect {container_id:.12}")
        asked = {container_id: self._asked[container_id] for container_id in ids}
        if not asked:
            return {}
        done, late = await asyncio.wait(asked.values(), timeout=PATIENCE_S + len(asked) * PATIENCE_EACH_S)
        for task in late:
            task.remove_done_callback(self._tell)  # of the call before
            task.add_done_callback(self._tell)
        answers = {container_id: task.result() for container_id, task in asked.items() if task in done}
        for container_id in answers:
            del self._asked[container_id]
        found = {}
        for container_id, answer in answers.items():
            if isinstance(answer, DockerUnreachableError):
                self.forget()
                raise answer
            if not isinstance(answer, _NoAnswer):
                found[container_id] = answer
        return found

    async def _ask(self, container_id: str) -> _Answer:
        async with self._turns:
            try:
                async with asyncio.timeout(WITHIN_S):
                    return await self._docker.inspect(container_id)
            except DockerApiError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return None
                logger.debug("inspecting %s: %s", container_id, error)
            except DockerUnreachableError as error:
                return error
            except TimeoutError:
                logger.debug("inspecting %s: no answer within %g s", container_id, WITHIN_S)
            return _NO_ANSWER

    def _tell(self, task: asyncio.Task[_Answer]) -> None:
        if not task.cancelled() and task.exception() is None and not _has_failed(task):
            self._on_late()


def _has_failed(task: asyncio.Task[_Answer]) -> bool:
    return task.done() and isinstance(task.result(), _NoAnswer | DockerUnreachableError)
