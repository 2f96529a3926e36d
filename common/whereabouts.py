"""Where this process runs and where its bus is: what it takes to know which containers are Fleetcast's own.

What follows from it is decided in protection.py.
"""

import asyncio
import logging
import re
import socket
import threading
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from common.outage import Outage
from common.protection import Endpoint, Protection, canonical_address
from common.sentinel_url import SentinelUrl
from common.settings import ProtectionSettings

logger = logging.getLogger(__name__)

LOOKUP_EVERY_S = 10.0
LOOKUP_WAIT_S = 1.0
"""A lookup that takes longer is not waited for: the last answer holds meanwhile."""

_DEFAULT_PORT = 6379

_CGROUP = re.compile(r"(?:/|docker-|libpod-)([0-9a-f]{64})(?=\.scope|/|$)")
_MOUNT = re.compile(r"containers/([0-9a-f]{64})/(?:userdata/)?(hostname|hosts|resolv\.conf) /etc/\2 ")


class Guard:
    """The rule which containers are let alone, as it stands whenever it is asked for."""

    def __init__(self, settings: ProtectionSettings) -> None:
        self._settings = settings
        self._own_id = own_container_id()
        self._bus = BusWhereabouts(settings.redis_url)
        self._current = self._rule(frozenset())

    async def protection(self) -> Protection:
        """The same object until something has changed. Takes LOOKUP_WAIT_S at most, and mostly no time."""
        bus = await self._bus.endpoints()
        if bus != self._current.bus:
            self._current = self._rule(bus)
        return self._current

    def _rule(self, bus: frozenset[Endpoint]) -> Protection:
        return Protection(
            allow=self._settings.allow_labels, forbid=self._settings.forbid_labels, own_id=self._own_id, bus=bus
        )


class BusWhereabouts:
    """Where the bus is now, by DNS: a container that is made anew comes back under its name, at another address.

    A lookup runs in a thread, never in two at a time. While none succeeds, the last answer holds; before the first one,
    the bus is nowhere. An absence of answers is said once.
    """

    def __init__(
        self, redis_url: str, *, lookup_every_s: float = LOOKUP_EVERY_S, wait_s: float = LOOKUP_WAIT_S
    ) -> None:
        self._url = redis_url
        self._lookup_every_s = lookup_every_s
        self._wait_s = wait_s
        self._endpoints: frozenset[Endpoint] = frozenset()
        self._asked_at_s = float("-inf")
        self._answered = asyncio.Event()
        self._answered.set()
        self._outage = Outage(f"the address of Redis' host {_shown(redis_url)}", logger)

    async def endpoints(self) -> frozenset[Endpoint]:
        """None of a Unix socket. Takes `wait_s` at most; raises nothing that DNS could be the cause of."""
        if self._url.startswith("unix:"):
            return frozenset()
        now_s = time.monotonic()
        if self._answered.is_set() and now_s - self._asked_at_s >= self._lookup_every_s:
            self._asked_at_s = now_s
            self._ask()
        try:
            async with asyncio.timeout(self._asked_at_s + self._wait_s - now_s):
                await self._answered.wait()
        except TimeoutError:
            self._outage.note(f"no answer within {self._wait_s:g} s")
        return self._endpoints

    def _ask(self) -> None:
        loop = asyncio.get_running_loop()

        def look_up() -> None:
            answer: frozenset[Endpoint] | Exception
            try:
                answer = frozenset().union(*(_find(host, port) for host, port in _servers(self._url)))
            except Exception as error:  # whatever it is, the last answer holds, and the next lookup may succeed
                answer = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._learn, answer)

        self._answered.clear()
        try:
            # A daemon, which the loop's own threads are not: the process ends although DNS hangs.
            threading.Thread(target=look_up, name="lookup of the bus", daemon=True).start()
        except RuntimeError as error:  # the system has no thread to give
            self._learn(error)

    def _learn(self, answer: frozenset[Endpoint] | Exception) -> None:
        self._answered.set()
        if isinstance(answer, Exception):
            logger.debug("looking up where the bus is", exc_info=answer)
            self._outage.note(str(answer) or type(answer).__name__)
        else:
            self._endpoints = answer
            self._outage.over()


def _servers(url: str) -> set[tuple[str, int]]:
    """Every server that the bus is now or may be next, and what watches over them. Blocks. Raises OSError and
    redis-py's errors."""
    if sentinels := SentinelUrl.parse(url):
        from common.sentinel import watched_servers  # redis-py, without which all else here does

        return watched_servers(sentinels)
    parts = urlsplit(url)
    return {(parts.hostname or "localhost", parts.port or _DEFAULT_PORT)}


def _shown(url: str) -> str:
    """Without a password."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] if SentinelUrl.parse(url) else str(parts.hostname)


def _find(host: str, port: int) -> frozenset[Endpoint]:
    """What a name leads to, seen from here. Blocks for as long as DNS does. Raises OSError, and UnicodeError for what
    can be no name."""
    found = {_reached(str(answer[4][0])) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    own = {canonical_address(said.address) for interface in psutil.net_if_addrs().values() for said in interface}
    return frozenset(Endpoint(address, port, ip_address(address).is_loopback or address in own) for address in found)


def _reached(address: str) -> str:
    """Whoever connects to every address (`0.0.0.0`) gets to the loopback."""
    ip = ip_address(canonical_address(address))
    if ip.is_unspecified:
        return "127.0.0.1" if ip.version == 4 else "::1"
    return str(ip)


def own_container_id(proc: Path = Path("/proc")) -> str | None:
    """The id of the container that this process runs in, None where it runs in none, or in one that hides its id.

    By its cgroup, where that can be seen from within (cgroup v1; v2 in the host's cgroup namespace), else by the files
    that the engine mounts into every container. Of a container in another one's network those are the other one's.
    """
    return id_by_cgroup(_text_of(proc / "self/cgroup")) or id_by_mounts(_text_of(proc / "self/mountinfo"))


def id_by_cgroup(cgroup: str) -> str | None:
    """From /proc/<pid>/cgroup: `0::/docker/<id>`, `0::/system.slice/docker-<id>.scope`, `.../libpod-<id>.scope`. Pure.

    In an engine that itself runs in a container, the innermost one's, of the first line that names any.
    """
    for line in cgroup.splitlines():
        if ids := _CGROUP.findall(line):
            return str(ids[-1])
    return None


def id_by_mounts(mountinfo: str) -> str | None:
    """From /proc/<pid>/mountinfo: where /etc/hostname, /etc/hosts and /etc/resolv.conf come from. Pure."""
    found = _MOUNT.search(mountinfo)
    return found[1] if found else None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # no Linux
        return ""
