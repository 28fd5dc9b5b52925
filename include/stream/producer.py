"""Putting records into a Kinesis stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from include.crashpoints import crash_point
from include.errors import StreamError
from include.stream.backoff import PATIENT, Backoff, error_code, is_transient

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

MAX_RECORD_BYTES: Final = 1024 * 1024  # data and partition key
MAX_REQUEST_RECORDS: Final = 500
MAX_REQUEST_BYTES: Final = 5 * 1024 * 1024  # data and partition keys
_MAX_KEY_CHARACTERS: Final = 256


@dataclass(frozen=True, slots=True)
class Failed:
    """A record that was not acknowledged: its index in `records` and why."""

    index: int
    error_code: str


@dataclass(slots=True)
class PutReport:
    """What became of the records. sent + len(failed) + len(oversize) is their number; `attempts` counts requests."""

    sent: int = 0
    failed: list[Failed] = field(default_factory=list)
    oversize: list[int] = field(default_factory=list)
    attempts: int = 0

    def __str__(self) -> str:
        return f"{self.sent} sent, {len(self.failed)} failed, {len(self.oversize)} too large ({self.attempts} requests)"


def put_records(
    kinesis: KinesisClient,
    stream: str,
    records: Sequence[tuple[str, bytes]],
    *,
    keys_apart: bool = False,
    backoff: Backoff = PATIENT,
) -> PutReport:
    """Put `(partition key, data)` pairs, in order, and say what could not be sent.

    Requests hold at most 500 records and 5 MiB. The records that a request did not take are sent again, alone, before
    anything new is: so the order of a key holds from request to request. Inside one request Kinesis may refuse a record
    and take a later one of the same key; the refused one then comes after it, unless `keys_apart` puts at most one
    record of a key into a request (for few large records). A record is given up after `backoff.attempts`, and nothing
    later of its key is sent then (`HeldBack`); everything is given up (`NotSent`) when whole requests fail that often,
    or nothing was taken for `backoff.seconds`.

    At least once: a request whose answer got lost is sent again, and a failed record may have arrived all the same.
    Records over 1 MiB are not sent but named in `oversize`. Raises StreamError where no retry helps (no such stream, no
    permission), saying how many were sent before.
    """
    report = PutReport()
    dead_keys: set[str] = set()
    requests = _requests(records, report, dead_keys, keys_apart)
    for request in requests:
        refused, whole = _send(kinesis, stream, records, request, report, backoff)
        report.failed += [Failed(index, code) for index, code in refused.items()]
        dead_keys |= {records[index][0] for index in refused}
        if whole:
            report.failed += [Failed(index, "NotSent") for rest in requests for index in rest]
    report.failed.sort(key=lambda failed: failed.index)
    report.oversize.sort()
    return report


def _requests(
    records: Sequence[tuple[str, bytes]], report: PutReport, dead_keys: set[str], keys_apart: bool
) -> Iterator[list[int]]:
    """Indices in order, cut into requests. It looks at `dead_keys` only when asked for the next one."""
    request: list[int] = []
    request_bytes = 0
    inside: set[str] = set()
    for index in _rounds(records) if keys_apart else range(len(records)):
        key, data = records[index]
        try:
            size = len(data) + len(key.encode())
        except UnicodeEncodeError:  # half a surrogate pair
            size = 0
        if size == 0 or not 1 <= len(key) <= _MAX_KEY_CHARACTERS:
            report.failed.append(Failed(index, "InvalidPartitionKey"))
            continue
        if size > MAX_RECORD_BYTES:
            report.oversize.append(index)
            continue
        full = len(request) == MAX_REQUEST_RECORDS or request_bytes + size > MAX_REQUEST_BYTES
        if request and (full or (keys_apart and key in inside)):
            yield request
            request, request_bytes, inside = [], 0, set()
        if key in dead_keys:
            report.failed.append(Failed(index, "HeldBack"))
            continue
        request.append(index)
        request_bytes += size
        inside.add(key)
    if request:
        yield request


def _rounds(records: Sequence[tuple[str, bytes]]) -> list[int]:
    """The first record of each key, then the second of each, and so on."""
    seen: dict[str, int] = {}
    turns = []
    for index, (key, _) in enumerate(records):
        seen[key] = seen.get(key, 0) + 1
        turns.append((seen[key], index))
    return [index for _, index in sorted(turns)]


def _send(
    kinesis: KinesisClient,
    stream: str,
    records: Sequence[tuple[str, bytes]],
    pending: list[int],
    report: PutReport,
    backoff: Backoff,
) -> tuple[dict[int, str], bool]:
    """Send until all is taken or the bounds are reached: (index -> error code of what is given up, stop all?)."""
    tries, progress_at = 0, backoff.clock()
    while True:
        tries += 1
        report.attempts += 1
        refused, whole = _put_once(kinesis, stream, [records[index] for index in pending], report.sent)
        report.sent += len(pending) - len(refused)
        if len(refused) < len(pending):
            progress_at = backoff.clock()
        codes = {pending[place]: code for place, code in refused.items()}
        pending = list(codes)
        late = backoff.clock() - progress_at >= backoff.seconds
        if not pending or late or tries >= backoff.attempts:
            return codes, bool(pending) and (whole or late)
        backoff.pause(tries)


def _put_once(
    kinesis: KinesisClient, stream: str, records: list[tuple[str, bytes]], sent: int
) -> tuple[dict[int, str], bool]:
    """One request: (place -> error code of what it did not take, whether it failed as a whole)."""
    crash_point("before_put_records")
    try:
        answer = kinesis.put_records(
            StreamName=stream, Records=[{"PartitionKey": key, "Data": data} for key, data in records]
        )
    except Exception as error:
        if is_transient(error):
            return dict.fromkeys(range(len(records)), error_code(error)), True
        raise StreamError(
            f"the stream {stream} takes no records ({sent} were sent before): {error}\n"
            "Check that it exists in this region and account (`make up` makes the local one) and may be written to."
        ) from error
    crash_point("after_put_records")
    if not answer["FailedRecordCount"]:
        return {}, False
    return {place: one["ErrorCode"] for place, one in enumerate(answer["Records"]) if one.get("ErrorCode")}, False
