"""Time on Redis' clock, so that ages hold across hosts whose own clocks differ. Pure but for the clocks it is given."""

import math
import time
import zlib
from collections.abc import Callable

_RESYNC_AFTER_S = 300


class RedisClock:
    """This process' difference to Redis, from round trips of `TIME`; the shortest recent one counts.

    It runs on the monotonic clock between round trips, so a step of the machine's own clock moves nothing. Before the
    first round trip it is the machine's own time.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._base_ms = (wall() - monotonic()) * 1000
        self._round_trip_s = float("inf")
        self._synced_at = float("-inf")

    def note(self, redis_ms: float, sent_at: float, received_at: float) -> None:
        """One `TIME`: its answer in ms, and monotonic times around it. A longer round trip tells less and is passed
        over, until the last one counted is too old."""
        round_trip_s = received_at - sent_at
        if round_trip_s <= self._round_trip_s or received_at - self._synced_at > _RESYNC_AFTER_S:
            self._round_trip_s = round_trip_s
            self._synced_at = received_at
            self._base_ms = redis_ms - (sent_at + received_at) / 2 * 1000

    def forget(self) -> None:
        """After a reconnect the server may be another one: the next round trip counts whatever it took."""
        self._round_trip_s = float("inf")

    def now_ms(self) -> int:
        return round(self._base_ms + self._monotonic() * 1000)


def phase_of(name: str) -> float:
    """Seconds, always the same for a name: where on a clock's face what bears it has its place. So the timers of a host
    go off together, in few wake-ups, and those of many hosts do not. Pure."""
    return zlib.crc32(name.encode()) / 1000


def next_tick(interval_s: float, phase_s: float, now_s: float) -> float:
    """The next time, later than now, that is a whole number of intervals and the phase away from 0. Where one interval
    is a multiple of another, its ticks are among the other's. Pure."""
    offset_s = phase_s % interval_s
    tick_s = offset_s + interval_s * (math.floor((now_s - offset_s) / interval_s) + 1)
    return tick_s if tick_s > now_s else tick_s + interval_s
