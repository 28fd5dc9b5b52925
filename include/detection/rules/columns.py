"""What the rules are made of: columns in, columns out, one pass for all series together. Pure.

A side is +1 (up, BUY), -1 (down, SELL) or 0. A number that is not known (NULL in the marts) is NaN here. What looks at
the rows before a row looks at exactly those: the same row has the same numbers, to the last bit, whatever else was read
with it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from include.detection.rule import Flags, Ints, Marks, Numbers, Rows, Sides

EQUAL: Final = 1e-9  # differences of two means below this count as 0
ROUNDING: Final = 1e-14  # what doubles cannot tell apart, as a share of the price
SIGMA: Final = 1.4826  # median absolute deviations in a standard deviation of normal numbers


def sides(up: Flags, down: Flags | None = None) -> Sides:
    """+1 where `up`, -1 where `down`."""
    return up.astype(np.int8) - (0 if down is None else down.astype(np.int8))


def outside(values: Numbers, threshold: Numbers | float) -> Sides:
    """+1 above the threshold, -1 below minus the threshold, 0 within, on the edge (as doubles go), or unknown."""
    limit = threshold * (1 + EQUAL)
    return sides(values > limit, values < -limit)


def before(rows: Rows, values: Numbers, back: int = 1) -> Numbers:
    """The value `back` rows before each row of its series; NaN where there is none."""
    found = np.full(len(values), np.nan)
    found[back:] = values[:-back]
    found[np.arange(len(values)) - back < rows.begins] = np.nan
    return found


def crosses(rows: Rows, fast: Numbers, slow: Numbers, price: Numbers) -> Sides:
    """+1 where fast - slow is above 0 and was at or below 0 one row before, -1 mirrored; 0 while one is unknown.

    Differences below a billionth (of the price, for prices below 1), or what doubles cannot tell apart, count as 0.
    """
    difference, size = fast - slow, np.abs(price)
    difference[np.abs(difference) < np.maximum(EQUAL * np.minimum(size, 1.0), ROUNDING * size)] = 0.0
    last = before(rows, difference)
    return sides((difference > 0) & (last <= 0), (difference < 0) & (last >= 0))


def judged(rows: Rows) -> Ints:
    """The places of the new rows: only they are worth a look back."""
    return np.flatnonzero(rows.is_new)


def last(rows: Rows, values: Numbers, at: Ints, count: int, *, skip: int = 1) -> Numbers:
    """For each place the `count` values that end `skip` rows before it, oldest first; NaN before its series begins.

    With `skip` 0 the row itself is the last of them.
    """
    places = at[:, None] + np.arange(-count - skip + 1, 1 - skip)
    found: Numbers = values[np.maximum(places, 0)]
    found[places < rows.begins[at][:, None]] = np.nan
    return found


def median(table: Numbers, least: int = 1) -> Numbers:
    """The median of each line's known numbers; NaN where fewer than `least` are known."""
    ordered = np.sort(table, axis=1)  # unknown ones go to the end
    known = np.count_nonzero(~np.isnan(ordered), axis=1)
    line, half = np.arange(len(ordered)), np.maximum(known, 1)
    found: Numbers = (ordered[line, (half - 1) // 2] + ordered[line, half // 2]) / 2
    found[known < max(least, 1)] = np.nan
    return found


def spread_of(table: Numbers, middle: Numbers, least: int = 1) -> Numbers:
    """The median absolute deviation of each line from its `middle`, as a standard deviation."""
    return SIGMA * median(np.abs(table - middle[:, None]), least)


def at_rows(rows: Rows, at: Ints, values: Numbers | float) -> Numbers:
    """A column that has these values at these places, and nothing elsewhere."""
    found = np.full(len(rows), np.nan)
    found[at] = values
    return found


def marks_at(
    rows: Rows,
    at: Ints,
    found: Sides,
    values: Numbers,
    threshold: Numbers | float,
    **measures: tuple[Numbers, Numbers | None, Numbers | None],
) -> Marks:
    """What is said of the rows at some places, as marks of all rows. Arrays have one number for each place."""
    whole = np.zeros(len(rows), dtype=np.int8)
    whole[at] = found

    def wide(column: Numbers | None) -> Numbers | None:
        return None if column is None else at_rows(rows, at, column)

    return Marks(
        whole,
        at_rows(rows, at, values),
        at_rows(rows, at, threshold),
        {name: (at_rows(rows, at, value), wide(low), wide(high)) for name, (value, low, high) in measures.items()},
    )


def number(value: float) -> str:
    """A price for people: 64,123.50, 0.00001234."""
    return f"{value:,.2f}" if abs(value) >= 1 else np.format_float_positional(value, precision=4, fractional=False)
