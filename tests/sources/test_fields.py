"""Columns found by name, numbers and times from what files write."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError
from include.sources.fields import find_layout, moment, number

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def columns(kind: str, header: str, symbol: str | None = "X", **wanted: str) -> dict[str, str]:
    return dict(find_layout(kind, header.split(","), wanted, symbol, "f.csv").columns)


@pytest.mark.parametrize(
    ("kind", "header", "found"),
    [
        ("trade", "seq,ts_utc,price,size,exchange", "time=ts_utc price=price id=seq size=size"),
        ("trade", "ts_utc,timestamp,id,side,price,amount", "time=ts_utc price=price id=id size=amount side=side"),
        ("bar", "ts_utc,Ticker,Open,High,Low,Close,Vol", "time=ts_utc open=Open high=High low=Low close=Close "
                                                        "symbol=Ticker volume=Vol"),
        ("bar", "Open-Time,o,h,l,c", "time=Open-Time open=o high=h low=l close=c"),
        ("quote", "date,close,volume", "time=date price=close"),
        ("quote", "time,bid,ask", "time=time bid=bid ask=ask"),
        ("quote", "ts,bid_open,bid_close,ask_close", "time=ts bid=bid_close ask=ask_close"),
    ],
)  # fmt: skip
def test_columns_are_found_by_their_usual_names(kind: str, header: str, found: str) -> None:
    assert sorted(columns(kind, header).items()) == sorted(tuple(pair.split("=")) for pair in found.split(" "))


def test_a_map_says_which_column_is_meant() -> None:
    assert columns("trade", "when,px,price", time="when", price="px") == {"time": "when", "price": "px"}


def test_what_is_no_field_stays_beside_it() -> None:
    assert find_layout("trade", ["x", "ts", "price", "y"], {}, "X", "f.csv").rest == ("x", "y")


def test_a_date_and_a_time_of_day_belong_together() -> None:
    layout = find_layout("quote", ["Date", "Time", "Close"], {}, "X", "f.csv")
    assert (layout.columns["time"], layout.clock, layout.rest) == ("Date", "Time", ())


@pytest.mark.parametrize(
    ("kind", "header", "wanted", "said"),
    [
        ("bar", "ts,open,high,low", {}, "f.csv cannot be read as bars: no column for close"),
        ("bar", "ts,open,high,low", {}, "Its columns are: ts, open, high, low."),
        ("bar", "ts,open,high,low", {}, "--map close=COLUMN (fields: time, open, high, low, close, symbol, volume"),
        ("quote", "a,b", {}, "no column for time; no column for price"),
        ("quote", "ts,bid", {}, "no column for price"),
        ("trade", "ts,price", {"price": "px"}, "there is no column 'px'"),
        ("trade", "ts,price", {"prise": "price"}, "'prise' is no field of a trade"),
    ],
)
def test_what_does_not_fit_is_said_with_the_columns_there_are(
    kind: str, header: str, wanted: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        columns(kind, header, **wanted)
    assert said in str(refused.value)


def test_a_file_without_symbols_asks_for_one() -> None:
    with pytest.raises(ConfigError, match=r"no column for symbol(?s:.*)or give the symbol of all rows with --symbol"):
        columns("trade", "ts,price", symbol=None)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("13.9400", 13.94), (" 500 ", 500), ("-0.5", -0.5), (".5", 0.5), ("1e3", 1000.0), ("5.", 5.0), ("", None),
        (None, None), (float("nan"), None), (7, 7), (1.5, 1.5), (Decimal("1.25"), 1.25),
        ("33.35399601000002", 33.35399601000002),
        ("0.12345678901234567890", "0.12345678901234567890"),
        (Decimal("0.12345678901234567890"), "0.12345678901234567890"),
        ("123456789012345678901", "123456789012345678901"),
        (2**60 + 1, str(2**60 + 1)),
    ],
)  # fmt: skip
def test_a_number_is_read_without_losing_a_digit(written: Any, read: Any) -> None:
    assert number("price", written) == read


@pytest.mark.parametrize(
    "written", ["n/a", "1,234.5", "1_000", "0x10", "NaN", "inf", "1e999", "٣", "1 2", True, [1], float("inf")]
)
def test_what_is_no_finite_number_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match=r"^price is .*; it must be"):
        number("price", written)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**9), max_value=10**9))
def test_any_decimal_reaches_the_payload_as_it_was_written(value: Decimal) -> None:
    sent = orjson.loads(orjson.dumps(number("price", f"{value:f}")))
    assert Decimal(str(sent)) == value


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-03-14T12:00:00Z", NOON),
        ("2026-03-14T13:00:00+01:00", NOON),
        ("2026-03-14 12:00:00", NOON),
        ("2026-03-14 12:00:00 UTC", NOON),
        ("2026-03-14T12:00:00.614Z", NOON + timedelta(milliseconds=614)),
        ("2026-03-14", NOON.replace(hour=0)),
        ("20260314", NOON.replace(hour=0)),
        (20260314, NOON.replace(hour=0)),
        (date(2026, 3, 14), NOON.replace(hour=0)),
        (datetime(2026, 3, 14, 12), NOON),  # noqa: DTZ001  # a file's time without a zone
        (datetime(2026, 3, 14, 7, tzinfo=timezone(timedelta(hours=-5))), NOON),
        ("1773489600", NOON),
        ("1773489600.25", NOON + timedelta(seconds=0.25)),
        (1773489600.25, NOON + timedelta(seconds=0.25)),
        (1773489600000, NOON),
        ("1773489600000000", NOON),
        ("1773489600000000999", NOON),
    ],
)
def test_a_time_is_read_as_utc(written: Any, read: datetime) -> None:
    assert moment(written) == read
    assert moment(written).tzinfo is UTC


def test_a_time_of_day_is_added_to_its_date() -> None:
    assert moment("2026-03-14", "12:00") == NOON
    assert moment("whatever", "2026-03-14T12:00:00Z") == NOON


@pytest.mark.parametrize("written", ["", None])
def test_a_time_may_be_missing(written: Any) -> None:
    with pytest.raises(ValueError, match=r"^time is missing$"):
        moment(written)


@pytest.mark.parametrize(
    "written", ["yesterday", "03/14/2026", "2026-13-01", "2026-03-14T23:59:60Z", True, float("nan"), [], "1850-01-01"]
)
def test_what_is_no_time_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match=r"^time is .*; it must|it must lie between"):
        moment(written)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001  # hypothesis wants them bare
    st.sampled_from([1, 10**3, 10**6, 10**9]),
)
def test_the_unit_of_an_epoch_time_is_told_by_its_size(at: datetime, unit: int) -> None:
    at = at.replace(microsecond=0, tzinfo=UTC)
    assert moment(int(at.timestamp()) * unit) == at
