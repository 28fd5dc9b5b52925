"""The task `pull_<source>` of market_ingest: keys from a connection, no second try where the vendor had enough."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import AirflowFailException

from include.errors import BudgetSpentError, CircuitOpenError, SourceError, StreamError
from include.events import Window
from include.settings import ROOT, Settings


@pytest.fixture
def pull_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """What the task does, for Polygon."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT / "plugins"))  # as Airflow does
    monkeypatch.syspath_prepend(str(ROOT / "dags"))
    import market_ingest

    monkeypatch.setattr(market_ingest, "get_settings", lambda: Settings(_env_file=None))
    work = market_ingest.market_ingest().get_task("pull_simulator").python_callable
    start, end = datetime(2026, 3, 13, 15, 59, tzinfo=UTC), datetime(2026, 3, 13, 16, tzinfo=UTC)

    def pull(*, by_hand: bool = False) -> None:
        interval = {"data_interval_start": None if by_hand else start, "data_interval_end": None if by_hand else end}
        work("polygon", SimpleNamespace(run_id="run 1", run_after=end + timedelta(seconds=30), **interval))

    return pull


def pulled(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[Any]:
    """The settings and the window of each pull, which ends so."""
    seen: list[Any] = []

    def pull(settings: Settings, source: str, window: Window, **_: Any) -> None:
        seen.append((settings, window))
        if error:
            raise error

    monkeypatch.setattr("include.pipeline.pull.pull", pull)
    return seen


def test_the_key_of_the_connection_is_used(monkeypatch: pytest.MonkeyPatch, pull_task: Callable[..., None]) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_QUANTSTREAM_POLYGON", '{"conn_type": "http", "password": "pk-s3cret"}')
    seen = pulled(monkeypatch)
    pull_task()
    assert seen[0][0].polygon_api_key.get_secret_value() == "pk-s3cret"


def test_by_hand_without_a_date_it_is_the_last_whole_interval(
    monkeypatch: pytest.MonkeyPatch, pull_task: Callable[..., None]
) -> None:
    seen = pulled(monkeypatch)
    pull_task()
    pull_task(by_hand=True)
    assert [window for _, window in seen] == [
        Window(datetime(2026, 3, 13, 15, 59, tzinfo=UTC), datetime(2026, 3, 13, 16, tzinfo=UTC))
    ] * 2


@pytest.mark.parametrize("kind", [SourceError, BudgetSpentError, CircuitOpenError])
def test_a_vendor_that_failed_is_not_asked_again_before_the_next_interval(
    monkeypatch: pytest.MonkeyPatch, pull_task: Callable[..., None], kind: type[Exception]
) -> None:
    pulled(monkeypatch, kind("Polygon: answered 503"))
    with pytest.raises(AirflowFailException, match="Polygon: answered 503"):
        pull_task()


def test_a_stream_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch, pull_task: Callable[..., None]) -> None:
    pulled(monkeypatch, StreamError("did not take 3 of 25 events"))
    with pytest.raises(StreamError):
        pull_task()
