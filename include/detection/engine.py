"""The rules over rows: rows in, findings out. Pure.

Each rule is asked once for all series that have the same values of its parameters, and only new rows become findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from include.detection.config import Detection
from include.detection.findings import Finding, Measure, Scope
from include.detection.rule import Flags, Mark, Marks, Numbers, Params, Reads, Rows, Rule

_SCOPES: Final[dict[Reads, Scope]] = {"candles": "instrument", "closes": "source", "portfolios": "portfolio"}


def evaluate(
    batches: Iterable[Rows],
    detection: Detection,
    asset_classes: Mapping[str, str],
    models: Mapping[str, Any] | None = None,
) -> Iterator[list[Finding]]:
    """The findings of each batch, ordered by candle, symbol, source and rule.

    Rows come ordered by series and time. A batch may end anywhere: what the next one looks back at is kept.
    `asset_classes` maps symbols to their class; a symbol that is not in it has the rules' general parameters. Raises
    ValueError if a rule's columns are not there.
    """
    enabled = [(name, detection.rules[name]) for name in detection.enabled()]
    before: Rows | None = None
    for batch in batches:
        if not len(batch):
            continue
        rows = _with_derived(_joined(before, batch) if before is not None else batch)
        before = _tail(rows, depth(detection, rows.reads))
        found: list[Finding] = []
        for name, rule in enabled:
            if rule.reads == rows.reads:
                found += _of_rule(name, rule, rows, detection, asset_classes, models or {})
        yield sorted(found, key=lambda one: (one.candle_start, one.symbol, one.source, one.rule))


def columns_needed(detection: Detection, reads: Reads) -> tuple[str, ...]:
    """The columns of such rows that the enabled rules need, `close` with them where there is one."""
    rules = [detection.rules[name] for name in detection.enabled()]
    needed = [column for rule in rules if rule.reads == reads for column in rule.needs]
    return tuple(dict.fromkeys([*(() if reads == "portfolios" else ("close",)), *needed])) if needed else ()


def depth(detection: Detection, reads: Reads, column: str | None = None) -> int:
    """How many rows before a row the enabled rules look at, of one `column` if it is given."""
    rules = [(name, detection.rules[name]) for name in detection.enabled()]
    wanted = [name for name, rule in rules if rule.reads == reads and (column is None or column in rule.needs)]
    return max((detection.history(name) for name in wanted), default=0)


def picked(rows: Rows, chosen: Flags) -> Rows:
    """Some of the rows; series are chosen as a whole."""
    places = np.flatnonzero(chosen).tolist()
    return Rows(
        symbol=[rows.symbol[at] for at in places],
        at=[rows.at[at] for at in places],
        source=[rows.source[at] for at in places],
        is_first=rows.is_first[chosen],
        columns={name: column[chosen] for name, column in rows.columns.items()},
        is_new=rows.is_new[chosen],
        reads=rows.reads,
    )


def _of_rule(
    name: str,
    rule: Rule[Any],
    rows: Rows,
    detection: Detection,
    asset_classes: Mapping[str, str],
    models: Mapping[str, Any],
) -> Iterator[Finding]:
    if missing := [column for column in rule.needs if column not in rows.columns]:
        raise ValueError(f"the rule {name} needs the columns {', '.join(missing)}; read them, or disable it")
    for params, part in _groups(name, rows, detection, asset_classes):
        if params.enabled:
            wanted = {one: models[one] for one in rule.models(params) if one in models}
            yield from _findings(rule, params, part, rule.find(part, params, wanted))


def _groups(
    name: str, rows: Rows, detection: Detection, asset_classes: Mapping[str, str]
) -> Iterator[tuple[Params, Rows]]:
    """The rows, series with equal values of the rule's parameters together."""
    if detection.is_uniform(name):
        yield detection.params(name, "", None), rows
        return
    begins = np.flatnonzero(rows.is_first)
    lengths = np.diff(begins, append=len(rows))
    of_series = [detection.params(name, rows.symbol[at], asset_classes.get(rows.symbol[at])) for at in begins.tolist()]
    kinds = list(dict.fromkeys(of_series))
    if len(kinds) == 1:
        yield kinds[0], rows
        return
    place = {params: number for number, params in enumerate(kinds)}
    number = np.repeat([place[params] for params in of_series], lengths)
    for params, at in place.items():
        yield params, picked(rows, number == at)


def _findings(rule: Rule[Any], params: Params, rows: Rows, marks: Marks) -> Iterator[Finding]:
    scope, close = _SCOPES[rows.reads], rows.columns.get("close")
    needed = [(name, rows.columns[name]) for name in rule.needs]
    for at in np.flatnonzero((marks.sides != 0) & rows.is_new).tolist():
        direction = rule.directions[0 if marks.sides[at] > 0 else 1]
        value, threshold = float(marks.values[at]), float(marks.thresholds[at])
        source = rows.source[at] if scope == "source" else ""
        measures = {
            name: (_known(number, at), _known(low, at), _known(high, at))
            for name, (number, low, high) in marks.measures.items()
        }
        row = {name: float(column[at]) for name, column in needed}
        message = rule.message(Mark(direction, value, threshold, row, measures, source), params)
        yield Finding(
            rule=rule.name,
            symbol=rows.symbol[at],
            candle_start=rows.at[at],
            direction=direction,
            value=value,
            threshold=threshold,
            severity=params.severity,
            message=message,
            source=source,
            scope=scope,
            close=None if close is None else _known(close, at),
            cooldown_minutes=params.cooldown_minutes,
            measures=tuple(Measure(name, *numbers) for name, numbers in measures.items()),
        )


def _known(column: Numbers | None, at: int) -> float | None:
    return None if column is None or np.isnan(column[at]) else float(column[at])


def _with_derived(rows: Rows) -> Rows:
    """The rows with what may be left out: minutes missing before each, as if always open, and the spread as unknown."""
    if rows.reads != "candles" or {"missing", "spread"} <= rows.columns.keys():
        return rows
    missing = np.diff(rows.minutes, prepend=0).astype(np.float64) - 1
    missing[rows.is_first] = np.nan
    more = {"missing": missing, "spread": np.full(len(rows), np.nan), **rows.columns}
    return Rows(rows.symbol, rows.at, rows.source, rows.is_first, more, rows.is_new, rows.reads)


def _tail(rows: Rows, count: int) -> Rows:
    """The end of the last series, as history."""
    start = max(int(rows.begins[-1]), len(rows) - max(count, 1))
    is_first = rows.is_first[start:].copy()
    is_first[0] = True
    return Rows(
        rows.symbol[start:], rows.at[start:], rows.source[start:], is_first,
        {name: column[start:] for name, column in rows.columns.items()},
        np.zeros(len(rows) - start, dtype=bool), rows.reads,
    )  # fmt: skip


def _joined(before: Rows, batch: Rows) -> Rows:
    """The batch behind what was kept, if it goes on with that series."""
    if before.reads != batch.reads or batch.is_first[0]:
        return batch
    is_first = np.concatenate([before.is_first, batch.is_first])
    names = [name for name in batch.columns if name in before.columns]
    return Rows(
        _both(before.symbol, batch.symbol), _both(before.at, batch.at), _both(before.source, batch.source), is_first,
        {name: np.concatenate([before.columns[name], batch.columns[name]]) for name in names},
        np.concatenate([before.is_new, batch.is_new]), batch.reads,
    )  # fmt: skip


def _both(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    return [*one, *other]
