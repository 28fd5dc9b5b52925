"""The rules that ask a trained model: silent without one, and the model's words in theirs."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from include.detection.config import Detection
from include.detection.engine import evaluate
from include.detection.findings import Finding
from include.detection.rule import Rows
from tests.detection.pictures import rows

NAMES = ("isolation_forest", "half_space_trees", "seasonal")
CANDLES = rows(close=[100.0, 100.0, 90.0], volume=[5.0, 5.0, 900.0], volatility_20=[0.1] * 3, spread=[2.0] * 3)


def model(scores: list[float], **measures: tuple[float, float, float]) -> Any:
    """One that has these scores, and says these numbers of every row."""

    def judge(
        symbols: object, minutes: object, is_first: object, columns: object, wanted: object, threshold: float | None
    ) -> Any:
        limits = np.full(len(scores), 0.5 if threshold is None else threshold)
        wide = {name: tuple(np.full(len(scores), one) for one in three) for name, three in measures.items()}
        found = np.array(scores)
        return SimpleNamespace(scores=found, thresholds=limits, is_unusual=found > limits, measures=wide)

    return SimpleNamespace(judge=judge)


def find(given: Rows, models: Mapping[str, Any], **values: Any) -> list[Finding]:
    detection = Detection.of(
        **{name: {"enabled": name in NAMES} | (values if name in NAMES else {}) for name in Detection().rules}
    )
    return [one for part in evaluate([given], detection, {}, models) for one in part]


def test_without_a_model_they_are_silent() -> None:
    assert find(CANDLES, {}) == []


def test_a_score_above_the_models_own_limit_is_a_finding_without_a_side() -> None:
    said = model([0.1, np.nan, 0.9], return_1m=(-40.0, -2.5, 2.5), volume=(np.nan, -2.0, 2.0))
    (found,) = find(CANDLES, {"isolation_forest": said})
    assert (found.rule, found.candle_start, found.direction) == ("isolation_forest", CANDLES.at[2], "")
    assert (found.value, found.threshold) == (0.9, 0.5)
    assert found.message == "unusual: price moved by -40.0 deviations in 1 minute (score 0.900, limit 0.500)"


def test_a_threshold_of_ones_own_stands_in_place_of_the_models() -> None:
    assert find(CANDLES, {"half_space_trees": model([0.1, 0.2, 0.9])}, threshold=0.95) == []


def test_the_seasonal_rule_says_what_is_usual_at_this_time() -> None:
    (found,) = find(CANDLES, {"seasonal": model([0.1, 0.2, 6.0], volume=(900.0, 1.0, 20.0))})
    assert found.message == "volume 900, usually 1 to 20 at this time (6.0 deviations, limit 0.5)"


@pytest.mark.parametrize("threshold", [0, -1])
def test_a_threshold_is_above_0(threshold: float) -> None:
    with pytest.raises(Exception, match="threshold is"):
        find(CANDLES, {}, threshold=threshold)
