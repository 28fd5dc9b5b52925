"""Rules on what a portfolio is worth, minute by minute: today's shares at the last closes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from include.detection.rule import Mark, Marks, Params, Rows, Rule
from include.detection.rules import columns as c


class DrawdownParams(Params):
    threshold: float = Field(5.0, gt=0, lt=100, description="percent below the highest value, between 0 and 100")
    minutes: int = Field(1440, ge=10, description="since when the highest value counts, in minutes, 10 or more")
    cooldown_minutes: int = Field(
        240, ge=1, le=1440, description="findings no further apart than this belong to one alert; minutes, 1 to 1440"
    )


class PortfolioDrawdown(Rule[DrawdownParams]):
    """A portfolio's value, more than `threshold` percent below its highest of the last `minutes`."""

    name = "portfolio_drawdown"
    title = "A portfolio lost some percent since its highest value"
    params = DrawdownParams
    reads = "portfolios"
    needs = ("value",)

    def history(self, params: DrawdownParams) -> int:
        return params.minutes

    def find(self, rows: Rows, params: DrawdownParams, models: Mapping[str, Any]) -> Marks:
        at, minute = c.judged(rows), rows.minutes.astype(np.float64)
        high = np.empty(len(at))
        for some in np.array_split(np.arange(len(at)), -(-len(at) // 1000) or 1):  # a day's minutes for each
            age = minute[at[some]][:, None] - c.last(rows, minute, at[some], params.minutes, skip=0)
            values = c.last(rows, rows["value"], at[some], params.minutes, skip=0)
            high[some] = np.fmax.reduce(np.where(age <= params.minutes, values, np.nan), axis=1)
        value = rows["value"][at]
        with np.errstate(divide="ignore", invalid="ignore"):
            percent = (value / np.where(high > 0, high, np.nan) - 1) * 100
        found = c.sides(np.zeros(len(at), dtype=bool), percent < -params.threshold)
        return c.marks_at(
            rows, at, found, percent, -params.threshold, value=(value, high * (1 - params.threshold / 100), high)
        )

    def message(self, mark: Mark, params: DrawdownParams) -> str:
        high = mark.measures["value"][2] or 0
        return (
            f"worth {c.number(mark.row['value'])}, {abs(mark.value):.1f} % below its highest value {c.number(high)} "
            f"(limit {params.threshold:g} %)"
        )


class VarParams(Params):
    confidence: Literal[95, 99] = Field(99, description="percent of the days on which less is lost, 95 or 99")
    threshold: float = Field(1.0, gt=0, allow_inf_nan=False, description="times the value at risk, above 0")
    cooldown_minutes: int = Field(
        240, ge=1, le=1440, description="findings no further apart than this belong to one alert; minutes, 1 to 1440"
    )


class PortfolioVar(Rule[VarParams]):
    """What a portfolio lost since the end of the day before, more than `threshold` times its value at risk of a day.

    The value at risk is historical: the loss that the portfolio's daily returns before that day (up to 250, at least
    20) stayed below in `confidence` percent of the days.
    """

    name = "portfolio_var"
    title = "A portfolio lost more in a day than its value at risk"
    params = VarParams
    reads = "portfolios"
    needs = ("value", "day_value", "var_95", "var_99")

    def find(self, rows: Rows, params: VarParams, models: Mapping[str, Any]) -> Marks:
        value, then, risk = rows["value"], rows["day_value"], rows[f"var_{params.confidence}"] * params.threshold
        with np.errstate(divide="ignore", invalid="ignore"):
            percent = (value / np.where(then > 0, then, np.nan) - 1) * 100
        found = c.sides(np.zeros(len(rows), dtype=bool), (percent < -risk * 100) & (risk > 0))
        return Marks(found, percent, -risk * 100, {"value": (value, then * (1 - risk), None)})

    def message(self, mark: Mark, params: VarParams) -> str:
        return (
            f"worth {c.number(mark.row['value'])}, {abs(mark.value):.1f} % less than at the end of the day before; "
            f"the value at risk of a day ({params.confidence} %) is {abs(mark.threshold) / params.threshold:.1f} %"
        )
