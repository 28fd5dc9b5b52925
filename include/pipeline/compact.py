"""Raw JSON of arrival days -> Parquet, day by day: one, all that are due, or a check of what lies there."""

from __future__ import annotations

import logging
from dataclasses import fields
from datetime import UTC, date, datetime

from include.aws import client
from include.errors import LakeError, LeaseHeldError
from include.lake import objects
from include.lake.catalogue import make_catalogue
from include.lake.listing import list_raw
from include.pipeline.compaction import STEP, Compaction, CompactReport, window_of
from include.settings import Settings
from include.warehouse import lake_ledger
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.outcomes import attempt

log = logging.getLogger(__name__)

__all__ = ["CompactReport", "compact", "compact_due", "due", "verify"]


def compact(settings: Settings, day: date, *, run_id: str | None = None, again: bool = False) -> CompactReport:
    """Bring the raw objects of one arrival day (UTC) into Parquet; if all of them are in, nothing is done.

    A day of which objects came later, or whose columns are made by other views now, is done anew; `again` does it in
    any case. Raises LeaseHeldError if somebody does this day right now, LakeError for a day without objects, for
    objects that are gone or cannot be read, and if a file does not hold what came in (nothing is published then);
    FencedError if somebody took over. Safe to repeat.
    """
    window = window_of(day)
    with (
        connect(settings) as conn,
        attempt(conn, STEP, window=window, run_id=run_id) as this,
        lease(conn, f"{STEP} {day}", seconds=settings.lease_seconds) as held,
    ):
        report = Compaction(settings, held, client(settings, "s3"), window).run(again=again)
        this.row_count = report.rows
        this.detail |= {one.name: getattr(report, one.name) for one in fields(report)[1:]}
    make_catalogue(settings)
    log.info("compact: %s", report)
    return report


def compact_due(
    settings: Settings, *, now: datetime | None = None, running: bool = False, run_id: str | None = None
) -> list[CompactReport]:
    """Every arrival day with objects that are not in Parquet yet, the oldest first.

    The day that is running at `now` (UTC; the clock's, unless given) is left out unless `running`: it would be done
    once more when it is over. A day that somebody else does right now is passed over. What fails does not hold up the
    others; all errors are raised at the end, as one LakeError.
    """
    today = (now or datetime.now(UTC)).date()
    reports: list[CompactReport] = []
    failed: list[str] = []
    for day in due(settings):
        if day > today or (day == today and not running):
            continue
        try:
            reports.append(compact(settings, day, run_id=run_id))
        except LeaseHeldError as error:
            log.info("compact: %s", error)
        except LakeError as error:
            failed.append(f"{day}: {error}")
    if failed:
        raise LakeError("\n".join(failed))
    return reports


def due(settings: Settings) -> list[date]:
    """The arrival days with objects in the lake that are not in Parquet, ascending; the running day may be one.

    A day that was left half published by a process that died is one too.

    The lake itself is listed: about 1,500 keys a day, a thousand in one call.
    """
    s3 = client(settings, "s3")
    with connect(settings) as conn:
        unfinished = lake_ledger.unfinished(conn)
        return [
            day
            for day in objects.days(s3, settings.bucket)
            if day in unfinished
            or {file.key for file in list_raw(s3, settings.bucket, window_of(day))} - lake_ledger.objects(conn, day)
        ]


def verify(settings: Settings, day: date) -> int:
    """Read the day's Parquet files in the lake and hold them against the ledger; how many there are.

    Raises LakeError naming each file that is missing or other than what was written.
    """
    s3, wrong = client(settings, "s3"), []
    with connect(settings) as conn:
        files = lake_ledger.files(conn, day)
    for file in files:
        found = objects.version(s3, settings.bucket, file.key)
        if found is None:
            wrong.append(f"s3://{settings.bucket}/{file.key} is gone")
        elif (sha256 := objects.digest(s3, settings.bucket, file.key)) != file.sha256:
            wrong.append(
                f"s3://{settings.bucket}/{file.key} is not what was written: its SHA-256 is {sha256[:12]}..., "
                f"noted is {file.sha256[:12]}..."
            )
    if wrong:
        raise LakeError("\n".join([*wrong, f"`quantstream compact --day {day} --again` makes them anew from raw/"]))
    return len(files)
