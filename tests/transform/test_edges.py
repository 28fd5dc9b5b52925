"""Series at the edge of what there can be: no mart holds a number that is none."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import psycopg
from psycopg import sql

from include.events import Event
from include.settings import Settings
from include.warehouse.db import connect
from tests.transform.events import DAY, accept, event
from tests.transform.marts import build, rows

PRICES = ["open", "high", "low", "close"]
FILES = {"BTC-USD": ("zeros", 60), "ETH-USD": ("penny", 60), "SOL-USD": ("toobig", 60), "XRP-USD": ("bad", 502)}
_NUMBERS = """
select table_name::text, column_name::text from information_schema.columns
where table_schema = 'marts' and data_type in ('double precision', 'real', 'numeric') order by 1, ordinal_position
"""


def of_file(path: Path, count: int) -> pd.DataFrame:
    """Candles as they pass the audit; times at which one does not are missing."""
    frame = pd.read_csv(path).head(count)[[*PRICES, "volume"]].dropna()
    is_ordered = (frame[PRICES].max(axis=1) == frame["high"]) & (frame[PRICES].min(axis=1) == frame["low"])
    return frame[is_ordered & (frame["volume"] >= 0)]


def leaps(count: int) -> pd.DataFrame:
    """From the smallest price that is understood to the largest one, and back, day by day."""
    low, high = 1e-40, 9e43
    frame = pd.DataFrame({"low": [low] * count, "high": [high] * count})
    frame["open"], frame["close"] = ([one, other] * (count // 2) for one, other in ((low, high), (high, low)))
    return (
        frame[PRICES].assign(volume=[high, low, 0, None] * (count // 4)).astype(object).where(lambda f: f.notna(), None)
    )


def daily(symbol: str, candles: pd.DataFrame) -> list[Event]:
    """A bar a day, each a candle of every resolution."""
    return [
        event("bar", symbol, DAY + timedelta(days=int(day)), {"resolution": "1m", **row})  # type: ignore[call-overload]
        for day, row in zip(candles.index, candles.to_dict("records"), strict=True)
    ]


def no_numbers(conn: psycopg.Connection) -> list[str]:
    """`mart.column` of each column of numbers in which NaN or an infinity is."""
    found = []
    for mart, column in rows(conn, _NUMBERS):
        query = sql.SQL("select from marts.{} where {}::float8 = any('{{NaN,Infinity,-Infinity}}') limit 1")
        if conn.execute(query.format(sql.Identifier(mart), sql.Identifier(column))).fetchone() is not None:
            found.append(f"{mart}.{column}")
    return found


def test_no_mart_holds_a_number_that_is_none(marts_settings: Settings, shared_data: Path) -> None:
    folder = shared_data / "indicators" / "edge_cases"
    series = {symbol: of_file(folder / f"{name}.csv", count) for symbol, (name, count) in FILES.items()}
    series["ADA-USD"] = leaps(40)
    with connect(marts_settings) as conn:
        events = [one for symbol, candles in series.items() for one in daily(symbol, candles)]
        accept(conn, events, {"replay": DAY + timedelta(days=600)})
        build(marts_settings)
        for mart in ("indicators_1m", "indicators_1d", "returns_1d", "value_at_risk", "correlations", "top_movers"):
            assert rows(conn, f"select from marts.{mart} limit 1"), f"{mart} is empty"
        assert no_numbers(conn) == []
        conn.execute("update marts.indicators_1d set adx_14 = 'NaN' where symbol = 'ETH-USD'")
        assert no_numbers(conn) == ["indicators_1d.adx_14"], "it would be found"
