"""When exchanges are open: half-open sessions in UTC, and the pulling intervals that fall into them.

The facts (holidays, early closes, time zones) are those of the library exchange-calendars. It brings pandas and takes
a second to import, so it is imported when the first exchange is asked about: who trades crypto alone never pays for it.
Afterwards everything is arithmetic on whole seconds, a few microseconds per question.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from include.errors import ConfigError
from include.events import Window, iso
from include.instruments import Instrument

ALWAYS: Final = "24/7"
"""The calendar of what never closes."""
FX: Final = "FX"
"""The calendar of currencies: Sunday 17:00 to Friday 17:00 in New York, but for Christmas and New Year's Day."""
AROUND_THE_CLOCK: Final = (ALWAYS, "24/5", FX)
"""Calendars whose days are those of UTC (dbt's variable `around_the_clock`): a session there is no more than a date."""

# Where shares are traded before the opening and after the close: from when on (local time), and how long after the
# close. NYSE Arca's early session begins at 04:00 New York; its late session ends at 20:00, on early-close days (13:00)
# at 17:00: four hours after the close either way (nyse.com, "Holidays & Trading Hours"; Yahoo's `currentTradingPeriod`
# says the same). Other exchanges have their regular hours only.
_EARLY: Final = {"XNYS": time(4), "XNAS": time(4)}
_LATE: Final = timedelta(hours=4)

_NEAR: Final = timedelta(days=2)  # a session's UTC times are never further than this from its own date
_YEARS_AHEAD: Final = 2  # no exchange is closed for longer


def sessions(calendar: str, window: Window, *, extended: bool = False) -> list[Window]:
    """The sessions that overlap the window, whole and in order; for `24/7` the window itself. A lunch break parts two.

    `extended` counts the hours before the opening and after the close in, where there are any.
    Raises ConfigError for a calendar that does not exist.
    """
    if calendar == ALWAYS:
        return [window]
    start, end = window.start.timestamp(), window.end.timestamp()
    found = []
    for year in range((window.start - _NEAR).year, (window.end + _NEAR).year + 1):
        opens, closes = _year(calendar, year, extended)
        chosen = slice(bisect_right(closes, start), bisect_left(opens, end))
        found += [_window(opened, closed) for opened, closed in zip(opens[chosen], closes[chosen], strict=True)]
    return found


def dated_sessions(calendar: str, window: Window) -> list[tuple[date, Window]]:
    """The sessions that overlap the window, whole and in order, each with the exchange's own date of it.

    For `24/7` these are the UTC days. A lunch break parts two of the same date. Raises ConfigError for an unknown
    calendar.
    """
    first, last = (window.start - _NEAR).date(), (window.end + _NEAR).date()
    if calendar == ALWAYS:
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        starts = ((day, datetime.combine(day, time(), UTC)) for day in days)
        found = [(day, Window(start, start + timedelta(days=1))) for day, start in starts]
    else:
        years = range(first.year, last.year + 1)
        spans = (span for year in years for span in _schedule(calendar, year, False))
        found = [(day, Window(opened, closed)) for day, opened, closed in spans]
    return [(day, session) for day, session in found if session.start < window.end and session.end > window.start]


def is_open(calendar: str, window: Window, *, extended: bool = False) -> bool:
    """Whether the exchange is open at any time in `[start, end)`. Raises ConfigError for an unknown calendar."""
    return calendar == ALWAYS or bool(sessions(calendar, window, extended=extended))


def open_instruments(instruments: Sequence[Instrument], window: Window, *, extended: bool) -> list[Instrument]:
    """Those of the instruments whose exchange is open at any time in `[start, end)`, in the same order."""
    names = {instrument.calendar for instrument in instruments}
    opened = {name for name in names if is_open(name, window, extended=extended)}
    return [instrument for instrument in instruments if instrument.calendar in opened]


def next_session(calendar: str, moment: datetime, *, extended: bool = False) -> Window | None:
    """The session that is on at `moment`, else the next one; None for `24/7`, and where no more is known."""
    if calendar == ALWAYS:
        return None
    return next(_from(calendar, moment, extended), None)


def last_close(calendar: str, moment: datetime, *, extended: bool = False) -> datetime:
    """When the last session that had ended by `moment` did, in UTC; for `24/7` the moment itself.

    Raises ConfigError for an unknown calendar, and where none of its sessions had ended by then.
    """
    if calendar == ALWAYS:
        return moment
    for session in _until(calendar, moment, extended):
        if session.end <= moment:
            return session.end
    raise ConfigError(f"the exchange calendar {calendar} has no session that had ended by {iso(moment)}")


@dataclass(frozen=True, slots=True)
class OpenIntervals:
    """Intervals of `seconds`, counted from 1970 in UTC, in which at least one of the calendars is open.

    An interval belongs to a session that it shares an instant with, `[start, end)` with `[open, close)`; sessions begin
    and end on whole minutes, so intervals that divide a minute fill them exactly. With `delay`, in seconds, they go on
    for so long after each session: a vendor that is behind the market has its last minutes only then.
    """

    calendars: tuple[str, ...]
    seconds: int
    extended: bool = False
    delay: int = 0

    def first_from(self, moment: datetime) -> Window | None:
        """The first interval that begins at `moment` or later; None where the calendars know of no more sessions."""
        start = -(-moment.timestamp() // self.seconds) * self.seconds
        if ALWAYS in self.calendars:
            return _window(start, start + self.seconds)
        begins = []
        for calendar in self.calendars:
            for session in _from(calendar, datetime.fromtimestamp(start - self.delay, UTC), self.extended):
                begins.append(max(start, self._floor(session.start)))
                break
        return _window(min(begins), min(begins) + self.seconds) if begins else None

    def last_until(self, moment: datetime) -> Window | None:
        """The last interval that has ended by `moment`; None where the calendars know of no earlier session."""
        end = self._floor(moment)
        if ALWAYS in self.calendars:
            return _window(end - self.seconds, end)
        ends = []
        for calendar in self.calendars:
            for session in _until(calendar, datetime.fromtimestamp(end, UTC), self.extended):
                over = session.end.timestamp() + self.delay
                ends.append(min(end, -(-over // self.seconds) * self.seconds))
                break
        return _window(max(ends) - self.seconds, max(ends)) if ends else None

    def within(self, window: Window) -> Iterator[Window]:
        """The intervals that lie in the window, in order."""
        found = self.first_from(window.start)
        while found is not None and found.end <= window.end:
            yield found
            found = self.first_from(found.end)

    def _floor(self, moment: datetime) -> float:
        return moment.timestamp() // self.seconds * self.seconds


def preload(calendars: Iterable[str], moment: datetime) -> None:
    """Load the library and the years around `moment`, so that the first question is as fast as the others."""
    for calendar in set(calendars) - {ALWAYS}:
        for year in {moment.year, (moment + timedelta(days=30)).year}:
            for extended in (False, True):
                _year(calendar, year, extended)


def _from(calendar: str, moment: datetime, extended: bool) -> Iterator[Window]:
    """Sessions that end after `moment`, in order."""
    for year in range((moment - _NEAR).year, moment.year + _YEARS_AHEAD):
        opens, closes = _year(calendar, year, extended)
        for index in range(bisect_right(closes, moment.timestamp()), len(opens)):
            yield _window(opens[index], closes[index])


def _until(calendar: str, moment: datetime, extended: bool) -> Iterator[Window]:
    """Sessions that began before `moment`, the last one first."""
    for year in range((moment + _NEAR).year, moment.year - _YEARS_AHEAD, -1):
        opens, closes = _year(calendar, year, extended)
        for index in range(bisect_left(opens, moment.timestamp()) - 1, -1, -1):
            yield _window(opens[index], closes[index])


@cache
def _year(calendar: str, year: int, extended: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Openings and closings of the sessions dated in that year, in seconds since 1970."""
    spans = _schedule(calendar, year, extended)
    return tuple(opened.timestamp() for _, opened, _ in spans), tuple(closed.timestamp() for _, _, closed in spans)


@cache
def _schedule(calendar: str, year: int, extended: bool) -> tuple[tuple[date, datetime, datetime], ...]:
    """The sessions dated in that year: date, opening, closing."""
    if calendar == FX:
        return tuple(_currency_sessions(year))
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName

    try:
        found = exchange_calendars.get_calendar(calendar, start=f"{year}-01-01", end=f"{year}-12-31")
    except InvalidCalendarName:
        raise ConfigError(
            f"there is no exchange calendar {calendar!r}; allowed are {ALWAYS}, {FX} and the codes of "
            "exchange-calendars, as in XNYS"
        ) from None
    spans: list[tuple[date, datetime, datetime]] = []
    for session in found.schedule.itertuples():
        day, opened, closed = session.Index.date(), session.open.to_pydatetime(), session.close.to_pydatetime()
        if extended and calendar in _EARLY:
            early = datetime.combine(day, _EARLY[calendar], ZoneInfo(str(found.tz)))
            spans.append((day, early, closed + _LATE))
        elif session.break_start == session.break_start:  # not NaT
            spans.append((day, opened, session.break_start.to_pydatetime()))
            spans.append((day, session.break_end.to_pydatetime(), closed))
        else:
            spans.append((day, opened, closed))
    return tuple(spans)


def _currency_sessions(year: int) -> Iterator[tuple[date, datetime, datetime]]:
    """A session a day, Monday to Friday, each from 17:00 of the day before; nobody trades on two holidays."""
    zone, closes = ZoneInfo("America/New_York"), time(17)
    for number in range(366):
        day = date(year, 1, 1) + timedelta(days=number)
        if day.year == year and day.weekday() < 5 and (day.month, day.day) not in ((1, 1), (12, 25)):
            yield day, datetime.combine(day - timedelta(days=1), closes, zone), datetime.combine(day, closes, zone)


def _window(start: float, end: float) -> Window:
    return Window(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
