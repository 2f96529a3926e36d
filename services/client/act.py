"""`fleetcast act`: one action, its acks as they come, and an honest answer about what came of it."""

import asyncio
import sys
import time
import uuid
from contextlib import aclosing
from typing import get_args

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.text import Text

from common.errors import SettingsError
from common.models import FINAL_STATUSES, ActionStatus, ActionVerb, ContainerRef, HostId
from common.protocol import ContainerAck, ContainerAction, Error
from common.settings import ClientSettings
from services.client.connection import Down, EdgeConnection, EdgeRefusedError, Received, Up, token_of
from services.client.terminal import first_done, one_line, until_signalled
from services.output import plain

_GRACE_S = 30.0
_ASK_EVERY_S = 2.0
_GRACEFUL: tuple[ActionVerb, ...] = ("stop", "restart")
STATUS_STYLES: dict[ActionStatus, str] = {
    "accepted": "cyan",
    "running": "yellow",
    "succeeded": "bold green",
    "unknown": "bold yellow",
}


async def run_act(
    settings: ClientSettings,
    verb: str,
    target: str,
    *,
    expires: int,
    timeout: int | None,
    as_json: bool,
    grace_s: float = _GRACE_S,
    ask_every_s: float = _ASK_EVERY_S,
) -> int:
    """Asks for the action and waits for its outcome: 0 succeeded, 1 anything else, 130 and 143 after signals.

    Raises SettingsError for wrong use, and EdgeRefusedError where the edge refused before anything was sent.
    """
    request = Request(parse_request(verb, target, expires, timeout), time.monotonic(), grace_s)
    connection = EdgeConnection(settings.url, token=token_of(settings))
    return await until_signalled(_act(connection, request, Report(verb, target, as_json), settings.url, ask_every_s))


def parse_request(verb: str, target: str, expires: int, timeout: int | None) -> ContainerAction:
    """What the command line asks for. Raises SettingsError that names the part that is wrong."""
    known: tuple[ActionVerb, ...] = get_args(ActionVerb)
    for action in known:
        if verb == action:
            break
    else:
        raise SettingsError("VERB", f"{plain(verb)!r:.40} is none of {', '.join(known)}")
    host, slash, name = target.rpartition("/")
    if slash:
        _check(TypeAdapter(HostId), host, "a host id has 1 to 64 of A-Z a-z 0-9 . _ -")
    _check(TypeAdapter(ContainerRef), name, "write HOST/CONTAINER, the container by name, id or beginning of its id")
    if not 1 <= expires <= 3600:
        raise SettingsError("--expires", f"must be 1 to 3600 seconds (it is {expires})")
    if timeout is not None and action not in _GRACEFUL:
        raise SettingsError("--timeout", f"is Docker's grace for {' and '.join(_GRACEFUL)}; {action} has none")
    if timeout is not None and not 0 <= timeout <= 3600:
        raise SettingsError("--timeout", f"must be 0 to 3600 seconds (it is {timeout})")
    return ContainerAction(
        type="container-action",
        request_id=uuid.uuid4().hex,
        host=host if slash else None,
        container_id=name,
        action=action,
        timeout_sec=timeout,
        expires_in_sec=expires,
    )


def _check(kind: TypeAdapter[str], text: str, rule: str) -> None:
    try:
        kind.validate_python(text)
    except ValidationError:
        raise SettingsError("TARGET", f"{plain(text)!r:.80}: {rule}") from None


class Request:
    """One action as its client knows it: what to ask now, and whether there is still something to wait for. Pure.

    A request that was acknowledged may be asked again at any time: the edge answers from its record. One that was not
    may be the first that reaches an edge, so it asks only for the time that is left, and after its deadline not at all:
    it must not begin later than the user was told.
    """

    def __init__(self, asked: ContainerAction, begun_s: float, grace_s: float) -> None:
        self._asked = asked
        self._deadline_s = begun_s + asked.expires_in_sec
        self._patience_s = grace_s + (asked.timeout_sec or 0)
        self._sent = False
        self.ack: ContainerAck | None = None
        self.error: Error | None = None

    @property
    def request_id(self) -> str:
        return self._asked.request_id

    @property
    def sent(self) -> bool:
        """It may have reached an edge."""
        return self._sent

    @property
    def settled(self) -> bool:
        return self.error is not None or (self.ack is not None and self.ack.status in FINAL_STATUSES)

    @property
    def gives_up_at_s(self) -> float:
        """When waiting ends: at the deadline while nothing was sent, after some grace where it may be under way."""
        return self._deadline_s + (self._patience_s if self._sent else 0)

    def message(self, now_s: float) -> ContainerAction | None:
        """What to send now, if anything; it counts as sent."""
        if self.settled:
            return None
        if self.ack is not None:
            # By what it was resolved to: the name may mean another container by now, the fleet may have grown.
            return self._asked.model_copy(update={"host": self.ack.host, "container_id": self.ack.container_id})
        left_s = self._deadline_s - now_s
        if left_s <= 0 or (self._sent and left_s < 1):
            return None
        self._sent = True
        return self._asked.model_copy(update={"expires_in_sec": max(1, round(left_s))})

    def take(self, message: ContainerAck | Error) -> bool:
        """True where the message is news about this action."""
        if self.settled or message.request_id not in (self.request_id, None):
            return False
        if isinstance(message, Error):
            # These pass, and what was acknowledged is told by acks alone; asking again goes on by itself.
            if message.code in ("unavailable", "rate-limited") or self.ack is not None:
                return False
            self.error = message
            return True
        news = self.ack is None or message.status != self.ack.status
        goes_back = self.ack is not None and self.ack.status == "running" and message.status == "accepted"
        if not news or goes_back:
            return False
        self.ack = message
        return True


async def _act(connection: EdgeConnection, request: Request, report: "Report", url: str, ask_every_s: float) -> int:
    why_down = ""

    async def listen() -> None:
        nonlocal why_down
        async with aclosing(connection.events()) as events:
            async for event in events:
                match event:
                    case Up():
                        why_down = ""
                        await ask()
                    case Down():
                        if not why_down:
                            report.note(f"no connection to {url} ({event.reason}): trying again")
                        why_down = event.reason
                    case Received(message=ContainerAck() | Error() as message) if request.take(message):
                        report.tell(message, event.raw)
                        if request.settled:
                            return

    async def ask() -> None:
        message = request.message(time.monotonic())
        if message is not None:
            await connection.send(message)

    async def ask_again() -> None:
        # Acks are a hint and may be lost; the answer to a repeated request comes from the action's record.
        while True:
            await asyncio.sleep(ask_every_s)
            if request.sent and not why_down:
                await ask()

    async def give_up() -> None:
        while True:
            left_s = request.gives_up_at_s - time.monotonic()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)

    try:
        await first_done(listen(), ask_again(), give_up())
    except EdgeRefusedError as refused:
        if not request.sent:
            raise
        report.note(str(refused))
    except asyncio.CancelledError:
        if request.sent:
            report.note(_unknown(request))
        raise
    if request.settled:
        return 0 if request.ack is not None and request.ack.status == "succeeded" else 1
    if request.sent:
        report.note(_unknown(request))
    else:
        report.note(f"not done: no edge was reached at {url} in time, so nothing was sent ({why_down or 'no answer'})")
    return 1


def _unknown(request: Request) -> str:
    known = f"the last word was {request.ack.status!r}" if request.ack else "no edge has acknowledged it"
    return f"the outcome is unknown: {known}. Request id {request.request_id}"


class Report:
    """What the user reads: the acks on one line of standard output, everything else on standard error."""

    def __init__(self, verb: str, target: str, as_json: bool) -> None:
        self._what = f"{verb} {target}"
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)
        self._line_open = False

    def tell(self, message: ContainerAck | Error, raw: str) -> None:
        if self._as_json:
            print(one_line(raw), flush=True)
        elif isinstance(message, Error):
            self._add(Text(f"refused: {plain(message.message)} ({message.code})", "bold red"), last=True)
        else:
            self._add(_describe(message), last=message.status in FINAL_STATUSES)

    def note(self, text: str) -> None:
        if self._line_open:
            self._console.print()
            self._line_open = False
        print(f"fleetcast: {text}", file=sys.stderr, flush=True)

    def _add(self, text: Text, last: bool) -> None:
        self._console.print(Text(" → " if self._line_open else f"{self._what}: "), text, sep="", end="")
        self._line_open = not last
        if last:
            self._console.print()


def _describe(ack: ContainerAck) -> Text:
    text = Text(ack.status, STATUS_STYLES.get(ack.status, "bold red"))
    if ack.status == "succeeded" and ack.duration_ms is not None:
        took = f"{ack.duration_ms} ms" if ack.duration_ms < 1000 else f"{ack.duration_ms / 1000:.1f} s"
        text.append(f" in {took}{' (it was so already)' if ack.noop else ''}", "not bold default")
    if ack.error:
        text.append(f": {plain(ack.error)}", "not bold default")
    return text
