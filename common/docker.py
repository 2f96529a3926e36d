"""A small client of the Docker Engine API: the few calls that Fleetcast makes, over a Unix socket or TCP.

What it promises:
- A request is tried once, on a connection of its own: whether it was sent at all is always known. Where it may have
  been, and no whole answer came, that is a DockerInterruptedError; every other DockerUnreachableError left the engine
  untouched.
- Every call ends in time, also when the engine drips its answer.
- The API version is negotiated, and again after the engine was away: it may be another one now.

An absent engine is said once per episode, here, whoever runs into it. What to ask of a container is decided elsewhere.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from common.errors import DockerApiError, DockerUnreachableError, DockerVersionError, SettingsError
from common.http1 import Answer, AnswerError, Client, Head, Server, TooLargeError
from common.models import ActionVerb
from common.outage import Outage

logger = logging.getLogger(__name__)

NEWEST_API = (1, 52)
"""The newest API version that this client was written against; a newer engine is spoken to in this one."""

OLDEST_API = (1, 24)
"""Docker 1.12's, of 2016."""

DEFAULT_GRACE_S = 10
"""Docker's own, where a container names none."""

ACT_CONNECT_S = 3.0
"""An action that cannot be asked for by then is not asked for."""

MAX_CONNECTIONS = 80
"""Above the executor's most containers at once (64), so that a ping gets through beside them."""

_LONGEST_EVENT = 1_048_576

_GRACEFUL: frozenset[ActionVerb] = frozenset({"stop", "restart"})

_DEFAULT_PORTS = {"tcp": 2375, "http": 2375, "https": 443}

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(%[A-Za-z0-9._-]+)?")
"""A name or an address; in one of IPv6 with its zone, where it has one."""

_PODMANS_STATES = {
    "configured": "created",
    "initialized": "created",
    "stopping": "running",
    "stopped": "exited",
}
"""What Podman says of a container where Docker has no such word, in Docker's: one that is being stopped still runs, and
one whose end is still being tidied up has ended."""

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass
class DockerInterruptedError(DockerUnreachableError):
    """The request went out, but no whole answer came: the engine may have done what was asked, or may yet do it."""

    def __str__(self) -> str:
        return f"the Docker engine at {self.address} did not answer to the end ({self.reason})"


class Docker:
    """One engine. Every call raises DockerUnreachableError where none answers, and DockerApiError where it refuses or
    answers with something that is no Docker answer."""

    def __init__(self, address: str, timeout_s: float = 10.0, act_margin_s: float = 15.0) -> None:
        """`address` is a DOCKER_HOST: `unix:///path` or `tcp://host:port`. An action may take `act_margin_s` more than
        its grace. Raises SettingsError."""
        self.address = address
        self._timeout_s = timeout_s
        self._act_margin_s = act_margin_s
        self._api: str | None = None
        self._outage = Outage(f"Docker at {address}", logger)
        self._http = Client(_server(address), MAX_CONNECTIONS)

    async def close(self) -> None:
        self._http.close()

    @property
    def available(self) -> bool:
        """False from a call that found no engine until one finds it."""
        return not self._outage.ongoing

    def patience_ms(self, verb: ActionVerb, grace_s: int) -> int:
        """How long `act` takes at most: after it, what the engine has not done it will not do."""
        return round((2 * ACT_CONNECT_S + self._act_margin_s + (grace_s if verb in _GRACEFUL else 0)) * 1000)

    async def ping(self, within_s: float = 5.0) -> None:
        """Returns if the engine answers."""
        _refuse_error(await self._send("GET", "/_ping", within_s))

    async def version(self) -> dict[str, Any]:
        """What the engine says of itself; `ApiVersion` among it."""
        return _json_object(await self._send("GET", "/version"))

    async def list_containers(self) -> list[dict[str, Any]]:
        """All containers, running or not, in Docker's own shape."""
        listed = _json(await self._send("GET", f"{await self._negotiated()}/containers/json?all=1"))
        if not isinstance(listed, list) or not all(isinstance(container, dict) for container in listed):
            raise _unintelligible("its list of containers is no list of objects")
        for container in listed:
            _use_dockers_word(container, "State")
        return listed

    async def inspect(self, container_id: str) -> dict[str, Any]:
        """Everything about one container, in Docker's own shape."""
        path = f"{await self._negotiated()}/containers/{quote(container_id, safe='')}/json"
        inspected = _json_object(await self._send("GET", path))
        if isinstance(state := inspected.get("State"), dict):
            _use_dockers_word(state, "Status")
        return inspected

    async def stats(self, container_id: str) -> dict[str, Any]:
        """One sample of what a container uses, in Docker's own shape. Engines before 23 take a second for it."""
        path = f"{await self._negotiated()}/containers/{quote(container_id, safe='')}/stats?stream=false&one-shot=true"
        return _json_object(await self._send("GET", path))

    async def info(self) -> dict[str, Any]:
        """What the engine says of the machine that it runs on; `Name` among it."""
        return _json_object(await self._send("GET", f"{await self._negotiated()}/info"))

    async def events(self, actions: Sequence[str], since: str | None) -> AsyncIterator[list[bytes]]:
        """What happens to containers from now on, as lines of JSON in Docker's own shape, several where they come
        together: first an empty list, once the engine listens. `since`: from that time on (`<seconds>.<nanoseconds>`),
        of what the engine still knows. Ends when the engine ends it.

        Take them quickly: the engine leaves out a subscriber that keeps it waiting for 100 ms. Silence is no error
        here: an engine that hangs and one where nothing happens are the same to it.
        """
        asked = {"filters": json.dumps({"type": ["container"], "event": list(actions)})}
        if since is not None:
            asked["since"] = since
        path = f"{await self._negotiated()}/events?{urlencode(asked, quote_via=quote)}"
        listens = False
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._timeout_s):
                    connection = await stack.enter_async_context(self._http.connection())
                    connection.ask("GET", path)
                    head = await connection.head()
                    if not head.is_success:
                        _refuse_error(await connection.answer())
                    _refuse_encoding(head)
                self._outage.over()
                listens = True
                yield []
                begun = b""
                while chunk := await connection.part():
                    *lines, begun = (begun + chunk).split(b"\n")
                    if len(begun) > _LONGEST_EVENT:
                        raise _unintelligible("an event of it has no end")
                    if lines:
                        yield lines
        except TooLargeError as error:
            raise _unintelligible(str(error)) from error
        except (OSError, AnswerError) as error:
            reason = _reason(error, self._timeout_s)
            if not listens:  # a stream that breaks off says nothing of the engine: proxies cut it
                self._note_away(reason)
            raise DockerUnreachableError(self.address, reason) from error

    async def act(self, container_id: str, verb: ActionVerb, *, grace_s: int | None) -> bool:
        """Does it. True: something has changed; False: it was so already. `grace_s` is how long `stop` and `restart`
        wait before they kill (None: DEFAULT_GRACE_S); `remove` removes no running container.

        Raises DockerInterruptedError where it may or may not have been done.
        """
        try:
            async with asyncio.timeout(ACT_CONNECT_S):
                api = await self._negotiated()
        except TimeoutError:
            raise DockerUnreachableError(self.address, f"no answer within {ACT_CONNECT_S:g} s") from None
        path = f"{api}/containers/{quote(container_id, safe='')}"
        within_s = self._act_margin_s
        if verb == "remove":
            answer = await self._send("DELETE", path, within_s, patient=True)
        elif verb in _GRACEFUL:
            grace_s = DEFAULT_GRACE_S if grace_s is None else grace_s
            answer = await self._send("POST", f"{path}/{verb}?t={grace_s}", within_s + grace_s, patient=True)
        else:
            answer = await self._send("POST", f"{path}/{verb}", within_s, patient=True)
        if answer.head.status == HTTPStatus.NOT_MODIFIED:
            return False
        _refuse_error(answer)
        return True

    async def _negotiated(self) -> str:
        """`/v1.45`. What goes wrong here has asked the engine for nothing: never a DockerInterruptedError."""
        if self._api is None:
            try:
                said = await self.version()
            except DockerInterruptedError as error:
                raise DockerUnreachableError(error.address, error.reason) from error
            self._api = _api_for(said)
        return self._api

    async def _send(self, method: str, path: str, within_s: float | None = None, *, patient: bool = False) -> Answer:
        """`patient`: to take too long says nothing about the engine, only about what was asked."""
        within_s = self._timeout_s if within_s is None else within_s
        connect_s = ACT_CONNECT_S if patient else self._timeout_s
        may_be_sent = False
        try:
            async with asyncio.timeout(connect_s) as limit, self._http.connection() as connection:
                limit.reschedule(asyncio.get_running_loop().time() + within_s)
                connection.ask(method, path)
                may_be_sent = True
                answer = await connection.answer()
        except (OSError, AnswerError) as error:
            if isinstance(error, TooLargeError) and not patient:
                raise _unintelligible(str(error)) from error
            reason = _reason(error, within_s if may_be_sent else connect_s)
            if not (patient and may_be_sent and limit.expired()):
                self._note_away(reason)
            kind = DockerInterruptedError if may_be_sent else DockerUnreachableError
            raise kind(self.address, reason) from error
        self._outage.over()
        return answer

    def _note_away(self, reason: str) -> None:
        self._api = None
        self._outage.note(reason)


def parse_time(said: object) -> int | None:
    """A time in Docker's words (`2026-09-01T12:34:56.123456789Z`) in ms, rounded down; None for its "never" (year 1)
    and for what is no time."""
    try:
        since = datetime.fromisoformat(str(said)) - _EPOCH
    except (ValueError, TypeError):  # no time, or one without a zone
        return None
    return since // timedelta(milliseconds=1) if since > timedelta(0) else None


def _use_dockers_word(said: dict[str, Any], name: str) -> None:
    word = said.get(name)
    if isinstance(word, str) and word in _PODMANS_STATES:
        said[name] = _PODMANS_STATES[word]


def _server(address: str) -> Server:
    """Raises SettingsError."""
    scheme, _, rest = address.partition("://")
    if scheme == "unix" and rest.startswith("/") and "\0" not in rest:
        return Server("docker", rest)
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").encode("idna").decode()
        if scheme in _DEFAULT_PORTS and _HOST.fullmatch(host):
            port = parts.port or _DEFAULT_PORTS[scheme]
            authority = f"[{host.partition('%')[0]}]:{port}" if ":" in host else f"{host}:{port}"
            prefix = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
            return Server(authority, (host, port), prefix, is_tls=scheme == "https")
    except ValueError:
        pass  # the error below says it
    raise SettingsError("--docker-host / DOCKER_HOST", f"{address!r:.200} is neither unix:///path nor tcp://host:port")


def _api_for(said: dict[str, Any]) -> str:
    """The version to speak with an engine that says this of itself. Raises DockerApiError."""
    engine = _version_number(said.get("ApiVersion"))
    oldest = said.get("MinAPIVersion")
    if engine is None:
        raise _unintelligible(f"its /version names no ApiVersion ({said.get('ApiVersion')!r:.40})")
    if oldest and (_version_number(oldest) or (0, 0)) > NEWEST_API:
        raise DockerVersionError(
            HTTPStatus.BAD_GATEWAY,
            f"this Docker engine speaks API {oldest} and newer, Fleetcast speaks up to "
            f"{NEWEST_API[0]}.{NEWEST_API[1]}: a newer Fleetcast is needed",
            "docker-too-new",
        )
    if engine < OLDEST_API:
        raise DockerVersionError(
            HTTPStatus.BAD_GATEWAY,
            f"this Docker engine speaks API {engine[0]}.{engine[1]}, Fleetcast speaks {OLDEST_API[0]}.{OLDEST_API[1]} "
            "and newer: a newer engine is needed",
            "docker-too-old",
        )
    major, minor = min(engine, NEWEST_API)
    return f"/v{major}.{minor}"


def _version_number(said: object) -> tuple[int, int] | None:
    found = re.fullmatch(r"([0-9]{1,4})\.([0-9]{1,4})", str(said))
    return (int(found[1]), int(found[2])) if found else None


def _json(answer: Answer) -> Any:
    _refuse_error(answer)
    _refuse_encoding(answer.head)
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError) as error:
        raise _unintelligible(f"its answer is no JSON ({error!s:.100})") from error


def _json_object(answer: Answer) -> dict[str, Any]:
    found = _json(answer)
    if not isinstance(found, dict):
        raise _unintelligible("its answer is no JSON object")
    return found


def _refuse_error(answer: Answer) -> None:
    """Raises the engine's refusal as DockerApiError, in its own words."""
    head = answer.head
    if head.is_success:
        return
    message = ""
    if _encoding(head) is None:
        try:
            said = json.loads(answer.content)
            message = str(said["message"])
        except (ValueError, RecursionError, KeyError, TypeError):
            message = answer.content.decode(errors="replace").strip()[:300]  # a proxy's words, or none
    raise DockerApiError(head.status, message or f"HTTP {head.status} {head.reason}".strip())


def _refuse_encoding(head: Head) -> None:
    encoding = _encoding(head)
    if encoding is not None:
        raise _unintelligible(f"its answer is in {encoding:.40}, which was not asked for")


def _encoding(head: Head) -> str | None:
    said = head.headers.get("content-encoding", "").strip().lower()
    return said if said not in {"", "identity"} else None


def _unintelligible(problem: str) -> DockerApiError:
    return DockerApiError(HTTPStatus.BAD_GATEWAY, f"what answers is no Docker engine: {problem}")


def _reason(error: Exception, within_s: float) -> str:
    if isinstance(error, TimeoutError) and not error.args:  # the system's own say what timed out
        return f"no answer within {within_s:g} s"
    return str(error) or type(error).__name__
