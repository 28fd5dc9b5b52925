"""Shorter intervals than a minute, through the whole pipeline on real parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.events import Window
from include.pipeline.clock import source_intervals
from include.pipeline.cycle import process
from include.pipeline.pull import pull
from include.settings import Settings
from include.stack.market import missing_intervals
from include.warehouse.db import connect

pytestmark = pytest.mark.stack


def test_a_minute_in_tens_of_seconds_is_the_minute_at_once_with_a_late_interval_and_a_repeated_one(
    marts_settings: Settings,
) -> None:
    """The third interval fails and is retried last; the first is cleared and runs again. 25 instruments, 50 trades."""
    ours = marts_settings.model_copy(update={"cadence_seconds": 10, "simulator_trades_per_minute": 50})
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)  # shocks begin later in the hour
    tens = [Window(start + timedelta(seconds=n), start + timedelta(seconds=n + 10)) for n in range(0, 60, 10)]
    late = tens[-1].end + timedelta(seconds=75)

    for one in (tens[0], tens[1], tens[3], tens[4], tens[5]):
        pull(ours, "simulator", one)
    with connect(ours) as conn:
        (gap,) = missing_intervals(conn, source_intervals(ours), late)
    assert (gap.start, gap.end, gap.intervals) == (tens[2].start, tens[2].end, 1)
    for one in (tens[2], tens[0]):
        pull(ours, "simulator", one)
    steps = process(ours)
    assert [step.said for step in steps if step.error] == []

    with connect(ours) as conn:
        assert missing_intervals(conn, source_intervals(ours), late) == []
        counts = conn.execute("select kind, count(*) from raw.market_events group by kind order by kind").fetchall()
        assert counts == [("quote", 6 * 25), ("trade", 50)]
        candles = conn.execute(
            "select count(*), bool_and(is_final), sum(trade_count) from marts.candles_1m where source = 'simulator'"
        ).fetchone()
    assert candles == (25, True, 50)
