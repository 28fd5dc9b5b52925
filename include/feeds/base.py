"""The shape of a feed: what a vendor's WebSocket is asked, and what its frames say. Pure; `line.py` does the I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, Literal

import orjson

Stream = Literal["trades", "bars", "quotes"]
STREAMS: Final[tuple[Stream, ...]] = ("trades", "bars", "quotes")


class BadFrameError(ValueError):
    """A frame that is not what the vendor documents; the text is the reason, short enough for a quarantine row."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing a frame says about one instrument.

    `vendor` is the id of the instrument in the instruments' file. `fields` is the vendor's object, in the form that the
    source of the same name makes events of (where it can, that of its REST API). `at` is the vendor's time, UTC; None
    where the frame has none, then the time of its arrival stands. `number` is the consecutive id of a trade, by which a
    missing one is noticed; None where there is no such id.
    """

    stream: Stream
    vendor: str
    fields: Any
    at: datetime | None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """What one frame says.

    `rejected` are (reason, part) of rows that do not fit. `clock` is the vendor's own time when it sent the frame, if
    the frame tells it. `last` gives the id of an instrument's latest trade (a heartbeat does). `confirmed` are
    instruments whose subscription stands; `refused` maps those that the vendor does not have to its words ("" stands
    for the whole connection). `closing`: the server will go away soon.
    """

    rows: tuple[Row, ...] = ()
    rejected: tuple[tuple[str, Any], ...] = ()
    clock: datetime | None = None
    last: dict[str, int] = field(default_factory=dict)
    confirmed: frozenset[str] = frozenset()
    refused: dict[str, str] = field(default_factory=dict)
    closing: bool = False


class Feed(ABC):
    """One vendor's WebSocket, for some of its instruments.

    `vendors` are ids as in the instruments' file. Facts of the vendor: `streams` it has; `confirms`, whether it answers
    a subscription; `lifetime`, after which the server ends a connection; `quiet_seconds`, without any frame for so long
    a connection is dead; `pause_seconds`, the least between two attempts to connect after the first; `ping`, a message
    that keeps the connection alive.
    """

    name: ClassVar[str]
    streams: ClassVar[tuple[Stream, ...]] = ("trades",)
    confirms: ClassVar[bool] = True
    lifetime: ClassVar[timedelta | None] = None
    quiet_seconds: ClassVar[float] = 30.0
    pause_seconds: ClassVar[float] = 1.0
    ping: ClassVar[str | None] = None

    def __init__(self, vendors: Sequence[str], streams: Sequence[Stream] = ("trades",)) -> None:
        self.vendors, self.wanted = tuple(vendors), tuple(streams)

    def address(self, url: str) -> str:
        """The address to connect to."""
        return url

    @abstractmethod
    def subscribe(self) -> list[str]:
        """The messages that ask for everything wanted."""

    @abstractmethod
    def unsubscribe(self) -> list[str]:
        """The messages that end it."""

    def parse(self, frame: str | bytes) -> Frame:
        """What a frame says. Raises BadFrameError for what is no JSON object or of a kind we do not know."""
        try:
            found = self.decode(frame)
        except ValueError:  # of orjson and of json
            raise BadFrameError("the frame is no JSON") from None
        if not isinstance(found, dict):
            raise BadFrameError(f"the frame is no JSON object but {type(found).__name__}")
        try:
            return self.read(found)
        except KeyError as missing:
            raise BadFrameError(f"the frame has no {missing.args[0]!r}") from None
        except (TypeError, AttributeError) as error:
            raise BadFrameError(f"the frame is not built as documented: {error}") from None

    def decode(self, frame: str | bytes) -> Any:
        """The frame's JSON. Raises ValueError."""
        return orjson.loads(frame)

    @abstractmethod
    def read(self, found: dict[str, Any]) -> Frame:
        """What a decoded frame says. Raises BadFrameError; KeyError, TypeError for what is missing or misbuilt."""


def whole(value: Any, name: str) -> int:
    """A vendor's id. Raises BadFrameError unless it is a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise BadFrameError(f"{name} is {value!r:.60}; it must be a whole number above 0")
    return int(value)


def from_millis(value: Any, name: str) -> datetime:
    """Milliseconds since 1970 as UTC. Raises BadFrameError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadFrameError(f"{name} is {value!r:.60}; it must be milliseconds since 1970")
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
    except OverflowError:
        raise BadFrameError(f"{name} is {value!r:.60}; that is no time between the years 1 and 9999") from None


def from_iso(value: Any, name: str) -> datetime:
    """An ISO 8601 time with its zone as UTC. Raises BadFrameError."""
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is None:
            raise ValueError
        return found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise BadFrameError(f"{name} is {value!r:.60}; it must be an ISO 8601 time with its zone") from None


def text(value: Any, name: str) -> str:
    """A text of at least one character. Raises BadFrameError."""
    if not isinstance(value, str) or not value:
        raise BadFrameError(f"{name} is {value!r:.60}; it must be a text")
    return value
