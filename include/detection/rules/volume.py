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
    threshold: float = Field(6.0, gt=1, allow_inf_nan=False, description="times the usual volume, above 1")
    deviations: float = Field(
        3.5,
        ge=0,
        allow_inf_nan=False,
        description="robust standard deviations of log volume above the usual, 0 or more",
    )
    lasting: int = Field(2, ge=1, le=60, description="candles in a row that have it, 1 to 60")
    window: int = Field(20, ge=10, description="candles before them, which say what is usual; 10 or more")


class VolumeShock(Rule[VolumeShockParams]):
    """The volume of a minute, more than `threshold` times the median of the usual ones, `lasting` times in a row.

    The usual ones are those of the `window` candles before. Where volumes vary more, the limit is higher: `deviations`
    robust standard deviations of their logarithms above the median. What came after minutes without a candle, or
    without any volume, was traded in all of them: it counts as their mean.
    """

    name = "volume_shock"
    title = "Many times the usual volume"
    params = VolumeShockParams
    needs = ("close", "volume")

    def history(self, params: VolumeShockParams) -> int:
        return params.window + params.lasting

    def find(self, rows: Rows, params: VolumeShockParams, models: Mapping[str, Any]) -> Marks:
        at, minute, volume = c.judged(rows), rows.minutes.astype(np.float64), rows["volume"]
        there = np.where(volume > 0, volume, np.nan)
        usual = c.median(c.last(rows, there, at, params.window, skip=params.lasting), params.window // 2)
        times = c.last(rows, np.where(volume > 0, minute, np.nan), at, params.window + params.lasting)
        least = np.full(len(at), np.inf)
        for back in range(params.lasting):
            before = np.fmax.reduce(times[:, : times.shape[1] - back], axis=1)  # the last one with volume
            now = c.last(rows, there, at, 1, skip=back)[:, 0]
            long = c.last(rows, minute, at, 1, skip=back)[:, 0] - before
            least = np.minimum(least, now / np.maximum(long, 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(c.last(rows, there, at, params.window, skip=params.lasting))
            wild = np.exp(params.deviations * c.spread_of(logs, np.log(usual)))
        limit = np.maximum(params.threshold, wild) * usual
        found = c.sides((least > limit) & (usual > 0))
        return c.marks_at(
            rows, at, found, least, limit, volume=(least, usual * 0, limit), usual_volume=(usual, None, None)
        )

    def message(self, mark: Mark, params: VolumeShockParams) -> str:
        usual = mark.measures["usual_volume"][0] or np.nan
        return (
            f"volume is {mark.value / usual:.1f} times the usual of a minute (limit {mark.threshold / usual:.1f} times)"
        )


class VolatilityRegimeParams(Params):
    severity: Severity = "info"
    threshold: float = Field(5.0, gt=1, allow_inf_nan=False, description="times the volatility before, above 1")
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
