"""Whatever a vendor puts where something else was promised, it ends in events, rejected parts or a SourceError."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import SourceError
from include.events import Window, parse_event
from include.sources import alphavantage_series, polygon_results, yahoo_chart
from include.sources.asking import Reply
from include.sources.base import Batch

NOON = datetime(2026, 3, 13, 12, tzinfo=UTC)
HOUR = Window(NOON - timedelta(hours=1), NOON)
NOW = int(NOON.timestamp())
AT = NOW - 60

CHART = {"chart": {"error": None, "result": [{
    "meta": {"symbol": "A", "dataGranularity": "1m", "regularMarketTime": AT, "instrumentType": "EQUITY",
             "tradingPeriods": {"pre": [[{"start": AT - 60, "end": AT}]], "regular": [[{"start": AT, "end": NOW}]]}},
    "timestamp": [AT - 60, AT],
    "indicators": {"quote": [{name: [1, 2] for name in ("open", "high", "low", "close", "volume")}]},
    "events": {"splits": {"1": {"date": AT, "numerator": 2, "denominator": 1}},
               "dividends": {"1": {"date": AT, "amount": 1}}},
}]}}  # fmt: skip
SERIES = {"Meta Data": {"6. Time Zone": "US/Eastern"}, "Time Series (1min)": {"2026-03-13 07:59:00": {"1. open": "1"}}}
SHARE = {"Global Quote": {"01. symbol": "A", "05. price": "1", "07. latest trading day": "2026-03-12"}}
COIN = {"Realtime Currency Exchange Rate": {
    "1. From_Currency Code": "A", "3. To_Currency Code": "USD", "6. Last Refreshed": "2026-03-13 11:59:00",
    "7. Time Zone": "UTC",
}}  # fmt: skip
TICKERS = {"status": "OK", "tickers": [{"ticker": "A", "updated": AT * 10**9, "min": {"t": AT * 1000, "c": 1}}]}
BARS = {"status": "OK", "results": [{"t": AT * 1000, "c": 1}], "next_url": "https://polygon.example/next"}
TRADES = {"status": "OK", "results": [{"id": "7", "exchange": 11, "trf_id": 3, "sip_timestamp": AT * 10**9}]}
LAST = {"status": "OK", "results": {"T": "A", "i": "7", "x": 4, "t": AT * 10**9}}


def yahoo(data: Any) -> Batch:
    ask = yahoo_chart.Ask("A", "A", "1m", {}, frozenset({"quote", "bar", "action"}), HOUR)
    return yahoo_chart.transform(Reply(ask, 1, data, b"", yahoo_chart.refusal(ask, data)), NOON)


def vantage(series: str, currency: str | None) -> Callable[[Any], Batch]:
    ask = alphavantage_series.Ask("A", "A", {}, HOUR, currency, series)

    def parse(data: Any) -> Batch:
        refusal = alphavantage_series.refusal(ask, data)
        return alphavantage_series.transform(Reply(ask, 1, data, b"", refusal), NOON)

    return parse


def polygon(kind: Any) -> Callable[[Any], Batch]:
    ask = polygon_results.Ask(kind, "/", {}, {"A": "A"}, NOON, HOUR)

    def parse(data: Any) -> Batch:
        return polygon_results.transform(Reply(ask, 1, data, b"", polygon_results.refusal(ask, 200, data)), NOON)

    return parse


CASES = {
    "yahoo": (CHART, yahoo, 5),
    "alphavantage bars": (SERIES, vantage("Time Series (1min)", None), 1),
    "alphavantage share": (SHARE, vantage("", None), 1),
    "alphavantage coin": (COIN, vantage("", "USD"), 1),
    "polygon tickers": (TICKERS, polygon("quote"), 2),
    "polygon bars": (BARS, polygon("bar"), 1),
    "polygon trades": (TRADES, polygon("trade"), 1),
    "polygon last trade": (LAST, polygon("trade"), 1),
}
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text() | st.sampled_from(["9999-12-31 23:59:59", "0001-01-01", "A"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be put instead: the path to every value."""
    yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(value, (*path, key))


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(data)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@pytest.mark.parametrize("name", CASES)
@given(chosen=st.data())
def test_a_lie_in_one_place_is_rejected_or_passed_on_but_never_breaks_the_source(
    name: str, chosen: st.DataObject
) -> None:
    good, parse, _ = CASES[name]
    data = put(good, chosen.draw(st.sampled_from(list(places(good)))), chosen.draw(ANYTHING))
    try:
        batch = parse(data)
    except SourceError:
        return
    assert len(batch.events) == len(batch.lines)
    for event in batch.events:
        parse_event(json.loads(event.to_json()) | {"vendor_id": event.vendor_id[:200].replace("\x00", "")})


@pytest.mark.parametrize("name", CASES)
def test_the_truth_gives_all_its_events(name: str) -> None:
    good, parse, events = CASES[name]
    batch = parse(good)
    assert (len(batch.events), batch.rejected) == (events, [])
