"""An alert's key comes from the data; its subject fits an e-mail, its text a phone, its body a program."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert ALERT.text == (
        "AAPL: 6.1 % above the previous close (limit 5 %)\nwarning · rule change · candle 2026-01-02 09:03 UTC"
    )


def test_the_body_is_for_machines() -> None:
    assert json.loads(ALERT.body()) == {
        "alert_key": ALERT.key,
        "rule": "change",
        "category": "market",
        "symbol": "AAPL",
        "candle_start": "2026-01-02T09:03:00.000000Z",
        "severity": "warning",
        "direction": "up",
        "value": 6.1,
        "threshold": 5.0,
        "message": "6.1 % above the previous close (limit 5 %)",
        "subject": ALERT.subject,
        "text": ALERT.text,
    }


def test_an_operations_alert_needs_no_symbol_and_sends_no_empty_attribute() -> None:
    alert = Alert("load_rejected", "operations", "critical", "load 7 was rejected", discriminator="7")
    assert alert.attributes == {"severity": "critical", "rule": "load_rejected", "category": "operations"}
    assert alert.text == "load 7 was rejected\ncritical · rule load_rejected"


@given(message=st.text(max_size=300), symbol=st.text(min_size=1, max_size=100))
def test_any_subject_is_one_short_line_of_printable_ascii(message: str, symbol: str) -> None:
    subject = replace(ALERT, message=message, symbol=symbol).subject
    assert subject.isascii()
    assert subject.isprintable()
    assert 0 < len(subject) < 100
    assert subject.startswith("WARNING: ")
