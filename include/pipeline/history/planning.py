"""What a backfill would ask for, before it does: by day, with the calls, against the vendor's budget. Pure reading."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import reduce

import psycopg

from include.events import Kind, Window
from include.pipeline.history.scope import Scope, scope
from include.pipeline.history_request import days_of
from include.settings import Settings
from include.sources.base import Calls
from include.warehouse.db import connect
from include.warehouse.history import used_budget
from include.warehouse.vendors import past_limits


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the plan: `missing` windows by symbol; symbols that are `closed`, or `covered` as a whole.

    `calls` is what asking for it takes; None: that depends on how many trades there are.
    """

    window: Window
    missing: tuple[tuple[str, Window], ...]
    covered: tuple[str, ...]
    closed: tuple[str, ...]
    calls: Calls | None


@dataclass(frozen=True, slots=True)
class VendorRoom:
    """What history may use of the vendor's budget: of a minute and of 24 hours, and what it has of them now.

    Calls, or the vendor's weights. None: not limited.
    """

    minute_limit: int | None
    minute_left: int | None
    day_limit: int | None
    day_left: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backfill of the window would ask for. `window` ends where the vendor's past does."""

    source: str
    kind: Kind
    window: Window
    days: tuple[Day, ...]
    room: VendorRoom

    @property
    def calls(self) -> Calls | None:
        """Of all days; None if any of them is not known."""
        return _sum(day.calls for day in self.days)

    @property
    def days_today(self) -> int | None:
        """How many of the days that lack something fit into what is left of the day's budget, the first ones first;
        None if that is not known."""
        left, fitting = self.room.day_left, 0
        for day in self.days:
            if not day.missing:
                continue
            if left is not None:
                if day.calls is None:
                    return None
                left -= day.calls.weight
                if left < 0:
                    return fitting
            fitting += 1
        return fitting

    @property
    def minutes(self) -> float | None:
        """How long the minute's budget makes it take at the least; 0 where it does not matter, None if not known."""
        calls, limit = self.calls, self.room.minute_limit
        if limit is None:
            return 0.0
        return None if calls is None else max(0.0, (calls.weight - (self.room.minute_left or 0)) / limit)


def plan(
    settings: Settings,
    source: str,
    window: Window,
    *,
    kind: Kind | None = None,
    symbols: Collection[str] | None = None,
    reprocess: bool = False,
    gaps: bool = False,
) -> Plan:
    """What `backfill` would ask for, day by day (UTC), as things are now. Raises ConfigError like it."""
    with connect(settings) as conn:
        about = scope(conn, settings, source, window, kind=kind, symbols=symbols)
        missing = about.missing(conn, reprocess=reprocess, gaps=gaps, run_id=None)
        return Plan(
            about.source, about.kind, about.window,
            tuple(_day(about, part, missing) for part in days_of(about.window)), _room(conn, about),
        )  # fmt: skip


def _day(about: Scope, part: Window, missing: Iterable[tuple[str, Window]]) -> Day:
    lacking = tuple(
        (symbol, Window(max(window.start, part.start), min(window.end, part.end)))
        for symbol, window in missing
        if window.start < part.end and window.end > part.start
    )
    asked = {symbol for symbol, _ in lacking}
    of_day = about.at(part)
    lacking = tuple((symbol, window) for symbol, window in lacking if symbol in of_day.open)
    calls = _sum(
        about.vendor.history_calls(window, instruments, about.kind) for window, instruments in about.groups(lacking)
    )
    covered = tuple(symbol for symbol in of_day.open if symbol not in asked)
    return Day(part, lacking, covered, of_day.closed, calls)


def _room(conn: psycopg.Connection, about: Scope) -> VendorRoom:
    budget, share = about.vendor.budget, about.settings.history_live_share
    of_minute, of_day = past_limits((budget.per_minute, budget.per_day), share)

    def left(limit: int | None, past_limit: int | None, used: tuple[int, int]) -> int | None:
        if limit is None or past_limit is None:
            return None
        return max(0, min(limit - used[0], past_limit - used[1]))

    return VendorRoom(
        of_minute, left(budget.per_minute, of_minute, used_budget(conn, about.source, "minute")),
        of_day, left(budget.per_day, of_day, used_budget(conn, about.source, "day")),
    )  # fmt: skip


def _sum(calls: Iterable[Calls | None]) -> Calls | None:
    found = list(calls)
    known = [one for one in found if one is not None]
    return reduce(Calls.plus, known, Calls(0, 0)) if len(known) == len(found) else None
