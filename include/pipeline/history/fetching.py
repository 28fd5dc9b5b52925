"""Asking a vendor for its past, behind the gate, and landing what it says answer by answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from include.errors import MisfitError, RefusedError, SourceError
from include.events import Window
from include.instruments import Instrument
from include.pipeline.history.landing import Landing
from include.pipeline.history.order import InOrder
from include.pipeline.history.scope import Scope
from include.pipeline.history.tally import Tally
from include.sources.asking import AllRefusedError, IncompleteError
from include.sources.base import Batch, Rejected
from include.sources.gate import Gate
from include.warehouse.vendors import VendorGate

log = logging.getLogger(__name__)

# A minute's budget comes back within that time, so it is waited for; a day's budget defers what is left.
_PATIENCE: Final = 75.0
_FAILURES: Final = 2  # then it is the vendor, not one of its instruments


@dataclass(slots=True)
class Fetching:
    """One backfill's questions. `failures` are what went wrong, `deferred` why the rest is not asked for now."""

    scope: Scope
    landing: Landing
    progress: Callable[[int], object] | None = None
    calls: int = 0
    events: int = 0
    empty: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    failures: list[SourceError] = field(default_factory=list)
    deferred: RefusedError | None = None

    def run(self, groups: list[tuple[Window, tuple[Instrument, ...]]]) -> None:
        """Ask for each group in turn. What came is landed, however it ends.

        An instrument that the vendor fails over is left, and the ones behind it are asked for; it is tried again with
        the next backfill.
        """
        settings, waiting = self.scope.settings, list(groups)
        gate = VendorGate(
            settings, self.scope.source, self.scope.vendor.budget, priority="history", patience=_PATIENCE,
            live_share=settings.history_live_share,
        )  # fmt: skip
        with gate:
            self.scope.vendor.gate = counted = _Counting(gate)
            try:
                while waiting and self.deferred is None:
                    window, instruments = waiting.pop(0)
                    _, *left = self._ask(gate, window, instruments) or (None,)
                    if len(self.failures) >= _FAILURES:
                        break
                    if left and self.deferred is None:
                        waiting.insert(0, (window, tuple(left)))
            finally:
                self.calls = counted.calls

    def _ask(self, gate: VendorGate, window: Window, instruments: tuple[Instrument, ...]) -> tuple[Instrument, ...]:
        """Those of the instruments that are still to be asked for; the first of them is the one that it ended with."""
        scope, landing = self.scope, self.landing
        ids = {one.symbol: one.ids[scope.source] for one in instruments}
        tally = Tally(scope.vendor.history_order(scope.kind), ids, window)
        ended: SourceError | None = None
        with InOrder() as behind:  # the next answer is on its way while this one is packed
            try:
                for batch in scope.vendor.fetch(window, instruments, scope.kind):
                    behind.do(partial(self._take, tally, batch))
                    if batch.events:
                        gate.confirm()
            except AllRefusedError:
                pass  # each instrument has its own refusal, which is a result
            except SourceError as error:
                ended = error
        if ended is None or isinstance(ended, IncompleteError):
            tally.end()
        if isinstance(ended, RefusedError):
            self.deferred = ended
        elif ended is not None:
            self._failed(gate, ended)
        elif tally.unfinished:
            said = "; ".join(tally.unfinished.values())
            self.failures.append(SourceError(f"{scope.source}: {said}; the answers are in quarantine"))
        landing.flush(tally.covers())
        self.empty |= set(tally.empty)
        self.refused |= {symbol: why for symbol, why in tally.refused.items() if symbol in tally.done}
        return tuple(one for one in instruments if one.symbol not in {*tally.done, *tally.unfinished})

    def _take(self, tally: Tally, batch: Batch) -> None:
        landing, events = self.landing, batch.events
        if landing.room() < len(events):
            landing.flush(tally.covers())
        tally.take(batch)
        landing.reject(batch.rejected)
        self.events += len(events)
        while len(events) > landing.room():
            room = landing.room()
            landing.add(events[:room], is_whole=False)
            events = events[room:]
            landing.flush(())  # it covers what its whole answer does, and that one is not landed yet
        if events:
            landing.add(events)
        if self.progress is not None and batch.events:
            self.progress(self.events)

    def _failed(self, gate: VendorGate, error: SourceError) -> None:
        log.warning("history of %s: %s", self.scope.source, error)
        if isinstance(error, MisfitError):
            self.landing.reject([Rejected(0, str(error), error.raw, self.scope.kind)])
        if not error.is_counted:
            gate.failed(str(error))
        self.failures.append(error)


class _Counting:
    """The gate, and how many calls passed it."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.calls = gate, 0

    def remaining(self) -> float:
        return self.gate.remaining()

    def admit(self, weight: int = 1) -> None:
        self.gate.admit(weight)
        self.calls += 1

    def pause(self, seconds: float, reason: str) -> None:
        self.gate.pause(seconds, reason)

    def succeeded(self) -> None:
        self.gate.succeeded()

    def failed(self, reason: str) -> None:
        self.gate.failed(reason)
