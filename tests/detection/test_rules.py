"""Each rule as a picture: numbers in, findings out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.detection.config import Detection
from include.detection.engine import Row, evaluate, to_alert
from tests.detection.pictures import find, minute, rows, starts

UNKNOWN = None


@pytest.mark.parametrize(
    ("zscores", "expected"),
    [
        pytest.param([0, 3.1, 3.5, 4.0], ["09:01 up"], id="once per excursion"),
        pytest.param([0, -3.1, -3.2], ["09:01 down"], id="downwards"),
        pytest.param([0, 3, -3], [], id="the threshold itself is inside"),
        pytest.param([0, 3.1, 2.9, 3.1], ["09:01 up", "09:03 up"], id="again after coming back"),
        pytest.param([0, 3.1, -3.1], ["09:01 up", "09:02 down"], id="from one side to the other"),
        pytest.param([4.0, 4.0], ["09:00 up"], id="the very first candle, with none before it"),
        pytest.param([UNKNOWN, 3.1, UNKNOWN, 3.1], ["09:01 up", "09:03 up"], id="unknown counts as inside"),
    ],
)
def test_zscore(zscores: list[float | None], expected: list[str]) -> None:
    assert starts(find(rows(zscore=zscores))) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([4.9, 5.1, 6.0, 7.0], ["09:01 up"], id="a price that stays up does not alert every minute"),
        pytest.param([5.0, -5.0], [], id="the threshold itself is inside"),
        pytest.param([1, -5.1, -4.9, -6], ["09:01 down", "09:03 down"], id="again after coming back"),
    ],
)
def test_change(changes: list[float], expected: list[str]) -> None:
    assert starts(find(rows(change_percent=changes))) == expected


@pytest.mark.parametrize(
    ("fast", "slow", "expected"),
    [
        pytest.param([9, 11, 12], [10, 10, 10], ["09:01 BUY"], id="up is BUY, once"),
        pytest.param([11, 9, 8], [10, 10, 10], ["09:01 SELL"], id="down is SELL, once"),
        pytest.param([9, 10, 11], [10, 10, 10], ["09:02 BUY"], id="equal is not above yet"),
        pytest.param([11, 10, 11], [10, 10, 10], ["09:02 BUY"], id="a touch from above counts as having been equal"),
        pytest.param([10, 10 + 1e-10, 10], [10, 10, 10], [], id="rounding is no cross"),
        pytest.param([9e-6, 11e-6], [10e-6, 10e-6], ["09:01 BUY"], id="a coin worth next to nothing crosses too"),
        pytest.param([1e-5, 1e-5 + 1e-15], [1e-5, 1e-5], [], id="and its rounding is no cross either"),
        pytest.param([UNKNOWN, 11], [UNKNOWN, 10], [], id="the end of the warm-up is no cross"),
        pytest.param([11], [10], [], id="nor is the first candle"),
    ],
)
def test_sma_cross(fast: list[float | None], slow: list[float | None], expected: list[str]) -> None:
    assert starts(find(rows(sma_5=fast, sma_20=slow))) == expected


def test_the_candle_before_is_context_only() -> None:
    assert starts(find(rows(context=True, zscore=[3.5, 3.6, 0, 3.7]))) == ["09:03 up"]


def test_symbols_do_not_see_each_other() -> None:
    found = find([*rows("AAPL", zscore=[0, 4]), *rows("MSFT", zscore=[4, 4]), *rows("TSLA", zscore=[0, 0])])
    assert [(one.symbol, one.candle_start, one.is_start) for one in found] == [
        ("MSFT", minute(0), True),
        ("AAPL", minute(1), True),
        ("MSFT", minute(1), False),
    ]


def test_a_finding_becomes_an_alert_that_a_person_understands() -> None:
    (up,) = find([Row("AAPL", minute(0), 187.2, zscore=-3.44)])
    (change,) = find([Row("SHIB-USD", minute(0), 0.000012345, change_percent=7.25)])
    (cross,) = find(
        [Row("BTC-USD", minute(0), 64000, sma_5=9, sma_20=10), Row("BTC-USD", minute(1), 64123.5, sma_5=11, sma_20=10)]
    )
    assert [to_alert(one).message for one in (up, change, cross)] == [
        "187.20 is 3.4 standard deviations below its mean (limit 3)",
        "0.00001234 is 7.2 % above the previous close (limit 5 %)",
        "BUY at 64,123.50: SMA-5 11.00 crossed SMA-20 10.00 upwards",
    ]
    alert = to_alert(cross)
    assert (alert.rule, alert.category, alert.severity, alert.symbol) == ("sma_cross", "market", "info", "BTC-USD")
    assert (alert.candle_start, alert.direction, alert.value, alert.threshold) == (minute(1), "BUY", 11.0, 10.0)


numbers = st.one_of(st.none(), st.floats(-8, 8), st.sampled_from([3.0, 5.0, -3.0, 0.0]))
series = st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=12)


@given(one=series, other=series, cuts=st.sets(st.integers(1, 23)))
def test_however_the_rows_are_cut_into_batches_the_findings_are_the_same(
    one: list[tuple[float | None, ...]], other: list[tuple[float | None, ...]], cuts: set[int]
) -> None:
    candles = [
        Row(symbol, minute(n), 1.0, *values)
        for symbol, many in (("A", one), ("B", other))
        for n, values in enumerate(many)
    ]
    edges = [0, *sorted(cut for cut in cuts if cut < len(candles)), len(candles)]
    parts = [candles[start:end] for start, end in pairwise(edges)]
    in_parts = [found for part in evaluate(parts, Detection(), {}) for found in part]
    assert sorted(in_parts, key=repr) == sorted(find(candles), key=repr)
