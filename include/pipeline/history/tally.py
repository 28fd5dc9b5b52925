"""What is known to be whole while the answers come in: the part of each instrument's window that is covered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from include.events import Window
from include.sources.base import Batch, Order
from include.warehouse.history import Covered

_INSTANT: Final = timedelta(microseconds=1)


class Tally:
    """One fetch of a window for some instruments (our symbol -> the vendor's id), in the order they are asked for.

    An instrument is done when events of a later one come, or when the fetch has ended. Until then it is covered as far
    as its events reach, but not at that very instant: more of that time may be to come.
    """

    def __init__(self, order: Order, ids: Mapping[str, str], window: Window) -> None:
        self.order, self.ids, self.window = order, dict(ids), window
        self.events: Counter[str] = Counter()
        self.refused: dict[str, str] = {}
        self.unfinished: dict[str, str] = {}
        self.done: set[str] = set()
        self._symbols = list(ids)
        self._place = 0
        self._bad: dict[str, str] = {}
        self._reached: dict[str, datetime] = {}
        self._changed: set[str] = set()

    @property
    def left(self) -> list[str]:
        """The symbols that are not done, in order."""
        return [symbol for symbol in self._symbols if symbol not in self.done]

    @property
    def empty(self) -> list[str]:
        """The symbols that are done and of which the vendor had nothing."""
        return [one for one in self._symbols if one in self.done and not self.events[one] and one not in self.refused]

    def take(self, batch: Batch) -> None:
        """An answer came."""
        self.refused |= batch.refused
        self.unfinished |= batch.unfinished
        for bad in batch.rejected:
            if bad.symbol is not None:
                self._bad.setdefault(bad.symbol, bad.reason)
        if not batch.events:
            return
        if self.order == "together":
            self.events.update(event.symbol for event in batch.events)
            border = _until(batch)
            self._reached |= dict.fromkeys(self._symbols, border)
            self._changed |= set(self._symbols)
            return
        symbol = batch.events[0].symbol
        self.events[symbol] += len(batch.events)
        if symbol not in self.unfinished:  # else something before these is missing
            times = [event.event_time for event in batch.events]
            self._reached[symbol] = max(times) if self.order == "forward" else min(times) + _INSTANT
            self._changed.add(symbol)
        while self._symbols[self._place] != symbol:
            self._finish(self._symbols[self._place])
            self._place += 1

    def end(self) -> None:
        """All answers came."""
        for symbol in self.left:
            self._finish(symbol)

    def covers(self) -> tuple[Covered, ...]:
        """What is covered by now, of the symbols of which it has changed since this was asked last."""
        changed, self._changed = self._changed, set()
        found = [self._covered(symbol) for symbol in self._symbols if symbol in changed]
        return tuple(one for one in found if one.start < one.until)

    def _finish(self, symbol: str) -> None:
        if symbol in self._bad and not self.events[symbol] and symbol not in self.refused:
            said = f"nothing of what it answered about {symbol} is an event: {self._bad[symbol]}"
            self.unfinished.setdefault(symbol, said)
        if symbol not in self.unfinished:
            self.done.add(symbol)
            self._changed.add(symbol)

    def _covered(self, symbol: str) -> Covered:
        start, until = self.window.start, self.window.end
        if symbol not in self.done:
            reached = min(max(self._reached[symbol], start), until)
            start, until = (reached, until) if self.order == "backward" else (start, reached)
        many, why = self.events[symbol], self.refused.get(symbol)
        ended = "refused" if why is not None else "events" if many else "empty"
        return Covered(symbol, self.ids[symbol], start, until, many, ended, why)  # type: ignore[arg-type]


def _until(batch: Batch) -> datetime:
    """All instruments together: up to where the answer says that they are whole, else to the minute it begins in."""
    said = batch.events[-1].complete_until
    return said or min(event.event_time for event in batch.events).replace(second=0, microsecond=0)
