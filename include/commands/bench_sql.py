"""`quantstream bench sql`: how long analysts wait, beside DuckDB over the same rows as Parquet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Final

import typer

from include.commands.bench_backfill import bring_in, vendor
from include.commands.bench_home import home_of_its_own, tell
from include.commands.bench_memory import Memory
from include.errors import QuantStreamError
from include.events import Window
from include.queries import QUERIES
from include.settings import Settings

_DAYS: Final = 10
_DAY: Final = timedelta(days=1)
_MARTS: Final = """
select c.relname, json_object_agg(a.attname, format_type(a.atttypid, null) order by a.attnum)
from pg_class as c inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'marts'::regnamespace and c.relkind in ('r', 'p', 'v') and c.relname = any(%s)
group by c.relname order by 1
"""
_DUCKDB_TYPES: Final = {"numeric": "double", "double precision": "double", "text": "varchar", "jsonb": "json"}
_MIB: Final = 2**20
_TABLES: Final = 12  # the largest


@dataclass(frozen=True, slots=True)
class Waits:
    """Milliseconds of one query, warm: p50 and p95 in Postgres and in DuckDB, and how many rows it gave."""

    rows: int
    postgres_p50: float
    postgres_p95: float
    duckdb_p50: float
    duckdb_p95: float


@dataclass(frozen=True, slots=True)
class Size:
    """Of one table: rows, MiB of the table and of its indexes."""

    rows: int
    table_mib: float
    index_mib: float


@dataclass(frozen=True, slots=True)
class SqlBench:
    """Result of `bench sql`. `seconds` is how long it took to bring `events` into the marts, `peak_mib` the most memory
    that this took in Python, `peak_database_mib` in Postgres."""

    events: int
    seconds: float
    peak_mib: int
    peak_database_mib: int
    queries: dict[str, Waits]
    sizes: dict[str, Size]
    parquet_mib: float


def sql(
    events: Annotated[int, typer.Option(min=1_000, help="About how many trades are in the warehouse.")] = 10_000_000,
    runs: Annotated[int, typer.Option(min=2, help="How often each query is run; the first time does not count.")] = 21,
    jobs: Annotated[int, typer.Option(min=1, max=16, help="Processes that fetch, load and audit.")] = 2,
    keep: Annotated[bool, typer.Option(help="Leave the bench's own platform and its state for a look.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """The queries of docs/analyst_guide.md on ten days of trades up to now, in a platform of its own.

    Each is run as the role analyst, and in DuckDB over the same rows as Parquet; both must give as many rows.

    Example: quantstream bench sql --events 10000000
    """
    from rich.console import Console

    from include.settings import load_settings
    from include.stack.up import up

    console = Console(stderr=True)
    with home_of_its_own(console, keep=keep) as home:
        settings = up(load_settings(home=home, sources="simulator"), console, airflow=False).settings
        with Memory(home) as memory:
            seconds = _fill(settings, events, jobs, console)
        queries, sizes, parquet = measure(settings, home / "parquet", runs)
        result = SqlBench(events, seconds, memory.peak_mib, memory.peak_database_mib, queries, sizes, parquet)
    tell(result, _table, as_json=as_json)


def _fill(settings: Settings, events: int, jobs: int, console: Any) -> float:
    """Ten days of trades of all instruments that Binance has, up to the last midnight; the seconds that it took.

    And ten live minutes of the simulator, without which nothing would have a newest quote.
    """
    from include.instruments import known_instruments
    from include.pipeline.cycle import catch_up, process
    from include.pipeline.gaps import find_gaps
    from include.warehouse.db import connect

    with connect(settings) as conn:
        ids = [one.ids["binance"] for one in known_instruments(conn, settings) if "binance" in one.ids]
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    windows = [Window(end - (n + 1) * _DAY, end - n * _DAY) for n in reversed(range(_DAYS))]
    with vendor(ids, windows[0].start, max(1, events // _DAYS // len(ids))) as url:
        used = settings.model_copy(update={
            "binance_url": url, "sources": ["binance", "simulator"], "transform_history_events": 1_000_000,
            "vendor_budgets": {"binance": "100000000/minute"},
        })  # fmt: skip
        began = perf_counter()
        bring_in(used, "trade", windows, jobs, console)
        seconds = perf_counter() - began
        process(used, only=("transform", "detect", "notify"))
    catch_up(settings, minutes=10, until=datetime.now(UTC))
    find_gaps(settings)
    with connect(settings) as conn:
        conn.execute("vacuum analyze")  # as autovacuum has done it a minute later
    return round(seconds, 1)


def measure(settings: Settings, folder: Path, runs: int) -> tuple[dict[str, Waits], dict[str, Size], float]:
    """Run every query so often in Postgres and in DuckDB; also the sizes of the largest tables, and MiB of the Parquet.

    Raises QuantStreamError if the two give different numbers of rows.
    """
    import duckdb

    from include.warehouse.db import connect
    from include.warehouse.space import read_space

    folder.mkdir()
    with connect(settings) as conn, duckdb.connect() as duck:
        sizes = {
            one.name.split(".")[1]: Size(one.rows, round(one.table_bytes / _MIB, 1), round(one.index_bytes / _MIB, 1))
            for one in [one for one in read_space(conn, ("raw", "marts")) if one.rows][:_TABLES]
        }
        duck.execute("set timezone = 'UTC'")
        for mart, columns in conn.execute(_MARTS, [sorted(_words())]).fetchall():
            _as_parquet(conn, duck, mart, columns, folder / f"{mart}.parquet")
        queries = {}
        with connect(settings, role="analyst") as analyst:
            analyst.execute("set search_path = marts")
            for name, query in QUERIES.items():
                ours, theirs = _times(analyst, query.sql, runs), _times(duck, query.sql, runs)
                if ours[0] != theirs[0]:
                    raise QuantStreamError(
                        f"{name}: {ours[0]} rows in Postgres, {theirs[0]} in DuckDB; this must not be"
                    )
                queries[name] = Waits(*ours, *theirs[1:])
    parquet = sum(file.stat().st_size for file in folder.glob("*.parquet")) / _MIB
    return queries, sizes, round(parquet, 1)


def _words() -> set[str]:
    return {word for query in QUERIES.values() for word in re.findall(r"\w+", query.sql)}


def _as_parquet(conn: Any, duck: Any, mart: str, columns: dict[str, str], file: Path) -> None:
    """All rows of a mart as Parquet, and a view of its name on them."""
    from psycopg import sql

    lines = file.with_suffix(".csv")
    query = sql.SQL("copy (select * from marts.{}) to stdout (format csv)").format(sql.Identifier(mart))
    with lines.open("wb") as out, conn.cursor() as cursor, cursor.copy(query) as rows:
        out.writelines(rows)
    types = {name: _DUCKDB_TYPES.get(kind, kind) for name, kind in columns.items()}
    # nothing is guessed: a mart may be empty, or have one word in all its rows
    given = duck.read_csv(
        str(lines), header=False, columns=types, auto_detect=False, delimiter=",", quotechar='"', escapechar='"'
    )
    given.write_parquet(str(file), compression="zstd")
    lines.unlink()
    duck.read_parquet(str(file)).create_view(mart)


def _times(conn: Any, query: str, runs: int) -> tuple[int, float, float]:
    """Rows, and the milliseconds of the middle one and of the 95th of a hundred; the first run warms up."""
    import numpy as np

    taken = []
    for _ in range(runs):
        began = perf_counter()
        rows = len(conn.execute(query).fetchall())
        taken.append(1000 * (perf_counter() - began))
    p50, p95 = np.percentile(taken[1:], [50, 95])
    return rows, round(float(p50), 1), round(float(p95), 1)


def _table(result: SqlBench) -> Any:
    from rich.console import Group
    from rich.table import Table

    queries = Table(
        title=f"{result.events:,} trades in the warehouse, brought in in {result.seconds:,.0f} s, at most "
        f"{result.peak_mib:,} MiB of Python and {result.peak_database_mib:,} MiB of Postgres; warm, ms"
    )
    for name in ("query", "rows", "p50", "p95", "DuckDB p50", "DuckDB p95"):
        queries.add_column(name, justify="left" if name == "query" else "right")
    for name, one in result.queries.items():
        waits = (one.postgres_p50, one.postgres_p95, one.duckdb_p50, one.duckdb_p95)
        queries.add_row(name, f"{one.rows:,}", *(f"{milliseconds:.1f}" for milliseconds in waits))
    sizes = Table(title=f"the largest tables; as Parquet {result.parquet_mib:,.0f} MiB of those that the queries name")
    for name in ("table", "rows", "MiB", "MiB of indexes", "MiB per million rows"):
        sizes.add_column(name, justify="left" if name == "table" else "right")
    for name, size in result.sizes.items():
        per_million = (size.table_mib + size.index_mib) / size.rows * 1e6
        sizes.add_row(name, f"{size.rows:,}", f"{size.table_mib:,}", f"{size.index_mib:,}", f"{per_million:,.0f}")
    return Group(queries, sizes)
