"""A quarter of Bitfinex: `marts.gaps` names the outages that are in it, and nothing else.

What is in the file, seen with the eye: all three symbols are silent together three times on 2018-03-21, and each of
them for longer, until trading went on at 12:32.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from include.settings import Settings
from tests.gaps.pictures import fetched, gaps, listed, search
from tests.transform.marts import make_room

pytestmark = pytest.mark.data

PRICES = "open, high, low, close"
_NAMES = "symbol, source, candle_start, open, high, low, close, volume, basis, is_final"
_SILENT_TOGETHER = """
select tstzrange(lower(gap), upper(gap)) from (
    select unnest(
        (select range_agg(tstzrange(gap_start, gap_end)) from marts.gaps where symbol = 'BTCUSD')
        * (select range_agg(tstzrange(gap_start, gap_end)) from marts.gaps where symbol = 'ETHUSD')
        * (select range_agg(tstzrange(gap_start, gap_end)) from marts.gaps where symbol = 'XRPUSD')
    ) as gap
) as together where upper(gap) - lower(gap) >= interval '15 minutes' order by 1
"""


def candles(conn: psycopg.Connection, path: Path, calendars: dict[str, str], columns: str = PRICES) -> None:
    """The file's candles, all of them asked for from the first to the last one, by the source `file`."""
    import duckdb

    reader = "read_parquet" if path.suffix == ".parquet" else "read_csv"
    query = f"select symbol, epoch_us(ts_utc::timestamptz), {columns} from {reader}(?) order by 1, 2"
    rows = duckdb.connect().execute(query, [str(path)]).fetchall()
    make_room(conn, "candles_1m", (datetime.fromtimestamp(at / 1e6, UTC) for _, at, *_ in rows))
    with conn.cursor().copy(f"copy marts.candles_1m ({_NAMES}) from stdin") as copy:
        for symbol, at, *prices in rows:
            if symbol in calendars:
                copy.write_row((symbol, "file", datetime.fromtimestamp(at / 1e6, UTC), *prices, 1, "bar", True))
    for symbol, calendar in calendars.items():
        listed(conn, symbol, calendar)
        whens = [datetime.fromtimestamp(at / 1e6, UTC) for name, at, *_ in rows if name == symbol]
        fetched(conn, symbol, f"{min(whens):%Y-%m-%d %H:%M} .. {max(whens):%Y-%m-%d %H:%M}", source="file")


def test_a_quarter_of_bitfinex_has_its_three_outages(
    conn: psycopg.Connection, marts_settings: Settings, shared_data: Path
) -> None:
    symbols = ("BTCUSD", "ETHUSD", "XRPUSD")
    candles(conn, shared_data / "candles" / "bitfinex_1min_2018q1.parquet", dict.fromkeys(symbols, "24/7"))
    search(marts_settings)
    together = [f"{row[0].lower:%m-%d %H:%M}-{row[0].upper:%H:%M}" for row in conn.execute(_SILENT_TOGETHER)]
    assert together == ["03-21 09:32-10:05", "03-21 10:06-10:30", "03-21 10:54-11:47"]
    assert gaps(conn) == [
        "BTCUSD 2018-03-21 09:32-10:05 outage",
        "BTCUSD 2018-03-21 10:06-10:30 outage",
        "BTCUSD 2018-03-21 10:53-11:51 outage",
        "ETHUSD 2018-03-21 09:32-10:53 outage",
        "ETHUSD 2018-03-21 10:54-11:47 outage",
        "ETHUSD 2018-03-21 11:50-12:13 outage",
        "ETHUSD 2018-03-21 12:14-12:32 outage",
        "XRPUSD 2018-03-21 09:31-12:32 outage",
    ]
