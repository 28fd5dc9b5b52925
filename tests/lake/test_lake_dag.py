"""The task of lake_compact: by the clock the days that are over, after a backfill the running day too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.settings import ROOT, Settings

Task = Callable[[Mapping[str, object], list[str]], dict[str, object]]


@pytest.fixture
def lake_compact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT / "dags"))
    import lake_compact

    monkeypatch.setattr(lake_compact, "get_settings", lambda: Settings(_env_file=None))
    monkeypatch.setattr(lake_compact, "be_nice", lambda: None)
    return lake_compact


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch, lake_compact: Any) -> Task:
    """What the task asks for, given the asset events that woke it and the days that are due."""

    def run(events: Mapping[str, object], days: list[str]) -> dict[str, object]:
        asked: dict[str, object] = {}

        def compact_due(settings: Settings, **how: object) -> list[str]:
            asked.update(how)
            return days

        monkeypatch.setattr("include.pipeline.compact.compact_due", compact_due)
        work = lake_compact.lake_compact().get_task("compact").python_callable
        work(run_id="run 1", triggering_asset_events=events)
        return asked

    return run


def test_at_night_the_running_day_is_left_out(task: Task) -> None:
    assert task({}, ["2026-03-02"]) == {"running": False, "run_id": "run 1"}


def test_after_a_backfill_the_running_day_is_done_too_because_history_arrives_today(task: Task) -> None:
    assert task({"lake_history": [object()]}, ["2026-03-02"]) == {"running": True, "run_id": "run 1"}


def test_with_nothing_due_it_is_skipped(task: Task) -> None:
    with pytest.raises(AirflowSkipException, match="every object of the days that are over is in Parquet"):
        task({}, [])


def test_it_waits_behind_everything_else_in_its_pool(lake_compact: Any) -> None:
    (task,) = lake_compact.lake_compact().tasks
    assert (task.pool, task.priority_weight, task.weight_rule) == (
        "history", -1, "absolute"
    )  # fmt: skip
