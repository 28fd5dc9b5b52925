"""Polygon against a local server that answers what it answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import ConfigError, MisfitError, SourceError
from include.events import Kind, Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources import polygon
from include.sources.base import Batch
from include.sources.gate import Limits
from include.sources.polygon import Polygon
from tests.faults.proxy import FaultProxy
from tests.sources.asked import WEBSITE, answer, coin, log_everything, reasons, share, told, whole

KEY = "S3CRETKEY"
MINUTE = Window(datetime(2026, 3, 13, 14, 4, tzinfo=UTC), datetime(2026, 3, 13, 14, 5, tzinfo=UTC))
END = int(MINUTE.end.timestamp())
AAPL, MSFT = share("polygon", "AAPL"), share("polygon", "MSFT")
BTC = coin("polygon", "BTC-USD", "X:BTCUSD")


def ticker(symbol: str = "AAPL", minute: int = -60, **fields: Any) -> dict[str, Any]:
    """A snapshot of a ticker, updated at 14:04:58; its minute began so many seconds from 14:05."""
    return {"ticker": symbol, "updated": (END - 2) * 10**9, "lastTrade": {"p": 170.5},
            "min": {"t": (END + minute) * 1000, "o": 1, "h": 2, "l": 1, "c": 2, "v": 5, "n": 3}} | fields  # fmt: skip


def snapshot(*tickers: Any) -> Any:
    return answer({"status": "OK", "count": len(tickers), "tickers": tickers})


def bar(seconds: int) -> dict[str, Any]:
    return {"v": 10.0, "vw": 1.5, "o": 1, "c": 2, "h": 2, "l": 1, "t": (END + seconds) * 1000, "n": 3}


def trade(seconds: int, identity: Any = "7", exchange: int = 11, **fields: Any) -> dict[str, Any]:
    return {"id": identity, "exchange": exchange, "price": 156.43, "size": 10,
            "sip_timestamp": (END + seconds) * 10**9 + 461_979_400} | fields  # fmt: skip


def results(*rows: Any, status: str = "OK", **fields: Any) -> Any:
    return answer({"status": status, "results": rows} | fields)


def source(vendor: FaultProxy, **settings: Any) -> Polygon:
    given = {"polygon_url": vendor.url, "polygon_api_key": KEY, "polygon_plan": "advanced", "http_timeout_seconds": 5}
    return Polygon(Settings(_env_file=None, **(given | settings)))


def fetch(
    vendor: FaultProxy, *instruments: Instrument, window: Window = MINUTE, history: Kind | None = None,
    into: Batch | None = None, **settings: Any,
) -> Batch:  # fmt: skip
    return whole(source(vendor, **settings).fetch(window, instruments or (AAPL,), history), into)


def test_each_ticker_of_a_snapshot_becomes_a_quote_and_its_minute_a_bar(vendor: FaultProxy) -> None:
    vendor.add(snapshot(ticker("AAPL"), ticker("MSFT")), path=".*/stocks/.*")
    vendor.add(snapshot(ticker("X:BTCUSD")), path=".*/crypto/.*")
    got = fetch(vendor, AAPL, BTC, MSFT)
    assert told(got) == [
        ("quote", "AAPL", "14:04:58"),
        ("bar", "AAPL", "14:04:00"),
        ("quote", "MSFT", "14:04:58"),
        ("bar", "MSFT", "14:04:00"),
        ("quote", "BTC-USD", "14:04:58"),
        ("bar", "BTC-USD", "14:04:00"),
    ]
    assert (got.events[0].payload, got.events[1].payload) == (ticker("AAPL"), ticker("AAPL")["min"])
    assert [event.complete_until for event in got.events] == [None] * 4 + [MINUTE.end] * 2
    assert [seen.request.path for seen in vendor.seen] == [
        "/v2/snapshot/locale/us/markets/stocks/tickers?tickers=AAPL%2CMSFT",
        "/v2/snapshot/locale/global/markets/crypto/tickers?tickers=X%3ABTCUSD",
    ]


@pytest.mark.parametrize(
    ("plan", "minute", "kinds"),
    [
        ("advanced", 0, ["quote"]),  # it began at 14:05 and is being formed
        ("starter", -900, ["quote"]),  # 15 minutes ago it was being formed
        ("starter", -960, ["quote", "bar"]),
    ],
)
def test_a_minute_being_formed_does_not_become_a_bar(
    vendor: FaultProxy, plan: str, minute: int, kinds: list[str]
) -> None:
    vendor.add(snapshot(ticker(minute=minute)))
    got = fetch(vendor, polygon_plan=plan)
    assert [event.kind for event in got.events] == kinds
    assert got.rejected == []
    delay = timedelta(minutes=15 if plan == "starter" else 0)
    assert {event.complete_until for event in got.events} == {MINUTE.end - delay}


@pytest.mark.parametrize("minute", [{"t": 0, "c": 0}, None, "closed"])
def test_a_ticker_without_a_minute_is_a_quote_alone(vendor: FaultProxy, minute: Any) -> None:
    vendor.add(snapshot(ticker(min=minute)))
    assert told(fetch(vendor)) == [("quote", "AAPL", "14:04:58")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (ticker("TSLA"), "ticker is 'TSLA', which was not asked for"),
        (ticker(updated=0), "AAPL: nothing traded since the vendor cleared its snapshots (updated is 0)"),
        (ticker(updated="now"), "updated is 'now'; it must be an epoch time"),
        ("AAPL", "not an object but str"),
        (None, "not an object but NoneType"),
    ],
)
def test_a_bad_ticker_costs_itself_only(vendor: FaultProxy, bad: Any, reason: str) -> None:
    vendor.add(snapshot(bad, ticker("MSFT")))
    got = fetch(vendor, AAPL, MSFT)
    assert [(one.line_number, one.reason) for one in got.rejected] == [(100_001, reason)]
    assert {event.symbol for event in got.events} == {"MSFT"}


def test_a_market_that_the_plan_does_not_have_costs_that_market_only(vendor: FaultProxy) -> None:
    refused = {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data. Please upgrade your plan"}
    vendor.add(answer(refused, 403), path=".*/crypto/.*")
    vendor.add(snapshot(ticker("AAPL")), path=".*/stocks/.*")
    got = fetch(vendor, AAPL, BTC)
    assert {event.symbol for event in got.events} == {"AAPL"}
    assert {event.complete_until for event in got.events} == {MINUTE.end}
    said = "X:BTCUSD: 403 NOT_AUTHORIZED: You are not entitled to this data. Please upgrade your plan"
    assert [(bad.symbol, bad.reason) for bad in got.rejected] == [("BTC-USD", said)]


def test_a_plan_that_has_no_market_at_all_is_an_error(vendor: FaultProxy) -> None:
    vendor.add(answer({"status": "NOT_AUTHORIZED", "message": "You are not entitled"}, 403), times=None)
    said = r"refused all .*: AAPL and 1 more: 403 NOT_AUTHORIZED: You are not entitled; check QUANTSTREAM_POLYGON_PLAN"
    with pytest.raises(SourceError, match=said):
        fetch(vendor, AAPL, MSFT)


@pytest.mark.parametrize("data", [[], {"status": "OK"}, {"status": "OK", "tickers": {}}, {"tickers": []}])
def test_an_answer_of_another_kind_is_rejected_whole(vendor: FaultProxy, data: Any) -> None:
    vendor.add(answer(data), path=".*/stocks/.*")
    vendor.add(snapshot(ticker("X:BTCUSD")), path=".*/crypto/.*")
    got = fetch(vendor, AAPL, BTC)
    assert len(got.rejected) == 1
    assert {event.symbol for event in got.events} == {"BTC-USD"}


def test_the_basic_plan_asks_for_bars_of_15_minutes_ago_ticker_by_ticker(vendor: FaultProxy) -> None:
    vendor.add(results(bar(-960), status="DELAYED"), path=".*/AAPL/.*")
    vendor.add(results(bar(-1020), status="DELAYED"), path=".*/X:BTCUSD/.*")
    got = fetch(vendor, AAPL, BTC, polygon_plan="basic")
    assert told(got) == [("bar", "AAPL", "13:49:00"), ("bar", "BTC-USD", "13:48:00")]
    assert got.events[1].complete_until == MINUTE.end - timedelta(minutes=15)
    start, last = (END - 60 - 900 - 300) * 1000, (END - 900) * 1000 - 1
    path = f"/v2/aggs/ticker/AAPL/range/1/minute/{start}/{last}?adjusted=false&sort=asc&limit=50000"
    assert vendor.seen[0].request.path == path


HOUR = Window(MINUTE.end - timedelta(hours=1), MINUTE.end)


def test_history_follows_the_pages_on_our_own_host_whatever_name_they_go_by(vendor: FaultProxy) -> None:
    vendor.add(results(bar(-120), next_url="https://api.massive.com/v2/aggs/page?cursor=abc"), path=".*/AAPL/.*")
    vendor.add(results(bar(-60)), path=r"/v2/aggs/page\?cursor=abc")
    got = fetch(vendor, window=HOUR, history="bar")
    assert told(got) == [("bar", "AAPL", "14:03:00"), ("bar", "AAPL", "14:04:00")]
    assert [event.complete_until for event in got.events] == [None, HOUR.end]
    assert got.lines == [100_001, 200_001]
    assert {seen.request.header("Authorization") for seen in vendor.seen} == {f"Bearer {KEY}"}


def test_pages_that_go_in_a_circle_are_an_error_and_what_came_is_kept(vendor: FaultProxy) -> None:
    vendor.add(results(bar(-120), next_url="/v2/aggs/page?cursor=abc"), times=None)
    got = Batch()
    with pytest.raises(MisfitError, match="its pages go in a circle: '/v2/aggs/page"):
        fetch(vendor, window=HOUR, history="bar", into=got)
    assert told(got) == [("bar", "AAPL", "14:03:00")] * 2
    assert len(vendor.seen) == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (bar(0), "t is 2026-03-13T14:05:00Z, outside of what was asked for"),
        ({"c": 1}, "t is None; it must be an epoch time"),
        (7, "not an object but int"),
    ],
)
def test_a_bad_bar_costs_itself_only(vendor: FaultProxy, row: Any, reason: str) -> None:
    vendor.add(results(row, bar(-60)))
    got = fetch(vendor, window=HOUR, history="bar")
    assert told(got) == [("bar", "AAPL", "14:04:00")]
    assert [(bad.kind, bad.reason) for bad in got.rejected] == [("bar", reason)]


def test_a_bar_is_not_taken_before_it_is_over(vendor: FaultProxy) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    vendor.add(results(bar(int(now.timestamp()) + 60 - END)))
    got = fetch(vendor, window=Window(now, now + timedelta(hours=1)), history="bar")
    assert reasons(got) == ["the bar is still being formed"]


def test_a_time_without_trades_has_no_results_and_is_no_error(vendor: FaultProxy) -> None:
    vendor.add(answer({"status": "OK", "resultsCount": 0}))
    assert fetch(vendor, window=HOUR, history="bar") == Batch()


def test_trades_are_told_apart_by_exchange_because_ids_are_not(vendor: FaultProxy) -> None:
    vendor.add(results(trade(-60, "7", 11, trf_id=3), trade(-60, "7", 12), trade(-60, "7", 12, sip_timestamp=None)))
    got = fetch(vendor, window=HOUR, history="trade")
    at = datetime(2026, 3, 13, 14, 4, 0, 461_979, tzinfo=UTC)
    assert [(e.kind, e.event_time, e.vendor_id) for e in got.events] == [("trade", at, "11:3:7"), ("trade", at, "12:7")]
    assert got.events[0].payload == trade(-60, "7", 11, trf_id=3)
    assert reasons(got) == ["sip_timestamp is None; it must be an epoch time"]
    start, end = (END - 3600) * 10**9, END * 10**9
    assert vendor.seen[0].request.path == (
        f"/v3/trades/AAPL?timestamp.gte={start}&timestamp.lt={end}&order=asc&sort=timestamp&limit=50000"
    )


def test_trades_of_coins_have_the_exchange_s_time_only(vendor: FaultProxy) -> None:
    row = {"id": "9", "exchange": 1, "price": 1, "size": 2, "participant_timestamp": (END - 60) * 10**9}
    vendor.add(results(row, trade(-60, identity=7)))
    got = fetch(vendor, BTC, window=HOUR, history="trade")
    assert told(got) == [("trade", "BTC-USD", "14:04:00")]
    assert reasons(got) == ["id is 7; it must be a text"]


@pytest.mark.parametrize(("name", "symbols"), [("AAPL", ["AAPL"]), ("TSLA", [])])
def test_a_last_trade_is_read_as_well(vendor: FaultProxy, name: str, symbols: list[str]) -> None:
    last = {"T": name, "i": "237688", "p": 166.25, "s": 2, "x": 4, "r": 202, "t": (END - 60) * 10**9}
    vendor.add(answer({"status": "OK", "results": last}))
    got = fetch(vendor, window=HOUR, history="trade")
    assert [event.vendor_id for event in got.events] == ["4:202:237688" for _ in symbols]
    assert reasons(got) == ([] if symbols else ["T is 'TSLA', which was not asked for"])


@pytest.mark.parametrize("status", [404, 400])
def test_an_unknown_ticker_costs_itself_only(vendor: FaultProxy, status: int) -> None:
    vendor.add(answer({"status": "NOT_FOUND", "message": "Ticker not found."}, status), path=".*/GONE.*")
    vendor.add(results(bar(-60)), path=".*/AAPL/.*")
    got = fetch(vendor, share("polygon", "GONE"), AAPL, window=HOUR, history="bar")
    assert told(got) == [("bar", "AAPL", "14:04:00")]
    assert reasons(got) == [f"GONE: {status} NOT_FOUND: Ticker not found."]


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        ("bar", {"status": "OK", "results": {"values": []}}, "AAPL: results are the values of an indicator, not bars"),
        ("bar", {"status": "OK", "results": {"T": "AAPL"}}, "AAPL: results are no list but dict"),
        ("trade", {"status": "OK", "results": "none"}, "AAPL: results are no list but str"),
        ("trade", {"status": "ERROR", "error": "busy"}, "AAPL: 200 ERROR: busy"),
    ],
)
def test_results_of_another_kind_are_rejected_whole(vendor: FaultProxy, kind: Kind, data: Any, reason: str) -> None:
    vendor.add(answer(data), path=".*/AAPL.*")
    vendor.add(results(), path=".*/MSFT.*")
    assert reasons(fetch(vendor, AAPL, MSFT, window=HOUR, history=kind)) == [reason]


def test_too_many_requests_and_a_website_are_tried_again(vendor: FaultProxy, pauses: list[float]) -> None:
    vendor.add(answer({"status": "ERROR"}, 429, **{"Retry-After": "12"}))
    vendor.add(WEBSITE)
    vendor.add(snapshot(ticker()))
    assert len(fetch(vendor).events) == 2
    assert pauses[0] == 12


def test_many_tickers_are_asked_for_in_parts(vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygon, "TICKERS", 1)
    asks = source(vendor).query(MINUTE, (AAPL, MSFT))
    assert [ask.params["tickers"] for ask in asks] == ["AAPL", "MSFT"]


@pytest.mark.parametrize("kind", ["quote", "action"])
def test_there_is_no_history_of_other_kinds(vendor: FaultProxy, kind: Kind) -> None:
    with pytest.raises(ConfigError, match=f"polygon has no history of {kind}s; it has bars and trades"):
        fetch(vendor, history=kind)


@pytest.mark.parametrize("plan", ["basic", "starter"])
def test_trades_need_the_advanced_plan(vendor: FaultProxy, plan: str) -> None:
    with pytest.raises(ConfigError, match=f"QUANTSTREAM_POLYGON_PLAN = {plan} has no trades"):
        fetch(vendor, history="trade", polygon_plan=plan)


@pytest.mark.parametrize("key", [None, "", "S3CRET\u2026"])
def test_without_a_key_the_setting_is_named(vendor: FaultProxy, key: str | None) -> None:
    with pytest.raises(ConfigError, match="QUANTSTREAM_POLYGON_API_KEY is not set") as refused:
        source(vendor, polygon_api_key=key)
    assert "S3CRET" not in str(refused.value)


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_the_key_travels_in_a_header_and_is_in_no_log_no_error_and_no_quarantine(
    vendor: FaultProxy, pauses: list[float], caplog: pytest.LogCaptureFixture, status: int
) -> None:
    log_everything(caplog)
    vendor.add(answer({"status": "ERROR", "error": f"Unknown API Key {KEY}"}, status), times=None)
    got = Batch()
    with pytest.raises(SourceError) as refused:
        fetch(vendor, into=got)
    (seen, *_) = vendor.seen
    assert seen.request.header("Authorization") == f"Bearer {KEY}"
    assert KEY not in seen.request.path
    kept = b" ".join(bad.raw + bad.reason.encode() for bad in got.rejected)
    assert KEY not in f"{refused.value!r} {refused.value.__cause__!r} {caplog.text} {kept!r}"


def test_an_unknown_key_says_which_setting_to_check(vendor: FaultProxy) -> None:
    vendor.add(answer({"status": "ERROR", "error": "Unknown API Key"}, 401))
    with pytest.raises(SourceError, match=r"answered 401 .*Unknown API Key.*check QUANTSTREAM_POLYGON_PLAN and QUAN"):
        fetch(vendor)


def test_each_plan_has_its_limits(vendor: FaultProxy) -> None:
    limits = {plan: source(vendor, polygon_plan=plan).limits for plan in ("basic", "starter", "advanced")}
    assert limits == {"basic": Limits(per_minute=5), "starter": Limits(), "advanced": Limits()}
