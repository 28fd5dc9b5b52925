"""The models as detection asks them: rows in, a score for each, and which numbers speak for it.

A model knows the symbols that it was trained on. Of any other it says nothing (NaN), as of a row with no known number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from include.models.features import FEATURES, Flags, features
from include.models.seasonal import Baseline, Ints, Numbers, places

_SPEAKERS: Final = 3
_LOUD: Final = 0.5  # of the feature that speaks most
FARTHEST: Final = 20.0  # deviations; beyond it is as far
_WIDTH: Final = 5.15  # deviations of a normal distribution that hold 99 % of it
_RETURNS: Final = 2  # features that are returns: the first
_USUAL: Final = 3.0  # deviations on either side, in the usual range of the seasonal baseline


@dataclass(frozen=True, slots=True)
class Judgement:
    """Score and threshold of each row, NaN where nothing can be said. Unusual is a score above its threshold.

    `measures`: value, and low and high of its usual range, by name; NaN in rows for which it does not speak.
    """

    scores: Numbers
    thresholds: Numbers
    measures: Mapping[str, tuple[Numbers, Numbers, Numbers]] = field(default_factory=dict)

    @property
    def is_unusual(self) -> Flags:
        return np.asarray(self.scores > self.thresholds)  # NaN is not


class Scorer(Protocol):
    """A forest or trees: rows whose numbers are all known, a score from 0 to 1 for each."""

    def score(self, rows: Numbers) -> Numbers: ...


@dataclass(frozen=True, slots=True)
class Group:
    """What was learned of one asset class: the scorer, and its features' medians and usual ranges (99 % of them)."""

    scorer: Scorer
    median: Numbers
    low: Numbers
    high: Numbers
    threshold: float

    def standard(self, rows: Numbers) -> Numbers:
        """Features as deviations for the scorer, from 0 to `FARTHEST`; 0 where not known.

        Returns count either way. Of the others only what is above the median does: calm is not what is looked for.
        """
        scale = np.maximum((self.high - self.low) / _WIDTH, 1e-9)
        away = (rows - self.median) / scale
        away[:, :_RETURNS] = np.abs(away[:, :_RETURNS])
        return np.where(np.isnan(away), 0.0, np.clip(away, 0.0, FARTHEST))


class Nothing:
    """A scorer that has learned nothing yet."""

    def score(self, rows: Numbers) -> Numbers:
        return np.zeros(len(rows))


@dataclass(frozen=True, slots=True)
class Outliers:
    """A scorer per asset class over the features: the isolation forest, and the half-space trees.

    `group_of`: for each symbol of the baseline its place in `groups`, -1: none.
    """

    baseline: Baseline
    groups: Mapping[str, Group]
    group_of: Ints

    def judge(
        self, symbols: Sequence[str], minutes: Ints, is_first: Flags, columns: Mapping[str, Numbers], wanted: Flags,
        threshold: float | None = None,
    ) -> Judgement:  # fmt: skip
        """Judge the wanted ones of rows ordered by series and time; the others are their history.

        `minutes`: since 1970. `threshold`: in place of the model's own.
        """
        of = places(self.baseline.symbols, symbols)
        found = features(columns, minutes, is_first, self.baseline, of)
        return self.judge_rows(np.where(wanted, of, -1), found, threshold)

    def judge_series(self, symbol: str, minutes: Ints, columns: Mapping[str, Numbers]) -> Judgement:
        """The same of one series from its beginning; `minutes` since 1970, ascending."""
        of = places(self.baseline.symbols, [symbol]).repeat(len(minutes))
        return self.judge_rows(of, features(columns, minutes, np.arange(len(minutes)) == 0, self.baseline, of))

    def judge_rows(self, of: Ints, found: Numbers, threshold: float | None = None) -> Judgement:
        """The same of features; `of`: the place of each row's symbol, -1: unknown."""
        scores, thresholds = np.full((2, len(of)), np.nan)
        values, lows, highs = np.full((3, len(of), len(FEATURES)), np.nan)
        group_of = np.where(of >= 0, self.group_of[np.maximum(of, 0)], -1) if self.group_of.size else of
        for number, group in enumerate(self.groups.values()):
            rows = np.flatnonzero((group_of == number) & np.isfinite(found).any(axis=1))
            known = group.standard(found[rows])
            scores[rows] = group.scorer.score(known)
            thresholds[rows] = group.threshold if threshold is None else threshold
            above = np.flatnonzero(scores[rows] > thresholds[rows])
            loud = _speakers(group, known[above], scores[rows][above]) & np.isfinite(found[rows[above]])
            values[rows[above]] = np.where(loud, found[rows[above]], np.nan)
            lows[rows], highs[rows] = group.low, group.high
        measures = {name: (values[:, n], lows[:, n], highs[:, n]) for n, name in enumerate(FEATURES)}
        return Judgement(scores, thresholds, measures)


def _speakers(group: Group, rows: Numbers, scores: Numbers) -> Flags:
    """Which features make each row unusual: those without which (its median in its place) the score falls most."""
    falls = np.zeros(rows.shape)
    for feature in range(rows.shape[1]):
        without = rows.copy()
        without[:, feature] = 0.0
        falls[:, feature] = scores - group.scorer.score(without)
    most = falls.max(axis=1, keepdims=True, initial=0.0)
    rank = np.argsort(np.argsort(-falls, axis=1, kind="stable"), axis=1)
    return np.asarray((falls > 0) & (falls >= _LOUD * most) & (rank < _SPEAKERS))


@dataclass(frozen=True, slots=True)
class Seasonal:
    """The baseline of each symbol; its score is by how many robust deviations volume or volatility is above its usual.

    `thresholds`: by symbol.
    """

    baseline: Baseline
    thresholds: Numbers

    def judge(
        self, symbols: Sequence[str], minutes: Ints, is_first: Flags, columns: Mapping[str, Numbers], wanted: Flags,
        threshold: float | None = None,
    ) -> Judgement:  # fmt: skip
        """Judge the wanted rows, each by itself; `minutes` since 1970, `threshold` in place of the model's own."""
        of = np.where(wanted, places(self.baseline.symbols, symbols), -1)
        return self.judge_columns(of, minutes, columns, threshold)

    def judge_series(self, symbol: str, minutes: Ints, columns: Mapping[str, Numbers]) -> Judgement:
        """The same of one series; `minutes` since 1970."""
        return self.judge_columns(places(self.baseline.symbols, [symbol]).repeat(len(minutes)), minutes, columns)

    def judge_columns(
        self, of: Ints, minutes: Ints, columns: Mapping[str, Numbers], threshold: float | None = None
    ) -> Judgement:
        """The same; `of`: the place of each row's symbol, -1: unknown; `minutes` since 1970."""
        scores: Numbers = np.full(len(of), np.nan)
        thresholds: Numbers = np.full(len(of), np.nan)
        known = of >= 0
        thresholds[known] = self.thresholds[of[known]] if threshold is None else threshold
        measures = {}
        for quantity, column in (("volume", "volume"), ("volatility", "volatility_20")):
            away = self.baseline.deviations(quantity, of, minutes, columns[column])
            scores = np.fmax(scores, away)
            measures[quantity] = (
                np.where(away > thresholds, columns[column], np.nan),
                self.baseline.usual(quantity, of, minutes, -_USUAL),
                self.baseline.usual(quantity, of, minutes, _USUAL),
            )
        return Judgement(scores, thresholds, measures)


Model = Outliers | Seasonal
