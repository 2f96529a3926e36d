"""Entries of the audit as a settlement writes them, under ids that the test chooses."""

from collections.abc import Mapping
from typing import Any

from common.bus import Bus
from common.models import ActionRecord
from tests.samples import ID_A


def audited(host: str, request_id: str, **fields: Any) -> ActionRecord:
    known: dict[str, Any] = {
        "container_id": ID_A,
        "name": "web",
        "action": "stop",
        "actor": "ann",
        "edge_id": "edge-1",
        "deadline": 9,
        "status": "succeeded",
        "at": 5,
    }
    return ActionRecord(host=host, request_id=request_id, **{**known, **fields})


async def write_audit(bus: Bus, host: str, *entries: tuple[str, ActionRecord | Mapping[str, str]]) -> None:
    """(id, entry), oldest first."""
    with bus.reaching() as redis:
        pipeline = redis.pipeline(transaction=False)
        for entry_id, entry in entries:
            fields = entry.model_dump(exclude_none=True) if isinstance(entry, ActionRecord) else entry
            pipeline.xadd(bus.keys.audit(host), {name: str(value) for name, value in fields.items()}, id=entry_id)
        await pipeline.execute()
