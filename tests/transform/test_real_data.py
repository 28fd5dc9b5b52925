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
from tests.scoring.marts import unlike_the_marts
from tests.transform.events import accept, event
from tests.transform.marts import build, rows, unlike_their_minutes

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


def straight(parts: list[Event], length: timedelta) -> list[tuple[object, ...]]:
    """Candles made straight of the trades of one symbol, in their order."""
    candles: dict[datetime, list[tuple[Decimal, Decimal]]] = {}
    for one in sorted(parts, key=lambda one: (one.event_time, int(one.vendor_id))):
        start = one.event_time - (one.event_time - datetime(2000, 1, 1, tzinfo=UTC)) % length
        candles.setdefault(start, []).append((Decimal(one.payload["price"]), Decimal(one.payload["size"])))
    return [
        (start, prices[0], max(prices), min(prices), prices[-1], sum(sizes), len(sizes))
        for start, trades in candles.items()
        for prices, sizes in [tuple(zip(*trades, strict=True))]
    ]


def test_candles_of_a_day_of_xrpeth_equal_those_of_freqtrade_and_those_of_the_trades(
    marts_settings: Settings, shared_data: Path
) -> None:
    folder = shared_data / "candles"
    ticks = trades(folder / "xrpeth_binance_trades_20191011.csv.gz", "XRPETH", vendor_id="id", size="amount")
    with connect(marts_settings) as conn:
        register(conn, ["XRPETH"], "crypto", currency="ETH", primary_source="replay")
        for part in (ticks[1::2], ticks[::2]):  # every other trade comes late
            accept(conn, part)
            build(marts_settings)
    columns = ("open", "high", "low", "close", "volume")
    for name, count in (("1m", 1_022), ("5m", 287)):
        found = candles(marts_settings, f"candles_{name}", ", ".join(columns))
        assert found == expected(folder / f"xrpeth_expected_{name}_20191011.csv", *columns) and len(found) == count
    for name, minutes, count in (("5m", 5, 287), ("15m", 15, 96), ("1h", 60, 24), ("1d", 1440, 1)):
        found = candles(marts_settings, f"candles_{name}", ", ".join((*columns, "trade_count")))
        assert found == straight(ticks, timedelta(minutes=minutes)) and len(found) == count
        turnover = sum(Decimal(one.payload["price"]) * Decimal(one.payload["size"]) for one in ticks)
        paid = sum(vwap * volume for _, vwap, volume in candles(marts_settings, f"candles_{name}", "vwap, volume"))
        assert float(paid) == pytest.approx(float(turnover), rel=1e-15)


def test_days_of_shares_are_their_sessions_and_days_of_coins_those_of_utc(
    marts_settings: Settings, shared_data: Path
) -> None:
    import pandas as pd

    folder = shared_data / "candles"
    names = ["open", "high", "low", "close", "volume"]
    shares = pd.read_csv(folder / "us_equity_1min_trades.csv.gz", parse_dates=["ts_utc"])
    coins = pd.read_parquet(folder / "bitfinex_1min_2018q1.parquet")
    coins["ts_utc"] = pd.to_datetime(coins["ts_utc"], utc=True)
    outage = coins["ts_utc"].between("2018-03-20T12:00Z", "2018-03-22T12:00Z") & (coins["symbol"] == "BTCUSD")
    minutes = pd.concat([shares, coins[outage]])[["ts_utc", "symbol", *names]]
    with connect(marts_settings) as conn:
        register(conn, ["SPY", "BAC", "AAPL", "TWX"], "equity", primary_source="replay")
        register(conn, ["BTCUSD"], "crypto", primary_source="replay")
        accept(conn, [
            event("bar", symbol, start.to_pydatetime(), {"resolution": "1m", **dict(zip(names, numbers, strict=True))})
            for start, symbol, *numbers in minutes.astype(dict.fromkeys(names, "float")).itertuples(index=False)
        ])  # fmt: skip
        build(marts_settings)
        assert unlike_their_minutes(conn) == []
        found = rows(
            conn,
            "select symbol, session_date, open::float8, high::float8, low::float8, close::float8, volume::float8 "
            "from marts.candles_1d where source = 'replay' order by symbol, candle_start",
        )
    clock = minutes["ts_utc"].dt.tz_convert("America/New_York")
    is_open = (clock.dt.strftime("%H:%M") >= "09:30") & (clock.dt.strftime("%H:%M") < "16:00")
    kept = minutes[is_open | (minutes["symbol"] == "BTCUSD")].sort_values("ts_utc")
    wanted = kept.groupby(["symbol", kept["ts_utc"].dt.date]).agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    assert len(found) == len(wanted) == 2 * 6 + 2 * 3 + 3
    for row, (key, want) in zip(found, wanted.iterrows(), strict=True):
        assert row[:2] == key and row[2:] == pytest.approx(tuple(want), rel=1e-12)
    split = [row[2:] for row in found if row[0] == "AAPL"]
    assert 600 < split[1][3] < 700 and 90 < split[2][0] < 100, "as the vendor sent it: not adjusted for the split"


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
        assert unlike_the_marts(conn, "SPY", "XNYS") == []
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
