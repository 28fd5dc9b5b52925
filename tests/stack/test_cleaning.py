"""Airflow's record of past runs is cleaned by Airflow's own command, beside a platform that runs."""

from __future__ import annotations

import psycopg
import pytest

from include.settings import Settings
from include.stack.cleaning import clean_airflow

pytestmark = [pytest.mark.airflow, pytest.mark.stack, pytest.mark.timeout(600)]


def test_runs_older_than_the_setting_go_with_their_tasks_and_the_others_stay(platform: Settings) -> None:
    assert platform.airflow_dsn is not None
    with psycopg.connect(platform.airflow_dsn.get_secret_value(), autocommit=True) as conn:
        found = conn.execute(
            "select run_id from dag_run where dag_id = 'market_ingest' and state = 'success' order by run_after limit 1"
        ).fetchone()
        assert found is not None, "the platform has not run a minute"
        oldest = found[0]
        conn.execute("update dag_run set start_date = now() - interval '15 days' where run_id = %s", [oldest])
        before = conn.execute("select count(*) from dag_run").fetchone()

        said = clean_airflow(platform)

        assert "are removed" in said
        assert conn.execute("select 1 from dag_run where run_id = %s", [oldest]).fetchone() is None
        assert conn.execute("select 1 from task_instance where run_id = %s", [oldest]).fetchone() is None
        after = conn.execute("select count(*) from dag_run").fetchone()
        assert before is not None and after is not None and after[0] >= before[0] - 1


def test_zero_days_ask_airflow_for_nothing(platform: Settings) -> None:
    said = clean_airflow(platform.model_copy(update={"keep_logs_days": 0}))

    assert said == "QUANTSTREAM_KEEP_LOGS_DAYS is 0: all runs stay"
