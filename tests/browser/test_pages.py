"""What a person sees in the Airflow UI, in a real browser. Set QUANTSTREAM_TEST_SCREENSHOTS to keep the pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from include.settings import Settings
from include.stack.airflow import ADMIN, url
from include.stack.layout import Layout
from include.stack.secrets import load_secrets

pytestmark = [pytest.mark.airflow, pytest.mark.browser]
MINUTE_DAGS = ("market_ingest", "market_transform", "market_detect")


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


def test_the_three_dags_are_green(page: Page, tmp_path: Path) -> None:
    page.goto("/dags")
    for dag_id in MINUTE_DAGS:
        expect(page.get_by_role("link", name=dag_id).first).to_be_visible()
    page.wait_for_timeout(3000)  # the bars of the last runs are drawn later
    picture(page, "airflow-dags", tmp_path)


def test_the_assets_join_them(page: Page, tmp_path: Path) -> None:
    page.goto("/assets")
    page.get_by_role("link", name="market_events").first.click()
    for name in ("market_ingest", "market_transform", "market_events"):
        expect(page.get_by_text(name).first).to_be_visible()
    page.wait_for_timeout(2000)
    picture(page, "asset-graph", tmp_path)


def test_the_dbt_docs_show_the_lineage_of_the_indicators(page: Page, tmp_path: Path) -> None:
    page.goto(
        "/cosmos/quantstream/dbt_docs_index.html#!/model/model.quantstream.indicators_1m?g_v=1&g_i=%2Bindicators_1m"
    )
    expect(page.get_by_text("indicators_1m").first).to_be_visible()
    page.wait_for_timeout(3000)
    picture(page, "dbt-lineage", tmp_path)


def test_the_data_docs_show_the_last_audit(page: Page, tmp_path: Path) -> None:
    page.goto("/data-docs/index.html")
    expect(page.get_by_text("accepted").first).to_be_visible()
    picture(page, "data-docs", tmp_path)


def test_the_menu_leads_to_the_docs(page: Page) -> None:
    page.goto("/dags")
    page.get_by_role("button", name="Browse").or_(page.get_by_text("Browse")).first.click()
    expect(page.get_by_text("Data docs").first).to_be_visible()
    expect(page.get_by_text("dbt docs", exact=False).first).to_be_visible()
