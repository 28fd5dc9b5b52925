"""Indicators against numbers that were worked out by hand."""

from __future__ import annotations

import random

import pytest

from include.charts.indicators import INDICATORS, LOWER, MEAN, UPPER, look_back, parse_indicators
from include.errors import ConfigError
from include.warehouse.candles import Candle
from tests.charts.pictures import candle, closes, series

NAN = float("nan")


def line(candles: list[Candle], name: str, line: str) -> list[float]:
    return [round(value, 4) for value in series(candles, indicators=[name]).lines[line]]


def same(found: list[float], expected: list[float]) -> bool:
    return found == pytest.approx(expected, nan_ok=True)


def test_sma_is_the_mean_of_the_last_closes_once_there_are_enough() -> None:
    assert same(line(closes([1, 2, 3, 4, 5, 16]), "sma", "SMA 5"), [NAN, NAN, NAN, NAN, 3, 6])
    assert same(line(closes([*range(1, 22)]), "sma", "SMA 20")[-3:], [NAN, 10.5, 11.5])


def test_sma_counts_candles_and_not_minutes() -> None:
    spread = [*closes([1, 2], "10:00"), *closes([3, 4, 5], "13:00")]
    assert same(line(spread, "sma", "SMA 5"), [NAN, NAN, NAN, NAN, 3])


def test_bollinger_is_two_standard_deviations_of_the_population_around_the_mean() -> None:
    swings = closes([9, 11] * 10)  # mean 10; the deviation of the population is 1, that of a sample 1.026
    assert same(line(swings, "bollinger", UPPER)[-2:], [NAN, 12])
    assert same(line(swings, "bollinger", MEAN)[-2:], [NAN, 10])
    assert same(line(swings, "bollinger", LOWER)[-2:], [NAN, 8])


def test_the_mean_of_the_band_is_not_drawn_twice() -> None:
    assert list(series(closes([1]), indicators=["sma", "bollinger"]).lines) == ["SMA 5", "SMA 20", UPPER, LOWER]


def test_ema_begins_with_a_mean_and_goes_two_thirteenths_of_the_way_to_each_close() -> None:
    found = line(closes([0] * 11 + [13, 13]), "ema", "EMA 12")
    assert same(found, [NAN] * 11 + [round(13 / 12, 4), round(13 / 12 + (13 - 13 / 12) * 2 / 13, 4)])


def test_vwap_weighs_by_volume_and_begins_anew_at_midnight() -> None:
    candles = [
        candle("23:59", "100", 10),
        candle("+1 00:00", "10", 1),
        candle("+1 00:01", "18 24 18 18", 3),  # (24 + 18 + 18) / 3 = 20, so (10 + 60) / 4
        candle("+1 00:02", "99", None),
        candle("+1 00:03", "22.5", 4),  # (70 + 90) / 8
    ]
    assert same(line(candles, "vwap", "VWAP"), [100, 10, 17.5, 17.5, 20])


def test_vwap_is_not_known_before_the_first_volume_of_the_day() -> None:
    assert same(
        line([candle("10:00", "7", None), candle("10:01", "8", 0), candle("10:02", "9", 1)], "vwap", "VWAP"),
        [NAN, NAN, 9],
    )


@pytest.mark.parametrize("name", ["sma", "ema", "bollinger"])
def test_what_lies_further_back_than_the_look_back_changes_nothing(name: str) -> None:
    walk = random.Random(1)
    candles = closes([1000 + walk.uniform(-100, 100) for _ in range(700)], "00:00")
    shown, far = candles[-50:], 700 - 50 - look_back([name])
    whole = series(candles, indicators=[name]).lines.iloc[-50:]
    part = series(shown, before=candles[far:-50], indicators=[name]).lines
    assert (part - whole).abs().max(axis=None) < 1e-9
    assert not part.isna().any(axis=None)
    assert series(shown, indicators=[name]).lines.iloc[0].isna().all()  # without what lies before


def test_names_are_read_with_commas_once_each() -> None:
    assert parse_indicators("") == ()
    assert parse_indicators(" SMA, bollinger,sma,") == ("sma", "bollinger")
    assert parse_indicators(",".join(INDICATORS)) == ("sma", "ema", "bollinger", "vwap")


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"--indicators macd, rsi: allowed are sma, ema, bollinger, vwap"):
        parse_indicators("sma,macd,rsi")
