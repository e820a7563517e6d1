"""A real browser, as tests of pages and of JupyterLab use it.

Needs Playwright and a Chromium (Debian: ``apt install chromium``); without one of them the tests
skip. Screenshots go to ``build/screenshots``.
"""

import shutil

import pytest

from prefill_router.files import project_root

SCREENSHOTS = project_root() / "build" / "screenshots"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the PATH")
    with playwright.sync_playwright() as started:
        # a container has no user namespaces for Chromium's sandbox; the pages are our own
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser, width: int = 1300, **context):
    """A page, and the list in which its errors are collected."""
    viewport = {"width": width, "height": 950}
    page, errors = browser.new_context(viewport=viewport, **context).new_page(), []
    page.set_default_timeout(120_000)  # a busy machine is slow, not wrong
    page.on(
        "console",
        lambda message: (
            errors.append(f"{message.text} ({message.location.get('url', '')})")
            if message.type == "error"
            else None
        ),
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    return page, errors


def shoot(page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
