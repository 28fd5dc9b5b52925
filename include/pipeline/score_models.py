"""The models for a score: trained on the simulator's days before those that are judged, of the same market."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from include.detection.config import Detection
from include.events import Window
from include.instruments import Instrument
from include.models.detectors import Model
from include.models.learning import NAMES, Learning, TrainParams
from include.models.seasonal import buckets_for
from include.pipeline.score_columns import rows_of
from include.pipeline.score_market import simulate

DAYS: Final = 14
"""How long they learn. None of these minutes is judged."""


def train_for_score(
    detection: Detection,
    instruments: Sequence[Instrument],
    *,
    seed: int,
    until: datetime,
    progress: Callable[[str, int], Callable[[], None]],
) -> Mapping[str, Model]:
    """The models that the enabled rules ask for, by name, from the `DAYS` before `until` (UTC). None if none asks."""
    wanted = {
        model
        for name in detection.enabled()
        for model in detection.rules[name].models(detection.params(name, "", None))
    }
    names = [name for name in NAMES if name in wanted]
    if not names:
        return {}
    tick = progress("simulating what models learn from", DAYS * 24)
    frames = simulate(seed, instruments, Window(until - timedelta(days=DAYS), until), tick)
    classes = Counter(one.asset_class for one in instruments)
    learning = Learning(TrainParams(), buckets_for(float(DAYS)), classes)
    tick = progress("training models", len(instruments) + len(names))
    for one in instruments:
        rows = rows_of(one.symbol, frames.pop(one.symbol), one.calendar)
        learning.take(one.symbol, one.asset_class, rows.minutes, rows.columns)
        tick()
    found: dict[str, Model] = {}
    for name in names:
        found[name] = learning.finish(name)
        tick()
    return found
