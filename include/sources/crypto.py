"""What the crypto exchanges have in common: a minute's bars and quotes, and a past of bars and trades.

A minute of the market is asked for as the bars of its last minutes and a quote. Trades are not pulled every minute:
they come over the exchange's feed (`quantstream collect`) or as history. A subclass holds the vendor's facts: how one
thing is asked for (`_pages`, the only I/O), where its rows are (`_rows`) and what a row means (`_event`), both pure.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from time import monotonic, sleep
from typing import Any, ClassVar, Final

import orjson

from include.errors import ConfigError, MisfitError
from include.events import Event, Kind, Window
from include.instruments import Instrument
from include.settings import Settings
from include.sources.asking import Collected, IncompleteError, Reply, through
from include.sources.base import Batch, Source
from include.sources.http import Answer, VendorHttp

MINUTE: Final = timedelta(minutes=1)
BARS: Final = 3  # minutes asked for each minute: a bar that was not finished or missed is had one or two minutes later
_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing to ask for: a kind of some instruments. Of bars and trades only those inside the window are events.

    `from_id`: trades from that one on, by the vendor's ids, instead of from the window's start.
    """

    kind: Kind
    symbols: Mapping[str, str]  # the vendor's id -> our symbol
    window: Window
    from_id: int | None = None

    @property
    def id(self) -> str:
        """The vendor's id, where it is one instrument."""
        (only,) = self.symbols
        return only


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for, in order; once all is in, the source is complete up to `complete_until`."""

    asks: tuple[Ask, ...]
    complete_until: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: what of it holds the rows, and its bytes. `at` is the vendor's clock, where its rows have no time."""

    data: Any
    raw: bytes
    at: datetime | None = None


class UnknownInstrumentError(Exception):
    """Raised by `_pages`: the vendor does not know an instrument. `raw` is what it said."""

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(reason)
        self.raw = raw


class UnfinishedError(Exception):
    """Raised by `_pages`: the rest of this ask cannot be had. `raw` is what stands in the way.

    The other asks go on; what is missing is an error once they are done.
    """

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(reason)
        self.raw = raw


class CryptoExchange(Source[Query, Reply[Ask]]):
    """An exchange's public REST API. `vendor` is its name for people.

    `spacing` is the least time between two calls of this process, in seconds; `quotes_at_once` says that one call
    brings the quotes of all instruments.
    """

    vendor: ClassVar[str]
    spacing: ClassVar[float] = 0.0
    quotes_at_once: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._next_call = 0.0

    def query(self, window: Window, instruments: Sequence[Instrument]) -> Query:
        """The last minutes' bars if a minute ended in the window (at a fast cadence most windows end none), quotes."""
        symbols = {one.ids[self.name]: one.symbol for one in instruments}
        asks: list[Ask] = []
        ended = window.end.replace(second=0, microsecond=0)
        if ended > window.start:
            asks += _one_by_one(Ask("bar", symbols, Window(ended - BARS * MINUTE, ended)))
        quotes = Ask("quote", symbols, window)
        asks += [quotes] if self.quotes_at_once else _one_by_one(quotes)
        return Query(tuple(asks), window.end)

    def history(self, window: Window, instruments: Sequence[Instrument], kind: Kind) -> Query:
        """Bars of a minute, or trades, of a window of the past."""
        if kind not in ("bar", "trade"):
            raise ConfigError(f"{self.name} has no history of {kind}s; it has bars and trades")
        symbols = {one.ids[self.name]: one.symbol for one in instruments}
        return Query(tuple(_one_by_one(Ask(kind, symbols, window))), window.end)

    def extract(self, query: Query) -> Iterator[Reply[Ask]]:
        replies = self._replies(query)
        if query.complete_until is None:
            yield from replies
        else:
            yield from through(self.vendor, replies, query.complete_until, f"see docs/vendors/{self.name}.md")

    def transform(self, query: Query, raw: Reply[Ask], received_at: datetime) -> Batch:
        batch, ask = Collected(), raw.ask
        if raw.refusal:
            batch.refuse(raw.line(0), raw.refusal, raw.raw, ask.kind, ask.symbols[ask.id])
            return batch
        if raw.unfinished:
            batch.unfinished[ask.symbols[ask.id]] = raw.unfinished
            return batch
        for number, symbol, row, found in self._judged(ask, raw.data, received_at):
            if isinstance(found, Event):
                batch.add(raw.line(number), found)
            else:
                batch.reject(raw.line(number), found, orjson.dumps(row) if number else raw.raw, ask.kind, symbol)
                if not number and symbol is not None:
                    batch.unfinished[symbol] = found
        if raw.complete_until is not None:
            batch.events = [replace(event, complete_until=raw.complete_until) for event in batch.events]
        return batch

    def _judged(
        self, ask: Ask, page: Page, received_at: datetime
    ) -> Iterator[tuple[int, str | None, Any, Event | str]]:
        """Number, symbol and value of each row with its event or why it is none; row 0 is the page as a whole.

        Events that were not asked for are left out.
        """
        try:
            rows = self._rows(ask, page.data)
        except ValueError as error:
            yield 0, ask.symbols[ask.id] if len(ask.symbols) == 1 else None, None, str(error)
            return
        first, last = _bounds(ask)
        for number, (identity, row) in enumerate(rows, start=1):
            symbol = ask.symbols.get(identity) if isinstance(identity, str) else None
            try:
                if symbol is None:
                    raise ValueError(f"{identity!r:.60} was not asked for")
                event = self._event(ask.kind, row, symbol, received_at, page.at)
            except ValueError as error:
                yield number, symbol, row, str(error)
            else:
                if first <= event.event_time <= last:
                    yield number, symbol, row, event

    @abstractmethod
    def _http(self) -> VendorHttp:
        """The vendor's API, behind the gate."""

    @abstractmethod
    def _pages(self, http: VendorHttp, ask: Ask) -> Iterator[Page]:
        """The vendor's answers to an ask, page by page; `_wait` before each call.

        Raises UnknownInstrumentError, UnfinishedError, and SourceError where the vendor fails as a whole.
        """

    @abstractmethod
    def _rows(self, ask: Ask, data: Any) -> list[tuple[Any, Any]]:
        """The rows of an answer, each with the vendor's id of its instrument. Raises ValueError if there are none."""

    @abstractmethod
    def _event(self, kind: Kind, row: Any, symbol: str, received_at: datetime, at: datetime | None) -> Event:
        """The event of a row. Raises ValueError with the reason why it is none."""

    def _wait(self) -> None:
        """Keep the least distance to this process's call before."""
        if (pause := self._next_call - monotonic()) > 0:
            sleep(pause)
        self._next_call = monotonic() + self.spacing

    def _replies(self, query: Query) -> Iterator[Reply[Ask]]:
        numbers, unknown, unfinished = count(1), set[str](), list[UnfinishedError]()
        with self._http() as http:
            for ask in query.asks:
                left = {one: symbol for one, symbol in ask.symbols.items() if one not in unknown}
                try:
                    for reply in self._of_ask(http, replace(ask, symbols=left), numbers) if left else ():
                        if reply.refusal:
                            unknown |= reply.ask.symbols.keys()  # not asked for again with the quotes
                        yield reply
                except UnfinishedError as error:
                    unfinished.append(error)
                    yield Reply(ask, next(numbers), None, b"", unfinished=str(error))
        if unfinished:
            more = f" (and {len(unfinished) - 1} more)" if len(unfinished) > 1 else ""
            raise IncompleteError(f"{self.vendor}: {unfinished[0]}{more}", unfinished[0].raw)

    def _of_ask(self, http: VendorHttp, ask: Ask, numbers: Iterator[int]) -> Iterator[Reply[Ask]]:
        """One call for all fails as a whole if the vendor does not know one of them; then each is asked for alone."""
        try:
            for page in self._pages(http, ask):
                self._must_fit(ask, page)
                if any(True for _ in self._judged(ask, page, _1970)):  # one without events could not say that all is in
                    yield Reply(ask, next(numbers), page, page.raw)
        except UnknownInstrumentError as error:
            if len(ask.symbols) == 1:
                said = (
                    f"{self.vendor} does not know {ask.id} ({error}); "
                    f"correct the column {self.name} in {self.settings.instruments_file.name}"
                )
                yield Reply(ask, next(numbers), None, error.raw, said)
                return
            for alone in _one_by_one(ask):
                yield from self._of_ask(http, alone, numbers)

    def _must_fit(self, ask: Ask, page: Page) -> None:
        """Raises MisfitError if an answer about all instruments has another form; about one, it costs only that one."""
        try:
            if len(ask.symbols) > 1:
                self._rows(ask, page.data)
        except ValueError as error:
            raise MisfitError(f"{self.vendor}: {error}", page.raw) from None

    def _place(self, ask: Ask, row: Any) -> tuple[int, datetime]:
        """Number and time of a trade, to find the next page by. Raises UnfinishedError if it has none."""
        try:
            event = self._event("trade", row, ask.symbols[ask.id], _1970, None)
        except ValueError as error:
            said = f"no further trades of {ask.id} can be asked for: {error}"
            raise UnfinishedError(said, orjson.dumps(row)) from None
        return int(event.vendor_id), event.event_time


def listed(data: Any, what: str) -> list[Any]:
    """The answer as a list. Raises ValueError saying what it is instead."""
    if not isinstance(data, list):
        raise ValueError(f"the answer is no list of {what} but {type(data).__name__}")
    return data


def trades_in(answer: Answer, ask: Ask) -> list[Any]:
    """The answer as a list of trades. Raises UnfinishedError: without it there is no next page."""
    if not isinstance(answer.data, list):
        raise UnfinishedError(f"the answer is no list of trades of {ask.id}", answer.body)
    return answer.data


def named(names: Sequence[str], row: Any) -> dict[str, Any]:
    """An array as an object, under the names its places have in the vendor's documentation. Raises ValueError."""
    if not isinstance(row, list):
        raise ValueError(f"not an array but {type(row).__name__}")
    if len(row) < len(names):
        raise ValueError(f"{len(row)} values; there must be {len(names)}: {', '.join(names)}")
    return dict(zip(names, row, strict=False))


def an_object(row: Any) -> dict[str, Any]:
    """The row as an object. Raises ValueError saying what it is instead."""
    if not isinstance(row, dict):
        raise ValueError(f"not an object but {type(row).__name__}")
    return row


def iso_time(name: str, value: Any) -> datetime:
    """The UTC time of an ISO 8601 text with its time zone. Raises ValueError naming the field and its value."""
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r:.60}; it must be an ISO 8601 time") from None
    if at.tzinfo is None:
        raise ValueError(f"{name} is {value!r:.60}; it must carry its time zone")
    return at.astimezone(UTC)


def trade_number(name: str, value: Any) -> int:
    """A trade's number. Raises ValueError if it is none: without it a trade has no key."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is {value!r:.60}; it must be a trade's number")
    return value


def millis(at: datetime) -> int:
    """Milliseconds since 1970."""
    return (at - _1970) // timedelta(milliseconds=1)


def vendor_clock(answer: Answer) -> datetime | None:
    """The vendor's clock when it answered (the header `Date`), to the second, UTC; None where it does not say."""
    try:
        at: datetime = parsedate_to_datetime(answer.headers.get("Date", ""))
    except (ValueError, IndexError, OverflowError):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _one_by_one(ask: Ask) -> list[Ask]:
    return [replace(ask, symbols={identity: symbol}) for identity, symbol in ask.symbols.items()]


def _bounds(ask: Ask) -> tuple[datetime, datetime]:
    """The first and the last time of what was asked for.

    Vendors answer in whole pages; a bar must also be over before the window is. A quote is about now.
    """
    if ask.kind == "quote":
        return datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    length = MINUTE if ask.kind == "bar" else timedelta(microseconds=1)
    return ask.window.start, ask.window.end - length
