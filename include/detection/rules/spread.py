"""The rule on the distance of bid and ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from include.detection.rule import Mark, Marks, Params, Rows, Rule
from include.detection.rules import columns as c


class SpreadBlowoutParams(Params):
    threshold: float = Field(3.5, gt=1, allow_inf_nan=False, description="times the usual spread, above 1")
    least: float = Field(2.0, ge=0, allow_inf_nan=False, description="basis points that it is at least, 0 or more")
    minutes: int = Field(30, ge=5, description="what the usual spread is told from, in minutes, 5 or more")


class SpreadBlowout(Rule[SpreadBlowoutParams]):
    """The minute's median spread, more than `threshold` times the median of the `minutes` before.

    The spread is (ask - bid) / mid in basis points, of the quotes of the candle's source.
    """

    name = "spread_blowout"
    title = "Bid and ask are many times further apart than usual"
    params = SpreadBlowoutParams
    needs = ("close", "spread")

    def history(self, params: SpreadBlowoutParams) -> int:
        return params.minutes

    def find(self, rows: Rows, params: SpreadBlowoutParams, models: Mapping[str, Any]) -> Marks:
        at, minute = c.judged(rows), rows.minutes.astype(np.float64)
        age = minute[at][:, None] - c.last(rows, minute, at, params.minutes)
        spreads = np.where(age <= params.minutes, c.last(rows, rows["spread"], at, params.minutes), np.nan)
        usual, now = c.median(spreads, params.minutes // 3), rows["spread"][at]
        limit = params.threshold * usual
        return c.marks_at(
            rows, at, c.sides((now > limit) & (now >= params.least) & (usual > 0)), now, limit,
            spread=(now, usual * 0, limit),
        )  # fmt: skip

    def message(self, mark: Mark, params: SpreadBlowoutParams) -> str:
        usual = mark.threshold / params.threshold
        return (
            f"bid and ask are {mark.value:.1f} basis points apart, usually {usual:.1f} "
            f"(limit {params.threshold:g} times)"
        )
