"""`quantstream models`: train what detection asks, see what there is, and decide which version is used."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from include.warehouse.models import TrainedModel

app = typer.Typer(help="The trained models that detection asks: train, look, decide.", no_args_is_help=True)

_TRAIN_EPILOG = """
Examples:

  quantstream models train                                      # the last 35 whole days, 7 of them to be scored on

  quantstream models train --from 2026-10-01 --to 2026-11-01 --holdout-days 3 --only seasonal
"""
_LIST_EPILOG = """
Example:

  quantstream models list --json | jq -r 'select(.state == "approved") | .version'
"""
_SHOW_EPILOG = """
Example:

  quantstream models show isolation_forest          # the approved version, with its scores and parameters
"""
_APPROVE_EPILOG = """
Example:

  quantstream models approve seasonal 3f2a          # the beginning of a version is enough
"""
_RETIRE_EPILOG = """
Example:

  quantstream models retire half_space_trees        # its rule is silent from the next minute on
"""


@app.command("train", epilog=_TRAIN_EPILOG)
def train(
    start: Annotated[str, typer.Option("--from", metavar="DATE|TIME", help="Learn from here on (UTC).")] = "",
    end: Annotated[
        str, typer.Option("--to", metavar="DATE|TIME", help="Up to here, the days to be scored on included (UTC).")
    ] = "",
    holdout_days: Annotated[
        int, typer.Option("--holdout-days", min=1, help="Days before --to to score on; nothing is learned from them.")
    ] = 7,
    only: Annotated[str, typer.Option(help="Only these models, as in isolation_forest,seasonal.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="The same seed and candles give the same models.")] = 0,
) -> None:
    """Train on a window, score on the days held out at its end, and approve what is not worse than what is in use."""
    from datetime import UTC, timedelta

    from include.models.learning import NAMES, TrainParams
    from include.pipeline.history_request import parse_moment
    from include.pipeline.training import DAYS, last_midnight, train_models
    from include.settings import load_settings

    until = parse_moment("--to", end) if end else last_midnight(datetime.now(UTC))
    since = parse_moment("--from", start) if start else until - timedelta(days=DAYS)
    names = [part.strip() for part in only.split(",") if part.strip()] or NAMES
    report = train_models(
        load_settings(), since, until, holdout_days=holdout_days, names=names, params=TrainParams(seed=seed),
        progress=lambda said: typer.echo(said, err=True),
    )  # fmt: skip
    for symbol, why in report.left_out.items():
        typer.echo(f"{symbol} was left out: {why}", err=True)
    typer.echo(f"learned from {report.candles:,} candles of {report.symbols} symbols")
    for one in report.models:
        known = "" if one.is_new else " (this very version was there before)"
        typer.echo(f"{one.name} {one.version} {one.state}{known}: {one.reason}")


@app.command("list", epilog=_LIST_EPILOG)
def list_models(
    name: Annotated[str, typer.Argument(help="Only this model.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Every version that was trained, by name, the newest first."""
    from rich.table import Table

    from include.commands.tables import print_table
    from include.settings import load_settings
    from include.warehouse.db import connect
    from include.warehouse.models import all_models

    with connect(load_settings()) as conn:
        found = all_models(conn, name or None)
    if as_json:
        for one in found:
            typer.echo(_json(one))
        return
    if not found:
        typer.echo("no model was trained yet; `quantstream models train` does it")
        return
    table = Table("model", "version", "state", "from (UTC)", "until", "shocks found", "false a day", "why", box=None)
    for one in found:
        table.add_row(
            one.name, one.version, one.state,
            f"{one.trained_from:%Y-%m-%d %H:%M}", f"{one.trained_until:%Y-%m-%d %H:%M}",
            f"{one.scores.get('recall', 0):.1%}", f"{one.scores.get('alarms_per_day', 0):.2f}", one.reason,
        )  # fmt: skip
    print_table(table)


@app.command("show", epilog=_SHOW_EPILOG)
def show(
    name: Annotated[str, typer.Argument(help="isolation_forest, half_space_trees or seasonal.")],
    version: Annotated[str, typer.Argument(help="Or its beginning; left out: the approved one.")] = "",
) -> None:
    """One version: its window, data, parameters, scores, and where its files are."""
    from include.pipeline.models import find_model
    from include.settings import load_settings
    from include.warehouse.db import connect

    settings = load_settings()
    with connect(settings) as conn:
        one = find_model(conn, name, version)
    typer.echo(f"{one.name} {one.version}: {one.state} ({one.reason})")
    typer.echo(f"learned from   [{one.trained_from:%Y-%m-%d %H:%M}, {one.trained_until:%Y-%m-%d %H:%M}) UTC")
    typer.echo(f"scored on      [{one.trained_until:%Y-%m-%d %H:%M}, {one.held_out_until:%Y-%m-%d %H:%M}) UTC")
    typer.echo(f"data           SHA-256 {one.data_sha256}")
    typer.echo(f"files          s3://{settings.bucket}/{one.s3_key}")
    typer.echo(f"parameters     {json.dumps(one.params)}")
    typer.echo(f"scores         {json.dumps(one.scores)}")


@app.command("approve", epilog=_APPROVE_EPILOG)
def approve(
    name: Annotated[str, typer.Argument(help="isolation_forest, half_space_trees or seasonal.")],
    version: Annotated[str, typer.Argument(help="Its version, or the beginning of it.")],
) -> None:
    """Use this version from the next minute on, whatever its scores say; the one in use is retired."""
    from include.pipeline.models import approve
    from include.settings import load_settings
    from include.warehouse.db import connect

    settings = load_settings()
    with connect(settings) as conn:
        one = approve(settings, conn, name, version)
    typer.echo(f"{one.name} {one.version} is in use from the next minute on")


@app.command("retire", epilog=_RETIRE_EPILOG)
def retire(
    name: Annotated[str, typer.Argument(help="isolation_forest, half_space_trees or seasonal.")],
) -> None:
    """Use no version of it: its rule is silent until another one is approved."""
    from include.pipeline.models import retire
    from include.settings import load_settings
    from include.warehouse.db import connect

    with connect(load_settings()) as conn:
        one = retire(conn, name)
    typer.echo(f"{one.name} {one.version} is retired; its rule is silent")


def _json(one: TrainedModel) -> str:
    values = asdict(one)
    return json.dumps({key: v.isoformat() if isinstance(v, datetime) else v for key, v in values.items()})
