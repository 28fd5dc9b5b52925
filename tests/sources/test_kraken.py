"""Kraken against a local server that answers what such servers answer."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError, MisfitError, SourceError
from include.events import Window, iso
from include.settings import Settings
from include.sources import crypto, kraken
from include.sources.gate import Limits
from include.sources.kraken import Kraken, trade_event
from tests.faults.proxy import Answer, Cut, Fault, FaultProxy, Forward, Request, Response
from tests.sources.exchanges import DATE, HOUR, MINUTE, NOON, asked, at, clock, fetched, instrument, said

BTC = instrument("BTC-USD", kraken="XBTUSD")
SOL = instrument("SOL-USD", kraken="SOLUSD")
OLD = instrument("OLD-USD", kraken="OLDUSD")
START = int(MINUTE.start.timestamp())
ONLY_QUOTES = Window(NOON + timedelta(seconds=10), NOON + timedelta(seconds=20))

UNKNOWN = said({"error": ["EQuery:Unknown asset pair"]})
TICKER = {
    "a": ["64000.10000", "1", "1.000"], "b": ["64000.00000", "1", "1.000"], "c": ["64000.05000", "0.00120000"],
    "v": ["811.5", "2603.25"], "p": ["64100.1", "64200.2"], "t": [9181, 25302], "l": ["63900.0", "63800.0"],
    "h": ["64500.0", "64600.0"], "o": "64050.00000",
}  # fmt: skip


def good(result: Any, **headers: str) -> Answer:
    return said({"error": [], "result": result}, **headers)


def candle(seconds: int) -> list[Any]:
    return [START + seconds, "64000.0", "64001.0", "63999.0", "64000.1", "64000.2", "2.5", 42]


def trade(number: int, seconds: float, side: str = "b") -> list[Any]:
    return ["64000.10000", "0.00120000", START + seconds, side, "m", "", number]


@pytest.fixture(autouse=True)
def without_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """No break between calls."""
    monkeypatch.setattr(Kraken, "spacing", 0.0)


def source(vendor: FaultProxy) -> Kraken:
    return Kraken(Settings(_env_file=None, kraken_url=vendor.url, http_timeout_seconds=5))


def test_a_minute_is_the_bars_of_each_pair_and_one_call_for_all_quotes(vendor: FaultProxy) -> None:
    vendor.add(good({"XXBTZUSD": [candle(-60), candle(0), candle(60)], "last": START}), path=r".*OHLC.*XBT.*")
    vendor.add(good({"SOLUSD": [candle(0)], "last": START}), path=r".*OHLC.*SOL.*")
    vendor.add(good({"XXBTZUSD": TICKER, "SOLUSD": TICKER}, **DATE), path=r".*Ticker.*")
    got = fetched(source(vendor), BTC, SOL)
    assert [(e.source, e.kind, e.symbol, clock(e), e.vendor_id, e.complete_until) for e in got.events] == [
        ("kraken", "bar", "BTC-USD", "11:58:00", "", None),
        ("kraken", "bar", "BTC-USD", "11:59:00", "", None),
        ("kraken", "bar", "SOL-USD", "11:59:00", "", None),
        ("kraken", "quote", "BTC-USD", "12:00:07", "", NOON),
        ("kraken", "quote", "SOL-USD", "12:00:07", "", NOON),
    ]
    assert [got.events[1].payload, got.events[3].payload] == [
        {"time": START, "open": "64000.0", "high": "64001.0", "low": "63999.0", "close": "64000.1",
         "vwap": "64000.2", "volume": "2.5", "count": 42},
        TICKER,
    ]  # fmt: skip
    assert got.rejected == []
    assert asked(vendor) == [
        f"/0/public/OHLC?pair=XBTUSD&interval=1&since={START - 180}",
        f"/0/public/OHLC?pair=SOLUSD&interval=1&since={START - 180}",
        "/0/public/Ticker?pair=XBTUSD%2CSOLUSD",
    ]


@pytest.mark.parametrize("date", [{}, {"Date": "at noon"}])
def test_a_quote_is_dated_by_us_where_the_vendors_clock_is_not_said(vendor: FaultProxy, date: dict[str, str]) -> None:
    vendor.add(good({"XXBTZUSD": TICKER}, **date))
    (quote,) = fetched(source(vendor), BTC, window=ONLY_QUOTES).events
    assert quote.event_time == quote.received_at


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("XXBTZUSD", "XBTUSD"),
        ("XETHZUSD", "ETHUSD"),
        ("XETHXXBT", "ETHXBT"),
        ("XDGUSD", "XDGUSD"),
        ("SOLUSD", "SOLUSD"),
    ],
)
def test_a_pair_is_recognised_under_the_vendors_own_key(vendor: FaultProxy, key: str, name: str) -> None:
    vendor.add(good({key: TICKER, "ADAUSD": TICKER}))
    asking = (instrument("THIS", kraken=name), instrument("ADA-USD", kraken="ADAUSD"))
    got = fetched(source(vendor), *asking, window=ONLY_QUOTES)
    assert [event.symbol for event in got.events] == ["THIS", "ADA-USD"]
    assert len(vendor.seen) == 1


def test_other_names_of_pairs_are_looked_up_in_the_vendors_list(vendor: FaultProxy) -> None:
    vendor.add(good({"XXBTZUSD": TICKER, "XDGUSD": TICKER, "ADAUSD": TICKER}), path=r".*Ticker.*")
    names = {
        "XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD"},
        "XDGUSD": {"altname": "XDGUSD", "wsname": "XDG/USD"},
    }
    vendor.add(good(names), path=r".*AssetPairs.*")
    asking = (instrument("BTC-USD", kraken="XBT/USD"), instrument("DOGE-USD", kraken="XDGUSD"))
    got = fetched(source(vendor), *asking, window=ONLY_QUOTES)
    assert [event.symbol for event in got.events] == ["BTC-USD", "DOGE-USD"]
    assert [bad.reason for bad in got.rejected] == ["'ADAUSD' was not asked for"]


def test_an_unknown_pair_costs_only_itself_and_is_not_asked_for_twice(vendor: FaultProxy) -> None:
    vendor.add(UNKNOWN, path=r".*OLDUSD.*", times=None)
    vendor.add(good({"XXBTZUSD": [candle(0)], "last": START}), path=r".*OHLC.*")
    vendor.add(good({"XXBTZUSD": TICKER}), path=r".*Ticker.*")
    got = fetched(source(vendor), OLD, BTC)
    assert [(event.kind, event.symbol) for event in got.events] == [("bar", "BTC-USD"), ("quote", "BTC-USD")]
    assert [(bad.kind, bad.symbol, bad.reason) for bad in got.rejected] == [
        ("bar", "OLD-USD",
         "Kraken does not know OLDUSD (EQuery:Unknown asset pair); correct the column kraken in instruments.csv"),
    ]  # fmt: skip
    assert asked(vendor)[-1] == "/0/public/Ticker?pair=XBTUSD"


def test_one_unknown_pair_in_a_call_for_all_has_each_asked_for_alone(vendor: FaultProxy) -> None:
    vendor.add(UNKNOWN, path=r".*OLDUSD.*", times=None)
    vendor.add(good({"XXBTZUSD": TICKER}))
    got = fetched(source(vendor), OLD, BTC, window=ONLY_QUOTES)
    assert ([event.symbol for event in got.events], [bad.symbol for bad in got.rejected]) == (["BTC-USD"], ["OLD-USD"])


@pytest.mark.parametrize(
    "fault",
    [
        said({"error": ["EGeneral:Too many requests"]}),
        said({"error": ["EAPI:Rate limit exceeded"]}),
        said({"error": ["EService:Throttled: 1773489660"]}),
        Answer(429, b"", {"Retry-After": "1"}),
        Answer(520, b"<html>unknown error</html>"),
        Answer(200, b"<html>Checking your browser</html>"),
        Cut(0.5, good({})),
    ],
    ids=["too many", "rate limit", "throttled", "429", "520", "html", "cut off"],
)
def test_a_passing_fault_is_tried_again(vendor: FaultProxy, pauses: list[float], fault: Fault) -> None:
    vendor.add(fault, times=2)
    vendor.add(good({"XXBTZUSD": [candle(0)], "last": START}))
    assert len(fetched(source(vendor), BTC, window=MINUTE, kind="bar").events) == 1
    assert (len(vendor.seen), len(pauses)) == (3, 2)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (said({"error": ["EService:Unavailable"]}), "Kraken: answered EService:Unavailable"),
        (said({"error": ["EGeneral:Invalid arguments", "EGeneral:Internal error"]}), "Invalid arguments, EGeneral:Int"),
        (said([]), "Kraken: the answer holds neither errors nor a result"),
        (said({"error": "no", "result": {}}), "Kraken: the answer holds neither errors nor a result"),
        (said({"error": []}), "Kraken: the answer holds neither errors nor a result"),
        (Answer(403, b"blocked"), "Kraken: answered 403"),
    ],
)
def test_an_error_that_is_not_about_a_pair_is_one_of_the_vendor(vendor: FaultProxy, answer: Answer, error: str) -> None:
    vendor.add(answer)
    with pytest.raises(SourceError, match=error):
        fetched(source(vendor), BTC)
    assert len(vendor.seen) == 1


def test_a_warning_beside_a_result_is_no_error(vendor: FaultProxy) -> None:
    vendor.add(said({"error": ["WGeneral:Deprecated"], "result": {"XXBTZUSD": [candle(0)], "last": START}}))
    assert len(fetched(source(vendor), BTC, window=MINUTE, kind="bar").events) == 1


def test_an_answer_of_another_form_is_an_error_if_it_is_about_all(vendor: FaultProxy) -> None:
    vendor.add(good([]))
    with pytest.raises(MisfitError, match="Kraken: result is no object but list"):
        fetched(source(vendor), BTC, SOL, window=ONLY_QUOTES)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ([], "result is no object but list"),
        ({"last": START}, "result holds no list of one pair but last"),
        ({"A": [], "B": []}, "result holds no list of one pair but A, B"),
        ({"XXBTZUSD": {}, "last": START}, "result holds no list of one pair but XXBTZUSD, last"),
        ({"XXBTZUSD": [candle(0)[:7]], "last": START},
         "7 values; there must be 8: time, open, high, low, close, vwap, volume, count"),
        ({"XXBTZUSD": [["now", *candle(0)[1:]]], "last": START}, "time is 'now'; it must be an epoch time"),
    ],
)  # fmt: skip
def test_bad_candles_are_rejected(vendor: FaultProxy, result: Any, reason: str) -> None:
    vendor.add(good(result))
    got = fetched(source(vendor), BTC, window=MINUTE, kind="bar")
    assert ([(bad.reason, bad.symbol) for bad in got.rejected], got.events) == ([(reason, "BTC-USD")], [])


def test_a_ticker_that_is_no_object_is_rejected(vendor: FaultProxy) -> None:
    vendor.add(good({"XXBTZUSD": TICKER, "SOLUSD": None}))
    got = fetched(source(vendor), BTC, SOL, window=ONLY_QUOTES)
    assert [event.symbol for event in got.events] == ["BTC-USD"]
    assert [(bad.reason, bad.symbol, json.loads(bad.raw)) for bad in got.rejected] == [
        ("not an object but NoneType", "SOL-USD", None)
    ]


def test_candles_older_than_the_vendor_keeps_are_an_error_that_says_what_to_ask_for(
    vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kraken, "CANDLES", 3)
    vendor.add(good({"XXBTZUSD": [candle(-60), candle(0), candle(60)], "last": START}), path=r".*XBT.*")
    vendor.add(good({"SOLUSD": [candle(-3540), candle(0)], "last": START}), path=r".*SOL.*")
    seen: list[tuple[str, str]] = []
    with pytest.raises(
        MisfitError, match=r"Kraken: it has candles .* of XBTUSD from 2026-03-14 11:58 on only.* trades"
    ):
        for batch in source(vendor).fetch(HOUR, (BTC, SOL), "bar"):
            seen += [(event.symbol, clock(event)) for event in batch.events]
    assert seen == [("BTC-USD", "11:58:00"), ("BTC-USD", "11:59:00"), ("SOL-USD", "11:00:00"), ("SOL-USD", "11:59:00")]


class Exchange(Fault):
    """Serves /0/public/Trades as the vendor does: the first ones after `since`, or from it on, in nanoseconds."""

    def __init__(self, trades: list[list[Any]], page: int, *, inclusive: bool = False) -> None:
        self.trades, self.page, self.inclusive = trades, page, inclusive

    def act(self, request: Request, forward: Forward, closing: Any) -> Response:
        since = int(parse_qs(urlsplit(request.path).query)["since"][0]) - self.inclusive
        rows = [row for row in self.trades if nanoseconds(row) > since][: self.page]
        last = str(nanoseconds(rows[-1]) if rows else since)
        return Response(200, good({"XXBTZUSD": rows, "last": last}).body)


def nanoseconds(row: list[Any]) -> int:
    return round(row[2] * 1000) * 1_000_000


@pytest.mark.parametrize("inclusive", [False, True])
def test_trades_are_paged_forward_even_where_a_page_ends_within_an_instant(vendor: FaultProxy, inclusive: bool) -> None:
    times = [-1, 0, 10.5, 10.5, 10.5, 20, 59.999, 60]
    market = [trade(number, seconds) for number, seconds in enumerate(times)]
    vendor.add(Exchange(market, 4, inclusive=inclusive), times=None)
    got = fetched(source(vendor), BTC, window=MINUTE, kind="trade")
    assert sorted({(event.vendor_id, clock(event)) for event in got.events}) == [
        ("1", "11:59:00"), ("2", "11:59:10.500000"), ("3", "11:59:10.500000"), ("4", "11:59:10.500000"),
        ("5", "11:59:20"), ("6", "11:59:59.999000"),
    ]  # fmt: skip


@hypothesis.settings(max_examples=30, deadline=None)
@given(
    times=st.lists(st.integers(-3, 12), max_size=30, unique=True).map(sorted),
    page=st.integers(2, 6),
    inclusive=st.booleans(),
)
def test_no_trade_of_the_window_is_lost_however_the_pages_fall(times: list[int], page: int, inclusive: bool) -> None:
    with FaultProxy() as vendor:
        market = [trade(number, seconds) for number, seconds in enumerate(times)]
        vendor.add(Exchange(market, page, inclusive=inclusive), times=None)
        got = fetched(source(vendor), BTC, window=Window(at(0), at(5)), kind="trade")
    wanted = [number for number, seconds in enumerate(times) if 0 <= seconds < 5]
    assert sorted({int(event.vendor_id) for event in got.events}) == wanted


def test_a_page_that_comes_again_ends_in_an_error(vendor: FaultProxy) -> None:
    page = good({"XXBTZUSD": [trade(1, 1), trade(2, 2)], "last": f"{START + 2}000000000"})
    vendor.add(page, times=None)
    with pytest.raises(MisfitError, match="Kraken: sends the same page of trades of XBTUSD again"):
        fetched(source(vendor), BTC, window=MINUTE, kind="trade")
    assert len(vendor.seen) == 2


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ([], "no trades of XBTUSD: result is no object but list"),
        ({"XXBTZUSD": [trade(1, 1)[:3]], "last": "1"}, "no further trades of XBTUSD can be asked for: 3 values"),
        ({"XXBTZUSD": [trade(1, 1)], "last": 5}, "last is 5, which leads to no further trades"),
        ({"XXBTZUSD": [trade(1, 1)], "last": "5"}, "last is '5', which leads to no further trades"),
        ({"XXBTZUSD": [trade(1, 1)]}, "last is None, which leads to no further trades"),
    ],
)
def test_a_page_that_leads_no_further_is_an_error(vendor: FaultProxy, result: Any, error: str) -> None:
    vendor.add(good(result), times=None)
    with pytest.raises(MisfitError, match=f"Kraken: {error}"):
        fetched(source(vendor), BTC, window=MINUTE, kind="trade")


def test_a_row_of_rest_and_an_object_of_the_feed_have_the_same_key() -> None:
    row = trade_event(trade(7, 10.5004999), "BTC-USD", NOON)
    told = {
        "symbol": "BTC/USD", "side": "buy", "price": 64000.1, "qty": 0.0012, "ord_type": "market", "trade_id": 7,
        "timestamp": iso(at(10.500499)),
    }  # fmt: skip
    frame = trade_event(told, "BTC-USD", NOON)
    assert (frame.source, frame.kind, frame.symbol, frame.event_time, frame.vendor_id) == (
        row.source, row.kind, row.symbol, row.event_time, row.vendor_id,
    )  # fmt: skip
    assert (row.event_time, row.vendor_id) == (at(10.5), "7")
    assert (frame.payload, row.payload["time"]) == (told, START + 10.5004999)


@given(milliseconds=st.integers(10**12, 4 * 10**12))
def test_seconds_as_a_float_are_exact_to_the_millisecond(milliseconds: int) -> None:
    row = trade(1, 0)
    row[2] = milliseconds / 1000
    got = trade_event(row, "BTC-USD", NOON).event_time
    assert round(got.timestamp() * 1000) == milliseconds


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (7, "not an object but int"),
        (trade(1, 0)[:5], "5 values; there must be 7"),
        ([*trade(1, 0)[:6], "1"], "trade_id is '1'; it must be a trade's number"),
        (["1", "1", "12:00", "b", "m", "", 1], "time is '12:00'; it must be seconds since 1970"),
        (["1", "1", True, "b", "m", "", 1], "time is True; it must be seconds since 1970"),
        (["1", "1", 1e300, "b", "m", "", 1], "no time between 1971 and 2200"),
        ({"trade_id": 1, "timestamp": "12:00"}, "timestamp is '12:00'; it must be an ISO 8601 time"),
    ],
)
def test_a_trade_needs_its_number_and_its_time(row: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        trade_event(row, "BTC-USD", NOON)


def test_calls_keep_a_second_between_them(vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.undo()
    monkeypatch.setattr(crypto, "monotonic", lambda: 100.0 + sum(waits))
    monkeypatch.setattr(crypto, "sleep", waits.append)
    vendor.add(good({"XXBTZUSD": [], "last": START}), path=r".*OHLC.*", times=None)
    vendor.add(good({"XXBTZUSD": TICKER}))
    fetched(source(vendor), BTC)
    assert waits == [1.0]


def test_there_is_no_history_of_quotes(vendor: FaultProxy) -> None:
    with pytest.raises(ConfigError, match="kraken has no history of quotes; it has bars and trades"):
        fetched(source(vendor), BTC, kind="quote")


def test_the_budget_is_one_call_a_second(vendor: FaultProxy) -> None:
    assert source(vendor).limits == Limits(per_minute=60)
