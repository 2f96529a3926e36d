"""Debian's Chromium, driven by Playwright; tests that need it skip where it is not installed."""

import pytest

from benchmarks.dashboard_parts.chromium import CHROMIUM
from services.edge.page import STATIC
from tests.browser.pages import browser, edge, page

__all__ = ["browser", "edge", "page"]  # fixtures


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        why = "no chromium on the path: apt-get install chromium"
    elif not (STATIC / "dashboard" / "index.html").is_file():
        why = "the dashboard is not built: scripts/dashboard build"
    else:
        return
    for item in items:
        if "tests/browser/" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason=why))
