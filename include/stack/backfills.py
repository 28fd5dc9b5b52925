"""Backfills of `market_backfill` in Airflow: making one for a window, and how far one is, down to the marts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Final

import psycopg

from include.events import Window
from include.pipeline.history_request import HistoryRequest, midnight
from include.settings import Settings
from include.stack.airflow import url
from include.stack.airflow_api import AirflowApi, Backfill, Run

DAG_ID: Final = "market_backfill"
ACTIVE_RUNS: Final = 4
"""Days at the same time; the pool `history` lets two of their tasks run, the others wait for vendors."""

_DAY: Final = timedelta(days=1)
_UNFINISHED: Final = ("queued", "running")

# What of the past was loaded since, and what of it waits to be built into the marts.
_LOADED: Final = """
select coalesce(sum(inserted_count) filter (where load_id > %(since)s), 0)::bigint,
       count(*) filter (where state = 'accepted')
from ops.loads where not is_live and (load_id > %(since)s or state = 'accepted')
"""
_ERRORS: Final = """
select distinct on (run, source) split_part(run_id, '#', 1) as run, source, error from ops.outcomes
where step = 'history' and split_part(run_id, '#', 1) = any(%s) and not ok order by run, source, at desc
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """A backfill, and runs that were started beside it; `since` is the newest load that was there before."""

    backfill: Backfill | None
    run_ids: tuple[str, ...] = ()
    since: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How many days there are, and how they do. `deferred` of the running ones wait for their vendor.

    `events` are new in raw, `waiting` loads of the past are accepted and not yet in the marts.
    """

    days: int = 0
    done: int = 0
    failed: int = 0
    running: int = 0
    deferred: int = 0
    events: int = 0
    waiting: int = 0

    @property
    def is_fetched(self) -> bool:
        return self.done + self.failed >= self.days

    @property
    def is_complete(self) -> bool:
        return self.is_fetched and not self.waiting


@dataclass(frozen=True, slots=True)
class Failure:
    """A day that failed, and what its sources said."""

    day: str
    run_id: str
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Split:
    """A window as Airflow can take it: the days of a backfill `[first, last]`, and what is left for a run by hand."""

    first: datetime | None
    last: datetime | None
    conf: HistoryRequest
    rest: Window | None

    @property
    def days(self) -> int:
        return 0 if self.first is None or self.last is None else (self.last - self.first) // _DAY + 1


def split(request: HistoryRequest, window: Window, now: datetime) -> Split:
    """Airflow's backfills take days that are over; the part of the window that lies in today is a run of its own."""
    today = midnight(now)
    rest = Window(max(window.start, today), window.end) if window.end > today else None
    if window.start >= today:
        return Split(None, None, request, rest)
    until = min(window.end, today)
    first, last = midnight(window.start), midnight(until - timedelta(microseconds=1))
    bounds = {
        "start": window.start if window.start > first else None,
        "end": until if until < last + _DAY else None,
    }
    return Split(first, last, replace(request, **bounds), rest)  # type: ignore[arg-type]


def start(api: AirflowApi, conn: psycopg.Connection, request: HistoryRequest, window: Window, now: datetime) -> Watched:
    """Make the backfill, and the run beside it. Raises NotRunningError if Airflow refuses."""
    wanted, since = split(request, window, now), newest_load(conn)
    made: Backfill | None = None
    if wanted.first is not None and wanted.last is not None:
        made = api.create_backfill(DAG_ID, wanted.first, wanted.last, wanted.conf.params(), max_active_runs=ACTIVE_RUNS)
    runs: tuple[str, ...] = ()
    if wanted.rest is not None:
        bounded = replace(request, start=wanted.rest.start, end=wanted.rest.end)
        runs = (api.trigger(DAG_ID, bounded.params()).run_id,)
    return Watched(made, runs, since)


def active(api: AirflowApi, conn: psycopg.Connection) -> Watched | None:
    """What of this DAG is not at its end: the active backfill, and runs by hand. None if there is nothing."""
    found = api.active_backfill(DAG_ID)
    by_hand = [run for state in _UNFINISHED for run in api.runs(DAG_ID, state=state, run_type="manual")[0]]
    if found is None and not by_hand:
        return None
    begun = [found.made] if found else [run.started or run.run_after for run in by_hand]
    row = conn.execute("select coalesce(max(load_id), 0) from ops.loads where loaded_at < %s", [min(begun)]).fetchone()
    return Watched(found, tuple(run.run_id for run in by_hand), int(row[0]) if row else 0)


def progress(api: AirflowApi, conn: psycopg.Connection, watched: Watched) -> Progress:
    """How far it is now."""
    counts = dict.fromkeys(("success", "failed", "running"), 0)
    days = len(watched.run_ids)
    if watched.backfill is not None:
        # runs go on between two questions: asked from the end on, none is counted twice
        for state in counts:
            counts[state] = api.runs(DAG_ID, limit=1, state=state, **_days(watched.backfill))[1]
        days += api.runs(DAG_ID, limit=1, **_days(watched.backfill))[1]
    for state in (api.run(DAG_ID, run_id).state for run_id in watched.run_ids):
        counts[state] = counts.get(state, 0) + 1
    deferred = len(api.runs_with_a_task(DAG_ID, "up_for_reschedule")) if counts["running"] else 0
    row = conn.execute(_LOADED, {"since": watched.since}).fetchone() or (0, 0)
    return Progress(
        days=days,
        done=counts["success"],
        failed=counts["failed"],
        running=counts["running"],
        deferred=min(deferred, counts["running"]),
        events=int(row[0]),
        waiting=int(row[1]),
    )


def failures(api: AirflowApi, conn: psycopg.Connection, watched: Watched) -> list[Failure]:
    """The days that failed, oldest first (at most 100 of them), with the last words of their sources."""
    found = []
    if watched.backfill is not None:
        found += api.runs(DAG_ID, state="failed", **_days(watched.backfill))[0]
    found += [run for run_id in watched.run_ids if (run := api.run(DAG_ID, run_id)).state == "failed"]
    said: dict[str, list[str]] = {}
    for run_id, source, error in conn.execute(_ERRORS, [[run.run_id for run in found]]):
        said.setdefault(run_id, []).append(f"{source}: {error}" if source else error)
    days = [Failure(str(day_of(run)), run.run_id, said.get(run.run_id, [])) for run in found]
    return sorted(days, key=lambda failure: failure.day)


def day_of(run: Run) -> date:
    """The day that a run takes, or, of one by hand, the day on which it was started."""
    return (run.logical_date or run.run_after).date()


def newest_load(conn: psycopg.Connection) -> int:
    """The id of the newest load; 0 if there is none."""
    row = conn.execute("select coalesce(max(load_id), 0) from ops.loads").fetchone()
    return int(row[0]) if row else 0


def page(settings: Settings) -> str:
    """Where the UI shows it."""
    return f"{url(settings)}/dags/{DAG_ID}"


def _days(backfill: Backfill) -> dict[str, Any]:
    return {
        "run_type": "backfill",
        "logical_date_gte": backfill.first.isoformat(),
        "logical_date_lte": backfill.last.isoformat(),
    }
