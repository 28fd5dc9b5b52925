"""`quantstream backtest` as people and scripts use it, over marts in a database."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from PIL import Image
from typer.testing import CliRunner

from include import cli, settings
from include.backtest.strategies import STRATEGIES
from include.errors import ConfigError, QuantStreamError
from include.pipeline.backtest import read_market
from include.settings import Settings
from include.warehouse.candles import Selection
from include.warehouse.db import connect
from tests.backtest.pictures import walk
from tests.charts.pictures import candle, closes, store
from tests.conftest import Servers, make_warehouse, warehouse_settings

pytestmark = pytest.mark.stack

PRICES = walk(240, step=0.004)["close"].tolist()
OTHER = walk(240, seed=2, step=0.004)["close"].tolist()


@pytest.fixture(scope="module")
def market(servers: Servers, template_marts: str) -> Iterator[Settings]:
    """Four hours of two coins by the minute, one that has no candle, and a share with a split."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    make_warehouse(servers, name, template=template_marts)
    found = warehouse_settings(servers, name)
    with connect(found) as conn:
        store(conn, closes(PRICES))
        store(conn, [candle("14:00", "1")._replace(is_final=False)])
        store(conn, closes(OTHER), symbol="ETH-USD")
        store(conn, [], symbol="DOGE-USD")
        a_split_overnight(conn)
    yield found
    with servers.admin() as conn:
        conn.execute(f'drop database "{name}" with (force)')


def a_split_overnight(conn: psycopg.Connection) -> None:
    """A share that moves as the first coin does, for two dollars each before the split, with a VWAP for both."""
    store(conn, closes([2 * price for price in PRICES[:120]]), symbol="AAPL")
    store(conn, closes(PRICES[120:], start="+1 10:00"), symbol="AAPL")
    conn.execute("update ops.instruments set asset_class = 'equity', calendar = 'XNYS' where symbol = 'AAPL'")
    conn.execute(
        "insert into ops.listed_actions (symbol, ex_date, action, ratio) values ('AAPL', '2026-03-03', 'split', 2)"
    )
    conn.execute(
        "insert into marts.indicators_1m (symbol, candle_start, source, close, vwap_session, is_final) "
        "select symbol, candle_start, source, close, 100, true from marts.candles_1m where symbol <> 'ETH-USD'"
    )


@pytest.fixture
def invoke(market: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.setattr(settings, "load_settings", lambda **_: market)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, ["backtest", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def told(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_it_tells_each_instrument_and_the_portfolio(invoke: Callable[..., str]) -> None:
    shown = invoke("--symbols", "BTC-USD,ETH-USD", "--fees", "5")
    assert "sma_cross fast=5 slow=20 · 1m · 2026-03-02 10:00 to 2026-03-02 13:59 UTC" in shown
    assert "fee 5 bp, slippage 1 bp · long only" in shown
    assert [line.split()[1] for line in shown.splitlines() if "%" in line] == ["BTC-USD", "ETH-USD", "portfolio"]
    assert shown.endswith("What this does not show: docs/backtest.md\n")


def test_json_and_csv_tell_the_same_trades(invoke: Callable[..., str]) -> None:
    (result,) = told(invoke("--symbols", "BTC-USD", "--json"))
    rows = list(csv.DictReader(io.StringIO(invoke("--symbols", "BTC-USD", "--csv"))))
    assert (result["symbol"], result["params"], result["candles"]) == ("BTC-USD", {"fast": 5, "slow": 20}, 240)
    trades = result["trade_list"]
    assert isinstance(trades, list) and len(trades) > 3
    assert [row["entry_time"] for row in rows] == [trade["entry_time"] for trade in trades]
    profit = sum(float(row["profit"]) for row in rows)
    assert profit == pytest.approx(float(str(result["final_equity"])) - 1_000_000, abs=0.01)


def test_a_later_start_looks_back_and_an_earlier_end_changes_nothing_before_it(invoke: Callable[..., str]) -> None:
    (whole,) = told(invoke("--symbols", "BTC-USD", "--json"))
    (part,) = told(invoke("--symbols", "BTC-USD", "--json", "--from", "2026-03-02T11:00", "--to", "2026-03-02T13:00"))
    assert (part["candles"], part["first_candle"]) == (120, "2026-03-02T11:00:00+00:00")
    assert isinstance(whole["trade_list"], list) and isinstance(part["trade_list"], list)
    entered = [
        [one["entry_time"] for one in found if "T11:01" <= one["entry_time"][10:16] < "T13:00"]
        for found in (whole["trade_list"], part["trade_list"])
    ]
    assert entered[0] == entered[1] != []


def test_a_split_is_no_loss(invoke: Callable[..., str]) -> None:
    aapl, btc = (told(invoke("--symbols", symbol, "--json"))[0] for symbol in ("AAPL", "BTC-USD"))
    assert aapl["total_return"] == pytest.approx(btc["total_return"])
    assert aapl["sharpe"] == pytest.approx(float(str(btc["sharpe"])) * (252 * 390 / 525_600) ** 0.5)  # fewer minutes


def test_a_strategy_reads_the_indicators_of_the_marts(invoke: Callable[..., str]) -> None:
    (found,) = told(invoke("--strategy", "vwap_reversion", "--symbols", "BTC-USD", "--short", "--json"))
    assert isinstance(found["trades"], int) and found["trades"] > 0


def test_a_walk_forward_tells_its_steps(invoke: Callable[..., str]) -> None:
    options = (
        "--symbols",
        "BTC-USD",
        "--walk-forward",
        "--train",
        "90m",
        "--test",
        "1h",
        "--grid",
        "fast=3,5 slow=8,20",
    )
    (found,) = told(invoke(*options, "--json"))
    assert isinstance(found["folds"], list)
    assert [fold["split"][11:16] for fold in found["folds"]] == ["11:30", "12:30", "13:30"]
    assert (found["candles"], found["first_candle"]) == (150, "2026-03-02T11:30:00+00:00")
    shown = invoke(*options)
    assert shown.startswith("BTC-USD, step by step\n")
    assert "sma_cross walk-forward, train 90 min, test 1 h · 1m" in shown
    assert "2026-03-02 10:00 │ 2026-03-02 11:30 │ 2026-03-02 12:30 │ fast=" in shown


def test_it_draws_a_picture_and_writes_the_curves(invoke: Callable[..., str], tmp_path: Path) -> None:
    for symbols, lines in (("BTC-USD", 241), ("BTC-USD,ETH-USD", 721)):
        out, equity = tmp_path / "backtest.png", tmp_path / "equity.csv"
        invoke("--symbols", symbols, "--out", str(out), "--equity", str(equity))
        with Image.open(out) as image:
            assert (image.format, image.size) == ("PNG", (1280, 720))
            assert len(image.getcolors(1 << 20) or []) > 20  # not blank
        rows = equity.read_text().splitlines()
        assert (len(rows), rows[0], rows[1]) == (
            lines, "symbol,candle_start,equity,buy_and_hold", "BTC-USD,2026-03-02T10:00:00+00:00,1000000.0,1000000.0",
        )  # fmt: skip


def test_a_range_without_a_signal_says_so(invoke: Callable[..., str]) -> None:
    shown = invoke("--strategy", "rsi_reversion", "--params", "low=0", "--symbols", "BTC-USD")
    assert "There was no signal to follow in this range." in shown


def test_the_list_needs_no_database() -> None:
    shown = CliRunner().invoke(cli.app, ["backtest", "--list"])
    assert shown.exit_code == 0
    assert all(name in shown.stdout for name in ("sma_cross", "vwap_reversion", "1 to 5000"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategy", "moon"], "--strategy moon: there is none of this name; known are sma_cross, ema_cross"),
        (["--symbols", ""], "--symbols: name one instrument or more"),
        (["--symbols", "BTC"], "BTC: not among the instruments; known are AAPL, ADA-USD, "),
        (["--symbols", "DOGE-USD"], "there is no 1m candle of DOGE-USD yet; `quantstream backfill"),
        (["--resolution", "7m"], "--resolution 7m: there are candles of 1m, 5m"),
        (["--resolution", "5m"], "the warehouse has no 5m candle yet; `make up`"),
        (["--from", "2026-03-03"], "no 1m candle of BTC-USD starts at 2026-03-03 00:00 UTC or later; there are some"),
        (["--from", "2026-03-03", "--to", "2026-03-02"], "--to 2026-03-02 is not after --from 2026-03-03"),
        (["--to", "2026-03-02T10:20"], "BTC-USD: 20 candles, those before --from included, and sma_cross needs 21"),
        (["--params", "slow=3"], "--params slow=3: fast = 5 is not below slow = 3"),
        (["--grid", "fast=3"], "--grid fast=3: is for --walk-forward"),
        (["--walk-forward", "--train", "soon"], "--train soon: write a number and m, h, d or w, as in 12h or 5d"),
        (["--walk-forward", "--train", "5d"], "BTC-USD: nothing is left to test on"),
        (["--strategy", "vwap_reversion", "--symbols", "AAPL"], "AAPL had a split or a dividend on 2026-03-03"),
        (["--out", "backtest.gif"], "--out backtest.gif: the name's end is the format"),
        (["--equity", "no/such/equity.csv"], "--equity no/such/equity.csv: is a folder, or lies in none"),
        (["--json", "--csv"], "--json and --csv: give one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_followed_is_refused_by_name(
    market: Settings, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.setattr(settings, "load_settings", lambda **_: market)
    asked = options if "--symbols" in options else ["--symbols", "BTC-USD", *options]
    with pytest.raises(QuantStreamError) as refused:
        CliRunner().invoke(cli.app, ["backtest", *asked], catch_exceptions=False)
    assert message in str(refused.value)
    assert refused.value.exit_code == (2 if isinstance(refused.value, ConfigError) else 1)


def test_indicators_that_the_marts_lack_are_refused(market: Settings) -> None:
    moon = replace(STRATEGIES["sma_cross"], name="moon", needs=("close", "moon_phase"))
    with connect(market, role="analyst") as conn, pytest.raises(ConfigError) as refused:
        read_market(conn, Selection("BTC-USD"), moon, [moon.defaults], None, None)
    assert str(refused.value) == (
        "--resolution 1m: moon needs moon_phase of the marts' indicators, which there are of no resolution"
    )


@pytest.mark.parametrize("option", ["--fees", "--slippage"])
def test_a_cost_out_of_bounds_is_refused_with_them(option: str) -> None:
    shown = CliRunner().invoke(cli.app, ["backtest", option, "1001"], env={"COLUMNS": "200"})
    assert shown.exit_code == 2
    assert f"Invalid value for '{option}': Input should be less than or equal to 1000" in shown.stderr
