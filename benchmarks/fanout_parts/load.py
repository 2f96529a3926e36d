"""The load client: a process that holds any number of connections on one core, and is told what to do line by line.

    python -m benchmarks.fanout_parts.load     (started by `driver.LoadClient`)

A command is a line of JSON on stdin, `{"do": <name>, ...}`, and its answer a line on stdout. Commands are answered in
order; `open` is answered when all its connections are open.
"""

import heapq
import itertools
import json
import os
import random
import select
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.fanout_parts.connection import Buffer, Connection, Kind, State
from benchmarks.fanout_parts.dialects import DIALECTS
from benchmarks.fanout_parts.machine import allow_open_files
from benchmarks.fanout_parts.probe import Actor, Probe

IN_FLIGHT = 64
"""Connections that are being made at the same time, so that no listener's queue overflows."""

_STDIN = 0


class Group:
    """Connections of one kind."""

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind
        self.connections: list[Connection] = []
        self.closes: Counter[str] = Counter()
        self.reopened_ns: list[int] = []
        self.to_open = 0
        self.opening = 0
        self.refused = 0
        """Times that a server had no room (503) while the group was being opened; each was tried again."""
        self.stalled = False

    @property
    def probes(self) -> list[Probe]:
        return [connection.probe for connection in self.connections if connection.probe is not None]


class Load:
    """All groups, and the one loop."""

    def __init__(self) -> None:
        self._poller = select.epoll()
        self._buffer = Buffer()
        self._by_fd: dict[int, Connection] = {}
        self._group_of: dict[Connection, Group] = {}
        self._groups: dict[str, Group] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._unread = b""
        self._acting = False
        self._ended = False
        self._waits_for: Group | None = None

    def run(self) -> None:
        """Until stdin ends."""
        self._poller.register(_STDIN, select.EPOLLIN)
        os.set_blocking(_STDIN, False)
        while not self._ended:
            for fd, _ in self._poller.poll(self._patience_s(), 1024):
                if fd == _STDIN:
                    self._read_commands()
                else:
                    self._serve(self._by_fd[fd])
            while self._timers and self._timers[0][0] <= time.monotonic_ns():
                heapq.heappop(self._timers)[2]()

    def _serve(self, connection: Connection) -> None:
        now_ns = time.monotonic_ns()
        if connection.state is State.CONNECTING:
            self._poller.modify(connection.sock.fileno(), select.EPOLLIN)
            connection.connected(now_ns)
        else:
            connection.receive(self._buffer, now_ns)

    def _patience_s(self) -> float:
        return max(0.0, (self._timers[0][0] - time.monotonic_ns()) / 1e9) if self._timers else 1.0

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic_ns() + int(delay_s * 1e9), next(self._order), call))

    # Commands

    def _read_commands(self) -> None:
        got = os.read(_STDIN, 1 << 16)
        self._ended = not got
        *lines, self._unread = (self._unread + got).split(b"\n")
        for line in lines:
            command = json.loads(line)
            answer = getattr(self, f"do_{command.pop('do')}")(**command)
            if answer is not None:
                self._answer(answer)

    def _answer(self, answer: dict[str, Any]) -> None:
        print(json.dumps(answer), flush=True)

    def do_open(self, group: str, clients: int, probes: int, dialect: str, ports: list[int], **kind: Any) -> None:
        """Opens connections, of which the first `probes` are parsed; `kind` has further fields of Kind."""
        channels = tuple(kind.pop("channels", ()))
        made = Group(group, Kind(DIALECTS[dialect], tuple(ports), channels, **kind))
        self._groups[group] = self._waits_for = made
        for number in range(clients):
            probe = Probe(made.kind.dialect) if number < probes else None
            connection = Connection(made.kind, number, probe, self._changed)
            made.connections.append(connection)
            self._group_of[connection] = made
        made.to_open = clients
        self._open_more(made)

    def do_mark(self) -> dict[str, Any]:
        """Starts the figures of all groups anew."""
        now_ns = time.monotonic_ns()
        for group in self._groups.values():
            group.closes.clear()
            group.reopened_ns.clear()
            for connection in group.connections:
                connection.mark(now_ns)
            for probe in group.probes:
                probe.forget()
        return {}

    def do_report(self, body_bytes: int, host: str) -> dict[str, Any]:
        """What every group has seen since the mark, where bodies are so long, and names of hosts as long as `host`."""
        return {name: report(group, body_bytes, host) for name, group in self._groups.items()}

    def do_stall(self, group: str) -> dict[str, Any]:
        """The group reads no more."""
        stalled = self._groups[group]
        stalled.stalled = True
        for connection in stalled.connections:
            if connection.state is State.OPEN:
                self._poller.modify(connection.sock.fileno(), 0)
        return {}

    def do_resume(self, group: str, newest: dict[str, int]) -> dict[str, Any]:
        """The group reads again, and tells how long it takes to get metrics at least as new as `newest`. Those that
        were closed meanwhile connect anew."""
        resumed = self._groups[group]
        resumed.stalled = False
        now_ns = time.monotonic_ns()
        for connection in resumed.connections:
            if connection.probe is not None:
                connection.probe.await_newest(newest, now_ns)
            if connection.state is State.OPEN:
                self._poller.modify(connection.sock.fileno(), select.EPOLLIN)
            else:
                self._reconnect(connection)
        return {}

    def do_act(self, group: str, every_s: float, host: str, container: str) -> dict[str, Any]:
        """Each probe of the group asks for an action every so often, spread evenly."""
        self._acting = True
        actors = [connection for connection in self._groups[group].connections if connection.probe is not None]
        for number, connection in enumerate(actors):
            assert connection.probe is not None
            connection.probe.actor = Actor(f"fanout-{number}", host, container)
            self._after(every_s * number / len(actors), partial(self._act, connection, every_s))
        return {}

    def do_act_no_more(self) -> dict[str, Any]:
        self._acting = False
        return {}

    def _act(self, connection: Connection, every_s: float) -> None:
        actor = connection.probe.actor if connection.probe else None
        if not self._acting or actor is None:
            return
        if connection.state is State.OPEN:
            for message in actor.next(time.monotonic_ns()):
                connection.say(message)
        self._after(every_s, partial(self._act, connection, every_s))

    # Connections

    def _open_more(self, group: Group) -> None:
        while group.to_open and group.opening < IN_FLIGHT:
            connection = group.connections[-group.to_open]
            group.to_open -= 1
            group.opening += 1
            self._connect(connection)

    def _connect(self, connection: Connection) -> None:
        connection.connect()
        if connection.state is State.CONNECTING:
            self._by_fd[connection.sock.fileno()] = connection
            self._poller.register(connection.sock.fileno(), select.EPOLLOUT)

    def _changed(self, connection: Connection) -> None:
        """A connection has opened or closed."""
        group = self._group_of[connection]
        if self._waits_for is group:
            self._opened_or_failed(connection, group)
        elif connection.state is State.OPEN:
            self._reopened(connection, group)
        elif connection.state is State.CLOSED:
            group.closes[connection.closed_with] += 1
            if group.kind.reconnects and not group.stalled:
                self._after(_delay_s(connection), partial(self._reconnect, connection))

    def _opened_or_failed(self, connection: Connection, group: Group) -> None:
        if connection.closed_with == "HTTP 503" and connection.state is State.CLOSED:
            group.refused += 1
            self._after(_delay_s(connection), partial(self._connect, connection))
            return
        if connection.state is State.CLOSED:
            self._waits_for = None
            self._answer({"failed": connection.closed_with})
            return
        group.opening -= 1
        self._open_more(group)
        if not group.opening:
            self._waits_for = None
            self._answer({"open": len(group.connections)})

    def _reconnect(self, connection: Connection) -> None:
        connection.port_index = (connection.port_index + 1) % len(connection.kind.ports)
        self._connect(connection)

    def _reopened(self, connection: Connection, group: Group) -> None:
        group.reopened_ns.append(time.monotonic_ns())
        if connection.probe is not None:
            connection.probe.reconnected()
            for message in connection.probe.actor.again() if connection.probe.actor else ():
                connection.say(message)


def _delay_s(connection: Connection) -> float:
    """When to connect again: as the edge said, or at a random moment of the next second; soon where it was refused."""
    if connection.closed_with in {"1012", "1013"}:
        told = connection.retry_after_s
        return random.uniform(0, 1) if told is None else told  # noqa: S311 - no secret
    return random.uniform(0.05, 0.15)  # noqa: S311 - no secret


def report(group: Group, body_bytes: int, host: str) -> dict[str, Any]:
    now_ns = time.monotonic_ns()
    delivered = group.kind.dialect.delivered
    counted = [connection for connection in group.connections if connection.probe is None]
    opened = [connection for connection in group.connections if connection.state is State.OPEN]
    probes = group.probes
    ages = [age for probe in probes for age in probe.ages_ms]
    beats = [connection.beat_ns for connection in opened]
    gaps = [max(each.longest_gap_ns, now_ns - each.data_ns) for each in group.connections]
    return {
        "open": len(opened),
        "refused": group.refused,
        "delivered": sum(probe.bodies for probe in probes)
        + sum(delivered(each.frames, each.payload_bytes, body_bytes, host) for each in counted),
        "wire_bytes": sum(connection.wire_bytes for connection in group.connections),
        "least_frames": min((connection.frames for connection in group.connections), default=0),
        "hosts": min((probe.hosts for probe in probes), default=0),
        "ages_ms": quantiles(ages),
        "longest_gap_s": max(gaps, default=0) / 1e9,
        "oldest_beat_s": (now_ns - min(beats)) / 1e9 if beats else None,
        "heartbeat_s": max((probe.heartbeat_ms for probe in probes), default=0) / 1000,
        "disordered": sum(probe.disordered for probe in probes),
        "closes": group.closes,
        "reopened_ns": group.reopened_ns,
        "behind": sum(probe.is_behind for probe in probes),
        "caught_up_s": [probe.caught_up_s for probe in probes if probe.caught_up_s is not None],
        "acks": _acks([probe.actor for probe in probes if probe.actor is not None]),
    }


def _acks(actors: list[Actor]) -> dict[str, Any]:
    finals = sum((actor.finals for actor in actors), Counter[str]())
    return {
        "asked": sum(actor.asked for actor in actors),
        "answered": len(finals),
        "answered_twice": sum(times > 1 for times in finals.values()),
        "not_succeeded": sum(actor.not_succeeded for actor in actors),
        "refused": sum((actor.refused for actor in actors), Counter()),
        "pending": sum(len(actor.pending) for actor in actors),
        "round_trips_ms": quantiles([each for actor in actors for each in actor.round_trips_ms]),
    }


def quantiles(values: list[float]) -> dict[str, float]:
    """`n`, and where there are any `p50`, `p99` and `max`: the smallest value that so many are not above."""
    ordered = sorted(values)
    if not ordered:
        return {"n": 0}
    found = {name: ordered[max(0, -(-len(ordered) * share // 100) - 1)] for name, share in (("p50", 50), ("p99", 99))}
    return {"n": len(ordered), **found, "max": ordered[-1]}


if __name__ == "__main__":
    allow_open_files()
    Load().run()
    sys.exit()
