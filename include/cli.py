"""The `quantstream` command. Subcommands are in include/commands; what is heavy is imported when it is used.

Exit codes: 0 done, 1 something failed, 2 a wrong setting or argument, 3 something that must run does not.
"""

from __future__ import annotations

import importlib.metadata
import logging
import sys
import warnings
from typing import Annotated, NoReturn

import typer

from include.commands import (
    airflow,
    alerts,
    analyst,
    athena,
    backfill,
    backtest,
    bench,
    chart,
    collect,
    compact,
    detection,
    gaps,
    loads,
    logs,
    models,
    provision,
    rebuild,
    replay,
    run,
    score,
    space,
    sql,
    stack,
    status,
    stream,
    timescale,
)
from include.errors import QuantStreamError

EPILOG = """
Examples:

  quantstream up                            # start everything and wait for the first minute

  quantstream status                        # how it does; exit code 0, 1 or 3

  quantstream sql "select * from latest_quotes"

  quantstream alerts --follow

  quantstream backfill --from 2026-11-01    # the past, into the same tables

  quantstream down

Exit codes: 0 done, 1 something failed, 2 a wrong setting or argument, 3 not running.
"""

app = typer.Typer(
    name="quantstream",
    help="A market-data platform: quotes to candles, indicators and delivered alerts, every minute.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command(epilog=stack.UP_EPILOG)(stack.up)
app.command(epilog=stack.DOWN_EPILOG)(stack.down)
app.command(epilog=stack.CLEAN_EPILOG)(stack.clean)
app.command(epilog=status.EPILOG)(status.status)
app.command(epilog=run.EPILOG)(run.run)
app.command(epilog=collect.EPILOG)(collect.collect)
app.command(epilog=backfill.EPILOG)(backfill.backfill)
app.command(epilog=gaps.EPILOG)(gaps.gaps)
app.command(epilog=replay.EPILOG)(replay.replay)
app.command(epilog=rebuild.EPILOG)(rebuild.rebuild)
app.command(epilog=sql.EPILOG)(sql.sql)
app.command(epilog=chart.EPILOG)(chart.chart)
app.command(epilog=backtest.EPILOG)(backtest.backtest)
app.command(epilog=score.EPILOG)(score.score)
app.command(epilog=athena.EPILOG)(athena.athena)
app.command(epilog=compact.EPILOG)(compact.compact)
app.command(epilog=logs.EPILOG)(logs.logs)
app.command(epilog=space.EPILOG)(space.space)
app.add_typer(alerts.app, name="alerts")
app.add_typer(loads.app, name="loads")
app.add_typer(analyst.app, name="analyst")
app.add_typer(models.app, name="models")
app.add_typer(stream.app, name="stream")
app.add_typer(timescale.app, name="timescale")
app.add_typer(bench.app, name="bench")
app.add_typer(detection.app, name="detection")
app.command(epilog=provision.EPILOG)(provision.provision)
app.command(epilog=airflow.EPILOG, context_settings=airflow.CONTEXT, add_help_option=False)(airflow.airflow)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"quantstream {importlib.metadata.version('quantstream')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the log as well.")] = False,
) -> None:
    """Options of every command."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR, format="%(asctime)s %(levelname)s %(message)s"
    )


def main() -> None:
    """Run the command. An error that a person may read becomes one red message and its exit code."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' warnings are for developers
    try:
        app()
    except QuantStreamError as error:
        _refuse(str(error), error.exit_code)
    except BrokenPipeError:  # `quantstream sql ... | head`
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        if not type(error).__module__.startswith("botocore."):
            raise
        _refuse(f"AWS refused or does not answer: {error}\n`quantstream status` shows what runs.", 3)


def _refuse(text: str, exit_code: int) -> NoReturn:
    from rich.console import Console
    from rich.markup import escape

    Console(stderr=True).print(f"[red]{escape(text)}[/]", highlight=False, soft_wrap=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
