"""The platform as `make up` starts it: a real Airflow whose scheduler runs our DAGs every minute."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from include.errors import LeaseHeldError
from include.notify import inbox
from include.settings import Settings
from include.stack.airflow_api import AirflowApi
from include.stack.layout import Layout
from include.stack.secrets import load_secrets
from include.stack.status import read_status
from include.stack.supervision import Supervisor
from include.warehouse.db import connect
from tests.conftest import wait_until
from tests.transform.events import accept, event

pytestmark = pytest.mark.airflow
MINUTE_DAGS = ("market_ingest", "market_transform", "market_detect")


def api(settings: Settings) -> AirflowApi:
    return AirflowApi(settings, load_secrets(Layout(settings.home)))


def newest_candle(settings: Settings) -> datetime:
    with connect(settings) as conn:
        row = conn.execute("select max(candle_start) from marts.indicators_1m where is_final").fetchone()
    assert row is not None
    return row[0]


def test_the_first_minute_went_all_the_way(platform: Settings) -> None:
    with api(platform) as airflow:
        for dag_id in MINUTE_DAGS:
            assert airflow.last_run(dag_id, state="success") is not None, dag_id
        assert airflow.import_errors() == []
    with connect(platform) as conn:
        steps = {row[0] for row in conn.execute("select step from ops.outcomes where ok and run_id like 'scheduled%'")}
        steps |= {row[0] for row in conn.execute("select step from ops.outcomes where ok and run_id like 'asset%'")}
    assert steps >= {"pull", "land", "load", "audit", "transform", "detect", "notify"}


def test_alerts_have_arrived(platform: Settings) -> None:
    arrived = inbox.latest(platform, count=1000)
    assert arrived
    assert {"alert_key", "rule", "symbol", "value", "threshold", "message"} <= set(arrived[0])
    keys = [alert["alert_key"] for alert in arrived]
    assert len(keys) == len(set(keys)), "an alert came twice"


def test_no_minute_is_missing_and_status_is_healthy(platform: Settings) -> None:
    status = read_status(platform)
    assert status.problems == []
    assert status.health == "healthy"
    assert status.missing == []
    assert status.newest_candle is not None
    assert status.at - status.newest_candle < timedelta(minutes=3)


def test_the_weekly_training_ends_well_and_one_that_is_asked_for_a_wrong_window_is_refused(platform: Settings) -> None:
    """As its timetable starts it: it trains, or is skipped while there is too little. A trigger has no logical date."""
    with api(platform) as airflow:
        wait_until(lambda: airflow.last_run("model_training", state="success"), 60, "the run of last Sunday is over")
        ended = airflow.runs_with_a_task("model_training", "skipped")
        assert ended | airflow.runs_with_a_task("model_training", "success")
        asked = airflow.trigger("model_training", {"from": "2026-01-01", "to": "2026-01-04", "models": ["seasonal"]})
        assert asked.logical_date is None
        wait_until(lambda: airflow.run("model_training", asked.run_id).state == "failed", 90, "it is refused")
    said = "select count(*) from ops.outcomes where step = 'models' and run_id like 'scheduled%'"
    with connect(platform) as conn:
        assert conn.execute(said).fetchone() == (1,), "no retry was needed"


def test_the_next_minute_comes_by_itself(platform: Settings) -> None:
    before = newest_candle(platform)
    wait_until(lambda: newest_candle(platform) > before, 100, "a newer candle")


def test_history_that_waits_is_built_right_after_the_minute_by_a_run_that_nothing_new_started(
    platform: Settings,
) -> None:
    """The minute's run leaves it behind, and starts the next one itself."""
    a_month_ago = datetime.now(UTC) - timedelta(days=30)
    batches = (
        "select detail ->> 'lane', run_id, at - make_interval(secs => seconds), at from ops.outcomes "
        "where step = 'transform' and ok and detail ? 'lane' order by at"
    )
    with connect(platform) as conn:

        def accepted() -> bool:
            with suppress(LeaseHeldError):  # the minute's audit runs right now
                accept(conn, [event("quote", "AAPL", a_month_ago, {"price": 10})], is_live=False)
                return True
            return False

        wait_until(accepted, 30, "the load is accepted")
        waits = "select 1 from ops.loads where not is_live and state = 'accepted'"
        wait_until(lambda: conn.execute(waits).fetchone() is None, 100, "the load of history is transformed")
        *_, (_, _, _, live_ended), (lane, run, began, _) = conn.execute(batches).fetchall()
        runs = [live_run for live, live_run, *_ in conn.execute(batches) if live == "live"]
    assert (lane, run.partition("__")[0]) == ("history", "asset_triggered")
    assert run not in runs
    assert began - live_ended < timedelta(seconds=30)


def test_a_killed_scheduler_is_back_and_its_cycle_goes_on_within_30_seconds(platform: Settings) -> None:
    """kill -9 of the scheduler, its workers and the running task in the middle of a cycle."""
    wait_until(lambda: running_task(platform), 100, "a task of the minute runs")
    scheduler = Supervisor(platform).processes()["scheduler"].pid
    assert scheduler is not None
    victims = [psutil.Process(scheduler), *psutil.Process(scheduler).children(recursive=True)]
    before = newest_candle(platform)
    with api(platform) as airflow:
        interrupted = {dag_id: run.run_id for dag_id in MINUTE_DAGS if (run := unfinished(airflow, dag_id))}
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    killed = time.monotonic()
    assert interrupted, "no cycle was running"

    with api(platform) as airflow:

        def succeeded() -> bool:
            last = {dag_id: airflow.last_run(dag_id, state="success") for dag_id in interrupted}
            return all(run is not None and run.run_id >= interrupted[dag_id] for dag_id, run in last.items())

        wait_until(succeeded, 60, f"the interrupted runs {interrupted} are done")
    took = time.monotonic() - killed
    assert took < 30, f"the interrupted cycle was finished after {took:.0f} s"
    wait_until(lambda: newest_candle(platform) > before, 90, "the next minute's candle")
    assert read_status(platform, now=datetime.now(UTC)).missing == []


def unfinished(airflow: AirflowApi, dag_id: str, run_id: str | None = None) -> object:
    run = airflow.last_run(dag_id, state="running")
    return run if run is not None and run_id in (None, run.run_id) else None


def running_task(settings: Settings) -> bool:
    """Whether one of the minute's runs is under way."""
    with api(settings) as airflow:
        return any(unfinished(airflow, dag_id) for dag_id in MINUTE_DAGS)
