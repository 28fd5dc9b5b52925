"""The chart in a terminal, character for character."""

from __future__ import annotations

import re

import pytest

from include.charts.series import Series
from include.charts.terminal import render
from tests.charts.pictures import candle, closes, series

CANDLES = [
    candle("10:00", "10 12 10 12", 2),
    candle("10:01", "12 18 10 16", 8),
    candle("10:02", "16 16 12 14", 4),
    # 10:03 is missing
    candle("10:04", "14 14 10 10", 1),
    candle("10:05", "10 12 10 12", None),
]


def plain(drawn: Series, width: int = 80, height: int = 24) -> list[str]:
    return render(drawn, width, height, colour=False)[0].splitlines()


def test_a_small_chart_is_this() -> None:
    alerts = [("10:01", "sma_cross", "BUY"), ("10:04", "zscore", "up")]
    assert plain(series(CANDLES, *alerts), width=40, height=18) == [
        "BTC-USD 1m · simulator · 2026-03-02 10:00 to 10:06 UTC",
        "     ┌───────────┐",
        "     │           │",
        "18.00┤  │        │",
        "     │  │        │",
        "16.00┤  ▒ █      │",
        "     │  ▒ █   ◆  │",
        "14.00┤  ▒ █   █  │",
        "12.00┤▒ ▒ │   █ ▒│",
        "     │▒ │     █ ▒│",
        "10.00┤▒ │     █ ▒│",
        "     │  ▲        │",
        "     └┬─────────┬┘",
        "      10:00 10:05",
        "    8   █",
        "  vol ▄ █ █   ▂",
        "▒ up  █ down  ▲ BUY  ◆ anomaly",
    ]


def test_the_extremes_are_beside_the_axis_and_the_title_on_top() -> None:
    lines = plain(series(closes([64_000.5, 64_250, 63_990])))
    assert lines[0] == "BTC-USD 1m · simulator · 2026-03-02 10:00 to 10:03 UTC"
    labels = [found[1] for line in lines if (found := re.match(r"\s*([\d,.]+)┤", line))]
    assert labels == ["64,250.00", "64,185.00", "64,120.00", "64,055.00", "63,990.00"]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 20), (200, 60)])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    alerts = [(f"10:{n:02}", "zscore", "up") for n in range(0, 60, 7)]
    drawn = series(closes([100 + n % 7 for n in range(300)]), *alerts, indicators=["sma", "ema", "bollinger", "vwap"])
    lines = plain(drawn, width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) == height - 1  # the last row is the command's


def test_of_more_candles_than_columns_the_newest_are_shown() -> None:
    alerts = [("14:07", "zscore", "up"), ("14:08", "zscore", "up")]
    text, shown = render(series(closes(range(300)), *alerts), 60, 24, colour=False)
    lines = text.splitlines()
    assert (len(shown.candles), len(shown.alerts)) == (52, 1)
    assert "14:08 to 15:00 UTC" in lines[0]
    assert any("┤" in line and "248.00" in line for line in lines)  # the lowest of those


def test_a_cut_is_a_line_with_its_length() -> None:
    lines = plain(series([*closes([1, 2]), *closes([2, 1], "20:00")]))
    assert "┊ nothing for 9 h 58 min" in lines[-1]
    assert sum("┊" in line for line in lines) > 8


def test_only_signs_that_are_there_are_explained() -> None:
    assert plain(series(CANDLES))[-1] == "▒ up  █ down"
    said = plain(series(CANDLES, ("10:01", "sma_cross", "SELL"), indicators=["vwap"]))[-1]
    assert said == "▒ up  █ down  = VWAP  ▼ SELL"


def test_colours_are_for_terminals_only() -> None:
    drawn = series(CANDLES, ("10:01", "sma_cross", "BUY"), indicators=["sma", "ema", "bollinger", "vwap"])
    coloured = render(drawn, 80, 24, colour=True)[0]
    assert "\x1b[" in coloured
    assert "\x1b" not in render(drawn, 80, 24, colour=False)[0]
    assert [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", coloured).splitlines()] == plain(drawn)


@pytest.mark.parametrize("candles", [[candle("10:00", "7")], closes([7, 7, 7]), closes([0, 0]), closes([1e-7, 2e-7])])
def test_flat_and_tiny_prices_are_drawn(candles: list) -> None:  # type: ignore[type-arg]
    assert any(sign in "".join(plain(series(candles))) for sign in "▒█")


def test_a_terminal_that_is_much_too_small_gets_a_chart_all_the_same() -> None:
    assert len(plain(series(CANDLES), width=5, height=3)) > 6
