"""Records of a shard -> raw objects of the lake: cut by hour, number and size, packed while they are read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from include.lake import raw
from include.stream.aggregate import MalformedAggregateError, unpack
from include.stream.consumer import Record

log = logging.getLogger(__name__)


@dataclass(slots=True)
class RawObject:
    """One object to be: `records` of the stream from `first` to `last`, which give `events` lines."""

    first: Record
    last: Record
    records: int = 0
    events: int = 0
    size: int = 0
    _packer: raw.Packer = field(default_factory=raw.Packer)

    def add(self, record: Record, lines: list[bytes], size: int) -> None:
        self._packer.add(lines)
        self.last = record
        self.records += 1
        self.events += len(lines)
        self.size += size

    def body(self) -> bytes:
        return self._packer.body()


def lines(record: Record) -> list[bytes]:
    """The lines of a record: one for each event that it holds. An aggregate that is damaged is one, kept as it came."""
    try:
        events = unpack(record.data)
    except MalformedAggregateError as error:
        log.warning("the record %s is no whole aggregate: %s", record.sequence_number, error)
        events = None
    if events is None:
        return [raw.line(record.data, record.sequence_number, record.arrived_at)]
    return raw.lines(events, record.sequence_number, record.arrived_at)


def cut(records: Iterable[tuple[Record, list[bytes]]], *, max_events: int, max_bytes: int) -> Iterator[RawObject]:
    """Cut records with their lines into objects: one arrival hour each, at most so many lines and bytes of them.

    A record is never divided: one that is larger than that is an object of its own.
    """
    one: RawObject | None = None
    for record, its_lines in records:
        size = sum(map(len, its_lines))
        if one is not None and (
            one.events + len(its_lines) > max_events or one.size + size > max_bytes or _hour(one.first) != _hour(record)
        ):
            yield one
            one = None
        one = one or RawObject(record, record)
        one.add(record, its_lines, size)
    if one is not None:
        yield one


def _hour(record: Record) -> datetime:
    return record.arrived_at.replace(minute=0, second=0, microsecond=0)
