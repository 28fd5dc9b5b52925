"""`quantstream chart` as people and scripts use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from PIL import Image
from typer.testing import CliRunner

from include import cli, settings
from include.charts.series import MOST
from include.errors import ConfigError
from include.settings import Settings
from tests.charts.pictures import alert, candle, closes, store

pytestmark = pytest.mark.stack


@pytest.fixture
def invoke(marts_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.setattr(settings, "load_settings", lambda **_: marts_settings)
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("LINES", "24")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, ["chart", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def market(conn: psycopg.Connection) -> None:
    """Half an hour by the minute and by five, a cross and an anomaly."""
    store(conn, [candle(f"10:{n:02}", f"{100 + n} {103 + n} {98 + n} {101 + n}", 10 + n) for n in range(30)])
    store(conn, closes([101, 106, 111, 116, 121, 126], minutes=5), resolution="5m")
    alert(conn, "10:07", "sma_cross", "BUY")
    alert(conn, "10:21", "zscore", "up")


@pytest.mark.usefixtures("market")
def test_it_draws_in_the_terminal(invoke: Callable[..., str]) -> None:
    drawn = invoke("BTC-USD", "--indicators", "sma")
    lines = drawn.splitlines()
    assert lines[0] == "BTC-USD 1m · simulator · 2026-03-02 10:00 to 10:30 UTC"
    assert "132.00┤" in drawn and "98.00┤" in drawn  # the highest and the lowest price
    assert "▲ BUY" in drawn and "◆ anomaly" in drawn and "SELL" not in drawn
    assert lines[-1] == "30 candles, 2 alerts"
    assert max(map(len, lines)) <= 70 and len(lines) <= 24
    assert "\x1b" not in drawn  # a pipe


@pytest.mark.usefixtures("market")
def test_it_draws_a_picture_and_says_what_is_on_it(invoke: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "chart.png"
    said = invoke(
        "BTC-USD", "--resolution", "5m", "--indicators", "sma,bollinger", "--from", "2026-03-02T10:05",
        "--to", "2026-03-02T10:20", "--source", "simulator", "--out", str(path),
    )  # fmt: skip
    assert said == f"{path}: 3 candles, 1 alert\n"
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (1280, 720))
        assert len(image.getcolors(1 << 20) or []) > 20  # not blank


@pytest.mark.usefixtures("market")
def test_what_does_not_fit_in_the_terminal_is_said(invoke: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    drawn = invoke("BTC-USD")
    assert drawn.endswith("22 candles, 1 alert; 8 earlier ones do not fit in 30 columns\n")
    assert "▲" not in drawn


@pytest.mark.usefixtures("market")
def test_a_candle_that_may_still_change_is_said(invoke: Callable[..., str], conn: psycopg.Connection) -> None:
    store(conn, [candle("10:30", "130", 1)._replace(is_final=False)])
    assert invoke("BTC-USD", "--candles", "2").endswith("2 candles, 0 alerts; the last candle is not final yet\n")


@pytest.mark.usefixtures("market")
def test_alerts_without_a_candle_here_are_said(invoke: Callable[..., str], conn: psycopg.Connection) -> None:
    store(conn, [candle("10:06", "1", source="kraken"), candle("10:08", "1", source="kraken")])
    drawn = invoke("BTC-USD", "--source", "kraken")
    assert drawn.endswith("2 candles, 1 alert (of minutes that have no candle here)\n")
    assert "▲" not in drawn


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["BTC-USD", "--indicators", "macd"], "--indicators macd: allowed are sma, ema, bollinger, vwap"),
        (["BTC-USD", "--resolution", "7m"], "--resolution 7m: there are candles of 1m, 5m"),
        (["BTC"], "BTC: not among the instruments; known are AAPL, "),
        (["BTC-USD", "--from", "2026-03-03", "--to", "2026-03-02"], "--to 2026-03-02 is not after --from 2026-03-03"),
        (["BTC-USD", "--from", "2026-03-03"], "no 1m candle of BTC-USD starts at 2026-03-03 00:00 UTC or later"),
        (["BTC-USD", "--from", "noon"], "--from = 'noon': write a date"),
        (["BTC-USD", "--source", "krakn"], "--source krakn: has no 1m candle of BTC-USD; simulator has some"),
        (["BTC-USD", "--out", "chart.gif"], "--out chart.gif: the name's end is the format"),
        (["BTC-USD", "--out", "no/such/chart.png"], "--out no/such/chart.png: the folder no/such does not exist"),
    ],
    ids=lambda value: " ".join(value[1:3]) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("market")
def test_what_cannot_be_drawn_is_refused_by_name(
    marts_settings: Settings, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setattr(settings, "load_settings", lambda **_: marts_settings)
    with pytest.raises(ConfigError) as refused:
        CliRunner().invoke(cli.app, ["chart", *options], catch_exceptions=False)
    assert said in str(refused.value)
    assert refused.value.exit_code == 2


def test_the_bound_of_candles_is_the_one_of_a_chart() -> None:
    shown = CliRunner().invoke(cli.app, ["chart", "BTC-USD", "--candles", str(MOST + 1)], env={"COLUMNS": "200"})
    assert (shown.exit_code, f"less than or equal to {MOST}" in shown.output) == (2, True)
