"""The platform's clock: in which intervals there is anything to pull, and from which source."""

from __future__ import annotations

from collections.abc import Iterable

from include.calendars import ALWAYS, OpenIntervals
from include.errors import ConfigError
from include.instruments import load_instruments
from include.settings import Settings
from include.sources import ALWAYS_OPEN
from include.sources.delays import delay


def source_calendars(settings: Settings) -> dict[str, tuple[str, ...]]:
    """By enabled source: the calendars of the file's instruments that it has; `24/7` for one that never closes.

    Raises ConfigError for a file that is wrong.
    """
    known = load_instruments(settings.instruments_file)
    found = {source: {one.calendar for one in known if source in one.ids} for source in settings.sources}
    return {source: (ALWAYS,) if source in ALWAYS_OPEN else tuple(sorted(found[source])) for source in found}


def source_intervals(settings: Settings) -> dict[str, OpenIntervals]:
    """By enabled source: the intervals in which it has anything to say. Raises ConfigError for a wrong file."""
    calendars = source_calendars(settings)
    return {source: _intervals(settings, calendars[source], [source]) for source in calendars}


def pulled_intervals(settings: Settings) -> OpenIntervals:
    """The intervals of `market_ingest`: those in which any enabled source has anything to say.

    Every interval where trades are collected (somebody has to land them), and where the file of instruments is wrong:
    then the pull runs and says what is wrong.
    """
    try:
        found = {name for calendars in source_calendars(settings).values() for name in calendars}
    except ConfigError:
        found = {ALWAYS}
    calendars = (ALWAYS,) if settings.collect or not found or ALWAYS in found else tuple(sorted(found))
    return _intervals(settings, calendars, settings.sources)


def _intervals(settings: Settings, calendars: tuple[str, ...], sources: Iterable[str]) -> OpenIntervals:
    longest = 0 if ALWAYS in calendars else max(int(delay(source, settings).total_seconds()) for source in sources)
    return OpenIntervals(calendars, settings.cadence_seconds, settings.extended_hours, longest)
