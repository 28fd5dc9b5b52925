"""House rules over every DAG. Each failure names the DAG, the task and the remedy."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from include.pipeline.task_defaults import be_nice
from include.settings import ROOT
from include.stack import airflow

DAGS = ROOT / "dags"
MINUTE_DAGS = set(airflow.DAGS)
PLUGINS = ROOT / "plugins"
HEAVY = {
    "pandas", "numpy", "pyarrow", "boto3", "dbt", "great_expectations", "psycopg", "httpx", "sqlalchemy",
    "exchange_calendars",
}  # fmt: skip
EQUITIES = "symbol,asset_class,currency,calendar,primary_source,yahoo\nSPY,equity,USD,XNYS,yahoo,SPY\n"


def test_every_dag_says_what_it_is(dags: dict[str, Any]) -> None:
    assert set(dags) >= MINUTE_DAGS, "the folder of DAGs was not read"
    for dag_id, dag in dags.items():
        assert dag.doc_md and dag.doc_md.startswith(f"## {dag_id}:"), (
            f"{dag_id}: doc_md=__doc__, starting '## {dag_id}: ...'"
        )
        assert any(tag.startswith("impact:") for tag in dag.tags), f"{dag_id}: add a tag impact:critical|high|low"


def test_every_dag_is_of_the_minute_or_of_history(dags: dict[str, Any]) -> None:
    for dag_id in dags:
        assert dag_id in (*airflow.DAGS, *airflow.HISTORY_DAGS), f"{dag_id}: name it in include/stack/airflow.py"
        assert (DAGS / f"{dag_id}.py").exists(), f"{dag_id}: its file is called like it (`up` waits for that)"


def test_runs_do_not_overlap_and_do_not_catch_up_by_themselves(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        days_are_independent = dag_id == "market_backfill"
        assert dag.max_active_runs == 1 or days_are_independent, f"{dag_id}: it drains what waits, so max_active_runs=1"
        assert dag.catchup is False, (
            f"{dag_id}: catchup=False; missed minutes are shown by status and backfilled on purpose"
        )
        assert dag.dagrun_timeout, f"{dag_id}: set dagrun_timeout"


def test_every_interval_is_explicit(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        name = type(dag.timetable).__name__
        assert name not in {"CronTriggerTimetable", "DeltaTriggerTimetable"}, (
            f"{dag_id}: a bare cron string has a zero-width data interval; use MarketHoursTimetable"
        )


def test_market_ingest_has_an_interval_for_every_minute_unless_told_otherwise(dags: dict[str, Any]) -> None:
    timetable = dags["market_ingest"].timetable
    assert timetable.serialize() == {"calendars": ["24/7"], "interval": 60, "extended": False, "delay": 0}
    assert timetable.summary == "Every minute"


def test_every_task_has_owner_pool_timeout_and_retries(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        assert dag.tasks, f"{dag_id} has no task"
        for task in dag.tasks:
            where = f"{dag_id}.{task.task_id}"
            assert task.owner == "quantstream", f"{where}: set the owner"
            is_minute = dag_id in MINUTE_DAGS
            pool = "pull" if task.task_id.startswith("pull_") else "market" if is_minute else "history"
            assert task.pool == pool, f"{where}: it runs in the pool {pool!r}"
            most = timedelta(minutes=15) if is_minute else timedelta(hours=6)
            assert task.execution_timeout and task.execution_timeout <= most, f"{where}: execution_timeout"
            assert task.retries >= 1 and task.retry_exponential_backoff, f"{where}: retries with back-off"


def test_what_is_of_the_past_waits_for_the_minute(dags: dict[str, Any]) -> None:
    first = min(task.priority_weight for dag_id in MINUTE_DAGS for task in dags[dag_id].tasks)
    for dag_id in set(dags) - MINUTE_DAGS:
        for task in dags[dag_id].tasks:
            where = f"{dag_id}.{task.task_id}"
            weight = (task.priority_weight < first, str(task.weight_rule))
            assert weight == (True, "absolute"), f"{where}: default_args=HISTORY_TASK"
            assert task._pre_execute_hook is be_nice, f"{where}: default_args=HISTORY_TASK"


def test_the_minute_is_few_tasks(dags: dict[str, Any]) -> None:
    tasks = sum(len(dags[dag_id].tasks) for dag_id in MINUTE_DAGS)
    assert tasks <= 8, f"{tasks} tasks a minute: each costs about a core-second"


def test_the_assets_join_the_three(dags: dict[str, Any]) -> None:
    from airflow.sdk import Asset

    def scheduled_by(dag_id: str) -> set[str]:
        return {asset.name for asset in dags[dag_id].timetable.asset_condition.objects}

    def emits(dag_id: str) -> set[str]:
        outlets = [outlet for task in dags[dag_id].tasks for outlet in task.outlets]
        return {outlet.name for outlet in outlets if isinstance(outlet, Asset)}  # an alias emits what it is told to

    assert emits("market_ingest") == {"market_events"} == scheduled_by("market_transform")
    assert emits("market_transform") == {"market_marts"} == scheduled_by("market_detect")
    assert emits("market_detect") == set()
    assert emits("market_backfill") == {"market_events", "lake_history"}


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.name)
class TestEachFile:
    def test_it_is_thin(self, path: Path) -> None:
        assert len(path.read_text().splitlines()) <= 120, f"{path.name}: move what it does into include/"

    def test_it_is_not_named_for_dbt(self, path: Path) -> None:
        assert not path.name.startswith("dbt_"), f"{path.name}: dbt imports every top-level dbt_*.py as a plugin"

    def test_no_heavy_import_and_no_clock_at_the_top(self, path: Path) -> None:
        tree = ast.parse(path.read_text())
        for node in tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            heavy = {name.split(".")[0] for name in names} & HEAVY
            assert not heavy, f"{path.name}:{node.lineno}: import {', '.join(heavy)} inside the task"
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}), (
                f"{path.name}:{node.lineno}: no clock in a DAG file; use the data interval"
            )


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({}, id="with the defaults"),
        pytest.param({"QUANTSTREAM_SOURCES": "yahoo", "QUANTSTREAM_INSTRUMENTS_FILE": "equities.csv"}, id="equities"),
    ],
)
def test_parsing_all_dags_loads_nothing_heavy(tmp_path: Path, extra: dict[str, str]) -> None:
    """In a fresh process: whatever include/ modules the DAG files import must be light too."""
    (tmp_path / "equities.csv").write_text(EQUITIES)
    if name := extra.get("QUANTSTREAM_INSTRUMENTS_FILE"):
        extra = extra | {"QUANTSTREAM_INSTRUMENTS_FILE": str(tmp_path / name)}
    code = (
        "import sys, runpy, pathlib\n"
        "before = set(sys.modules)\n"
        "import airflow.sdk\n"
        "from airflow.sdk.exceptions import AirflowFailException\n"
        "import time; light = set(sys.modules); start = time.perf_counter()\n"
        f"for path in sorted(pathlib.Path({str(DAGS)!r}).glob('*.py')): runpy.run_path(str(path))\n"
        f"heavy = {{name.split('.')[0] for name in set(sys.modules) - light}} & {HEAVY!r}\n"
        "assert not heavy, heavy\n"
        "print(time.perf_counter() - start)\n"
    )
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": f"{ROOT}:{PLUGINS}"} | extra
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_airflow_stores_every_dag_and_reads_it_back(tmp_path: Path) -> None:
    """As the dag-processor writes it and the scheduler reads it, the timetable's plugin found in the plugins folder."""
    (tmp_path / "equities.csv").write_text(EQUITIES)
    code = (
        "from airflow.dag_processing.dagbag import DagBag\n"
        "from airflow.serialization.serialized_objects import DagSerialization\n"
        f"bag = DagBag(dag_folder={str(DAGS)!r})\n"
        "assert not bag.import_errors, bag.import_errors\n"
        "for dag in bag.dags.values():\n"
        "    again = DagSerialization.from_dict(DagSerialization.to_dict(dag))\n"
        "    print(dag.dag_id, type(again.timetable).__name__, again.timetable.summary)\n"
        "    if dag.dag_id == 'market_ingest':\n"
        "        print(again.next_dagrun_info(last_automated_run_info=None).data_interval)\n"
    )
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "QUANTSTREAM_SOURCES": "yahoo",
        "QUANTSTREAM_INSTRUMENTS_FILE": str(tmp_path / "equities.csv"),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()  # Airflow's own log lines among them
    assert "market_ingest MarketHoursTimetable Every minute in the hours of XNYS" in lines
    assert "market_backfill HistoryDaysTimetable Past days, by backfill or by hand" in lines
    assert any(line.startswith("DataInterval(start=") for line in lines)
