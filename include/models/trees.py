"""Half-space trees (Tan, Ting, Liu 2011): random cuts of the space alone; unusual is where little mass was.

The trees are drawn without looking at the data. Training is one pass over the rows in the order of time, in windows:
each window's rows are counted at the nodes they pass, and what was counted before fades. So the profile follows the
market, as the stream of the paper does; what fades there is dropped at once, here it goes by halves. Scoring reads the
profile and changes nothing: the same row and the same model give the same score, whenever it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int32]

_AT_ONCE: Final = 50_000
LIMIT: Final = 0.01  # share of a window's mass below which a walk stops; the paper stops at a tenth
_PADDING: Final = 0.15  # a cut leaves at least this share on either side


@dataclass(frozen=True, slots=True)
class HalfSpaceTrees:
    """Complete binary trees. The children of node n are 2n + 1 (below the cut) and 2n + 2.

    `feature`, `cut`: (trees, 2**height - 1). `mass`: (trees, 2**(height + 1) - 1), of a window of the size `window`.
    `low`, `high`: the range of each feature that is mapped to [0, 1], in which the cuts lie.
    """

    feature: Places
    cut: Numbers
    mass: Numbers
    low: Numbers
    high: Numbers
    window: int

    @property
    def height(self) -> int:
        return int(np.log2(self.mass.shape[1] + 1)) - 1

    def score(self, rows: Numbers) -> Numbers:
        """How unusual each row is, 0 to 1. Every number must be known.

        In each tree a row goes down to the first node with less than `LIMIT` of a window, or to a leaf. The density
        there is d = mass / window * 2 ** depth (1: as if all were spread evenly). The score is the mean of
        (height - log2(d)) / (2 * height), d taken as at least 2 ** -height.
        """
        parts = [self._score(rows[first : first + _AT_ONCE]) for first in range(0, len(rows), _AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _score(self, rows: Numbers) -> Numbers:
        given, each, height = self.scaled(rows), np.arange(len(rows)), self.height
        total = np.zeros(len(rows))
        for feature, cut, mass in zip(self.feature, self.cut, self.mass, strict=True):
            node, depth = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
            for _ in range(height):
                goes_on = mass[node] >= LIMIT * self.window
                if not goes_on.any():
                    break
                at = np.where(goes_on, node, 0)
                node = np.where(goes_on, _next(at, given, each, feature, cut), node)
                depth += goes_on
            total += np.log2(np.maximum(mass[node] / self.window * 2.0**depth, 2.0**-height))
        return np.asarray((height - total / len(self.mass)) / (2 * height))

    def scaled(self, rows: Numbers) -> Numbers:
        return np.asarray((rows - self.low) / (self.high - self.low))


def grow(features: int, *, trees: int, height: int, seed: int) -> tuple[Places, Numbers]:
    """Random cuts of the unit cube: at each node a feature, and a place in what is left of it."""
    random = np.random.default_rng(seed)
    inner = 2**height - 1
    feature = random.integers(0, features, size=(trees, inner)).astype(np.int32)
    where = random.uniform(_PADDING, 1 - _PADDING, size=(trees, inner))
    cut = np.zeros((trees, inner))
    low, high = np.zeros((trees, inner, features)), np.ones((trees, inner, features))
    every = np.arange(trees)
    for node in range(inner):
        of = feature[:, node]
        begin, end = low[every, node, of], high[every, node, of]
        cut[:, node] = begin + where[:, node] * (end - begin)
        for child in (2 * node + 1, 2 * node + 2):
            if child < inner:
                low[:, child], high[:, child] = low[:, node], high[:, node]
                (high if child % 2 else low)[every, child, of] = cut[:, node]
    return feature, cut


def train_trees(
    rows: Numbers, low: Numbers, high: Numbers, *, trees: int = 50, height: int = 10, window: int = 10_000,
    half_life: float = 5.0, seed: int = 0,
) -> HalfSpaceTrees:  # fmt: skip
    """Learn the masses of rows in the order of time; all numbers known. `half_life`: in windows.

    A window that the rows do not fill counts by its share.
    """
    feature, cut = grow(rows.shape[1], trees=trees, height=height, seed=seed)
    mass = np.zeros((trees, 2 ** (height + 1) - 1))
    empty = HalfSpaceTrees(feature, cut, mass, low, high, window)
    total, fade = 0.0, 0.5 ** (1 / half_life)
    for first in range(0, len(rows), window):
        part = rows[first : first + window]
        mass = mass * fade + count(empty, part)
        total = total * fade + len(part)
    return HalfSpaceTrees(feature, cut, mass * (window / max(total, 1.0)), low, high, window)


def count(model: HalfSpaceTrees, rows: Numbers) -> Numbers:
    """How many rows pass each node: (trees, nodes)."""
    given, each = model.scaled(rows), np.arange(len(rows))
    nodes = 2 ** (model.height + 1) - 1
    found: Numbers = np.zeros((len(model.mass), nodes))
    for tree in range(len(found)):
        node = np.zeros(len(rows), dtype=np.int64)
        for depth in range(model.height + 1):
            found[tree] += np.bincount(node, minlength=nodes)
            if depth < model.height:
                node = _next(node, given, each, model.feature[tree], model.cut[tree])
    return found


def _next(
    node: npt.NDArray[np.int64], given: Numbers, each: npt.NDArray[np.int64], feature: Places, cut: Numbers
) -> npt.NDArray[np.int64]:
    return np.asarray(2 * node + 1 + (given[each, feature[node]] >= cut[node]))
