"""`quantstream replay`: a span of the raw lake once more through today's code."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.errors import ConfigError, NotRunningError

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from rich.console import Console

    from include.events import Window
    from include.pipeline.lake_replay import LakeReplayReport, Progress, ReplayPlan
    from include.settings import Settings
    from include.stack.airflow_api import Run

EPILOG = """
Examples:

  quantstream replay --from 2026-11-01 --to 2026-11-02 --dry-run    # objects, bytes, events; changes nothing

  quantstream replay --from 2026-11-01T14:00 --to 2026-11-01T15:00

  quantstream replay --from 2026-11-01 --to 2026-11-08 --source coinbase,kraken --jobs 4 --here

  quantstream replay --resume 3f2a9c1d77e0                          # one that was interrupted, or left objects out

Times are UTC and those at which records arrived. A file of prices is another thing: `quantstream run --source replay`.

Exit codes: 0 everything is in, 1 an object could not be read or was rejected, 2 a wrong argument, 3 not running.
"""
_DAG = "lake_replay"
_LOOK = 1.0  # seconds between two looks at Airflow
_FAILED = "select error from ops.outcomes where run_id = %s and not ok order by outcome_id offset %s"
_SHOWN = 10


def replay(
    start: Annotated[str, typer.Option("--from", metavar="DATE|TIME", help="What arrived from then on.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="DATE|TIME", help="What arrived before. Default: now.")] = "",
    source: Annotated[str, typer.Option(help="Only events of these sources, with commas. Default: all.")] = "",
    resume: Annotated[str, typer.Option(metavar="ID", help="Go on with the replay of this id.")] = "",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Objects in hand at once, with --here.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be read, and do nothing.")] = False,
    here: Annotated[bool, typer.Option("--here", help="In this process, even if Airflow runs.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A summary as JSON on stdout; progress goes to stderr.")
    ] = False,
) -> None:
    """Read raw objects of the lake again, quarantined events included, and build what changes.

    (Files are replayed by `quantstream run --source replay`.) What is there already stays as it is, so any span may be
    read at any time, beside the live minutes. With Airflow running it is a run of the DAG lake_replay; else, or with
    --here, this process does it.
    """
    from rich.console import Console

    from include.pipeline.lake_replay import plan_replay
    from include.settings import load_settings

    console, settings = Console(stderr=as_json, highlight=False), load_settings()
    sources = _parts(source)
    window = _resumed(settings, resume) if resume else _window(start, end)
    plan = plan_replay(settings, window, sources=sources)
    if dry_run:
        _show_plan(plan, window, console, as_json=as_json)
        return
    if not here and not resume and _airflow_runs(settings):
        summary = _in_airflow(settings, window, sources, plan, console)
    else:
        summary = _here(settings, window, sources, resume or None, jobs, console)
    if as_json:
        typer.echo(json.dumps(summary, default=str, indent=2))
    raise typer.Exit(0 if summary["complete"] else 1)


def _window(start: str, end: str) -> Window:
    from datetime import UTC, datetime

    from include.events import Window, iso
    from include.pipeline.history_request import parse_moment

    if not start:
        raise ConfigError("--from is missing: write a date, as in --from 2026-03-01 (or --resume and an id)")
    first, last = parse_moment("--from", start), parse_moment("--to", end) if end else datetime.now(UTC)
    if last <= first:
        raise ConfigError(f"--to {iso(last)} is not after --from {iso(first)}")
    return Window(first, last)


def _resumed(settings: Settings, replay_id: str) -> Window:
    from include.events import Window
    from include.warehouse.db import connect
    from include.warehouse.releases import known_replay

    with connect(settings) as conn:
        span = known_replay(conn, replay_id)
    if span is None:
        raise ConfigError(f"--resume {replay_id}: there was no replay of this id (ops.replays)")
    return Window(*span)


def _show_plan(plan: ReplayPlan, window: Window, console: Console, *, as_json: bool) -> None:
    from include.events import iso

    if as_json:
        facts = {"from": iso(window.start), "to": iso(window.end), "objects": len(plan.files), "bytes": plan.bytes}
        typer.echo(json.dumps(facts | {"events": plan.events, "archived": plan.archived, "missing": plan.missing}))
        return
    console.print(f"arrived from {iso(window.start)} to {iso(window.end)}: {plan}")
    for keys, what in ((plan.archived, "must be restored first"), (plan.missing, "is not in the lake")):
        for key in keys[:_SHOWN]:
            console.print(f"  [yellow]{what}:[/] {key}", soft_wrap=True)


def _here(
    settings: Settings, window: Window, sources: tuple[str, ...] | None, resume: str | None, jobs: int, console: Console
) -> dict[str, Any]:
    from include.commands.object_bar import object_bar
    from include.errors import LakeError, LoadRejectedError
    from include.pipeline.lake_replay import replay_lake

    failure = ""
    report: LakeReplayReport | None = None

    def show_progress(now: Progress) -> None:
        show(objects=now.objects, of_objects=now.of_objects, events=now.events)

    with object_bar(console) as show:
        try:
            report = replay_lake(settings, window, sources=sources, replay_id=resume, jobs=jobs, progress=show_progress)
        except (LakeError, LoadRejectedError) as error:
            failure = str(error)
    if failure:
        console.print(failure, style="red", soft_wrap=True, markup=False)
    else:
        console.print(str(report))
    built = _into_marts(settings, console)
    return {"complete": not failure and built, "error": failure} | (asdict(report) if report else {})


def _into_marts(settings: Settings, console: Console) -> bool:
    """Candles, indicators and alerts of what came in; whether that went well."""
    from include.errors import LeaseHeldError
    from include.pipeline.cycle import process

    with console.status("candles, indicators, alerts"):
        steps = process(settings, run_id="replay", only=("transform", "detect", "notify"))
    failed = [step for step in steps if step.error is not None and not isinstance(step.error, LeaseHeldError)]
    for step in failed:
        console.print(f"{step.name} failed: {step.said}", style="red", soft_wrap=True, markup=False)
    return not failed


def _airflow_runs(settings: Settings) -> bool:
    """Whether Airflow answers, with a scheduler that is well. Raises NotRunningError where only that is not."""
    from include.stack.airflow_api import AirflowApi
    from include.stack.layout import Layout
    from include.stack.secrets import load_secrets

    layout = Layout(settings.home)
    if not layout.secrets.exists():
        return False
    with AirflowApi(settings, load_secrets(layout), timeout=10) as api:
        try:
            health = api.health()
        except NotRunningError:
            return False
    if health.get("scheduler") != "healthy":
        raise NotRunningError(
            f"Airflow answers, but its scheduler is {health.get('scheduler')}; see `quantstream status`, or read in "
            "this process with --here"
        )
    return True


def _in_airflow(
    settings: Settings, window: Window, sources: tuple[str, ...] | None, plan: ReplayPlan, console: Console
) -> dict[str, Any]:
    from include.events import iso
    from include.stack.airflow_api import AirflowApi
    from include.stack.layout import Layout
    from include.stack.secrets import load_secrets
    from include.warehouse.db import connect

    if not plan.files and not plan.missing:
        console.print(f"no object arrived from {iso(window.start)} to {iso(window.end)}, nothing to do", soft_wrap=True)
        return {"complete": True, "objects": 0}
    conf = {"from": iso(window.start), "to": iso(window.end), "source": ",".join(sources or ())}
    with AirflowApi(settings, load_secrets(Layout(settings.home))) as api, connect(settings) as conn:
        run = api.trigger(_DAG, conf)
        console.print(
            f"Airflow does it: the run {run.run_id} of {_DAG}. Ctrl-C ends the watching only.", soft_wrap=True
        )
        run = watch(lambda: api.run(_DAG, run.run_id), run, conn, len(plan.files), console)
    return {"complete": run.state == "success", "run_id": run.run_id, "state": run.state}


def watch(
    ask: Callable[[], Run], run: Run, conn: psycopg.Connection, objects: int, console: Console, *, pause: float = _LOOK
) -> Run:
    """Show how far the run is until it has ended, and each try of its task that failed as it fails; how it ended."""
    from include.commands.object_bar import object_bar
    from include.pipeline.lake_replay import new_id
    from include.warehouse.releases import replayed_objects

    failed = 0
    with object_bar(console) as show:
        while run.state not in ("success", "failed"):
            time.sleep(pause)
            done, events = replayed_objects(conn, new_id(run.run_id))
            show(objects=done, of_objects=objects, events=events)
            run = ask()
            for (why,) in conn.execute(_FAILED, [run.run_id, failed]).fetchall():
                failed += 1
                again = "" if run.state == "failed" else "Airflow tries again later (Ctrl-C ends the watching only): "
                console.print(f"failed: {again}{why}", style="red", soft_wrap=True, markup=False)
    if run.state == "success":
        console.print("done; candles and alerts follow (market_transform, market_detect)")
    elif not failed:
        console.print(f"failed: its log says why: Airflow, {_DAG}, {run.run_id}", style="red", soft_wrap=True)
    return run


def _parts(text: str) -> tuple[str, ...] | None:
    from include.sources import NAMES

    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if unknown := [name for name in found if name not in (*NAMES, "replay")]:
        raise ConfigError(f"--source {', '.join(unknown)}: allowed are {', '.join((*NAMES, 'replay'))}")
    return found or None
