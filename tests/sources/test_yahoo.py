"""Yahoo's charts against a local server that answers what Yahoo answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError, MisfitError, SourceError
from include.events import Kind, Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources import yahoo
from include.sources.asking import Reply
from include.sources.base import Batch
from include.sources.yahoo import Yahoo
from tests.faults.proxy import FaultProxy
from tests.sources.asked import WEBSITE, answer, coin, reasons, share, told, whole

MINUTE = Window(datetime(2026, 3, 13, 14, 4, tzinfo=UTC), datetime(2026, 3, 13, 14, 5, tzinfo=UTC))
DAY = Window(datetime(2026, 3, 13, tzinfo=UTC), datetime(2026, 3, 14, tzinfo=UTC))
NOW = int(MINUTE.end.timestamp())
AAPL, MSFT = share("yahoo", "AAPL"), share("yahoo", "MSFT")
BTC = coin("yahoo", "BTC-USD", "BTC-USD")
UNKNOWN = answer({"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found"}}}, 404)


def chart(*rows: tuple[int, Any], symbol: str = "AAPL", events: Any = None, **meta: Any) -> dict[str, Any]:
    """A chart of rows (seconds before 14:05, close): open, high and low are the close, the volume is 100."""
    closes = [close for _, close in rows]
    column: dict[str, list[Any]] = dict.fromkeys(("open", "high", "low", "close"), closes)
    column["volume"] = [None if close is None else 100 for close in closes]
    facts = {"symbol": symbol, "currency": "USD", "instrumentType": "EQUITY", "dataGranularity": "1m",
             "regularMarketTime": NOW - 2, "regularMarketPrice": 225.5, "previousClose": 220}  # fmt: skip
    result: dict[str, Any] = {"meta": facts | meta, "indicators": {"quote": [column]}}
    if rows:
        result["timestamp"] = [NOW - seconds for seconds, _ in rows]
    if events:
        result["events"] = events
    return {"chart": {"result": [result], "error": None}}


def source(vendor: FaultProxy | None) -> Yahoo:
    url = vendor.url if vendor else "http://nobody.invalid"
    return Yahoo(Settings(_env_file=None, yahoo_url=url, http_timeout_seconds=5))  # type: ignore[call-arg]


def fetch(
    vendor: FaultProxy, *instruments: Instrument, window: Window = MINUTE, history: Kind | None = None,
    into: Batch | None = None,
) -> Batch:  # fmt: skip
    return whole(source(vendor).fetch(window, instruments or (AAPL,), history), into)


def test_a_minute_brings_the_quote_the_bar_and_the_bars_before_it(vendor: FaultProxy) -> None:
    data = chart((420, 1), (300, 2), (120, 3), (60, 4))
    vendor.add(answer(data))
    got = fetch(vendor)
    assert told(got) == [
        ("quote", "AAPL", "14:04:58"),
        ("bar", "AAPL", "14:00:00"),
        ("bar", "AAPL", "14:03:00"),
        ("bar", "AAPL", "14:04:00"),
    ]
    assert got.events[0].payload == data["chart"]["result"][0]["meta"]
    assert got.events[3].payload == {
        "timestamp": NOW - 60, "open": 4, "high": 4, "low": 4, "close": 4, "volume": 100,
        "dataGranularity": "1m", "instrumentType": "EQUITY", "session": None,
    }  # fmt: skip
    assert {event.complete_until for event in got.events} == {MINUTE.end}
    assert got.rejected == []
    (seen,) = vendor.seen
    path = "/v8/finance/chart/AAPL?interval=1m&range=1d&includePrePost=true&events=div%2Csplit"
    assert seen.request.path == path
    assert seen.request.header("User-Agent").startswith("Mozilla/5.0 (compatible; quantstream")


def test_coins_are_asked_by_time_because_their_day_begins_anew_at_midnight(vendor: FaultProxy) -> None:
    vendor.add(answer(chart((60, 4), symbol="BTC-USD")))
    assert len(fetch(vendor, BTC).events) == 2
    start, end = int(MINUTE.start.timestamp()) - 3600, NOW + 60
    assert f"period1={start}&period2={end}" in vendor.seen[0].request.path


def test_the_bar_being_formed_does_not_become_one(vendor: FaultProxy) -> None:
    vendor.add(answer(chart((60, 4), (0, 5), (-3, 6))))  # the last row is the price now, at 14:05:03
    assert told(fetch(vendor))[1:] == [("bar", "AAPL", "14:04:00")]


@pytest.mark.parametrize(("late", "bars"), [(False, []), (True, ["14:04:00"])])
def test_a_bar_that_came_late_is_had_by_the_next_minute(vendor: FaultProxy, late: bool, bars: list[str]) -> None:
    following = Window(MINUTE.end, MINUTE.end + timedelta(minutes=1))
    vendor.add(answer(chart((60, 4) if late else (60, None))))
    got = fetch(vendor, window=following)
    assert [at for kind, _, at in told(got) if kind == "bar"] == bars
    assert got.rejected == []  # a minute without a trade was rejected by the pull of that minute


def test_a_minute_without_a_trade_is_rejected_once_with_its_reason(vendor: FaultProxy) -> None:
    vendor.add(answer(chart((120, None), (60, None))))
    got = fetch(vendor)
    (bad,) = got.rejected
    assert (bad.reason, bad.kind, bad.symbol) == ("no trade: open, high, low and close are null", "bar", "AAPL")
    assert b'"timestamp":%d' % (NOW - 60) in bad.raw


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.sampled_from([10, 30, 60]))
def test_at_every_cadence_each_minute_is_had_as_a_bar_or_rejected_once(traded: list[bool], cadence: int) -> None:
    first = NOW - 60 * len(traded)
    data = chart(*((NOW - first - 60 * n, 4 if one else None) for n, one in enumerate(traded)))
    asking, bars, rejected = source(None), set[int](), list[bytes]()
    for second in range(first, NOW, cadence):
        window = Window(*(datetime.fromtimestamp(at, UTC) for at in (second, second + cadence)))
        query = asking.query(window, (AAPL,))
        batch = asking.transform(query, Reply(query[0], 1, data, b""), window.end)
        bars |= {int(event.event_time.timestamp()) for event in batch.events if event.kind == "bar"}
        rejected += [bad.raw for bad in batch.rejected]
    assert bars == {first + 60 * n for n, one in enumerate(traded) if one}
    assert len(rejected) == len(set(rejected)) == traded.count(False)


def test_a_row_with_some_prices_is_left_to_the_audit(vendor: FaultProxy) -> None:
    data = chart((60, 4))
    data["chart"]["result"][0]["indicators"]["quote"][0]["high"] = [None]
    vendor.add(answer(data))
    assert fetch(vendor).events[1].payload["high"] is None


SESSIONS = {
    "pre": [[{"start": NOW - 600, "end": NOW - 180}]],
    "regular": [[{"start": NOW - 180, "end": NOW - 60}]],
    "post": [[{"start": NOW - 60, "end": NOW + 600}]],
}


@pytest.mark.parametrize(
    ("meta", "sessions"),
    [
        ({"tradingPeriods": SESSIONS}, ["pre", "regular", "regular", "post"]),
        ({"tradingPeriods": SESSIONS["regular"]}, [None, "regular", "regular", None]),
        ({"currentTradingPeriod": {name: days[0][0] for name, days in SESSIONS.items()}},
         ["pre", "regular", "regular", "post"]),
        ({"currentTradingPeriod": {"regular": "all day"}}, [None] * 4),
        ({"tradingPeriods": SESSIONS, "instrumentType": "CRYPTOCURRENCY"}, [None] * 4),
    ],
    ids=["by session", "regular only", "the day's", "nonsense", "a coin"],
)  # fmt: skip
def test_each_bar_says_in_which_session_it_lies(vendor: FaultProxy, meta: Any, sessions: list[str | None]) -> None:
    vendor.add(answer(chart((240, 1), (180, 2), (120, 3), (60, 4), **meta)))
    assert [event.payload["session"] for event in fetch(vendor).events[1:]] == sessions


def test_splits_and_dividends_become_actions_on_their_day(vendor: FaultProxy) -> None:
    opened = NOW - 2100  # 13:30
    split = {"date": opened, "numerator": 4, "denominator": 1, "splitRatio": "4:1"}
    dividend = {"date": opened, "amount": 0.205}
    events = {"splits": {str(opened): split}, "dividends": {str(opened): dividend, "x": {"amount": 1}}}
    vendor.add(answer(chart(events=events)))
    got = fetch(vendor)
    assert [(e.kind, e.vendor_id, f"{e.event_time:%H:%M}", e.payload) for e in got.events[1:]] == [
        ("action", "split", "13:30", split),
        ("action", "dividend", "13:30", dividend | {"currency": "USD"}),
    ]
    assert reasons(got) == ["date is None; it must be an epoch time"]


def test_an_unknown_symbol_costs_itself_only(vendor: FaultProxy) -> None:
    vendor.add(UNKNOWN, path=".*/GONE.*")
    vendor.add(answer(chart((60, 4))), path=".*/AAPL.*")
    got = fetch(vendor, AAPL, share("yahoo", "GONE"))
    assert told(got) == [("quote", "AAPL", "14:04:58"), ("bar", "AAPL", "14:04:00")]
    assert {event.complete_until for event in got.events} == {MINUTE.end}
    (bad,) = got.rejected
    assert (bad.reason, bad.symbol, bad.line_number) == ("GONE: Not Found: No data found", "GONE", 200_000)
    assert bad.raw == UNKNOWN.body


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([], "AAPL: the answer is no chart but list"),
        ({"quoteResponse": {}}, "AAPL: the answer is no chart but the keys quoteResponse"),
        ({"chart": {"result": [], "error": None}}, "AAPL: the chart has no result with its meta"),
        ({"chart": {"result": None, "error": "busy"}}, "AAPL: busy: None"),
        (chart((60, 4), symbol="MSFT"), "AAPL: the chart is of 'MSFT', which was not asked for"),
        (chart((60, 4), dataGranularity="1d"), "AAPL: the bars are of '1d'; 1m was asked for"),
    ],
)
def test_an_answer_of_another_kind_is_rejected_whole(vendor: FaultProxy, data: Any, reason: str) -> None:
    vendor.add(answer(data), path=".*/AAPL.*")
    vendor.add(answer(chart(symbol="MSFT")), path=".*/MSFT.*")
    got = fetch(vendor, AAPL, MSFT)
    assert reasons(got) == [reason]
    assert told(got) == [("quote", "MSFT", "14:04:58")]


@pytest.mark.parametrize(("column", "value", "said"), [
    ("volume", [1, 2], "timestamp and volume do not go together (1 and 2)"),
    ("low", None, "timestamp and low do not go together (1 and NoneType)"),
    ("adjclose", [], "timestamp and adjclose do not go together (1 and 0)"),
])  # fmt: skip
def test_columns_of_different_lengths_are_not_guessed_at(
    vendor: FaultProxy, column: str, value: Any, said: str
) -> None:
    data = chart((60, 4))
    data["chart"]["result"][0]["indicators"]["quote"][0][column] = value
    vendor.add(answer(data))
    vendor.add(answer(chart(symbol="MSFT")))
    assert reasons(fetch(vendor, AAPL, MSFT)) == [f"AAPL: {said}"]


def test_a_stamp_of_the_wrong_type_costs_its_row_only(vendor: FaultProxy) -> None:
    data = chart((120, 3), (60, 4), regularMarketTime="14:05")
    data["chart"]["result"][0]["timestamp"][0] = "14:03"
    vendor.add(answer(data))
    got = fetch(vendor)
    assert told(got) == [("bar", "AAPL", "14:04:00")]
    assert reasons(got) == [
        "regularMarketTime is '14:05'; it must be an epoch time",
        "timestamp is '14:03'; it must be an epoch time",
    ]


def test_a_vendor_that_lets_nobody_in_is_an_error_at_once(vendor: FaultProxy) -> None:
    body = {"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}
    vendor.add(answer(body, 401))
    with pytest.raises(SourceError, match=r"Yahoo: answered 401 .*Invalid Crumb.*; Yahoo refuses this address"):
        fetch(vendor, AAPL, MSFT)
    vendor.add(answer(body))
    with pytest.raises(SourceError, match="Unauthorized: 'Invalid Crumb'"):
        fetch(vendor, AAPL, MSFT)
    assert len(vendor.seen) == 2


def test_all_symbols_unknown_is_an_error(vendor: FaultProxy) -> None:
    vendor.add(UNKNOWN, times=None)
    with pytest.raises(SourceError, match=r"Yahoo: refused all .*: AAPL: Not Found: No data found \(and 1 more\)"):
        fetch(vendor, AAPL, MSFT)


def test_too_many_requests_waits_as_long_as_asked(vendor: FaultProxy, pauses: list[float]) -> None:
    vendor.add(answer("Edge: Too Many Requests", 429, **{"Retry-After": "17"}))
    vendor.add(answer(chart((60, 4))))
    assert len(fetch(vendor).events) == 2
    assert pauses == [17]


def test_a_website_instead_of_data_ends_in_an_error_and_what_came_before_is_kept(
    vendor: FaultProxy, pauses: list[float]
) -> None:
    vendor.add(answer(chart((60, 4))), path=".*/AAPL.*")
    vendor.add(WEBSITE, times=None)
    got = Batch()
    with pytest.raises(MisfitError, match=r"Yahoo: the answer .*Just a moment.*\(attempt 4 of 4"):
        fetch(vendor, AAPL, MSFT, into=got)
    assert told(got) == [("quote", "AAPL", "14:04:58"), ("bar", "AAPL", "14:04:00")]
    assert {event.complete_until for event in got.events} == {None}


class Then(datetime):
    """A clock that stands at noon of 2026-03-20."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime(2026, 3, 20, 12, tzinfo=tz)


def test_history_has_minutes_of_the_last_days_in_calls_of_a_week(
    vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yahoo, "datetime", Then)
    days = Window(datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 15, tzinfo=UTC))
    asks = source(vendor).history(days, (AAPL,), "bar")
    assert [(ask.interval, ask.window.start.day, ask.window.end.day) for ask in asks] == [("1m", 5, 12), ("1m", 12, 15)]
    assert asks[1].params == {
        "interval": "1m", "period1": "1773273600", "period2": "1773532800", "includePrePost": "true",
    }  # fmt: skip


def test_history_before_that_has_days(vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yahoo, "datetime", Then)
    year = Window(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    (ask,) = source(vendor).history(year, (AAPL,), "bar")
    assert (ask.interval, ask.window) == ("1d", year)


def test_the_price_of_now_beside_the_past_is_rejected(vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yahoo, "datetime", Then)
    vendor.add(answer(chart((60, 4), (13, 5), (-86400, 6))))
    got = fetch(vendor, window=DAY, history="bar")
    assert told(got) == [("bar", "AAPL", "14:04:00")]
    assert reasons(got) == [
        "a row of 14:04:47, no whole minute: the price of now, not a bar",
        "a row of 2026-03-14T14:05:00Z, outside of what was asked for",
    ]


def test_a_bar_is_not_taken_before_it_is_over(vendor: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = Window(datetime.now(UTC), datetime.now(UTC) + timedelta(hours=1))
    data = chart((60, 4))
    data["chart"]["result"][0]["timestamp"] = [(int(soon.start.timestamp()) // 60 + 1) * 60]
    vendor.add(answer(data))
    assert reasons(fetch(vendor, window=soon, history="bar")) == ["the bar is still being formed"]


def test_history_of_actions_asks_for_days_and_takes_no_bars(vendor: FaultProxy) -> None:
    split = {"date": NOW, "numerator": 1, "denominator": 10}
    events = {"splits": {"1": split, "2": split | {"date": NOW + 86400}}}
    vendor.add(answer(chart((60, 4), events=events, dataGranularity="1d")))
    got = fetch(vendor, window=DAY, history="action")
    assert told(got) == [("action", "AAPL", "14:05:00")]
    assert reasons(got) == ["a split of 2026-03-14, outside of what was asked for"]
    assert "interval=1d" in vendor.seen[0].request.path and "events=div%2Csplit" in vendor.seen[0].request.path


@pytest.mark.parametrize("kind", ["quote", "trade"])
def test_there_is_no_history_of_other_kinds(vendor: FaultProxy, kind: Kind) -> None:
    with pytest.raises(ConfigError, match=f"yahoo has no history of {kind}s; it has bars, and actions"):
        fetch(vendor, history=kind)
