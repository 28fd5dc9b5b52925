"""A backfill without Airflow: the same functions in this process and a few beside it, then into the marts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape

from include.errors import ConfigError, HistoryDeferredError, QuantStreamError

if TYPE_CHECKING:
    from rich.console import Console

    from include.events import Window
    from include.pipeline.history_request import HistoryRequest
    from include.settings import Settings

PROCESSES: Final = 2
SHORT_WAIT: Final = timedelta(minutes=15)
"""So long a vendor is waited for; what has to wait longer is left for another call of the command."""

_FAILURES_SHOWN: Final = 10
_AGAIN_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Job:
    """One source's part of one day."""

    source: str
    day: Window

    def __str__(self) -> str:
        return f"{self.source} {self.day.start.date()}"


@dataclass(frozen=True, slots=True)
class Done:
    """How a job ended: well, with an `error`, or `until` later. `wrong`: a setting is, so nothing else will do."""

    job: Job
    said: str = ""
    error: str = ""
    until: datetime | None = None
    wrong: bool = False


@dataclass(slots=True)
class Tally:
    """All jobs of a backfill."""

    jobs: int
    done: list[Done] = field(default_factory=list)
    failed: list[Done] = field(default_factory=list)
    left: dict[str, datetime] = field(default_factory=dict)  # sources that have to wait for long, and until when

    @property
    def ended(self) -> int:
        return len(self.done) + len(self.failed)


Work = Callable[["Settings", Job, "HistoryRequest", str], Done]


def bring_here(
    settings: Settings, request: HistoryRequest, sources: tuple[str, ...], window: Window, console: Console
) -> dict[str, Any]:
    """Bring the window of each source in, day by day, in parallel, then build the marts; the summary.

    Starts the embedded database and the local AWS if they are not up. Raises ConfigError if a setting is wrong (a key
    that is missing, say) and NotRunningError if something that must run cannot be started.
    """
    from include.pipeline.history_request import days_of
    from include.settings import load_settings
    from include.sources import make
    from include.stack.up import up

    for source in sources:
        make(source, settings)  # says what it lacks, a key for example
    up(settings, console, airflow=False)
    settings = load_settings()  # with the addresses of what was started
    began, run_id = time.monotonic(), f"backfill__{datetime.now(UTC).isoformat()}"
    jobs = [Job(source, day) for source in sources for day in days_of(window)]
    since, interrupted, waiting = _newest_load(settings), False, 0
    tally = Tally(len(jobs))
    try:
        with _pool(len(jobs)) as pool:
            run_jobs(settings, request, jobs, tally, pool, console, run_id=run_id)
        waiting = _into_marts(settings, console, run_id)
    except KeyboardInterrupt:
        interrupted = True
        console.print("Interrupted: what came until now is kept, and the same command goes on from there.")
    events = _events(settings, since)
    _say(console, tally, events, time.monotonic() - began)
    return {
        "backfill": None,
        "interrupted": interrupted,
        "complete": not interrupted and not waiting and len(tally.done) == tally.jobs,
        "seconds": round(time.monotonic() - began, 1),
        "jobs": tally.jobs,
        "done": len(tally.done),
        "failed": len(tally.failed),
        "events": events,
        "waiting": waiting,
        "deferred": {source: until.isoformat() for source, until in tally.left.items()},
        "failures": [{"job": str(done.job), "error": done.error} for done in tally.failed],
    }


def run_jobs(
    settings: Settings,
    request: HistoryRequest,
    jobs: Iterable[Job],
    tally: Tally,
    pool: Executor,
    console: Console,
    *,
    run_id: str,
    work: Work | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Work all jobs off; `tally` says how they ended. A source that is deferred lets the others go on meanwhile.

    Raises ConfigError if a setting is wrong.
    """
    do = work or bring
    open_jobs = list(jobs)
    not_before: dict[str, datetime] = {}
    at_work: set[Future[Done]] = set()
    with _bar(console, tally) as show:
        while open_jobs or at_work:
            ready = [job for job in open_jobs if not_before.get(job.source, clock()) <= clock()]
            for job in ready[: max(0, PROCESSES - len(at_work))]:
                open_jobs.remove(job)
                at_work.add(pool.submit(do, settings, job, request, run_id))
            if not at_work:
                show(f"waits for {', '.join(sorted(not_before))} until {min(not_before.values()):%H:%M:%S} UTC")
                sleep(_AGAIN_SECONDS)
                continue
            ended, at_work = wait(at_work, timeout=_AGAIN_SECONDS, return_when=FIRST_COMPLETED)
            for done in _results(ended):
                if done.wrong:
                    raise ConfigError(done.error)
                if done.until is None:
                    (tally.failed if done.error else tally.done).append(done)
                elif done.until - clock() <= SHORT_WAIT:
                    not_before[done.job.source] = done.until
                    open_jobs.insert(0, done.job)
                else:
                    tally.left[done.job.source] = done.until
                show(str(done.job))
            open_jobs = [job for job in open_jobs if job.source not in tally.left]
            not_before = {source: until for source, until in not_before.items() if until > clock()}


def _results(ended: Iterable[Future[Done]]) -> Iterator[Done]:
    try:
        for future in ended:
            yield future.result()
    except BrokenExecutor:
        raise QuantStreamError(
            "a process of the backfill was killed (out of memory?); what came is kept, and the same command goes on"
        ) from None


def bring(settings: Settings, job: Job, request: HistoryRequest, run_id: str) -> Done:
    """Do one job. What a person may read comes back as a `Done`, because errors with fields cross no process."""
    import psycopg
    from botocore.exceptions import BotoCoreError, ClientError

    from include.pipeline.history_day import bring_history

    try:
        reports = bring_history(settings, job.source, job.day, request, run_id=run_id)
    except HistoryDeferredError as deferred:
        return Done(job, said=str(deferred), until=deferred.until)
    except ConfigError as error:
        return Done(job, error=str(error), wrong=True)
    except QuantStreamError as error:
        return Done(job, error=str(error))
    except (psycopg.Error, BotoCoreError, ClientError) as error:  # the database or AWS went away in the middle
        return Done(job, error=f"{type(error).__name__}: {str(error).strip()}")
    return Done(job, said="; ".join(map(str, reports)))


@contextmanager
def _pool(jobs: int) -> Iterator[Executor]:
    """Processes for many jobs, a thread for one. What is at work when the block fails is ended with this process."""
    from multiprocessing import get_context

    if jobs == 1:
        pool: Executor = ThreadPoolExecutor(1, thread_name_prefix="backfill")
    else:
        pool = ProcessPoolExecutor(min(PROCESSES, jobs), mp_context=get_context("spawn"), initializer=_end_with_parent)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _end_with_parent() -> None:
    """In a process of the pool: quiet at Ctrl-C, and gone when the command is, however it ended."""
    import multiprocessing
    import signal
    from multiprocessing.connection import wait as wait_for

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  # the initializer of a pool runs in its processes

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _into_marts(settings: Settings, console: Console, run_id: str) -> int:
    """Build what was accepted, judge it and send the alerts; how many loads of the past are left (0: all is there)."""
    from include.errors import LeaseHeldError
    from include.pipeline.cycle import process

    with console.status("candles, indicators, alerts"):
        while True:
            before = waiting = _waiting(settings)
            failed = [
                step
                for step in process(settings, run_id=run_id, only=("transform", "detect", "notify"))
                if step.error is not None and not isinstance(step.error, LeaseHeldError)
            ]
            for step in failed:
                console.print(f"[red]{step.name} failed:[/] {escape(step.said)}", soft_wrap=True)
            waiting = _waiting(settings)
            if failed or not waiting:
                return waiting
            if waiting == before:  # another process transforms right now
                time.sleep(_AGAIN_SECONDS)


def _say(console: Console, tally: Tally, events: int, seconds: float) -> None:
    console.print(f"{len(tally.done):,} of {tally.jobs:,} done, {events:,} new events in {seconds:.0f} s")
    for done in tally.failed[:_FAILURES_SHOWN]:
        console.print(f"[red]{done.job} failed:[/] {escape(done.error)}", soft_wrap=True)
    if len(tally.failed) > _FAILURES_SHOWN:
        console.print(f"[red]and {len(tally.failed) - _FAILURES_SHOWN} more[/] (--json lists them)")
    for source, until in tally.left.items():
        console.print(
            f"[yellow]{source} has no room in its budget before {until:%Y-%m-%d %H:%M} UTC;[/] "
            "the same command goes on then (in Airflow it would by itself)",
            soft_wrap=True,
        )


@contextmanager
def _bar(console: Console, tally: Tally) -> Iterator[Callable[[str], None]]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bars = Progress(
        TextColumn("days"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
        TextColumn("[dim]left[/]"), TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        transient=True,
    )  # fmt: skip
    task = bars.add_task("", total=tally.jobs)
    with bars:
        yield lambda said: bars.update(task, completed=tally.ended, description=escape(said))


def _newest_load(settings: Settings) -> int:
    from include.stack.backfills import newest_load
    from include.warehouse.db import connect

    with connect(settings) as conn:
        return newest_load(conn)


def _events(settings: Settings, since: int) -> int:
    return _number(
        settings,
        "select coalesce(sum(inserted_count), 0)::bigint from ops.loads where not is_live and load_id > %s", [since],
    )  # fmt: skip


def _waiting(settings: Settings) -> int:
    return _number(settings, "select count(*) from ops.loads where state = 'accepted' and not is_live", [])


def _number(settings: Settings, query: str, parameters: list[int]) -> int:
    from include.warehouse.db import connect

    with connect(settings) as conn:
        row = conn.execute(query, parameters).fetchone()
    return int(row[0]) if row else 0
