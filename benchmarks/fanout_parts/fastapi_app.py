"""The server that one writes first: FastAPI, redis-py, and a loop that awaits each client's send in turn.

REDIS_URL=... REDIS_CHANNEL=... uvicorn benchmarks.fanout_parts.fastapi_app:app
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from redis.asyncio import Redis

clients: set[WebSocket] = set()


async def relay(redis: Redis) -> None:
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(os.environ["REDIS_CHANNEL"])
        async for message in pubsub.listen():
            if message["type"] == "message":
                text = message["data"].decode()
                for websocket in list(clients):
                    try:
                        await websocket.send_text(text)
                    except (WebSocketDisconnect, RuntimeError):
                        clients.discard(websocket)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        relaying = asyncio.create_task(relay(redis))
        yield
        relaying.cancel()
        await asyncio.wait([relaying])


app = FastAPI(lifespan=lifespan)


@app.websocket("/ws")
async def serve(websocket: WebSocket) -> None:
    await websocket.accept()
    clients.add(websocket)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        pass
    finally:
        clients.discard(websocket)
