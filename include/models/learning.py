"""Training, step by step: one symbol after the other goes in, three models come out. Pure and seeded.

Memory does not grow with the window: of each asset class a fixed number of rows is kept, evenly over symbols and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from include.models.detectors import FARTHEST, Group, Model, Nothing, Outliers, Scorer, Seasonal
from include.models.features import FEATURES, RECENT, Flags, features
from include.models.forest import train_forest
from include.models.seasonal import TO_DEVIATIONS, Baseline, Ints, Numbers, train_symbol
from include.models.trees import train_trees

NAMES: Final = ("isolation_forest", "half_space_trees", "seasonal")
_QUIET: Final = 8.0  # deviations within which every feature of a quiet row stays
_FEWEST: Final = 1_000  # quiet rows that an asset class needs
HALF_SPACE: Final = 8.0  # deviations: the half-space trees cut what lies within
_STRETCHED: Final = 0.05  # share of the forest's rows that are made unusual


class TrainParams(BaseModel):
    """What training takes; part of a model's version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    alarms_per_day: float = Field(0.2, gt=0, le=100, description="quiet minutes above the threshold, a symbol and day")
    rows_per_class: int = Field(300_000, ge=1_000, le=5_000_000, description="rows of an asset class that are kept")
    forest_trees: int = Field(100, ge=1, le=1_000)
    forest_sample: int = Field(256, ge=2, le=100_000)
    half_space_trees: int = Field(50, ge=1, le=1_000)
    half_space_height: int = Field(10, ge=1, le=15)
    half_space_window: int = Field(10_000, ge=10, le=1_000_000)
    half_space_half_life: float = Field(5.0, gt=0, description="windows")


@dataclass(slots=True)
class Learning:
    """What was taken in so far. `symbols_per_class`: how many symbols each asset class will have."""

    params: TrainParams
    buckets: int
    symbols_per_class: Mapping[str, int]
    symbols: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    tables: list[tuple[Numbers, Numbers]] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    kept: dict[str, list[tuple[Ints, Numbers]]] = field(default_factory=dict)

    def take(self, symbol: str, asset_class: str, minutes: Ints, columns: Mapping[str, Numbers]) -> int:
        """Learn from all rows of one symbol, by ascending minutes; returns how many of them are quiet."""
        medians, scales = train_symbol(
            minutes, {"volume": columns["volume"], "volatility": columns["volatility_20"], "spread": columns["spread"]},
            self.buckets,
        )  # fmt: skip
        baseline, of = Baseline((symbol,), medians[None], scales[None]), np.zeros(len(minutes), dtype=np.int64)
        is_first = np.arange(len(minutes)) == 0
        found = features(columns, minutes, is_first, baseline, of)
        quiet = is_quiet(found)
        away = np.fmax(found[quiet, FEATURES.index("volume")], found[quiet, FEATURES.index("volatility")])
        self.symbols.append(symbol)
        self.classes.append(asset_class)
        self.tables.append((medians, scales))
        self.thresholds.append(self._threshold(away[np.isfinite(away)]))
        chosen = np.flatnonzero(quiet)
        room = max(1, self.params.rows_per_class // self.symbols_per_class[asset_class])
        if len(chosen) > room:
            chosen = chosen[np.linspace(0, len(chosen) - 1, room).astype(np.int64)]
        self.kept.setdefault(asset_class, []).append((minutes[chosen], found[chosen].astype(np.float32)))
        return int(quiet.sum())

    def finish(self, name: str) -> Model:
        """The model of that name. Raises ValueError where no asset class has enough quiet rows."""
        medians, scales = (np.array(part) for part in zip(*self.tables, strict=True))
        baseline = Baseline(tuple(self.symbols), medians, scales)
        if name == "seasonal":
            return Seasonal(baseline, np.array(self.thresholds))
        groups = {}
        for asset_class, parts in sorted(self.kept.items()):
            minutes = np.concatenate([part[0] for part in parts])
            rows = np.concatenate([part[1] for part in parts])[np.argsort(minutes, kind="stable")].astype(np.float64)
            if len(rows) >= _FEWEST:
                groups[asset_class] = self._group(name, rows)
        if not groups:
            raise ValueError(f"no asset class has {_FEWEST:,} quiet minutes in the window")
        order = list(groups)
        group_of = np.array([order.index(one) if one in order else -1 for one in self.classes], dtype=np.int64)
        return Outliers(baseline, groups, group_of)

    def _group(self, name: str, rows: Numbers) -> Group:
        ordered = np.sort(rows, axis=0)  # NaN at the end
        median, low, high = (_quantile(ordered, share) for share in (0.5, 0.005, 0.995))
        group = Group(Nothing(), median, low, high, 0.0)
        known, params = group.standard(rows), self.params
        scorer: Scorer
        if name == "isolation_forest":
            scorer = train_forest(
                stretched(known, params.seed), trees=params.forest_trees, sample=params.forest_sample, seed=params.seed
            )
        else:
            unit = np.full(rows.shape[1], HALF_SPACE)
            scorer = train_trees(
                known, np.zeros_like(unit), unit, trees=params.half_space_trees, height=params.half_space_height,
                window=params.half_space_window, half_life=params.half_space_half_life, seed=params.seed,
            )  # fmt: skip
        return replace(group, scorer=scorer, threshold=self._threshold(scorer.score(known)))

    def _threshold(self, scores: Numbers) -> float:
        """What so few of the scores exceed as `alarms_per_day` says."""
        if not scores.size:
            return float("inf")
        return float(np.quantile(scores, 1 - min(self.params.alarms_per_day / 1440, 1.0)))


def stretched(rows: Numbers, seed: int) -> Numbers:
    """Rows in deviations, one in twenty of them with some of its features far out, by chance.

    A forest cuts between the least and the most that it has seen: of quiet rows alone it learns nothing about what lies
    beyond them, and a crash is as unusual to it as the most lively quiet minute.
    """
    random = np.random.default_rng(seed)
    far = random.uniform(_QUIET / 2, FARTHEST, rows.shape)
    is_far = (random.random((len(rows), 1)) < _STRETCHED) & (random.random(rows.shape) < 0.5)
    return np.where(is_far, far, rows)


def is_quiet(found: Numbers) -> Flags:
    """Rows in which, and in `RECENT` rows before which, no feature is more than 8 robust deviations off its median."""
    median = _quantile(np.sort(found, axis=0), 0.5)
    scale = TO_DEVIATIONS * _quantile(np.sort(np.abs(found - median), axis=0), 0.5)
    loud = (np.abs(found - median) > _QUIET * np.where(scale > 0, scale, np.inf)).any(axis=1)
    last = np.maximum.accumulate(np.where(loud, np.arange(len(found)), -RECENT - 1))
    return np.asarray(np.isfinite(found).any(axis=1) & (np.arange(len(found)) - last > RECENT))


def _quantile(ordered: Numbers, share: float) -> Numbers:
    """By column of ordered rows, NaN at the end; 0 where nothing is known."""
    known = np.isfinite(ordered).sum(axis=0)
    place = np.round(share * np.maximum(known - 1, 0)).astype(np.int64)
    return np.where(known > 0, ordered[place, np.arange(ordered.shape[1])], 0.0) if len(ordered) else np.zeros(0)
