"""The indicators beside those of peers, over real series: a library's published table, a worked example, and TA-Lib.

Each file is the series of a symbol of its own; daily files stand as minutes of one day, so that what counts since the
session began counts over the whole file, as in the table. Some are candles of a longer resolution as well.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
import talib

from include.events import Window
from include.transform.runner import build_selected
from include.warehouse.db import connect
from include.warehouse.sessions import sync_sessions
from tests.conftest import Servers, make_warehouse, warehouse_settings
from tests.transform.events import DAY
from tests.transform.marts import make_room

PRICES = ["open", "high", "low", "close", "volume"]
ROWS = 1500  # of each long file
TABLE = {  # ours: the published table's
    "sma_20": "sma20", "rsi_14": "rsi14", "macd": "macd_12_26_9.macd", "macd_signal": "macd_12_26_9.signal",
    "macd_histogram": "macd_12_26_9.histogram", "ema_12": "macd_12_26_9.fastEma", "ema_26": "macd_12_26_9.slowEma",
    "bollinger_middle": "bb_20_2.sma", "bollinger_upper": "bb_20_2.upperBand", "bollinger_lower": "bb_20_2.lowerBand",
    "bollinger_percent_b": "bb_20_2.percentB", "bollinger_width": "bb_20_2.width", "zscore": "bb_20_2.zScore",
    "true_range": "tr", "atr_14": "atr14.atr", "vwap_session": "vwap_cum", "obv": "obv", "mfi_14": "mfi14",
    "stochastic_k": "stoch_14_3_3.oscillator", "stochastic_d": "stoch_14_3_3.signal", "plus_di_14": "adx14.pdi",
    "minus_di_14": "adx14.mdi", "adx_14": "adx14.adx", "williams_r_14": "willr14",
}  # fmt: skip
WORKED = {  # ours: the worked example's, written with ten digits
    "sma_5": "sma5", "sma_20": "sma20", "ema_12": "ema12_sma_seed", "ema_26": "ema26_sma_seed",
    "bollinger_upper": "bb_upper", "bollinger_middle": "bb_mid", "bollinger_lower": "bb_lower",
    "rsi_14": "rsi14_wilder", "macd": "macd_sma_seed",
    "macd_signal": "macd_signal_sma_seed", "true_range": "tr", "atr_14": "atr14_wilder",
    "rolling_std": "std20_population",
    "zscore": "zscore20_population", "log_return": "log_return", "volatility_20": "vol20_logret_sample",
    "vwap_rolling": "vwap20_rolling_hlc3",
}  # fmt: skip


def series(data: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Symbol and candles, by their start (UTC)."""
    for symbol, name in {
        "SPY-D": "spy_daily_quotes", "BTC-D": "btcusd_daily_quotes", "ZEROS": "edge_cases/zeros",
        "PENNY": "edge_cases/penny", "TOOBIG": "edge_cases/toobig", "BAD": "edge_cases/bad",
    }.items():  # fmt: skip
        frame = pd.read_csv(data / "indicators" / f"{name}.csv").dropna(subset=PRICES).head(ROWS)
        yield symbol, frame.set_index(pd.date_range(DAY, periods=len(frame), freq="min"))
    yield "SPY", timed(pd.read_csv(data / "indicators" / "spy_intraday_1min_quotes.csv"))
    candles = data / "candles"
    bids = {f"{name}_bid": name for name in PRICES}
    for name in (
        "us_equity_1min_trades",
        "coinbase_1min_trades_201804",
        "gbpusd_1min_bid_ask_201202",
        "cme_6eh4_1min_202401",
    ):
        for symbol, frame in pd.read_csv(candles / f"{name}.csv.gz").rename(columns=bids).groupby("symbol"):
            yield f"{symbol}-{name[:2].upper()}", timed(frame).head(ROWS)
    for symbol, frame in pd.read_parquet(candles / "bitfinex_1min_2018q1.parquet").groupby("symbol"):
        yield f"{symbol}-BF", timed(frame.head(ROWS))


def longer(data: Path) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Symbol, resolution and candles of that resolution."""
    for symbol, name in {"SPY-D": "spy_daily_quotes", "BTC-D": "btcusd_daily_quotes"}.items():
        frame = pd.read_csv(data / "indicators" / f"{name}.csv")
        yield symbol, "1d", frame.set_index(pd.to_datetime(frame["date"], utc=True))[PRICES].head(ROWS)
    minutes = pd.read_parquet(data / "candles" / "bitfinex_1min_2018q1.parquet").groupby("symbol")
    symbol, frame = next(iter(minutes))
    summed = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    for resolution in ("5min", "15min", "1h"):
        candles = timed(frame).resample(resolution).agg(summed).dropna().head(ROWS)
        yield f"{symbol}-BF", resolution.replace("min", "m"), candles


def timed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_index(pd.to_datetime(frame["ts_utc"], utc=True)).reindex(columns=PRICES)


@pytest.fixture(scope="module")
def exact(servers: Servers, template_marts: str, shared_data: Path) -> Iterator[dict[str, pd.DataFrame]]:
    """Of each symbol its candles and indicators, made in one build: `SPY`, and of a longer resolution `SPY-D 1d`."""
    name = f"test_exact_{uuid.uuid4().hex[:8]}"
    make_warehouse(servers, name, template=template_marts)
    settings = warehouse_settings(servers, name)
    candles = {(symbol, "1m"): frame for symbol, frame in series(shared_data)}
    candles |= {(symbol, resolution): frame for symbol, resolution, frame in longer(shared_data)}
    made = {}
    with connect(settings) as conn:
        sync_sessions(conn, "XNYS", Window(datetime(2020, 12, 14, tzinfo=UTC), datetime(2020, 12, 19, tzinfo=UTC)))
        for (symbol, resolution), frame in candles.items():
            load(conn, symbol, frame, "XNYS" if symbol.startswith("SPY") else "24/7", resolution)
        resolutions = {resolution for _, resolution in candles}
        build_selected(settings, [f"indicators_{resolution}" for resolution in resolutions], full_refresh=True)
        for resolution in resolutions:
            cursor = conn.execute(f"select * from marts.indicators_{resolution} order by symbol, candle_start")
            found = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()])
            made |= {(symbol, resolution): frame.set_index("candle_start") for symbol, frame in found.groupby("symbol")}
    with servers.admin() as admin:
        admin.execute(f'drop database "{name}" with (force)')
    yield {
        symbol if resolution == "1m" else f"{symbol} {resolution}": made[symbol, resolution]
        .drop(columns=["high", "low", "close", "volume"])
        .join(frame[PRICES].astype(float))
        for (symbol, resolution), frame in candles.items()
    }


def load(conn: psycopg.Connection, symbol: str, frame: pd.DataFrame, calendar: str, resolution: str) -> None:
    conn.execute(
        "insert into ops.instruments (symbol, asset_class, currency, calendar, primary_source) "
        "values (%s, 'crypto', 'USD', %s, 'replay') on conflict (symbol) do update set calendar = excluded.calendar",
        [symbol, calendar],
    )
    conn.execute("delete from ops.instrument_sources where symbol = %s", [symbol])
    conn.execute("insert into ops.instrument_sources values (%s, 'replay', 1)", [symbol])
    columns = ("symbol", "source", "candle_start", *PRICES, "basis", "is_final")
    make_room(conn, f"candles_{resolution}", frame.index)
    with conn.cursor().copy(f"copy marts.candles_{resolution} ({', '.join(columns)}) from stdin") as copy:
        for start, *values in frame[PRICES].itertuples():
            known = [None if pd.isna(value) else repr(value) for value in values]
            copy.write_row((symbol, "replay", start, *known, "bar", True))


def differences(ours: pd.Series, theirs: object, relative: float = 1e-9, scale: float = 0) -> list[object]:
    """Where they differ by more, or only one has a value. `scale`: the size of what was subtracted."""
    mine, peer = ours.to_numpy(float), np.asarray(theirs, float)
    return list(np.flatnonzero(~np.isclose(mine, peer, rtol=relative, atol=relative * (scale or 1e-3), equal_nan=True)))


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("symbol", ["SPY-D", "SPY-D 1d"])
def test_each_value_is_that_of_the_published_table(
    exact: dict[str, pd.DataFrame], shared_data: Path, symbol: str, name: str
) -> None:
    expected = pd.read_csv(shared_data / "indicators" / "spy_daily_expected.csv")
    if (symbol, name) == ("SPY-D 1d", "vwap_session"):  # of a day its own
        expected["vwap_cum"] = exact[symbol][["high", "low", "close"]].mean(axis="columns").to_numpy()
    assert differences(exact[symbol][name], expected[TABLE[name]]) == []


@pytest.mark.parametrize("name", WORKED)
@pytest.mark.parametrize(("symbol", "file"), [("SPY-D", "spy_daily"), ("SPY", "spy_1min_202012")])
def test_each_value_is_that_of_the_worked_example(
    exact: dict[str, pd.DataFrame], shared_data: Path, symbol: str, file: str, name: str
) -> None:
    expected = pd.read_csv(shared_data / "signals_backtest" / f"{file}_expected_indicators.csv.gz")
    # the example's z-score is off by 4e-9 (a rolling sum), its logs and differences are rounded
    scale = (
        4
        if name == "zscore"
        else 1
        if name in ("log_return", "volatility_20", "macd", "macd_signal", "true_range")
        else 0
    )
    assert differences(exact[symbol][name], expected[WORKED[name]], 1e-9, scale) == []


def test_a_sessions_vwap_begins_with_it(exact: dict[str, pd.DataFrame], shared_data: Path) -> None:
    of_day = pd.read_csv(shared_data / "indicators" / "spy_intraday_20201215_vwap_expected.csv")["vwap_session"]
    of_all = pd.read_csv(shared_data / "signals_backtest" / "spy_1min_202012_expected_indicators.csv.gz")
    assert differences(exact["SPY"]["vwap_session"][: len(of_day)], of_day) == []
    assert differences(exact["SPY"]["vwap_session"], of_all["vwap_session_hlc3"]) == []


def peers(c: pd.DataFrame) -> dict[str, object]:
    o = {name: c[name].to_numpy(float) for name in PRICES}
    high, low, close, volume = (np.ascontiguousarray(o[name]) for name in PRICES[1:])
    upper, middle, lower = talib.BBANDS(close, 20, 2, 2)
    k, d = talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    typical = ((high + low + close) / 3).round(
        10
    )  # its own sums of three differ by rounding where the price did not move
    return {
        **{f"sma_{n}": talib.SMA(close, n) for n in (5, 20, 50, 200)},
        "ema_12": talib.EMA(close, 12), "ema_26": talib.EMA(close, 26), "rsi_14": talib.RSI(close, 14),
        "true_range": talib.TRANGE(high, low, close), "atr_14": talib.ATR(high, low, close, 14),
        "bollinger_upper": upper, "bollinger_middle": middle, "bollinger_lower": lower,
        "stochastic_k": k, "stochastic_d": d, "williams_r_14": talib.WILLR(high, low, close, 14),
        "roc_10": talib.ROC(close, 10), "mfi_14": talib.MFI(typical, typical, typical, volume, 14),
        "plus_di_14": talib.PLUS_DI(high, low, close, 14), "minus_di_14": talib.MINUS_DI(high, low, close, 14),
        "adx_14": talib.ADX(high, low, close, 14), "macd": talib.MACD(close)[0], "macd_signal": talib.MACD(close)[1],
    }  # fmt: skip


SETTLES = {
    "stochastic_k": 17,
    "plus_di_14": 600,
    "minus_di_14": 600,
    "adx_14": 600,
    "macd": 400,
    "macd_signal": 400,
}  # TA-Lib begins otherwise


def test_each_value_is_that_of_ta_lib(exact: dict[str, pd.DataFrame]) -> None:
    wrong = {}
    for symbol in exact.keys() - {"ZEROS", "BAD"}:
        candles = exact[symbol]
        scale = candles["close"].max() if symbol != "PENNY" else 1
        for name, theirs in peers(candles).items():
            skip = SETTLES.get(name, 0)
            ours, peer = candles[name].to_numpy(float)[skip:], np.asarray(theirs, float)[skip:]
            undefined = np.isnan(ours) & (peer == 0)  # where nothing moved there is no value; TA-Lib says 0
            size = scale if name[:3] in ("sma", "ema", "tru", "atr", "bol", "mac") else 100
            close = np.isclose(ours, peer, rtol=1e-9, atol=1e-9 * size, equal_nan=True)
            if not (close | undefined).all():
                first = int(np.argmin(close | undefined))
                wrong[symbol, name] = (first + skip, ours[first], peer[first], int((~(close | undefined)).sum()))
    assert wrong == {}


def test_volatility_is_told_for_a_year_of_such_candles(exact: dict[str, pd.DataFrame]) -> None:
    a_year = {"SPY": 252 * 390, "SPY-D 1d": 252, "BTC-D": 365 * 1440, "BTC-D 1d": 365}
    a_year |= {next(name for name in exact if name.endswith("1h")): 365 * 24}
    for symbol, candles_a_year in a_year.items():
        candles = exact[symbol]
        assert differences(candles["volatility_annualised"], candles["volatility_20"] * candles_a_year**0.5) == []


def test_days_count_since_the_first_of_all(exact: dict[str, pd.DataFrame]) -> None:
    days = exact["BTC-D 1d"]
    assert differences(days["running_high"], days["high"].cummax()) == []
    assert differences(days["drawdown"], days["close"] / days["high"].cummax() - 1) == []
    assert (days["session_start"] == days.index).all()


def test_obv_moves_as_ta_libs_does(exact: dict[str, pd.DataFrame]) -> None:
    for symbol in ("BTC-D", "SPY", "BTC-D 1d"):
        candles = exact[symbol]
        for _, session in candles.groupby("session_start" if symbol != "BTC-D 1d" else "symbol"):
            theirs = talib.OBV(session["close"].to_numpy(float), session["volume"].to_numpy(float))
            assert differences(session["obv"], theirs - theirs[0], scale=session["volume"].max()) == []


def test_no_series_gives_a_value_that_is_no_number(exact: dict[str, pd.DataFrame]) -> None:
    for symbol, made in exact.items():
        numbers = made.drop(columns=PRICES).select_dtypes("number").to_numpy(float)
        assert not np.isinf(numbers).any(), symbol
    nothing = exact["ZEROS"].iloc[-1]
    undefined = {
        "rsi_14",
        "zscore",
        "stochastic_k",
        "plus_di_14",
        "mfi_14",
        "vwap_session",
        "log_return",
        "roc_10",
        "drawdown",
    }
    assert {name for name in undefined if pd.isna(nothing[name])} == undefined
    assert (nothing["sma_200"], nothing["atr_14"], nothing["adx_14"], nothing["obv"]) == (0, 0, 0, 0)
