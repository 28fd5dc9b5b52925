"""Real files by the whole path: file, stream, lake, audit, candles, indicators, crosses."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.pipeline.cycle import process
from include.pipeline.replay import replay
from include.settings import Settings
from include.warehouse.db import connect

pytestmark = [pytest.mark.data, pytest.mark.stack]
Row = dict[str, str]


def bring_in(settings: Settings, path: Path, kind: Any, **options: Any) -> None:
    """What `quantstream run --source replay --all` does."""

    def step(*names: str) -> None:
        failed = [step for step in process(settings, only=names) if step.error]
        assert not failed, failed

    replay(settings, path, kind, drain=lambda: step("land", "load", "audit"), **options)
    step("land", "load", "audit", "transform", "detect", "notify")


def read(path: Path) -> list[Row]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return list(csv.DictReader(text.splitlines()))


def one(conn: psycopg.Connection, query: str, *values: object) -> Any:
    row = conn.execute(query, values).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


def assert_nothing_lost(conn: psycopg.Connection, rows: int, mart: str) -> None:
    """read = inserted + duplicate + quarantined, and every inserted row is in the mart."""
    read_count, inserted, duplicates, quarantined = one(
        conn,
        "select sum(read_count), sum(inserted_count), sum(duplicate_count), sum(quarantined_count) from ops.loads",
    )
    assert (read_count, duplicates, quarantined) == (rows, 0, 0)
    assert inserted == rows == one(conn, f"select count(*) from marts.{mart} where source = 'replay'")
    assert one(conn, "select count(*) from ops.loads where state <> 'transformed'") == 0


def test_two_days_of_ticks_give_the_candles_that_pandas_and_duckdb_give(
    marts_settings: Settings, shared_data: Path
) -> None:
    folder = shared_data / "candles"
    ticks = folder / "bac_ticks_trades_20131007_08.csv.gz"
    bring_in(marts_settings, ticks, "trade", symbol="BAC", add_instruments="equity")
    with connect(marts_settings) as conn:
        assert_nothing_lost(conn, 214_044, "trades")
        found = conn.execute(
            "select candle_start, open, high, low, close, volume, trade_count, round(vwap, 8), is_final"
            " from marts.candles_1m where source = 'replay' order by candle_start"
        ).fetchall()
    columns = ("open", "high", "low", "close", "volume", "trades", "vwap")
    expected = [
        (datetime.fromisoformat(row["ts_utc"]), *(Decimal(row[name]) for name in columns), True)
        for row in read(folder / "bac_expected_1min_from_ticks_20131007_08.csv")
    ]
    assert len(expected) == 1168
    assert found == expected


def test_a_full_day_of_three_symbols_of_bars(marts_settings: Settings, shared_data: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    first = datetime(2018, 1, 1, tzinfo=UTC)
    whole = pq.read_table(
        shared_data / "candles" / "bitfinex_1min_2018q1.parquet",
        filters=[("ts_utc", ">=", first), ("ts_utc", "<", first + timedelta(days=1))],
    )
    day = tmp_path / "bitfinex_20180101.parquet"
    pq.write_table(whole, day)
    bring_in(marts_settings, day, "bar", add_instruments="crypto")
    with connect(marts_settings) as conn:
        assert_nothing_lost(conn, whole.num_rows, "candles_1m")
        assert whole.num_rows > 4_000
        found = conn.execute(
            "select symbol, candle_start, open::float8, high::float8, low::float8, close::float8, volume::float8"
            " from marts.candles_1m order by symbol, candle_start"
        ).fetchall()
    frame = whole.to_pandas().sort_values(["symbol", "ts_utc"])
    names = ["symbol", "ts_utc", "open", "high", "low", "close", "volume"]
    assert found == list(frame[names].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("quotes", "expected", "columns", "spacing"),
    [
        ("spy_intraday_1min_quotes.csv", "spy_1min_202012", None, None),
        # daily bars, put a minute apart: the marts of this file's own resolution are not built
        ("spy_daily_quotes.csv", "spy_daily", None, timedelta(minutes=1)),
    ],
    ids=["minutes", "days"],
)
def test_averages_and_crosses_of_spy_equal_the_worked_example(
    marts_settings: Settings, shared_data: Path, quotes: str, expected: str, columns: Any, spacing: timedelta | None
) -> None:
    bring_in(
        marts_settings, shared_data / "indicators" / quotes, "bar", symbol="SPY", add_instruments="equity",
        columns=columns, every=spacing,
    )  # fmt: skip
    folder = shared_data / "signals_backtest"
    wanted = read(folder / f"{expected}_expected_indicators.csv.gz")
    with connect(marts_settings) as conn:
        assert_nothing_lost(conn, len(wanted), "candles_1m")
        found = conn.execute(
            "select candle_start, close, sma_5, sma_20 from marts.indicators_1m order by candle_start"
        ).fetchall()
        crosses = dict(
            conn.execute("select candle_start, direction from marts.alerts where rule = 'sma_cross'").fetchall()
        )
    assert len(found) == len(wanted)
    signals = {}
    for (candle, close, sma_5, sma_20), row in zip(found, wanted, strict=True):
        assert close == pytest.approx(float(row["close"]), rel=1e-12)
        assert sma_5 == (pytest.approx(float(row["sma5"]), rel=1e-9) if row["sma5"] else None)
        assert sma_20 == (pytest.approx(float(row["sma20"]), rel=1e-9) if row["sma20"] else None)
        # An exact tie may differ by convention (the reference also counts the row where SMA-20 begins as one).
        if row["signal_tie"] == "0":
            assert crosses.get(candle) == (row["signal"] or None), candle
        if row["signal"]:
            signals[candle] = row["signal"]
    assert len(crosses) > 20
    assert set(crosses) <= set(signals)
    assert len(set(signals) - set(crosses)) <= sum(row["signal_tie"] == "1" for row in wanted)
