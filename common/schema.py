"""The contract as JSON Schema: `fleetcast schema`, `GET /api/schema`, and what the TypeScript client's types are made
from."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import TypeAdapter

from common.http_models import ActionRequest, AuditPage, EdgeStatus, History, HostEvents, LastEvents
from common.models import ActionRecord
from common.protocol import PROTOCOL_VERSION, ClientMessage, ServerMessage

HTTP_BODIES = (ActionRequest, ActionRecord, AuditPage, EdgeStatus, History, HostEvents, LastEvents)


def json_schema() -> dict[str, Any]:
    """2020-12. Both directions of the WebSocket, with `ClientMessage` and `ServerMessage` on top, and beside them in
    `$defs` what the HTTP routes take and answer."""
    sent = {body.__name__: body for body in HTTP_BODIES if body is not ActionRequest}
    from_client = _definitions({"ClientMessage": ClientMessage, "ActionRequest": ActionRequest}, "validation")
    from_server = _definitions({"ServerMessage": ServerMessage, **sent}, "serialization")
    for definition in from_client.values():
        fixed = [name for name, field in definition.get("properties", {}).items() if "const" in field]
        definition["required"] = sorted({*definition.get("required", ()), *fixed})
    for definition in from_server.values():
        _as_sent(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Fleetcast protocol",
        "description": f"Version {PROTOCOL_VERSION}. On the WebSocket one JSON text frame a message.",
        "$defs": {**from_server, **from_client},
        "oneOf": [{"$ref": "#/$defs/ClientMessage"}, {"$ref": "#/$defs/ServerMessage"}],
    }


def _definitions(types: Mapping[str, Any], mode: Literal["validation", "serialization"]) -> dict[str, Any]:
    """Of these and all that they are made of, by name."""
    adapters = [(name, mode, TypeAdapter(found)) for name, found in types.items()]
    schemas, together = TypeAdapter.json_schemas(adapters, ref_template="#/$defs/{model}")
    unions = {name: schema for (name, _), schema in schemas.items() if "oneOf" in schema}
    return {**together["$defs"], **unions}


def _as_sent(definition: dict[str, Any]) -> None:
    """What has a default is sent all the same, but for what is None: that is left out instead."""
    required = []
    for name, field in definition.get("properties", {}).items():
        if field.get("default", ...) is not None:
            required.append(name)
        else:
            _without_null(field)
    if required:
        definition["required"] = sorted(required)


def _without_null(field: dict[str, Any]) -> None:
    del field["default"]
    choices = [choice for choice in field.pop("anyOf") if choice != {"type": "null"}]
    if len(choices) == 1:
        field.update(choices[0])
    else:
        field["anyOf"] = choices
