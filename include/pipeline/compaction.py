"""One arrival day of raw JSON -> Parquet files by kind and event date, which count once they are verified.

The files of an arrival day are its own: doing it again replaces them and no other. First everything is made and
checked on this disk. Then the files are announced in the ledger and put one by one, each over the one it replaces,
which S3 does in one step; then what is no longer needed goes, and the ledger says that the day is done. A run that
dies leaves old and new files side by side, never half a file, and the next run makes the same ones.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from include.crashpoints import crash_point
from include.errors import LakeError
from include.events import Window
from include.lake import objects
from include.lake.listing import RawFile, list_raw
from include.lake.parquet import Part, Sorter, Start, Sum
from include.lake.tables import HASH, TABLES, folder, table_name
from include.pipeline.lake_objects import read
from include.settings import Settings
from include.warehouse import lake_ledger
from include.warehouse.db import connect
from include.warehouse.lake_ledger import Day, File
from include.warehouse.leases import Lease
from include.warehouse.lines import Row, parse
from include.warehouse.typed import TypedRows

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STEP: Final = "compact"
_CHUNK: Final = 20_000  # events in memory at a time
_COLUMNS: Final = {kind: [*columns, HASH] for kind, columns in TABLES.items()}


@dataclass(frozen=True, slots=True)
class CompactReport:
    """One arrival day: lines = rows + repeated + malformed. `is_new` is False where nothing was left to do.

    `repeated`: equal keys with equal payloads, of which one row stays. `malformed`: what is no event, or of a source
    that no staging view knows. `put` and `removed`: files that changed.
    """

    day: date
    objects: int = 0
    raw_bytes: int = 0
    lines: int = 0
    rows: int = 0
    repeated: int = 0
    malformed: int = 0
    files: int = 0
    parquet_bytes: int = 0
    seconds: float = 0.0
    put: int = 0
    removed: int = 0
    is_new: bool = True

    def __str__(self) -> str:
        if not self.is_new:
            return f"{self.day}: nothing new, {self.rows} rows in {self.files} files"
        left = f", {self.repeated} repeats" if self.repeated else ""
        left += f", {self.malformed} lines that are no events" if self.malformed else ""
        return (
            f"{self.day}: {self.rows} rows of {self.objects} objects in {self.files} files{left}; "
            f"{self.raw_bytes} bytes became {self.parquet_bytes} in {self.seconds:.1f} s"
        )


def window_of(day: date) -> Window:
    """An arrival day, UTC."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Window(start, start + timedelta(days=1))


@dataclass(slots=True)
class Compaction:
    """One day at work. `made` are its files on this disk by the key that they get."""

    settings: Settings
    held: Lease
    s3: S3Client
    window: Window
    lines: dict[str, tuple[int, int]] = field(default_factory=dict)
    made: dict[str, tuple[File, Path]] = field(default_factory=dict)
    rows: int = 0

    @property
    def day(self) -> date:
        return self.window.start.date()

    def run(self, *, again: bool) -> CompactReport:
        started = time.monotonic()
        files = list(list_raw(self.s3, self.settings.bucket, self.window))
        known = lake_ledger.objects(self.held.conn, self.day)
        self._refuse(files, known)
        done = lake_ledger.days(self.held.conn).get(self.day)
        work = self.settings.home / "compact" / str(self.day)
        shutil.rmtree(work, ignore_errors=True)  # of a run that died
        try:
            with connect(self.settings) as session, Sorter(work) as sorter:
                typed = TypedRows(session, _COLUMNS)
                whole = known == {file.key for file in files} and not self._announced()
                if done and whole and done.views_hash == typed.hash and not again:
                    return _told(done, is_new=False)
                typed_rows = self._read(files, typed, sorter)
                repeated = self._write(sorter)
            put, removed = self._publish(was_done=done is not None)
            day = self._counted(files, typed_rows, repeated, typed.hash, time.monotonic() - started)
            with self.held.conn.transaction():
                self.held.fence()
                lake_ledger.finish(self.held.conn, day, self.lines, list(self.made))
                crash_point("before_lake_commit")
            crash_point("after_lake_commit")
            return _told(day, put=put, removed=removed)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _refuse(self, files: list[RawFile], known: set[str]) -> None:
        where = f"s3://{self.settings.bucket}/{objects.RAW}dt={self.day}/"
        if not files:
            raise LakeError(f"{where} holds no raw object; `quantstream compact --list` shows the days there are")
        if gone := sorted(known - {file.key for file in files}):
            raise LakeError(
                f"{len(gone)} raw objects of {self.day} are in Parquet and no longer in the lake (first: {gone[0]}), "
                "so the day cannot be done again: its files stay as they are. Bring the objects back from a version or "
                "a copy of the bucket, or leave it"
            )

    def _announced(self) -> bool:
        return any(file.is_announced for file in lake_ledger.files(self.held.conn, self.day))

    def _read(self, files: list[RawFile], typed: TypedRows, sorter: Sorter) -> int:
        """All lines of the day through the views; how many rows came out."""
        count = 0
        for rows in _chunks(self._rows(files)):
            count += sum(sorter.add(piece.kind, piece.csv) for piece in typed.typed(rows))
            self.held.renew()
        return count

    def _rows(self, files: list[RawFile]) -> Iterator[Row]:
        for file in files:
            with self.held.kept():
                lines = read(self.s3, self.settings.bucket, file.key)
            number = 0
            for number, line in lines:
                one, _ = parse(number, line)
                if isinstance(one, Row):
                    yield one
            self.lines[file.key] = (file.size, number)

    def _write(self, sorter: Sorter) -> int:
        """The day's files on this disk, as those before them were cut; how many repeats were left out."""
        before: dict[tuple[str, date], dict[Start, str]] = {}
        for file in lake_ledger.files(self.held.conn, self.day):
            if file.first_symbol is not None and file.first_event_at is not None:
                start = (file.first_symbol, file.first_event_at.astimezone(UTC).replace(tzinfo=None))
                before.setdefault((file.kind, file.event_date), {})[start] = file.key
        repeated = Sum()
        with self.held.kept():
            for kind, date_ in sorted(sorter.came):
                keys = before.get((kind, date_), {})
                parts, repeats = sorter.write(kind, date_, list(keys))
                repeated = repeated.plus(repeats)
                self.made |= {file.key: (file, path) for file, path in self._named(kind, date_, parts, keys)}
        return repeated.rows

    def _named(self, kind: str, date_: date, parts: list[Part], keys: dict[Start, str]) -> Iterator[tuple[File, Path]]:
        """The parts with their keys: a part that begins where one began before has its key."""
        stem = f"{folder(kind)}dt={date_}/{table_name(kind)}-{self.day}"
        names = (f"{stem}-{number:03d}.parquet" for number in range(1, 1000))
        free = (name for name in names if name not in keys.values())
        for part in parts:
            key = f"{stem}-000.parquet" if part.start is None else keys.get(part.start) or next(free)
            symbol, at = part.start or (None, None)
            yield (
                File(
                    key, kind, date_, symbol, at.replace(tzinfo=UTC) if at else None, part.sum.rows, part.bytes,
                    part.sum.checksum, part.sha256, True,
                ),
                part.path,
            )  # fmt: skip

    def _publish(self, *, was_done: bool) -> tuple[int, int]:
        """Put what is other than what lies there, remove what is no longer of the day; how many of each."""
        before = {file.key for file in lake_ledger.files(self.held.conn, self.day)}
        if not was_done:
            before |= self._left_by_a_lost_ledger()
        crash_point("before_lake_announce")
        with self.held.conn.transaction():
            self.held.fence()
            lake_ledger.announce(self.held.conn, self.day, [file for file, _ in self.made.values()])
        crash_point("after_lake_announce")
        seen = {key: objects.version(self.s3, self.settings.bucket, key) for key in self.made}
        put = removed = 0
        # The rear first: where a file is cut for the first time its rows are there twice for a moment, never missing.
        for key, (file, path) in sorted(self.made.items(), reverse=True):
            there = seen[key]
            if there is not None and there.sha256 == file.sha256:
                continue
            self.held.renew()
            crash_point("before_lake_put")
            with self.held.kept():
                objects.replace(self.s3, self.settings.bucket, key, path, file.sha256, there)
            crash_point("after_lake_put")
            put += 1
        for key in sorted(before - set(self.made)):
            self.held.renew()
            crash_point("before_lake_remove")
            objects.remove(self.s3, self.settings.bucket, key)
            removed += 1
        return put, removed

    def _left_by_a_lost_ledger(self) -> set[str]:
        """Files that lie where those of this day go, whatever the ledger says: a warehouse was lost, the lake not."""
        stems = {key.rsplit("-", 1)[0] + "-" for key in self.made}
        return {key for stem in stems for key in objects.sizes(self.s3, self.settings.bucket, stem)}

    def _counted(self, files: list[RawFile], typed: int, repeated: int, views_hash: str, seconds: float) -> Day:
        lines = sum(count for _, count in self.lines.values())
        made = [file for file, _ in self.made.values()]
        return Day(
            arrival_day=self.day, object_count=len(files), raw_bytes=sum(file.size for file in files), line_count=lines,
            row_count=sum(file.row_count for file in made), repeated_count=repeated, malformed_count=lines - typed,
            file_count=len(made), parquet_bytes=sum(file.bytes for file in made), views_hash=views_hash,
            seconds=round(seconds, 3),
        )  # fmt: skip


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


def _told(day: Day, *, put: int = 0, removed: int = 0, is_new: bool = True) -> CompactReport:
    return CompactReport(
        day.arrival_day, day.object_count, day.raw_bytes, day.line_count, day.row_count, day.repeated_count,
        day.malformed_count, day.file_count, day.parquet_bytes, day.seconds, put, removed, is_new,
    )  # fmt: skip
