"""Real trades and bars against candles and indicators that other libraries computed from them.

The ticks of BAC go by the whole path, in tests/test_real_input.py.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from include.events import Event
from include.instruments import register
from include.settings import Settings
from include.warehouse.db import connect
from tests.transform.events import accept, event
from tests.transform.marts import build, rows

pytestmark = pytest.mark.data
Row = dict[str, str]


def read(path: Path) -> Iterator[Row]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    yield from csv.DictReader(content.decode().splitlines())


def time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def trades(path: Path, symbol: str, *, vendor_id: str, size: str) -> list[Event]:
    return [
        event("trade", symbol, time(row["ts_utc"]), {"price": row["price"], "size": row[size], "side": row.get("side")},
              vendor_id=row[vendor_id])
        for row in read(path)
    ]  # fmt: skip


def bars(path: Path, symbol: str, when: Callable[[Row], datetime]) -> list[Event]:
    names = ("open", "high", "low", "close", "volume")
    return [
        event("bar", symbol, when(row), {"resolution": "1m", **{name: row[name] for name in names}})
        for row in read(path)
    ]


def candles(settings: Settings, table: str, columns: str) -> list[tuple[object, ...]]:
    with connect(settings) as conn:
        return rows(conn, f"select candle_start, {columns} from marts.{table} order by candle_start")


def expected(path: Path, *columns: str) -> list[tuple[object, ...]]:
    return [(time(row["ts_utc"]), *(Decimal(row[name]) for name in columns)) for row in read(path)]


def near(value: float | None, wanted: str, *, rel: float) -> None:
    """Equal but for rounding; an empty text is a value that is not defined yet."""
    assert value == (pytest.approx(float(wanted), rel=rel, abs=1e-9) if wanted else None)


@pytest.mark.parametrize(("table", "name", "count"), [("candles_1m", "1m", 1_022), ("candles_5m", "5m", 287)])
def test_candles_of_a_day_of_xrpeth_equal_those_of_freqtrade(
    marts_settings: Settings, shared_data: Path, table: str, name: str, count: int
) -> None:
    folder = shared_data / "candles"
    ticks = trades(folder / "xrpeth_binance_trades_20191011.csv.gz", "XRPETH", vendor_id="id", size="amount")
    with connect(marts_settings) as conn:
        register(conn, ["XRPETH"], "crypto", currency="ETH", primary_source="replay")
        for part in (ticks[1::2], ticks[::2]):  # every other trade comes late
            accept(conn, part)
            build(marts_settings)
    columns = ("open", "high", "low", "close", "volume")
    found = candles(marts_settings, table, ", ".join(columns))
    assert found == expected(folder / f"xrpeth_expected_{name}_20191011.csv", *columns) and len(found) == count


def test_means_of_four_sessions_of_spy_equal_those_of_talib(marts_settings: Settings, shared_data: Path) -> None:
    quotes = shared_data / "indicators" / "spy_intraday_1min_quotes.csv"
    wanted = list(read(shared_data / "signals_backtest" / "spy_1min_202012_expected_indicators.csv.gz"))
    everything = bars(quotes, "SPY", lambda row: time(row["ts_utc"]))
    with connect(marts_settings) as conn:
        register(conn, ["SPY"], "equity", primary_source="replay")
        for part in (everything[:700], everything[700:]):
            accept(conn, part)
            build(marts_settings)
        found = rows(
            conn, "select candle_start, close, sma_5, sma_20, rolling_std, zscore from marts.indicators_1m order by 1"
        )
    assert len(found) == len(wanted) == 1_564
    for row, want in zip(found, wanted, strict=True):
        assert row[0] == time(want["ts_utc"])
        for name, value in zip(("close", "sma5", "sma20"), row[1:4], strict=True):
            near(value, want[name], rel=1e-9)
        for name, value in zip(("std20_population", "zscore20_population"), row[4:], strict=True):
            near(value, want[name], rel=1e-6)  # given to 10 digits


def test_zscores_of_two_years_of_spy_equal_those_of_the_peer_library(
    marts_settings: Settings, shared_data: Path
) -> None:
    folder = shared_data / "indicators"
    days = {row["date"]: n for n, row in enumerate(read(folder / "spy_daily_quotes.csv"))}
    start = datetime(2018, 1, 1, tzinfo=UTC)
    # the windows count candles, so days may stand in for minutes
    daily = bars(folder / "spy_daily_quotes.csv", "SPY", lambda row: start + timedelta(minutes=days[row["date"]]))
    with connect(marts_settings) as conn:
        register(conn, ["SPY"], "equity", primary_source="replay")
        accept(conn, daily)
        build(marts_settings)
        found = rows(conn, "select sma_20, zscore from marts.indicators_1m order by candle_start")
    wanted = [(row["sma20"], row["bb_20_2.zScore"]) for row in read(folder / "spy_daily_expected.csv")]
    assert len(found) == len(wanted) == 502
    for (mean, zscore), (wanted_mean, wanted_zscore) in zip(found, wanted, strict=True):
        near(mean, wanted_mean, rel=1e-9)
        near(zscore, wanted_zscore, rel=1e-9)
