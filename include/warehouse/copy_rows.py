"""Lines of a raw object as rows of COPY's text format, the quick way.

`lines.parse` alone says what an event is and why a line is none. But most lines are like the one before: of a source,
kind and symbol seen before, with times as `include.events.iso` writes them. Such a line is written straight through;
whatever is not plainly of this kind goes to `parse`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import md5
from typing import Any, Final, NamedTuple

import orjson

from include.events import Event, iso
from include.warehouse.lines import Reject, Row, parse, time_of

COLUMNS: Final = "source, kind, symbol, line_number, event_time, vendor_id, payload_hash, payload, received_at, load_id"
_BLOCK: Final = 500  # rows of one piece
_LONGEST_ID: Final = 200
_ESCAPED: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_PLAIN_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


class Said(NamedTuple):
    """What an event says about its source, and when its record arrived, if that is known. UTC."""

    line_number: int
    source: str
    complete_until: datetime
    arrived_at: datetime | None


class Chunk:
    """Some lines of an object, encoded once, while `pieces` is run through.

    Then `rows` holds the encoded rows and `places` where in `lines` each came from; `rejects` what is no event; `said`
    what the events say about completeness; `records` how many records began in it. `sequence_number` and `arrived_at`
    are those of the last record so far: the ones given are of the line before.
    """

    def __init__(
        self,
        lines: Sequence[tuple[int, bytes]],
        load_id: int,
        sequence_number: str | None = None,
        arrived_at: datetime | None = None,
    ) -> None:
        self.lines, self.load_id = lines, load_id
        self.sequence_number, self.arrived_at = sequence_number, arrived_at
        self.records = 0
        self.rows: list[str] = []
        self.places: list[int] = []
        self.rejects: list[Reject] = []
        self.said: list[Said] = []
        self._heads: dict[tuple[str, str, str], str] = {}

    def pieces(self) -> Iterator[str]:
        """The rows, some at a time. To be run through once."""
        rows, places, heads = self.rows, self.places, self._heads
        times, moments = _Times(), _Moments()
        loads, dumps, sort = orjson.loads, orjson.dumps, orjson.OPT_SORT_KEYS
        sent = 0
        for place, (number, line) in enumerate(self.lines):
            try:
                fields = loads(line)
                head = heads[fields["source"], fields["kind"], fields["symbol"]]
                event_time, received_at = times[fields["event_time"]], times[fields["received_at"]]
                vendor_id = fields["vendor_id"]
                if not vendor_id.isalnum():
                    vendor_id = _plain_id(vendor_id)
                payload = fields["payload"]
                if type(payload) is not dict or len(vendor_id) > _LONGEST_ID:
                    raise _UnusualError
                text = dumps(payload, option=sort)
                digest = md5(text, usedforsecurity=False).hexdigest()
                body = text.decode()
                if "\\" in body:
                    body = _plain_text(body)
                until = fields.get("complete_until")
                if until is not None:
                    until = moments[until]
            except Exception:  # not plainly an event: there may be more to it, or something wrong with it
                if not self._parsed(place, number, line):
                    continue
            else:
                sequence_number = fields.get("sequence_number")
                if sequence_number != self.sequence_number:
                    self._next_record(sequence_number, fields.get("arrived_at"))
                if until is not None:
                    self.said.append(Said(number, fields["source"], until, self.arrived_at))
                rows.append(
                    f"{head}{number}\t{event_time}\t{vendor_id}\t{digest}\t{body}\t{received_at}\t{self.load_id}\n"
                )
                places.append(place)
            if len(rows) - sent == _BLOCK:
                yield "".join(rows[sent:])
                sent = len(rows)
        if sent < len(rows):
            yield "".join(rows[sent:])

    def _next_record(self, sequence_number: Any, arrived_at: Any) -> None:
        self.records += sequence_number is not None
        self.sequence_number, self.arrived_at = sequence_number, time_of(arrived_at)

    def _parsed(self, place: int, number: int, line: bytes) -> bool:
        """Whether the line is an event; then its row is written."""
        found, (sequence_number, arrived_at) = parse(number, line)
        if sequence_number != self.sequence_number:
            self._next_record(sequence_number, arrived_at)
        if isinstance(found, Reject):
            self.rejects.append(found)
            return False
        event = found.event
        head = "".join(f"{text.translate(_ESCAPED)}\t" for text in (event.source, event.kind, event.symbol))
        self._heads[event.source, event.kind, event.symbol] = head
        if event.complete_until is not None:
            self.said.append(Said(number, event.source, event.complete_until, self.arrived_at))
        self.rows.append(f"{head}{_tail(found, event)}\t{self.load_id}\n")
        self.places.append(place)
        return True


class _UnusualError(Exception):
    pass


class _Times(dict[str, str]):
    """Times as Postgres reads them, by the text that came: those written as `iso` does, which are the same text."""

    def __missing__(self, text: str) -> str:
        if not _PLAIN_TIME.fullmatch(text):
            raise _UnusualError
        datetime.fromisoformat(text)  # a month 13 has the right form, too
        self[text] = text
        return text


class _Moments(dict[str, datetime]):
    """Times by the text that came."""

    def __missing__(self, text: str) -> datetime:
        moment = self[text] = _known(time_of(text))
        return moment


def _known(moment: datetime | None) -> datetime:
    if moment is None:
        raise _UnusualError
    return moment


def _plain_id(vendor_id: str) -> str:
    if "\x00" in vendor_id or len(vendor_id) > _LONGEST_ID:
        raise _UnusualError
    return vendor_id.translate(_ESCAPED)


def _plain_text(body: str) -> str:
    if "\\u0000" in body:  # a NUL, or a backslash before the letters u0000
        raise _UnusualError
    return body.replace("\\", "\\\\")


def _tail(row: Row, event: Event) -> str:
    payload, vendor_id = row.payload.replace("\\", "\\\\"), event.vendor_id.translate(_ESCAPED)
    times = iso(event.event_time), iso(event.received_at)
    return "\t".join((str(row.line_number), times[0], vendor_id, row.payload_hash, payload, times[1]))
