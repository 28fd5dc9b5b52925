"""The engine: the same findings however the rows are cut and from wherever they are read."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from include.detection.config import Detection
from include.detection.engine import depth, evaluate
from include.detection.rule import Mark, Marks, Params, Rows, Rule
from tests.detection.pictures import between, find, joined, minute, only, rows

SHORT = {
    "window": 6, "minutes": 4, "lasting": 2, "threshold": 1.5, "chance": 0.5, "least": 0.0, "floor": 0.0,
    "consecutive": 2, "high": 60.0, "low": 40.0,
}  # fmt: skip


def sensitive(reads: str) -> Detection:
    """All rules on such rows, so that they find something in a few numbers."""
    given: dict[str, dict[str, Any]] = {}
    for name, rule in Detection().rules.items():
        mine: dict[str, Any] = {key: value for key, value in SHORT.items() if key in rule.params.model_fields}
        if rule.models(rule.params()):
            mine = {}  # silent here: nothing was trained
        if name == "bollinger_squeeze":
            mine["threshold"] = 0.9
        if name == "volume_shock":
            mine["window"] = 10
        if name in ("missing_data", "frozen_feed"):
            mine |= {"window": 10, "minutes": 2}
        if name == "spread_blowout":
            mine["minutes"] = 5
        if name == "portfolio_drawdown":
            mine["minutes"] = 10
        given[name] = {"enabled": rule.reads == reads, **mine}
    return Detection.of(**given)


number = st.sampled_from([None, 0.0, 1.0, 2.0, 3.0, 5.0, 8.0, -4.0, 40.0, 70.0])
COLUMNS = (
    "zscore", "change_percent", "sma_5", "sma_20", "volume", "spread", "return", "rsi_14", "bollinger_width",
    "bollinger_percent_b", "vwap_session", "macd", "macd_signal",
)  # fmt: skip


@st.composite
def candles(draw: st.DrawFn) -> Rows:
    """A series of 30 candles with gaps: prices move in steps, everything else comes from a short list of numbers."""
    size = 30
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 4]), min_size=size, max_size=size))
    moves = draw(st.lists(st.sampled_from([0, 0, 0.1, -0.1, 1, -1, 12, -12]), min_size=size, max_size=size))
    seed = draw(st.integers(0, 2**20))
    drawn = draw(st.lists(number, min_size=8, max_size=8))
    chooser = np.random.default_rng(seed)
    others = {name: [drawn[n] for n in chooser.integers(0, 8, size)] for name in COLUMNS}
    close = np.maximum(100 + np.cumsum(moves), 1).tolist()
    return rows(at=np.cumsum(steps).tolist(), close=close, high=close, low=close, **others)


@examples(max_examples=60, deadline=None)
@given(one=candles(), other=candles(), cuts=st.sets(st.integers(1, 59)), start=st.integers(0, 29))
def test_however_rows_are_cut_and_wherever_they_begin_the_findings_are_the_same(
    one: Rows, other: Rows, cuts: set[int], start: int
) -> None:
    detection = sensitive("candles")
    other = Rows(["B"] * 30, other.at, other.source, other.is_first, other.columns)
    whole = joined(one, other)
    at_once = find(whole, detection)
    edges = [0, *sorted(cuts), len(whole)]
    parts = [between(whole, begin, end) for begin, end in pairwise(edges)]
    in_parts = find(parts, detection)
    assert sorted(in_parts, key=repr) == sorted(at_once, key=repr)
    # from a later candle on, with as many before it as the rules look back
    before = max(0, start - depth(detection, "candles"))
    is_first, is_new = np.arange(30 - before) == 0, np.arange(before, 30) >= start
    tail = between(one, before, 30)
    missing = np.diff(one.minutes, prepend=0).astype(float) - 1  # as it is read: known of the first one, too
    missing[0] = np.nan
    columns = {**tail.columns, "missing": missing[before:]}
    later = Rows(tail.symbol, tail.at, tail.source, is_first, columns, is_new)
    assert find(later, detection) == [
        found for found in at_once if found.symbol == "AAPL" and found.candle_start >= one.at[start]
    ]


def test_the_rules_of_the_property_do_find_something() -> None:
    close = [100, 101, 100, 99, 100, 101, 100, 99, 100, 101, 120, 100, 100, 100]
    wild = rows(
        close=close, high=close, low=close, volume=[*[1.0] * 12, 0.0, 0.0],
        zscore=[0.0] * 13 + [2.0], spread=[1.0] * 10 + [9.0] * 4,
    )  # fmt: skip
    assert {one.rule for one in find(wild, sensitive("candles"))} >= {
        "zscore", "robust_zscore", "move", "fat_finger", "range_break", "frozen_feed", "spread_blowout",
    }  # fmt: skip


def test_history_is_not_judged_but_looked_at() -> None:
    known = rows(close=[100, 100, 106], known=2, high=[100, 100, 106], low=[100, 100, 106])
    assert [one.candle_start for one in find(known, only("move"))] == [minute(2)]
    assert find(rows(close=[100, 106, 100], known=2, high=[100, 106, 100], low=[100, 106, 100]), only("change")) == []


def test_series_do_not_see_each_other() -> None:
    found = find(joined(rows("A", close=[100, 100]), rows("B", close=[120, 120])), only("move"))
    assert found == []


def test_findings_come_by_time() -> None:
    one, other = rows("B", zscore=[4, 4]), rows("A", zscore=[0, 4])
    assert [(one.symbol, one.candle_start) for one in find(joined(one, other), only("zscore"))] == [
        ("B", minute(0)), ("A", minute(1)), ("B", minute(1)),
    ]  # fmt: skip


class Wanted(Params):
    model: str = "forest"


class OfModel(Rule[Wanted]):
    """Points at every row, once its model is there."""

    name, title, params, needs = "of_model", "Whatever its model says", Wanted, ("close",)
    directions = ("", "")

    def models(self, params: Wanted) -> tuple[str, ...]:
        return (params.model,)

    def find(self, rows: Rows, params: Wanted, models: Any) -> Marks:
        side = np.full(len(rows), 1 if params.model in models else 0, dtype=np.int8)
        return Marks(side, rows["close"], rows["close"], {"seen": (rows["close"] * len(models), None, None)})

    def message(self, mark: Mark, params: Wanted) -> str:
        return f"says {params.model}"


def test_a_rule_gets_its_own_models_and_no_others() -> None:
    detection = Detection.of({"of_model": OfModel()})
    assert find(rows(close=[1.0]), detection) == []
    (one,) = find(rows(close=[1.0]), detection, models={"forest": object(), "trees": object()})
    assert (one.message, one.measures[0].value) == ("says forest", 1)


def test_a_column_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="the rule zscore needs the columns zscore, rolling_mean, rolling_std"):
        list(evaluate([rows(close=[1.0])], only("zscore"), {}))
