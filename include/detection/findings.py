"""A finding: one candle that a rule or a model points at, and why. Findings are facts; alerts follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from include.alerts import Severity

Scope = Literal["instrument", "source", "portfolio"]


class Measure(NamedTuple):
    """One number that speaks for a finding, and its usual range; None where it is not known or has no such side."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A candle that a rule points at.

    Known by (rule, scope, symbol, source, candle_start): the same rows give the same findings, in whatever pieces and
    order they are looked at. Every candle that the rule points at is one, the first of an excursion as the later ones.

    `symbol` is the instrument's, or the portfolio's name where `scope` is "portfolio". `candle_start` is UTC.
    `direction` is up, down, BUY or SELL, or "" where there is none. `value` and `threshold` are in the rule's own unit.
    `message` is a sentence for people, without the symbol. `source` is the source that is pointed at, else "".
    `cooldown_minutes`: a later finding of the same thing, no further away than this, belongs to the same alert.
    `measures` are the numbers behind it with their usual ranges.
    """

    rule: str
    symbol: str
    candle_start: datetime
    direction: str
    value: float
    threshold: float
    severity: Severity
    message: str
    source: str = ""
    scope: Scope = "instrument"
    close: float | None = None
    cooldown_minutes: int = 15
    measures: tuple[Measure, ...] = ()
