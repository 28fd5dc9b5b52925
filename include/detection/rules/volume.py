"""Rules on volume and on how much prices move about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from include.alerts import Severity
from include.detection.rule import Mark, Marks, Params, Rows, Rule
from include.detection.rules import columns as c


class VolumeShockParams(Params):
    threshold: float = Field(7.0, gt=1, allow_inf_nan=False, description="times the usual volume, above 1")
    window: int = Field(60, ge=10, description="candles before this one, 10 or more")


class VolumeShock(Rule[VolumeShockParams]):
    """The volume of a minute, more than `threshold` times the median of those of the `window` candles before.

    What came after minutes without a candle, or without any volume, was traded in all of them: it counts as their mean.
    """

    name = "volume_shock"
    title = "Many times the usual volume"
    params = VolumeShockParams
    needs = ("close", "volume")
    directions = ("up", "down")

    def history(self, params: VolumeShockParams) -> int:
        return params.window

    def find(self, rows: Rows, params: VolumeShockParams, models: Mapping[str, Any]) -> Marks:
        at, minute = c.judged(rows), rows.minutes.astype(np.float64)
        volumes = c.last(rows, rows["volume"], at, params.window)
        times = c.last(rows, np.where(rows["volume"] > 0, minute, np.nan), at, params.window)
        since = np.maximum(minute[at] - np.fmax.reduce(times, axis=1), 1)  # the last one with volume
        usual = c.median(np.where(volumes > 0, volumes, np.nan), params.window // 2)
        mean = rows["volume"][at] / since
        limit = params.threshold * usual
        return c.marks_at(rows, at, c.sides((mean > limit) & (usual > 0)), mean, limit, volume=(mean, usual * 0, limit))

    def message(self, mark: Mark, params: VolumeShockParams) -> str:
        times = mark.value / mark.threshold * params.threshold
        return f"volume is {times:.1f} times the usual of a minute (limit {params.threshold:g})"


class VolatilityRegimeParams(Params):
    severity: Severity = "info"
    threshold: float = Field(4.0, gt=1, allow_inf_nan=False, description="times the volatility before, above 1")
    window: int = Field(20, ge=5, description="returns in a volatility, 5 or more")
    cooldown_minutes: int = Field(
        60, ge=1, le=1440, description="findings no further apart than this belong to one alert; minutes, 1 to 1440"
    )


class VolatilityRegime(Rule[VolatilityRegimeParams]):
    """The median absolute return of the last `window` candles against that of twice as many before them.

    More than `threshold` times: up; less than one part in `threshold`: down. Medians, so that it is the usual move that
    changed and not one candle.
    """

    name = "volatility_regime"
    title = "Prices move about far more, or far less, than they did"
    params = VolatilityRegimeParams
    needs = ("close", "return")

    def history(self, params: VolatilityRegimeParams) -> int:
        return 3 * params.window

    def find(self, rows: Rows, params: VolatilityRegimeParams, models: Mapping[str, Any]) -> Marks:
        at, n = c.judged(rows), params.window
        moves = np.abs(rows["return"]) * 1e4
        now = c.SIGMA * c.median(c.last(rows, moves, at, n, skip=0), n)
        then = c.SIGMA * c.median(c.last(rows, moves, at, 2 * n, skip=n), n)
        with np.errstate(divide="ignore", invalid="ignore"):
            times = now / np.where(then > 0, then, np.nan)
        found = c.sides(times > params.threshold, (times < 1 / params.threshold) & (now > 0))
        limit = np.where(found < 0, 1 / params.threshold, params.threshold)
        return c.marks_at(
            rows, at, found, times, limit, volatility=(now, then / params.threshold, then * params.threshold)
        )

    def message(self, mark: Mark, params: VolatilityRegimeParams) -> str:
        times = mark.value if mark.direction == "up" else 1 / mark.value
        how = "more" if mark.direction == "up" else "less"
        return f"prices move about {times:.1f} times {how} than before (limit {params.threshold:g})"
