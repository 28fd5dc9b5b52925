"""`quantstream alerts`: what arrived in the inbox."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.commands import alerts_life, alerts_redeliver

if TYPE_CHECKING:
    from include.settings import Settings

EPILOG = """
Examples:

  quantstream alerts --limit 5

  quantstream alerts --follow

  quantstream alerts --json | jq -r .symbol | sort | uniq -c

  quantstream alerts list                                 # what is open, and who has seen it

  quantstream alerts ack 1e64d5

  quantstream alerts redeliver --dead
"""

app = typer.Typer(epilog=EPILOG, invoke_without_command=True)
app.command("list", epilog=alerts_life.LIST_EPILOG)(alerts_life.list_alerts)
app.command("show", epilog=alerts_life.SHOW_EPILOG)(alerts_life.show)
app.command("ack", epilog=alerts_life.ACK_EPILOG)(alerts_life.ack)
app.command("resolve", epilog=alerts_life.RESOLVE_EPILOG)(alerts_life.resolve)
app.command("mute", epilog=alerts_life.MUTE_EPILOG)(alerts_life.mute)
app.command("unmute", epilog=alerts_life.UNMUTE_EPILOG)(alerts_life.unmute)
app.command("mutes", epilog=alerts_life.MUTES_EPILOG)(alerts_life.mutes)
app.command("redeliver", epilog=alerts_redeliver.EPILOG)(alerts_redeliver.redeliver)

_SHOW_THEM = "quantstream sql \"select * from alerts where state = 'history'\""


@app.callback()
def alerts(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new alerts as they arrive.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many of those that arrived already.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """The alerts as they were delivered, oldest first. Ctrl-C ends --follow.

    Alerts of old candles (QUANTSTREAM_ALERT_MAX_AGE_HOURS) were sent to nobody: they are counted here.
    """
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from include.commands.greeting import alert_line
    from include.notify.inbox import latest, receive
    from include.settings import load_settings

    settings, console = load_settings(), Console()

    def show(alert: dict[str, Any]) -> None:
        if as_json:
            typer.echo(json.dumps(alert))
        else:
            console.print(alert_line(alert), soft_wrap=True, highlight=False)

    shown = latest(settings, limit)
    for alert in shown:
        show(alert)
    if not as_json and (too_old := _too_old(settings)):
        console.print(f"Written down, too old to send: {too_old:,} ({_SHOW_THEM})", highlight=False, soft_wrap=True)
    if follow:
        with suppress(KeyboardInterrupt):
            for alert in receive(settings, math.inf):
                show(alert)
    elif not shown and not as_json:
        console.print("No alert has arrived yet.")


def _too_old(settings: Settings) -> int:
    """How many alerts nobody was sent; 0 if the warehouse is not there to be asked."""
    import psycopg

    from include.errors import QuantStreamError
    from include.warehouse.alerts import count_too_old
    from include.warehouse.db import connect

    try:
        with connect(settings) as conn:
            return count_too_old(conn)
    except (QuantStreamError, psycopg.Error):
        return 0
