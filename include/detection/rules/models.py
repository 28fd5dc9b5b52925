"""The rules that ask a trained model. Until one is trained and approved they are silent (docs/models.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import exp
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import Field

from include.alerts import Severity
from include.detection.rule import Mark, Marks, Params, Rows, Rule

HISTORY: Final = 20  # rows that the models' features look back at


def _deviations(what: str) -> Callable[[float], str]:
    return lambda value: f"{what} {value:+.1f} deviations from its usual"


_SAID: Final[Mapping[str, Callable[[float], str]]] = {
    "return_1m": lambda value: f"price moved by {value:+.1f} deviations in 1 minute",
    "return_5m": lambda value: f"price moved by {value:+.1f} deviations in 5 minutes",
    "volume": _deviations("volume"),
    "volume_change": lambda value: f"volume {exp(min(value, 100.0)):,.1f} times that of the 20 minutes before",
    "spread": _deviations("spread"),
    "volatility": _deviations("volatility"),
}


class OutlierParams(Params):
    threshold: float | None = Field(
        None, gt=0, lt=1, description="score above which a candle is unusual, 0 to 1; null: the model's own"
    )


class SeasonalParams(Params):
    severity: Severity = "info"
    threshold: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="deviations above the usual of this time; null: the model's own"
    )


class _ModelRule(Rule[Any]):
    """What the three have in common: the model of the rule's own name judges the new rows."""

    directions: ClassVar[tuple[str, str]] = ("", "")  # unusual has no side

    def models(self, params: Any) -> tuple[str, ...]:
        return (self.name,)

    def find(self, rows: Rows, params: Any, models: Mapping[str, Any]) -> Marks:
        model = models.get(self.name)
        if model is None:
            nothing = np.full(len(rows), np.nan)
            return Marks(np.zeros(len(rows), dtype=np.int8), nothing, nothing)
        said = model.judge(rows.symbol, rows.minutes, rows.is_first, rows.columns, rows.is_new, params.threshold)
        return Marks(said.is_unusual.astype(np.int8), said.scores, said.thresholds, said.measures)


class _Outlier(_ModelRule):
    params = OutlierParams
    needs = ("close", "volume", "volatility_20", "spread")

    def history(self, params: OutlierParams) -> int:
        return HISTORY

    def message(self, mark: Mark, params: OutlierParams) -> str:
        known = {name: value for name, (value, _, _) in mark.measures.items() if value is not None}
        spoken = "; ".join(_SAID[name](value) for name, value in known.items()) or "all together"
        return f"unusual: {spoken} (score {mark.value:.3f}, limit {mark.threshold:.3f})"


class IsolationForest(_Outlier):
    """Returns, volume, spread and volatility of the minute, against a forest of random cuts of quiet minutes."""

    name = "isolation_forest"
    title = "Return, volume, spread and volatility together are unlike quiet minutes (trained model)"


class HalfSpaceTrees(_Outlier):
    """The same numbers, against how many minutes of the last weeks were alike, the latest counting most."""

    name = "half_space_trees"
    title = "Return, volume, spread and volatility are where hardly a minute of late was (trained model)"


class Seasonal(_ModelRule):
    """Volume or volatility far above the instrument's own usual at this time of the week."""

    name = "seasonal"
    title = "Volume or volatility is far above its usual at this time of the week (trained model)"
    params = SeasonalParams
    needs = ("close", "volume", "volatility_20")

    def message(self, mark: Mark, params: SeasonalParams) -> str:
        spoken = [
            f"{name} {value:,.6g}, usually {low or 0:,.6g} to {high or 0:,.6g} at this time"
            for name, (value, low, high) in mark.measures.items()
            if value is not None
        ]
        return f"{'; '.join(spoken)} ({mark.value:.1f} deviations, limit {mark.threshold:.1f})"
