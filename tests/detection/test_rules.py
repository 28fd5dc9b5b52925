"""Each rule as a picture: numbers in, minutes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from include.detection.findings import Finding
from tests.detection.pictures import Column, find, joined, minute, only, rows, said

X = None  # not known
Given = Mapping[str, object]


def judged(rule: str, given: Given | None = None, at: Sequence[int] | None = None, /, **columns: Column) -> list[str]:
    return said(find(rows(at=at, **columns), only(rule, **(given or {}))))


@pytest.mark.parametrize(
    ("zscores", "expected"),
    [
        pytest.param([0, 3.9, 4.0], ["09:01 up", "09:02 up"], id="every candle outside"),
        pytest.param([0, -3.9, 3.9], ["09:01 down", "09:02 up"], id="both sides"),
        pytest.param([3.8, -3.8], [], id="the threshold itself is inside"),
        pytest.param([3.9, X], ["09:00 up"], id="the very first candle, and unknown is inside"),
    ],
)
def test_zscore(zscores: Column, expected: list[str]) -> None:
    assert judged("zscore", zscore=zscores) == expected


def test_change() -> None:
    assert judged("change", change_percent=[4.9, 5, 5.1, -5.1, X]) == ["09:02 up", "09:03 down"]


CALM = [100, 101, 99, 100, 101, 99, 100, 101, 99, 100]  # median 100, absolute deviation 1: 1.48 as a standard deviation


@pytest.mark.parametrize(
    ("closes", "given", "expected"),
    [
        pytest.param([*CALM, 107], {}, ["09:10 up"], id="far above the median"),
        pytest.param([*CALM, 93], {}, ["09:10 down"], id="far below"),
        pytest.param([*CALM, 105], {}, [], id="not so far"),
        pytest.param([*CALM, 200, 107], {}, ["09:10 up", "09:11 up"], id="one wild close does not widen what is usual"),
        pytest.param([100] * 10 + [100.05], {}, [], id="what stood still moves a little"),
        pytest.param([100] * 10 + [101], {}, ["09:10 up"], id="or a lot"),
        pytest.param([100, 101, 99, 300], {}, [], id="too few to say what is usual"),
        pytest.param([X] * 5 + CALM[:5] + [107], {}, ["09:10 up"], id="half of them are enough"),
    ],
)
def test_robust_zscore(closes: Column, given: Given, expected: list[str]) -> None:
    assert judged("robust_zscore", {"window": 10, "threshold": 4, **given}, close=closes) == expected


@pytest.mark.parametrize(
    ("closes", "at", "expected"),
    [
        pytest.param([100, 102, 104, 106], None, ["09:03 up"], id="bit by bit"),
        pytest.param([100, 94, 94, 94, 94], None, ["09:01 down", "09:02 down", "09:03 down"], id="until it is old"),
        pytest.param([100, 105], None, [], id="the threshold itself is inside"),
        pytest.param([100, 106], [0, 3], ["09:03 up"], id="missing minutes within"),
        pytest.param([100, 106], [0, 4], [], id="a gap does not stretch the minutes"),
        pytest.param([100, X, 106], None, ["09:02 up"], id="an unknown close is left out"),
        pytest.param([106], None, [], id="the first candle"),
    ],
)
def test_move_within_three_minutes(closes: Column, at: Sequence[int] | None, expected: list[str]) -> None:
    assert judged("move", {"minutes": 3}, at, close=closes) == expected


def test_a_move_is_seen_in_the_extremes_of_the_candle() -> None:
    assert judged("move", close=[100, 101], high=[100, 106], low=[100, 99]) == ["09:01 up"]
    assert judged("move", close=[100, 99], high=[100, 101], low=[100, 94]) == ["09:01 down"]


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        pytest.param([100, 110, 100], ["09:02 up"], id="up and back"),
        pytest.param([100, 90, 100.5], ["09:02 down"], id="down and nearly back"),
        pytest.param([100, 110, 111, 100], ["09:03 up"], id="two candles long"),
        pytest.param([100, 110, 110, 110, 100], [], id="longer than a print"),
        pytest.param([100, 110, 105], [], id="not back"),
        pytest.param([100, 103, 100], [], id="not far enough"),
        pytest.param([110, 100], [], id="what was before is not known"),
        pytest.param([100, X, 100], [], id="no print at all"),
    ],
)
def test_fat_finger(closes: Column, expected: list[str]) -> None:
    assert judged("fat_finger", {"lasting": 2}, close=closes) == expected


def test_a_fat_finger_within_one_candle() -> None:
    found = {"close": [100, 100.5], "high": [100, 110], "low": [100, 100]}
    assert judged("fat_finger", **found) == ["09:01 up"]
    assert judged("fat_finger", **{**found, "close": [100, 109]}) == [], "it stayed there"


TEN = [10, 12, 8, 10, 11, 9, 10, 12, 8, 10]


@pytest.mark.parametrize(
    ("volumes", "at", "expected"),
    [
        pytest.param([*TEN, 70, 70], None, ["09:11 up"], id="the second in a row"),
        pytest.param([*TEN, 70, 10, 70], None, [], id="one alone is none"),
        pytest.param([*TEN, 70, 50], None, [], id="the lesser counts"),
        pytest.param([*TEN, 700, 700], [*range(10), 29, 30], [], id="of twenty minutes at once"),
        pytest.param([*TEN, *[0] * 9, 100, 70], None, [], id="nor what a silent feed says afterwards"),
        pytest.param([*TEN, X, 70, 70, 70], None, ["09:13 up"], id="unknown is left out"),
        pytest.param([1, 5, 40, 2, 20, 10, 3, 30, 8, 15, 90, 90], None, [], id="volumes that often vary as much"),
        pytest.param([10, 10, 70, 70], None, [], id="too few to say what is usual"),
    ],
)
def test_volume_shock(volumes: Column, at: Sequence[int] | None, expected: list[str]) -> None:
    assert judged("volume_shock", {"window": 10}, at, volume=volumes) == expected


@pytest.mark.parametrize(
    ("rule", "fast", "slow"),
    [("sma_cross", "sma_5", "sma_20"), ("ema_cross", "ema_12", "ema_26"), ("macd_cross", "macd", "macd_signal")],
)
@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param([9, 11, 12], [10, 10, 10], ["09:01 BUY"], id="up is BUY, once"),
        pytest.param([11, 9, 8], [10, 10, 10], ["09:01 SELL"], id="down is SELL, once"),
        pytest.param([9, 10, 11], [10, 10, 10], ["09:02 BUY"], id="equal is not above yet"),
        pytest.param([11, 10, 11], [10, 10, 10], ["09:02 BUY"], id="a touch from above counts as having been equal"),
        pytest.param([10, 10 + 1e-10, 10], [10, 10, 10], [], id="rounding is no cross"),
        pytest.param([X, 11], [X, 10], [], id="the end of the warm-up is no cross"),
        pytest.param([11], [10], [], id="nor is the first candle"),
    ],
)
def test_crosses(rule: str, fast: str, slow: str, one: Column, other: Column, expected: list[str]) -> None:
    assert judged(rule, {"enabled": True}, **{fast: one, slow: other}) == expected


@pytest.mark.parametrize(
    ("fast", "expected"),
    [
        pytest.param([9e-6, 11e-6], ["09:01 BUY"], id="a coin worth next to nothing crosses too"),
        pytest.param([1e-5, 1e-5 + 1e-15], [], id="its rounding does not"),
    ],
)
def test_crosses_of_small_prices(fast: Column, expected: list[str]) -> None:
    assert judged("sma_cross", sma_5=fast, sma_20=[1e-5, 1e-5]) == expected
    assert judged("macd_cross", {"enabled": True}, close=[1e-5] * 2, macd=fast, macd_signal=[1e-5] * 2) == expected


def test_bollinger_break() -> None:
    given = {"enabled": True, "margin": 0.2}
    assert judged("bollinger_break", given, bollinger_percent_b=[1.2, 1.3, -0.2, -0.3, X]) == ["09:01 up", "09:03 down"]


def test_bollinger_squeeze() -> None:
    given = {"window": 6, "threshold": 0.5}
    assert judged("bollinger_squeeze", given, bollinger_width=[4, 4, 4, 2, 1.9, 0, X]) == ["09:04"]
    assert judged("bollinger_squeeze", given, bollinger_width=[4, 4, 1]) == [], "too few to say what is usual"


def test_rsi_extreme() -> None:
    assert judged("rsi_extreme", rsi_14=[95, 96, 5, 4, X]) == ["09:01 up", "09:03 down"]


def test_vwap_deviation() -> None:
    assert judged("vwap_deviation", close=[105, 106, 94, 106, 106], vwap_session=[100, 100, 100, X, 0]) == [
        "09:01 up", "09:02 down",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spreads", "at", "expected"),
    [
        pytest.param([4, 5, 4, 4, 14.1], None, ["09:04 up"], id="more than 3.5 times"),
        pytest.param([4, 5, 4, 4, 14], None, [], id="the threshold itself is inside"),
        pytest.param([0.1, 0.1, 0.1, 1.9], None, [], id="still tiny"),
        pytest.param([4, 4, 4, 20], [0, 1, 2, 30], [], id="what is usual is known of the last minutes only"),
        pytest.param([4, X, 4, X, 15], None, ["09:04 up"], id="minutes without quotes"),
        pytest.param([15], None, [], id="the first candle"),
    ],
)
def test_spread_blowout(spreads: Column, at: Sequence[int] | None, expected: list[str]) -> None:
    assert judged("spread_blowout", {"minutes": 6}, at, spread=spreads) == expected


MOVING = [100 + n % 3 for n in range(20)]


@pytest.mark.parametrize(
    ("closes", "volumes", "expected"),
    [
        pytest.param([*MOVING, *[101] * 6], [X] * 26, ["09:24", "09:25"], id="the fifth that stands still, and on"),
        pytest.param([*MOVING, *[101] * 4, 102], [X] * 25, [], id="four are not enough"),
        pytest.param([*MOVING, *[101 + 1e-12] * 6], [X] * 26, ["09:24", "09:25"], id="rounding is no move"),
        pytest.param([*MOVING, *[101] * 6], [1.0] * 26, [], id="it is traded: the price is just the same"),
        pytest.param([*MOVING, *[101] * 6], [*[1.0] * 20, *[0.0] * 6], ["09:24", "09:25"], id="nothing is traded"),
        pytest.param([100] * 26, [X] * 26, [], id="it never moved"),
        pytest.param([100, 100, 101, 101] * 5 + [101] * 5, [X] * 25, [], id="it often stands still"),
        pytest.param([100, *[101] * 6], [X] * 7, [], id="too few to say what is usual"),
    ],
)
def test_frozen_feed(closes: Column, volumes: Column, expected: list[str]) -> None:
    given = {"minutes": 5, "window": 20, "chance": 1e-3}
    assert judged("frozen_feed", given, close=closes, volume=volumes) == expected


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        pytest.param([*range(20), 23], ["09:23"], id="three minutes are missing"),
        pytest.param([*range(20), 22], [], id="two are not enough"),
        pytest.param([*range(0, 40, 2), 43], [], id="it often has none"),
        pytest.param([*range(0, 40, 2), 80], ["10:20"], id="but not for so long"),
        pytest.param([*range(20), 60, 61, 62, 66], ["10:00", "10:06"], id="a long one does not hide the next"),
        pytest.param([0, 1, 10], [], id="too few to say what is usual"),
    ],
)
def test_missing_data(minutes: list[int], expected: list[str]) -> None:
    given = {"window": 20, "chance": 1e-3, "minutes": 2}
    assert judged("missing_data", given, minutes, close=[1.0] * len(minutes)) == expected


def test_minutes_in_which_the_exchange_was_closed_are_not_missing() -> None:
    closed = [*[0.0] * 20, 0.0]  # what reading counted: open minutes only
    assert judged("missing_data", {"window": 20}, [*range(20), 900], close=[1.0] * 21, missing=closed) == []


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        pytest.param([1, -1] * 6 + [9, -9, 9, 1], ["09:14 up", "09:15 up"], id="more, in most candles"),
        pytest.param([10, -10] * 6 + [1, -1] * 2, ["09:14 down", "09:15 down"], id="less"),
        pytest.param([1, -1] * 6 + [90, 1, -1, 1, -1, 1], [], id="one wild candle is no regime"),
        pytest.param([1, -1] * 6 + [0] * 6, [], id="nor is a frozen feed"),
        pytest.param([1, -1, 9, -9, 9, -9, 9, -9], [], id="too few to say what is usual"),
    ],
)
def test_volatility_regime(returns: Column, expected: list[str]) -> None:
    given = {"window": 5, "threshold": 5}
    assert judged("volatility_regime", given, **{"return": returns}) == expected


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        pytest.param([100, 101, 102, 101, 106], ["09:04 up"], id="two widths above"),
        pytest.param([100, 101, 102, 101, 96], ["09:04 down"], id="two widths below"),
        pytest.param([100, 101, 102, 101, 105], [], id="one and a half is the limit"),
        pytest.param([100, 100, 100, 100, 100.2], [], id="out of a range without width: a little"),
        pytest.param([100, 100, 100, 100, 101], ["09:04 up"], id="or a lot"),
        pytest.param([100, 120], [], id="too few to say what is usual"),
    ],
)
def test_range_break(closes: Column, expected: list[str]) -> None:
    assert judged("range_break", {"window": 5}, close=closes, high=closes, low=closes) == expected


def of_two(binance: Column, kraken: Column, count: int = 4) -> list[Finding]:
    """Basis points of two sources, minute by minute; unknown: not compared."""
    parts = []
    for source, column in (("binance", binance), ("kraken", kraken)):
        there = [n for n, one in enumerate(column) if one is not None]
        both = [[one for one in (binance[n], kraken[n]) if one is not None] for n in there]
        parts.append(
            rows(
                "BTC-USD", source=source, reads="closes", at=there, divergence=[column[n] for n in there],
                source_count=[count] * len(there),
                highest=[max(one) for one in both], lowest=[min(one) for one in both],
            )
        )  # fmt: skip
    return find(joined(*parts), only("source_divergence"))


@pytest.mark.parametrize(
    ("kraken", "expected"),
    [
        pytest.param([101, 101, 101, 101], ["09:02 up", "09:03 up"], id="from the third in a row on"),
        pytest.param([0, -150, -150, -150], ["09:03 down"], id="downwards"),
        pytest.param([100, 100, 100, 100], [], id="the threshold itself is inside"),
        pytest.param([150, 150, 0, 150], [], id="two are not enough"),
        pytest.param([150, 150, X, 150], ["09:03 up"], id="a minute without a close is left out"),
        pytest.param([150, 150, -150, -150], [], id="the other side begins anew"),
    ],
)
def test_source_divergence(kraken: Column, expected: list[str]) -> None:
    found = of_two([0] * 4, kraken)
    assert said(found) == expected
    assert {(one.source, one.scope) for one in found} <= {("kraken", "source")}


def test_the_source_that_is_right_is_not_blamed_for_the_one_that_is_wrong() -> None:
    assert {one.source for one in of_two([-150] * 3, [300] * 3, count=3)} == {"kraken"}
    assert {one.source for one in of_two([-198] * 3, [202] * 3, count=2)} == {"kraken"}
    assert {one.source for one in of_two([-200] * 3, [300] * 3, count=5)} == {"binance", "kraken"}, "two of five"


def test_portfolio_drawdown() -> None:
    values = rows("coins", reads="portfolios", at=[0, 1, 2, 3, 14], value=[90, 100, 96, 94, 93.0])
    (one,) = find(values, only("portfolio_drawdown", minutes=10))
    assert (one.symbol, one.scope, one.candle_start, one.direction) == ("coins", "portfolio", minute(3), "down")
    assert one.message == "worth 94.00, 6.0 % below its highest value 100.00 (limit 5 %)"


def test_portfolio_var() -> None:
    values = rows(
        "coins", reads="portfolios", value=[98, 96.9, 90, 90], day_value=[100, 100, 100, X],
        var_95=[0.02] * 4, var_99=[0.03, 0.03, X, 0.03],
    )  # fmt: skip
    (one,) = find(values, only("portfolio_var"))
    assert (one.candle_start, one.threshold) == (minute(1), -3)
    assert one.message.endswith(
        "3.1 % less than at the end of the day before; the value at risk of a day (99 %) is 3.0 %"
    )
    assert len(find(values, only("portfolio_var", confidence=95, threshold=1.5))) == 2


def test_every_finding_says_in_words_and_numbers_why() -> None:
    (high,) = find(
        rows(close=[187.2], zscore=[-3.94], rolling_mean=[190.0], rolling_std=[0.769]), only("zscore", severity="info")
    )
    assert high.message == "187.20 is 3.9 standard deviations below its mean (limit 3.8)"
    assert (high.value, high.threshold, high.severity, high.close) == (-3.94, 3.8, "info", 187.2)
    (close,) = high.measures
    assert (close.name, close.value) == ("close", 187.2)
    assert (close.low, close.high) == pytest.approx((187.0778, 192.9222))
    (change,) = find(rows(close=[0.000012345], change_percent=[7.25]), only("change"))
    assert change.message == "0.00001234 is 7.2 % above the previous close (limit 5 %)"
    *_, cross = find(rows(close=[64000, 64123.5], sma_5=[9, 11], sma_20=[10, 10]), only("sma_cross"))
    assert cross.message == "BUY at 64,123.50: SMA-5 11.00 crossed SMA-20 10.00 upwards"
