"""`quantstream alerts list`, `show`, `ack`, `resolve`, `mute`, `unmute`, `mutes`: alerts as they stand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from include.errors import ConfigError, QuantStreamError

LIST_EPILOG = """
Examples:

  quantstream alerts list                                 # what is open or acknowledged

  quantstream alerts list --status all --rule change --since 2026-11-01

  quantstream alerts list --symbol BTC-USD --json | jq -r .alert_key
"""
SHOW_EPILOG = """
Example:

  quantstream alerts show 1e64d5                          # everything, with its history
"""
ACK_EPILOG = """
Examples:

  quantstream alerts ack 1e64d5                           # seen: it is not said again

  quantstream alerts ack 1e64d5 --by maria --note "index rebalancing"
"""
RESOLVE_EPILOG = """
Example:

  quantstream alerts resolve 1e64d5 --note "feed restarted"
"""
MUTE_EPILOG = """
Examples:

  quantstream alerts mute --symbol BTC-USD --for 2h

  quantstream alerts mute --asset-class crypto --rule zscore --until 2026-11-23T06:00 --reason "exchange upgrade"

  quantstream alerts mute --for 30m                       # everything
"""
UNMUTE_EPILOG = """
Example:

  quantstream alerts unmute 3                             # what is open still is sent now
"""
MUTES_EPILOG = """
Examples:

  quantstream alerts mutes

  quantstream alerts mutes --json | jq .until_at
"""
OPERATIONS: Final = (
    "collector_silent", "gap", "load_rejected", "marts_rejected", "source_set_aside", "spool_full", "stream_loss",
)  # fmt: skip
"""What trouble of the platform itself is called."""
_Key = Annotated[str, typer.Argument(metavar="KEY", help="Its key, or the first digits of it.", show_default=False)]
_By = Annotated[str, typer.Option("--by", help="Who does it. Default: who is logged in here.")]
_Note = Annotated[str, typer.Option("--note", help="What is to be remembered of it.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


class Status(StrEnum):
    """Statuses of an alert; `standing` is open or acknowledged."""

    standing = "standing"
    open = "open"
    acknowledged = "acknowledged"
    resolved = "resolved"
    all = "all"


class Severity(StrEnum):
    """How severe."""

    info = "info"
    warning = "warning"
    critical = "critical"


class AssetClass(StrEnum):
    """Classes of instruments."""

    equity = "equity"
    crypto = "crypto"


def list_alerts(
    status: Annotated[Status, typer.Option(help="Which; standing: open or acknowledged.")] = Status.standing,
    symbol: Annotated[str, typer.Option(help="Only this instrument or portfolio, alone or in a group.")] = "",
    rule: Annotated[str, typer.Option(help="Only of this rule.")] = "",
    severity: Annotated[Severity | None, typer.Option(help="Only of this severity.")] = None,
    since: Annotated[str, typer.Option(metavar="DATE|TIME", help="Only those that went on until then (UTC).")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = 50,
    as_json: _Json = False,
) -> None:
    """Alerts as they stand, the oldest first; a group is one line. The inbox is `quantstream alerts`."""
    from rich.table import Table

    from include.commands.tables import print_table
    from include.pipeline.history_request import parse_moment
    from include.settings import load_settings
    from include.warehouse import alert_acts
    from include.warehouse.db import connect

    wanted = {Status.all: None, Status.standing: "open,acknowledged"}.get(status, status.value)
    with connect(load_settings()) as conn:
        found = alert_acts.list_alerts(
            conn, status=wanted, symbol=symbol or None, rule=rule or None, limit=limit,
            severity=None if severity is None else severity.value,
            since=parse_moment("--since", since) if since else None,
        )  # fmt: skip
    if as_json:
        for row in found:
            typer.echo(_json(row))
        return
    if not found:
        what = {Status.all: "", Status.standing: " open or acknowledged"}.get(status, f" {status.value}")
        narrowed = " that fits" if symbol or rule or severity or since else ""
        typer.echo(f"No alert{narrowed} is{what}." if what else f"There is no alert{narrowed}.")
        return
    table = Table("key", "status", "severity", "since (UTC)", "until", "n", "alert", box=None)
    for row in found:
        colour = {"critical": "red", "warning": "yellow"}.get(row["severity"], "cyan")
        until = row["last_candle"] if row["last_candle"] != row["candle_start"] else None
        table.add_row(
            row["alert_key"][:8], _status(row), f"[{colour}]{row['severity']}[/]",
            _minute(row["candle_start"] or row["created_at"]), _minute(until)[11:], f"{row['finding_count']:,}",
            _escaped(_headline(row)),
        )  # fmt: skip
    print_table(table)


def show(key: _Key, as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False) -> None:
    """One alert: what it says, why, how the price went, and what happened to it."""
    from rich.console import Console

    from include.alert_text import measure_line, sparkline
    from include.settings import load_settings
    from include.warehouse import alert_acts
    from include.warehouse.db import connect

    with connect(load_settings()) as conn:
        alert, history = alert_acts.read_alert(conn, alert_acts.find_key(conn, key))
        closes = []
        if alert["symbol"] and alert["last_candle"]:
            closes = alert_acts.read_closes(conn, alert["symbol"], alert["last_candle"])
    if as_json:
        typer.echo(_json({**alert, "history": history}))
        return
    console = Console()

    def say(name: str, text: object) -> None:
        if text not in (None, "", ()):
            console.print(f"[dim]{name:<13}[/]{_escaped(str(text))}", highlight=False, soft_wrap=True)

    console.print(f"[bold]{_escaped(_headline(alert))}[/]", highlight=False, soft_wrap=True)
    say("key", alert["alert_key"])
    say("rule", " ".join(filter(None, (alert["rule"], alert["direction"], alert["source"]))))
    say("severity", alert["severity"])
    say("status", _status(alert))
    if alert["candle_start"]:
        span = f"{_minute(alert['candle_start'])} to {_minute(alert['last_candle'])[11:]} UTC"
        say("candles", f"{span}, {alert['finding_count']:,} findings")
    if alert["latest_message"] != alert["message"]:
        say("latest", alert["latest_message"])
    if alert["peak_value"] is not None:
        say(
            "peak",
            f"{alert['peak_value']:g} (limit {alert['peak_threshold']:g}) at {_minute(alert['peak_candle'])[11:]}",
        )
    for measure in alert["measures"]:
        say("measured", " ".join(measure_line(measure).split()))
    say("instruments", ", ".join(alert["symbols"] or ()))
    say("in group", alert["group_key"])
    say("told by", alert["told_by"])
    say("last 3 hours", sparkline(closes))
    console.print("history", style="dim")
    for event in history:
        by = f" by {event['by']}" if event["by"] else ""
        note = f": {event['note']}" if event["note"] else ""
        detail = " ".join(f"{name}={value}" for name, value in event["detail"].items() if value is not None)
        line = f"  {event['at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}  {event['event']}{by}{note}  {detail}".rstrip()
        console.print(_escaped(line), highlight=False, soft_wrap=True)


def ack(key: _Key, by: _By = "", note: _Note = "") -> None:
    """Say that somebody has seen it: it is not said again. Of a group, all its members too."""
    _act(key, "acknowledged", by, note)


def resolve(key: _Key, by: _By = "", note: _Note = "") -> None:
    """End it by hand. What the same thing still finds is added to it, and nobody is told."""
    _act(key, "resolved", by, note)


def mute(
    symbol: Annotated[str, typer.Option(help="Only this instrument or portfolio.")] = "",
    rule: Annotated[str, typer.Option(help="Only this rule.")] = "",
    asset_class: Annotated[AssetClass | None, typer.Option(help="Only this asset class.")] = None,
    severity: Annotated[Severity | None, typer.Option(help="Only this severity.")] = None,
    how_long: Annotated[str, typer.Option("--for", metavar="DURATION", help="So long: 30m, 2h, 1d.")] = "",
    until: Annotated[str, typer.Option(metavar="DATE|TIME", help="Until then (UTC).")] = "",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    by: _By = "",
) -> None:
    """Tell nobody about what all of these fit, from now on. It is written down, and sent if it is open at the end."""
    from include.detection.config import load_detection
    from include.instruments import known_instruments
    from include.pipeline.history_request import parse_moment
    from include.settings import load_settings
    from include.transform.listings import load_positions
    from include.warehouse.db import connect
    from include.warehouse.mutes import add_mute

    now = datetime.now(UTC)
    if bool(how_long) is bool(until):
        raise ConfigError("say how long: either --for 2h or --until 2026-11-23T06:00")
    end = now + _duration(how_long) if how_long else parse_moment("--until", until)
    if end <= now:
        raise ConfigError(f"--until = {until}: that is over already")
    settings = load_settings()
    if rule:
        rules = list(load_detection(settings.detection_file).rules)
        _known("--rule", rule, [*rules, *OPERATIONS], "rule")
    with connect(settings) as conn:
        if symbol:
            held = [str(row[0]) for row in load_positions(settings.portfolios_file)]
            traded = [one.symbol for one in known_instruments(conn, settings)]
            _known("--symbol", symbol, [*traded, *held], "instrument or portfolio")
        number = add_mute(
            conn, symbol=symbol or None, rule=rule or None, reason=reason or None, by=by or _who(), from_at=now,
            until_at=end, asset_class=None if asset_class is None else asset_class.value,
            severity=None if severity is None else severity.value,
        )  # fmt: skip
    typer.echo(
        f"mute {number}: nobody is told of {_scope_of(symbol, rule, asset_class, severity)} until {_minute(end)} UTC"
    )


def unmute(number: Annotated[int, typer.Argument(metavar="ID", help="Its number.", show_default=False)]) -> None:
    """End a mute now. What it kept back and is still open is sent with the next run of market_detect."""
    from include.settings import load_settings
    from include.warehouse.db import connect
    from include.warehouse.mutes import end_mute

    with connect(load_settings()) as conn:
        if not end_mute(conn, number, datetime.now(UTC)):
            raise QuantStreamError(f"no mute {number} holds now; `quantstream alerts mutes` lists them")
    typer.echo(f"mute {number} is over")


def mutes(as_json: _Json = False) -> None:
    """What nobody is told of now: mutes, and the maintenance windows of alerting.yml that hold."""
    from rich.table import Table

    from include.commands.tables import print_table
    from include.life.config import load_alerting
    from include.settings import load_settings
    from include.warehouse.db import connect
    from include.warehouse.mutes import read_mutes

    settings, now = load_settings(), datetime.now(UTC)
    with connect(settings) as conn:
        found = read_mutes(conn, now)
    windows = [one for one in load_alerting(settings.alerting_file).maintenance if one.holds(now)]
    if as_json:
        for row in found:
            typer.echo(_json(row))
        return
    if not found and not windows:
        typer.echo("Nothing is muted.")
        return
    table = Table("id", "what", "until (UTC)", "by", "why", box=None)
    for row in found:
        what = _scope_of(row["symbol"], row["rule"], row["asset_class"], row["severity"])
        table.add_row(
            str(row["mute_id"]), what, _minute(row["until_at"]), _escaped(row["made_by"]), _escaped(row["reason"] or "")
        )
    for window in windows:
        named = (*(window.symbols or ()), *(window.asset_classes or ()), *(window.rules or ()))
        table.add_row("", ", ".join(named) or "everything", "", "alerting.yml", _escaped(window.name))
    print_table(table)


def _act(key: str, what: Any, by: str, note: str) -> None:
    from include.settings import load_settings
    from include.warehouse import alert_acts
    from include.warehouse.db import connect

    with connect(load_settings()) as conn:
        found = alert_acts.find_key(conn, key)
        alert, _ = alert_acts.read_alert(conn, found)
        changed = alert_acts.act(conn, found, what, by=by or _who(), note=note or None, at=datetime.now(UTC))
    members = f", with {changed - 1:,} members" if alert["symbols"] and changed > 1 else ""
    if changed:
        typer.echo(f"{what}: {_headline(alert)}{members}")
    else:
        typer.echo(f"nothing to do, it is {_status(alert)} already: {_headline(alert)}")


def _status(row: dict[str, Any]) -> str:
    """Its status, who gave it that, and what its delivery has to say where that is not the usual."""
    who = {"acknowledged": row["acknowledged_by"], "resolved": row["resolved_by"]}.get(row["status"])
    said = str(row["status"]) + (f" by {who}" if who else "") + (", withdrawn" if row["is_withdrawn"] else "")
    return said + (f" ({row['state']})" if row["state"] in ("history", "muted") else "")


def _headline(row: dict[str, Any]) -> str:
    return f"{row['symbol']}: {row['message']}" if row["symbol"] else str(row["message"])


def _scope_of(*words: object) -> str:
    return " ".join(str(word) for word in words if word) or "everything"


def _minute(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _json(row: dict[str, Any]) -> str:
    def plain(value: Any) -> Any:
        return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)

    return json.dumps(row, default=plain)


def _duration(text: str) -> timedelta:
    """`30m`, `2h`, `1d`. Raises ConfigError."""
    units = {"m": "minutes", "h": "hours", "d": "days"}
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in units or not 0 < int(number) < 100_000:
        raise ConfigError(f"--for = {text!r}: write a number and m, h or d, as in 30m, 2h or 1d")
    return timedelta(**{units[unit]: int(number)})


def _known(name: str, word: str, known: list[str], what: str) -> None:
    from include.yaml_lines import meant

    if word not in known:
        raise ConfigError(f"{name} = {word!r}: there is no such {what}{meant(word, known)}")


def _who() -> str:
    import getpass

    return getpass.getuser()
