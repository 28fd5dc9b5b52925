"""The rule `source_divergence`: a source that keeps disagreeing with the others about an instrument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from pydantic import Field

from include.detection.rule import Mark, Marks, Params, Rows, Rule
from include.detection.rules import columns as c

_FEW: Final = 3  # with more sources than these, the others' median is not moved by the one that is wrong


class SourceDivergenceParams(Params):
    threshold: float = Field(100.0, gt=0, allow_inf_nan=False, description="basis points, above 0")
    consecutive: int = Field(3, ge=1, le=60, description="candles in a row, 1 to 60")


class SourceDivergence(Rule[SourceDivergenceParams]):
    """A source's close, beyond `threshold` basis points from the median of the others' (`marts.source_divergence`).

    `consecutive` compared closes in a row on the same side; a minute in which the source was not compared neither
    counts nor ends it. Among two or three sources the one that is wrong moves the others' reference too, to the other
    side and less far: only the furthest one counts there; of two that are equally far, the higher.
    """

    name = "source_divergence"
    title = "A source keeps saying another price than the others"
    params = SourceDivergenceParams
    reads = "closes"
    needs = ("close", "divergence", "source_count", "highest", "lowest")

    def history(self, params: SourceDivergenceParams) -> int:
        return params.consecutive - 1

    def find(self, rows: Rows, params: SourceDivergenceParams, models: Mapping[str, Any]) -> Marks:
        apart, limit = rows["divergence"], params.threshold
        is_many = rows["source_count"] > _FEW
        side = c.sides(
            (apart > limit) & (is_many | (apart >= -rows["lowest"])),
            (apart < -limit) & (is_many | (-apart > rows["highest"])),
        )
        run = side.copy()
        for back in range(1, params.consecutive):
            run[c.before(rows, side.astype(np.float64), back) != side] = 0
        wide = np.full(len(rows), limit)
        return Marks(run, apart, wide, {"basis_points": (apart, -wide, wide)})

    def message(self, mark: Mark, params: SourceDivergenceParams) -> str:
        side = "above" if mark.direction == "up" else "below"
        return (
            f"{mark.source} says {c.number(mark.row['close'])}, {abs(mark.value):.0f} basis points {side} the other "
            f"sources (limit {mark.threshold:g})"
        )
