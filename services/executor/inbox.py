"""Takes entries from a host's action stream into the executor's hands.

What it promises: an entry that was delivered and not settled is taken up again after every reconnect, before anything
newer; one that is in hand is never taken twice; one that is no action of this host is counted and discarded. All are
delivered to one consumer, and the lease says which process that is: a stand-by takes up what a dead one had. The
consumer group is made again when it is lost (`FLUSHALL`).
"""

import asyncio
import logging
from dataclasses import replace
from typing import Any

from redis.exceptions import ResponseError

from common.actions import Actions
from common.backoff import Backoff
from common.bus import READ_BLOCK_MS
from common.errors import BusError, BusRefusedError, MalformedError
from common.keys import EXECUTOR_GROUP
from common.outage import Outage
from common.telemetry import malformed
from common.tenure import Tenure
from services.executor.admission import Admission
from services.executor.performer import Performer
from services.executor.queues import Entry, Queues

logger = logging.getLogger(__name__)

READ_COUNT = 64
"""Entries a read; each costs a signature's check, and the loop is not to be held up for all that wait."""

_RawEntry = tuple[bytes, dict[bytes, bytes] | None]


class Inbox:
    """The reading end of one host's actions."""

    def __init__(
        self,
        tenure: Tenure,
        actions: Actions,
        admission: Admission,
        performer: Performer,
        queues: Queues,
        changed: asyncio.Event,
    ) -> None:
        self._tenure = tenure
        self._bus = tenure.bus
        self._host = tenure.host
        self._stream = tenure.bus.keys.actions(tenure.host)
        self._actions = actions
        self._admission = admission
        self._performer = performer
        self._queues = queues
        self._changed = changed
        self._room_made = asyncio.Event()
        self._outage = Outage(f"the action stream of {tenure.host}", logger)

    def note_room(self) -> None:
        """Something in hand is done."""
        self._room_made.set()

    async def read_forever(self) -> None:
        """Reads, and reconnects."""
        backoff = Backoff()
        while True:
            try:
                await self._make_group()
                await self._take_pending()
                while True:
                    await self._take_new()
                    self._tenure.note_done()
                    self._outage.over()
                    backoff.reset()
            except BusRefusedError as error:
                self._outage.note("its consumer group is gone" if "NOGROUP" in error.reason else error.reason)
            except BusError as error:
                logger.debug("not reading: %s", error)
            await asyncio.sleep(backoff.next_delay())

    async def _make_group(self) -> None:
        """From the stream's beginning: settled entries are deleted, so what stands there is yet to be done."""
        with self._bus.reaching() as redis:
            try:
                await redis.xgroup_create(self._stream, EXECUTOR_GROUP, "0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def _take_pending(self) -> None:
        """What an earlier connection or executor was given and did not settle."""
        after = "0"
        while True:
            entries = await self._read(after)
            for entry in await self._sift(entries):
                if entry.id not in self._queues:
                    self._queues.add(replace(entry, left_behind=await self._performer.is_left_behind(entry.order)))
                    self._changed.set()
            if not entries:
                return
            after = entries[-1][0].decode()

    async def _take_new(self) -> None:
        for entry in await self._sift(await self._read(">")):
            self._queues.add(entry)
            self._changed.set()

    async def _read(self, after: str) -> list[_RawEntry]:
        """At most as many entries as there is room for; waits for room, and up to READ_BLOCK_MS for new ones."""
        while not self._queues.room:
            self._room_made.clear()
            await self._room_made.wait()
        block = READ_BLOCK_MS if after == ">" else None
        with self._bus.reaching() as redis:
            answer: Any = await redis.xreadgroup(
                EXECUTOR_GROUP,
                EXECUTOR_GROUP,
                {self._stream: after},
                count=min(self._queues.room, READ_COUNT),
                block=block,
            )
        entries: list[_RawEntry] = answer[0][1] if answer else []
        return entries

    async def _sift(self, entries: list[_RawEntry]) -> list[Entry]:
        """This host's actions among the entries; the rest is counted, discarded, and said in one line."""
        good: list[Entry] = []
        problems: list[str] = []
        for raw_id, fields in entries:
            entry_id = raw_id.decode()
            try:
                good.append(self._admission.open(entry_id, fields))
            except MalformedError as error:
                malformed.labels("stream entry").inc()
                problems.append(str(error))
                await self._actions.discard(self._host, entry_id)
        if problems:
            logger.warning("skipped %d entries of %s: %s", len(problems), self._stream, problems[-1])
        return good
