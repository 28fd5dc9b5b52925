"""Two weeks of Bitfinex, served as a vendor's history and brought in by a backfill: its outages, and their repair."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from include.commands.local_exchange import LocalExchange
from include.events import Window
from include.pipeline.backfill import backfill
from include.settings import Settings
from include.warehouse.db import connect
from tests.gaps.pictures import gaps, search
from tests.history.conftest import make_history
from tests.history.vendor import MakeSettings, exchange, rows
from tests.transform.marts import build

pytestmark = [pytest.mark.data, pytest.mark.stack]
__all__ = ["make_history"]

TWO_WEEKS = Window(datetime(2018, 3, 15, tzinfo=UTC), datetime(2018, 3, 29, tzinfo=UTC))
IDS = {"BTCUSD": "BTCUSDT", "ETHUSD": "ETHUSDT", "XRPUSD": "XRPUSDT"}
SYMBOLS = ["BTC-USD", "ETH-USD", "XRP-USD"]
OUTAGES = [
    "BTC-USD 2018-03-21 09:32-10:05 outage",
    "BTC-USD 2018-03-21 10:06-10:30 outage",
    "BTC-USD 2018-03-21 10:53-11:51 outage",
    "ETH-USD 2018-03-21 09:32-10:53 outage",
    "ETH-USD 2018-03-21 10:54-11:47 outage",
    "ETH-USD 2018-03-21 11:50-12:13 outage",
    "ETH-USD 2018-03-21 12:14-12:32 outage",
    "XRP-USD 2018-03-21 09:31-12:32 outage",
]


class Noting(LocalExchange):
    """Writes down which minutes it is asked for, in ms: (id, from, to included)."""

    asked: list[tuple[str, int, int]]

    def answer(self, path: str, asked: Mapping[str, str]) -> tuple[int, Any]:
        if path == "/api/v3/klines":
            self.asked.append((asked["symbol"], int(asked["startTime"]), int(asked["endTime"])))
        return super().answer(path, asked)


def vendor(folder: Path) -> Noting:
    import duckdb

    query = """
        select symbol, epoch_ms(ts_utc::timestamptz) as at, open, high, low, close, volume from read_parquet(?)
        where epoch_ms(ts_utc::timestamptz) >= ? and epoch_ms(ts_utc::timestamptz) < ? order by 1, 2
    """
    file = str(folder / "candles" / "bitfinex_1min_2018q1.parquet")
    start, end = (int(moment.timestamp() * 1000) for moment in (TWO_WEEKS.start, TWO_WEEKS.end))
    bars: dict[str, list[Any]] = {name: [] for name in IDS.values()}
    for symbol, *row in duckdb.connect().execute(query, [file, start, end]).fetchall():
        bars[IDS[symbol]].append(tuple(row))
    known = Noting(bars=bars)
    known.asked = []
    return known


def built(settings: Settings) -> None:
    while rows(settings, "select 1 from ops.loads where state = 'accepted' limit 1"):
        build(settings)


def test_the_outages_are_named_and_fetching_them_asks_for_nothing_else(
    make_history: MakeSettings, shared_data: Path
) -> None:
    local = vendor(shared_data)
    with exchange(local=local) as (_, url):
        settings = make_history(binance_url=url)
        backfill(settings, "binance", TWO_WEEKS, symbols=SYMBOLS)
        built(settings)
        assert search(settings, now=TWO_WEEKS.end).alerts == 0  # long ago
        with connect(settings) as conn:
            assert gaps(conn) == OUTAGES

        # the vendor found what it had lost of one symbol
        lost = [(at, 1, 1, 1, 1, 0) for at in range(minute("09:31"), minute("12:32"), 60_000)]
        kept = local.bars["XRPUSDT"]
        healed = LocalExchange(bars={"XRPUSDT": sorted([*kept, *lost])})
        local.bars |= healed.bars
        local._opens |= healed._opens
        local.asked.clear()
        backfill(settings, "binance", TWO_WEEKS, symbols=SYMBOLS, gaps=True)
        for symbol, start, end in local.asked:
            assert minute("09:31") <= start <= end < minute("12:32"), symbol
        built(settings)
        search(settings, now=TWO_WEEKS.end)
        with connect(settings) as conn:
            assert gaps(conn) == OUTAGES[:-1]


def minute(clock: str) -> int:
    return int(datetime.fromisoformat(f"2018-03-21 {clock}+00:00").timestamp() * 1000)
