"""The crosses of two real SPY series equal those computed by independent libraries."""

from __future__ import annotations

import csv
import gzip
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from tests.detection.pictures import T0, find, only, rows

pytestmark = pytest.mark.data


@pytest.mark.parametrize(("name", "crosses"), [("spy_daily", 23), ("spy_1min_202012", 99)])
def test_the_crosses_of_spy_equal_the_reference(shared_data: Path, name: str, crosses: int) -> None:
    folder = shared_data / "signals_backtest"
    with gzip.open(folder / f"{name}_expected_indicators.csv.gz", "rt") as file:
        lines = list(csv.DictReader(file))
    with (folder / f"{name}_expected_signals.csv").open() as file:
        signals = list(csv.DictReader(file))
    times = [_time(line["ts_utc"]) for line in lines]
    columns = {
        name: [_number(line[given]) for line in lines] for name, given in (("sma_5", "sma5"), ("sma_20", "sma20"))
    }
    candles = rows("SPY", close=[float(line["close"]) for line in lines], **columns)
    candles = replace(candles, at=times)
    found = [(one.candle_start, one.direction) for one in find(candles, only("sma_cross"))]
    assert len(found) == crosses
    assert found == [(_time(one["ts_utc"]), one["signal"]) for one in signals if one["signal_tie"] == "0"]
    # The reference takes the unknown before the first SMA-20 for 0 and marks that one row as open to convention. Here
    # the end of the warm-up is no cross.
    assert [one["ts_utc"] for one in signals if one["signal_tie"] == "1"] == [lines[19]["ts_utc"]]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=T0.tzinfo)


def _number(text: str) -> float | None:
    return float(text) if text else None
