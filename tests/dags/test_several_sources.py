"""market_ingest with several sources: a slow one has its own landing, load and audit behind the others'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from include.settings import ROOT


@pytest.fixture
def ingest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The DAG for Yahoo, Binance and Kraken."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("QUANTSTREAM_SOURCES", "yahoo,binance,kraken")
    monkeypatch.syspath_prepend(str(ROOT / "plugins"))  # as Airflow does
    from airflow.dag_processing.dagbag import DagBag

    from include.settings import get_settings

    get_settings.cache_clear()
    bag = DagBag(dag_folder=str(ROOT / "dags" / "market_ingest.py"))
    get_settings.cache_clear()
    assert not bag.import_errors, bag.import_errors
    return bag.dags["market_ingest"]


PULLS = {"pull_yahoo", "pull_binance", "pull_kraken"}


def test_the_tasks_and_what_each_waits_for(ingest: Any) -> None:
    assert {task.task_id: (task.upstream_task_ids, task.trigger_rule.value) for task in ingest.tasks} == {
        "pull_yahoo": (set(), "all_success"),
        "pull_binance": (set(), "all_success"),
        "pull_kraken": (set(), "all_success"),
        "land": (PULLS, "always"),
        "load": ({"land"}, "all_success"),
        "audit": ({"load"}, "all_success"),
        "in_time": ({"audit"}, "all_success"),
        "late.land": ({*PULLS, "audit"}, "all_done"),
        "late.load": ({"late.land"}, "all_success"),
        "late.audit": ({"late.load"}, "all_success"),
    }


def test_both_audits_start_the_transform(ingest: Any) -> None:
    assert {task.task_id for task in ingest.tasks if [outlet.name for outlet in task.outlets] == ["market_events"]} == {
        "audit",
        "late.audit",
    }
