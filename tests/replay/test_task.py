"""The task of the DAG lake_replay: which span it reads, and what becomes of each way to end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.errors import LakeError, LoadRejectedError
from include.events import Window
from include.settings import ROOT, Settings

DUE = datetime(2026, 3, 13, 9, tzinfo=UTC)
Task = Callable[..., tuple[Window, list[str] | None, str]]


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Task:
    """What the task reads with these params: the window, the sources, the id of the run."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT / "dags"))
    import lake_replay

    monkeypatch.setattr(lake_replay, "get_settings", lambda: Settings(_env_file=None))
    work = lake_replay.lake_replay().get_task("replay").python_callable
    defaults = {name: param.value for name, param in lake_replay.PARAMS.items()}

    def run(
        *, error: Exception | None = None, waiting: int = 1, cleared: int = 0, **params: Any
    ) -> tuple[Window, list[str] | None, str]:
        seen = []

        def replay(settings: Settings, window: Window, *, sources: list[str] | None, run_id: str) -> None:
            seen.append((window, sources, run_id))
            if error:
                raise error

        monkeypatch.setattr("include.pipeline.lake_replay.replay_lake", replay)
        monkeypatch.setattr("include.pipeline.waiting.loads_to_transform", lambda _: waiting)
        dag_run = SimpleNamespace(run_id="by hand", clear_number=cleared, run_after=DUE)
        work(defaults | params, dag_run)
        return seen[0]

    return run


def test_it_reads_what_arrived_in_the_span(task: Task) -> None:
    window, sources, run_id = task(**{"from": "2026-03-12T00:00:00Z", "to": "2026-03-13"})
    assert window == Window(datetime(2026, 3, 12, tzinfo=UTC), datetime(2026, 3, 13, tzinfo=UTC))
    assert (sources, run_id) == (None, "by hand")


def test_without_an_end_it_reads_until_the_run_was_due(task: Task) -> None:
    assert task(**{"from": "2026-03-12"})[0].end == DUE


def test_sources_may_be_named(task: Task) -> None:
    assert task(**{"from": "2026-03-12", "source": "coinbase, kraken"})[1] == ["coinbase", "kraken"]


def test_a_run_that_was_cleared_reads_everything_once_more(task: Task) -> None:
    assert task(cleared=2, **{"from": "2026-03-12"})[2] == "by hand#2"


@pytest.mark.parametrize("params", [{}, {"from": "soon"}, {"from": "2026-03-12", "to": "2026-03-11"}])
def test_params_that_make_no_sense_fail_at_once(task: Task, params: dict[str, str]) -> None:
    with pytest.raises(AirflowFailException):
        task(**params)


def test_a_rejected_load_is_not_tried_again_an_object_that_cannot_be_read_is(task: Task) -> None:
    with pytest.raises(AirflowFailException, match="rejected"):
        task(error=LoadRejectedError("rejected"), **{"from": "2026-03-12"})
    with pytest.raises(LakeError):
        task(error=LakeError("cut off"), **{"from": "2026-03-12"})


def test_where_nothing_waits_for_the_transform_it_wakes_nobody(task: Task) -> None:
    with pytest.raises(AirflowSkipException):
        task(waiting=0, **{"from": "2026-03-12"})
