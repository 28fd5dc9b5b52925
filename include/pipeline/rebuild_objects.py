"""Every raw object of the lake into an empty warehouse, each loaded and judged as it was when it came.

Objects are loaded in the order in which they were written, some at a time. Those of a block are judged once the next
block is loaded: the other parts of a pull that was spread over several objects are there by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final

import psycopg

from include.aws import client
from include.errors import LoadRejectedError, QuantStreamError
from include.lake.listing import RawFile, list_raw
from include.pipeline.audit import audit
from include.pipeline.audit_together import accept_together
from include.pipeline.lake_objects import Seen, bring_in
from include.pipeline.many_at_once import many_at_once
from include.settings import Settings
from include.warehouse import rebuilds
from include.warehouse.db import connect
from include.warehouse.loader import Loaded

_BLOCK: Final = 64  # objects; with several shards at work a pull lies in fewer
_TOGETHER: Final = 32  # loads judged at once
_SMALL: Final = 5_000  # lines: a larger load is judged on its own


@dataclass(frozen=True, slots=True)
class Landed:
    """A load that waits to be judged, of an object with so many lines."""

    file: RawFile
    load_id: int
    lines: int


@dataclass(frozen=True, slots=True)
class Task:
    """An object to load, or loads to judge."""

    file: RawFile | None = None
    loads: tuple[Landed, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task. `problems`: objects that cannot be read; `rejected`: loads that the audit left out."""

    task: Task
    landed: Landed | None = None
    problems: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """What was brought in until now, and of how much. `history`: (key, source, kind) of its objects."""

    of_objects: int
    of_bytes: int
    objects: int = 0
    bytes: int = 0
    events: int = 0
    last_reset: int = 0
    unreadable: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    history: list[tuple[str, str, str]] = field(default_factory=list)

    def count(self, file: RawFile, events: int) -> None:
        self.objects, self.bytes, self.events = self.objects + 1, self.bytes + file.size, self.events + events

    def note(self, file: RawFile) -> None:
        if file.piece is not None:
            self.last_reset = max(self.last_reset, file.piece.again)
        elif file.source is not None and file.kind is not None:
            self.history.append((file.key, file.source, file.kind))


def bring_in_all(
    settings: Settings,
    conn: psycopg.Connection,
    *,
    stream_created_at: datetime | None,
    jobs: int,
    run_id: str | None,
    progress: Callable[[Tally], object],
) -> Tally:
    """Load and judge what is not yet; what cannot be read, or was rejected, is in the tally, and stops nothing.

    `stream_created_at` (UTC) is when the stream that there is was made, None if there is none. Raises LakeError if the
    lake does not answer. Safe to repeat: it goes on where it was.
    """
    s3 = client(settings, "s3")
    tally = Tally(0, 0)
    for file in list_raw(s3, settings.bucket):
        tally.of_objects, tally.of_bytes = tally.of_objects + 1, tally.of_bytes + file.size
    if jobs > 1:
        from include.quality.audit import preload

        preload()  # workers are forked: what is slow to import is theirs too
    work = partial(_work, settings, stream_created_at, run_id)
    files, to_judge = list_raw(s3, settings.bucket), list[Landed]()
    while (block := list(islice(files, _BLOCK))) or to_judge:
        known = rebuilds.known_loads(conn, [file.key for file in block])
        judge_next = [
            Landed(file, found.load_id, found.lines)
            for file in block
            if (found := known.get(file.key)) is not None and found.state == "landed"
        ]
        for file in block:
            tally.note(file)
            if file.key in known:
                tally.count(file, 0)
        tasks = [Task(file) for file in block if file.key not in known] + _groups(to_judge)
        for done in many_at_once(work, tasks, jobs):
            if done.task.file is not None:
                tally.count(done.task.file, done.landed.lines if done.landed else 0)
                judge_next += [done.landed] if done.landed else []
            tally.unreadable += done.problems
            tally.rejected += done.rejected
            progress(tally)
        to_judge = judge_next
    return tally


def _groups(landed: Sequence[Landed]) -> list[Task]:
    """Small loads some at a time, a large one on its own."""
    small = [one for one in landed if one.lines <= _SMALL]
    groups = [tuple(small[at : at + _TOGETHER]) for at in range(0, len(small), _TOGETHER)]
    return [Task(loads=group) for group in [*groups, *((one,) for one in landed if one.lines > _SMALL)]]


def _work(settings: Settings, stream_created_at: datetime | None, run_id: str | None, task: Task) -> Outcome:
    """Runs in a worker, too."""
    if task.file is None:
        return _judge(settings, task, run_id)
    file = task.file
    try:
        loaded = bring_in(
            settings, file, origin=file.key, is_live=not file.is_history,
            also=partial(_note_range, file, stream_created_at),
        )  # fmt: skip
    except QuantStreamError as error:
        return Outcome(task, problems=(str(error),))
    return Outcome(task, Landed(file, loaded.load_id, loaded.lines))


def _judge(settings: Settings, task: Task, run_id: str | None) -> Outcome:
    """The audit as of when each object came. A rejected load keeps that time, for whoever accepts it by hand."""
    longest = timedelta(hours=settings.stream_retention_hours)
    at = {one.load_id: one.file.judged_at(longest) for one in task.loads}
    problems: list[str] = []
    rejected: list[str] = []
    well = accept_together(settings, at, run_id=run_id) if len(at) > 1 else set()
    for load_id in sorted(at.keys() - well):
        try:
            audit(settings, loads=[load_id], is_rebuild=True, run_id=run_id, now=at[load_id])
        except LoadRejectedError as error:
            with connect(settings) as conn:
                rebuilds.was_judged(conn, load_id, at[load_id])
            rejected.append(str(error))
        except QuantStreamError as error:
            problems.append(str(error))
    return Outcome(task, problems=tuple(problems), rejected=tuple(rejected))


def _note_range(
    file: RawFile, stream_created_at: datetime | None, conn: psycopg.Connection, loaded: Loaded, seen: Seen
) -> None:
    """The range of the stream that the object holds, as landing wrote it down, in the transaction of its rows."""
    if file.piece is None:
        return
    arrived_at = seen.first_arrived_at or file.hour
    is_there = stream_created_at is not None and arrived_at >= stream_created_at
    rebuilds.restore_range(
        conn, stream=file.piece.stream,
        created_at=stream_created_at if stream_created_at and is_there else rebuilds.UNKNOWN_STREAM,
        shard_id=file.piece.shard_id, first=file.piece.first, last=file.piece.last, records=loaded.records,
        events=loaded.lines, arrived_at=arrived_at, key=file.key, landed_at=file.written_at,
    )  # fmt: skip
