"""What a backfill is asked for: the same words in Airflow's forms, in a run's conf and behind the command's options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, cast

from include.errors import ConfigError
from include.events import KINDS, Kind, Window, iso
from include.instruments import load_instruments
from include.settings import Settings
from include.sources import HISTORY

USUAL: Final = "usual"
"""The kind that each source has as its usual history."""

KIND_NAMES: Final = tuple(kind for kind in KINDS if any(kind in kinds for kinds in HISTORY.values()))
"""The kinds of which any source has history."""

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """Which history is wanted. No sources, no symbols: all; no kind: what is usual for the source.

    `reprocess` asks the vendor again for what is there already, `gaps` only for the minutes that are known as missing.
    `start` and `end` (UTC, half-open) bound what a run would else take; None: no bound.
    """

    sources: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    kind: Kind | None = None
    reprocess: bool = False
    gaps: bool = False
    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> HistoryRequest:
        """Out of a run's params. Raises ConfigError naming the param, its value and what is allowed."""
        kind = params.get("kind") or USUAL
        if kind not in (USUAL, *KINDS):
            raise ConfigError(f"kind = {kind!r}: allowed are {', '.join((USUAL, *KINDS))}")
        start, end = _moment("from", params.get("from")), _moment("to", params.get("to"))
        if start is not None and end is not None and end <= start:
            raise ConfigError(f"to = {iso(end)} is not after from = {iso(start)}")
        return cls(
            sources=_names("sources", params.get("sources")),
            symbols=_names("symbols", params.get("symbols")),
            kind=None if kind == USUAL else cast("Kind", kind),
            reprocess=bool(params.get("reprocess")),
            gaps=bool(params.get("gaps")),
            start=start,
            end=end,
        )

    def params(self) -> dict[str, Any]:
        """As a run's conf: what `from_params` reads."""
        return {
            "sources": list(self.sources),
            "symbols": list(self.symbols),
            "kind": self.kind or USUAL,
            "reprocess": self.reprocess,
            "gaps": self.gaps,
            "from": None if self.start is None else iso(self.start),
            "to": None if self.end is None else iso(self.end),
        }

    def asks(self, source: str) -> bool:
        """Whether the source is meant, and has this kind of history."""
        return source in (self.sources or (source,)) and (self.kind or HISTORY[source][0]) in HISTORY[source]

    def window(self, interval: Window, *, by_hand: bool) -> Window | None:
        """What a run for `interval` takes: the part of it that lies within the bounds, None if there is none.

        By hand the bounds themselves count where they are given, however far from the interval they are.
        """
        if by_hand:
            start, end = self.start or interval.start, self.end or interval.end
            if end <= start:
                raise ConfigError(f"nothing lies between from = {iso(start)} and to = {iso(end)}; give both")
            return Window(start, end)
        start, end = max(interval.start, self.start or interval.start), min(interval.end, self.end or interval.end)
        return Window(start, end) if start < end else None


def asked_sources(settings: Settings) -> tuple[str, ...]:
    """The enabled sources that have history: those that are asked where none is named."""
    return tuple(source for source in settings.sources if source in HISTORY)


def known_symbols(settings: Settings) -> tuple[str, ...]:
    """The symbols of the instruments' file, for a form; none where the file is wrong: whoever reads it next says so."""
    try:
        return tuple(instrument.symbol for instrument in load_instruments(settings.instruments_file))
    except ConfigError:
        return ()


def days_of(window: Window) -> Iterator[Window]:
    """The window cut at each midnight (UTC), in order."""
    start = window.start
    while start < window.end:
        end = min(midnight(start) + _DAY, window.end)
        yield Window(start, end)
        start = end


def midnight(moment: datetime) -> datetime:
    """The beginning of its day, UTC."""
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def day_before(moment: datetime) -> Window:
    """The last whole day that had ended by `moment`."""
    end = midnight(moment)
    return Window(end - _DAY, end)


def parse_moment(name: str, text: str) -> datetime:
    """A date (its midnight) or an ISO 8601 time, UTC where it carries no zone. Raises ConfigError naming `name`."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(
            f"{name} = {text!r}: write a date, as in 2026-03-01, or a time in UTC, as in 2026-03-01T12:30"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _moment(name: str, value: Any) -> datetime | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ConfigError(f"{name} = {value!r}: write a date or an ISO 8601 time")
    return parse_moment(name, value)


def _names(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"{name} = {value!r}: write a list of names")
    return tuple(dict.fromkeys(one.strip() for one in value if one.strip()))
