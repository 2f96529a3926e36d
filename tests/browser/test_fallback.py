"""Where no WebSocket gets through to a real edge: the page takes what does, says so, and can do all the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from playwright.async_api import expect

from common.bus import Bus
from services.embedded import EmbeddedServer
from tests.browser.pages import Page, chromium, connection, fact, go, opened, row, tile
from tests.edges import FakeHost, fake_host, running_edge
from tests.samples import ID_A, container
from tests.support import stop_listening


@asynccontextmanager
async def without(port: int, *refused: bytes) -> AsyncIterator[str]:
    """A way to the edge on which requests with any of this in their heads come to nothing."""
    pipes: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, refuses: bool) -> None:
        try:
            while chunk := await reader.read(65_536):
                if refuses and any(word in chunk.lower() for word in refused):
                    break
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        both = {asyncio.create_task(pipe(reader, back, True)), asyncio.create_task(pipe(there, writer, False))}
        pipes.update(both)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        writer.close()
        back.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        await stop_listening(server)
        for task in pipes:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*pipes, return_exceptions=True)


@asynccontextmanager
async def page_without(valkey: EmbeddedServer, bus: Bus, *refused: bytes) -> AsyncIterator[tuple[Page, FakeHost]]:
    async with running_edge(valkey.url) as edge, fake_host(bus) as host, without(edge.port, *refused) as url:
        await host.publish_metrics(12.0)
        await host.publish_containers(container("web", ID_A))
        async with chromium() as browser, opened(browser, url) as page:
            yield page, host


@pytest.mark.parametrize(
    ("refused", "name"),
    [((b"upgrade: websocket",), "server-sent events"), ((b"upgrade: websocket", b"/api/events?"), "polling")],
)
async def test_the_page_takes_what_gets_through_and_says_so(
    valkey: EmbeddedServer, bus: Bus, refused: tuple[bytes, ...], name: str
) -> None:
    async with page_without(valkey, bus, *refused) as (page, host):
        await expect(fact(tile(page), "CPU")).to_contain_text("12 %")
        await expect(connection(page)).to_contain_text("Live")
        says = page.get_by_text(f"over {name}: WebSocket does not get through")
        await expect(says).to_be_visible()
        await host.publish_metrics(57.0)
        await expect(fact(tile(page), "CPU")).to_contain_text("57 %")
        await go(page, "Containers")
        await expect(row(page, "web")).to_contain_text("up")
        await connection(page).click()
        details = page.get_by_role("dialog", name="Connection")
        await expect(details.get_by_role("definition").get_by_text(name, exact=True)).to_be_visible()
