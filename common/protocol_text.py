"""docs/PROTOCOL.md, made from the protocol's models so that the two cannot differ (`fleetcast schema --markdown`)."""

from collections.abc import Iterable
from typing import Any, get_args

from pydantic import TypeAdapter

from common.errors import ErrorCode
from common.models import WireModel
from common.protocol import PROTOCOL_VERSION, ClientMessage, ServerMessage, json_schema

_HEAD = f"""# The WebSocket protocol, version {PROTOCOL_VERSION}

<!-- Made by `fleetcast schema --markdown`: change common/protocol.py and common/models.py, then make it again. -->

`/api/ws`: JSON text frames, one message a frame, camelCase, told apart by `type`. The same as JSON Schema: `fleetcast
schema`, or `GET /api/schema` of an edge. A plain `GET /api/ws` answers with the edge's status.

- Times are integers, milliseconds since the epoch, UTC, on Redis' clock. Units stand last in a name.
- A field marked *optional* is left out where it has no value; every other field is always there, `null` where unknown.
- Host ids have 1 to 64 of `A-Z a-z 0-9 . _ -`; request ids 1 to 128 printable ASCII characters without spaces.
- A subscriber gets each matching host's last state at once, then every change. A host that nobody has seen yet is no
  error: its state comes when it does. Subscribing twice is one subscription.
- Later versions add fields and messages: a client ignores those that it does not know. A client's own messages are
  read strictly: a field too many is an error.
- Of states (`metrics`, `containers`, `hosts`) only the newest counts: a client that is slow gets fewer of them, not
  later ones. `container-ack` and `error` are never left out.
- `epoch` names one run of a collector and is higher for every later run; `seq` counts up by one within it. An edge
  never sends an older state after a newer one; a client that has changed edges drops what is older by (`epoch`, `seq`).
- A frame that cannot be served gets an `error` and costs nothing else: the connection stays. The 20th within a minute
  closes it with 1008; a frame over the edge's limit (64 KiB by default) closes it with 1009, one that is not UTF-8
  with 1007.
- Where an edge wants sign-in, a program sends `Authorization: Bearer <token>` with the upgrade, and a browser offers
  the subprotocols `fleetcast.v1` and `bearer.<token>`, of which the edge agrees on the first. Never a token in a URL.
  HTTP routes take the header; their errors are `error` messages with a fitting status.
- Acks of an action go to every connection that has sent its `requestId`, on any edge.
- `usage` and `events` may be subscribed to; nothing is sent on them yet.
"""

_CODES = """
## Close codes

| code | meaning | client does |
|---|---|---|
| 1008 | broke the protocol repeatedly | stops |
| 1009 | frame too large | stops |
| 1012 | this edge is restarting | reconnects |
| 1013 | no room here now | reconnects with backoff |
| 4401 | not signed in, or the sign-in has expired; the reason says which | signs in |
| 4403 | not allowed | stops |
| 4408 | silent for too long: two pings of the WebSocket protocol unanswered | reconnects |
| 4409 | could not keep up: too many acks and errors waited to be read | reconnects |

An upgrade from a page of another origin is refused with HTTP 403, and by an edge without sign-in one under a name that
is not this machine's too.
"""

_ERRORS: dict[ErrorCode, str] = {
    "invalid-message": "the frame is no message of this protocol; `message` names the field",
    "unknown-channel": "no such channel",
    "unknown-host": "the action names no host that has been seen, or none while the fleet has several",
    "unknown-container": "no container of this host has this id, id prefix or name",
    "ambiguous-container": "several containers have this id prefix",
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
    messages = {model.__name__ for model in (*client, *server)}
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
            if name not in messages and definition.get("type") == "object"
        ),
        "## Error codes\n\n| code | meaning |\n|---|---|",
        *(f"| `{code}` | {_ERRORS[code]} |" for code in get_args(ErrorCode)),
        _CODES,
    ]
    return "\n".join(part.rstrip("\n") if part.startswith("|") else part for part in parts).rstrip("\n") + "\n"


def _members(union: Any) -> list[type[WireModel]]:
    """The models of a discriminated union, in their order."""
    schema = TypeAdapter(union).json_schema()
    by_name: dict[str, type[WireModel]] = {model.__name__: model for model in WireModel.__subclasses__()}
    return [by_name[ref["$ref"].rpartition("/")[2]] for ref in schema["oneOf"]]


def _message(model: type[WireModel], definitions: dict[str, Any]) -> str:
    definition = definitions[model.__name__]
    kind = definition["properties"]["type"]["const"]
    return _section(f"### `{kind}`", definition)


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
        return f"[{name}](#{name.lower()})"
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
        return f"object of {_type(field['additionalProperties'])}s"
    return _scalar(field)


def _scalar(field: dict[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if high is not None:
        return f"{field['type']}, {low} to {high}"
    return str(field["type"]) if not low else f"{field['type']}, at least {low}"


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
