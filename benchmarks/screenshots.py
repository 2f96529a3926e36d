"""Takes the pictures of the README from a simulated fleet: `scripts/screenshots` (two minutes).

The fleet is made from a fixed seed, with a day of history; its values are of the moment.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from benchmarks.command import run_command, say
from benchmarks.dashboard_parts.stage import StageError, browser, simulated_fleet
from benchmarks.fanout_parts.machine import ROOT
from common.errors import FleetcastError

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 375, "height": 812}
SETTLE_MS = 4_000
"""Until sparklines and charts have been filled and have moved a little."""


class Picture(NamedTuple):
    name: str
    path: str
    shown: str
    """A selector of what has to be there."""
    scheme: str = "light"
    size: dict[str, int] = DESKTOP


_HOST = "/hosts/sim-0003"
PICTURES: Sequence[Picture] = (
    Picture("fleet-light", "/", "main a"),
    Picture("fleet-dark", "/", "main a", "dark"),
    Picture("host-light", _HOST, "canvas"),
    Picture("host-dark", _HOST, "canvas", "dark"),
    Picture("containers-light", "/containers", "main [role=row], main table"),
    Picture("containers-dark", "/containers", "main [role=row], main table", "dark"),
    Picture("fleet-phone", "/", "main a", "dark", PHONE),
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help="Takes the pictures of the README from a simulated fleet.")
def run(
    directory: Annotated[Path, typer.Option(help="Where to put them.")] = ROOT / "docs" / "pictures",
    only: Annotated[str, typer.Option(help="Those whose names begin so.")] = "",
) -> None:
    async def play() -> int:
        directory.mkdir(parents=True, exist_ok=True)
        say("starting 24 hosts with a past")
        async with (
            simulated_fleet(24, 16, "--history", "--past", "1440", "--incident-every", "120") as fleet,
            browser(["--force-device-scale-factor=1"]) as chromium,
        ):
            for picture in PICTURES:
                if picture.name.startswith(only):
                    await take(chromium, fleet.url, picture, directory)
        return 0

    run_command("benchmarks.screenshots", play(), (FleetcastError, StageError))


async def take(chromium: Any, url: str, picture: Picture, directory: Path) -> None:
    context = await chromium.new_context(viewport=picture.size, color_scheme=picture.scheme)
    page = await context.new_page()
    await page.goto(url + picture.path)
    await page.wait_for_selector(picture.shown, timeout=30_000)
    await page.wait_for_timeout(SETTLE_MS)
    await page.screenshot(path=directory / f"{picture.name}.png")
    await context.close()
    say(f"{picture.name}.png")


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.screenshots")
