"""What a backfill is about: source, kind, instruments and window, and what of that is still to be asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

import psycopg

from include.calendars import is_open
from include.errors import ConfigError
from include.events import Kind, Window, iso
from include.instruments import Instrument, known_instruments
from include.pipeline.history_request import days_of, midnight
from include.settings import Settings
from include.sources import HISTORY, make
from include.sources.base import Source
from include.warehouse import history

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Scope:
    """`window` ends where the vendor's past does. `instruments` are those asked for that the source has."""

    settings: Settings
    vendor: Source[Any, Any]
    kind: Kind
    window: Window
    instruments: tuple[Instrument, ...]

    @property
    def source(self) -> str:
        return self.vendor.name

    @cached_property
    def ids(self) -> dict[str, str]:
        """The vendor's id of each symbol, in the order in which they are asked for."""
        return {one.symbol: one.ids[self.source] for one in self.instruments}

    @cached_property
    def open(self) -> dict[str, Window]:
        """The window of each symbol without the days at its ends on which the exchange is closed; those left out are
        closed all the time."""
        spans: dict[str, Window | None] = {}
        for one in self.instruments:
            if one.calendar not in spans:
                spans[one.calendar] = self.window if self.vendor.always_open else _open(one.calendar, self.window)
        found = {one.symbol: spans[one.calendar] for one in self.instruments}
        return {symbol: window for symbol, window in found.items() if window is not None}

    def at(self, part: Window) -> Scope:
        """The same for a part of the window."""
        return replace(self, window=part)

    @property
    def closed(self) -> tuple[str, ...]:
        """The symbols whose exchange is closed all the time."""
        return tuple(symbol for symbol in self.ids if symbol not in self.open)

    def missing(
        self, conn: psycopg.Connection, *, reprocess: bool, gaps: bool, run_id: str | None
    ) -> list[tuple[str, Window]]:
        """What is to be asked for, by symbol: what is not covered; or with `reprocess` everything, with `gaps` the
        minutes known as missing, but what this run covered already."""
        wanted = [(symbol, self.ids[symbol], window) for symbol, window in self.open.items()]
        if gaps:
            from include.pipeline.gaps import missing

            found = missing(conn, source=self.source, window=self.window, symbols=list(self.ids))
            wanted = [(symbol, self.ids[symbol], window) for symbol, window in self._clipped(found)]
        if (reprocess or gaps) and run_id is None:
            return [(symbol, window) for symbol, _, window in wanted]
        return history.missing(conn, self.source, self.kind, wanted, only_run=run_id if reprocess or gaps else None)

    def groups(self, missing: Iterable[tuple[str, Window]]) -> list[tuple[Window, tuple[Instrument, ...]]]:
        """Instruments that lack the same window are asked for together; the earliest window comes first."""
        symbols: dict[Window, set[str]] = {}
        for symbol, window in missing:
            symbols.setdefault(window, set()).add(symbol)
        return [
            (window, tuple(one for one in self.instruments if one.symbol in symbols[window]))
            for window in sorted(symbols, key=lambda window: (window.start, window.end))
        ]

    def _clipped(self, windows: Iterable[tuple[str, Window]]) -> Iterable[tuple[str, Window]]:
        for symbol, window in windows:
            start, end = max(window.start, self.window.start), min(window.end, self.window.end)
            if symbol in self.ids and start < end:
                yield symbol, Window(start, end)


def scope(
    conn: psycopg.Connection,
    settings: Settings,
    source: str,
    window: Window,
    *,
    kind: Kind | None,
    symbols: Collection[str] | None,
    now: datetime | None = None,
) -> Scope:
    """What is asked for. Symbols that the source does not have are left out.

    Raises ConfigError for a source, a kind or a symbol that does not exist, and for a window that lies in the future.
    """
    kinds = HISTORY.get(source)
    if kinds is None:
        raise ConfigError(f"there is no history of a source {source!r}; there is of {', '.join(HISTORY)}")
    kind = kind or kinds[0]
    if kind not in kinds:
        raise ConfigError(
            f"{source} has no history of {kind}s; it has {' and '.join(f'{one}s' for one in kinds)}, or another source "
            f"does ({', '.join(name for name, its in HISTORY.items() if kind in its) or 'none'})"
        )
    known = known_instruments(conn, settings)
    if unknown := sorted(set(symbols or ()) - {one.symbol for one in known}):
        raise ConfigError(
            f"there is no instrument {', '.join(unknown[:20])}{', ...' if len(unknown) > 20 else ''}; "
            f"add it to {settings.instruments_file} with its id at {source}"
        )
    vendor = make(source, settings)
    now = now or datetime.now(UTC)
    until = vendor.history_until(window, kind, now)
    if until <= window.start:
        raise ConfigError(
            f"{iso(window.start)} to {iso(window.end)}: {source} has {kind}s up to {iso(until)} by now; "
            "ask for a window that begins before that, or wait"
        )
    chosen = tuple(one for one in known if source in one.ids and (symbols is None or one.symbol in set(symbols)))
    return Scope(settings, vendor, kind, Window(window.start, min(window.end, until)), chosen)


def _open(calendar: str, window: Window) -> Window | None:
    """From the first to the last day of the window on which there is a session; None if there is none."""
    parts = list(days_of(window))
    first = next((part for part in parts if _has_session(calendar, part)), None)
    if first is None:
        return None
    last = next(part for part in reversed(parts) if _has_session(calendar, part))
    return Window(first.start, last.end)


def _has_session(calendar: str, part: Window) -> bool:
    """Whether there is any on that day, before the opening and after the close included."""
    start = midnight(part.start)
    return is_open(calendar, Window(start, start + _DAY), extended=True)
