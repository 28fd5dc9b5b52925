"""Where candles, labels and marks stand."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from include.charts.layout import CUT, LONGEST, Cut, Mark, arrange, decimals, marks, rises, short, ticks
from tests.charts.pictures import at, candle, closes, series

MINUTE = timedelta(minutes=1)


def clocks(text: str) -> list[datetime]:
    return [at(clock) for clock in text.split()]


def test_missing_minutes_are_empty_places() -> None:
    layout = arrange(clocks("10:00 10:01 10:04"), MINUTE)
    assert layout.places == [0, 1, 4]
    assert layout.times == clocks("10:00 10:01 10:02 10:03 10:04")
    assert layout.cuts == []


def test_a_long_silence_is_cut_and_its_length_kept() -> None:
    layout = arrange(clocks("10:00 10:13 10:27 10:28"), MINUTE)  # 12 minutes missing, then 13
    assert LONGEST == 12 and CUT == 3
    assert layout.places == [0, 13, 17, 18]
    assert layout.cuts == [Cut(15, timedelta(minutes=13))]
    assert layout.times[13:] == clocks("10:13 10:14 10:15 10:16 10:27 10:28")


def test_candles_of_a_day_that_do_not_begin_at_the_same_hour_stand_side_by_side() -> None:
    starts = [at("14:30"), at("+1 13:30"), at("+2 13:30")]  # a change of the clocks
    assert arrange(starts, timedelta(days=1)).places == [0, 1, 2]


@pytest.mark.parametrize(
    ("length", "words"),
    [(13, "13 min"), (990, "16 h 30 min"), (120, "2 h"), (3720, "2 d 14 h"), (2880, "2 d"), (1443, "1 d")],
)
def test_a_cut_says_its_length_in_two_units(length: int, words: str) -> None:
    assert Cut(1, timedelta(minutes=length)).words == words


def test_labels_are_at_round_times() -> None:
    layout = arrange([at("09:58") + n * MINUTE for n in range(60)], MINUTE)
    assert [tick.words(" ") for tick in ticks(layout, MINUTE, most=5)] == [
        "10:00 2026-03-02",
        "10:15",
        "10:30",
        "10:45",
    ]
    assert [tick.place for tick in ticks(layout, MINUTE, most=5)] == [2, 17, 32, 47]


def test_a_new_day_is_named() -> None:
    layout = arrange([at("23:00") + n * 60 * MINUTE for n in range(4)], 60 * MINUTE)
    said = [tick.words(" ") for tick in ticks(layout, 60 * MINUTE, most=8)]
    assert said == ["23:00 2026-03-02", "00:00 2026-03-03", "01:00", "02:00"]


def test_days_have_dates_and_no_hours() -> None:
    layout = arrange([at("00:00") + n * timedelta(days=1) for n in range(15)], timedelta(days=1))
    assert [tick.words(" ") for tick in ticks(layout, timedelta(days=1), most=3)] == [
        "2026-03-02",
        "2026-03-09",
        "2026-03-16",
    ]


def test_what_follows_a_cut_has_a_label_and_what_stands_too_near_to_it_has_none() -> None:
    layout = arrange([at("10:00") + n * MINUTE for n in (*range(31), *range(200, 231))], MINUTE)
    assert [tick.words(" ") for tick in ticks(layout, MINUTE, most=8)] == [
        "10:00 2026-03-02",
        "10:10",
        "10:20",
        "13:20",
        "13:30",
        "13:40",
        "13:50",
    ]


def test_without_a_round_time_the_first_candle_has_the_label() -> None:
    layout = arrange(clocks("10:01 10:02 10:03 10:04"), MINUTE)
    assert [tick.words(" ") for tick in ticks(layout, MINUTE, most=1)] == ["10:01 2026-03-02"]


def test_a_candle_of_one_price_has_the_direction_of_its_step() -> None:
    drawn = series([candle("10:00", "5"), candle("10:01", "6"), candle("10:02", "4"), candle("10:03", "9 9 1 2")])
    assert rises(drawn) == [True, True, False, False]
    assert rises(series([candle("10:00", "5 9 1 4"), candle("10:01", "1 9 1 2"), candle("10:02", "2")])) == [
        False,
        True,
        True,
    ]


def test_alerts_are_marked_at_the_candle_that_their_minute_lies_in() -> None:
    drawn = series(
        closes([1, 2, 3], "10:00", minutes=5),
        ("10:00", "sma_cross", "BUY"),
        ("10:06", "sma_cross", "SELL"),
        ("10:07", "zscore", "up"),
        ("10:08", "change", "up"),  # the same mark again
        ("10:09", "zscore", "down"),
        ("10:14", "sma_cross", "BUY"),
        resolution="5m",
    )
    assert marks(drawn) == [
        Mark(0, "BUY", False, 0),
        Mark(1, "SELL", True, 0),
        Mark(1, "anomaly", True, 1),  # outside of the triangle
        Mark(1, "anomaly", False, 0),
        Mark(2, "BUY", False, 0),
    ]


def test_an_alert_without_a_candle_here_has_no_mark() -> None:
    candles = [*closes([1], "10:00"), *closes([2], "10:02")]
    alerts = [("09:59", "zscore", "up"), ("10:01", "zscore", "up"), ("10:03", "zscore", "up")]
    assert marks(series(candles, *alerts)) == []


@pytest.mark.parametrize(
    ("low", "high", "digits"),
    [(64_000, 64_120, 2), (100, 100.5, 3), (1.10, 1.1004, 6), (0.00001234, 0.00001299, 9), (7, 7, 2), (0, 0, 2)],
)
def test_prices_have_as_many_decimals_as_tell_them_apart(low: float, high: float, digits: int) -> None:
    assert decimals(low, high) == digits


def test_volumes_are_short() -> None:
    assert [short(n) for n in (0, 0.25, 950, 12_345, 4_560_000, 2e9, 5e13)] == [
        "0", "0.25", "950", "12.3k", "4.56M", "2G", "5e+13",
    ]  # fmt: skip
