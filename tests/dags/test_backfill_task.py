"""The task `backfill_<source>` of market_backfill: which window it takes, and what becomes of each way to end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    ParamValidationError,
)

from include.errors import ConfigError, HistoryDeferredError, LoadRejectedError, SourceError
from include.events import Window
from include.pipeline.history_request import HistoryRequest
from include.settings import ROOT, Settings

DAY = (datetime(2026, 3, 12, tzinfo=UTC), datetime(2026, 3, 13, tzinfo=UTC))
LATER = datetime(2026, 3, 14, 0, 5, tzinfo=UTC)
Task = Callable[..., tuple[str, Window, HistoryRequest]]


@pytest.fixture
def market_backfill(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The DAG's module, for the default settings."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT / "plugins"))  # as Airflow does
    monkeypatch.syspath_prepend(str(ROOT / "dags"))
    import market_backfill

    monkeypatch.setattr(market_backfill, "get_settings", lambda: Settings(_env_file=None))
    return market_backfill


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch, market_backfill: Any) -> Task:
    """What the task of a source does with these params, in a run for 2026-03-12; what it brought in."""
    work = market_backfill.market_backfill().get_task("backfill_simulator").python_callable
    defaults = {name: param.value for name, param in market_backfill.PARAMS.items()}

    def run(
        source: str = "simulator", *, error: Exception | None = None, run_type: str = "backfill",
        interval: tuple[datetime | None, datetime | None] = DAY, cleared: int = 0, **params: Any,
    ) -> tuple[str, Window, HistoryRequest]:  # fmt: skip
        brought = []

        def bring(settings: Settings, source: str, window: Window, request: HistoryRequest, *, run_id: str) -> None:
            brought.append((source, window, request))
            assert run_id == ("run 1" if not cleared else f"run 1#{cleared}")
            if error:
                raise error

        monkeypatch.setattr("include.pipeline.history_day.bring_history", bring)
        dag_run = SimpleNamespace(
            run_id="run 1", clear_number=cleared, run_type=run_type, run_after=datetime(2026, 3, 13, 9, tzinfo=UTC),
            data_interval_start=interval[0], data_interval_end=interval[1],
        )  # fmt: skip
        work(source, defaults | params, dag_run)
        return brought[0]

    return run


def test_a_backfills_run_takes_its_day(task: Task) -> None:
    assert task() == ("simulator", Window(*DAY), HistoryRequest())


def test_a_run_that_was_cleared_asks_anew(task: Task) -> None:
    task(cleared=2, reprocess=True)


def test_by_hand_it_takes_yesterday(task: Task) -> None:
    _, window, _ = task(run_type="manual", interval=(None, None))
    assert window == Window(*DAY)


def test_by_hand_it_takes_what_it_is_told(task: Task) -> None:
    _, window, _ = task(run_type="manual", **{"from": "2026-01-01T10:00:00Z", "to": "2026-01-03T00:00:00Z"})
    assert window == Window(datetime(2026, 1, 1, 10, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))


def test_a_backfill_that_begins_at_noon_leaves_the_morning_out(task: Task) -> None:
    _, window, _ = task(**{"from": "2026-03-12T12:00:00Z"})
    assert window == Window(datetime(2026, 3, 12, 12, tzinfo=UTC), DAY[1])


def test_what_the_form_says_is_what_is_asked_for(task: Task) -> None:
    _, _, request = task("binance", symbols=["BTC-USD"], kind="trade", reprocess=True, gaps=True)
    assert request == HistoryRequest(symbols=("BTC-USD",), kind="trade", reprocess=True, gaps=True)


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"sources": ["binance"]}, id="another source is"),
        pytest.param({"kind": "bar"}, id="a kind that it has not is"),
        pytest.param({"from": "2026-03-13T00:00:00Z"}, id="nothing of its day is"),
    ],
)
def test_it_is_skipped_if_not_asked_for(task: Task, params: dict[str, Any]) -> None:
    with pytest.raises(AirflowSkipException):
        task(**params)


def test_what_does_not_fit_the_budget_is_put_off_until_there_is_room(task: Task) -> None:
    with pytest.raises(AirflowRescheduleException) as put_off:
        task(error=HistoryDeferredError("25 of 25 calls a day are used", LATER))
    assert put_off.value.reschedule_date == LATER


@pytest.mark.parametrize(
    "error",
    [LoadRejectedError("load 7: too_many_bad_rows"), ConfigError("QUANTSTREAM_POLYGON_API_KEY is not set")],
    ids=["a rejected load", "a missing key"],
)  # fmt: skip
def test_what_a_retry_would_find_again_fails_at_once(task: Task, error: Exception) -> None:
    with pytest.raises(AirflowFailException, match=str(error)[:20]):
        task(error=error)


def test_a_wrong_param_fails_at_once_and_is_named(task: Task) -> None:
    with pytest.raises(AirflowFailException, match="from = 'noon': write a date"):
        task(**{"from": "noon"})


def test_a_vendor_that_fails_is_tried_again(task: Task) -> None:
    with pytest.raises(SourceError):
        task(error=SourceError("Binance: answered 503"))


def test_the_key_of_the_connection_is_used(monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_QUANTSTREAM_POLYGON", '{"conn_type": "http", "password": "pk-s3cret"}')
    seen = []
    monkeypatch.setattr("quantstream_keys.settings_with_keys", lambda settings, source: seen.append(source) or settings)
    task("polygon")
    assert seen == ["polygon"]


def dag_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sources: str) -> Any:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("QUANTSTREAM_SOURCES", sources)
    monkeypatch.syspath_prepend(str(ROOT / "plugins"))
    from airflow.dag_processing.dagbag import DagBag

    from include.settings import get_settings

    get_settings.cache_clear()
    bag = DagBag(dag_folder=str(ROOT / "dags" / "market_backfill.py"))
    get_settings.cache_clear()
    assert not bag.import_errors, bag.import_errors
    return bag.dags["market_backfill"]


@pytest.mark.parametrize(
    ("sources", "tasks"),
    [
        ("simulator", {"backfill_simulator"}),
        ("yahoo,binance", {"backfill_yahoo", "backfill_binance"}),
        ("yahoo,binance,kraken", {"asked", "backfill_yahoo", "backfill_binance", "backfill_kraken"}),
    ],
)
def test_a_task_for_each_source_and_one_more_where_that_saves_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sources: str, tasks: set[str]
) -> None:
    assert {task.task_id for task in dag_for(monkeypatch, tmp_path, sources).tasks} == tasks


@pytest.mark.parametrize(
    ("asked", "tasks"),
    [(["kraken"], ["backfill_kraken"]), (None, ["backfill_yahoo", "backfill_binance", "backfill_kraken"])],
    ids=["one", "none named"],
)
def test_tasks_of_sources_that_were_not_asked_for_never_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: list[str] | None, tasks: list[str]
) -> None:
    dag = dag_for(monkeypatch, tmp_path, "yahoo,binance,kraken")
    assert dag.get_task("asked").python_callable(params={"sources": asked}) == tasks


def test_the_form_offers_sources_symbols_and_kinds(market_backfill: Any) -> None:
    schemas = {name: param.schema for name, param in market_backfill.PARAMS.items()}
    assert schemas["sources"]["examples"] == ["simulator"]
    assert "BTC-USD" in schemas["symbols"]["examples"]
    assert schemas["kind"]["enum"] == ["usual", "quote", "trade", "bar", "action"]
    for name, param in market_backfill.PARAMS.items():
        assert param.description and param.schema.get("title"), f"{name} is not explained"
        param.resolve()  # its default is allowed


@pytest.mark.parametrize(("name", "value"), [("sources", ["nasdaq"]), ("kind", "candle"), ("reprocess", "yes")])
def test_airflow_refuses_what_the_form_does_not_offer(market_backfill: Any, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        market_backfill.PARAMS[name].resolve(value)
