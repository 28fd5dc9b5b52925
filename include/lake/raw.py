"""Raw objects: gzip JSON lines, written once and never changed.

The same records give the same bytes under the same key, so a writer that died may write again. A line is an event as it
came in, with `sequence_number` and `arrived_at` of its record behind its own fields, and between them `sub_sequence`
(from 0) where the record held several. What is no JSON object travels as `raw_base64` instead, so nothing a vendor
sends is lost or stops a batch.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, Literal

import orjson

from include.errors import LakeConflictError, LakeError
from include.events import iso

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_GZIP: Final = zlib.MAX_WBITS | 16  # zlib writes the gzip header itself: no time, no name
_LEVEL: Final = 3  # 6 takes more than twice as long, for an eighth less
_TRIES: Final = 3
_BUFFER: Final = 1024 * 1024
_ONE_LINE: Final = bytes.maketrans(b"\n\r", b"  ")  # in JSON only white space between tokens can be a line end


@dataclass(frozen=True, slots=True)
class Stored:
    """What `put_once` found or did, and the SHA-256 (hex) of the body that lies in the lake."""

    outcome: Literal["created", "same"]
    sha256: str


def object_key(stream: str, shard_id: str, first: str, last: str, arrived_at: datetime, *, again: int = 0) -> str:
    """`raw/dt=YYYY-MM-DD/hh=HH/<stream>-<shard>-<first>-<last>.jsonl.gz`, by the first record's arrival, in UTC.

    What is read `again` goes under a key of its own, with `-again<number>` behind the last record: nothing is ever
    overwritten.
    """
    at = arrived_at.astimezone(UTC)
    more = f"-again{again}" if again else ""
    return f"raw/dt={at:%Y-%m-%d}/hh={at:%H}/{stream}-{shard_id}-{first}-{last}{more}.jsonl.gz"


def history_key(source: str, kind: str, first_day: date, piece: str, arrived_at: datetime) -> str:
    """`raw/dt=YYYY-MM-DD/hh=HH/history-<source>-<kind>-<first day>-<piece>.jsonl.gz`, by when it was fetched (UTC)."""
    at = arrived_at.astimezone(UTC)
    return f"raw/dt={at:%Y-%m-%d}/hh={at:%H}/history-{source}-{kind}-{first_day:%Y-%m-%d}-{piece}.jsonl.gz"


def line(data: bytes, sequence_number: str, arrived_at: datetime) -> bytes:
    """One line of a raw object, with its line end. The bytes of a JSON object stay as they are."""
    return _stamped(data, _stamp(sequence_number, arrived_at))


def lines(events: Sequence[bytes], sequence_number: str, arrived_at: datetime) -> list[bytes]:
    """The lines of the events that one record held, in their order."""
    head, _, tail = _stamp(sequence_number, arrived_at).partition(b',"arrived_at"')
    tail = b',"arrived_at"' + tail
    return [_stamped(data, b'%s,"sub_sequence":%d%s' % (head, place, tail)) for place, data in enumerate(events)]


def _stamp(sequence_number: str, arrived_at: datetime) -> bytes:
    return b'"sequence_number":"%s","arrived_at":"%s"}\n' % (sequence_number.encode(), iso(arrived_at).encode())


def _stamped(data: bytes, stamp: bytes) -> bytes:
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        return b'{"raw_base64":"%s",%s' % (base64.b64encode(data), stamp)
    body = data.translate(_ONE_LINE).rstrip()[:-1]
    return body + (b"," if fields else b"") + stamp


class Packer:
    """The body of a raw object, line by line: only what is packed is kept. Equal lines give equal bytes."""

    def __init__(self, level: int = _LEVEL) -> None:
        self._packer = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
        self._parts: list[bytes] = []

    def add(self, lines: Iterable[bytes]) -> None:
        self._parts.append(self._packer.compress(b"".join(lines)))

    def body(self) -> bytes:
        """All of it; nothing can be added afterwards."""
        return b"".join([*self._parts, self._packer.flush()])


def encode(lines: Iterable[bytes]) -> bytes:
    """The body of a raw object. Equal lines give equal bytes."""
    packer = Packer()
    packer.add(lines)
    return packer.body()


def put_once(s3: S3Client, bucket: str, key: str, body: bytes) -> Stored:
    """Write the object unless it is there already.

    An object with the same content is success: the writer before us got that far. (The same lines packed by another
    zlib count as the same.) Raises LakeConflictError for other content, and nothing is ever overwritten; LakeError if
    the lake does not answer or refuses.
    """
    where = f"s3://{bucket}/{key}"
    digest = hashlib.sha256(body)
    if _created(s3, bucket, key, body, digest.digest()):
        return Stored("created", digest.hexdigest())
    there, _ = _get(s3, bucket, key)
    sha256 = hashlib.sha256(there).hexdigest()
    if sha256 == digest.hexdigest() or _unpack(there, where) == gzip.decompress(body):
        return Stored("same", sha256)
    raise LakeConflictError(
        f"{where} holds other content (SHA-256 {sha256[:12]}..., to be written: {digest.hexdigest()[:12]}...); "
        "nothing was overwritten. Find out who wrote it, move it away, then run the step again."
    )


def find(s3: S3Client, bucket: str, key: str) -> str | None:
    """The SHA-256 (hex) of the object's body; None if there is no such object."""
    try:
        return hashlib.sha256(_get(s3, bucket, key)[0]).hexdigest()
    except _MissingError:
        return None


def read_lines(s3: S3Client, bucket: str, key: str, *, sha256: str | None = None) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers, from 1, without line ends; they are unpacked as they are asked for.

    The body is fetched and checked at once: against `sha256` and against what its writer noted. Raises LakeError if it
    is missing or another one, and where it is cut off, when that place is reached.
    """
    where = f"s3://{bucket}/{key}"
    body, noted = _get(s3, bucket, key)
    actual = hashlib.sha256(body).hexdigest()
    for wanted in (sha256, noted):
        if wanted is not None and wanted != actual:
            raise LakeError(
                f"{where} is not what was written: its SHA-256 is {actual[:12]}..., noted is {wanted[:12]}...; "
                "restore the object from a version or a copy"
            )
    return _numbered(body, where)


def _numbered(body: bytes, where: str) -> Iterator[tuple[int, bytes]]:
    with _whole(body, where), gzip.GzipFile(fileobj=io.BytesIO(body)) as unpacked:
        for number, text in enumerate(io.BufferedReader(unpacked, _BUFFER), 1):
            yield number, text.rstrip(b"\r\n")


class _MissingError(LakeError):
    pass


def _created(s3: S3Client, bucket: str, key: str, body: bytes, sha256: bytes) -> bool:
    """Put the object if there is none; False if there is one."""
    from botocore.exceptions import BotoCoreError, ClientError

    where = f"s3://{bucket}/{key}"
    for tries in range(1, _TRIES + 1):
        try:
            s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=body,
                IfNoneMatch="*",
                ContentType="application/gzip",
                ChecksumSHA256=base64.b64encode(sha256).decode(),
                Metadata={"sha256": sha256.hex()},
            )
            return True
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "PreconditionFailed":
                return False
            if code != "ConditionalRequestConflict" or tries == _TRIES:  # 409: another writer is at it right now
                raise LakeError(f"{where} could not be written: {error}") from error
        except BotoCoreError as error:
            raise LakeError(f"{where} could not be written: {error}") from error
    raise AssertionError("unreachable")


def _get(s3: S3Client, bucket: str, key: str) -> tuple[bytes, str | None]:
    """The body, and the SHA-256 (hex) that its writer noted, if any."""
    from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError

    where = f"s3://{bucket}/{key}"
    for tries in range(1, _TRIES + 1):
        try:
            answer = s3.get_object(Bucket=bucket, Key=key)
            return answer["Body"].read(), answer["Metadata"].get("sha256")
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                raise _MissingError(f"{where} does not exist") from None
            raise LakeError(f"{where} could not be read: {error}") from error
        except FlexibleChecksumError as error:
            raise LakeError(f"{where} is not what was written: {error}; restore it from a version or a copy") from error
        except BotoCoreError as error:  # cut off while the body was read: botocore retries only what comes before it
            if tries == _TRIES:
                raise LakeError(f"{where} could not be read: {error}") from error
    raise AssertionError("unreachable")


def _unpack(body: bytes, where: str) -> bytes:
    with _whole(body, where):
        return gzip.decompress(body)


@contextmanager
def _whole(body: bytes, where: str) -> Iterator[None]:
    """What breaks while the body is unpacked is told as an error of the lake."""
    try:
        if not body:
            raise EOFError("it is empty")
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LakeError(f"{where} is no whole gzip file ({error}); restore it from a version or a copy") from None
