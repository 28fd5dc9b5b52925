"""What is usual at a time of the week, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from include.models.seasonal import Baseline, TooShortError, bucket, buckets_for, train_symbol
from tests.models.market import MONDAY, quiet


def minute(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 60


@pytest.mark.parametrize(
    ("at", "of_week", "of_day"),
    [("2026-01-05T00:00", 0, 0), ("2026-01-05T00:30", 1, 1), ("2026-01-11T23:59", 335, 47), ("2026-01-12T00:00", 0, 0)],
)
def test_a_bucket_is_half_an_hour_of_the_week_from_monday_on(at: str, of_week: int, of_day: int) -> None:
    minutes = np.array([minute(at)])
    assert (bucket(minutes, 336).tolist(), bucket(minutes, 48).tolist()) == ([of_week], [of_day])


def test_four_weeks_make_a_week_one_week_makes_a_day_and_less_makes_nothing() -> None:
    assert (buckets_for(28), buckets_for(27.9), buckets_for(7)) == (336, 48, 48)
    with pytest.raises(TooShortError, match=r"6.5 days are less than a week"):
        buckets_for(6.5)


def test_a_busy_half_hour_is_usual_there_and_remarkable_elsewhere() -> None:
    minutes, columns = quiet(28)
    busy = bucket(minutes, 336) == 20  # Mondays 10:00
    volume = np.where(busy, columns["volume"] * 50, columns["volume"])
    medians, scales = train_symbol(
        minutes, {"volume": volume, "volatility": columns["volatility_20"], "spread": columns["spread"]}, 336
    )
    usual, of = Baseline(("AAPL",), medians[None], scales[None]), np.zeros(2, dtype=np.int64)
    at = MONDAY + np.array([600, 600 + 1440])  # Monday 10:00, Tuesday 10:00
    monday, tuesday = usual.deviations("volume", of, at, np.full(2, np.exp(7) * 50))
    assert abs(monday) < 1 < 8 < tuesday
    assert np.isnan(usual.deviations("volume", of - 1, at, np.full(2, 1.0))).all()
    assert np.isnan(usual.deviations("volume", of, at, np.array([0.0, np.nan]))).all()


def test_weeks_that_differ_as_a_whole_widen_what_is_usual() -> None:
    """A half hour of which all minutes move together is one observation a week, and not thirty."""
    minutes, columns = quiet(28)
    shift = np.array([0.5, 2, 1, 3])[(minutes - MONDAY) // (7 * 1440)]

    def width(volume: np.ndarray) -> float:
        given = {"volume": volume, "volatility": columns["volatility_20"], "spread": columns["spread"]}
        return float(np.nanmedian(train_symbol(minutes, given, 336)[1][0]))

    assert width(columns["volume"] * shift) > 1.5 * width(columns["volume"])
