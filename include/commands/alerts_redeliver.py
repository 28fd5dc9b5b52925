"""`quantstream alerts redeliver`: dead alerts, or some that were sent, go out once more."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

EPILOG = """
Examples:

  quantstream alerts redeliver --dead --dry-run           # what SNS would not take, and why

  quantstream alerts redeliver --dead

  quantstream alerts redeliver --key 1e64d5d6             # one alert, dead or sent

  quantstream alerts redeliver --since 2026-11-21T14:00   # all that SNS took since then (UTC)

Exit codes: 0 done, 1 no such alert, 2 a wrong argument, 3 not running.
"""


def redeliver(
    dead: Annotated[bool, typer.Option("--dead", help="All that SNS would not take.")] = False,
    key: Annotated[str, typer.Option(metavar="KEY", help="One alert, by the first digits of its key.")] = "",
    since: Annotated[str, typer.Option(metavar="DATE|TIME", help="All that SNS took at that time or later.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which, and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Put alerts back into the outbox; the next run of market_detect sends them, oldest first.

    One that was sent before goes out under a new key, so that neither SNS nor the inbox drops it as a repetition.
    """
    from include.commands.tables import print_table
    from include.pipeline.history_request import parse_moment
    from include.pipeline.redeliver import redeliver as put_back
    from include.settings import load_settings

    moment = parse_moment("--since", since) if since else None
    chosen = put_back(load_settings(), dead=dead, key=key or None, since=moment, dry_run=dry_run)
    if as_json:
        for one in chosen:
            typer.echo(json.dumps(asdict(one)))
        return
    if chosen:
        from rich.table import Table

        table = Table("key", "was", "subject", "reason", box=None)
        for one in chosen:
            table.add_row(_short(one.message_key), one.was, one.subject, one.reason or "")
        print_table(table)
    if not chosen:
        typer.echo("No such alert: nothing is to be delivered again.")
    elif dry_run:
        typer.echo(f"{len(chosen):,} alerts would wait again. Nothing was changed.")
    else:
        typer.echo(f"{len(chosen):,} alerts wait again; the next run of market_detect sends them.")


def _short(key: str) -> str:
    digits, again, number = key.partition(":again:")
    return digits[:12] + again + number
