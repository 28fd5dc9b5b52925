"""A real browser (Debian's or any other Chromium), driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from include.settings import Settings
from include.stack.airflow import ADMIN, url
from include.stack.layout import Layout
from include.stack.secrets import load_secrets

QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ends with the file: as long as it is there, Playwright's event loop counts as running in this thread."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = os.environ.get("QUANTSTREAM_TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium on this machine (on Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser: Browser, platform: Settings) -> Iterator[Page]:
    """A browser window, logged in as the generated administrator."""
    page = browser.new_page(viewport={"width": 1440, "height": 900}, base_url=url(platform))
    page.set_default_timeout(30_000)
    page.goto("/")
    page.get_by_label("Username").or_(page.locator("input[name=username]")).first.fill(ADMIN)
    page.locator("input[type=password]").first.fill(load_secrets(Layout(platform.home)).admin)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda address: "login" not in address)
    yield page
    page.close()


def picture(page: Page, name: str, tmp_path: Path) -> None:
    folder = Path(os.environ.get("QUANTSTREAM_TEST_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")
