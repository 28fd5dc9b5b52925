"""`quantstream rebuild`: the whole warehouse out of the lake."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from include.errors import NotRunningError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from include.pipeline.rebuild import RebuildProgress, RebuildReport
    from include.settings import Settings
    from include.stack.airflow_api import AirflowApi, Dag


class Runs(Protocol):
    """What is asked of Airflow."""

    def dags(self) -> dict[str, Dag]: ...
    def pause(self, dag_id: str) -> None: ...
    def unpause(self, dag_id: str) -> None: ...
    def active_runs(self, dag_ids: Sequence[str]) -> int: ...


EPILOG = """
Examples:

  quantstream rebuild                      # asks first; goes on where an interrupted one was

  quantstream rebuild --yes --jobs 4

  quantstream rebuild --without-unreadable # where objects of the lake are gone for good

Pauses the DAGs while it works, and starts them again. Runbook: docs/runbooks/rebuild_the_warehouse.md.

Exit codes: 0 done and all marts as before, 1 something failed or differs, 2 a wrong argument, 3 not running.
"""


def rebuild(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Objects in hand at once.")] = 2,
    without_unreadable: Annotated[
        bool, typer.Option("--without-unreadable", help="Go on although objects of the lake cannot be read.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A summary as JSON on stdout; progress goes to stderr.")
    ] = False,
) -> None:
    """Empty the warehouse and make it anew out of the lake: after a total loss, or where it is not to be trusted.

    Nobody is paged for the past. Killed in the middle, the same command goes on where it was. Afterwards the marts'
    checksums are compared with those before.
    """
    from rich.console import Console

    from include.commands.object_bar import object_bar
    from include.pipeline.rebuild import interrupted, rebuild
    from include.settings import load_settings

    console, settings = Console(stderr=as_json, highlight=False), load_settings()
    under_way = interrupted(settings)
    _ask(settings, console, is_going_on=under_way is not None, yes=yes)
    paused = _pause(settings, console)
    try:
        with object_bar(console) as show:
            report = rebuild(
                settings, jobs=jobs, without_unreadable=without_unreadable, paused=paused, run_id="rebuild",
                progress=_shown(show, console),
            )  # fmt: skip
    except BaseException:
        if interrupted(settings) is None:  # nothing was emptied: the minutes go on
            _unpause(settings, paused, console)
        elif paused:
            console.print("The DAGs stay paused: the same command goes on where it is, and starts them at the end.")
        raise
    _unpause(settings, [*paused, *(under_way.paused if under_way else ())], console)
    _say(report, console)
    if as_json:
        typer.echo(json.dumps(_summary(report), indent=2))
    raise typer.Exit(1 if report.changed else 0)


def _ask(settings: Settings, console: Console, *, is_going_on: bool, yes: bool) -> None:
    if is_going_on:
        console.print("A rebuild was interrupted: it goes on where it was.")
        return
    console.print(
        f"This empties the warehouse and makes it anew out of s3://{settings.bucket}. Until that is done nobody gets "
        "new quotes or alerts.",
        soft_wrap=True,
    )
    if not yes and not typer.confirm("Go on?"):
        raise typer.Exit(1)


def _pause(settings: Settings, console: Console) -> list[str]:
    """Pause the DAGs that run, so that no task starts meanwhile; their names. Airflow that does not run has none."""

    def say(text: str) -> None:
        console.print(f"  {text}", style="dim", soft_wrap=True, markup=False)

    def pause(api: AirflowApi) -> list[str]:
        return pause_between_minutes(api, lambda: _on_its_way(settings), say)

    paused: list[str] = _with_airflow(settings, pause) or []
    if paused:
        console.print(f"paused: {', '.join(paused)}", soft_wrap=True)
    return paused


def pause_between_minutes(
    api: Runs,
    on_its_way: Callable[[], int],
    say: Callable[[str], object],
    *,
    patience: float = 90.0,
    pause: float = 0.5,
) -> list[str]:
    """Pause the DAGs that run, and say which, when no run of the minute is under way and nothing is `on_its_way`.

    A paused DAG leaves its runs where they are, half a minute in the marts. What does not end within `patience` seconds
    is paused all the same. `pause` is the time between two looks, in seconds.
    """
    from include.stack.airflow import DAGS, HISTORY_DAGS

    end = time.monotonic() + patience
    is_said = False
    while True:
        is_late = time.monotonic() > end
        if is_late or not (api.active_runs(DAGS) or on_its_way()):
            known = api.dags()
            running = [name for name in (*DAGS, *HISTORY_DAGS) if name in known and not known[name].is_paused]
            for name in running:
                api.pause(name)
            if is_late:
                say(f"it did not end within {patience:.0f} s and is paused where it is")
            if is_late or not (api.active_runs(DAGS) or on_its_way()):
                return running
            for name in running:
                api.unpause(name)
        if not is_said:
            say("waiting for the minute under way")
            is_said = True
        time.sleep(pause)


def _on_its_way(settings: Settings) -> int:
    """How much is on its way into the marts; nothing where that cannot be told: what is broken is not waited for."""
    import psycopg

    from include.errors import QuantStreamError
    from include.warehouse.db import connect
    from include.warehouse.rebuilds import waiting

    try:
        with connect(settings) as conn:
            return sum(waiting(conn).values())
    except (psycopg.Error, QuantStreamError):
        return 0


def _unpause(settings: Settings, names: Sequence[str], console: Console) -> None:
    def unpause(api: AirflowApi) -> None:
        for name in names:
            api.unpause(name)

    if names:
        _with_airflow(settings, unpause)
        console.print(f"running again: {', '.join(dict.fromkeys(names))}", soft_wrap=True)


def _with_airflow(settings: Settings, work: Callable[[AirflowApi], Any]) -> Any:
    """What `work` gives; None where no Airflow of ours answers."""
    from include.stack.airflow_api import AirflowApi
    from include.stack.layout import Layout
    from include.stack.secrets import load_secrets

    layout = Layout(settings.home)
    if not layout.secrets.exists():
        return None
    with AirflowApi(settings, load_secrets(layout), timeout=10) as api:
        try:
            api.health()
        except NotRunningError:
            return None
        return work(api)


def _say(report: RebuildReport, console: Console) -> None:
    console.print(str(report), soft_wrap=True)
    console.print("  ".join(f"{part} {seconds:,.1f} s" for part, seconds in report.seconds.items()))
    for line in (*report.notes, *report.changed):
        console.print(line, style="yellow", soft_wrap=True, markup=False)
    if not report.changed:
        for mart, checksum in report.after.items():
            console.print(f"  [dim]marts.{mart:20} {checksum}[/]", soft_wrap=True)


def _summary(report: RebuildReport) -> dict[str, Any]:
    return {
        "objects": report.objects,
        "events": report.events,
        "quarantined": report.quarantined,
        "rejected": report.rejected,
        "silenced": report.silenced,
        "notes": list(report.notes),
        "seconds": {part: round(seconds, 1) for part, seconds in report.seconds.items()},
        "is_compared": report.before is not None,
        "changed": report.changed,
        "checksums": {mart: {"rows": one.rows, "digest": one.digest} for mart, one in report.after.items()},
    }


def _shown(show: Callable[..., None], console: Console) -> Callable[[RebuildProgress], None]:
    """Progress on the bar, what the steps say above it."""
    names = {"load": "load and audit", "transform": "build the marts", "detect": "detect"}

    def tell(now: RebuildProgress) -> None:
        if now.tally is None:
            show(description=names[now.phase])
        else:
            tally = now.tally
            show(objects=tally.objects, of_objects=tally.of_objects, events=tally.events, description=names[now.phase])
        if now.said:
            console.print(f"  {now.said}", style="dim", soft_wrap=True, markup=False)

    return tell
