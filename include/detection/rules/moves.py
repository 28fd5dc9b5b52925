"""Rules on how far a price went: since the previous close, within minutes, and prints that were not meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from include.detection.rule import Mark, Marks, Params, Rows, Rule
from include.detection.rules import columns as c


class ChangeParams(Params):
    threshold: float = Field(5.0, gt=0, allow_inf_nan=False, description="percent, above 0")
    cooldown_minutes: int = Field(
        240, ge=1, le=1440, description="findings no further apart than this belong to one alert; minutes, 1 to 1440"
    )


class Change(Rule[ChangeParams]):
    """`change_percent`, the close against the previous close, beyond `threshold`."""

    name = "change"
    title = "The close is some percent from the previous close"
    params = ChangeParams
    needs = ("close", "change_percent", "previous_close")

    def find(self, rows: Rows, params: ChangeParams, models: Mapping[str, Any]) -> Marks:
        percent, then, share = rows["change_percent"], rows["previous_close"], params.threshold / 100
        return Marks(
            c.outside(percent, params.threshold),
            percent,
            np.full(len(rows), params.threshold),
            {"close": (rows["close"], then * (1 - share), then * (1 + share))},
        )

    def message(self, mark: Mark, params: ChangeParams) -> str:
        side = "above" if mark.direction == "up" else "below"
        return (
            f"{c.number(mark.row['close'])} is {abs(mark.value):.1f} % {side} the previous close "
            f"(limit {mark.threshold:g} %)"
        )


class MoveParams(Params):
    threshold: float = Field(5.0, gt=0, allow_inf_nan=False, description="percent, above 0")
    minutes: int = Field(10, ge=1, description="how long the move took at most, in minutes, 1 or more")


class Move(Rule[MoveParams]):
    """How far the candle's high lies above the lowest close of the last `minutes`, or its low below the highest.

    By time: where minutes are missing, no older close is taken instead. The larger of the two counts.
    """

    name = "move"
    title = "The price moved by some percent within minutes"
    params = MoveParams
    needs = ("close", "high", "low")

    def history(self, params: MoveParams) -> int:
        return params.minutes

    def find(self, rows: Rows, params: MoveParams, models: Mapping[str, Any]) -> Marks:
        at, minute = c.judged(rows), rows.minutes.astype(np.float64)
        age = minute[at][:, None] - c.last(rows, minute, at, params.minutes)
        closes = np.where(age <= params.minutes, c.last(rows, rows["close"], at, params.minutes), np.nan)
        closes[~(closes > 0)] = np.nan
        lowest, highest = np.fmin.reduce(closes, axis=1), np.fmax.reduce(closes, axis=1)
        close, share = rows["close"][at], params.threshold / 100
        up = np.fmax(rows["high"][at], close) / lowest - 1
        down = np.fmin(rows["low"][at], close) / highest - 1
        percent = np.where(up >= -down, up, down) * 100
        return c.marks_at(
            rows, at, c.outside(percent, params.threshold), percent, params.threshold,
            close=(close, highest * (1 - share), lowest * (1 + share)),
        )  # fmt: skip

    def message(self, mark: Mark, params: MoveParams) -> str:
        price = mark.row["high" if mark.direction == "up" else "low"]
        reached = c.number(mark.row["close"] if np.isnan(price) else price)
        return (
            f"{abs(mark.value):.1f} % {mark.direction} within {params.minutes} minutes, to {reached} "
            f"(limit {mark.threshold:g} %)"
        )


class FatFingerParams(Params):
    threshold: float = Field(3.0, gt=0, allow_inf_nan=False, description="percent from both neighbours, above 0")
    lasting: int = Field(3, ge=1, le=30, description="candles that a print lasts at most, 1 to 30")
    back: float = Field(0.25, gt=0, lt=1, description="how near it comes back, as a share of the way, between 0 and 1")


class FatFinger(Rule[FatFingerParams]):
    """A print far from what was before and after it: up to `lasting` closes beyond `threshold`, and then back.

    Judged on the candle that is back, and named there: only it shows that the print was none of the market's. The way
    back must lead to within `back` of the way from the close before. A high or low that far from both the close and the
    close before is the same within one candle.
    """

    name = "fat_finger"
    title = "A print far from its neighbours, and back"
    params = FatFingerParams
    needs = ("close", "high", "low")

    def history(self, params: FatFingerParams) -> int:
        return params.lasting + 1

    def find(self, rows: Rows, params: FatFingerParams, models: Mapping[str, Any]) -> Marks:
        at = c.judged(rows)
        now = rows["close"][at]
        closes = c.last(rows, rows["close"], at, params.lasting + 1)
        share = params.threshold / 100
        farthest = np.zeros(len(at))
        with np.errstate(divide="ignore", invalid="ignore"):
            for name, side in (("high", 1), ("low", -1)):  # within the candle
                extreme = side * rows[name][at]
                beyond = side * np.maximum(0, np.minimum(extreme / now, extreme / closes[:, -1]) - side)
                farthest = np.where(np.abs(beyond) > np.abs(farthest), beyond, farthest)
            for long in range(1, params.lasting + 1):
                then, prints = closes[:, -long - 1], closes[:, -long:]
                away = prints / then[:, None] - 1
                least = np.where(
                    (away > 0).all(axis=1), away.min(axis=1), np.where((away < 0).all(axis=1), away.max(axis=1), 0)
                )
                is_back = np.abs(now / then - 1) <= params.back * np.abs(least)
                beyond = np.where(is_back & (np.abs(least) > share), least, 0)
                farthest = np.where(np.abs(beyond) > np.abs(farthest), beyond, farthest)
        farthest = np.where(np.isnan(farthest), 0, farthest)
        percent = farthest * 100
        return c.marks_at(
            rows, at, c.outside(percent, params.threshold), percent, params.threshold,
            print=(now * (1 + farthest), now * (1 - share), now * (1 + share)),
        )  # fmt: skip

    def message(self, mark: Mark, params: FatFingerParams) -> str:
        side = "above" if mark.direction == "up" else "below"
        return (
            f"a print {abs(mark.value):.1f} % {side} its neighbours, and back at {c.number(mark.row['close'])} "
            f"(limit {mark.threshold:g} %)"
        )
