"""Isolation forest (Liu, Ting, Zhou 2008): what a few random cuts set apart from the rest is unusual.

Trained by scikit-learn; kept and scored as arrays, so that scoring imports numpy alone. The score of a row is
2 ** -(mean path length / c(sample size)), from 0 to 1: scikit-learn's `score_samples` with the sign turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int32]

_AT_ONCE: Final = 20_000  # rows scored together; with 100 trees, 16 MB for each array of that shape
_EULER: Final = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees as arrays of the shape (trees, nodes). At a leaf both children are the leaf itself.

    `length`: how long the path to a leaf counts, its unseen rest included; 0 at other nodes.
    """

    feature: Places
    threshold: Numbers
    left: Places
    right: Places
    length: Numbers
    sample: int
    depth: int

    def score(self, rows: Numbers) -> Numbers:
        """How unusual each row is, 0 to 1. Every number must be known."""
        parts = [self._score(rows[first : first + _AT_ONCE]) for first in range(0, len(rows), _AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _score(self, rows: Numbers) -> Numbers:
        given = np.clip(rows, -1e30, 1e30).astype(np.float32).astype(np.float64)  # as scikit-learn compares
        each = np.arange(len(rows))
        total = np.zeros(len(rows))
        for feature, threshold, left, right, length in zip(
            self.feature, self.threshold, self.left, self.right, self.length, strict=True
        ):
            node = np.zeros(len(rows), dtype=np.int32)
            for _ in range(self.depth):
                goes_left = given[each, feature[node]] <= threshold[node]
                node = np.where(goes_left, left[node], right[node])
            total += length[node]
        return np.asarray(2.0 ** (-total / (len(self.feature) * float(_average_path(np.array([self.sample]))[0]))))


def train_forest(rows: Numbers, *, trees: int = 100, sample: int = 256, seed: int = 0) -> Forest:
    """Grow a forest on rows whose numbers are all known; at least 2 of them."""
    from sklearn.ensemble import IsolationForest

    model = IsolationForest(n_estimators=trees, max_samples=min(sample, len(rows)), random_state=seed, n_jobs=1)
    model.fit(rows.astype(np.float32))
    grown = [one.tree_ for one in model.estimators_]
    most = max(one.node_count for one in grown)
    shape = (len(grown), most)
    feature, left, right = (np.zeros(shape, dtype=np.int32) for _ in range(3))
    threshold, length = np.zeros(shape), np.zeros(shape)
    for number, tree in enumerate(grown):
        many = tree.node_count
        itself = np.arange(many, dtype=np.int32)
        is_leaf = tree.children_left < 0
        feature[number, :many] = np.where(is_leaf, 0, tree.feature)
        threshold[number, :many] = np.where(is_leaf, 0.0, tree.threshold)
        left[number, :many] = np.where(is_leaf, itself, tree.children_left)
        right[number, :many] = np.where(is_leaf, itself, tree.children_right)
        passed = _depths(tree.children_left, tree.children_right)
        length[number, :many] = np.where(is_leaf, passed + _average_path(tree.n_node_samples), 0.0)
    return Forest(feature, threshold, left, right, length, int(model.max_samples_), max(one.max_depth for one in grown))


def _depths(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> Numbers:
    """How many cuts lead to each node; a node comes before its children."""
    found = np.zeros(len(left))
    for node in range(len(left)):
        if left[node] >= 0:
            found[[left[node], right[node]]] = found[node] + 1
    return found


def _average_path(many: npt.NDArray[np.int64]) -> Numbers:
    """c(n): the mean path length of a search that fails in a binary tree of n rows."""
    n = many.astype(np.float64)
    rest = np.maximum(n, 2) - 1
    usual = 2.0 * (np.log(rest) + _EULER) - 2.0 * rest / np.maximum(n, 1)
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, usual))
