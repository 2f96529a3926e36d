"""Drives a real executor in tests: signs and submits as an edge does, and waits for outcomes."""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from common.actions import Actions
from common.bus import Bus
from common.models import FINAL_STATUSES, ActionOrder, ActionRecord, ActionVerb
from common.setting_kinds import VERBS
from common.settings import ExecutorSettings
from common.signing import Signer
from services.executor.worker import run_executor
from tests.conftest import docker
from tests.rosters import faults
from tests.support import PATIENCE_S, eventually

HOST = "test-host"
DOCKER = "unix:///var/run/docker.sock"


def key_pair() -> tuple[Signer, str]:
    """An edge's signer, and the key by which an executor knows it."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Signer(private), base64.b64encode(public).decode()


def private_line(signer: Signer) -> str:
    """The private key as an edge's setting takes it."""
    der = signer._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return base64.b64encode(der).decode()


SIGNER, VERIFY_KEY = key_pair()


class Driver:
    """The edge's side of one host's actions."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.actions = Actions(bus)

    async def order(
        self, container: str, verb: ActionVerb, *, request_id: str | None = None, expires_s: float = 30, **fields: Any
    ) -> ActionOrder:
        """An order for a container, by its name or id."""
        await self.bus.sync_clock()
        container_id = container if len(container) == 64 else await docker("inspect", "-f", "{{.Id}}", container)
        return ActionOrder(
            **{
                "request_id": request_id or uuid.uuid4().hex,
                "host": HOST,
                "container_id": container_id,
                "action": verb,
                "actor": "ops",
                "edge_id": "edge-1",
                "deadline": self.bus.clock.now_ms() + round(expires_s * 1000),
                **fields,
            }
        )

    async def submit(self, container: str, verb: ActionVerb, **fields: Any) -> ActionOrder:
        order = await self.order(container, verb, **fields)
        await self.put(order)
        return order

    async def put(self, order: ActionOrder) -> ActionRecord:
        """Submits an order, signed."""
        return await self.actions.submit(order, SIGNER.sign(order.model_dump_json().encode()))

    async def act(self, container: str, verb: ActionVerb, **fields: Any) -> ActionRecord:
        """The final record of a new action."""
        return await self.outcome(await self.submit(container, verb, **fields))

    async def outcome(self, order: ActionOrder, within_s: float = PATIENCE_S) -> ActionRecord:
        async def final() -> ActionRecord | None:
            record = await self.actions.read(order.key)
            return record if record is not None and record.status in FINAL_STATUSES else None

        found: ActionRecord = await eventually(final, within_s, what=f"the outcome of {order.action}")
        return found

    async def reaches(self, order: ActionOrder, status: str) -> None:
        async def reached() -> bool:
            record = await self.actions.read(order.key)
            return record is not None and record.status == status

        await eventually(reached, what=f"{order.action} {status}")

    async def add_entry(self, fields: dict[Any, Any]) -> None:
        with self.bus.reaching() as redis:
            await redis.xadd(self.bus.keys.actions(HOST), fields)

    async def left_in_stream(self) -> int:
        with self.bus.reaching() as redis:
            return int(await redis.xlen(self.bus.keys.actions(HOST)))

    async def take_as_dead_executor(self) -> str:
        """Takes the next entry as an executor does that dies right then, and returns its id."""
        stream = self.bus.keys.actions(HOST)
        with self.bus.reaching() as redis:
            if not await redis.exists(stream) or not await redis.xinfo_groups(stream):
                await redis.xgroup_create(stream, "executor", "0", mkstream=True)
            [[_, [(entry_id, _)]]] = await redis.xreadgroup("executor", "executor", {stream: ">"}, count=1)
        return str(entry_id.decode())

    async def audit(self) -> list[dict[str, Any]]:
        with self.bus.reaching() as redis:
            entries = await redis.xrange(self.bus.keys.audit(HOST))
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]

    async def link(self) -> str | None:
        """The executor's fault in the roster."""
        return (await faults(self.bus, "executor")).get(HOST)

    @asynccontextmanager
    async def acks(self) -> AsyncIterator[list[dict[str, Any]]]:
        """What the acks channel carries meanwhile, in a list that grows."""
        heard: list[dict[str, Any]] = []
        listening = asyncio.Event()
        pubsub = self.bus.pubsub()

        async def listen() -> None:
            await pubsub.ssubscribe(self.bus.keys.acks(HOST))
            while True:
                message = await pubsub.get_message(timeout=0.2)
                if message and message["type"] == "ssubscribe":
                    listening.set()
                elif message:
                    heard.append(json.loads(message["data"]))

        task = asyncio.create_task(listen())
        try:
            await asyncio.wait_for(listening.wait(), PATIENCE_S)
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await pubsub.aclose()


@asynccontextmanager
async def executor(url: str, docker_host: str = DOCKER, **changes: Any) -> AsyncIterator["asyncio.Task[None]"]:
    """An executor as `fleetcast executor` runs it, which allows every verb; ended as by SIGTERM."""
    settings = ExecutorSettings(
        **{
            "redis_url": url,
            "host_id": HOST,
            "docker_host": docker_host,
            "allow_actions": ",".join(VERBS),
            "action_verify_key": VERIFY_KEY,
            **changes,
        }
    )
    task = asyncio.create_task(run_executor(settings))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def state(name: str) -> str:
    return await docker("inspect", "-f", "{{.State.Status}}", name)


async def started_at(name: str) -> str:
    return await docker("inspect", "-f", "{{.State.StartedAt}}", name)
