"""Each rule of the table, seen failing on one row and holding on the good one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from include.quality.engine import check, expectation_name
from include.quality.suites import RULES, rules_of, suite

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVENT = {
    "line_number": 1, "symbol": "AAPL", "instrument": "AAPL", "modelled": 1, "event_time": NOON,
    "live_event_time": NOON,
}  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    "quote": {**EVENT, "price": Decimal(190), "bid": Decimal("189.9"), "ask": Decimal("190.1")},
    "trade": {**EVENT, "price": Decimal(190), "size": Decimal(0)},
    "bar": {
        **EVENT, "resolution": "1m", "session": None, "open": Decimal(2), "high": Decimal(4), "low": Decimal(1),
        "close": Decimal(3), "volume": Decimal(0),
    },
    "action": {**EVENT, "action": "split", "ratio": Decimal(4), "amount": None, "extent": Decimal(4)},
    "load": {
        "part": "load 1", "read_rows": 10, "present_rows": 10, "bad_share": 0.2, "symbol_share": 0.5,
        "repeated_share": 0.5,
    },
    "candle": {
        "candle": "AAPL 1m 12:00", "resolution": "1m", "symbol": "AAPL", "source": "simulator", "candle_start": NOON,
        "open": 2.0, "high": 4.0, "low": 1.0, "close": 3.0, "volume": 0.0,
    },
    "reconciliation": {
        "part": "load 1", "read_rows": 10, "accounted_rows": 10, "quarantined_rows": 2, "rejected_rows": 2,
        "inserted_rows": 7, "first_rows": 7, "accepted_rows": 7, "most_rows": 8, "normalised_rows": 7,
        "keys_missing": 0,
    },
}  # fmt: skip
PARAMETERS = {
    "latest_time": (NOON + timedelta(minutes=1)).isoformat(),
    "earliest_time": (NOON - timedelta(days=1)).isoformat(),
    "max_bad_share": 0.2,
    "min_symbol_share": 0.5,
}
OHLC_BROKEN: list[tuple[dict[str, object], set[str]]] = [
    ({"open": None}, {"open_is_a_number"}),
    ({"high": None}, {"high_is_a_number"}),
    ({"low": None}, {"low_is_a_number"}),
    ({"close": None}, {"close_is_a_number"}),
    ({"low": Decimal(0)}, {"low_is_positive"}),
    ({"open": Decimal(5)}, {"high_is_not_below_open"}),
    ({"close": Decimal("4.01")}, {"high_is_not_below_close"}),
    ({"open": Decimal("0.5")}, {"open_is_not_below_low"}),
    ({"close": Decimal("0.5")}, {"close_is_not_below_low"}),
    ({"open": Decimal(2), "high": Decimal(2), "low": Decimal(3), "close": Decimal(3)},
     {"high_is_not_below_low", "high_is_not_below_close", "open_is_not_below_low"}),
    ({"volume": Decimal(-1)}, {"volume_is_not_negative"}),
]  # fmt: skip


def as_floats(row: dict[str, object]) -> dict[str, object]:
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()}


BROKEN: list[tuple[str, dict[str, object], set[str]]] = [
    ("quote", {"modelled": None}, {"source_is_modelled"}),
    ("quote", {"symbol": None}, {"symbol_is_there"}),
    ("quote", {"event_time": None}, {"event_time_is_there"}),
    ("quote", {"symbol": "aapl", "instrument": None}, {"symbol_is_known"}),
    ("quote", {"event_time": NOON + timedelta(seconds=61)}, {"event_time_is_not_in_the_future"}),
    ("quote", {"live_event_time": NOON - timedelta(hours=25)}, {"live_event_is_not_too_old"}),
    ("quote", {"price": None}, {"price_is_a_number"}),
    ("quote", {"price": Decimal(0)}, {"price_is_positive"}),
    ("quote", {"price": Decimal("1e309")}, {"price_is_positive"}),
    ("quote", {"bid": Decimal("190.2")}, {"ask_is_not_below_bid"}),
    ("quote", {"bid": Decimal("190.10000000000000000001")}, {"ask_is_not_below_bid"}),
    ("trade", {"price": Decimal("-0.5")}, {"price_is_positive"}),
    ("trade", {"size": None}, {"size_is_a_number"}),
    ("trade", {"size": Decimal(-1)}, {"size_is_not_negative"}),
    ("bar", {"resolution": "2m"}, {"resolution_is_known"}),
    ("bar", {"resolution": None}, {"resolution_is_there"}),
    ("bar", {"session": "lunch"}, {"session_is_known"}),
    *(("bar", change, names) for change, names in OHLC_BROKEN),
    *(("candle", {"symbol": "B", **as_floats(change)}, names) for change, names in OHLC_BROKEN),
    ("action", {"action": None}, {"action_is_there"}),
    ("action", {"action": "merger"}, {"action_is_known"}),
    ("action", {"extent": None}, {"extent_is_a_number"}),
    ("action", {"extent": Decimal(0)}, {"extent_is_positive"}),
    ("load", {"read_rows": 0, "present_rows": 0}, {"load_is_not_empty"}),
    ("load", {"present_rows": 9}, {"no_row_is_missing"}),
    ("load", {"bad_share": 0.21}, {"bad_rows_are_few"}),
    ("load", {"symbol_share": 0.49}, {"known_symbols_are_present"}),
    ("load", {"repeated_share": 0.51}, {"repeats_are_few"}),
    ("reconciliation", {"rejected_rows": 1}, {"quarantine_is_complete"}),
    ("reconciliation", {"accounted_rows": 9}, {"load_balances"}),
    ("reconciliation", {"first_rows": 6}, {"inserted_rows_are_there"}),
    ("reconciliation", {"accepted_rows": 9, "normalised_rows": 9}, {"no_row_is_invented"}),
    ("reconciliation", {"normalised_rows": 6}, {"every_row_is_normalised"}),
    ("reconciliation", {"keys_missing": 1}, {"every_key_is_in_the_marts"}),
]  # fmt: skip
KEYS = {"load": "part", "reconciliation": "part", "candle": "candle"}


def failing(subject: str, *rows: dict[str, Any]) -> set[str]:
    checked = check(subject, "a test", pd.DataFrame(rows), KEYS.get(subject, "line_number"), PARAMETERS)
    return {failure.rule.name for failure in checked.failures}


@pytest.mark.parametrize("subject", GOOD)
def test_the_good_row_breaks_no_rule(subject: str) -> None:
    assert failing(subject, GOOD[subject]) == set()


@pytest.mark.parametrize(("subject", "change", "names"), BROKEN)
def test_a_broken_row_breaks_its_rule_and_no_other(subject: str, change: dict[str, object], names: set[str]) -> None:
    broken = {**GOOD[subject], **change, KEYS.get(subject, "line_number"): 2}
    assert failing(subject, GOOD[subject], broken) == names


def test_a_candle_that_is_there_twice_breaks_its_key() -> None:
    assert failing("candle", GOOD["candle"], GOOD["candle"]) == {"candle_key_is_unique"}


def test_every_rule_was_seen_failing() -> None:
    seen = {(subject, name) for subject, _, names in BROKEN for name in names} | {("candle", "candle_key_is_unique")}
    # what holds for several kinds is the same fact about the same column: once is enough
    assert {name for _, name in seen} == {rule.name for rule in RULES}
    assert {name for subject, name in seen if subject == "candle"} == {rule.name for rule in rules_of("candle")}


@pytest.mark.parametrize("missing", ["bid", "ask"])
def test_a_quote_may_lack_bid_or_ask(missing: str) -> None:
    assert failing("quote", {**GOOD["quote"], missing: None}) == set()


def test_a_row_that_is_not_live_may_be_old() -> None:
    old = {**GOOD["quote"], "event_time": NOON - timedelta(days=4000), "live_event_time": pd.NaT}
    assert failing("quote", old) == set()


@pytest.mark.parametrize("days", [-400, 30])
def test_a_corporate_action_may_be_announced_or_told_again(days: int) -> None:
    moved = NOON + timedelta(days=days)
    assert failing("action", {**GOOD["action"], "event_time": moved, "live_event_time": moved}) == set()


@pytest.mark.parametrize("session", ["pre", "regular", "post"])
def test_a_bar_may_say_its_session(session: str) -> None:
    assert failing("bar", {**GOOD["bar"], "session": session}) == set()


def test_a_failure_names_lines_values_and_reasons() -> None:
    rows = [
        {**GOOD["quote"], "line_number": 5, "price": Decimal("-2.50")},
        {**GOOD["quote"], "line_number": 9, "bid": Decimal(200)},
    ]
    by_name = {
        failure.rule.name: failure
        for failure in check("quote", "a test", pd.DataFrame(rows), "line_number", PARAMETERS).failures
    }
    price, bid = by_name["price_is_positive"], by_name["ask_is_not_below_bid"]
    assert (price.lines, price.observed) == ((5,), "1 row: -2.50")
    assert price.reasons == (
        "price_is_positive: expect_column_values_to_be_between(price) found -2.50; "
        "the price must be above 0 and finite",
    )
    assert (bid.lines, bid.observed) == ((9,), "1 row: ask 190.1, bid 200")
    assert bid.as_json() == {
        "rule": "ask_is_not_below_bid",
        "expectation": "expect_column_pair_values_a_to_be_greater_than_b",
        "columns": "ask, bid", "level": "row", "observed": "1 row: ask 190.1, bid 200", "rows": 1,
        "meaning": "the bid must not be above the ask",
    }  # fmt: skip


def test_a_rule_that_cannot_be_evaluated_rejects() -> None:
    frame = pd.DataFrame([GOOD["quote"]]).drop(columns="price")
    failures = check("quote", "a test", frame, "line_number", PARAMETERS).failures
    assert {failure.rule.name for failure in failures} == {"price_is_a_number", "price_is_positive"}
    assert all(failure.rejects and "could not be evaluated" in failure.observed for failure in failures)


def test_the_table_is_sound() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.columns, rule.name
        assert rule.meaning, rule.name
        assert expectation_name(rule).startswith("expect_")
    for subject in GOOD:
        assert len(suite(subject).expectations) == len(rules_of(subject)), "two rules of one subject are the same"
