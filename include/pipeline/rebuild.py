"""The whole warehouse out of the lake: after a total loss, or over one that can no longer be trusted.

Emptied first, in one transaction. Then every raw object is loaded and judged as it was when it came, many at once; then
the marts are built in slices, and detection looks at all of it without paging anybody. A process that dies is followed
by one that goes on where it was. The live steps stand still meanwhile: their leases are held.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeVar

import psycopg

from include.aws import client
from include.crashpoints import crash_point
from include.errors import LakeError, LeaseHeldError, QuantStreamError, TransformError
from include.events import Window, iso
from include.instruments import known_instruments
from include.lake.listing import list_raw
from include.pipeline import keepsakes
from include.pipeline.audit import accept_rejected
from include.pipeline.detect import detect
from include.pipeline.gaps import find_gaps
from include.pipeline.lake_objects import last_arrival
from include.pipeline.lake_replay import replay_lake
from include.pipeline.rebuild_objects import Tally, bring_in_all
from include.pipeline.transform import transform
from include.settings import Settings
from include.stream.consumer import RecordsGoneError, made_at
from include.warehouse import rebuilds
from include.warehouse.checksums import Checksum, differences, mart_checksums
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.outcomes import attempt
from include.warehouse.rebuilds import Phase, Rebuild
from include.warehouse.releases import begin_replay

log = logging.getLogger(__name__)

T = TypeVar("T")

STEP: Final = "rebuild"
LIVE_STEPS: Final = ("land", "load", "audit", "transform", "detect", "notify")
_SHOWN: Final = 20
_PAUSE: Final = 0.2  # seconds between two looks whether a lease is free
_SLICE: Final = 500_000  # events in one build: no live minute waits for it
_NO_AGE: Final = 1e-6  # hours: every candle is too old to tell anybody


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """Where it is. `tally` counts the objects in the phase `load`; `said` is what the last step had to say."""

    phase: Phase
    tally: Tally | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild made. `seconds` by part, of this process.

    `rejected` loads stay out, as before or by today's rules. `silenced` alerts were found again and sent to nobody;
    `notes` is what else somebody should know. `before` is None where the marts could not be read before.
    """

    objects: int
    events: int
    quarantined: int
    rejected: int
    silenced: int
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    before: Mapping[str, Checksum] | None
    after: Mapping[str, Checksum]

    @property
    def changed(self) -> list[str]:
        """A line for each mart that is not as it was before."""
        return [] if self.before is None else differences(self.before, self.after)

    def __str__(self) -> str:
        spent = sum(self.seconds.values())
        rate = f" ({self.events / spent:,.0f} events/s)" if spent and self.events else ""
        if self.before is None:
            compared = "there was nothing to compare the marts with"
        else:
            compared = f"{len(self.changed)} marts differ" if self.changed else "all marts are as they were"
        rejected = f", {self.rejected:,} loads rejected" if self.rejected else ""
        return (
            f"{self.events:,} events of {self.objects:,} objects in {spent:,.0f} s{rate}, {self.quarantined:,} "
            f"quarantined{rejected}, {self.silenced:,} alerts found again and sent to nobody; {compared}"
        )


def rebuild(
    settings: Settings,
    *,
    jobs: int = 1,
    without_unreadable: bool = False,
    paused: Collection[str] = (),
    patience: float = 60.0,
    run_id: str | None = None,
    progress: Callable[[RebuildProgress], object] | None = None,
) -> RebuildReport:
    """Empty the warehouse and make it anew out of the lake, or go on with a rebuild that was interrupted.

    `jobs` objects are in hand at once. Who works here now is waited for, `patience` seconds. `paused` is noted for
    whoever has to start those DAGs again. Alerts that are found again get the state `history`; those that the warehouse
    had stay as they are, sent or waiting.

    Raises, before anything is emptied: LeaseHeldError if a live step, a backfill or a replay works here right now, and
    LakeError if objects that the warehouse was made of are not in the lake or must be restored from an archive first;
    StreamError if the stream cannot be asked (that there is none is no error).
    Afterwards LakeError if objects cannot be read: all others are loaded then, and the next call goes on.
    `without_unreadable` goes on without such objects in both cases.
    """
    from include.warehouse.migrate import migrate

    migrate(settings)
    with connect(settings) as conn, attempt(conn, STEP, run_id=run_id) as this, ExitStack() as stack:
        work = _Work(settings, conn, progress or (lambda _: None), jobs, run_id)
        work.hold(stack, patience)
        made = _stream_made_at(work)
        under_way = _begin(work, paused, without_unreadable=without_unreadable)
        if under_way.phase == "load":
            with work.timed("load"):
                _load(work, made, without_unreadable=without_unreadable)
        if under_way.phase in ("load", "transform"):
            with work.timed("transform"):
                _transform(work)
        with work.timed("detect"):
            silenced = _detect(work, under_way)
        report = _report(work, under_way, silenced)
        this.row_count = report.events
        this.detail |= {"objects": report.objects, "seconds": dict(report.seconds), "changed": report.changed}
        log.warning("rebuild: %s", report)
    return report


def interrupted(settings: Settings) -> Rebuild | None:
    """The rebuild that was begun and did not come to its end; None if there is none, or no warehouse yet."""
    with connect(settings) as conn:
        there = conn.execute("select to_regclass('ops.rebuilds') is not null").fetchone()
        return rebuilds.under_way(conn) if there == (True,) else None


@dataclass(slots=True)
class _Work:
    """One process at it. `held` is the lease of the rebuild, for what `conn` writes."""

    settings: Settings
    conn: psycopg.Connection
    progress: Callable[[RebuildProgress], object]
    jobs: int
    run_id: str | None
    steps: dict[str, ExitStack] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _held: Lease | None = None

    @property
    def held(self) -> Lease:
        assert self._held is not None  # noqa: S101  # `hold` comes first
        return self._held

    def hold(self, stack: ExitStack, patience: float) -> None:
        """Hold the leases of the rebuild and of all live steps, each by a session of its own, until `let_go`."""
        end = time.monotonic() + patience
        for step in (STEP, *LIVE_STEPS):
            self.steps[step] = stack.enter_context(ExitStack())
            session = self.steps[step].enter_context(connect(self.settings))
            held = self._acquire(step, session, end)
            self.steps[step].enter_context(held.kept())
            if step == STEP:
                self._held = replace(held, conn=self.conn)
        while found := rebuilds.others(self.conn, (STEP, *LIVE_STEPS)):
            if time.monotonic() > end:
                named = ", ".join(f"{name} ({holder})" for name, holder in found[:_SHOWN])
                raise LeaseHeldError(
                    f"the warehouse is in use: {named}. Let it end, or pause its DAG, and try again; nothing was "
                    "changed"
                )
            time.sleep(_PAUSE)

    def _acquire(self, step: str, session: psycopg.Connection, end: float) -> Lease:
        while True:
            try:
                return self.steps[step].enter_context(lease(session, step, seconds=self.settings.lease_seconds))
            except LeaseHeldError:
                if step == STEP or time.monotonic() > end:
                    raise
                time.sleep(_PAUSE)

    def let_go(self, step: str) -> None:
        self.steps[step].close()

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = time.monotonic() - began

    def patiently(self, work: Callable[[], T]) -> T:
        """Do a live step ourselves; one that sneaked in meanwhile comes to its end first."""
        while True:
            try:
                return work()
            except LeaseHeldError as busy:
                self.progress(RebuildProgress("transform", said=str(busy)))
                time.sleep(1)


def _begin(work: _Work, paused: Collection[str], *, without_unreadable: bool) -> Rebuild:
    """Empty the warehouse, unless a rebuild is under way already, and make its views and empty tables."""
    from include.transform.runner import build_all

    found = rebuilds.under_way(work.conn)
    if found is None:
        if not without_unreadable:
            _check_lake(work)
        keepsakes.keep(work.settings)
        work.progress(RebuildProgress("load", said="checksums of the marts as they are"))
        as_of = rebuilds.clock(work.conn)
        before = _as_they_are(work, as_of)
        crash_point("before_rebuild_emptied")
        rebuilds.begin(work.held, before, as_of=as_of, paused=paused, notes=work.notes)
        crash_point("after_rebuild_emptied")
        found = rebuilds.under_way(work.conn)
        assert found is not None  # noqa: S101  # it was written down just now
    else:
        work.notes.extend(found.notes)
    if found.phase == "load":
        keepsakes.restore(work.settings, work.conn)
        if not rebuilds.has_models(work.conn):
            work.progress(RebuildProgress("load", said="views and empty tables"))
            build_all(work.settings, full_refresh=True)
    return found


def _check_lake(work: _Work) -> None:
    """Raise LakeError if what the warehouse was made of is not all there to be read: nothing is emptied then."""
    settings = work.settings
    lacking = rebuilds.origins(work.conn)
    archived: list[str] = []
    for file in list_raw(client(settings, "s3"), settings.bucket):
        lacking.discard(file.key)
        if file.is_archived:
            archived.append(file.key)
    for keys, what, remedy in (
        (sorted(lacking), "are in the ledger and not in the lake", "Bring them back from a version or a copy"),
        (archived, "lie in an archive", "Restore them (aws s3api restore-object) and wait until that is done"),
    ):
        if keys:
            named = "\n".join(keys[:_SHOWN])
            raise LakeError(
                f"{len(keys):,} objects {what} s3://{settings.bucket}, so nothing was emptied; the first:\n{named}\n"
                f"{remedy}, or rebuild with --without-unreadable: what they held will be missing"
            )


def _as_they_are(work: _Work, as_of: datetime) -> dict[str, Checksum] | None:
    """Checksums of the marts, searched for gaps up to now; None if they cannot be read, or nothing was ever loaded."""
    try:
        if not rebuilds.origins(work.conn):
            return None
        try:
            find_gaps(_silent(work.settings), now=as_of, run_id=work.run_id)
        except (TransformError, psycopg.Error) as error:
            work.notes.append(f"gaps could not be searched before, so what is missing may differ: {error}")
        work.notes += [
            f"{count:,} {what} when it began and are in it now" for what, count in rebuilds.waiting(work.conn).items()
        ]
        return mart_checksums(work.conn)
    except psycopg.Error as error:
        log.warning("the marts cannot be read, so there is nothing to compare with afterwards: %s", error)
        return None


def _load(work: _Work, stream_made_at: datetime | None, *, without_unreadable: bool) -> None:
    """Every object is loaded and judged; then what people decided is done again, and the stream's positions are set."""
    settings, conn = work.settings, work.conn
    tally = bring_in_all(
        settings, conn, stream_created_at=stream_made_at, jobs=work.jobs, run_id=work.run_id,
        progress=lambda tally: work.progress(RebuildProgress("load", tally)),
    )  # fmt: skip
    if tally.unreadable:
        more = len(tally.unreadable) - _SHOWN
        said = "\n".join([*tally.unreadable[:_SHOWN], *([f"and {more:,} more"] if more > 0 else [])])
        if not without_unreadable:
            raise LakeError(
                f"{len(tally.unreadable):,} objects cannot be read; all others are loaded:\n{said}\nMend them and run "
                "the rebuild again, it goes on here; with --without-unreadable it goes on without them"
            )
        work.notes.append(f"{len(tally.unreadable):,} objects could not be read:\n{said}")
    _decide_again(work)
    for stream, created_at, shard_id, last, key in rebuilds.ends_of_shards(conn):
        arrived_at = last_arrival(client(settings, "s3"), settings.bucket, key)
        if arrived_at is not None:
            rebuilds.restore_position(conn, stream, created_at, shard_id, last, arrived_at)
    ids = [(source, one.symbol, name) for one in known_instruments(conn, settings) for source, name in one.ids.items()]
    with conn.transaction():
        rebuilds.number_resets_from(conn, tally.last_reset)
        rebuilds.cover_history(conn, tally.history, ids)
        rebuilds.all_are_history(conn)
        rebuilds.enter(work.held, "transform")
        crash_point("before_rebuild_phase")
    crash_point("after_rebuild_phase")


def _stream_made_at(work: _Work) -> datetime | None:
    try:
        return made_at(client(work.settings, "kinesis"), work.settings.stream)
    except RecordsGoneError as error:
        work.notes.append(f"there is no stream, so it is read from its beginning once there is one: {error}")
        return None


def _decide_again(work: _Work) -> None:
    """Accept what was accepted by hand, and read again what was read again; both as it was done then."""
    work.let_go("audit")
    by_hand = keepsakes.accepted_by_hand(work.settings)
    for origin, load in rebuilds.known_loads(work.conn, by_hand).items():
        if load.state == "rejected":
            work.progress(RebuildProgress("load", said=f"accepting {origin}, as it was before"))
            accept_rejected(work.settings, load.load_id, run_id=work.run_id)
    for span in keepsakes.replayed(work.settings):
        work.progress(RebuildProgress("load", said=f"reading {iso(span.start)} to {iso(span.end)} again, as it was"))
        begin_replay(work.conn, span.replay_id, span.start, span.end, span.sources, started_at=span.started_at)
        try:
            replay_lake(
                work.settings, Window(span.start, span.end), replay_id=span.replay_id, jobs=work.jobs,
                run_id=work.run_id,
            )  # fmt: skip
        except LeaseHeldError:
            raise
        except QuantStreamError as error:
            work.notes.append(f"not all of the replay {span.replay_id} could be repeated: {error}")


def _transform(work: _Work) -> None:
    work.let_go("transform")
    slices = max(_SLICE, work.settings.transform_history_events)
    settings = work.settings.model_copy(update={"transform_history_events": slices})
    is_more_left = True
    while is_more_left:
        report = work.patiently(lambda: transform(settings, run_id=work.run_id))
        work.progress(RebuildProgress("transform", said=str(report)))
        is_more_left = report.is_more_left
    with work.conn.transaction():
        rebuilds.enter(work.held, "detect")
        crash_point("before_rebuild_phase")
    crash_point("after_rebuild_phase")


def _detect(work: _Work, under_way: Rebuild) -> int:
    """Alerts, and gaps as of the moment that is compared, told to nobody; how many that were."""
    work.let_go("detect")
    silent = _silent(work.settings)
    found = work.patiently(lambda: detect(silent, run_id=work.run_id, is_tending=False))
    work.progress(RebuildProgress("detect", said=str(found)))
    gaps = work.patiently(lambda: find_gaps(silent, now=under_way.started_at, run_id=work.run_id))
    work.progress(RebuildProgress("detect", said=str(gaps)))
    with work.conn.transaction():
        silenced = rebuilds.silence(work.conn, under_way.started_at)
        rebuilds.enter(work.held, "done")
        crash_point("before_rebuild_phase")
    crash_point("after_rebuild_phase")
    return silenced


def _silent(settings: Settings) -> Settings:
    return settings.model_copy(update={"alert_max_age_hours": _NO_AGE, "backfill_alert_max_age_minutes": 0.0})


def _report(work: _Work, under_way: Rebuild, silenced: int) -> RebuildReport:
    objects, events, quarantined, rejected = rebuilds.counts(work.conn)
    return RebuildReport(
        objects, events, quarantined, rejected, silenced, tuple(work.notes), dict(work.seconds), under_way.before,
        mart_checksums(work.conn),
    )  # fmt: skip
