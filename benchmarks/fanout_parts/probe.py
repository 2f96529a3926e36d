"""The few clients of a run that are parsed in full: the age and order of states, and the answers to actions. Pure."""

import json
from collections import Counter
from typing import Any

from benchmarks.fanout_parts.dialects import Dialect

FINAL = {"succeeded", "failed", "expired", "rejected", "unknown"}


class Probe:
    """Reads what one client gets."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._newest: dict[tuple[str, str], tuple[int, int]] = {}
        self._awaited: dict[str, int] = {}
        self._resumed_ns = 0
        self.actor: Actor | None = None
        self.bodies = 0
        self.ages_ms: list[float] = []
        self.disordered = 0
        """States that were older than one before, or the same once more."""
        self.heartbeat_ms = 0
        """The interval that the server announced; 0 where it did not."""
        self.caught_up_s: float | None = None

    @property
    def hosts(self) -> int:
        return len({host for _, host in self._newest})

    @property
    def is_behind(self) -> bool:
        """Whether something is still awaited."""
        return bool(self._awaited)

    def forget(self) -> None:
        """Starts the figures anew; versions are kept."""
        self.bodies = 0
        self.ages_ms.clear()
        self.disordered = 0
        if self.actor is not None:
            self.actor.round_trips_ms.clear()

    def reconnected(self) -> None:
        """Order is promised within a connection."""
        self._newest.clear()

    def await_newest(self, newest: dict[str, int], now_ns: int) -> None:
        """`caught_up_s` will tell how long it took until metrics at least as new came of every one of these hosts."""
        self._awaited = dict(newest)
        self._resumed_ns = now_ns
        self.caught_up_s = None

    def take(self, payload: bytes, now_ns: int) -> None:
        for body in self._dialect.bodies(payload):
            message: dict[str, Any] = json.loads(body)
            if "sentNs" in message:
                self._take_state(message, now_ns)
            elif message.get("type") == "connected":
                self.heartbeat_ms = message["heartbeatIntervalMs"]
            elif message.get("type") in {"container-ack", "error"} and self.actor is not None:
                self.actor.take(message, now_ns)

    def _take_state(self, message: dict[str, Any], now_ns: int) -> None:
        self.bodies += 1
        self.ages_ms.append((now_ns - message["sentNs"]) / 1e6)
        host = message["host"]
        key, version = (message["type"], host), (message["epoch"], message["seq"])
        if version <= self._newest.get(key, (0, 0)):
            self.disordered += 1
        self._newest[key] = version
        if self._awaited and message["type"] == "metrics" and message["seq"] >= self._awaited.get(host, 1 << 62):
            del self._awaited[host]
            if not self._awaited:
                self.caught_up_s = (now_ns - self._resumed_ns) / 1e9


class Actor:
    """Asks for actions, and for each one again under the same id until its final answer came."""

    def __init__(self, name: str, host: str, container: str) -> None:
        self._name = name
        self._host = host
        self._container = container
        self._ask_again: set[str] = set()
        self.asked = 0
        self.refused: Counter[str] = Counter()
        """Error code → how often."""
        self.pending: dict[str, int] = {}
        """Request id → when first asked, ns."""
        self.finals: Counter[str] = Counter()
        """Request id → how often its final answer came."""
        self.not_succeeded = 0
        self.round_trips_ms: list[float] = []

    def next(self, now_ns: int) -> list[bytes]:
        """A new action, and once more those that were refused."""
        self.asked += 1
        request_id = f"{self._name}-{self.asked}"
        self.pending[request_id] = now_ns
        again, self._ask_again = self._ask_again, set()
        return [self._message(each) for each in (request_id, *sorted(again))]

    def again(self) -> list[bytes]:
        """After a reconnect: everything that has no final answer."""
        self._ask_again.clear()
        return [self._message(each) for each in self.pending]

    def take(self, message: dict[str, Any], now_ns: int) -> None:
        request_id = message.get("requestId", "")
        if message["type"] == "error":
            self.refused[message["code"]] += 1
            if request_id in self.pending:
                self._ask_again.add(request_id)
        elif message["status"] in FINAL:
            self.finals[request_id] += 1
            self.not_succeeded += message["status"] != "succeeded"
            asked_ns = self.pending.pop(request_id, None)
            if asked_ns is not None:
                self.round_trips_ms.append((now_ns - asked_ns) / 1e6)

    def _message(self, request_id: str) -> bytes:
        return json.dumps(
            {
                "type": "container-action",
                "requestId": request_id,
                "host": self._host,
                "containerId": self._container,
                "action": "restart",
            }
        ).encode()
