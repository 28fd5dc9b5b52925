"""The shape of a source: `query` says what to ask, `extract` asks (the only I/O), `transform` makes events of it.

Whatever of an answer cannot become an event becomes a `Rejected` with the reason: nothing is dropped silently.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, Literal, TypeVar

from include.errors import ConfigError
from include.events import Event, Kind, Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources.delays import delay
from include.sources.gate import Gate, Limits, OpenGate

Query = TypeVar("Query")
Raw = TypeVar("Raw")

Order = Literal["forward", "backward", "together"]
"""In which order a window of the past comes: instrument by instrument, each from its start on (or from its end back),
or all instruments minute by minute."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A part of an answer or a line of a file that is no event. `line_number` counts from 1 within its origin."""

    line_number: int
    reason: str
    raw: bytes
    kind: str | None = None
    symbol: str | None = None
    event_time: datetime | None = None


@dataclass(slots=True)
class Batch:
    """What one answer gave: events, the line number of each within its origin, and what is no event.

    By symbol, with the reason: `refused` are those of which the vendor has nothing of what was asked for, and says so;
    `unfinished` those of which something is missing that it has.
    """

    events: list[Event] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Calls:
    """How many calls something takes, and what they weigh in the vendor's budget."""

    calls: int
    weight: int

    def plus(self, other: Calls) -> Calls:
        return Calls(self.calls + other.calls, self.weight + other.weight)


class Source(ABC, Generic[Query, Raw]):
    """One vendor. Subclasses set `name` and the three verbs.

    `always_open`: it has quotes of every instrument around the clock, whatever the exchange's hours.
    """

    name: ClassVar[str]
    always_open: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.gate: Gate = OpenGate()  # whoever pulls sets the real one

    @property
    def limits(self) -> Limits:
        """What the vendor's plan allows; not limited unless the source says otherwise."""
        return Limits()

    @property
    def budget(self) -> Limits:
        """The plan's limits, or those that the settings give instead."""
        own = self.settings.vendor_budgets.get(self.name)
        return self.limits.but(Limits.parse(own)) if own else self.limits

    @abstractmethod
    def query(self, window: Window, instruments: Sequence[Instrument]) -> Query:
        """What is to be asked for. `instruments` are those that this source has an id for."""

    @abstractmethod
    def extract(self, query: Query) -> Iterator[Raw]:
        """The vendor's answers, one at a time, as they come. Raises SourceError if there is none to be had."""

    @abstractmethod
    def transform(self, query: Query, raw: Raw, received_at: datetime) -> Batch:
        """Pure: one answer to events and rejected parts."""

    def history(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> Query:
        """What is to be asked for a window of the past. Raises ConfigError if the vendor has none of this kind."""
        raise ConfigError(f"{self.name} has no history of {kind}s")

    def history_order(self, kind: Kind) -> Order:
        """In which order `fetch` brings history of this kind; the instruments come in the order given."""
        return "forward"

    def history_until(self, window: Window, kind: Kind, now: datetime) -> datetime:
        """Up to when the vendor's past of the window is whole, as of `now`; UTC, a whole minute."""
        return (now - delay(self.name, self.settings)).replace(second=0, microsecond=0)

    def history_calls(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> Calls | None:
        """What asking for this history takes; None where that depends on how much there is. Raises like `history`."""
        asks: Any = self.history(window, instruments, kind)
        return Calls(len(asks), len(asks))

    def fetch(self, window: Window, instruments: Sequence[Instrument], history: Kind | None = None) -> Iterator[Batch]:
        """All three verbs: one batch per answer, for those of the instruments that this source has.

        The window is the minute that just ended, or, with `history`, any window of the past and that kind alone.
        """
        known = [instrument for instrument in instruments if self.name in instrument.ids]
        if not known:
            return
        query = self.history(window, known, history) if history else self.query(window, known)
        for raw in self.extract(query):
            yield self.transform(query, raw, datetime.now(UTC))
