"""The rules on the labelled series of the Numenta Anomaly Benchmark, by its own scoring.

These have a time and a value, so what needs volume or quotes is left out. A value is a close; a row is a row, though
most of these series have one every five minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from include.detection.config import Detection
from include.detection.rule import Numbers, Params, Rows, Rule
from include.errors import ConfigError
from include.pipeline.score_columns import rows_of
from include.scoring.baselines import PUBLISHED, bayesian_changepoint, windowed_gaussian
from include.scoring.nab import Series, score
from include.scoring.results import NabDetector, NabScores

FOLDER: Final = Path("anomalies") / "nab"
JUDGED: Final = ("zscore", "robust_zscore", "bollinger_break", "move", "range_break", "volatility_regime")
"""Rules that look at a price alone and say by how much it is strange: the more, the higher their value."""
_BASELINES: Final[dict[str, Callable[[Numbers], Numbers]]] = {
    "windowed Gaussian": windowed_gaussian, "Bayesian changepoint": bayesian_changepoint,
}  # fmt: skip
WIDER: Final[dict[str, dict[str, object]]] = {"range_break": {"window": 1440}}
"""Rules that are judged with these parameters as well: what is usual here takes longer to see."""
_PIECE: Final = 2_000  # rows at once


@dataclass(frozen=True)
class RealSeries:
    """One series: its rows' times (UTC, though NAB does not say so) and values, and the windows as places of rows."""

    name: str
    at: tuple[datetime, ...]
    values: Numbers
    windows: tuple[tuple[int, int], ...]


def read_nab(data: Path) -> list[RealSeries]:
    """The series of the folder with their windows. Raises ConfigError where the files are not as they should be."""
    import pandas as pd

    folder = data / FOLDER
    try:
        series = pd.read_csv(folder / "series.csv.gz", parse_dates=["timestamp"])
        labels = pd.read_csv(folder / "labels.csv", parse_dates=["start", "end"])
        windows = labels[labels["kind"] == "window"]
        found = []
        for name, rows in series.groupby("series", sort=False):
            at = pd.DatetimeIndex(rows["timestamp"]).tz_localize("UTC")
            of_one = windows[windows["series"] == name]
            starts = at.searchsorted(pd.DatetimeIndex(of_one["start"]).tz_localize("UTC"))
            ends = at.searchsorted(pd.DatetimeIndex(of_one["end"]).tz_localize("UTC"))
            values = rows["value"].to_numpy(dtype=np.float64)
            places = tuple(sorted(zip(starts.tolist(), ends.tolist(), strict=True)))
            found.append(RealSeries(str(name), tuple(at.to_pydatetime().tolist()), values, places))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"--data {data}: {folder} is not as it should be: {error}") from None
    return found


def score_nab(detection: Detection, series: list[RealSeries], tick: Callable[[], None] = lambda: None) -> NabScores:
    """Every rule that can be judged on values alone, and NAB's two detectors, by the same scorer on the same series."""
    began = perf_counter()
    rules, left_out = {}, {}
    for name in detection.enabled():
        rule, params = detection.rules[name], detection.params(name, "", None)
        if name not in JUDGED:
            left_out[name] = "it needs more than a value by row, or has no measure of how strange that is"
            continue
        rules[name] = _judge(rule, params, series)
        if more := WIDER.get(name):
            said = ", ".join(f"{key} {value}" for key, value in more.items())
            rules[f"{name}, {said}"] = _judge(rule, params.model_copy(update=more), series)
        tick()
    baselines = {}
    for name, detector in _BASELINES.items():
        best = score([Series(one.name, detector(one.values), one.windows) for one in series])
        baselines[name] = NabDetector(
            best.score, round(best.threshold, 4), best.found, best.false, published=PUBLISHED[name]
        )
        tick()
    return NabScores(
        len(series), sum(len(one.values) for one in series), sum(len(one.windows) for one in series),
        rules, baselines, left_out, round(perf_counter() - began, 1),
    )  # fmt: skip


def _judge(rule: Rule[Any], params: Params, series: list[RealSeries]) -> NabDetector:
    of_rule = [Series(one.name, raw_scores(rule, params, one), one.windows) for one in series]
    best, configured = score(of_rule), score(of_rule, threshold=float(np.nextafter(1.0, 2.0)))
    return NabDetector(best.score, round(best.threshold, 4), best.found, best.false, configured.score, configured.false)


def raw_scores(rule: Rule[Any], params: Params, series: RealSeries) -> Numbers:
    """By row how strange it is: its value over the rule's threshold; above 1 it would be a finding."""
    import pandas as pd

    values = pd.Series(series.values, index=pd.DatetimeIndex(list(series.at)))
    frame = pd.DataFrame({"high": values, "low": values, "close": values, "volume": values * np.nan})
    rows, depth = rows_of(series.name, frame), max(1, rule.history(params))
    found = np.full(len(rows), np.nan)
    for start in range(0, len(rows), _PIECE):
        since, until = max(0, start - depth), min(start + _PIECE, len(rows))
        marks = rule.find(_part(rows, since, until, start), params, {})
        with np.errstate(divide="ignore", invalid="ignore"):
            found[start:until] = np.abs(marks.values / marks.thresholds)[start - since :]
    return found


def _part(rows: Rows, since: int, until: int, new_from: int) -> Rows:
    part = slice(since, until)
    is_first = rows.is_first[part].copy()
    is_first[:1] = True
    return Rows(
        rows.symbol[part], rows.at[part], rows.source[part], is_first,
        {name: column[part] for name, column in rows.columns.items()}, np.arange(since, until) >= new_from,
    )  # fmt: skip
