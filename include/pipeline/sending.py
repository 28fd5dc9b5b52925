"""Events into the stream, for all who bring some: `pull`, `replay` and the collectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from include.errors import StreamError
from include.events import Event
from include.sources.base import Batch, Rejected
from include.stream.aggregate import aggregate
from include.stream.producer import MAX_RECORD_BYTES, put_records

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient


@dataclass(slots=True)
class Sent:
    """How many events the stream took, and those too large for it."""

    count: int = 0
    oversize: list[Rejected] = field(default_factory=list)


def send(kinesis: KinesisClient, stream: str, batch: Batch) -> Sent:
    """Put a batch's events, partitioned by symbol, small ones packed together; each symbol's keep their order.

    What a source says about its completeness (`complete_until`) travels on its last event alone, and that one is put
    when the stream has taken all the others: over several shards nothing else would tell that they are there.
    Raises StreamError saying what the stream did not take.
    """
    marks = _marks(batch.events)
    last = dict(sorted(marks.values()))
    sent = Sent()
    _put(kinesis, stream, batch, {place: None for place in range(len(batch.events)) if place not in last}, sent, last)
    _put(kinesis, stream, batch, last, sent)
    return sent


def _marks(events: Sequence[Event]) -> dict[str, tuple[int, datetime]]:
    """For each source that says so: the place of its last event, and the latest time that it is complete until."""
    until: dict[str, datetime] = {}
    last: dict[str, int] = {}
    for place, event in enumerate(events):
        last[event.source] = place
        if event.complete_until is not None:
            until[event.source] = max(event.complete_until, until.get(event.source, event.complete_until))
    return {source: (last[source], time) for source, time in until.items()}


def _put(
    kinesis: KinesisClient,
    stream: str,
    batch: Batch,
    untils: Mapping[int, datetime | None],
    sent: Sent,
    later: Collection[int] = (),
) -> None:
    """Put the events at the places of `untils`, each with that completeness; `later` are not sent if this fails."""
    places = list(untils)
    events = []
    for place, until in untils.items():
        event = batch.events[place]
        event = event if event.complete_until == until else replace(event, complete_until=until)
        events.append((event.symbol, event.to_json()))
    packed = aggregate(events)
    report = put_records(kinesis, stream, [(one.key, one.data) for one in packed], keys_apart=True)
    for one in (packed[index] for index in report.oversize):  # never several events: those are packed below the limit
        place, data = places[one.indices[0]], one.data
        event = batch.events[place]
        reason = f"the record has {len(data):,} bytes, more than the stream's {MAX_RECORD_BYTES:,}"
        sent.oversize.append(Rejected(batch.lines[place], reason, data, event.kind, event.symbol, event.event_time))
    if report.failed:
        codes: Counter[str] = Counter()
        for failed in report.failed:
            codes[failed.error_code] += len(packed[failed.index].indices)
        if later:
            codes["NotSent"] += len(later)
        symbols = sorted({packed[failed.index].key for failed in report.failed})  # those refused, not those behind
        raise StreamError(
            f"the stream {stream} did not take {codes.total():,} of {len(batch.events):,} events "
            f"({', '.join(f'{count:,} {code}' for code, count in codes.most_common())}; symbols "
            f"{', '.join(symbols[:5])}{', ...' if len(symbols) > 5 else ''}) in {report.attempts} requests.\n"
            "Repeat the step: what was taken already is recognised and dropped."
        )
    sent.count += len(events) - len(report.oversize)
