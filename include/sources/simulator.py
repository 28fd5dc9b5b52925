"""A market made of noise, the default source: quotes at every step of the cadence, trades if asked for, and shocks.

What it says is a function of (seed, symbol, time) alone. No state is carried, so a backfill of any window gives what
was seen live, however it is split, and it does not matter which other symbols are asked for. The quotes of the minutes'
ends are the same at every cadence. Equities are quoted around the clock so that there is always something to see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

import numpy as np

from include.errors import ConfigError
from include.events import Event, Kind, Window
from include.instruments import Instrument, load_instruments
from include.sources.base import Batch, Calls, Order, Source
from include.sources.exchange import Exchange, Hour, Said
from include.sources.noise import Ints, key, uniform

_KINDS: Final[tuple[Kind, ...]] = ("trade", "quote")
_AT_ONCE: Final = 20_000  # trades in one answer


@dataclass(frozen=True, slots=True)
class Query:
    """What of some instruments is asked for: quotes of the cadence's steps that begin in the window, trades in it."""

    window: Window
    instruments: tuple[Instrument, ...]
    kinds: tuple[Kind, ...] = _KINDS


@dataclass(frozen=True, slots=True)
class Answer:
    """Quotes of one hour, or trades of one minute, at the most. `complete_until`: nothing earlier follows."""

    kind: Kind
    said: list[Said]
    complete_until: datetime | None


class Simulator(Source[Query, Answer]):
    """Each quote is stamped within the last second of its step; an hour's trades come before its quotes."""

    name = "simulator"
    always_open: ClassVar[bool] = True

    def query(self, window: Window, instruments: Sequence[Instrument]) -> Query:
        return Query(window, tuple(instruments))

    def history(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> Query:
        if kind not in _KINDS:
            raise ConfigError(
                f"simulator has no history of {kind}s; it has {' and '.join(f'{one}s' for one in _KINDS)}"
            )
        return Query(window, tuple(instruments), (kind,))

    def history_order(self, kind: Kind) -> Order:
        return "together"

    def history_calls(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> Calls | None:
        return Calls(0, 0)

    def extract(self, query: Query) -> Iterator[Answer]:
        exchange, cadence = Exchange(self.settings.simulator_seed, query.instruments), self.settings.cadence_seconds
        start, end = query.window.start.timestamp(), query.window.end.timestamp()
        steps = np.arange(-(-start // cadence) * cadence, end, cadence).astype(np.int64)
        for number in range(int(start // 3600), -int(-end // 3600)):
            hour = exchange.hour(number)
            if "trade" in query.kinds and self.settings.simulator_trades_per_minute:
                yield from self._trades(query, hour)
            asked = steps[steps // 3600 == number] + cadence
            if "quote" in query.kinds and asked.size:
                ends_at = datetime.fromtimestamp((number + 1) * 3600, UTC)
                yield Answer("quote", hour.quotes(asked), min(ends_at, query.window.end))

    def _trades(self, query: Query, hour: Hour) -> Iterator[Answer]:
        places, many = self._places(query)
        for minute in range(60):
            begins_at = datetime.fromtimestamp((hour.number * 60 + minute) * 60, UTC)
            start, end = (
                (at - begins_at) // timedelta(microseconds=1) for at in (query.window.start, query.window.end)
            )
            if start < 60_000_000 and end > 0:
                said = hour.trades(minute, self._counts(hour.number * 60 + minute, places, many), start, end)
                for first in range(0, len(said), _AT_ONCE):
                    yield Answer("trade", said[first : first + _AT_ONCE], None)

    def transform(self, query: Query, raw: Answer, received_at: datetime) -> Batch:
        symbols = {instrument.ids[self.name]: instrument.symbol for instrument in query.instruments}
        events = [
            Event(self.name, raw.kind, symbols[vendor], at, identity, payload, received_at, raw.complete_until)
            for vendor, at, identity, payload in raw.said
        ]
        return Batch(events, list(range(1, len(events) + 1)))

    def _places(self, query: Query) -> tuple[Ints, int]:
        """Where each instrument stands among those of the file, and how many these are; others share a place."""
        listed = [
            one.ids[self.name] for one in load_instruments(self.settings.instruments_file) if self.name in one.ids
        ]
        places = {name: place for place, name in enumerate(listed)}
        many = max(1, len(listed))
        asked = [one.ids[self.name] for one in query.instruments]
        return np.array([places.get(name, key("place", name) % many) for name in asked], dtype=np.int64), many

    def _counts(self, minute: int, places: Ints, many: int) -> Ints:
        """Trades of a minute by instrument: the file's share them evenly, and together have exactly the number set."""
        rate = self.settings.simulator_trades_per_minute
        turn = np.array([[key("turn", self.settings.simulator_seed)]], dtype=np.uint64)
        first = int(uniform(turn, np.array([minute]))[0, 0] * many)  # who gets what does not divide
        return (places * rate + rate + first) // many - (places * rate + first) // many
