"""The whole minute in one process, on real parts: quotes in, candles, indicators and delivered alerts out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.events import Window
from include.pipeline.cycle import catch_up, run_cycle
from include.settings import Settings
from include.warehouse.db import connect

pytestmark = pytest.mark.stack


def test_two_hours_and_a_minute(marts_settings: Settings) -> None:
    end = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=1)

    past = catch_up(marts_settings, minutes=120, until=end)
    assert not past.failures, past.failures
    minute = run_cycle(marts_settings, Window(end, end + timedelta(minutes=1)))
    assert not minute.failures, minute.failures
    assert [step.name for step in minute.steps] == [
        "pull simulator", "land", "load", "audit", "transform", "detect", "notify",
    ]  # fmt: skip

    with connect(marts_settings) as conn:
        symbols, candles, warm = conn.execute(
            "select count(distinct symbol), count(*), count(*) filter (where candle_start = %s and sma_20 is not null)"
            " from marts.indicators_1m",
            [end],
        ).fetchone() or (0, 0, 0)
        assert symbols == 25
        assert 25 * 121 * 0.9 < candles <= 25 * 121  # gaps are part of the simulated market
        assert warm >= 20
        alerts, unsent = conn.execute(
            "select count(*), count(*) filter (where state = 'new') from marts.alerts"
        ).fetchone() or (0, 0)
        assert alerts > 0
        assert unsent == 0
