"""Half-space trees: masses as river counts them, densities as one works them out by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest

from include.models.trees import HalfSpaceTrees, count, grow, train_trees

UNIT = np.zeros(2), np.ones(2)


def test_masses_are_those_of_river_in_the_same_trees() -> None:
    from river.anomaly import HalfSpaceTrees as Theirs

    draw = random.Random(3)
    rows = np.array([[draw.random(), draw.gauss(0.5, 0.1)] for _ in range(100)])
    theirs = Theirs(n_trees=3, height=4, window_size=100, seed=7)
    for first, second in rows.tolist():
        theirs.learn_one({0: first, 1: second})
    feature, cut, mass = np.zeros((3, 15), dtype=np.int32), np.zeros((3, 15)), np.zeros((3, 31))
    for number, root in enumerate(theirs.trees):
        nodes = [(0, root)]
        while nodes:
            place, node = nodes.pop()
            mass[number, place] = node.r_mass
            if place < 15:
                feature[number, place], cut[number, place] = node.feature, node.threshold
                nodes += [(2 * place + 1 + side, child) for side, child in enumerate(node.children)]
    ours = count(HalfSpaceTrees(feature, cut, np.zeros((3, 31)), *UNIT, 100), rows)
    assert ours.tolist() == mass.tolist()
    assert mass[:, 0].tolist() == [100] * 3


def test_the_score_is_low_where_mass_is_and_1_where_none_is() -> None:
    # One cut of the first feature in the middle, then one of the second on either side; 8 of 10 rows lie low and low.
    mass = np.array([[10.0, 8, 2, 8, 0, 0, 2]])
    model = HalfSpaceTrees(np.array([[0, 1, 1]], dtype=np.int32), np.full((1, 3), 0.5), mass, *UNIT, 10)
    scores = model.score(np.array([[0.1, 0.1], [0.1, 0.9], [0.9, 0.9]]))
    # densities: 8/10 * 4, none (so 2**-2), 2/10 * 4
    assert scores.tolist() == pytest.approx([(2 - np.log2(3.2)) / 4, (2 + 2) / 4, (2 - np.log2(0.8)) / 4])


def test_what_was_learned_last_counts_most() -> None:
    before, after = np.full((100, 2), 0.2), np.full((100, 2), 0.8)
    model = train_trees(
        np.concatenate([before, after]), *UNIT, trees=20, height=5, window=100, half_life=1.0, seed=0
    )  # fmt: skip
    old, new, never = model.score(np.array([[0.2, 0.2], [0.8, 0.8], [0.05, 0.95]]))
    assert new < old < never
    again = train_trees(np.concatenate([before, after]), *UNIT, trees=20, height=5, window=100, half_life=1.0, seed=0)
    assert again.mass.tolist() == model.mass.tolist()


def test_cuts_lie_inside_what_is_left_of_the_cube() -> None:
    feature, cut = grow(1, trees=50, height=3, seed=0)
    assert not feature.any()
    root, low, high = cut[:, 0], cut[:, 1], cut[:, 2]
    assert ((low > 0) & (low < root) & (root < high) & (high < 1)).all()
