"""A real headless Chromium, which Debian's package brings; no download."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

AXE = (Path(__file__).parent / "axe-core-4.14.1.min.js").read_text()
SERIOUS = ("serious", "critical")
NAMES = ("chromium", "chromium-browser", "google-chrome")


def missing() -> str | None:
    """Why there is no browser to test with; None if there is one."""
    return None if _executable() else f"there is none of {', '.join(NAMES)} on the path"


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        # as root, in a container, it has no sandbox; the pages are our own
        browser = playwright.chromium.launch(executable_path=_executable(), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str = "", **context: Any) -> Iterator[Page]:
    """A page in a window of its own; an error or warning on its console fails the test."""
    window = browser.new_context(**context)
    page = window.new_page()
    complaints: list[str] = []
    page.on(
        "console",
        lambda message: complaints.append(message.text) if _is_complaint(message) else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    if url:
        page.goto(url)
    yield page
    window.close()
    assert complaints == [], url


def _is_complaint(message: ConsoleMessage) -> bool:
    """Chromium asks by itself for the icon of a page that is not HTML."""
    icon = message.location.get("url", "").endswith("/favicon.ico")
    return message.type in ("error", "warning") and not icon


def faults(page: Page) -> list[str]:
    """Serious accessibility faults that axe-core reports."""
    page.evaluate(AXE)
    report = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']}: {node['html'][:120]} {node.get('failureSummary', '')}"
        for fault in report["violations"]
        if fault["impact"] in SERIOUS
        for node in fault["nodes"]
    ]


def _executable() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)
