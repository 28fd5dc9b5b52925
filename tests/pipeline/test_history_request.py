"""What a backfill is asked for: out of params and back, and what of a day it takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError
from include.events import Window
from include.pipeline.history_request import HistoryRequest, asked_sources, day_before, days_of, parse_moment
from include.settings import Settings

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
moments = st.timedeltas(timedelta(0), timedelta(days=2000)).map(lambda since: MARCH - since)
names = st.lists(st.sampled_from(["simulator", "binance", "kraken"]), unique=True).map(tuple)


def day(number: int) -> Window:
    start = MARCH + timedelta(days=number - 1)
    return Window(start, start + timedelta(days=1))


@given(sources=names, symbols=names, start=moments, length=st.timedeltas(timedelta(seconds=1), timedelta(days=900)),
       reprocess=st.booleans(), gaps=st.booleans(), kind=st.sampled_from([None, "bar", "trade"]))  # fmt: skip
def test_params_say_the_whole_request(
    sources: Any, symbols: Any, start: datetime, length: timedelta, reprocess: bool, gaps: bool, kind: Any
) -> None:
    request = HistoryRequest(sources, symbols, kind, reprocess, gaps, start, start + length)
    assert HistoryRequest.from_params(request.params()) == request


@pytest.mark.parametrize("params", [{}, {"sources": None, "symbols": [], "kind": "usual", "from": "", "to": None}])
def test_what_is_left_out_of_a_form_is_no_bound(params: dict[str, Any]) -> None:
    assert HistoryRequest.from_params(params) == HistoryRequest()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"kind": "candle"}, "kind = 'candle': allowed are usual, quote, trade, bar, action"),
        ({"from": "noon"}, "from = 'noon': write a date, as in 2026-03-01"),
        ({"from": "2026-03-02", "to": "2026-03-02"}, "is not after from"),
        ({"symbols": "BTC-USD"}, "symbols = 'BTC-USD': write a list of names"),
        ({"to": 20260301}, "to = 20260301: write a date"),
    ],
)
def test_a_wrong_param_is_named_with_what_is_allowed(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        HistoryRequest.from_params(params)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01", MARCH),
        ("2026-03-01T12:30", MARCH.replace(hour=12, minute=30)),
        ("2026-03-01T00:00:00Z", MARCH),
        ("2026-03-01T02:00:00+02:00", MARCH),
    ],
)
def test_dates_and_times_are_read_as_utc(text: str, moment: datetime) -> None:
    assert parse_moment("--from", text) == moment


@pytest.mark.parametrize(
    ("start", "end", "taken"),
    [
        (None, None, day(2)),
        (MARCH, MARCH + timedelta(days=9), day(2)),
        (MARCH + timedelta(days=1, hours=18), None, Window(MARCH + timedelta(days=1, hours=18), day(2).end)),
        (None, MARCH + timedelta(days=1, hours=6), Window(day(2).start, MARCH + timedelta(days=1, hours=6))),
        (MARCH + timedelta(days=2), None, None),
    ],
    ids=["no bounds", "wide bounds", "from the evening on", "the morning", "another day"],
)
def test_a_run_takes_what_of_its_day_lies_within_the_bounds(
    start: datetime | None, end: datetime | None, taken: Window | None
) -> None:
    assert HistoryRequest(start=start, end=end).window(day(2), by_hand=False) == taken


def test_by_hand_the_bounds_count_however_far_they_are() -> None:
    request = HistoryRequest(start=day(7).start, end=day(9).end)
    assert request.window(day(2), by_hand=True) == Window(day(7).start, day(9).end)
    with pytest.raises(ConfigError, match="give both"):
        HistoryRequest(start=day(7).start).window(day(2), by_hand=True)


def test_a_window_is_cut_at_each_midnight() -> None:
    window = Window(MARCH + timedelta(hours=20), MARCH + timedelta(days=2, hours=1))
    assert [f"{one.start:%d %H}-{one.end:%d %H}" for one in days_of(window)] == [
        "01 20-02 00",
        "02 00-03 00",
        "03 00-03 01",
    ]


@given(start=moments, length=st.timedeltas(timedelta(microseconds=1), timedelta(days=40)))
def test_the_days_of_a_window_are_the_window(start: datetime, length: timedelta) -> None:
    days = list(days_of(Window(start, start + length)))
    assert (days[0].start, days[-1].end) == (start, start + length)
    assert all(before.end == after.start for before, after in pairwise(days))
    assert all(one.start.date() == (one.end - timedelta(microseconds=1)).date() for one in days)


def test_yesterday_is_the_last_whole_day() -> None:
    assert day_before(day(3).start) == day_before(day(3).start + timedelta(hours=23)) == day(2)


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        (HistoryRequest(), {"simulator": True, "binance": True, "kraken": True}),
        (HistoryRequest(sources=("binance",)), {"simulator": False, "binance": True, "kraken": False}),
        (HistoryRequest(kind="bar"), {"simulator": False, "binance": True, "kraken": True}),
    ],
)
def test_a_source_is_asked_if_it_is_meant_and_has_that_kind(request_: HistoryRequest, asked: dict[str, bool]) -> None:
    assert {source: request_.asks(source) for source in asked} == asked


def test_every_enabled_source_with_history_is_meant_by_default() -> None:
    assert asked_sources(Settings(_env_file=None, sources=["kraken", "simulator"])) == ("kraken", "simulator")
