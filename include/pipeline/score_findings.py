"""Rules over candles that are in memory: what the engine finds in them, a series at a time."""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from include.detection.config import Detection
from include.detection.engine import evaluate
from include.detection.findings import Finding
from include.detection.rule import Rows
from include.errors import ConfigError
from include.life.chains import Series, chains, link, series_of
from include.scoring.chains import Raised

if TYPE_CHECKING:
    import pandas as pd

_PIECE: Final = 5_000  # rows at once: a rule may look back at a day from each of them
_READS: Final = "candles"


def chosen_rules(detection: Detection, names: Sequence[str]) -> Detection:
    """The same with these rules alone. Raises ConfigError naming those that do not exist or are not enabled."""
    enabled = detection.enabled()
    if unknown := [name for name in names if name not in enabled]:
        raise ConfigError(
            f"--rules {', '.join(unknown)}: not among the enabled rules of the detection file: {', '.join(enabled)}"
        )
    chosen = copy.copy(detection)
    chosen.rules = {name: rule for name, rule in detection.rules.items() if name in names or not names}
    return chosen


def judged_rules(detection: Detection, models: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The enabled rules that candles alone can judge, and those that are left out, with the reason."""
    judged: list[str] = []
    left_out: dict[str, str] = {}
    for name in detection.enabled():
        rule = detection.rules[name]
        wanted = [model for model in rule.models(detection.params(name, "", None)) if model not in models]
        if rule.reads != _READS:
            left_out[name] = f"it looks at {rule.reads}, and here are candles alone"
        elif wanted:
            left_out[name] = f"no model {', '.join(wanted)} was trained for this"
        else:
            judged.append(name)
    return judged, left_out


def find(rows: Rows, detection: Detection, asset_class: str, models: Mapping[str, Any] | None = None) -> list[Finding]:
    """What the rules find in one series."""
    classes = {rows.symbol[0]: asset_class} if len(rows) else {}
    return [one for found in evaluate(pieces(rows), detection, classes, models) for one in found]


def raise_alerts(findings: Iterable[Finding]) -> list[Raised]:
    """The alerts that follow from findings, as they follow live; by opening, symbol and rule."""
    series: dict[Series, list[Finding]] = {}
    for one in findings:
        series.setdefault(series_of(one), []).append(one)
    raised = []
    for of, found in series.items():
        candles = sorted(one.candle_start for one in found)
        for chain in chains(map(link, found)):
            own = candles[bisect_left(candles, chain.first) : bisect_right(candles, chain.last)]
            raised.append(Raised(of.rule, of.symbol, of.direction, chain.severity, tuple(own)))
    return sorted(raised, key=lambda alert: (alert.opened, alert.symbol, alert.rule, alert.direction))


def pieces(rows: Rows, size: int = _PIECE) -> Iterator[Rows]:
    """The rows in order, so many at a time."""
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        yield Rows(
            rows.symbol[part], rows.at[part], rows.source[part], rows.is_first[part],
            {name: column[part] for name, column in rows.columns.items()}, rows.is_new[part],
        )  # fmt: skip


def days_of(frames: Iterable[pd.DataFrame]) -> int:
    """UTC days with candles, summed up over the series."""
    return sum(frame.index.floor("D").nunique() for frame in frames)  # type: ignore[attr-defined]
