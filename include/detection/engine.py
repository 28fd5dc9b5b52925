"""The rules on an instrument over the candles of all symbols: rows in, findings out; and a finding as an alert."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np

from include.alerts import Alert, Severity
from include.detection.config import Detection, RuleName
from include.detection.rules import Candles, Flags, Numbers, Sides, crosses, excursions, outside


class Row(NamedTuple):
    """A candle of `marts.indicators_1m` as detection reads it; numbers may be unknown (None)."""

    symbol: str
    candle_start: datetime
    close: float | None
    zscore: float | None = None
    change_percent: float | None = None
    sma_5: float | None = None
    sma_20: float | None = None
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """A candle that a rule points at. Those with `is_start` become alerts; the others go on with an excursion.

    `source` is the source that the rule points at, "" where it points at the instrument.
    """

    rule: RuleName
    symbol: str
    candle_start: datetime
    direction: str
    value: float
    threshold: float
    close: float
    severity: Severity
    is_start: bool
    source: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    """How one rule is applied to columns and how its finding reads. `find` gives sides, starts, values, thresholds."""

    directions: tuple[str, str]
    find: Callable[[Candles, Numbers], tuple[Sides, Flags, Numbers, Numbers]]
    message: Callable[[Finding], str]


def _zscore(candles: Candles, threshold: Numbers) -> tuple[Sides, Flags, Numbers, Numbers]:
    sides = outside(candles.zscore, threshold)
    return sides, excursions(sides, candles.is_first), candles.zscore, threshold


def _change(candles: Candles, threshold: Numbers) -> tuple[Sides, Flags, Numbers, Numbers]:
    sides = outside(candles.change_percent, threshold)
    return sides, excursions(sides, candles.is_first), candles.change_percent, threshold


def _sma_cross(candles: Candles, _: Numbers) -> tuple[Sides, Flags, Numbers, Numbers]:
    sides = crosses(candles.sma_5, candles.sma_20, candles.is_first)
    return sides, sides != 0, candles.sma_5, candles.sma_20


def _side(found: Finding) -> str:
    return "above" if found.direction == "up" else "below"


_RULES: Final[dict[RuleName, _Rule]] = {
    "zscore": _Rule(
        ("up", "down"),
        _zscore,
        lambda f: (
            f"{number(f.close)} is {abs(f.value):.1f} standard deviations {_side(f)} its mean (limit {f.threshold:g})"
        ),
    ),
    "change": _Rule(
        ("up", "down"),
        _change,
        lambda f: f"{number(f.close)} is {abs(f.value):.1f} % {_side(f)} the previous close (limit {f.threshold:g} %)",
    ),
    "sma_cross": _Rule(
        ("BUY", "SELL"),
        _sma_cross,
        lambda f: (
            f"{f.direction} at {number(f.close)}: SMA-5 {number(f.value)} crossed SMA-20 {number(f.threshold)} "
            f"{'upwards' if f.direction == 'BUY' else 'downwards'}"
        ),
    ),
}


def evaluate(
    batches: Iterable[Sequence[tuple[Any, ...]]], detection: Detection, asset_classes: Mapping[str, str]
) -> Iterator[list[Finding]]:
    """The findings of each batch of rows (`Row` or plain tuples of its fields), ordered by candle, symbol and rule.

    Rows come ordered by symbol and candle_start. A batch may end anywhere: the last candle is kept as context for the
    next. `asset_classes` maps symbols to their class; a symbol that is not in it has the rules' general parameters.
    """
    last: tuple[Any, ...] | None = None
    for batch in batches:
        if not batch:
            continue
        rows = [*([(*last[:-1], False)] if last and last[0] == batch[0][0] else []), *batch]
        last = batch[-1]
        yield sorted(
            _evaluate(columns(rows), detection, asset_classes), key=lambda f: (f.candle_start, f.symbol, f.rule)
        )


def columns(rows: Sequence[tuple[Any, ...]]) -> Candles:
    """Rows as columns; None becomes NaN."""
    symbol, candle_start, *numbers, is_new = zip(*rows, strict=True)
    close, zscore, change_percent, sma_5, sma_20 = (np.array(one, dtype=np.float64) for one in numbers)
    return Candles(
        symbol, candle_start, close, zscore, change_percent, sma_5, sma_20, is_new=np.array(is_new, dtype=bool)
    )


def to_alert(found: Finding) -> Alert:
    """The alert of a finding; its key is that of rule, symbol and candle."""
    return Alert(
        rule=found.rule,
        category="market",
        severity=found.severity,
        message=_RULES[found.rule].message(found),
        symbol=found.symbol,
        candle_start=found.candle_start,
        direction=found.direction,
        value=found.value,
        threshold=found.threshold,
    )


def _evaluate(candles: Candles, detection: Detection, asset_classes: Mapping[str, str]) -> Iterator[Finding]:
    begins = np.flatnonzero(candles.is_first).tolist()
    lengths = np.diff([*begins, len(candles.symbol)])
    symbols = [candles.symbol[begin] for begin in begins]
    for name, rule in _RULES.items():
        params = [detection.params(name, symbol, asset_classes.get(symbol)) for symbol in symbols]
        limits = [getattr(one, "threshold", 0.0) if one.enabled else np.inf for one in params]
        enabled = np.repeat([one.enabled for one in params], lengths)
        sides, starts, values, thresholds = rule.find(candles, np.repeat(limits, lengths))
        for at in np.flatnonzero((sides != 0) & candles.is_new & enabled).tolist():
            segment = int(np.searchsorted(begins, at, side="right")) - 1
            yield Finding(
                rule=name,
                symbol=candles.symbol[at],
                candle_start=candles.candle_start[at],
                direction=rule.directions[0 if sides[at] > 0 else 1],
                value=float(values[at]),
                threshold=float(thresholds[at]),
                close=float(candles.close[at]),
                severity=params[segment].severity,
                is_start=bool(starts[at]),
            )


def number(value: float) -> str:
    """A price for people: 64,123.50, 0.00001234."""
    return f"{value:,.2f}" if abs(value) >= 1 else np.format_float_positional(value, precision=4, fractional=False)
