"""The warm-up: the simulator's recent past, once per home, so that indicators have values from the first minute on."""

from __future__ import annotations

from datetime import UTC, datetime

from include.errors import QuantStreamError
from include.settings import Settings
from include.stack.layout import Layout


def wanted(settings: Settings) -> bool:
    """Whether the past is still to be brought in."""
    simulated = "simulator" in settings.sources and settings.warmup_minutes > 0
    return simulated and not Layout(settings.home).warmed_up.exists()


def bring_in(settings: Settings) -> str:
    """Bring it in by the path of every minute. Safe to repeat. Raises QuantStreamError naming the step that failed."""
    from include.pipeline.cycle import catch_up

    cycle = catch_up(settings, minutes=settings.warmup_minutes, until=datetime.now(UTC))
    if cycle.failures:
        failed = cycle.failures[0]
        raise QuantStreamError(f"the warm-up failed at {failed.name}: {failed.said}")
    Layout(settings.home).warmed_up.touch()
    return f"the simulator's last {settings.warmup_minutes} minutes are in"
