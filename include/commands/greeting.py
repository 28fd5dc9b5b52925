"""What `up` says at the end: where everything is, and the first alert as it arrived."""

from __future__ import annotations

import itertools
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from include.settings import Settings
from include.stack.airflow import ADMIN, url
from include.stack.layout import Layout
from include.stack.up import Up

_ALERT_PATIENCE_SECONDS = 20.0


def greet(done: Up, console: Console, *, airflow: bool) -> None:
    """Print addresses, user and password, and one alert from the inbox if there is one."""
    settings, base = done.settings, url(done.settings)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    if airflow:
        table.add_row("Airflow", f"{base}   user {ADMIN}   password {escape(done.secrets.admin)}")
        table.add_row("dbt docs", f"{base}/cosmos/quantstream/dbt_docs_index.html")
        table.add_row("Data docs", f"{base}/data-docs/index.html")
    table.add_row("SQL", 'quantstream sql "select * from latest_quotes"')
    if settings.postgres == "embedded":
        table.add_row("psql", f"psql -h 127.0.0.1 -p {settings.postgres_port} -U analyst warehouse")
        table.add_row("", f"its password is in QUANTSTREAM_ANALYST_DSN in {Layout(settings.home).stack_env}")
    table.add_row("Next", "quantstream status | alerts --follow | logs | down")
    console.print()
    console.print(table, soft_wrap=True)
    if airflow:
        _alert(settings, console, first="warm-up" in done.seconds)


def _alert(settings: Settings, console: Console, *, first: bool) -> None:
    """The first alert of a new platform as its subscriber got it, or the newest one of an older platform."""
    from include.notify.inbox import latest, receive

    arrived = latest(settings, sys.maxsize)
    found = (arrived[:1] if first else arrived[-1:]) or list(
        itertools.islice(receive(settings, _ALERT_PATIENCE_SECONDS), 1)
    )
    console.print()
    if not found:
        console.print("No alert has arrived yet; `quantstream alerts --follow` shows them as they come.")
        return
    console.print(f"[bold]The {'first' if first else 'newest'} alert, as it arrived in the inbox[/]")
    console.print(alert_line(found[0]), soft_wrap=True)
    for line in str(found[0].get("text", "")).splitlines()[1:]:
        console.print(f"    {escape(line)}", style="dim", soft_wrap=True)


def alert_line(alert: dict[str, Any]) -> str:
    """One alert as a line for the screen: when it arrived, how severe it is, what it says."""
    colour = {"critical": "red", "warning": "yellow"}.get(str(alert.get("severity")), "cyan")
    said = str(alert.get("text") or alert.get("message") or alert).splitlines()[0]
    arrived = str(alert.get("arrived_at", ""))[:19].replace("T", " ")
    return f"  [dim]{arrived}[/]  [{colour}]{escape(str(alert.get('severity', '')))}[/]  {escape(said)}"
