"""Coinbase against a local server that answers what such servers answer."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError, MisfitError, SourceError
from include.events import Window, iso
from include.settings import Settings
from include.sources import coinbase, crypto
from include.sources.coinbase import Coinbase, trade_event
from include.sources.gate import Limits
from tests.faults.proxy import Answer, Cut, Fault, FaultProxy, Forward, Request, Response
from tests.sources.exchanges import HOUR, MINUTE, NOON, asked, at, clock, fetched, instrument, said

BTC = instrument("BTC-USD", coinbase="BTC-USD")
ETH = instrument("ETH-USD", coinbase="ETH-USD")
OLD = instrument("OLD-USD", coinbase="OLD-USD")
START = int(MINUTE.start.timestamp())

UNKNOWN = said({"message": "NotFound"}, 404)
TICKER = {
    "trade_id": 86326522, "price": "64000.12", "size": "0.0069", "time": "2026-03-14T12:00:01.833897Z",
    "bid": "64000.11", "ask": "64000.13", "volume": "5957.11914015",
}  # fmt: skip
CANDLE = [START, 63999.5, 64001, 64000, 64000.12, 2.5]


def trade(number: int, seconds: float, side: str = "sell") -> dict[str, Any]:
    time = iso(at(seconds))
    return {"trade_id": number, "side": side, "size": "0.00698254", "price": "64000.12", "time": time}


class Exchange(Fault):
    """Serves /products/{id}/trades as the vendor does: the newest first, with numbers below `after`."""

    def __init__(self, trades: list[dict[str, Any]]) -> None:
        self.trades = sorted(trades, key=lambda one: -one["trade_id"])

    def act(self, request: Request, forward: Forward, closing: Any) -> Response:
        query = parse_qs(urlsplit(request.path).query)
        before = int(query.get("after", ["1000000000"])[0])
        rows = [one for one in self.trades if one["trade_id"] < before]
        return Response(200, said(rows[: int(query["limit"][0])]).body)


@pytest.fixture(autouse=True)
def without_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """No break between calls."""
    monkeypatch.setattr(Coinbase, "spacing", 0.0)


def source(vendor: FaultProxy) -> Coinbase:
    return Coinbase(Settings(_env_file=None, coinbase_url=vendor.url, http_timeout_seconds=5))


def test_a_minute_is_the_bars_and_the_ticker_of_each_product(vendor: FaultProxy) -> None:
    vendor.add(said([CANDLE, [START - 60, *CANDLE[1:]]]), path=r".*/BTC-USD/candles.*")
    vendor.add(said([]), path=r".*/ETH-USD/candles.*")
    vendor.add(said(TICKER), path=r".*/ticker", times=2)
    got = fetched(source(vendor), BTC, ETH)
    assert [(e.source, e.kind, e.symbol, clock(e), e.vendor_id, e.complete_until) for e in got.events] == [
        ("coinbase", "bar", "BTC-USD", "11:59:00", "", None),
        ("coinbase", "bar", "BTC-USD", "11:58:00", "", None),
        ("coinbase", "quote", "BTC-USD", "12:00:01.833897", "", None),
        ("coinbase", "quote", "ETH-USD", "12:00:01.833897", "", NOON),
    ]
    assert [got.events[0].payload, got.events[2].payload] == [
        {"time": START, "low": 63999.5, "high": 64001, "open": 64000, "close": 64000.12, "volume": 2.5},
        TICKER,
    ]
    candles = "candles?granularity=60&start=2026-03-14T11%3A57%3A00.000000Z&end=2026-03-14T12%3A00%3A00.000000Z"
    assert asked(vendor) == [
        f"/products/BTC-USD/{candles}", f"/products/ETH-USD/{candles}",
        "/products/BTC-USD/ticker", "/products/ETH-USD/ticker",
    ]  # fmt: skip


def test_candles_outside_the_window_are_left_out_and_that_of_the_minute_that_goes_on(vendor: FaultProxy) -> None:
    vendor.add(said([[START + 60 * n, *CANDLE[1:]] for n in (1, 0, -1)]))
    got = fetched(source(vendor), BTC, window=MINUTE, kind="bar")
    assert [clock(event) for event in got.events] == ["11:59:00"]


def test_long_windows_of_candles_are_asked_for_in_spans_that_the_vendor_takes(vendor: FaultProxy) -> None:
    vendor.add(said([]), times=None)
    fetched(source(vendor), BTC, window=Window(at(-600 * 60), at(0)), kind="bar")
    spans = [parse_qs(urlsplit(path).query) for path in asked(vendor)]
    assert [(span["start"][0][11:16], span["end"][0][11:16]) for span in spans] == [
        ("01:59", "06:57"), ("06:57", "11:55"), ("11:55", "11:59"),
    ]  # fmt: skip


@pytest.mark.parametrize("refusal", [UNKNOWN, said({"message": "Invalid product"}, 400), said([], 404)])
def test_an_unknown_product_costs_only_itself_and_is_not_asked_for_twice(vendor: FaultProxy, refusal: Answer) -> None:
    vendor.add(refusal, path=r"/products/OLD-USD/.*", times=None)
    vendor.add(said([CANDLE]), path=r".*/candles.*", times=2)
    vendor.add(said(TICKER), path=r".*/ticker", times=2)
    got = fetched(source(vendor), BTC, ETH, OLD)
    assert [(e.kind, e.symbol, e.complete_until) for e in got.events] == [
        ("bar", "BTC-USD", None), ("bar", "ETH-USD", None), ("quote", "BTC-USD", None), ("quote", "ETH-USD", NOON),
    ]  # fmt: skip
    (bad,) = got.rejected
    assert bad.reason.startswith(f"Coinbase does not know OLD-USD (answered {refusal.status} ")
    assert (bad.kind, bad.symbol, bad.raw) == ("bar", "OLD-USD", refusal.body)
    assert len(vendor.seen) == 5


def test_a_product_named_like_a_path_stays_one_product(vendor: FaultProxy) -> None:
    vendor.add(UNKNOWN, times=None)
    with pytest.raises(SourceError, match="refused all"):
        fetched(source(vendor), instrument("BAD-USD", coinbase="../accounts?x=1"))
    assert asked(vendor)[0].startswith("/products/..%2Faccounts%3Fx%3D1/candles?")


@pytest.mark.parametrize(
    ("ticker", "reason"),
    [
        ([TICKER], "not an object but list"),
        ({"message": "try later"}, "time is None; it must be an ISO 8601 time"),
        (TICKER | {"time": 1773489601}, "time is 1773489601; it must be an ISO 8601 time"),
        (TICKER | {"time": "2026-03-14T12:00:01"}, "time is '2026-03-14T12:00:01'; it must carry its time zone"),
    ],
)
def test_a_bad_ticker_is_rejected_and_the_others_are_kept(vendor: FaultProxy, ticker: Any, reason: str) -> None:
    vendor.add(said([]), path=r".*/candles.*", times=2)
    vendor.add(said(ticker), path=r".*/BTC-USD/ticker")
    vendor.add(said(TICKER), path=r".*/ETH-USD/ticker")
    got = fetched(source(vendor), BTC, ETH)
    assert [event.symbol for event in got.events] == ["ETH-USD"]
    assert [(bad.reason, bad.symbol, json.loads(bad.raw)) for bad in got.rejected] == [(reason, "BTC-USD", ticker)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"message": "no"}, "the answer is no list of candles but dict"),
        ([CANDLE[:5]], "5 values; there must be 6: time, low, high, open, close, volume"),
        ([["11:59", *CANDLE[1:]]], "time is '11:59'; it must be an epoch time"),
        (["none"], "not an array but str"),
    ],
)
def test_bad_candles_are_rejected(vendor: FaultProxy, answer: Any, reason: str) -> None:
    vendor.add(said(answer))
    got = fetched(source(vendor), BTC, window=MINUTE, kind="bar")
    assert ([bad.reason for bad in got.rejected], got.events) == ([reason], [])


@pytest.mark.parametrize(
    "fault",
    [
        said({"message": "Public rate limit exceeded"}, 429),
        Answer(429, b"", {"Retry-After": "1"}),
        Answer(503, b"<html>maintenance</html>"),
        Answer(200, b"<html>Checking your browser</html>"),
        Cut(0.5, said([CANDLE])),
    ],
    ids=["429", "429 with a break", "503", "html", "cut off"],
)
def test_a_passing_fault_is_tried_again(vendor: FaultProxy, pauses: list[float], fault: Fault) -> None:
    vendor.add(fault, times=2)
    vendor.add(said([CANDLE]))
    assert len(fetched(source(vendor), BTC, window=MINUTE, kind="bar").events) == 1
    assert (len(vendor.seen), len(pauses)) == (3, 2)


def test_trades_are_paged_back_from_the_windows_end_to_its_start(
    vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coinbase, "PAGE", 2)
    times = [-10, -5, 0, 20, 20, 20, 59.999999, 60, 61, 62, 63, 64, 65, 66, 67, 68]
    vendor.add(Exchange([trade(number, seconds) for number, seconds in enumerate(times, start=1)]), times=None)
    got = fetched(source(vendor), BTC, window=MINUTE, kind="trade")
    assert sorted((event.vendor_id, clock(event)) for event in got.events) == [
        ("3", "11:59:00"), ("4", "11:59:20"), ("5", "11:59:20"), ("6", "11:59:20"), ("7", "11:59:59.999999"),
    ]  # fmt: skip
    assert NOON in {event.complete_until for event in got.events}


def test_a_window_long_ago_is_found_in_few_calls(vendor: FaultProxy) -> None:
    vendor.add(Exchange([trade(number, number / 10) for number in range(1, 40_001)]), times=None)
    got = fetched(source(vendor), BTC, window=MINUTE, kind="trade")
    assert len(got.events) == 599
    assert len(vendor.seen) < 15, "not the 40 pages from now on back"


@hypothesis.settings(max_examples=30, deadline=None)
@given(
    times=st.lists(st.integers(-3, 12), max_size=40).map(sorted),
    page=st.integers(1, 5),
    first=st.sampled_from([0, 1, 900]),
)
def test_no_trade_of_the_window_is_lost_or_doubled_however_the_pages_fall(
    times: list[int], page: int, first: int
) -> None:
    market = [trade(number, seconds) for number, seconds in enumerate(times, start=first)]
    with FaultProxy() as vendor, pytest.MonkeyPatch.context() as patch:
        patch.setattr(coinbase, "PAGE", page)
        vendor.add(Exchange(market), times=None)
        got = fetched(source(vendor), BTC, window=Window(at(0), at(5)), kind="trade")
    wanted = [number for number, seconds in enumerate(times, start=first) if 0 <= seconds < 5]
    assert sorted(int(event.vendor_id) for event in got.events) == wanted


def test_a_page_that_comes_again_ends_in_an_error_after_the_others_were_asked_for(vendor: FaultProxy) -> None:
    vendor.add(said([trade(2, 2), trade(1, 1)]), path=r".*/BTC-USD/.*", times=None)
    vendor.add(Exchange([trade(5, 5)]), path=r".*/ETH-USD/.*", times=None)
    batches = source(vendor).fetch(MINUTE, (BTC, ETH), "trade")
    seen: list[tuple[str, str]] = []
    with pytest.raises(MisfitError, match="Coinbase: sends the same page of trades of BTC-USD again"):
        for batch in batches:
            seen += [(event.symbol, event.vendor_id) for event in batch.events]
    assert ("ETH-USD", "5") in seen


@pytest.mark.parametrize("page", [{"trades": []}, [trade(1, 1) | {"trade_id": None}], [trade(1, 1) | {"time": 0}]])
def test_a_page_that_leads_no_further_is_an_error(vendor: FaultProxy, page: Any) -> None:
    vendor.add(said(page), times=None)
    with pytest.raises(MisfitError, match=r"Coinbase: (no further trades|the answer is no list of trades) of BTC-USD"):
        fetched(source(vendor), BTC, window=MINUTE, kind="trade")


def test_a_product_without_trades_has_none(vendor: FaultProxy) -> None:
    vendor.add(said([]), times=None)
    assert fetched(source(vendor), BTC, window=MINUTE, kind="trade").events == []


def test_a_match_of_the_feed_and_a_row_of_rest_are_the_same_trade() -> None:
    match = {
        "type": "last_match",
        "sequence": 50,
        "product_id": "BTC-USD",
        "maker_order_id": "a",
        "taker_order_id": "b",
    }
    assert trade_event(match | trade(7, 10.5), "BTC-USD", NOON) == trade_event(trade(7, 10.5), "BTC-USD", NOON)
    assert trade_event(match | trade(7, 10.5), "BTC-USD", NOON).payload == trade(7, 10.5)


def test_calls_keep_their_distance(vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.undo()
    monkeypatch.setattr(crypto, "monotonic", lambda: 100.0 + sum(waits))
    monkeypatch.setattr(crypto, "sleep", waits.append)
    vendor.add(said([]), path=r".*/candles.*", times=None)
    vendor.add(said(TICKER), times=None)
    fetched(source(vendor), BTC, ETH)
    assert waits == pytest.approx([0.11] * 3)


def test_there_is_no_history_of_quotes(vendor: FaultProxy) -> None:
    with pytest.raises(ConfigError, match="coinbase has no history of quotes; it has bars and trades"):
        fetched(source(vendor), BTC, window=HOUR, kind="quote")


def test_the_budget_is_ten_calls_a_second(vendor: FaultProxy) -> None:
    assert source(vendor).limits == Limits(per_minute=600)
