"""The rules that come with the platform, a module for each family."""

from __future__ import annotations

from typing import Any, Final

from include.detection.rule import Rule
from include.detection.rules import bands, crosses, feed, models, moves, portfolio, sources, spread, volume

BUILT_IN: Final[tuple[type[Rule[Any]], ...]] = (
    moves.Change, moves.Move, bands.Zscore, bands.RobustZscore, bands.RangeBreak, bands.VwapDeviation,
    bands.BollingerBreak, bands.BollingerSqueeze, moves.FatFinger, volume.VolumeShock, volume.VolatilityRegime,
    spread.SpreadBlowout, feed.FrozenFeed, feed.MissingData, sources.SourceDivergence,
    crosses.SmaCross, crosses.EmaCross, crosses.MacdCross, crosses.RsiExtreme,
    portfolio.PortfolioDrawdown, portfolio.PortfolioVar,
    models.IsolationForest, models.HalfSpaceTrees, models.Seasonal,
)  # fmt: skip
