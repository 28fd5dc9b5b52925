"""The warm-up: the simulator's recent past, once per home, so that indicators have values from the first minute on."""

from __future__ import annotations

from datetime import datetime
from time import monotonic, sleep

from include.errors import LeaseHeldError, QuantStreamError
from include.events import Window
from include.settings import Settings
from include.stack.layout import Layout

_SOURCE = "simulator"
_PATIENCE_SECONDS = 30.0

# Where the first scheduled pull after a moment begins.
_NEXT_PULL = """
select min(window_start) from ops.outcomes
where step = 'pull' and ok and source = %s and window_start >= %s and starts_with(run_id, 'scheduled__')
"""


def wanted(settings: Settings) -> bool:
    """Whether the past is still to be brought in."""
    simulated = _SOURCE in settings.sources and settings.warmup_minutes > 0
    return simulated and not Layout(settings.home).warmed_up.exists()


def bring_in(settings: Settings, until: datetime) -> str:
    """Bring in the minutes before `until` (UTC, rounded down) by the path of every minute: quotes, no trades.

    Safe to repeat. Raises QuantStreamError naming the step that failed.
    """
    from include.pipeline.cycle import catch_up

    quotes = settings.model_copy(update={"sources": [_SOURCE], "simulator_trades_per_minute": 0})
    cycle = catch_up(quotes, minutes=settings.warmup_minutes, until=until)
    if cycle.failures:
        failed = cycle.failures[0]
        raise QuantStreamError(f"the warm-up failed at {failed.name}: {failed.said}")
    Layout(settings.home).warmed_up.touch()
    return f"the simulator's last {settings.warmup_minutes} minutes are in"


def close_gap(settings: Settings, since: datetime) -> Window | None:
    """Pull what lies between the warm-up's end (`since`, UTC) and the first scheduled interval; the next run lands it.

    Returns that window, or None if there is nothing between them. Raises QuantStreamError if the pull fails.
    """
    from include.pipeline.pull import pull
    from include.warehouse.db import connect

    with connect(settings) as conn:
        row = conn.execute(_NEXT_PULL, [_SOURCE, since]).fetchone()
    if row is None or row[0] is None or row[0] <= since:
        return None
    gap, end = Window(since, row[0]), monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            pull(settings, _SOURCE, gap, run_id="catch-up")
        except LeaseHeldError:  # a scheduled run pulls right now
            if monotonic() > end:
                raise
            sleep(0.5)
        else:
            return gap
