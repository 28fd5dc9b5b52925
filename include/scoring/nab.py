"""The scoring of the Numenta Anomaly Benchmark (NAB), by its standard profile.

An anomaly is a window of rows. The first detection in a window counts, the more the earlier (a sigmoid from 1 at the
window's left edge to near 0 at its right); a window without one costs. Each detection outside costs, little just behind
a window and more with the distance. Rows of the probation at a series' beginning do not count. One threshold is chosen
for all series, the best one, as NAB does for every detector. 0 is a detector that says nothing, 100 one that marks
every window at its first row and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

PROBATION: Final = 0.15  # of a series' rows
_MOST_PROBATION: Final = 0.15 * 5000  # rows
_FAR: Final = 3.0  # window's widths behind it


@dataclass(frozen=True, slots=True)
class Profile:
    """What a found window brings at best, a false detection and a missed window cost."""

    found: float
    false: float
    missed: float


STANDARD: Final = Profile(1.0, 0.11, 1.0)


@dataclass(frozen=True, slots=True)
class Series:
    """One series' anomaly scores by row (the higher, the stranger; NaN: nothing to say), and its windows.

    A window is its first and its last row; windows are in order and do not overlap.
    """

    name: str
    scores: Numbers
    windows: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class NabScore:
    """`score` on NAB's scale at `threshold`; how many windows are found there, and how many rows outside are marked."""

    score: float
    threshold: float
    found: int
    windows: int
    false: int


def sigmoid(position: Numbers) -> Numbers:
    """NAB's scaled sigmoid: 0.9866 at -1 (a window's left edge), 0 at 0 (its right), -1 far behind."""
    inside = 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, _FAR))) - 1.0
    return np.asarray(np.where(position >= _FAR, -1.0, inside))


def probation(rows: int) -> int:
    """How many rows at the beginning do not count."""
    return int(min(np.floor(PROBATION * rows), _MOST_PROBATION))


def weigh(rows: int, windows: Sequence[tuple[int, int]], profile: Profile = STANDARD) -> tuple[Numbers, Places]:
    """What a detection at each row is worth, and the number of the window that it lies in (-1: in none)."""
    position = np.full(rows, _FAR)
    inside = np.full(rows, -1)
    place = np.arange(rows)
    for number, (first, last) in enumerate(windows):
        width = last - first + 1
        position[last + 1 :] = (place[last + 1 :] - last) / max(width - 1, 1)
        position[first : last + 1] = (place[first : last + 1] - last - 1) / width
        inside[first : last + 1] = number
    best = float(sigmoid(np.array([-1.0]))[0])
    worth = sigmoid(position)
    return np.where(inside >= 0, worth * profile.found / best, worth * profile.false), inside


def score(series: Sequence[Series], profile: Profile = STANDARD, *, threshold: float | None = None) -> NabScore:
    """The score of all series together, at the best threshold for all of them or at the one given.

    A row is marked whose score is at or above the threshold. Raises ValueError where there is no window.
    """
    windows = sum(len(one.windows) for one in series)
    if not windows:
        raise ValueError("no window in any series: there is nothing to find")
    scores, steps, is_found, is_false = (np.concatenate(parts) for parts in zip(*_parts(series, profile), strict=True))
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    totals = np.cumsum(steps[order]) - profile.missed * windows
    found, false = np.cumsum(is_found[order]), np.cumsum(is_false[order])
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # the last row of each threshold
    ends = ends[np.isfinite(scores[ends])]
    if threshold is not None:
        ends = ends[scores[ends] >= threshold][-1:]
    nothing = -profile.missed * windows
    at = int(ends[np.argmax(totals[ends])]) if ends.size else -1
    if at < 0 or (threshold is None and totals[at] < nothing):
        return NabScore(0.0, float("inf") if threshold is None else threshold, 0, windows, 0)
    scaled = 100 * (totals[at] - nothing) / (profile.found * windows - nothing)
    limit = float(scores[at]) if threshold is None else threshold
    return NabScore(round(float(scaled), 2), limit, int(found[at]), windows, int(false[at]))


def _parts(
    series: Sequence[Series], profile: Profile
) -> list[tuple[Numbers, Numbers, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Per series the scored rows: score, by how much the total changes once it is marked, what it adds to the counts.

    A window's value is that of its earliest marked row: in the order of the scores, what a row adds to the best so far.
    """
    found = []
    for one in series:
        worth, inside = weigh(len(one.scores), one.windows, profile)
        first = probation(len(one.scores))
        scores = np.nan_to_num(one.scores, nan=-np.inf, posinf=np.finfo(np.float64).max)[first:]
        worth, inside = worth[first:], inside[first:]
        steps, opens = np.where(inside >= 0, 0.0, worth), np.zeros(scores.size, dtype=bool)
        for number in range(len(one.windows)):
            rows = np.flatnonzero(inside == number)
            rows = rows[np.argsort(-scores[rows], kind="stable")]
            if rows.size:
                best = np.maximum.accumulate(worth[rows])
                steps[rows] = np.diff(best, prepend=-profile.missed)
                opens[rows[0]] = True
        found.append((scores, steps, opens, inside < 0))
    return found
