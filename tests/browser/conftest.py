"""A headless Chromium for the tests of the page; without one they fail and say how to get it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.example_page import example_html, example_tables, many_rows

APT = "apt-get install -y --no-install-recommends chromium"
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail(f"there is no Chromium to look at the page with: {APT}")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def example(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("page")
    path = root / "index.html"
    path.write_text(example_html(example_tables(root / "records")), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def example_of_2000_rows(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("many")
    path = root / "index.html"
    path.write_text(example_html(many_rows(example_tables(root / "records"), 2000)), encoding="utf-8")
    return path


class Watch:
    """What a page must not do: requests beyond its file, errors, dialogs, violations of its policy."""

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type != "log" else None)

    @property
    def loads(self) -> list[str]:
        """Requests of anything but the page itself and images inside it."""
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page file with a viewport and further options of a browser context; its watch is `page.watch`."""
    contexts: list[Any] = []
    watches: list[Watch] = []

    def opened(path: Path, width: int = 1280, height: int = 900, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        watches.append(Watch(page))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        page.watch = watches[-1]  # type: ignore[attr-defined]
        return page

    yield opened
    for context in contexts:
        context.close()
    for watch in watches:
        assert watch.loads == []
        assert watch.complaints == []
