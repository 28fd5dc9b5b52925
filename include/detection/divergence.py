"""The rule `source_divergence`: a source that keeps disagreeing with the others about an instrument.

It looks at `marts.source_divergence`, source by source, where the other rules look at the one series of an instrument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from include.alerts import Alert
from include.detection.config import Detection, SourceDivergenceParams
from include.detection.engine import Finding, number

RULE: Final = "source_divergence"
_FEW: Final = 3  # with more sources than these, the others' median is not moved by the one that is wrong


class Close(NamedTuple):
    """One source's candle of `marts.source_divergence`, and how far the sources lie apart in that minute.

    `divergence`, `highest` and `lowest` are basis points; the latter two are those of the minute's highest and lowest
    source.
    """

    symbol: str
    source: str
    candle_start: datetime
    close: float
    divergence: float
    source_count: int
    highest: float
    lowest: float
    is_new: bool = True


def evaluate_closes(
    batches: Iterable[Sequence[tuple[Any, ...]]], detection: Detection, asset_classes: Mapping[str, str]
) -> Iterator[list[Finding]]:
    """The findings of each batch of closes (`Close` or plain tuples of its fields).

    Closes come ordered by symbol, source and candle_start, with as many older ones before the first new one as the
    rule's `consecutive` counts; a batch may end anywhere. An episode begins with that many closes on one side of the
    others, each further away than the threshold; the last of them is its start, those after it go on with it. A minute
    in which the source was not compared neither counts nor ends it.
    """
    series: tuple[str, str] | None = None
    side = run = 0
    params = SourceDivergenceParams()
    for batch in batches:
        found: list[Finding] = []
        for row in batch:
            close = Close(*row)
            if series != (close.symbol, close.source):
                series, side, run = (close.symbol, close.source), 0, 0
                params = divergence_params(detection, close.symbol, asset_classes.get(close.symbol))
            now = _side(close, params.threshold)
            run = run + 1 if now == side else 1
            side = now
            if side and run >= params.consecutive and close.is_new and params.enabled:
                found.append(_finding(close, params, is_start=run == params.consecutive))
        yield sorted(found, key=lambda one: (one.candle_start, one.symbol, one.source))


def longest_run(detection: Detection) -> int:
    """How many older closes have to be known to judge a new one, whichever its symbol."""
    general = detection.rules.source_divergence
    layers = (general, *general.asset_classes.values(), *general.instruments.values())
    return max(layer.consecutive for layer in layers)


def divergence_params(detection: Detection, symbol: str, asset_class: str | None) -> SourceDivergenceParams:
    """What holds for one symbol."""
    params = detection.params(RULE, symbol, asset_class)
    assert isinstance(params, SourceDivergenceParams)  # noqa: S101  # the rule's own
    return params


def to_divergence_alert(found: Finding) -> Alert:
    """The alert of a finding; its key is that of rule, symbol, candle and source."""
    side = "above" if found.direction == "up" else "below"
    return Alert(
        rule=found.rule,
        category="market",
        severity=found.severity,
        message=(
            f"{found.source} says {number(found.close)}, {abs(found.value):.0f} basis points {side} the other sources "
            f"(limit {found.threshold:g})"
        ),
        symbol=found.symbol,
        candle_start=found.candle_start,
        direction=found.direction,
        value=found.value,
        threshold=found.threshold,
        discriminator=found.source,
    )


def _side(close: Close, threshold: float) -> int:
    """+1 above the others by more than the threshold, -1 below, 0 within.

    Among two or three sources one that is wrong moves the others' reference too, to the other side and less far: only
    the furthest one counts there. Of two that are equally far, the higher.
    """
    if abs(close.divergence) <= threshold:
        return 0
    if close.divergence > 0:
        return 1 if close.source_count > _FEW or close.divergence >= -close.lowest else 0
    return -1 if close.source_count > _FEW or -close.divergence > close.highest else 0


def _finding(close: Close, params: SourceDivergenceParams, *, is_start: bool) -> Finding:
    return Finding(
        rule=RULE,
        symbol=close.symbol,
        candle_start=close.candle_start,
        direction="up" if close.divergence > 0 else "down",
        value=close.divergence,
        threshold=params.threshold,
        close=close.close,
        severity=params.severity,
        is_start=is_start,
        source=close.source,
    )
