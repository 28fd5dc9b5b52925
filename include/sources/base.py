"""The shape of a source: `query` says what to ask, `extract` asks (the only I/O), `transform` makes events of it.

Whatever of an answer cannot become an event becomes a `Rejected` with the reason: nothing is dropped silently.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Generic, TypeVar

from include.errors import ConfigError
from include.events import Event, Kind, Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources.gate import Gate, Limits, OpenGate

Query = TypeVar("Query")
Raw = TypeVar("Raw")


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
    """What one answer gave: events, the line number of each within its origin, and what is no event."""

    events: list[Event] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


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
