"""Events into the stream, for all who bring some: `pull` and `replay`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.errors import StreamError
from include.sources.base import Batch, Rejected
from include.stream.producer import MAX_RECORD_BYTES, put_records

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient


@dataclass(frozen=True, slots=True)
class Sent:
    """How many events the stream took, and those too large for it."""

    count: int
    oversize: list[Rejected]


def send(kinesis: KinesisClient, stream: str, batch: Batch) -> Sent:
    """Put a batch's events, partitioned by symbol. Raises StreamError saying what the stream did not take."""
    records = [(event.symbol, event.to_json()) for event in batch.events]
    report = put_records(kinesis, stream, records)
    oversize = []
    for index in report.oversize:
        event, data = batch.events[index], records[index][1]
        reason = f"the record has {len(data):,} bytes, more than the stream's {MAX_RECORD_BYTES:,}"
        oversize.append(Rejected(batch.lines[index], reason, data, event.kind, event.symbol, event.event_time))
    if report.failed:
        codes = Counter(failed.error_code for failed in report.failed)
        symbols = sorted({batch.events[failed.index].symbol for failed in report.failed})
        raise StreamError(
            f"the stream {stream} did not take {len(report.failed):,} of {len(records):,} events "
            f"({', '.join(f'{count:,} {code}' for code, count in codes.most_common())}; symbols "
            f"{', '.join(symbols[:5])}{', ...' if len(symbols) > 5 else ''}) in {report.attempts} requests.\n"
            "Repeat the step: what was taken already is recognised and dropped."
        )
    return Sent(report.sent, oversize)
