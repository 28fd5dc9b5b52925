"""A backfill in Airflow, made and watched from the command line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.markup import escape

from include.errors import QuantStreamError
from include.stack import backfills
from include.stack.backfills import DAG_ID, Progress, Watched

if TYPE_CHECKING:
    import psycopg
    from rich.console import Console

    from include.events import Window
    from include.pipeline.history_request import HistoryRequest
    from include.settings import Settings
    from include.stack.airflow_api import AirflowApi, Backfill

_PAUSE_SECONDS: Final = 1.5
_SAID_EVERY_SECONDS: Final = 10.0
_PATIENCE_SECONDS: Final = 900.0  # of the transform: the longest build of a slice takes less
_NOTED_SECONDS: Final = 90.0
_FAILURES_SHOWN: Final = 10


def start_and_watch(
    settings: Settings, request: HistoryRequest, window: Window, console: Console, *, ask: bool
) -> dict[str, Any]:
    """Make the backfill and watch it to its end; the summary. With another one active, `ask` whether to watch that.

    Raises QuantStreamError if another one is active or the DAG is paused.
    """
    with _session(settings) as (api, conn):
        known = api.dags().get(DAG_ID)
        if known is not None and known.is_paused:
            raise QuantStreamError(
                f"{DAG_ID} is paused in Airflow: `quantstream airflow dags unpause {DAG_ID}`, or --here for this "
                "process"
            )
        other = _really_active(api, conn, console)
        if other is not None:
            said = (
                f"another backfill is active, and Airflow has one at a time: number {other.backfill_id}, "
                f"{other.first.date()} to {other.last.date()}{_asked(other.conf)}"
            )
            if not (ask and console.is_terminal and typer.confirm(f"{said}. Watch it?", default=True)):
                raise QuantStreamError(
                    f"{said}. `quantstream backfill --watch` shows how far it is, `--cancel` ends it"
                )
            watched = backfills.active(api, conn) or Watched(other)
        else:
            watched = backfills.start(api, conn, request, window, datetime.now(UTC))
        return _watch(settings, api, conn, watched, console)


def _really_active(api: AirflowApi, conn: psycopg.Connection, console: Console) -> Backfill | None:
    """The active backfill. One whose runs are all at their end is waited for: Airflow notes that within a minute."""
    end = time.monotonic() + _NOTED_SECONDS
    with console.status("the backfill before this one is at its end; Airflow is about to note it") as status:
        status.stop()
        while (found := api.active_backfill(DAG_ID)) is not None:
            if not backfills.progress(api, conn, Watched(found)).is_fetched or time.monotonic() > end:
                break
            status.start()
            time.sleep(_PAUSE_SECONDS)
    return found


def watch_active(settings: Settings, console: Console) -> dict[str, Any]:
    """Watch the backfill that is active, and runs by hand. Raises QuantStreamError if there is none."""
    with _session(settings) as (api, conn):
        watched = backfills.active(api, conn)
        if watched is None:
            raise QuantStreamError(f"no backfill is active; {backfills.page(settings)} shows those of before")
        return _watch(settings, api, conn, watched, console)


def cancel(settings: Settings, console: Console) -> None:
    """End the active backfill: what runs goes on to its end, nothing more is started."""
    with _session(settings) as (api, _):
        found = api.active_backfill(DAG_ID)
        if found is None:
            raise QuantStreamError("no backfill is active")
        api.cancel_backfill(found.backfill_id)
    console.print(
        f"Backfill {found.backfill_id} ({found.first.date()} to {found.last.date()}) is cancelled: days that run go on "
        "to their end, those that wait are marked as failed. What came stays.",
        soft_wrap=True,
    )


def _watch(
    settings: Settings, api: AirflowApi, conn: psycopg.Connection, watched: Watched, console: Console
) -> dict[str, Any]:
    number = f"Backfill {watched.backfill.backfill_id}" if watched.backfill else "The run"
    console.print(f"{number} is in Airflow: {backfills.page(settings)}", soft_wrap=True)
    began, now, interrupted = time.monotonic(), Progress(), False
    try:
        with _bar(console) as show:
            now = _until_done(api, conn, watched, show)
    except KeyboardInterrupt:
        interrupted = True
        now = backfills.progress(api, conn, watched)
    seconds = time.monotonic() - began
    failed = backfills.failures(api, conn, watched) if now.failed else []
    console.print(
        f"{now.done:,} of {now.days:,} days done, {now.events:,} new events in {seconds:.0f} s", soft_wrap=True
    )
    if interrupted:
        console.print(
            "It goes on in Airflow. Watch it again: `quantstream backfill --watch`; end it: `... --cancel`",
            soft_wrap=True,
        )
    elif now.waiting:
        console.print(
            f"[yellow]{now.waiting} loads wait for market_transform, which did not take them for "
            f"{_PATIENCE_SECONDS / 60:.0f} minutes:[/] look at its last run in Airflow",
            soft_wrap=True,
        )
    for failure in failed[:_FAILURES_SHOWN]:
        said = "; ".join(failure.errors) or "see the log of its task in Airflow"
        console.print(f"[red]{failure.day} failed:[/] {escape(said)}", soft_wrap=True)
    if len(failed) > _FAILURES_SHOWN:
        console.print(f"[red]and {len(failed) - _FAILURES_SHOWN} more[/] (--json lists them)")
    return {
        "backfill": watched.backfill.backfill_id if watched.backfill else None,
        "page": backfills.page(settings),
        "interrupted": interrupted,
        "complete": now.is_complete and not now.failed,
        "seconds": round(seconds, 1),
        **asdict(now),
        "failures": [asdict(failure) for failure in failed],
    }


class _Show:
    """The progress on a screen as a bar, elsewhere as a line now and then."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.console, self.bars = console, Bars(
            TextColumn("days"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
            TimeElapsedColumn(), TextColumn("[dim]left[/]"), TimeRemainingColumn(),
            console=console, disable=not console.is_terminal, transient=True,
        )  # fmt: skip
        self.task = self.bars.add_task("", total=None)
        self.began, self.said, self.before = time.monotonic(), float("-inf"), Progress()

    def __call__(self, now: Progress) -> None:
        seconds = time.monotonic() - self.began
        line = describe(now, seconds)
        self.bars.update(self.task, total=now.days, completed=now.done + now.failed, description=line)
        moved = now != self.before and time.monotonic() - self.said >= _SAID_EVERY_SECONDS
        if self.bars.disable and (moved or now.is_complete):
            self.console.print(f"{now.done + now.failed} of {now.days} days  {line}", soft_wrap=True)
            self.said, self.before = time.monotonic(), now


def describe(now: Progress, seconds: float) -> str:
    """`2 running, 1 deferred, 14,400 events, 960/s`"""
    parts = [
        f"{count:,} {name}"
        for name, count in (
            ("running", now.running - now.deferred), ("deferred", now.deferred), ("failed", now.failed),
        )
        if count
    ]  # fmt: skip
    parts.append(f"{now.events:,} events, {now.events / max(seconds, 0.1):,.0f}/s")
    if now.is_fetched and now.waiting:
        parts.append(f"{now.waiting} loads on their way into the marts")
    return ", ".join(parts)


@contextmanager
def _bar(console: Console) -> Iterator[_Show]:
    show = _Show(console)
    with show.bars:
        yield show


def _until_done(api: AirflowApi, conn: psycopg.Connection, watched: Watched, show: _Show) -> Progress:
    moved, before = time.monotonic(), Progress()
    while True:
        now = backfills.progress(api, conn, watched)
        show(now)
        if now != before:
            moved, before = time.monotonic(), now
        stuck = now.is_fetched and time.monotonic() - moved > _PATIENCE_SECONDS
        if now.is_complete or stuck:
            return now
        time.sleep(_PAUSE_SECONDS)


def _asked(conf: dict[str, Any]) -> str:
    """What a conf says beyond the defaults, for a message."""
    parts = [f"{name} {', '.join(conf[name])}" for name in ("sources", "symbols") if conf.get(name)]
    return f" ({'; '.join(parts)})" if parts else ""


@contextmanager
def _session(settings: Settings) -> Iterator[tuple[AirflowApi, psycopg.Connection]]:
    from include.stack.airflow_api import AirflowApi
    from include.stack.layout import Layout
    from include.stack.secrets import load_secrets
    from include.warehouse.db import connect

    with AirflowApi(settings, load_secrets(Layout(settings.home))) as api, connect(settings) as conn:
        yield api, conn
