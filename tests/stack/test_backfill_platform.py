"""The command and a real Airflow: a day that has to wait holds no slot and comes; today is a run of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from include import cli
from include import settings as settings_module
from include.settings import Settings
from include.stack.airflow_api import AirflowApi
from include.stack.layout import Layout
from include.stack.secrets import load_secrets
from include.warehouse import history
from include.warehouse.db import connect
from include.warehouse.leases import lease
from tests.conftest import wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.stack, pytest.mark.timeout(1200)]

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAG_ID = "market_backfill"


@pytest.fixture
def api(platform: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[AirflowApi]:
    """The platform's Airflow; the command works on that platform too."""
    monkeypatch.setattr(settings_module, "load_settings", lambda **_: platform)
    with AirflowApi(platform, load_secrets(Layout(platform.home))) as api:
        wait_until(lambda: api.active_backfill(DAG_ID) is None, 120, "no other backfill is active")
        yield api


def backfill(*arguments: str) -> dict[str, Any]:
    shown = CliRunner().invoke(cli.app, ["backfill", *arguments, "--json"], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    return dict(json.loads(shown.stdout))


def slots_free_while_put_off(api: AirflowApi) -> bool:
    pool = api._request("GET", "/api/v2/pools/history")
    return pool["open_slots"] == pool["slots"] and bool(api.runs_with_a_task(DAG_ID, "up_for_reschedule"))


def candles(settings: Settings, symbol: str, start: datetime, end: datetime) -> int:
    query = "select count(*) from marts.candles_1m where symbol = %s and candle_start >= %s and candle_start < %s"
    with connect(settings) as conn:
        row = conn.execute(query, [symbol, start, end]).fetchone()
    return int(row[0]) if row else 0


def test_a_day_that_has_to_wait_holds_no_slot_and_comes(platform: Settings, api: AirflowApi) -> None:
    day = TODAY - timedelta(days=40)
    name = history.lease_name("simulator", "quote", day)
    with ThreadPoolExecutor(1) as pool:
        with connect(platform) as conn, lease(conn, name, seconds=600):
            asked = [
                "--source",
                "simulator",
                "--symbols",
                "XRP-USD",
                "--from",
                f"{day:%F}",
                "--to",
                f"{day + timedelta(days=1):%F}",
            ]
            command = pool.submit(backfill, *asked)
            wait_until(lambda: api.runs_with_a_task(DAG_ID, "up_for_reschedule"), 120, "the task is put off")
            wait_until(lambda: slots_free_while_put_off(api), 120, "both slots are free while it waits")
        summary = command.result(600)
    assert (summary["days"], summary["done"], summary["waiting"]) == (1, 1, 0)
    assert candles(platform, "XRP-USD", day, day + timedelta(days=1)) > 1300


def test_until_now_is_the_days_that_are_over_and_a_run_for_today(platform: Settings, api: AirflowApi) -> None:
    start = TODAY - timedelta(hours=2)
    summary = backfill("--source", "simulator", "--symbols", "ADA-USD", "--from", start.isoformat())
    assert (summary["days"], summary["done"], summary["complete"]) == (2, 2, True)
    assert candles(platform, "ADA-USD", start - timedelta(days=1), start) == 0, "the day's rest was not asked for"
    assert candles(platform, "ADA-USD", start, TODAY) > 90  # it loses some minutes on purpose
