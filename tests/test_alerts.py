"""An alert's key comes from the data; its subject fits an e-mail, its text a phone, its body a program."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.alert_text import sparkline
from include.alerts import Alert

AT = datetime(2026, 1, 2, 9, 3, tzinfo=UTC)
ALERT = Alert(
    rule="change", category="market", severity="warning", symbol="AAPL", candle_start=AT, direction="up",
    value=6.1, threshold=5.0, message="6.1 % above the previous close (limit 5 %)",
)  # fmt: skip


def test_the_key_depends_on_rule_symbol_candle_and_discriminator_only() -> None:
    same = replace(ALERT, severity="critical", message="other words", value=6.2, threshold=4.0, direction="down")
    assert same.key == ALERT.key
    others = [
        replace(ALERT, rule="zscore"),
        replace(ALERT, symbol="MSFT"),
        replace(ALERT, candle_start=AT + timedelta(minutes=1)),
        replace(ALERT, discriminator="2"),
    ]
    assert len({ALERT.key, *(other.key for other in others)}) == 5


def test_the_key_never_changes_between_versions() -> None:
    assert ALERT.key == "1e64d5d630e38ae3218319f1cf4901329cac052b40639938e8591e1148f4dc91"


def test_the_key_is_the_same_in_every_time_zone() -> None:
    assert replace(ALERT, candle_start=AT.astimezone(timezone(timedelta(hours=-5)))).key == ALERT.key


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        replace(ALERT, candle_start=datetime(2026, 1, 2, 9, 3))  # noqa: DTZ001  # that is the point


def test_subject_and_text_are_for_people() -> None:
    assert ALERT.subject == "WARNING: AAPL: 6.1 % above the previous close (limit 5 %)"
    assert ALERT.text.splitlines() == [
        "AAPL: 6.1 % above the previous close (limit 5 %)",
        "warning · change · 2026-01-02 09:03 UTC",
        "seen? quantstream alerts ack 1e64d5d6",
    ]


def test_the_numbers_behind_it_fit_a_phone() -> None:
    text = replace(
        ALERT, rule="portfolio_drawdown", measures=(
            ("return", 5.2, -1.1, 1.2), ("volume", 12_300.0, 800.0, 2_100.0),
            ("realised volatility", 0.0412, None, 0.018), ("spread", 3.0, None, None), ("age", None, 1.0, None),
        ), symbols=("AAPL", "MSFT", "NVDA", "TSLA", "AMZN", "GOOG", "BTC-USD"), spark="▁▂▂▃▅▇█",
    ).text  # fmt: skip
    assert text.splitlines()[1:] == [
        "warning · portfolio_drawdown",
        "2026-01-02 09:03 UTC",
        "return 5.2 (usual -1.1 to 1.2)",
        "volume 12,300 (usual 800 to 2,100)",
        "realised volatility 0.0412",
        "  (usual up to 0.018)",
        "spread 3",
        "age unknown (usual from 1)",
        "7 symbols: AAPL, MSFT, NVDA, TSLA, AMZN,",
        "GOOG, BTC-USD",
        "▁▂▂▃▅▇█",
        "seen? quantstream alerts ack 0ff1ae1f",
    ]
    assert all(len(line) <= 40 for line in text.splitlines()[1:])


def test_of_a_shock_of_the_whole_market_the_text_names_a_few_symbols_and_the_body_all() -> None:
    alert = replace(ALERT, symbol=None, message="25 symbols fell", symbols=tuple(f"S{n:02}" for n in range(25)))
    assert "25 symbols: S00, S01" in alert.text and "S19 and 5 more" in alert.text.replace("\n", " ")
    assert json.loads(alert.body())["symbols"] == json.loads(alert.attributes["symbols"]) == list(alert.symbols)


def test_what_became_of_an_alert_is_said_first() -> None:
    worse, over = replace(ALERT, kind="escalated", severity="critical"), replace(ALERT, kind="resolved")
    assert worse.subject == "CRITICAL, escalated: AAPL: 6.1 % above the previous close (limit 5 %)"
    assert worse.text.startswith("Escalated: AAPL: 6.1 %")
    assert over.subject == "RESOLVED: AAPL: 6.1 % above the previous close (limit 5 %)"
    assert "ack" not in over.text
    assert worse.key == over.key == ALERT.key


def test_its_delay_counts_from_the_end_of_the_candle_that_it_tells_of() -> None:
    later = AT + timedelta(minutes=7)
    assert ALERT.candle_end == replace(ALERT, last_candle=later).candle_end == AT + timedelta(minutes=1)
    assert replace(ALERT, kind="escalated").candle_end is None
    assert replace(ALERT, kind="escalated", last_candle=later).candle_end == later + timedelta(minutes=1)
    assert replace(ALERT, kind="resolved", last_candle=AT).candle_end is None
    assert replace(ALERT, category="operations").candle_end is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([None, float("nan")], ""),
        ([5.0, 5.0], "▄▄"),
        ([1.0, 2.0, None, 8.0], "▁▂ █"),
        ([float(n) for n in range(16)], "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██"),
        ([1.0] * 63 + [9.0], "▁" * 31 + "█"),
    ],
)
def test_a_sparkline_shows_the_way_and_ends_with_the_newest(values: list[float | None], expected: str) -> None:
    assert sparkline(values) == expected


def test_the_body_is_for_machines() -> None:
    assert json.loads(ALERT.body()) == {
        "alert_key": ALERT.key,
        "kind": "opened",
        "rule": "change",
        "category": "market",
        "asset_class": None,
        "symbol": "AAPL",
        "symbols": [],
        "candle_start": "2026-01-02T09:03:00.000000Z",
        "candle_end": "2026-01-02T09:04:00.000000Z",
        "severity": "warning",
        "direction": "up",
        "value": 6.1,
        "threshold": 5.0,
        "measures": [],
        "sparkline": None,
        "message": "6.1 % above the previous close (limit 5 %)",
        "subject": ALERT.subject,
        "text": ALERT.text,
    }


def test_an_operations_alert_needs_no_symbol_and_sends_no_empty_attribute() -> None:
    alert = Alert("load_rejected", "operations", "critical", "load 7 was rejected", discriminator="7")
    assert alert.attributes == {
        "severity": "critical", "rule": "load_rejected", "category": "operations", "kind": "opened",
    }  # fmt: skip
    assert alert.text == f"load 7 was rejected\ncritical · load_rejected\nseen? quantstream alerts ack {alert.key[:8]}"


@given(message=st.text(max_size=300), symbol=st.text(min_size=1, max_size=100))
def test_any_subject_is_one_short_line_of_printable_ascii(message: str, symbol: str) -> None:
    subject = replace(ALERT, message=message, symbol=symbol).subject
    assert subject.isascii()
    assert subject.isprintable()
    assert 0 < len(subject) < 100
    assert subject.startswith("WARNING: ")
