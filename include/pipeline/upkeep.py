"""The daily upkeep: what is past its time goes, in Postgres and on disk; the lake's own rules are set again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include.pipeline import keepsakes
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.outcomes import attempt
from include.warehouse.retention import Keep, remove_old

log = logging.getLogger(__name__)

STEP = "upkeep"


@dataclass(frozen=True, slots=True)
class UpkeepReport:
    """What went: rows of the warehouse by what they were, and files of logs."""

    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0

    def __str__(self) -> str:
        parts = [f"{count} rows of {what}" for what, count in self.rows.items() if count]
        parts += [f"{self.files} log files"] if self.files else []
        return f"removed {', '.join(parts)}" if parts else "nothing was past its time"


def upkeep(settings: Settings, *, run_id: str | None = None, now: datetime | None = None) -> UpkeepReport:
    """Remove what the settings `keep_*_days` do not keep, as of `now` (UTC; the clock's, unless given).

    What only Postgres knows is noted in the lake first. Raises LeaseHeldError if it runs already, LakeError if that
    cannot be noted. Safe to repeat; what is removed of raw events and quarantine the lake still holds, as long as its
    own rules keep it.
    """
    now = now or datetime.now(UTC)
    with (
        connect(settings) as conn,
        attempt(conn, STEP, run_id=run_id) as this,
        lease(conn, STEP, seconds=settings.lease_seconds) as held,
    ):
        keepsakes.keep(settings)  # before the outcomes that tell of it go
        keep = Keep(settings.keep_events_days, settings.keep_quarantine_days, settings.keep_ledger_days)
        rows = remove_old(conn, keep, now, progress=lambda what, count: held.renew())
        files = remove_logs(settings.home / "airflow" / "logs", settings.keep_logs_days, now)
        report = UpkeepReport(rows, files)
        this.row_count = sum(rows.values())
        this.detail = {"rows": rows, "files": files}
    log.info("upkeep: %s", report)
    return report


def remove_logs(folder: Path, days: int, now: datetime) -> int:
    """Remove files below the folder that were last written more than so many days before `now`, and empty folders.

    Returns how many files; 0 days keep all. A file that goes meanwhile is no error.
    """
    if not days or not folder.is_dir():
        return 0
    before, removed = (now - timedelta(days=days)).timestamp(), 0
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before it
        try:
            if path.is_symlink() or not path.is_dir():
                if path.lstat().st_mtime < before:
                    path.unlink()
                    removed += 1
            elif path.stat().st_mtime < before and not any(path.iterdir()):
                path.rmdir()
        except FileNotFoundError:
            continue
    return removed
