"""Binance against a local server that answers what such servers answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError, MisfitError, SourceError
from include.events import Window
from include.settings import Settings
from include.sources import binance
from include.sources.binance import Binance, trade_event
from include.sources.gate import Limits, OpenGate
from tests.faults.proxy import Answer, Cut, Fault, FaultProxy, Forward, Request, Reset, Response
from tests.sources.asked import whole
from tests.sources.exchanges import HOUR, MINUTE, NOON, asked, at, clock, fetched, instrument, ms, said

BTC = instrument("BTC-USD", binance="BTCUSDT")
ETH = instrument("ETH-USD", binance="ETHUSDT")
OLD = instrument("OLD-USD", binance="OLDUSDT")

UNKNOWN = said({"code": -1121, "msg": "Invalid symbol."}, 400)
BANNED = said({"code": -1003, "msg": "Way too much request weight used; IP banned."}, 418, Retry_After="300")


def ticker(symbol: str, price: str) -> dict[str, Any]:
    return {"symbol": symbol, "lastPrice": price, "bidPrice": "1.0", "askPrice": "2.0", "closeTime": ms(67.25)}


def kline(seconds: int, close: str = "64000.10") -> list[Any]:
    start = ms(seconds)
    return [
        start,
        "64000.00",
        "64001.00",
        "63999.00",
        close,
        "2.5",
        start + 59_999,
        "160000.25",
        42,
        "1.5",
        "96000.1",
        "0",
    ]


def trade(number: int, seconds: float) -> dict[str, Any]:
    return {
        "a": number, "p": "64000.10", "q": "0.5", "f": number, "l": number, "T": ms(seconds), "m": True, "M": True,
    }  # fmt: skip


TICKERS = said([ticker("BTCUSDT", "64000.1"), ticker("ETHUSDT", "3100.2")])


class Noted(OpenGate):
    """A gate that keeps what it was told."""

    def __init__(self) -> None:
        self.weights: list[int] = []
        self.pauses: list[float] = []

    def admit(self, weight: int = 1) -> None:
        self.weights.append(weight)

    def pause(self, seconds: float, reason: str) -> None:
        self.pauses.append(seconds)


def source(vendor: FaultProxy) -> Binance:
    made = Binance(Settings(_env_file=None, binance_url=vendor.url, http_timeout_seconds=5))
    made.gate = Noted()
    return made


def test_a_minute_is_the_bars_of_each_symbol_and_one_call_for_all_quotes(vendor: FaultProxy) -> None:
    vendor.add(said([kline(-120), kline(-60), kline(0)]), path=r"/api/v3/klines.*BTC.*")
    vendor.add(said([kline(0)]), path=r"/api/v3/klines.*ETH.*")
    vendor.add(TICKERS, path=r"/api/v3/ticker/24hr.*")
    binance = source(vendor)
    got = fetched(binance, BTC, ETH)
    assert [(e.source, e.kind, e.symbol, clock(e), e.vendor_id, e.complete_until) for e in got.events] == [
        ("binance", "bar", "BTC-USD", "11:57:00", "", None),
        ("binance", "bar", "BTC-USD", "11:58:00", "", None),
        ("binance", "bar", "BTC-USD", "11:59:00", "", None),
        ("binance", "bar", "ETH-USD", "11:59:00", "", None),
        ("binance", "quote", "BTC-USD", "12:00:07.250000", "", NOON),
        ("binance", "quote", "ETH-USD", "12:00:07.250000", "", NOON),
    ]
    assert got.rejected == []
    assert asked(vendor) == [
        f"/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={ms(-120)}&endTime={ms(0)}&limit=1000",
        f"/api/v3/klines?symbol=ETHUSDT&interval=1m&startTime={ms(-120)}&endTime={ms(0)}&limit=1000",
        "/api/v3/ticker/24hr?symbols=%5B%22BTCUSDT%22%2C%22ETHUSDT%22%5D",
    ]
    assert binance.gate.weights == [2, 2, 2]  # type: ignore[attr-defined]


def test_a_bar_has_the_values_as_sent_under_the_vendors_names(vendor: FaultProxy) -> None:
    vendor.add(said([kline(0)]))
    (bar,) = fetched(source(vendor), BTC, window=MINUTE, kind="bar").events
    assert bar.payload == {
        "openTime": ms(0), "open": "64000.00", "high": "64001.00", "low": "63999.00", "close": "64000.10",
        "volume": "2.5", "closeTime": ms(0) + 59_999, "quoteVolume": "160000.25", "count": 42,
        "takerBuyBaseVolume": "1.5", "takerBuyQuoteVolume": "96000.1", "unused": "0",
    }  # fmt: skip


def test_the_bar_of_the_minute_that_goes_on_is_left_out(vendor: FaultProxy) -> None:
    vendor.add(said([kline(0), kline(60)]))
    got = fetched(source(vendor), BTC, window=MINUTE, kind="bar")
    assert [clock(event) for event in got.events] == ["11:59:00"]


def test_ten_seconds_in_which_no_minute_ends_ask_for_quotes_only(vendor: FaultProxy) -> None:
    vendor.add(TICKERS)
    window = Window(NOON + timedelta(seconds=10), NOON + timedelta(seconds=20))
    got = fetched(source(vendor), BTC, ETH, window=window)
    assert ({event.kind for event in got.events}, len(vendor.seen)) == ({"quote"}, 1)


@pytest.mark.parametrize(("symbols", "weight"), [(20, 2), (21, 40), (100, 40), (101, 80)])
def test_the_call_for_all_quotes_is_weighed_as_the_vendor_does(vendor: FaultProxy, symbols: int, weight: int) -> None:
    vendor.add(said([]))
    binance = source(vendor)
    window = Window(NOON + timedelta(seconds=10), NOON + timedelta(seconds=20))
    fetched(binance, *(instrument(f"S{n}", binance=f"S{n}USDT") for n in range(symbols)), window=window)
    assert binance.gate.weights == [weight]  # type: ignore[attr-defined]


def test_an_unknown_symbol_costs_only_itself_and_is_not_asked_for_twice(vendor: FaultProxy) -> None:
    vendor.add(UNKNOWN, path=r".*OLDUSDT.*", times=None)
    vendor.add(said([kline(0)]), path=r"/api/v3/klines.*", times=2)
    vendor.add(TICKERS, path=r"/api/v3/ticker.*")
    got = fetched(source(vendor), BTC, OLD, ETH)
    assert [(e.kind, e.symbol) for e in got.events] == [
        ("bar", "BTC-USD"), ("bar", "ETH-USD"), ("quote", "BTC-USD"), ("quote", "ETH-USD"),
    ]  # fmt: skip
    (bad,) = got.rejected
    assert bad.reason == (
        "Binance does not know OLDUSDT (Invalid symbol.); correct the column binance in instruments.csv"
    )
    assert (bad.kind, bad.symbol, bad.raw) == ("bar", "OLD-USD", UNKNOWN.body)
    assert asked(vendor)[-1] == "/api/v3/ticker/24hr?symbols=%5B%22BTCUSDT%22%2C%22ETHUSDT%22%5D"


def test_one_unknown_symbol_in_a_call_for_all_has_each_asked_for_alone(vendor: FaultProxy) -> None:
    vendor.add(UNKNOWN, path=r".*OLDUSDT.*", times=None)
    vendor.add(said([ticker("BTCUSDT", "64000.1")]), path=r".*BTCUSDT.*")
    window = Window(NOON + timedelta(seconds=10), NOON + timedelta(seconds=20))
    got = fetched(source(vendor), BTC, OLD, window=window)
    assert [event.symbol for event in got.events] == ["BTC-USD"]
    assert [(bad.kind, bad.symbol) for bad in got.rejected] == [("quote", "OLD-USD")]
    assert len(vendor.seen) == 3


def test_a_vendor_that_knows_nothing_at_all_has_failed(vendor: FaultProxy) -> None:
    vendor.add(UNKNOWN, times=None)
    with pytest.raises(SourceError, match=r"Binance: refused all .* OLDUSDT .*see docs/vendors/binance\.md"):
        fetched(source(vendor), OLD)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("BTCUSDT", "None was not asked for"),
        (ticker("DOGEUSDT", "1"), "'DOGEUSDT' was not asked for"),
        (ticker("ETHUSDT", "1") | {"closeTime": None}, "closeTime is None; it must be an epoch time"),
        (ticker("ETHUSDT", "1") | {"closeTime": True}, "closeTime is True; it must be an epoch time"),
        (ticker("ETHUSDT", "1") | {"closeTime": 10**30}, "closeTime is 1e+30; no time between 1971 and 2200"),
    ],
)
def test_a_bad_ticker_is_rejected_as_sent_and_the_others_are_kept(vendor: FaultProxy, row: Any, reason: str) -> None:
    vendor.add(said([kline(0)]), path=r"/api/v3/klines.*", times=2)
    vendor.add(said([ticker("BTCUSDT", "64000.1"), row]))
    got = fetched(source(vendor), BTC, ETH)
    assert [event.symbol for event in got.events if event.kind == "quote"] == ["BTC-USD"]
    assert [bad.reason for bad in got.rejected] == [reason]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"t": 1}, "not an array but dict"),
        (kline(0)[:5], "5 values; there must be 12: openTime, open, high, low, close, volume, closeTime, quoteVolume, "
         "count, takerBuyBaseVolume, takerBuyQuoteVolume, unused"),
        (["soon", *kline(0)[1:]], "openTime is 'soon'; it must be an epoch time"),
    ],
)  # fmt: skip
def test_a_bad_kline_is_rejected_with_its_symbol(vendor: FaultProxy, row: Any, reason: str) -> None:
    vendor.add(said([kline(-60), row]))
    got = fetched(source(vendor), BTC, window=Window(at(-60), NOON), kind="bar")
    assert [clock(event) for event in got.events] == ["11:58:00"]
    assert [(bad.reason, bad.symbol, bad.line_number) for bad in got.rejected] == [(reason, "BTC-USD", 100_002)]


def test_an_answer_of_another_form_costs_one_symbol_if_it_is_about_one(vendor: FaultProxy) -> None:
    vendor.add(said({"rows": []}), path=r"/api/v3/klines.*BTC.*")
    vendor.add(said([kline(0)]), path=r"/api/v3/klines.*ETH.*")
    vendor.add(TICKERS)
    got = fetched(source(vendor), BTC, ETH)
    assert [(e.kind, e.symbol) for e in got.events] == [("bar", "ETH-USD"), ("quote", "BTC-USD"), ("quote", "ETH-USD")]
    assert [(bad.reason, bad.raw) for bad in got.rejected] == [
        ("the answer is no list of klines but dict", b'{"rows": []}')
    ]


def test_an_answer_of_another_form_is_an_error_if_it_is_about_all(vendor: FaultProxy) -> None:
    vendor.add(said([kline(0)]), path=r"/api/v3/klines.*", times=2)
    vendor.add(said({"status": "ok"}))
    with pytest.raises(MisfitError, match="Binance: the answer is no list of tickers") as misfit:
        fetched(source(vendor), BTC, ETH)
    assert misfit.value.raw == b'{"status": "ok"}'


def test_what_came_before_a_failure_is_passed_on(vendor: FaultProxy, pauses: list[float]) -> None:
    vendor.add(said([kline(0)]), path=r"/api/v3/klines.*BTC.*")
    vendor.add(Answer(500, b"oops"), times=None)
    batches = source(vendor).fetch(MINUTE, (BTC, ETH))
    (bar,) = next(batches).events
    assert (bar.symbol, bar.complete_until) == ("BTC-USD", None)
    with pytest.raises(SourceError, match="answered 500"):
        next(batches)


@pytest.mark.parametrize(
    "fault",
    [
        Answer(500, b"oops"),
        Answer(429, b'{"code":-1003,"msg":"Too much request weight used"}', {"Retry-After": "2"}),
        Answer(418, b"", {"Retry-After": "2"}),
        said({"code": -1003, "msg": "Too much request weight used"}, 400),
        Answer(200, b"<html>Checking your browser</html>", {"Content-Type": "text/html"}),
        Cut(0.5, TICKERS),
        Reset(),
    ],
    ids=["500", "429", "418", "limit in the body", "html", "cut off", "reset"],
)
def test_a_passing_fault_is_tried_again(vendor: FaultProxy, pauses: list[float], fault: Fault) -> None:
    vendor.add(fault, times=2)
    vendor.add(said([kline(0)]))
    assert len(fetched(source(vendor), BTC, window=MINUTE, kind="bar").events) == 1
    assert (len(vendor.seen), len(pauses)) == (3, 2)


def test_a_ban_is_kept_as_long_as_the_vendor_says(vendor: FaultProxy, pauses: list[float]) -> None:
    vendor.add(BANNED, times=None)
    binance = source(vendor)
    with pytest.raises(SourceError, match=r"Binance: answered 418 .* break of 300 s"):
        fetched(binance, BTC)
    assert (len(vendor.seen), binance.gate.pauses) == (1, [300.0])  # type: ignore[attr-defined]


def test_when_others_on_this_address_use_up_the_weight_we_wait_for_the_next_minute(vendor: FaultProxy) -> None:
    spent = said([kline(0)], X_MBX_USED_WEIGHT_1M="5801", Date="Sat, 14 Mar 2026 12:00:48 GMT")
    vendor.add(spent)
    binance = source(vendor)
    fetched(binance, BTC, window=MINUTE, kind="bar")
    assert binance.gate.pauses == [12.0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("headers"),
    [
        {"X_MBX_USED_WEIGHT_1M": "5699", "Date": "Sat, 14 Mar 2026 12:00:48 GMT"},
        {"X_MBX_USED_WEIGHT_1M": "much", "Date": "Sat, 14 Mar 2026 12:00:48 GMT"},
        {"X_MBX_USED_WEIGHT_1M": "6000", "Date": "noon"},
        {"X_MBX_USED_WEIGHT_1M": "6000"},
    ],
)
def test_weight_that_is_left_or_not_understood_is_no_reason_to_wait(
    vendor: FaultProxy, headers: dict[str, str]
) -> None:
    vendor.add(said([kline(0)], **headers))
    binance = source(vendor)
    fetched(binance, BTC, window=MINUTE, kind="bar")
    assert binance.gate.pauses == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (said({"code": -1102, "msg": "Mandatory parameter missing"}, 400), r"answered 400 \(-1102 'Mandatory"),
        (said([], 400), r"answered 400 \(None None\)"),
        (said({"code": 0, "msg": "Service unavailable from a restricted location"}, 451),
         "does not serve this place; QUANTSTREAM_BINANCE_URL=https://data-api.binance.vision may"),
    ],
)  # fmt: skip
def test_an_error_that_is_not_about_a_symbol_is_one_of_the_vendor(
    vendor: FaultProxy, answer: Answer, error: str
) -> None:
    vendor.add(answer)
    with pytest.raises(SourceError, match=f"Binance: .*{error}"):
        fetched(source(vendor), BTC)
    assert len(vendor.seen) == 1


class Exchange(Fault):
    """Serves /api/v3/aggTrades as the vendor does: by time or by id, a page at a time."""

    def __init__(self, trades: list[dict[str, Any]]) -> None:
        self.trades = trades

    def act(self, request: Request, forward: Forward, closing: Any) -> Response:
        asked = {
            name: int(value) for name, (value,) in parse_qs(urlsplit(request.path).query).items() if value.isdecimal()
        }
        start, end = asked.get("startTime", 0), asked.get("endTime", 10**15)
        assert "startTime" not in asked or end - start < 3_600_000, "the vendor refuses longer spans"
        first = asked.get("fromId", 0)
        rows = [one for one in self.trades if one["a"] >= first and start <= one["T"] <= end]
        return Response(200, said(rows[: asked["limit"]]).body)


def test_trades_are_paged_by_id_even_where_a_page_ends_within_a_millisecond(
    vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binance, "PAGE", 2)
    market = [trade(number, 10.5) for number in range(1, 6)] + [trade(6, 59.999), trade(7, 60.0)]
    vendor.add(Exchange([trade(0, -0.001), *market]), times=None)
    got = fetched(source(vendor), BTC, window=MINUTE, kind="trade")
    assert [(e.vendor_id, clock(e)) for e in got.events] == [
        ("1", "11:59:10.500000"), ("2", "11:59:10.500000"), ("3", "11:59:10.500000"), ("4", "11:59:10.500000"),
        ("5", "11:59:10.500000"), ("6", "11:59:59.999000"),
    ]  # fmt: skip
    assert got.events[-1].complete_until == NOON
    assert len(vendor.seen) == 4


@hypothesis.settings(max_examples=30, deadline=None)
@given(times=st.lists(st.integers(-3, 7), max_size=25).map(sorted), page=st.integers(1, 4))
def test_no_trade_of_the_window_is_lost_or_doubled_however_the_pages_fall(times: list[int], page: int) -> None:
    market = [trade(number, 1800 * step) for number, step in enumerate(times)]
    window = Window(at(0), at(1800 * 5))
    with FaultProxy() as vendor, pytest.MonkeyPatch.context() as patch:
        patch.setattr(binance, "PAGE", page)
        vendor.add(Exchange(market), times=None)
        got = fetched(source(vendor), BTC, window=window, kind="trade")
    assert [int(event.vendor_id) for event in got.events] == [n for n, step in enumerate(times) if 0 <= step < 5]


def test_a_gap_of_a_feed_is_filled_by_id(vendor: FaultProxy) -> None:
    vendor.add(Exchange([trade(number, number) for number in range(10)]), times=None)
    binance = source(vendor)
    query = binance.trades_from(BTC, 4, at(7))
    got = whole(binance.transform(query, reply, NOON) for reply in binance.extract(query))
    assert [(event.vendor_id, event.complete_until) for event in got.events] == [("4", None), ("5", None), ("6", None)]


def test_a_page_that_comes_again_ends_in_an_error_after_the_others_were_asked_for(vendor: FaultProxy) -> None:
    vendor.add(said([trade(1, 1), trade(2, 2)]), path=r".*BTCUSDT.*", times=None)
    vendor.add(said([trade(9, 60)]), path=r".*ETHUSDT.*", times=None)
    with pytest.raises(MisfitError, match="Binance: sends the same page of trades of BTCUSDT again"):
        fetched(source(vendor), BTC, ETH, window=MINUTE, kind="trade")
    assert len(vendor.seen) == 3


@pytest.mark.parametrize("page", [{"trades": []}, [trade(1, 1), {"a": "x"}], [trade(1, 1) | {"T": None}]])
def test_a_page_that_leads_no_further_is_an_error(vendor: FaultProxy, page: Any) -> None:
    vendor.add(said(page), times=None)
    with pytest.raises(MisfitError, match=r"Binance: (no further trades|the answer is no list of trades) of BTCUSDT"):
        fetched(source(vendor), BTC, window=MINUTE, kind="trade")


def test_long_windows_of_bars_are_asked_for_in_pages(vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance, "PAGE", 25)
    vendor.add(said([]), times=None)
    assert fetched(source(vendor), BTC, window=HOUR, kind="bar").events == []
    spans = [parse_qs(urlsplit(path).query) for path in asked(vendor)]
    assert [(int(span["startTime"][0]) - ms(-3540), int(span["endTime"][0]) - ms(-3540)) for span in spans] == [
        (0, 24 * 60_000), (25 * 60_000, 49 * 60_000), (50 * 60_000, 59 * 60_000),
    ]  # fmt: skip


def test_a_frame_of_the_stream_and_a_row_of_rest_are_the_same_trade() -> None:
    frame = {"e": "aggTrade", "E": ms(11), "s": "BTCUSDT", **trade(7, 10.5)}
    assert trade_event(frame, "BTC-USD", NOON) == trade_event(trade(7, 10.5), "BTC-USD", NOON)
    assert trade_event(frame, "BTC-USD", NOON).payload == trade(7, 10.5)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "not an object but NoneType"),
        (trade(7, 1) | {"a": "7"}, "a is '7'; it must be a trade's number"),
        (trade(7, 1) | {"a": True}, "a is True; it must be a trade's number"),
        (trade(7, 1) | {"T": "now"}, "T is 'now'; it must be an epoch time"),
    ],
)
def test_a_trade_needs_its_number_and_its_time(row: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        trade_event(row, "BTC-USD", NOON)


def test_there_is_no_history_of_quotes(vendor: FaultProxy) -> None:
    with pytest.raises(ConfigError, match="binance has no history of quotes; it has bars and trades"):
        fetched(source(vendor), BTC, kind="quote")


def test_the_budget_is_the_vendors_weight_per_minute(vendor: FaultProxy) -> None:
    assert source(vendor).limits == Limits(per_minute=6000)
