"""A buffer on disk between a feed and the stream: appended at one end, drained in order at the other.

A folder of segment files (`00000001.log`, ...) of frames `crc32 | key length | data length | key | data`, and a file
`position` that says up to where the stream has taken them. What `append` returned for is on disk (fsync), so it
survives kill -9 and a power cut; what was not acknowledged is drained again after a restart (at least once). A frame
that is torn, at the end of the last segment, was never promised: it is cut off. Any other damage is set aside in a file
of its own and named in `damage`, never skipped without a word.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from include.errors import StreamError

log = logging.getLogger(__name__)

SEGMENT_BYTES: Final = 16 * 1024 * 1024
MAX_BYTES: Final = 2 * 1024 * 1024 * 1024
_HEAD: Final = struct.Struct(">IHI")
_SUFFIX: Final = ".log"


class SpoolFullError(StreamError):
    """The spool holds as much as it may, or the disk is full; nothing of the last append was kept."""


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    size: int
    count: int  # whole frames in it


@dataclass(frozen=True, slots=True)
class _Place:
    """A place to read from: the segment, the byte, and how many frames of the segment come before it."""

    number: int
    offset: int
    count: int


class Spool:
    """Records `(key, data)` on disk, in order. One process at a time; safe for one appending and one draining thread.

    `damage` says what was found unreadable when it was opened. Raises StreamError if another process holds the folder,
    or if it cannot be written to.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, max_bytes: int = MAX_BYTES) -> None:
        self.folder, self.segment_bytes, self.max_bytes = folder, min(segment_bytes, max_bytes // 4), max_bytes
        self._guard = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._alone = (folder / "lock").open("w")
        except OSError as error:
            raise StreamError(
                f"the spool {folder} cannot be opened: {error}; it must be a folder that this user may write to"
            ) from None
        try:
            fcntl.flock(self._alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._alone.close()
            raise StreamError(f"another process spools into {folder}; one collector of an exchange is enough") from None
        self._segments: deque[_Segment] = deque()
        self._file: BinaryIO | None = None
        self._unfit = False  # the last segment has bytes at its end that could not be taken back
        self.damage: list[str] = []
        self._read = self._next = _Place(0, 0, 0)
        try:
            self._recover()
        except OSError as error:
            self._alone.close()
            raise StreamError(
                f"the spool {folder} cannot be read: {error}; check the disk, and that its files are this user's"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def count(self) -> int:
        """Records that are not acknowledged."""
        with self._guard:
            return self._waiting()

    @property
    def size(self) -> int:
        """Bytes on disk, acknowledged ones of a segment that is not done with included."""
        with self._guard:
            return sum(segment.size for segment in self._segments)

    def append(self, records: Iterable[tuple[str, bytes]]) -> int:
        """Write records behind all others and make them safe (one fsync); returns how many.

        All or nothing. Raises SpoolFullError if they would go beyond `max_bytes` or the disk takes no more.
        """
        frames = [_frame(key, data) for key, data in records]
        block = b"".join(frames)
        if not frames:
            return 0
        with self._guard:
            held = sum(segment.size for segment in self._segments)
            if held + len(block) > self.max_bytes:
                self._remove_done(with_last=True)
                held = sum(segment.size for segment in self._segments)
            if held + len(block) > self.max_bytes:
                raise SpoolFullError(
                    f"the spool {self.folder} holds {held:,} of {self.max_bytes:,} bytes and takes no more; "
                    "it empties itself once the stream takes records again"
                )
            segment = self._writable()
            assert self._file is not None  # noqa: S101  # `_writable` has opened it
            try:
                self._file.write(block)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                self._undo(segment)
                raise SpoolFullError(f"the spool {self.folder} cannot be written: {error}") from None
            segment.size += len(block)
            segment.count += len(frames)
        return len(frames)

    def peek(self, max_records: int, max_bytes: int) -> list[tuple[str, bytes]]:
        """The oldest records that are not acknowledged (at least one, if there is any). `acknowledge` ends them."""
        with self._guard:
            place, size = self._read, 0
            records: list[tuple[str, bytes]] = []
            for segment in list(self._segments):
                if segment.number < place.number:
                    continue
                if segment.number > place.number:
                    place = _Place(segment.number, 0, 0)
                with segment.path.open("rb") as file:
                    file.seek(place.offset)
                    while place.count < segment.count and len(records) < max_records:
                        found = _next_frame(file)
                        if found is None:
                            raise StreamError(
                                f"{segment.path} cannot be read at byte {place.offset:,}, though it was written whole: "
                                "check the disk; at the next start what can be read of it is sent, the rest set aside"
                            )
                        key, data, length = found
                        if records and size + len(data) > max_bytes:
                            break
                        records.append((key, data))
                        size += len(data)
                        place = _Place(segment.number, place.offset + length, place.count + 1)
                if place.count < segment.count:
                    break
            self._next = place
            return records

    def acknowledge(self) -> None:
        """The stream has taken what the last `peek` gave: it is not given again, and segments done with are removed."""
        with self._guard:
            self._read = self._next
            self._remove_done()
            self._write_position()

    def close(self) -> None:
        """Leave the folder to the next one. What is in it stays."""
        with self._guard:
            if self._file is not None:
                self._file.close()
                self._file = None
            self._alone.close()

    def _waiting(self) -> int:
        ahead = [one for one in self._segments if one.number >= self._read.number]
        passed = self._read.count if ahead and ahead[0].number == self._read.number else 0
        return sum(segment.count for segment in ahead) - passed

    def _writable(self) -> _Segment:
        """The segment to append to, with its file open; a new one where there is none or the last is full."""
        last = self._segments[-1] if self._segments else None
        if last is None or last.size >= self.segment_bytes or self._unfit:
            if self._file is not None:
                self._file.close()
                self._file = None
            number = max(self._read.number, last.number if last else 0) + 1
            last = _Segment(number, self.folder / f"{number:08}{_SUFFIX}", 0, 0)
            try:
                self._file = last.path.open("wb")  # what may lie there is of an attempt that failed: no segment has it
                _sync_folder(self.folder)
            except OSError as error:
                raise SpoolFullError(f"the spool {self.folder} cannot be written: {error}") from None
            self._segments.append(last)
            self._unfit = False
        elif self._file is None:
            self._file = last.path.open("ab")
        return last

    def _undo(self, segment: _Segment) -> None:
        """Take back what a failed append has written, so that whole frames follow whole ones."""
        if self._file is not None:
            try:
                self._file.close()  # tries to write what is buffered
            except OSError:
                log.debug("closing %s after a failed write failed as well", segment.path)
            self._file = None
        try:
            os.truncate(segment.path, segment.size)
        except OSError:
            self._unfit = True

    def _remove_done(self, *, with_last: bool = False) -> None:
        """Remove segments that are read to their end; the last is kept for what comes while it has room."""
        while self._segments:
            first = self._segments[0]
            read = first.number < self._read.number or (
                first.number == self._read.number and self._read.count >= first.count
            )
            if not read or (len(self._segments) == 1 and first.size < self.segment_bytes and not with_last):
                return
            if len(self._segments) == 1 and self._file is not None:
                self._file.close()
                self._file = None
            try:
                first.path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s is sent, but cannot be removed: %s", first.path, error)
                return
            self._segments.popleft()

    def _write_position(self) -> None:
        """Without fsync, and not at any price: an older position means records sent twice, which is harmless."""
        new = self.folder / ".position"
        try:
            new.write_text(f"{self._read.number} {self._read.offset} {self._read.count}\n", encoding="ascii")
            new.replace(self.folder / "position")
        except OSError as error:
            log.warning("%s/position cannot be written, so a restart sends again what was sent: %s", self.folder, error)

    def _recover(self) -> None:
        try:
            self._read = _Place(*map(int, (self.folder / "position").read_text(encoding="ascii").split()))
        except (OSError, ValueError, TypeError):
            self._read = _Place(0, 0, 0)
        paths = sorted(path for path in self.folder.glob(f"*{_SUFFIX}") if path.stem.isdecimal())
        for path in paths:
            self._segments.append(self._recovered(path, is_last=path == paths[-1]))
        numbers = [segment.number for segment in self._segments]
        at = next((one for one in self._segments if one.number == self._read.number), None)
        if at is not None and (self._read.count > at.count or self._read.offset > at.size):
            self._read = _Place(at.number, 0, 0)  # the position is of a file that was damaged since: send it all again
        elif numbers and self._read.number > numbers[-1]:
            self._read = _Place(numbers[0], 0, 0)
        self._next = self._read
        self._remove_done()

    def _recovered(self, path: Path, *, is_last: bool) -> _Segment:
        """Read a segment through and cut off what does not read as whole frames."""
        size = count = 0
        with path.open("rb") as file:
            while (found := _next_frame(file)) is not None:
                size += found[2]
                count += 1
            file.seek(size)
            rest = file.read()
        if rest:
            if not (is_last and _is_torn(rest)):
                aside = path.with_suffix(f".{size}.damaged")
                aside.write_bytes(rest)
                said = f"{path}: the {len(rest):,} bytes from {size:,} on cannot be read and are in {aside.name}"
                self.damage.append(said)
                log.error(said)
            os.truncate(path, size)
        return _Segment(int(path.stem), path, size, count)


def _frame(key: str, data: bytes) -> bytes:
    name = key.encode("utf-8", "surrogatepass")
    body = name + data
    return _HEAD.pack(zlib.crc32(body, len(name)), len(name), len(data)) + body


def _next_frame(file: BinaryIO) -> tuple[str, bytes, int] | None:
    """(key, data, bytes read), or None where no whole frame follows."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    crc, name_length, data_length = _HEAD.unpack(head)
    body = file.read(name_length + data_length)
    if len(body) < name_length + data_length or zlib.crc32(body, name_length) != crc or not body:
        return None
    return body[:name_length].decode("utf-8", "surrogatepass"), body[name_length:], _HEAD.size + len(body)


def _is_torn(rest: bytes) -> bool:
    """Whether this is the beginning of a frame (or of the zeros that a file system leaves after a power cut)."""
    if len(rest) < _HEAD.size or not rest.strip(b"\0"):
        return True
    _, name_length, data_length = _HEAD.unpack(rest[: _HEAD.size])
    return len(rest) < int(_HEAD.size + name_length + data_length)


def _sync_folder(folder: Path) -> None:
    """The name of a new file is safe only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
