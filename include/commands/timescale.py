"""`quantstream timescale`: the switch between Postgres's partitions and TimescaleDB's hypertables."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Large tables as TimescaleDB's hypertables, where the server has it.", no_args_is_help=True)

_ENABLE_EPILOG = """
Examples:

  quantstream timescale enable                          # asks first; docs/timescale.md says how long it takes

  docker compose run --rm provision quantstream timescale enable --yes
"""
_DISABLE_EPILOG = """
Example:

  quantstream timescale disable                         # back to Postgres's own partitions
"""
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command(epilog=_ENABLE_EPILOG)
def enable(yes: _Yes = False) -> None:
    """Turn the events, quotes, trades, candles and indicators into hypertables, compressed by symbol after some days.

    Each table is copied in one transaction, and its readers and writers wait for so long. Safe to repeat.
    """
    from include.pipeline.cutting import enable_timescale
    from include.settings import load_settings

    settings = load_settings()
    if not yes:
        typer.confirm("Each table is locked while its rows are copied. Go on?", abort=True)
    version, done = enable_timescale(settings, progress=_tell)
    days = settings.timescale_compress_days
    typer.echo(
        f"TimescaleDB {version}: {len(done)} tables were turned into hypertables; "
        + (f"chunks are compressed after {days} days" if days else "chunks are not compressed by themselves")
    )


@app.command(epilog=_DISABLE_EPILOG)
def disable(yes: _Yes = False) -> None:
    """Turn hypertables back into partitioned tables. Compressed rows need their full room on disk for it."""
    from include.pipeline.cutting import disable_timescale
    from include.settings import load_settings

    if not yes:
        typer.confirm("Each table is locked while its rows are copied. Go on?", abort=True)
    done = disable_timescale(load_settings(), progress=_tell)
    typer.echo(f"{len(done)} tables have Postgres's own partitions again")


def _tell(table: str, rows: int) -> None:
    typer.echo(f"{table}: {rows:,} rows", err=True)
