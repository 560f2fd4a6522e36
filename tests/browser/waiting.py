"""Waiting for something in the page by asking again and again: its policy forbids the polling of Playwright itself."""

from __future__ import annotations

import time
from typing import Any

from playwright.sync_api import Page

PATIENCE = 60.0


def until(page: Page, expression: str, arg: Any = None) -> None:
    """Return when the expression holds in the page; AssertionError with the expression after a minute."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(50)
