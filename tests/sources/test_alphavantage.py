"""Alpha Vantage against a local server that answers what it answers, refusals with status 200 included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import ConfigError, SourceError
from include.events import Kind, Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources import alphavantage
from include.sources.alphavantage import AlphaVantage
from include.sources.base import Batch
from include.sources.gate import Limits
from tests.faults.proxy import FaultProxy
from tests.sources.asked import WEBSITE, answer, coin, log_everything, reasons, share, told, whole

KEY = "S3CRETKEY"
MINUTE = Window(datetime(2026, 3, 13, 18, 4, tzinfo=UTC), datetime(2026, 3, 13, 18, 5, tzinfo=UTC))  # 14:05 New York
MSFT, IBM = share("alphavantage", "MSFT"), share("alphavantage", "IBM")
BTC = coin("alphavantage", "BTC-USD", "BTC")
ROW = {"1. open": "1.0000", "2. high": "2.0000", "3. low": "0.5000", "4. close": "1.5000", "5. volume": "10"}
DAILY_LIMIT = (
    f"We have detected your API key as {KEY} and our standard API rate limit is 25 requests per day. Please subscribe"
)


def quote(symbol: str = "MSFT", day: Any = "2026-03-12", name: str = "Global Quote") -> dict[str, Any]:
    return {name: {"01. symbol": symbol, "05. price": "412.1300", "07. latest trading day": day}}


def rate(**fields: Any) -> dict[str, Any]:
    return {
        "Realtime Currency Exchange Rate": {
            "1. From_Currency Code": "BTC", "3. To_Currency Code": "USD", "5. Exchange Rate": "64000.50000000",
            "6. Last Refreshed": "2026-03-13 18:04:31", "7. Time Zone": "UTC",
        } | fields
    }  # fmt: skip


def series(*times: str, zone: Any = "US/Eastern", name: str = "Time Series (1min)", row: Any = None) -> dict[str, Any]:
    return {"Meta Data": {"2. Symbol": "MSFT", "6. Time Zone": zone}, name: dict.fromkeys(times, row or ROW)}


def source(vendor: FaultProxy, **settings: Any) -> AlphaVantage:
    given = {"alphavantage_url": vendor.url, "alphavantage_api_key": KEY, "http_timeout_seconds": 5} | settings
    return AlphaVantage(Settings(_env_file=None, **given))


def fetch(
    vendor: FaultProxy, *instruments: Instrument, window: Window = MINUTE, history: Kind | None = None, **settings: Any
) -> Batch:
    return whole(source(vendor, **settings).fetch(window, instruments or (MSFT,), history))


def test_a_share_becomes_a_quote_at_the_close_of_its_day(vendor: FaultProxy) -> None:
    vendor.add(answer(quote()))
    got = fetch(vendor)
    (event,) = got.events
    assert (event.kind, event.symbol, event.payload) == ("quote", "MSFT", quote()["Global Quote"])
    assert event.event_time == datetime(2026, 3, 12, 20, tzinfo=UTC)  # 16:00 in New York's summer time
    assert event.complete_until == MINUTE.end - timedelta(days=1)  # the free plan knows last evening
    assert vendor.seen[0].request.path == f"/query?function=GLOBAL_QUOTE&symbol=MSFT&apikey={KEY}"


def test_the_close_of_a_winter_day_is_an_hour_later_in_utc(vendor: FaultProxy) -> None:
    vendor.add(answer(quote(day="2026-03-06")))
    assert fetch(vendor).events[0].event_time == datetime(2026, 3, 6, 21, tzinfo=UTC)


def test_a_quote_of_the_running_day_is_as_old_as_the_plan_s_delay(vendor: FaultProxy) -> None:
    vendor.add(answer(quote(day="2026-03-13", name="Global Quote - DATA DELAYED BY 15 MINUTES")))
    (event,) = fetch(vendor, alphavantage_plan="premium").events
    assert event.event_time == event.complete_until == MINUTE.end - timedelta(minutes=15)
    assert "entitlement=delayed" in vendor.seen[0].request.path


def test_a_coin_becomes_a_quote_at_its_own_time(vendor: FaultProxy) -> None:
    vendor.add(answer(rate()))
    (event,) = fetch(vendor, BTC).events
    assert (event.symbol, event.event_time) == ("BTC-USD", datetime(2026, 3, 13, 18, 4, 31, tzinfo=UTC))
    assert event.complete_until == MINUTE.end
    path = f"/query?function=CURRENCY_EXCHANGE_RATE&from_currency=BTC&to_currency=USD&apikey={KEY}"
    assert vendor.seen[0].request.path == path


@pytest.mark.parametrize(
    ("instrument", "data", "reason"),
    [
        (MSFT, {"Global Quote": {}}, "MSFT: 'Global Quote' is empty: the vendor does not know it"),
        (MSFT, {}, "MSFT: the answer has no 'Global Quote' but nothing at all"),
        (MSFT, [], "MSFT: the answer is no object but list"),
        (MSFT, {"Error Message": "Invalid API call."}, "MSFT: Invalid API call."),
        (MSFT, quote(symbol="IBM"), "01. symbol is 'IBM'; MSFT was asked for"),
        (MSFT, quote(day=None), "07. latest trading day is None; it must be a day like 2026-03-13"),
        (MSFT, quote(day="13.3.26"), "07. latest trading day is '13.3.26'; it must be a day like 2026-03-13"),
        (MSFT, rate(), "MSFT: the answer has no 'Global Quote' but Realtime Currency Exchange Rate"),
        (BTC, rate(**{"3. To_Currency Code": "EUR"}), "the rate is of ('BTC', 'EUR'); BTC in USD was asked for"),
        (BTC, rate(**{"7. Time Zone": "Mars"}), "the time zone is 'Mars'; known are US/Eastern, America/New_York, UTC"),
        (BTC, rate(**{"6. Last Refreshed": 7}), "6. Last Refreshed is 7; it must be a time like 2026-03-13 15:59:00"),
    ],
)  # fmt: skip
def test_what_is_no_answer_costs_its_instrument_only(
    vendor: FaultProxy, instrument: Instrument, data: Any, reason: str
) -> None:
    vendor.add(answer(data))
    vendor.add(answer(quote(symbol="IBM")))
    got = fetch(vendor, instrument, IBM)
    assert [(bad.kind, bad.reason) for bad in got.rejected] == [("quote", reason)]
    assert [event.symbol for event in got.events] == ["IBM"]


@pytest.mark.parametrize(
    ("name", "text", "pause"),
    [
        ("Note", "Our standard API call frequency is 5 calls per minute and 500 calls per day.", 60),
        ("Information", "Please consider spreading out your free API requests more sparingly (1 request per second). "
         "Subscribe to lift the free key rate limit (25 requests per day)", 2),
        ("Information", "Burst pattern detected. Please slow down.", 2),
        ("Note", "Something new about limits.", 60),
    ],
)  # fmt: skip
def test_a_limit_told_with_status_200_is_waited_for(
    vendor: FaultProxy, pauses: list[float], name: str, text: str, pause: float
) -> None:
    vendor.add(answer({name: text}))
    vendor.add(answer(quote()))
    assert len(fetch(vendor).events) == 1
    assert pauses == [pause]


class Evening(datetime):
    """A clock that stands at 23:00 in New York."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime(2026, 3, 13, 23, tzinfo=tz)


def test_the_limit_of_the_day_ends_the_pull_until_the_next_one(
    vendor: FaultProxy, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alphavantage, "datetime", Evening)
    vendor.add(answer({"Information": DAILY_LIMIT}), times=None)
    said = r"Alpha Vantage: says that the calls of the day are used up .* asks for a break of 3600 s \(attempt 1 of 4"
    with pytest.raises(SourceError, match=said) as refused:
        fetch(vendor)
    assert (len(vendor.seen), pauses) == (1, [])
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("Error Message", "the parameter apikey is invalid or missing. Please claim", "the key is not accepted; check"),
        ("Information", "the parameter apikey is invalid or missing.", "the key is not accepted; check QUANTSTREAM_"),
        ("Information", "Thank you! This is a premium endpoint.", "this call is not in the plan of the key; check"),
    ],
)
def test_what_shuts_everybody_out_is_an_error_at_once(vendor: FaultProxy, name: str, text: str, said: str) -> None:
    vendor.add(answer({name: text}))
    with pytest.raises(SourceError, match=said):
        fetch(vendor, MSFT, IBM)
    assert len(vendor.seen) == 1


def test_all_instruments_unknown_is_an_error(vendor: FaultProxy) -> None:
    vendor.add(answer({"Global Quote": {}}), times=None)
    with pytest.raises(SourceError, match=r"refused all .* MSFT: 'Global Quote' is empty.*\(and 1 more\); check QUANT"):
        fetch(vendor, MSFT, IBM)


def test_too_many_requests_and_a_website_are_tried_again(vendor: FaultProxy, pauses: list[float]) -> None:
    vendor.add(answer({}, 429, **{"Retry-After": "9"}))
    vendor.add(WEBSITE)
    vendor.add(answer(quote()))
    assert len(fetch(vendor).events) == 1
    assert pauses[0] == 9


def day(month: int, number: int) -> Window:
    start = datetime(2026, month, number, tzinfo=UTC)
    return Window(start, start + timedelta(days=1))


@pytest.mark.parametrize(
    ("window", "local", "utc"),
    [
        (day(3, 6), "2026-03-06 09:30:00", "14:30"),  # winter
        (day(3, 9), "2026-03-09 09:30:00", "13:30"),  # the Monday after the clocks went forward
        (day(10, 30), "2026-10-30 09:30:00", "13:30"),
        (day(11, 2), "2026-11-02 09:30:00", "14:30"),  # the Monday after they went back
    ],
)
def test_minutes_of_the_past_are_new_york_s_and_become_utc(
    vendor: FaultProxy, window: Window, local: str, utc: str
) -> None:
    vendor.add(answer(series(local)))
    got = fetch(vendor, window=window, history="bar", alphavantage_plan="premium")
    (event,) = got.events
    assert f"{event.event_time:%H:%M}" == utc
    assert event.payload == ROW | {"time": local, "zone": "US/Eastern", "resolution": "1m"}
    assert (got.rejected, event.complete_until) == ([], window.end)


def test_rows_outside_of_the_window_are_not_what_was_asked_for(vendor: FaultProxy) -> None:
    vendor.add(answer(series("2026-03-09 20:00:00", "2026-03-09 19:59:00", "2026-03-08 19:59:00")))
    got = fetch(vendor, window=day(3, 9), history="bar", alphavantage_plan="premium")
    assert told(got) == [("bar", "MSFT", "23:59:00")]
    assert got.rejected == []


def test_a_series_that_begins_after_the_window_says_so(vendor: FaultProxy) -> None:
    vendor.add(answer(series("2026-03-13 10:00:00", zone="UTC", name="Time Series Crypto (1min)")))
    got = fetch(vendor, BTC, window=day(3, 9), history="bar", alphavantage_plan="premium")
    assert got.events == []
    assert reasons(got) == ["BTC: the vendor's series begins only at 2026-03-13 10:00 UTC, after the window"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (series("2026-11-01 01:30:00"),
         "time is 2026-11-01 01:30:00, which the clock change of US/Eastern makes twice or not at all"),
        (series("noon"), "time is 'noon'; it must be a time like 2026-03-13 15:59:00"),
        (series("2026-11-01 12:00:00", zone=None),
         "the time zone is None; known are US/Eastern, America/New_York, UTC"),
        (series("2026-11-01 12:00:00", row="closed"), "the row is no object but str"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_dated_is_rejected(vendor: FaultProxy, data: Any, reason: str) -> None:
    vendor.add(answer(data))
    sunday = Window(datetime(2026, 11, 1, 4, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
    got = fetch(vendor, window=sunday, history="bar", alphavantage_plan="premium")
    assert reasons(got) == [reason]


def test_an_indicator_is_not_data_we_take(vendor: FaultProxy) -> None:
    vendor.add(answer({"Meta Data": {}, "Technical Analysis: SMA": {"2017-12-20 14:00": {"SMA": "85.2440"}}}))
    vendor.add(answer(series("2026-03-09 12:00:00")))
    got = fetch(vendor, MSFT, IBM, window=day(3, 9), history="bar", alphavantage_plan="premium")
    assert reasons(got) == [
        "MSFT: the answer has no 'Time Series (1min)' but Meta Data, Technical Analysis: SMA",
    ]


def test_minutes_are_asked_for_by_the_months_of_new_york(vendor: FaultProxy) -> None:
    turn = Window(datetime(2025, 12, 31, 12, tzinfo=UTC), datetime(2026, 2, 1, 5, tzinfo=UTC))
    asks = source(vendor, alphavantage_plan="premium").history(turn, (MSFT,), "bar")
    assert [ask.params["month"] for ask in asks] == ["2025-12", "2026-01"]
    assert asks[0].params == {
        "function": "TIME_SERIES_INTRADAY", "symbol": "MSFT", "adjusted": "false", "interval": "1min",
        "outputsize": "full", "entitlement": "delayed", "month": "2025-12",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("instrument", "name", "zone", "start"),
    [
        (MSFT, "Time Series (Daily)", "US/Eastern", "05:00"),
        (BTC, "Time Series (Digital Currency Daily)", "UTC", "00:00"),
    ],
)
def test_the_free_plan_has_days(vendor: FaultProxy, instrument: Instrument, name: str, zone: str, start: str) -> None:
    vendor.add(answer(series("2026-03-06", zone=zone, name=name)))
    (event,) = fetch(vendor, instrument, window=day(3, 6), history="bar").events
    assert (f"{event.event_time:%H:%M}", event.payload["resolution"]) == (start, "1d")


def test_a_bar_is_not_taken_before_it_is_over(vendor: FaultProxy) -> None:
    now = datetime.now(UTC)
    today = Window(now.replace(hour=0, minute=0, second=0, microsecond=0), now + timedelta(days=1))
    vendor.add(answer(series(f"{now:%Y-%m-%d}", zone="UTC", name="Time Series (Digital Currency Daily)")))
    assert reasons(fetch(vendor, BTC, window=today, history="bar")) == ["the bar is still being formed"]


@pytest.mark.parametrize("kind", ["quote", "trade", "action"])
def test_there_is_no_history_of_other_kinds(vendor: FaultProxy, kind: Kind) -> None:
    with pytest.raises(ConfigError, match=f"alphavantage has no history of {kind}s, only of bars"):
        fetch(vendor, history=kind)


@pytest.mark.parametrize("key", [None, "", "S3CRET\u2026"])
def test_without_a_key_the_setting_is_named(vendor: FaultProxy, key: str | None) -> None:
    with pytest.raises(ConfigError, match="QUANTSTREAM_ALPHAVANTAGE_API_KEY is not set") as refused:
        source(vendor, alphavantage_api_key=key)
    assert "S3CRET" not in str(refused.value)


@pytest.mark.parametrize(
    "fault",
    [answer({"Information": DAILY_LIMIT}), answer({"Error Message": f"no {KEY}"}), answer(KEY, 403), answer(KEY, 500)],
    ids=["limit", "error", "403", "500"],
)
def test_the_key_is_in_no_log_no_error_and_no_quarantine(
    vendor: FaultProxy, pauses: list[float], caplog: pytest.LogCaptureFixture, fault: Any
) -> None:
    log_everything(caplog)
    vendor.add(fault, times=None)
    got = Batch()
    with pytest.raises(SourceError) as refused:
        whole(source(vendor).fetch(MINUTE, (MSFT, IBM)), got)
    assert f"apikey={KEY}" in vendor.seen[0].request.path
    kept = b" ".join(bad.raw + bad.reason.encode() for bad in got.rejected)
    assert KEY not in f"{refused.value!r} {refused.value.__cause__!r} {caplog.text} {kept!r}"


def test_each_plan_has_its_limits(vendor: FaultProxy) -> None:
    limits = {plan: source(vendor, alphavantage_plan=plan).limits for plan in ("free", "premium")}
    assert limits == {"free": Limits(per_minute=5, per_day=25), "premium": Limits(per_minute=75)}
