"""A week of a real exchange's bars, served as a vendor's history, gives exactly these candles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from include.events import Window
from include.pipeline.backfill import backfill
from tests.history.vendor import MakeSettings, exchange, rows
from tests.transform.marts import build

pytestmark = pytest.mark.stack

WEEK = Window(datetime(2018, 3, 19, tzinfo=UTC), datetime(2018, 3, 26, tzinfo=UTC))  # three outages on the 21st
IDS = {"BTCUSD": "BTCUSDT", "ETHUSD": "ETHUSDT", "XRPUSD": "XRPUSDT"}
PRICES = ["open", "high", "low", "close", "volume"]


def test_a_real_week_gives_exactly_its_candles(make_history: MakeSettings, shared_data: Path) -> None:
    table = pd.read_parquet(shared_data / "candles" / "bitfinex_1min_2018q1.parquet")
    table["at"] = pd.to_datetime(table["ts_utc"], utc=True)
    table = table[(table["at"] >= WEEK.start) & (table["at"] < WEEK.end)]
    table["ms"] = (table["at"] - pd.Timestamp(0, tz="UTC")) // timedelta(milliseconds=1)
    known = {
        vendor: table.loc[table["symbol"] == symbol, ["ms", *PRICES]].values.tolist() for symbol, vendor in IDS.items()
    }
    known = {vendor: [(int(row[0]), *row[1:]) for row in its] for vendor, its in known.items()}
    with exchange(bars=known) as (_, url):
        settings = make_history(binance_url=url, history_land_events=10_000)
        report = backfill(settings, "binance", WEEK, symbols=["BTC-USD", "ETH-USD", "XRP-USD"])
    assert report.inserted == len(table) > 28_000
    while rows(settings, "select 1 from ops.loads where state = 'accepted' limit 1"):
        build(settings)
    for symbol, vendor in IDS.items():
        found = rows(
            settings,
            "select candle_start, open::float, high::float, low::float, close::float, volume::float "
            "from marts.candles_1m where symbol = %s and source = 'binance' order by 1",
            f"{symbol[:3]}-USD",
        )
        expected = [(datetime.fromtimestamp(row[0] / 1000, UTC), *row[1:]) for row in known[vendor]]
        assert found == expected, symbol
