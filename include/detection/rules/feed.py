"""Rules on the feed itself: prices that stand still, minutes that are missing. Judged against what is usual for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from pydantic import Field

from include.detection.rule import Mark, Marks, Numbers, Params, Rows, Rule
from include.detection.rules import columns as c

STILL: Final = 1e-9  # a change of less than this share of the price is none


class FrozenFeedParams(Params):
    minutes: int = Field(8, ge=2, description="candles in a row without any change, 2 or more")
    window: int = Field(50, ge=10, description="candles before them, which say what is usual; 10 or more")
    chance: float = Field(1e-4, gt=0, lt=1, description="how likely it may be that such a run is none, between 0 and 1")
    cooldown_minutes: int = Field(
        30, ge=1, le=1440, description="findings no further apart than this belong to one alert; minutes, 1 to 1440"
    )


class FrozenFeed(Rule[FrozenFeedParams]):
    """`minutes` candles in a row that neither moved nor traded, where candles used to.

    A candle stands still if its close is that of the one before and it has no volume (or none is known). How often that
    happens is told from the `window` candles before: it is a frozen feed if the run is less likely than `chance`.
    """

    name = "frozen_feed"
    title = "The price stands still, though it used to move"
    params = FrozenFeedParams
    needs = ("close", "volume")
    directions = ("", "")

    def history(self, params: FrozenFeedParams) -> int:
        return params.minutes + params.window

    def find(self, rows: Rows, params: FrozenFeedParams, models: Mapping[str, Any]) -> Marks:
        at, n = c.judged(rows), params.minutes
        close, volume = rows["close"], rows["volume"]
        then = c.before(rows, close)
        moved = np.where(np.isnan(then) | np.isnan(close), np.nan, (np.abs(close - then) > STILL * np.abs(then)) * 1.0)
        moved = np.where(volume > 0, 1.0, moved)
        run = c.last(rows, moved, at, n, skip=0)
        usual = c.last(rows, moved, at, params.window, skip=n)
        known = np.count_nonzero(~np.isnan(usual), axis=1)
        still = np.count_nonzero(usual == 0, axis=1)
        odds = ((still + 1) / (known + 2)) ** n
        found = (run == 0).all(axis=1) & (known >= params.window // 2) & (odds < params.chance)
        minutes = rows.minutes[at].astype(np.float64) - c.last(rows, rows.minutes.astype(np.float64), at, n)[:, 0]
        share = (known - still) / np.maximum(known, 1)
        return c.marks_at(
            rows, at, c.sides(found), np.where(found, np.maximum(minutes, n), 0.0), float(n),
            moving_candles=(np.zeros(len(at)), np.round(share * n), np.full(len(at), float(n))),
        )  # fmt: skip

    def message(self, mark: Mark, params: FrozenFeedParams) -> str:
        return f"the price stands still at {c.number(mark.row['close'])} for {mark.value:.0f} minutes"


class MissingDataParams(Params):
    minutes: int = Field(3, ge=1, description="open minutes in a row without a candle, 1 or more")
    window: int = Field(60, ge=10, description="candles before them, which say what is usual; 10 or more")
    chance: float = Field(1e-5, gt=0, lt=1, description="how likely it may be that such a run is none, between 0 and 1")


class MissingData(Rule[MissingDataParams]):
    """`minutes` open minutes or more without a candle, in a series that has one nearly every minute.

    Judged on the first candle after them, and named there. How often a candle has minutes missing before it is told
    from the `window` candles before: data are missing if the run is less likely than `chance`. What trades once in a
    while is left alone.
    """

    name = "missing_data"
    title = "Minutes without a candle, though there used to be one"
    params = MissingDataParams
    needs = ("close", "missing")
    directions = ("", "")

    def history(self, params: MissingDataParams) -> int:
        return params.window + 1

    def find(self, rows: Rows, params: MissingDataParams, models: Mapping[str, Any]) -> Marks:
        at = c.judged(rows)
        missing = rows["missing"][at]
        before = c.last(rows, without_first(rows), at, params.window)
        known = np.count_nonzero(~np.isnan(before), axis=1)
        gone = np.count_nonzero(before > 0, axis=1)  # silences, however long: one outage makes no habit
        with np.errstate(invalid="ignore"):
            odds = ((gone + 1) / (gone + known + 2)) ** missing
        found = (missing >= params.minutes) & (known >= params.window // 2) & (odds < params.chance)
        limit = np.full(len(at), float(params.minutes))
        return c.marks_at(rows, at, c.sides(found), missing, limit, missing_minutes=(missing, limit * 0, limit - 1))

    def message(self, mark: Mark, params: MissingDataParams) -> str:
        return f"no data for {mark.value:.0f} minutes until this one"


def without_first(rows: Rows) -> Numbers:
    """Minutes missing before each row; not known of a series' first row, before which there is nothing."""
    return np.where(rows.is_first, np.nan, rows["missing"])
