"""Shocks on purpose, and who is approved."""

from __future__ import annotations

import numpy as np
import pytest

from include.models.judging import Scores, verdict
from include.models.learning import is_quiet
from include.models.shocks import APART, KINDS, inject
from tests.models.market import quiet


def scores(recall: float, alarms: float = 0.1, shocks: int = 100) -> Scores:
    return Scores(recall, {}, alarms, shocks, 5.0)


@pytest.mark.parametrize(
    ("new", "used", "approved", "why"),
    [
        pytest.param(scores(0.25), None, True, "it is the first", id="a first one at the floor"),
        pytest.param(scores(0.24), None, False, "has to find 25%", id="a first one below it"),
        pytest.param(scores(0.80), scores(0.80), True, "the one in use 80.0%", id="as good"),
        pytest.param(scores(0.79), scores(0.80), False, "the one in use 80.0%", id="worse"),
        pytest.param(scores(0.10), scores(0.05), True, "the one in use 5.0%", id="better, however bad"),
        pytest.param(scores(0.99, alarms=1.1), scores(0.5), False, "1.10 false alarms", id="loud"),
        pytest.param(scores(0, shocks=0), None, False, "hold out more days", id="not tried"),
    ],
)
def test_a_model_that_is_worse_than_the_one_in_use_is_not_approved(
    new: Scores, used: Scores | None, approved: bool, why: str
) -> None:
    said = verdict("isolation_forest", new, used)
    assert (said[0], why in said[1]) == (approved, True), said


def test_shocks_are_the_same_each_time_and_only_where_they_are_said_to_be() -> None:
    minutes, columns = quiet(1)
    before = {name: values.copy() for name, values in columns.items()}
    found, again = (inject(columns, minutes, seed=3) for _ in range(2))
    assert found.row.tolist() == again.row.tolist() and len(found.row) == 1440 // APART
    assert {KINDS[kind] for kind in found.kind} == set(KINDS)
    for name, values in columns.items():
        np.testing.assert_array_equal(values, before[name])
        np.testing.assert_array_equal(found.columns[name], again.columns[name])
    volume = found.row[found.kind == KINDS.index("volume")]
    changed = np.flatnonzero(found.columns["volume"] != columns["volume"])
    assert changed.tolist() == sorted(np.concatenate([volume, volume + 1, volume + 2]).tolist())


def test_no_shock_where_minutes_are_missing() -> None:
    minutes, columns = quiet(0.5)
    assert len(inject(columns, minutes * 2, seed=0).row) == 0


def test_what_follows_a_shock_is_not_quiet() -> None:
    found = np.random.default_rng(0).normal(size=(200, 6))
    found[100, 2] = 50.0
    assert np.flatnonzero(~is_quiet(found)).tolist() == list(range(100, 121))
