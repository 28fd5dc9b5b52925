"""Rules on how far a price lies from its own mean, band or range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from pydantic import Field

from include.alerts import Severity
from include.detection.rule import Mark, Marks, Params, Rows, Rule
from include.detection.rules import columns as c

_ENOUGH: Final = 60  # candles that make a range, however long the window


def _side(mark: Mark) -> str:
    return "above" if mark.direction == "up" else "below"


class ZscoreParams(Params):
    threshold: float = Field(3.8, gt=0, allow_inf_nan=False, description="standard deviations, above 0")


class Zscore(Rule[ZscoreParams]):
    """(close - mean) / standard deviation of the last 20 closes (`marts.indicators_1m.zscore`), beyond `threshold`."""

    name = "zscore"
    title = "The close is many standard deviations from its rolling mean"
    params = ZscoreParams
    needs = ("close", "zscore", "rolling_mean", "rolling_std")

    def find(self, rows: Rows, params: ZscoreParams, models: Mapping[str, Any]) -> Marks:
        mean, wide = rows["rolling_mean"], params.threshold * rows["rolling_std"]
        return Marks(
            c.outside(rows["zscore"], params.threshold),
            rows["zscore"],
            np.full(len(rows), params.threshold),
            {"close": (rows["close"], mean - wide, mean + wide)},
        )

    def message(self, mark: Mark, params: ZscoreParams) -> str:
        return (
            f"{c.number(mark.row['close'])} is {abs(mark.value):.1f} standard deviations {_side(mark)} its mean "
            f"(limit {mark.threshold:g})"
        )


class RobustZscoreParams(Params):
    threshold: float = Field(12.0, gt=0, allow_inf_nan=False, description="robust standard deviations, above 0")
    window: int = Field(60, ge=5, description="closes before this one, 5 or more")
    floor: float = Field(
        0.02, ge=0, le=10, description="percent of the price that a standard deviation is at least, 0 to 10"
    )


class RobustZscore(Rule[RobustZscoreParams]):
    """(close - median) / (1.4826 * median absolute deviation) of the `window` closes before, beyond `threshold`."""

    name = "robust_zscore"
    title = "The close is far from the median of the closes before, in median absolute deviations"
    params = RobustZscoreParams
    needs = ("close",)

    def history(self, params: RobustZscoreParams) -> int:
        return params.window

    def find(self, rows: Rows, params: RobustZscoreParams, models: Mapping[str, Any]) -> Marks:
        at, close = c.judged(rows), rows["close"]
        closes = c.last(rows, close, at, params.window)
        middle = c.median(closes, params.window // 2)
        wide = np.maximum(c.spread_of(closes, middle), params.floor / 100 * np.abs(middle))
        with np.errstate(divide="ignore", invalid="ignore"):
            score = (close[at] - middle) / wide
        limit = params.threshold * wide
        return c.marks_at(
            rows, at, c.outside(score, params.threshold), score, params.threshold,
            close=(close[at], middle - limit, middle + limit),
        )  # fmt: skip

    def message(self, mark: Mark, params: RobustZscoreParams) -> str:
        return (
            f"{c.number(mark.row['close'])} is {abs(mark.value):.1f} robust standard deviations {_side(mark)} the "
            f"median of {params.window} closes (limit {mark.threshold:g})"
        )


class BollingerBreakParams(Params):
    enabled: bool = False
    severity: Severity = "info"
    margin: float = Field(0.25, ge=0, le=5, description="how far outside, as a share of the bands' distance, 0 to 5")


class BollingerBreak(Rule[BollingerBreakParams]):
    """`bollinger_percent_b` above 1 + `margin` or below -`margin` (0: the lower band, 1: the upper one).

    Off as shipped: a price that moves at all leaves its bands several times a day.
    """

    name = "bollinger_break"
    title = "The close is outside of its Bollinger bands"
    params = BollingerBreakParams
    needs = ("close", "bollinger_percent_b", "bollinger_lower", "bollinger_upper")

    def find(self, rows: Rows, params: BollingerBreakParams, models: Mapping[str, Any]) -> Marks:
        share, lower, upper = rows["bollinger_percent_b"], rows["bollinger_lower"], rows["bollinger_upper"]
        found = c.sides(share > 1 + params.margin, share < -params.margin)
        limit = np.where(found < 0, -params.margin, 1 + params.margin)
        return Marks(found, share, limit, {"close": (rows["close"], lower, upper)})

    def message(self, mark: Mark, params: BollingerBreakParams) -> str:
        band = mark.row["bollinger_upper" if mark.direction == "up" else "bollinger_lower"]
        return f"{c.number(mark.row['close'])} is {_side(mark)} its Bollinger band ({c.number(band)})"


class BollingerSqueezeParams(Params):
    severity: Severity = "info"
    threshold: float = Field(0.15, gt=0, lt=1, description="share of the usual width, between 0 and 1")
    window: int = Field(60, ge=5, description="widths before this one, 5 or more")


class BollingerSqueeze(Rule[BollingerSqueezeParams]):
    """`bollinger_width` below `threshold` times the median of the `window` widths before."""

    name = "bollinger_squeeze"
    title = "The Bollinger bands are far narrower than usual"
    params = BollingerSqueezeParams
    needs = ("close", "bollinger_width")
    directions = ("", "")

    def history(self, params: BollingerSqueezeParams) -> int:
        return params.window

    def find(self, rows: Rows, params: BollingerSqueezeParams, models: Mapping[str, Any]) -> Marks:
        at, width = c.judged(rows), rows["bollinger_width"]
        usual = c.median(c.last(rows, width, at, params.window), params.window // 2)
        limit = params.threshold * usual
        return c.marks_at(
            rows, at, c.sides((width[at] < limit) & (width[at] > 0)), width[at], limit, width=(width[at], limit, None)
        )

    def message(self, mark: Mark, params: BollingerSqueezeParams) -> str:
        return (
            f"Bollinger bands are {mark.value * 100:.3g} % of the price apart, less than "
            f"{params.threshold:.0%} of their usual width"
        )


class VwapDeviationParams(Params):
    severity: Severity = "info"
    threshold: float = Field(5.0, gt=0, allow_inf_nan=False, description="percent, above 0")


class VwapDeviation(Rule[VwapDeviationParams]):
    """(close / vwap_session - 1) in percent, beyond `threshold`."""

    name = "vwap_deviation"
    title = "The close is far from the session's volume-weighted price"
    params = VwapDeviationParams
    needs = ("close", "vwap_session")

    def find(self, rows: Rows, params: VwapDeviationParams, models: Mapping[str, Any]) -> Marks:
        close, vwap = rows["close"], rows["vwap_session"]
        with np.errstate(divide="ignore", invalid="ignore"):
            percent = (close / np.where(vwap > 0, vwap, np.nan) - 1) * 100
        share = params.threshold / 100
        return Marks(
            c.outside(percent, params.threshold),
            percent,
            np.full(len(rows), params.threshold),
            {"close": (close, vwap * (1 - share), vwap * (1 + share))},
        )

    def message(self, mark: Mark, params: VwapDeviationParams) -> str:
        return (
            f"{c.number(mark.row['close'])} is {abs(mark.value):.1f} % {_side(mark)} the session's VWAP "
            f"{c.number(mark.row['vwap_session'])} (limit {mark.threshold:g} %)"
        )


class RangeBreakParams(Params):
    threshold: float = Field(
        1.5, gt=0, allow_inf_nan=False, description="times the range of the candles before, outside of it; above 0"
    )
    window: int = Field(60, ge=5, description="candles before this one, 5 or more")
    floor: float = Field(0.2, ge=0, le=100, description="percent of the price that a range is at least, 0 to 100")


class RangeBreak(Rule[RangeBreakParams]):
    """How far the close lies outside of the lows and highs of the `window` candles before, in widths of that range."""

    name = "range_break"
    title = "The close is far outside of the range of the candles before"
    params = RangeBreakParams
    needs = ("close", "high", "low")

    def history(self, params: RangeBreakParams) -> int:
        return params.window

    def find(self, rows: Rows, params: RangeBreakParams, models: Mapping[str, Any]) -> Marks:
        at = c.judged(rows)
        highs, lows = (c.last(rows, rows[name], at, params.window) for name in ("high", "low"))
        enough = np.count_nonzero(~np.isnan(highs), axis=1) >= min(params.window // 2, _ENOUGH)
        high = np.where(enough, np.fmax.reduce(highs, axis=1, initial=-np.inf), np.nan)
        low = np.where(enough, np.fmin.reduce(lows, axis=1, initial=np.inf), np.nan)
        close = rows["close"][at]
        width = np.maximum(high - low, params.floor / 100 * np.abs(close))
        with np.errstate(divide="ignore", invalid="ignore"):
            beyond = (np.maximum(close - high, 0) + np.minimum(close - low, 0)) / width
        return c.marks_at(
            rows, at, c.outside(beyond, params.threshold), beyond, params.threshold, close=(close, low, high)
        )

    def message(self, mark: Mark, params: RangeBreakParams) -> str:
        _, low, high = mark.measures["close"]
        return (
            f"{c.number(mark.row['close'])} is {abs(mark.value):.1f} ranges {_side(mark)} the last {params.window} "
            f"candles ({c.number(low or 0)} to {c.number(high or 0)})"
        )
