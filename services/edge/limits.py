"""How much one client, one address and all of them together may ask for. Pure."""

from collections import Counter, OrderedDict
from collections.abc import Hashable
from ipaddress import ip_address


class TokenBucket:
    """`rate` a second on average, `burst` at once. Times are monotonic seconds."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float, count: int = 1) -> bool:
        """Takes as many, or none and False where there are fewer."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < count:
            return False
        self._tokens -= count
        return True


class TokenBuckets:
    """A bucket each for whoever asks; beyond `max_kept`, whoever has asked for nothing longest begins anew."""

    def __init__(self, rate: float, burst: float, max_kept: int = 10_000) -> None:
        self._rate = rate
        self._burst = burst
        self._max_kept = max_kept
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def take(self, who: Hashable, now: float) -> bool:
        """Takes one of their own; False where there is none."""
        bucket = self._buckets.pop(who, None) or TokenBucket(self._rate, self._burst, now)
        self._buckets[who] = bucket
        if len(self._buckets) > self._max_kept:
            self._buckets.popitem(last=False)
        return bucket.take(now)


class Room:
    """How many clients are connected, in all and from each address. Those of this machine itself are counted in all
    only: a proxy here may stand for many people."""

    def __init__(self, max_clients: int, max_per_address: int) -> None:
        self._max_clients = max_clients
        self._max_per_address = max_per_address
        self._by_address: Counter[str] = Counter()
        self.taken = 0

    def enter(self, address: str) -> str | None:
        """Why there is no room for a client from `address`, or None: then it is counted until it leaves."""
        if self.taken >= self._max_clients:
            return "this edge is full"
        if self._by_address[address] >= self._max_per_address and not _is_loopback(address):
            return "too many connections from this address"
        self.taken += 1
        self._by_address[address] += 1
        return None

    def leave(self, address: str) -> None:
        self.taken -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
