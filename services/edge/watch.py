"""Finds clients that are there no more, or take nothing: pings whoever has been quiet, closes whoever stays so."""

import asyncio
import math
import time
from collections.abc import Set as AbstractSet

from common.settings import EdgeSettings
from services.edge.member import Member

STEP_S = 0.1

_ROUNDS = 8
"""Each client is looked at so often within the time that it may be silent."""

_PING_AFTER = 0.25
"""Of that time. A client that says something by itself is not asked."""


class Watch:
    """Goes round all members, a few at a time: were all asked at once, all would answer at once."""

    def __init__(self, members: AbstractSet[Member], settings: EdgeSettings) -> None:
        self._members = members
        self._silent_s = settings.silent_client_sec
        self._slow_s = settings.slow_client_sec
        self._steps = max(1, round(min(self._silent_s, self._slow_s) / _ROUNDS / STEP_S))

    async def run(self) -> None:
        """Watches for ever."""
        while True:
            members = list(self._members)
            size = math.ceil(len(members) / self._steps)
            for step in range(self._steps):
                await asyncio.sleep(STEP_S)
                now = time.monotonic()
                for member in members[step * size : (step + 1) * size]:
                    self._look_at(member, now)

    def _look_at(self, member: Member, now: float) -> None:
        blocked_since = member.client.blocked_since
        quiet_s = now - member.heard_at
        if blocked_since is not None and now - blocked_since > self._slow_s:
            member.abort("takes nothing")
        elif quiet_s > self._silent_s:
            member.close(4408, "silent for too long")
        elif quiet_s > self._silent_s * _PING_AFTER:
            member.ping()
