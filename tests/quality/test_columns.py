"""Doubles are quick, and the verdict is that of the exact numbers all the same."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql

from include.quality.columns import Columns, columns, read_columns
from include.quality.engine import LINE, Checked, check
from include.quality.site import Page, _render
from include.settings import Settings
from include.warehouse.db import connect

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LIMITS = {"latest_time": "2026-03-02T12:01:00Z", "earliest_time": "2026-03-01T12:00:00Z"}
OHLC = ("open", "high", "low", "close", "volume")


def bars(rows: list[dict[str, str | None]]) -> Columns:
    """Bars as the audit reads them: each number as the text that Postgres says."""
    words = pa.dictionary(pa.int32(), pa.string())
    table = pa.table({
        LINE: pa.array(range(1, len(rows) + 1), pa.int64()),
        "symbol": pa.array(["AAPL"] * len(rows), words),
        "instrument": pa.array(["AAPL"] * len(rows), words),
        "modelled": pa.array(range(1, len(rows) + 1), pa.int64()),
        "event_time": pa.array([NOON] * len(rows), pa.timestamp("us", tz="UTC")),
        "live_event_time": pa.array([None] * len(rows), pa.timestamp("us", tz="UTC")),
        **{name: pa.array([row.get(name, name_of) for row in rows], words)
           for name, name_of in (("resolution", "1m"), ("session", "regular"))},
        **{name: pa.array([row.get(name, "1") for row in rows], pa.string()) for name in OHLC},
    })  # fmt: skip
    return columns(table, OHLC)


def judged(found: Columns) -> Checked:
    return check("bar", "bars of load 1", found.frame, LINE, LIMITS, found)


def test_numbers_are_doubles_and_exact_where_that_is_asked() -> None:
    found = bars([{"open": "0.1", "close": "123456789012345678901"}, {"open": None}])
    assert found.frame["open"].dtype == "float64"
    assert found.frame["close"].tolist() == [1.2345678901234568e20, 1.0]
    assert found.exact()["close"].tolist() == [Decimal("123456789012345678901"), Decimal(1)]
    assert found.exact()["open"].tolist() == [Decimal("0.1"), None]
    assert found.exact()["session"].tolist() == ["regular", "regular"]


def test_a_difference_that_no_double_holds_is_found_and_told_exactly() -> None:
    low, high = "100.00000000000000002", "100.00000000000000001"
    found = bars([{"open": high, "high": high, "low": low, "close": high}, {}])
    assert found.frame["low"][0] == found.frame["high"][0]
    assert [(one.rule.name, one.lines, one.observed) for one in judged(found).failures] == [
        ("high_is_not_below_low", (1,), f"1 row: high {high}, low {low}"),
        ("open_is_not_below_low", (1,), f"1 row: open {high}, low {low}"),
        ("close_is_not_below_low", (1,), f"1 row: close {high}, low {low}"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "ties"),
    [
        ("1", "1", False), ("1", "2", False), ("0.1", "0.10000000000000000001", True), ("1", None, False),
        ("9007199254740993", "9007199254740992", True),
    ],
)  # fmt: skip
def test_only_equal_doubles_of_different_numbers_are_ties(one: str, other: str | None, ties: bool) -> None:
    assert bars([{"high": "5", "low": "4"}, {"high": one, "low": other}]).ties("high", "low") is ties


def test_what_holds_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Columns, "exact", None)  # calling it fails
    assert judged(bars([{}, {"high": "2"}, {"volume": "0", "session": None}])).failures == ()


NUMBERS = st.sampled_from([
    "1", "2", "1.5", "0", "-1", "-0.00000000000000000001", "0.00000000000000000001", "0.1", "0.1000000000000000000001",
    "9007199254740993", "9007199254740992", "100000000000000000001", "100000000000000000002", "1" + "0" * 99, None,
])  # fmt: skip
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(OHLC, NUMBERS)
        | {
            "resolution": st.sampled_from(["1m", "2m", "", None]),
            "session": st.sampled_from(["pre", "late", "", None]),
        },
    ),
    min_size=1,
    max_size=30,
)


@given(rows=ROWS)
@hypothesis_settings(max_examples=5, deadline=None)
def test_verdict_reasons_and_page_are_those_of_the_exact_numbers(rows: list[dict[str, str | None]]) -> None:
    found = bars(rows)
    quick, exact = judged(found), check("bar", "bars of load 1", found.exact(), LINE, LIMITS)
    assert quick.failures == exact.failures
    assert page(quick) == page(exact)


def page(checked: Checked) -> list[str]:
    """The texts of a page, without what is drawn by lot."""
    html = _render(Page("loads", "1", "Load 1", NOON, "accepted", "1 row"), [checked])
    texts = re.sub(r"<style.*?</style>|<script.*?</script>", "", html, flags=re.DOTALL)
    return sorted(text.strip() for text in re.split(r"<[^>]+>", texts) if text.strip())


def test_columns_come_as_they_are_in_the_warehouse(settings: Settings) -> None:
    query = sql.SQL("""
        select n, word, text, number, at from (values
            (1, 'a"b', E'c,\\nd', '1.50'::numeric, '2026-03-02 12:00:00+00'::timestamptz),
            (2, '', null, null, '0001-01-01 00:00:00.000001+00'),
            (3, null, '', '123456789012345678901.5', '9999-12-31 23:59:59.999999+00')
        ) as found (n, word, text, number, at) order by n
    """)
    types: Any = {"n": "whole", "word": "word", "text": "text", "number": "number", "at": "time"}
    with connect(settings) as conn:
        table = read_columns(conn, query, types)
        empty = read_columns(conn, sql.SQL("select 1, 'a', 'b', 1.5, now() where false"), types)
    assert table.drop_columns("at").to_pylist() == [
        {"n": 1, "word": 'a"b', "text": "c,\nd", "number": "1.50"},
        {"n": 2, "word": "", "text": None, "number": None},
        {"n": 3, "word": None, "text": "", "number": "123456789012345678901.5"},
    ]
    assert table["at"].to_pylist() == [
        NOON, datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ]  # fmt: skip
    assert (len(empty), columns(empty, ["number"]).frame["number"].dtype) == (0, "float64")
    assert isinstance(columns(empty, ["number"]).frame, pd.DataFrame)
