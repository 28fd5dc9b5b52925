"""A source's part in a run: day after day, and when to come back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from include.errors import HistoryDeferredError, LeaseHeldError, LoadRejectedError
from include.events import Window
from include.pipeline.history_day import bring_history
from include.pipeline.history_request import HistoryRequest
from include.settings import Settings

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
TWO_DAYS = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
Bring = Callable[..., list[Any]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the fetching was asked for: (day, symbols); an error in `errors` by day ends it."""
    calls: list[Any] = []

    def backfill(settings: Settings, source: str, window: Window, *, symbols: Any, **_: Any) -> str:
        calls.append((window.start.day, symbols))
        if error := errors.get(window.start.day):
            raise error
        return f"{source} of {window.start.day}"

    errors.clear()
    monkeypatch.setitem(sys.modules, "include.pipeline.backfill", SimpleNamespace(backfill=backfill))
    return calls


errors: dict[int, Exception] = {}


def bring(request: HistoryRequest | None = None) -> list[Any]:
    return bring_history(
        Settings(_env_file=None), "binance", TWO_DAYS, request or HistoryRequest(), run_id="run", clock=lambda: NOW
    )


def test_a_window_of_two_days_is_brought_day_by_day(asked: list[Any]) -> None:
    assert bring(HistoryRequest(symbols=("BTC-USD",))) == ["binance of 1", "binance of 2"]
    assert asked == [(1, ("BTC-USD",)), (2, ("BTC-USD",))]


def test_without_symbols_all_are_meant(asked: list[Any]) -> None:
    bring()
    assert asked == [(1, None), (2, None)]


def test_a_spent_budget_says_when_to_come_back(asked: list[Any]) -> None:
    errors[2] = HistoryDeferredError("6000 of 6000 calls", NOW + timedelta(hours=12))
    with pytest.raises(HistoryDeferredError) as deferred:
        bring()
    assert deferred.value.until == NOW + timedelta(hours=12)


def test_a_day_that_another_process_works_on_is_come_back_to_soon(asked: list[Any]) -> None:
    errors[1] = LeaseHeldError("the step history binance runs already")
    with pytest.raises(HistoryDeferredError, match="runs already") as deferred:
        bring()
    assert timedelta(0) < deferred.value.until - NOW <= timedelta(minutes=1)
    assert asked == [(1, None)]


def test_a_rejected_load_is_told_to_people_before_the_task_fails(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr("include.pipeline.notify.notify", lambda settings, run_id: told.append(run_id))
    errors[1] = LoadRejectedError("load 7")
    with pytest.raises(LoadRejectedError):
        bring()
    assert told == ["run"]
