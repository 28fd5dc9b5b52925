"""`quantstream alerts`: what arrived in the inbox."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Annotated, Any

import typer

EPILOG = """
Examples:

  quantstream alerts --limit 5

  quantstream alerts --follow

  quantstream alerts --json | jq -r .symbol | sort | uniq -c
"""


def alerts(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new alerts as they arrive.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many of those that arrived already.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """The alerts as they were delivered, oldest first. Ctrl-C ends --follow."""
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
    if follow:
        with suppress(KeyboardInterrupt):
            for alert in receive(settings, math.inf):
                show(alert)
    elif not shown and not as_json:
        console.print("No alert has arrived yet.")
