"""NAB's scoring, by numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from include.pipeline.score_nab import read_nab
from include.scoring.baselines import bayesian_changepoint, windowed_gaussian
from include.scoring.nab import STANDARD, NabScore, Series, probation, score, sigmoid, weigh


def marked(rows: int, *places: int) -> np.ndarray:
    scores = np.zeros(rows)
    scores[list(places)] = 1.0
    return scores


def test_the_sigmoid_is_as_published() -> None:
    places = np.array([-1.0, -0.5, 0.0, 1.0, 2.99, 3.0])
    edge, middle = math.tanh(2.5), math.tanh(1.25)
    assert sigmoid(places) == pytest.approx([edge, middle, 0, -edge, -math.tanh(7.475), -1])
    assert (edge, middle) == pytest.approx((0.98661, 0.84828), abs=5e-6)


def test_the_probation_is_a_part_of_a_series_and_no_more_than_that_of_5000_rows() -> None:
    assert (probation(100), probation(5000), probation(15902)) == (15, 750, 750)


def test_what_a_detection_is_worth_by_where_it_is() -> None:
    worth, inside = weigh(20, [(10, 13)])
    edge = math.tanh(2.5)
    assert inside.tolist() == [-1] * 10 + [0] * 4 + [-1] * 6
    assert worth[:10] == pytest.approx([-0.11] * 10)  # before any window
    assert worth[10:14] == pytest.approx([math.tanh(2.5 * left) / edge for left in (1, 0.75, 0.5, 0.25)])
    assert worth[14:17] == pytest.approx([-0.11 * math.tanh(2.5 * third / 3) for third in (1, 2, 3)])


@pytest.mark.parametrize(
    ("places", "raw", "counts"),
    [
        pytest.param([50], 1.0, (1, 0), id="the first row of the window: perfect"),
        pytest.param([55], math.tanh(1.25) / math.tanh(2.5), (1, 0), id="its middle"),
        pytest.param([55, 52, 58], math.tanh(2.0) / math.tanh(2.5), (1, 0), id="the earliest counts"),
        pytest.param([50, 20], 1 - 0.11, (1, 1), id="and a false one before"),
        pytest.param([50, 62], 1 - 0.11 * math.tanh(2.5 * 3 / 9), (1, 1), id="and a false one just behind"),
        pytest.param([50, 3], 1.0, (1, 0), id="what is said in the probation does not count"),
    ],
)
def test_the_score_of_one_series(places: list[int], raw: float, counts: tuple[int, int]) -> None:
    found = score([Series("one", marked(100, *places), [(50, 59)])], threshold=1.0)
    assert found.score == pytest.approx(100 * (raw + 1) / 2, abs=0.005)
    assert (found.found, found.false) == counts


def test_one_threshold_is_chosen_for_all_series_and_who_cannot_win_says_nothing() -> None:
    first, second = marked(100, 50) * 0.9, marked(100, 70) * 0.5
    second[20] = 0.7  # a false one that has to be taken with the window of this series
    found = score([Series("a", first, [(50, 59)]), Series("b", second, [(70, 79)])])
    assert found == NabScore(round(100 * (2 - 0.11 + 2) / 4, 2), 0.5, found=2, windows=2, false=1)
    loud = np.ones(100)
    assert score([Series("a", loud, [(98, 99)])]) == NabScore(0.0, float("inf"), 0, 1, 0)


def test_a_window_that_is_missed_costs_as_much_as_saying_nothing() -> None:
    both = [Series("a", marked(100, 50), [(50, 59)]), Series("b", marked(100), [(50, 59)])]
    assert score(both, STANDARD, threshold=1.0).score == 50


def test_unknown_scores_are_never_marked() -> None:
    scores = marked(100, 50)
    scores[20] = np.nan
    assert score([Series("a", scores, [(50, 59)])]) == NabScore(100, 1, 1, 1, 0)


def test_without_a_window_there_is_nothing_to_score() -> None:
    with pytest.raises(ValueError, match="no window"):
        score([Series("a", np.zeros(10), [])])


def test_the_gaussian_looks_at_the_values_before() -> None:
    found = windowed_gaussian(np.array([1.0, 3.0, 2.0, 4.0]))  # 1, 3: mean 2, deviation 1
    assert found[0] == 0
    assert found[2] == pytest.approx(0.5)  # on the mean: as likely as not
    assert found[3] == pytest.approx(1 - 0.5 * math.erfc(2 / math.sqrt(2 / 3) / math.sqrt(2)))
    moved_on = windowed_gaussian(np.array([5.0, 5.0, 1.0, 3.0, 2.0]), window=2, step=2)
    assert moved_on[4] == pytest.approx(0.5)  # among 1 and 3


def test_the_changepoint_is_where_the_values_leave_their_level() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 60)
    found = bayesian_changepoint(np.concatenate([noise[:40], 5 + noise[40:]]))
    assert found[40:45].max() > 0.9
    assert found[5:40].max() < 0.5


@pytest.mark.data
def test_the_gaussian_on_real_series(shared_data: Path) -> None:
    series = read_nab(shared_data)
    assert len(series) == 11
    assert sum(len(one.windows) for one in series) == 23
    found = score([Series(one.name, windowed_gaussian(one.values), one.windows) for one in series])
    assert found.score == 57.98  # an independent implementation says 58.0
