"""Features: in units of what is usual, from the row and the 20 before it alone."""

from __future__ import annotations

import numpy as np
import pytest

from include.models.features import COLUMNS, FEATURES, HISTORY, features
from include.models.seasonal import Baseline, Numbers
from tests.models.market import MONDAY, quiet

# Usual: a volume of 100, a volatility of 0.001, a spread of 2; a deviation is the factor e.
USUAL = Baseline(("AAPL",), np.log([[[100.0] * 48, [0.001] * 48, [2.0] * 48]]), np.ones((1, 3, 48)))


def said(name: str, found: Numbers) -> Numbers:
    return found[:, FEATURES.index(name)]


def test_each_number_is_in_units_of_what_is_usual() -> None:
    minutes = MONDAY + np.arange(25)
    columns = {
        "close": np.array([100.0] * 24 + [101.0]), "volume": np.array([100.0] * 24 + [100 * np.e**2]),
        "volatility_20": np.array([0.001] * 24 + [0.001 * np.e**3]), "spread": np.array([2.0] * 24 + [np.nan]),
    }  # fmt: skip
    found = features(columns, minutes, np.arange(25) == 0, USUAL, np.zeros(25, dtype=np.int64))
    last = dict(zip(FEATURES, found[-1], strict=True))
    assert last == pytest.approx(
        {
            "return_1m": np.log(1.01) / 0.001, "return_5m": np.log(1.01) / 0.001 / np.sqrt(5), "volume": 2.0,
            "volume_change": 2.0, "spread": np.nan, "volatility": 3.0,
        },
        nan_ok=True,
    )  # fmt: skip


def test_a_return_is_of_exactly_so_many_minutes() -> None:
    minutes = MONDAY + np.array([0, 1, 2, 4, 5, 6])  # one is missing
    columns = {name: np.full(6, 100.0) for name in COLUMNS}
    found = features(columns, minutes, np.arange(6) == 0, USUAL, np.zeros(6, dtype=np.int64))
    assert np.isfinite(said("return_1m", found)).tolist() == [False, True, True, False, True, True]
    assert np.isfinite(said("return_5m", found)).tolist() == [False] * 4 + [True, True]  # the 5th and 6th minute


def test_nothing_is_known_of_another_symbol_and_nothing_is_taken_from_the_series_before() -> None:
    columns = {name: np.full(4, 100.0) for name in COLUMNS}
    is_first, of = np.array([True, False, True, False]), np.array([0, 0, -1, -1])
    found = features(columns, MONDAY + np.array([0, 1, 2, 3]), is_first, USUAL, of)
    assert np.isnan(found[2:]).all()
    found = features(columns, MONDAY + np.array([0, 1, 2, 3]), is_first, USUAL, np.zeros(4, dtype=np.int64))
    assert np.isfinite(said("return_1m", found)).tolist() == [False, True, False, True]


def test_neither_later_rows_nor_those_before_its_history_change_a_row() -> None:
    minutes, columns = quiet(0.2)
    of, at = np.zeros(len(minutes), dtype=np.int64), 200
    whole = features(columns, minutes, np.arange(len(minutes)) == 0, USUAL, of)[at]
    part = slice(at - HISTORY, at + 1)
    cut = {name: values[part] for name, values in columns.items()}
    assert features(cut, minutes[part], np.arange(HISTORY + 1) == 0, USUAL, of[part])[-1].tolist() == whole.tolist()
