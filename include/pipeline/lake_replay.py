"""A span of the raw lake, read once more through today's code.

Every object becomes a load of history of its own, beside the live lane. What is there already comes in as duplicates,
what was read wrongly as revisions, and what was quarantined and is taken today comes out of quarantine.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import psycopg

from include.aws import client
from include.errors import ConfigError, LakeError, LeaseHeldError, LoadRejectedError, QuantStreamError
from include.events import Window, iso
from include.lake.listing import RawFile, describe_key, list_raw
from include.pipeline.audit import audit
from include.pipeline.keepsakes import Replayed, keep_replay
from include.pipeline.lake_objects import Seen, arrived_at, bring_in
from include.pipeline.many_at_once import many_at_once
from include.settings import Settings
from include.warehouse import ranges
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.ledger import get_load, release_watermarks
from include.warehouse.loader import Loaded
from include.warehouse.outcomes import attempt
from include.warehouse.releases import begin_replay, end_replay, is_settled, origin_of_replay, settle_quarantine

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

STEP: Final = "lake_replay"
_HOUR: Final = timedelta(hours=1)
_SHOWN: Final = 20
_PAGE: Final = 1000
_COUNTED: Final = ("events", "inserted", "duplicates", "released", "bad")


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What a replay would read. `events` is None where the ledger does not know all of the objects any more.

    `archived` objects must be restored first, `missing` ones are in the ledger and not in the lake.
    """

    files: tuple[RawFile, ...]
    events: int | None
    archived: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    def __str__(self) -> str:
        events = "an unknown number of" if self.events is None else f"{self.events:,}"
        text = f"{len(self.files):,} objects, {self.bytes:,} bytes, {events} events"
        if self.archived:
            text += f"; {len(self.archived):,} objects lie in an archive"
        return text + (f"; {len(self.missing):,} objects are missing" if self.missing else "")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: objects and bytes done and of how many, events in the objects done."""

    objects: int
    of_objects: int
    bytes: int
    of_bytes: int
    events: int


@dataclass(frozen=True, slots=True)
class LakeReplayReport:
    """What a replay brought in. `known` objects were read by this replay before it was interrupted.

    `released` quarantined lines came in, `bad` lines are in quarantine (before it or now). `problems` are objects that
    could not be read, or were rejected, each with the remedy.
    """

    replay_id: str
    objects: int = 0
    known: int = 0
    events: int = 0
    inserted: int = 0
    duplicates: int = 0
    released: int = 0
    bad: int = 0
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.objects and not self.known and not self.problems:
            return "no object in this span, nothing to do"
        text = (
            f"{self.events:,} events of {self.objects:,} objects: {self.inserted:,} inserted, "
            f"{self.duplicates:,} known, {self.released:,} out of quarantine, {self.bad:,} bad"
        )
        text += f"; {self.known:,} objects were read before" if self.known else ""
        return text + (f"; {len(self.problems):,} objects FAILED" if self.problems else "")


@dataclass(frozen=True, slots=True)
class _Done:
    """One object, read by a worker."""

    size: int
    is_known: bool = False
    events: int = 0
    inserted: int = 0
    duplicates: int = 0
    released: int = 0
    bad: int = 0
    problem: str = ""
    is_rejected: bool = False


@dataclass(slots=True)
class _Tally:
    """What the objects sum up to."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    objects: int = 0
    known: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    rejected: int = 0

    def add(self, done: _Done) -> None:
        self.bytes += done.size
        if done.problem:
            self.problems.append(done.problem)
            self.rejected += done.is_rejected
        elif done.is_known:
            self.known += 1
        else:
            self.objects += 1
            for name in _COUNTED:
                self.counts[name] += getattr(done, name)


def plan_replay(
    settings: Settings,
    window: Window | None,
    *,
    sources: Collection[str] | None = None,
    keys: Collection[str] | None = None,
) -> ReplayPlan:
    """The objects that arrived in `[start, end)` (None: all), or those of these keys. Reads only.

    Objects of the stream hold several sources: with `sources` they are all among it, and of history only theirs.
    Raises LakeError if the lake does not answer, ConfigError for a key that cannot be one.
    """
    s3 = client(settings, "s3")
    with connect(settings) as conn:
        if keys is not None:
            files = tuple(_named(key) for key in keys)
            missing: tuple[str, ...] = ()
        else:
            known = _ledger(conn, window)
            found = list(list_raw(s3, settings.bucket, window))
            missing = tuple(sorted(set(known) - {file.key for file in found}))
            files = tuple(
                file
                for file in found
                if (sources is None or file.source is None or file.source in sources)
                and (window is None or _arrived_in(s3, settings.bucket, file, window, known))
            )
            missing = tuple(key for key in missing if window is None or window.start <= known[key] < window.end)
        events = _count_events(conn, [file.key for file in files])
    return ReplayPlan(files, events, tuple(file.key for file in files if file.is_archived), missing)


def replay_lake(
    settings: Settings,
    window: Window,
    *,
    sources: Collection[str] | None = None,
    keys: Collection[str] | None = None,
    replay_id: str | None = None,
    jobs: int = 1,
    run_id: str | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> LakeReplayReport:
    """Read the objects that arrived in `[start, end)` once more: load, audit, and settle what was in quarantine.

    What arrives after it was begun is not among it.

    The marts are made by the next transform. With the `replay_id` of one that was interrupted it goes on where that
    was, in its window; a task's `run_id` makes one of its own. `jobs` objects are in hand at once, each in memory only
    in part. Safe to repeat and to run beside everything else.

    Raises, after all other objects are in: LakeError for objects that are missing, cut off, in an archive or not those
    that were written, LoadRejectedError for loads that the audit rejected. Raises at once LeaseHeldError if this replay
    runs already, LakeError if the lake does not answer, ConfigError for a window in the future.
    """
    replay_id = replay_id or new_id(run_id)
    with (
        connect(settings) as conn,
        attempt(conn, STEP, window=window, run_id=run_id, detail={"replay_id": replay_id}) as this,
        lease(conn, f"{STEP} {replay_id}", seconds=settings.lease_seconds) as held,
    ):
        start, end, chosen, began = begin_replay(conn, replay_id, window.start, window.end, sources)
        with held.kept():
            keep_replay(settings, Replayed(replay_id, start, end, chosen, began))
            if began <= start:
                raise ConfigError(f"{replay_id}: nothing has arrived from {iso(start)} on, it is {iso(began)}")
            plan = plan_replay(settings, Window(start, min(end, began)), sources=chosen, keys=keys)
            tally = _Tally(problems=[_missing(settings, key) for key in plan.missing])
            if jobs > 1:
                _warm_up()
            work = partial(_replay_one, settings, replay_id, chosen, run_id)
            for done in many_at_once(work, plan.files, jobs):
                tally.add(done)
                if progress is not None:
                    progress(_progress(tally, plan))
        release_watermarks(conn, held)
        report = LakeReplayReport(replay_id, tally.objects, tally.known, **tally.counts, problems=tuple(tally.problems))
        this.row_count = report.events
        this.detail |= {"objects": report.objects, "released": report.released, "problems": len(report.problems)}
        log.info("lake replay %s: %s", replay_id, report)
        _raise(report, tally.rejected)
        end_replay(conn, replay_id)
    return report


def _replay_one(
    settings: Settings, replay_id: str, sources: Sequence[str] | None, run_id: str | None, file: RawFile
) -> _Done:
    """Load, audit and settle one object; what is wrong with it is told, and stops no other one."""
    origin = origin_of_replay(file.key, replay_id)
    try:
        loaded = bring_in(settings, file, origin=origin, sources=sources, also=partial(_hold, file.key))
        with connect(settings) as conn:
            was_done = is_settled(conn, loaded.load_id)
            if get_load(conn, loaded.load_id).state == "landed":
                audit(settings, loads=[loaded.load_id], run_id=run_id)
            released, still_bad = settle_quarantine(conn, loaded.load_id, file.key, origin, sources)
            load = get_load(conn, loaded.load_id)
    except LoadRejectedError as error:
        return _Done(file.size, problem=str(error), is_rejected=True)
    except LeaseHeldError as error:
        return _Done(file.size, problem=f"{file.key}: {error}. Repeat the replay {replay_id} when that is done")
    except QuantStreamError as error:
        return _Done(file.size, problem=str(error))
    if was_done:
        return _Done(file.size, is_known=True)
    return _Done(
        file.size, False, load.read_count, load.inserted_count or 0, (load.duplicate_count or 0) - still_bad, released,
        load.quarantined_count + still_bad,
    )  # fmt: skip


def _hold(key: str, conn: psycopg.Connection, loaded: Loaded, _: Seen) -> None:
    """What the object says about completeness waits like that of the live load: other shards may not be read so far."""
    range_ = ranges.of_key(conn, key)
    if range_ is not None:
        marks = {mark: at or range_.arrived_at for mark, at in loaded.marks.items()}
        ranges.hold_watermarks(conn, range_, loaded.load_id, marks)


def _ledger(conn: psycopg.Connection, window: Window | None) -> dict[str, datetime]:
    """When the objects arrived that the ledger of the stream knows, by key; those around the window are among them."""
    start, end = (window.start - _HOUR, window.end + _HOUR) if window else (None, None)
    return ranges.landed_keys(conn, start, end)


def _arrived_in(s3: S3Client, bucket: str, file: RawFile, window: Window, known: dict[str, datetime]) -> bool:
    """Whether an object arrived in the window; only those of its first and last hour are looked into."""
    if window.start <= file.hour and file.hour + _HOUR <= window.end:
        return True
    if file.is_history:
        return window.start <= file.judged_at(_HOUR) < window.end
    at = known.get(file.key)
    if at is None and not file.is_archived:
        try:
            at = arrived_at(s3, bucket, file.key)
        except LakeError:
            at = None  # read by the replay, which says what is wrong with it
    return at is None or window.start <= at < window.end


def _named(key: str) -> RawFile:
    described = describe_key(key)
    if described is None:
        raise ConfigError(f"{key!r} is no key of a raw object: raw/dt=YYYY-MM-DD/hh=HH/<name>.jsonl.gz")
    hour, piece, source, kind = described
    return RawFile(key, 0, hour, hour, piece, source, kind)


def _count_events(conn: psycopg.Connection, keys: Sequence[str]) -> int | None:
    """Events in these objects, by the loads that brought them first."""
    total = known = 0
    for at in range(0, len(keys), _PAGE):
        page = list(keys[at : at + _PAGE])
        row = conn.execute(
            "select count(*), coalesce(sum(read_count), 0) from ops.loads where origin = any(%s)", [page]
        ).fetchone()
        known, total = known + (row or (0, 0))[0], total + int((row or (0, 0))[1])
    return total if known == len(keys) else None


def _missing(settings: Settings, key: str) -> str:
    return (
        f"s3://{settings.bucket}/{key} is in the ledger (ops.stream_ranges) and not in the lake; bring it back from a "
        "version or a copy of the bucket, then repeat this"
    )


def _progress(tally: _Tally, plan: ReplayPlan) -> Progress:
    done = tally.objects + tally.known + len(tally.problems) - len(plan.missing)
    return Progress(done, len(plan.files), tally.bytes, plan.bytes, tally.counts["events"])


def _raise(report: LakeReplayReport, rejected: int) -> None:
    if not report.problems:
        return
    more = len(report.problems) - _SHOWN
    said = "\n".join(
        [
            f"{report}:",
            *report.problems[:_SHOWN],
            *([f"and {more:,} more"] if more > 0 else []),
            f"All others are in. `quantstream replay --resume {report.replay_id}` reads those that are left.",
        ]
    )
    raise LoadRejectedError(said) if rejected == len(report.problems) else LakeError(said)


def new_id(run_id: str | None) -> str:
    """The id of a replay: the same for the retries of a task (`run_id`); by hand a new one each time."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:12] if run_id else uuid.uuid4().hex[:12]


def _warm_up() -> None:
    """Import what is slow before workers are forked."""
    from include.quality.audit import preload

    preload()
