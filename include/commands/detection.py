"""`quantstream detection`: the rules, what each of them takes, and whether `detection.yml` is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.errors import ConfigError

if TYPE_CHECKING:
    from include.detection.config import Detection
    from include.settings import Settings

app = typer.Typer(
    help="The rules that alerts come from: list them, explain one, check detection.yml.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
File = Annotated[Path | None, typer.Option("--file", help="Another file than QUANTSTREAM_DETECTION_FILE.")]

CHECK_EPILOG = """
Examples:

  quantstream detection check

  quantstream detection check --file new.yml     # before it takes the place of the one in use

Exit codes: 0 right, 2 wrong: every mistake with its line.
"""
LIST_EPILOG = """
Examples:

  quantstream detection list

  quantstream detection list --json | jq -r 'select(.enabled).name'
"""
SHOW_EPILOG = """
Examples:

  quantstream detection show volume_shock
"""


@app.command(epilog=CHECK_EPILOG)
def check(file: File = None) -> None:
    """Read detection.yml as the platform does: unknown rules, symbols and portfolios, wrong values, one's own rules."""
    from include.settings import load_settings

    settings = load_settings()
    path = (file or settings.detection_file).absolute()
    found = _load(settings, path)
    enabled = found.enabled()
    typer.echo(f"{path}: {len(enabled)} of {len(found.rules)} rules enabled, nothing wrong")


@app.command("list", epilog=LIST_EPILOG)
def list_rules(
    file: File = None, as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False
) -> None:
    """The rules, one's own with them: whether enabled, severity, what each points at."""
    from include.settings import load_settings

    settings = load_settings()
    found = _load(settings, (file or settings.detection_file).absolute())
    enabled = set(found.enabled())
    if as_json:
        for name in found.rules:
            typer.echo(json.dumps(_described(found, name, is_enabled=name in enabled)))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("rule", "on", "severity", "points at", box=None, pad_edge=False)
    for name, rule in found.rules.items():
        params = found.params(name, "", None)
        table.add_row(name, "yes" if name in enabled else "-", params.severity, rule.title)
    Console().print(table)


@app.command(epilog=SHOW_EPILOG)
def show(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="As in `detection list`.")], file: File = None
) -> None:
    """What a rule counts, reads and takes: parameters, bounds, defaults and what holds now."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from include.settings import load_settings
    from include.yaml_lines import meant

    settings = load_settings()
    found = _load(settings, (file or settings.detection_file).absolute())
    if rule not in found.rules:
        raise ConfigError(f"there is no rule {rule!r}{meant(rule, found.rules)}; there are {', '.join(found.rules)}")
    one, now = found.rules[rule], found.params(rule, "", None)
    console = Console()
    text = " ".join((type(one).__doc__ or "").split())
    console.print(f"[bold]{rule}[/]: {escape(one.title)}\n\n{escape(text)}\n", highlight=False)
    rows = found.history(rule) or one.history(now)
    console.print(f"reads {one.reads}: {', '.join(one.needs)}; looks back {rows} rows\n", highlight=False)
    table = Table("parameter", "default", "now", "meaning", box=None, pad_edge=False)
    for name, field in one.params.model_fields.items():
        default = field.get_default(call_default_factory=True)
        table.add_row(name, _said(default), _said(getattr(now, name)), escape(_meaning(name, field)))
    console.print(table)
    if not found.is_uniform(rule):
        console.print("\nOther values hold for some instruments, classes or portfolios: see the file.")


def _load(settings: Settings, path: Path) -> Detection:
    """The file, checked against what is traded: the files, and what was registered if the warehouse answers."""
    import psycopg

    from include.detection.config import load_detection
    from include.errors import QuantStreamError
    from include.instruments import known_instruments, load_instruments
    from include.transform.listings import load_positions
    from include.warehouse.db import connect

    symbols = {one.symbol for one in load_instruments(settings.instruments_file)}
    try:
        with connect(settings) as conn:
            symbols |= {one.symbol for one in known_instruments(conn, settings)}
    except (QuantStreamError, psycopg.Error):
        pass  # it does not run: then there are those of the file
    portfolios = {str(row[0]) for row in load_positions(settings.portfolios_file)}
    return load_detection(path, symbols, portfolios)


def _described(found: Detection, name: str, *, is_enabled: bool) -> dict[str, Any]:
    rule, params = found.rules[name], found.params(name, "", None)
    return {
        "name": name, "title": rule.title, "reads": rule.reads, "history": found.history(name),
        **params.model_dump(), "enabled": is_enabled,
    }  # fmt: skip


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _meaning(name: str, field: Any) -> str:
    plain = {"enabled": "true or false", "severity": "info, warning or critical"}
    return field.description or plain.get(name, "")
