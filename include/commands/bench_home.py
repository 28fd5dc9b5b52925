"""What the benches share: a platform of their own, and telling the result."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from _typeshed import DataclassInstance
    from rich.console import Console

    from include.settings import Settings


@contextmanager
def home_of_its_own(console: Console, *, keep: bool) -> Iterator[Path]:
    """An empty home for a platform beside yours; in the end that is stopped and removed, unless it is to be kept."""
    from include.settings import load_settings
    from include.stack.down import down

    home = Path(tempfile.mkdtemp(prefix="quantstream-bench-"))
    try:
        yield home
    finally:
        if keep:
            console.print(f"kept: QUANTSTREAM_HOME={home} quantstream status")
        else:
            down(load_settings(home=home), console)
            shutil.rmtree(home, ignore_errors=True)


def register_made_up(conn: psycopg.Connection, settings: Settings, symbols: int) -> None:
    """Bring the number of instruments to `symbols` with made-up ones (half crypto, half equity)."""
    from include.instruments import known_instruments, register

    missing = symbols - len(known_instruments(conn, settings))
    names = [f"BENCH{number:05d}" for number in range(max(0, missing))]
    register(conn, names[::2], "crypto")
    register(conn, names[1::2], "equity")


def copy_again(conn: psycopg.Connection, table: str, *, keyed: bool = False) -> tuple[int, float]:
    """Rows and seconds of a COPY of what is in `table` ("schema.name") into an empty one of the same columns.

    Read from a file that was written before, so that only the COPY counts. `keyed`: with the indexes of `table`.
    """
    from psycopg import sql

    name = sql.Identifier(*table.split("."))
    indexes = sql.SQL("including indexes" if keyed else "")
    with tempfile.TemporaryFile() as rows, conn.transaction(force_rollback=True), conn.cursor() as cursor:
        with cursor.copy(sql.SQL("copy (select * from {}) to stdout").format(name)) as export:
            rows.writelines(export)
        rows.seek(0)
        cursor.execute(
            sql.SQL("create table intermediate.bench_copy (like {} including defaults {})").format(name, indexes)
        )
        started = perf_counter()
        with cursor.copy("copy intermediate.bench_copy from stdin") as copy:
            while block := rows.read(256 * 1024):
                copy.write(block)
        return cursor.rowcount, perf_counter() - started


def tell(result: DataclassInstance, table: Callable[[Any], Any], *, as_json: bool) -> None:
    """Print the result as JSON, or the table that is made of it."""
    from rich.console import Console

    out = Console()
    if as_json:
        out.print_json(json.dumps(asdict(result)))
    else:
        out.print(table(result))
