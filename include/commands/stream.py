"""`quantstream stream`: how far the stream is read, and reading it again."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.errors import ConfigError

if TYPE_CHECKING:
    from include.pipeline.stream_reset import Place, ResetPlan, ShardPlan

app = typer.Typer(help="The stream: how far it is read, and reading it again.", no_args_is_help=True)

_STATUS_EPILOG = """
Example:

  quantstream stream status
"""
_RESET_EPILOG = """
Examples:

  quantstream stream reset --timestamp 2026-11-21T09:00 --dry-run     # what would be read again

  quantstream stream reset --timestamp 2026-11-21T09:00 --yes

  quantstream stream reset --sequence 4967...8082 --shard shardId-000000000000

  quantstream stream reset --horizon                                  # all that the stream still holds

What is older than the stream is read from the lake: `quantstream replay`.

Exit codes: 0 done, 1 it failed, 2 a place that is not possible, 3 not running.
"""


@app.command(epilog=_STATUS_EPILOG)
def status(as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
    """How far each shard is read, and how many records wait."""
    from rich.table import Table

    from include.commands.tables import print_table
    from include.pipeline.stream_reset import stream_status
    from include.settings import load_settings

    shards = stream_status(load_settings())
    if as_json:
        for one in shards:
            typer.echo(json.dumps(one.as_json()))
        return
    table = Table("shard", "state", "read to", "read until (UTC)", "records that wait", box=None)
    for one in shards:
        until = "" if one.read_until is None else f"{one.read_until:%Y-%m-%d %H:%M:%S}"
        state = "closed" if one.is_closed else "open"
        waiting = f"{'at least ' if one.is_more else ''}{one.unread:,}"
        table.add_row(one.shard_id, state + (", set back" if one.is_set_back else ""), one.position, until, waiting)
    print_table(table)


@app.command(epilog=_RESET_EPILOG)
def reset(
    sequence: Annotated[str, typer.Option(metavar="NUMBER", help="From this record of the shard on.")] = "",
    timestamp: Annotated[str, typer.Option(metavar="TIME", help="From what arrived then on (UTC).")] = "",
    horizon: Annotated[bool, typer.Option("--horizon", help="From the oldest record that the stream holds.")] = False,
    shard: Annotated[str, typer.Option(metavar="ID", help="Only this shard. Default: all of them.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be read again, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The plan as JSON on stdout; does not ask.")] = False,
) -> None:
    """Set the positions in the stream back: the next landings read everything from there on again.

    It lands under new keys and comes into the warehouse as duplicates: nothing is lost, nothing is there twice.
    """
    from include.pipeline.stream_reset import plan_reset, reset_stream
    from include.settings import load_settings

    settings, place = load_settings(), _place(sequence, timestamp, horizon=horizon)
    plan = plan_reset(settings, place, shard_id=shard or None)
    if not as_json:
        _show(plan)
    if not dry_run and plan.changed:
        if not yes and not as_json and not typer.confirm("Set the positions back?"):
            raise typer.Exit(1)
        plan = reset_stream(settings, place, shard_id=shard or None, run_id="stream-reset")
        if not as_json:
            typer.echo("Done. The next landing reads from there on; `quantstream stream status` shows how far it is.")
    if as_json:
        typer.echo(json.dumps(_json(plan, is_done=not dry_run), indent=2))


def _place(sequence: str, timestamp: str, *, horizon: bool) -> Place:
    from include.pipeline.history_request import parse_moment
    from include.pipeline.stream_reset import Place

    if sum((bool(sequence), bool(timestamp), horizon)) != 1:
        raise ConfigError("say where to begin: one of --sequence, --timestamp and --horizon")
    if timestamp:
        return Place(timestamp=parse_moment("--timestamp", timestamp))
    return Place(sequence=sequence or None)


def _show(plan: ResetPlan) -> None:
    from rich.table import Table

    from include.commands.tables import print_table

    table = Table("shard", "from", "arrived (UTC)", "to", "records", "events", "unread behind it", "gone", box=None)
    for one in plan.shards:
        if one.first is None:
            table.add_row(one.shard_id, one.why, "", one.read_to or "", "", "", _unread(one), "")
            continue
        about = "up to " if one.known.is_cut else ""
        table.add_row(
            one.shard_id, one.first.sequence_number, f"{one.first.arrived_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            one.read_to or "", f"{about}{one.known.records:,}", f"{about}{one.known.events:,}", _unread(one),
            f"{one.trimmed.events:,} events" if one.trimmed.events else "",
        )  # fmt: skip
    print_table(table)
    typer.echo(str(plan))
    if any(one.trimmed.events for one in plan.shards):
        typer.echo("What is gone was landed once; only the lake has it: quantstream replay.")


def _unread(one: ShardPlan) -> str:
    return f"{'at least ' if one.is_more else ''}{one.unread:,}"


def _json(plan: ResetPlan, *, is_done: bool) -> dict[str, Any]:
    return {
        "stream": plan.stream,
        "from": str(plan.place),
        "done": is_done and bool(plan.changed),
        "shards": [
            {
                "shard": one.shard_id,
                "from": one.first.sequence_number if one.first else None,
                "from_arrived_at": one.first.arrived_at.isoformat() if one.first else None,
                "to": one.read_to,
                "records": one.known.records,
                "events": one.known.events,
                "unread": one.unread,
                "gone_events": one.trimmed.events,
                "why": one.why,
            }
            for one in plan.shards
        ],
    }
