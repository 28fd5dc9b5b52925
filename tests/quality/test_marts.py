"""The audit after dbt holds the ledger against raw, staging and marts, and looks at the changed candles only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from include.errors import MartsRejectedError
from include.pipeline.audit import audit
from include.quality import marts
from include.quality.marts import MartsAudit, audit_marts
from include.quality.predicates import breaks
from include.quality.suites import rules_of
from include.settings import Settings
from include.transform.batch import open_batch
from include.transform.runner import build_changed
from include.warehouse.db import connect
from tests.conftest import Servers, make_warehouse, warehouse_settings
from tests.landing import add_load, event, quote

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BAR = {"open": 2, "high": 4, "low": 1, "close": 3, "volume": 5}


@pytest.fixture(scope="module")
def template_built(servers: Servers, template_marts: str) -> str:
    """Three loads (a malformed line, a bad row and repeats among them), accepted and built, not yet closed."""
    name = "template_built"
    make_warehouse(servers, name, template=template_marts)
    settings = warehouse_settings(servers, name, audit_min_symbol_share=0.0, audit_max_bad_share=0.9)
    with connect(settings) as conn:
        add_load(conn, [quote("AAPL", 10, at=NOON), quote("AAPL", -1, at=NOON)], malformed=1)
        add_load(conn, [quote("AAPL", 10, at=NOON, received_at=NOON + MINUTE), quote("BTC-USD", 5, at=NOON)])
        add_load(
            conn,
            [
                event("trade", "AAPL", {"price": 7, "size": 1}, at=NOON, source="replay", vendor_id="1"),
                event("bar", "BTC-USD", {"resolution": "1m", **BAR}, at=NOON, source="replay"),
                event("bar", "BTC-USD", {"resolution": "1h", **BAR}, at=NOON, source="replay"),
                event("action", "AAPL", {"amount": 0.25}, at=NOON, source="yahoo", vendor_id="dividend"),
            ],
        )
        audit(settings, now=NOON)
        open_batch(conn, 1000)
    build_changed(settings)
    return name


@pytest.fixture
def built(make_settings: Callable[..., Settings], template_built: str) -> Settings:
    """A copy of that warehouse."""
    return make_settings(template=template_built, audit_min_symbol_share=0.0)


def after(settings: Settings, change: str) -> None:
    with connect(settings) as conn:
        conn.execute(change)


def test_what_dbt_built_holds(built: Settings) -> None:
    assert audit_marts(built, now=NOON) == MartsAudit(loads=3, candles=8, rows=6)
    assert (built.home / "data_docs" / "marts" / "1-3.html").exists()


def test_without_a_batch_there_is_nothing_to_check(marts_settings: Settings) -> None:
    assert audit_marts(marts_settings, now=NOON) == MartsAudit()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("update marts.candles_1m set high = low - 1 where symbol = 'AAPL'", "high_is_not_below_low"),
        ("update marts.candles_5m set close = high + 1 where symbol = 'AAPL'", "high_is_not_below_close"),
        ("update marts.candles_1m set open = -1, low = -1 where symbol = 'AAPL'", "low_is_positive"),
        ("update marts.candles_1m set open = null where symbol = 'AAPL'", "open_is_a_number"),
        ("delete from marts.quotes where symbol = 'BTC-USD'", "every_key_is_in_the_marts"),
        ("delete from marts.trades", "every_key_is_in_the_marts"),
        ("delete from marts.candles_1m where source = 'replay' and symbol = 'BTC-USD'", "every_key_is_in_the_marts"),
        ("create or replace view marts.corporate_actions as select source, symbol, event_time::date as ex_date, "
         "vendor_id as action, 1::numeric as ratio, 1::numeric as amount, ''::text as currency, event_time, vendor_id, "
         "received_at from raw.market_events where false", "every_key_is_in_the_marts"),
        ("delete from raw.rejected_events where line_number = 2", "quarantine_is_complete"),
        ("delete from raw.market_events where symbol = 'BTC-USD' and source = 'simulator'", "inserted_rows_are_there"),
        ("insert into raw.market_events select source, kind, symbol, event_time, 'x' || n, payload_hash, payload, "
         "received_at, loaded_at, 3 from raw.market_events, generate_series(1, 4) as n where kind = 'trade'",
         "no_row_is_invented"),
        ("update raw.market_events set source = 'unheard-of' where kind = 'trade'", "every_row_is_normalised"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_named(built: Settings, change: str, rule: str) -> None:
    after(built, change)
    with pytest.raises(MartsRejectedError, match=rf"\n  {rule} \["):
        audit_marts(built, now=NOON)


def test_a_candle_that_is_there_twice_is_named(built: Settings) -> None:
    with connect(built) as conn:
        for (name,) in conn.execute(
            "select indexrelid::regclass::text from pg_index where indrelid = 'marts.candles_1m'::regclass"
        ).fetchall():
            conn.execute(f"drop index {name}")
        conn.execute("insert into marts.candles_1m select * from marts.candles_1m where symbol = 'AAPL'")
    with pytest.raises(MartsRejectedError, match=r"candle_key_is_unique .+: AAPL \w+ 1m 2026-03-02 12:00"):
        audit_marts(built, now=NOON)


def test_the_message_says_where_to_look_and_the_alert_comes_once(built: Settings) -> None:
    after(built, "delete from marts.trades")
    messages = []
    for _ in range(2):
        with pytest.raises(MartsRejectedError) as caught:
            audit_marts(built, now=NOON)
        messages.append(str(caught.value))
    docs = built.home / "data_docs" / "marts" / "1-3.html"
    assert messages[0].splitlines()[:2] == [
        "the marts are wrong after loads 1 to 3; nothing is detected from them:",
        "  every_key_is_in_the_marts [expect_column_values_to_be_between(keys_missing)]: load 3: 1; "
        "each normalised key must be in its mart",
    ]
    assert str(docs) in messages[0]
    assert "failed" in docs.read_text()
    with connect(built) as conn:
        found: list[tuple[Any, ...]] = conn.execute("select rule, category, severity from marts.alerts").fetchall()
    assert found == [("marts_rejected", "operations", "critical")]


def test_a_repeat_that_came_later_may_take_a_row_over(built: Settings) -> None:
    with connect(built) as conn:  # accepted while the batch was being built: not in it
        add_load(conn, [quote("BTC-USD", 5, at=NOON, received_at=NOON + 2 * MINUTE)])
        audit(built, now=NOON)
    assert audit_marts(built, now=NOON).rows == 5


def test_candles_outside_the_batch_are_not_looked_at(built: Settings) -> None:
    with connect(built) as conn:
        columns = [row[0] for row in conn.execute(
            "select column_name from information_schema.columns where table_schema = 'marts' "
            "and table_name = 'candles_1m' and column_name <> 'candle_start' and column_name <> 'high'")]  # fmt: skip
        listed = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, columns))
        conn.execute(psycopg.sql.SQL(
            "insert into marts.candles_1m ({0}, candle_start, high) "
            "select {0}, candle_start - interval '1 day', -1 from marts.candles_1m").format(listed))  # fmt: skip
    assert audit_marts(built, now=NOON).candles == 8


CANDLE = {"open": 2.0, "high": 4.0, "low": 1.0, "close": 3.0, "volume": 5.0}


@pytest.mark.parametrize(
    "wrong",
    [{}, {"open": None}, {"high": None}, {"low": None}, {"close": None}, {"volume": None}, {"low": 0.0}, {"low": -1.0},
     {"high": 0.5}, {"high": 2.5}, {"open": 0.5}, {"open": 5.0}, {"close": 0.5}, {"close": 4.5}, {"volume": -1.0},
     {"volume": float("inf")}, {"low": float("inf")}],
    ids=str,
)  # fmt: skip
def test_the_database_finds_what_great_expectations_finds(settings: Settings, wrong: dict[str, float | None]) -> None:
    import pandas as pd

    from include.quality.engine import check

    candle = CANDLE | wrong
    with connect(settings) as conn:
        columns = ", ".join(f"%({name})s::float8 as {name}" for name in CANDLE)
        row_rules = [one for one in rules_of("candle") if one.level == "row"]
        found = {
            one.name
            for one in row_rules
            if conn.execute(f"select 1 from (select {columns}) as candle where {breaks(one)}", candle).fetchone()
        }
    key = {"candle": "a", "resolution": "1m", "symbol": "A", "source": "s", "candle_start": NOON}
    frame = pd.DataFrame([key | candle]).astype(dict.fromkeys(CANDLE, "float64"))
    assert found == {failure.rule.name for failure in check("candle", "candles", frame, "candle", {}).failures}
    assert bool(found) == (wrong not in ({}, {"volume": None}))


def test_of_a_large_batch_great_expectations_gets_what_is_wrong_and_a_sample(
    built: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marts, "_SHOWN", 1)
    assert audit_marts(built, now=NOON).candles == 8
    after(built, "update marts.candles_1m set open = -1, low = -1 where source = 'replay' and symbol = 'BTC-USD'")
    with pytest.raises(MartsRejectedError, match=r"low_is_positive .+: BTC-USD replay 1m 2026-03-02 12:00: -1"):
        audit_marts(built, now=NOON)
    assert (
        "8 candles and 6 rows of 3 loads checked; of the candles"
        in (built.home / "data_docs" / "marts" / "1-3.html").read_text()
    )
