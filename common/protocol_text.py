"""docs/PROTOCOL.md, made from the protocol's models so that the two cannot differ (`fleetcast schema --markdown`)."""

from collections.abc import Iterable
from functools import cache
from typing import Any, get_args

from pydantic import TypeAdapter

from common.errors import ErrorCode
from common.models import WireModel
from common.protocol import PROTOCOL_VERSION, ClientMessage, ServerMessage
from common.schema import HTTP_BODIES, json_schema
from common.settings import EdgeSettings

_WINDOW_MS = EdgeSettings.model_fields["window_ms"].default

_HEAD = f"""# The WebSocket protocol, version {PROTOCOL_VERSION}

<!-- Made by `fleetcast schema --markdown`: change common/protocol.py and common/models.py, then make it again. -->

`/api/ws`: JSON text frames, one message a frame, camelCase, told apart by `type`. The same as JSON Schema: `fleetcast
schema`, or `GET /api/schema` of an edge. A plain `GET /api/ws` answers with the edge's status. Where no WebSocket gets
through, the same feed comes as [server-sent events](#server-sent-events).

- Times are integers, milliseconds since the epoch, UTC, on Redis' clock, which each process knows to within a round
  trip: by so much what came later may seem earlier. Units stand last in a name.
- A field marked *optional* is left out where it has no value; every other field is always there, `null` where unknown.
- Host ids have 1 to 64 of `A-Z a-z 0-9 . _ -`; request ids 1 to 128 printable ASCII characters without spaces.
- A subscriber gets each matching host's last state at once, then every change. A host that nobody has seen yet is no
  error: its state comes when it does. Subscribing twice is one subscription.
- Later versions add fields and messages: a client ignores those that it does not know. A client's own messages are
  read strictly: a field too many is an error.
- Of states (`metrics`, `containers`, `usage`, `processes`, `hosts`) only the newest counts: a client that is slow gets
  fewer of them, not later ones. `event`, `container-ack` and `error` come in their order and are never left out: a
  client that lacks too many is closed with 4409.
- A subscriber to `events` gets those from then on; `GET /api/events/last` has the last ones. An edge that was cut off
  from Redis sends what it has missed, as far as the last 256 of a host go.
- Hosts are sampled every second while somebody watches them, every ten seconds else, or as they are set; `processes`
  only while somebody does. The first subscriber gets a fresh sample at once.
- `epoch` names one run of a collector and is higher for every later run; `seq` counts up by one within it. An edge
  never sends an older state after a newer one; a client that has changed edges drops what is older by (`epoch`, `seq`).
- Under load an edge sends what has changed at the end of a window ({_WINDOW_MS} ms by default), and of each host and
  kind only the newest: `seq` skips then, and nothing is missing.
- Where a client offers `permessage-deflate`, messages may be compressed, each on its own (no context takeover either
  way); short ones are not.
- A frame that cannot be served gets an `error` and costs nothing else: the connection stays. The 20th within a minute
  closes it with 1008, and one that is not UTF-8 closes it with 1007. [Limits](#limits) says what else is too much.
- Where an edge wants sign-in, a program sends `Authorization: Bearer <token>` with the upgrade, and a browser offers
  the subprotocols `fleetcast.v1` and `bearer.<token>`, of which the edge agrees on the first. Never a token in a URL.
  HTTP routes take the header; their errors are `error` messages with a fitting status.
- Acks of an action go to every connection that has sent its `requestId`, on any edge.
"""

_CODES = """
## Close codes

| code | meaning | client does |
|---|---|---|
| 1008 | broke the protocol repeatedly | stops |
| 1009 | frame too large | stops |
| 1012 | this edge is restarting; the reason says when to come back: `{"retryAfterMs": 417}` | reconnects after that |
| 1013 | no room here now, in all or for one more from this address; the reason says which | reconnects with backoff |
| 4401 | not signed in, or the sign-in has expired; the reason says which | signs in |
| 4403 | not allowed | stops |
| 4408 | silent for too long: not even the WebSocket protocol's pings were answered | reconnects |
| 4409 | could not keep up: too many events, acks or errors waited to be read | reconnects |

`retryAfterMs` is drawn for each client, from 0 to 1000, and takes the place of the client's backoff, which does not
grow by it. A client takes an integer from 0 to 60000 and nothing else; with any other reason its backoff holds. Others
of the edge's clients are told a little earlier or later, whoever waits for an ack last.

An upgrade from a page of another origin is refused with HTTP 403, and by an edge without sign-in one under a name that
is not this machine's too.

## Not now: HTTP 503

A new WebSocket or event stream is answered with 503 and `Retry-After`, in seconds, while the edge is restarting, and
where more clients come at once than it takes. A client comes back no sooner, and adds its backoff and some jitter of
its own, because all the others have been told the same. A page is not shown the answer, only that there is no
connection (1006): its backoff has to do. A load balancer should try another edge first: see `deploy/haproxy.cfg`.

The other routes answer 503 with an `error` message, `unavailable`, while Redis is away.
"""

_ACTIONS = """## Actions

An action happens once or not at all, before its deadline or not at all, on the container that was seen or not at all.

- `requestId` is the idempotency key, for 24 hours. Whoever sends it again, over whichever edge, starts nothing new: it
  gets the present state, then the rest of the acks. With `targets`, `requestId` and the target's index are the key.
- A name or an id prefix is resolved to a full id when the action is accepted; it goes to that container, and never to
  another one of the same name.
- The deadline is `expiresInSec` after it was accepted, on Redis' clock: what the executor has not begun by then it does
  not begin. `running` says that Docker is being asked just now.
- On one container actions go one after the other, in order of arrival; others are not held up.

| status | means | Docker was asked |
|---|---|---|
| `accepted` | it waits for its turn on its host | no |
| `running` | it is being done | yes, or just about to be |
| `succeeded` | it was done; with `noop`, it was so already | yes |
| `failed` | Docker refused; `error` has Docker's words | yes |
| `expired` | it was not begun before its deadline | no |
| `rejected` | it may not be done, or the container is not as expected: `error` says what was found | no |
| `unknown` | nobody can tell whether it was done; `error` says what was seen. It is not repeated | perhaps |

`expired` comes from an edge where no executor takes the action: a second or two after the deadline.

### Over HTTP

- `POST /api/hosts/{host}/containers/{id}/actions` with `action`, and optionally `requestId`, `timeoutSec`,
  `expiresInSec` and `expect`, as JSON: answers 202 with the action's record and its `Location`; 200 where a
  repeated `requestId` finds it settled.
- `GET /api/actions/{host}/{requestId}`: the record; `?target=3` for one of several. 404 `unknown-action` after a day.
- `GET /api/audit?host=&actor=&container=&before=&limit=`, for admins: `{"entries": [...], "before": ...}`, the records
  of settled actions, newest first. `before` is what to ask for the next page with; `null` where that was all. A page
  may be longer than `limit` by what was settled in its last millisecond, and shorter where few of many entries match.
"""

_STATE = """## State over HTTP

Where no stream gets through, or once is enough. What is asked for counts as watched for 15 s.

- `GET /api/hosts`: a `hosts` message.
- `GET /api/hosts/{host}/metrics`, `/containers`, `/usage`: the last message of the kind, as a subscriber would get it;
  404 `unknown-host` where there is none. `/processes` waits for a fresh one, up to 5 s, then 503.
- `GET /api/hosts/{host}/history?minutes=15&kind=metrics|usage&container=&points=`: columns for charts, aligned
  with `sampledAt`, `null` where there is nothing. `minutes` from 1 to 1440, `kind` both where it is left out,
  `container` an id or the beginning of one. Up to 15 minutes every sample, beyond that the mean of each minute, with
  `sampledAt` at its beginning, and the samples since the last whole one. Containers go by the first 12 characters of
  their ids; `usage.omitted` says how many did not fit in. `points`, from 10 to 1000, is the most rows of a kind: where
  there are more, those of equal spans of time make one, the mean of what was known, with `sampledAt` of the last of
  them; a span without any has no row. An edge makes two histories at a time: who wants many asks for a few at once.
- `GET /api/hosts/{host}/events?limit=100`: the last events, at most 256, oldest first, as `{"host", "events": [...]}`.
- `GET /api/events/last?limit=100&host=`: the last events of all hosts, at most 500, oldest first, as
  `{"events": [...]}`; of each of several hosts 50 at most.
"""

_EVENTS = """## Server-sent events

`GET /api/events?channels=hosts,metrics:web-1`: what a subscriber to these channels gets, one message a `data:` line,
beginning with `connected`; heartbeats too. It goes one way: no actions, no acks, and another set of channels is another
stream.

- Where the edge wants sign-in, with `Authorization: Bearer <token>`. A browser's `EventSource` cannot send that; a page
  reads the stream with `fetch`.
- `retry:` comes first. When the edge restarts, another `retry:`, drawn for each client from 0 to 1000 ms, ends the
  stream; an end without one is a lost connection.
- There are no ids, and `Last-Event-ID` is ignored on purpose: whoever comes back gets the newest of everything, and
  nothing that it has superseded meanwhile. `GET /api/events/last` has the events that it has missed.
- What is refused gets a status instead of a close code: 401, 403, 404 (no such channel), 413, 422 with an `error`
  message, and 503 as above, where there is no room too. `EventSource` gives up on any of them: make a new one after a
  while.
"""

_LIMITS = (
    ("max_clients", "clients of an edge", "1013; an event stream: HTTP 503"),
    ("max_clients_per_address", "of these, from one address other than loopback", "1013; an event stream: HTTP 503"),
    ("max_handshakes_per_sec", "new clients", "HTTP 503, `Retry-After`"),
    ("max_subscriptions", "subscriptions of a client", "error `too-large`, nothing of it is subscribed"),
    (
        "max_messages_per_sec",
        "messages of a client, 10 s' worth at once",
        "error `rate-limited`, not read; 1008 for who keeps at it",
    ),
    (
        "max_actions_per_sec",
        "actions of a client, 10 s' worth at once, each target counted",
        "error `rate-limited`, none of the message is begun",
    ),
    ("max_message_bytes", "one message of a client", "1009"),
    ("max_pending_bytes", "acks and errors that wait for a client to read them", "4409"),
    ("slow_client_sec", "time in which a client reads nothing", "cut off, without a close code"),
    ("silent_client_sec", "time in which nothing is heard of a client, no pong either", "4408"),
)
"""Fields of EdgeSettings, what they bound, and what comes beyond it."""

_ERRORS: dict[ErrorCode, str] = {
    "invalid-message": "the frame is no message of this protocol; `message` names the field",
    "unknown-channel": "no such channel",
    "unknown-host": "the action names no host that has been seen, or none while the fleet has several",
    "unknown-container": "no container of this host has this id, id prefix or name",
    "ambiguous-container": "several containers have this id prefix",
    "unknown-action": "no action of this host has this `requestId`, or it was more than a day ago",
    "forbidden": "the role may not do this",
    "unauthenticated": "not signed in",
    "rate-limited": "too much at once; try again",
    "too-large": "more than may be asked for in one message",
    "unavailable": "Redis is away; an action may or may not have been accepted: send it again with its `requestId`",
}


def protocol_markdown() -> str:
    """The whole document."""
    definitions = json_schema()["$defs"]
    client, server = _members(ClientMessage), _members(ServerMessage)
    bodies = {body.__name__ for body in HTTP_BODIES} | {"MetricsColumns", "UsageColumns", "ContainerColumns"}
    parts = [
        _HEAD,
        "## Client to server\n",
        *(_message(model, definitions) for model in client),
        "## Server to client\n",
        *(_message(model, definitions) for model in server),
        "## What they carry\n",
        *(
            _section(f"### {name}", definition)
            for name, definition in sorted(definitions.items())
            if name not in _kinds() and name not in bodies and definition.get("type") == "object"
        ),
        "## Error codes\n\n| code | meaning |\n|---|---|",
        *(f"| `{code}` | {_ERRORS[code]} |" for code in get_args(ErrorCode)),
        _CODES,
        _ACTIONS,
        _STATE,
        _EVENTS,
        "## Bodies over HTTP\n\nWhat the routes take and answer beside the messages above.\n",
        *(_section(f"### {name}", definitions[name]) for name in sorted(bodies)),
        _limits(),
    ]
    return "\n".join(part.rstrip("\n") if part.startswith("|") else part for part in parts).rstrip("\n") + "\n"


def _limits() -> str:
    return "\n".join(
        [
            "## Limits\n\nSettings of each edge, with their defaults.\n",
            "| at most | default | setting | beyond it |\n|---|---|---|---|",
            *(
                f"| {what} | {_amount(field)} | `{EdgeSettings.variable(field)}` | {beyond} |"
                for field, what, beyond in _LIMITS
            ),
        ]
    )


def _amount(field: str) -> str:
    """The default of a setting, in the unit that its name ends in."""
    value = EdgeSettings.model_fields[field].default
    if field.endswith("_bytes"):
        return f"{value // 1024} KiB" if value < 1024 * 1024 else f"{value // (1024 * 1024)} MiB"
    if field.endswith("_per_sec"):
        return f"{value:,} a second"
    return f"{value:g} s" if field.endswith("_sec") else f"{value:,}"


def _members(union: Any) -> list[type[WireModel]]:
    """The models of a discriminated union, in their order."""
    schema = TypeAdapter(union).json_schema()
    by_name: dict[str, type[WireModel]] = {model.__name__: model for model in WireModel.__subclasses__()}
    return [by_name[ref["$ref"].rpartition("/")[2]] for ref in schema["oneOf"]]


@cache
def _kinds() -> dict[str, str]:
    """The messages' types, by their models' names."""
    messages = (*_members(ClientMessage), *_members(ServerMessage))
    return {model.__name__: get_args(model.model_fields["type"].annotation)[0] for model in messages}


def _message(model: type[WireModel], definitions: dict[str, Any]) -> str:
    name = model.__name__
    return _section(f"### `{_kinds()[name]}`", definitions[name])


def _section(heading: str, definition: dict[str, Any]) -> str:
    rows = [
        f"| `{name}` | {_type(field)} | {_meaning(name, field, definition)} |"
        for name, field in definition["properties"].items()
    ]
    about = f"\n{definition['description']}\n" if "description" in definition else ""
    return "\n".join([heading, about, "| field | type | |", "|---|---|---|", *rows, ""])


def _meaning(name: str, field: dict[str, Any], definition: dict[str, Any]) -> str:
    said = " ".join(field.get("description", "").split())
    if name not in definition.get("required", ()):
        default = field.get("default")
        optional = "*optional*" if default is None else f"*optional*, default {default}"
        said = f"{optional}; {said.removeprefix('Optional: ')}" if said else optional
    return said


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{_kinds().get(name, name.lower())})"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(_unique(_type(choice) for choice in field["anyOf"]))
    if field.get("type") == "array":
        if "prefixItems" in field:
            return f"list of {len(field['prefixItems'])} {_type(field['prefixItems'][0])}s"
        return f"list of {_type(field['items'])}"
    if field.get("type") == "object":
        values = _type(field["additionalProperties"])
        return f"object of ({values})" if " " in values else f"object of {values}s"
    return _scalar(field)


def _scalar(field: dict[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if high is not None:
        return f"{field['type']}, {low} to {high}"
    return str(field["type"]) if not low else f"{field['type']}, at least {low}"


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
