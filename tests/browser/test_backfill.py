"""A backfill of seven days made in Airflow's form and watched to its end, in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from include.settings import Settings
from include.stack.airflow_api import AirflowApi
from include.stack.layout import Layout
from include.stack.secrets import load_secrets
from include.warehouse.db import connect
from tests.browser.conftest import picture
from tests.conftest import wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.timeout(1800)]

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS = [TODAY - timedelta(days=20 - number) for number in range(7)]
SYMBOL = "SOL-USD"


def candles_by_day(settings: Settings) -> list[int]:
    query = (
        "select count(*) from marts.candles_1m where symbol = %s and source = 'simulator' and candle_start >= %s "
        "and candle_start < %s"
    )
    with connect(settings) as conn:
        found = [conn.execute(query, [SYMBOL, day, day + timedelta(days=1)]).fetchone() for day in DAYS]
    return [row[0] for row in found if row]


def states(settings: Settings) -> list[str]:
    """Of the runs for these days."""
    bounds = {"logical_date_gte": DAYS[0].isoformat(), "logical_date_lte": DAYS[-1].isoformat()}
    with AirflowApi(settings, load_secrets(Layout(settings.home))) as api:
        return [run.state for run in api.runs("market_backfill", **bounds)[0]]


def is_noted(settings: Settings) -> bool:
    with AirflowApi(settings, load_secrets(Layout(settings.home))) as api:
        return api.active_backfill("market_backfill") is None


def show_runs(page: Page) -> None:
    page.goto("/dags/market_backfill/runs")
    expect(page.get_by_text("backfill_simulator").first).to_be_visible(timeout=60_000)
    page.wait_for_timeout(3000)  # the grid is drawn later


def choose_day(page: Page, day: datetime) -> None:
    """Fill the first date field that is still empty. (Its popover has a field for the date and one for the time.)"""
    page.get_by_text("Select date and time").first.click()
    page.get_by_placeholder("YYYY/MM/DD").locator("visible=true").fill(f"{day:%Y/%m/%d}")
    page.get_by_placeholder("HH:mm").locator("visible=true").fill("00:00")
    page.get_by_role("heading", name="Run Backfill").click()  # closes the popover, not at once
    expect(page.get_by_placeholder("YYYY/MM/DD").locator("visible=true")).to_have_count(0)


def test_seven_days_made_in_the_form_and_watched(page: Page, platform: Settings, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 1440, "height": 1100})  # the form is long
    page.goto("/dags/market_backfill")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_text("Backfill", exact=True).first.click()
    choose_day(page, DAYS[0])
    choose_day(page, DAYS[-1])
    page.locator("[name=max_active_runs]").fill("4")
    page.get_by_text("Override parameters on existing runs").click()
    for name, value in (("sources", "simulator"), ("symbols", SYMBOL)):
        page.locator(f"#element_{name} input").first.fill(value)
        page.get_by_role("option", name=value).click()
    expect(page.get_by_text("7 runs will be triggered.")).to_be_visible(timeout=30_000)
    picture(page, "backfill-form", tmp_path)
    page.set_viewport_size({"width": 1440, "height": 900})

    page.get_by_role("button", name="Run Backfill").click()
    wait_until(lambda: "success" in states(platform), 300, "the first day is done")
    show_runs(page)
    expect(page.get_by_text("Backfill in progress")).to_be_visible(timeout=60_000)
    picture(page, "backfill-running", tmp_path)

    wait_until(lambda: states(platform) == ["success"] * 7, 600, "all seven days are done")
    wait_until(lambda: min(candles_by_day(platform)) > 1300, 600, "all seven days are in the marts")
    wait_until(lambda: is_noted(platform), 120, "Airflow has noted the end of the backfill")
    show_runs(page)
    picture(page, "backfill-done", tmp_path)
    assert max(candles_by_day(platform)) <= 1440
