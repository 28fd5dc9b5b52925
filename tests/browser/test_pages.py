"""What a person sees in the Airflow UI, in a real browser. Set QUANTSTREAM_TEST_SCREENSHOTS to keep the pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import picture

pytestmark = [pytest.mark.airflow, pytest.mark.browser]
MINUTE_DAGS = ("market_ingest", "market_transform", "market_detect")


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
