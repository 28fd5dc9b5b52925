"""Running dbt in this process: everything once, and every minute only what changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from include.errors import TransformError
from include.settings import Settings, get_settings
from include.transform.batch import open_batch
from include.transform.instruments import OUTDATED, recall, remember, sync_instruments
from include.transform.listings import sync_listings
from include.transform.project import common_arguments, dbt_runner, documented_columns, parse, project_hash
from include.transform.results import NodeResult, node_result
from include.transform.sessions import (
    days_are_current,
    outdated_days,
    sync_all_days,
    sync_batch_days,
    sync_new_calendars,
)
from include.warehouse.db import connect

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

_EXCLUDED: Final = ("--exclude-resource-type", "exposure", "--exclude", "test_type:unit")  # more may follow
_INDICATORS: Final = ("indicators_1m", "indicators_5m", "indicators_15m", "indicators_1h", "indicators_1d")
_OF_SESSIONS: Final = ("candles_1d+", *(f"{name}+" for name in _INDICATORS))  # what is made of those of exchanges
_FROM_RAW: Final = {"quotes", "trades"}  # retention may have left them the only place: they are never made anew unasked
_TABLES: Final = """
select c.relname, array_agg(a.attname::text)
from pg_class as c inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'marts'::regnamespace and c.relkind in ('r', 'p') group by c.relname
"""


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A finished build: every node succeeded. `loads` are the ids of the loads it took.

    `is_whole`: every model and test there is was in it.
    """

    nodes: tuple[NodeResult, ...]
    seconds: float
    loads: tuple[int, ...] = ()
    is_whole: bool = False

    def __add__(self, other: BuildResult) -> BuildResult:
        return BuildResult((*self.nodes, *other.nodes), self.seconds + other.seconds, self.loads)

    def __str__(self) -> str:
        slowest = max(self.nodes, key=lambda node: node.seconds, default=None)
        where = f", longest {slowest.name} {slowest.seconds:.2f} s" if slowest else ""
        return f"{len(self.nodes)} models and tests in {self.seconds:.2f} s{where}"


def preload(settings: Settings | None = None) -> None:
    """Import dbt and parse the project, without a connection; call it before forking processes that will build."""
    parse(settings or get_settings())


def build_all(settings: Settings, *, full_refresh: bool = False, epoch: int = 0) -> BuildResult:
    """Make all views and tables in an empty, new or outdated warehouse; `full_refresh` makes the tables anew from raw.

    Data tests look at whole tables. `epoch` is that of the held lease "transform", 0 without one. Raises
    TransformError naming what failed.
    """
    with connect(settings) as conn:
        sync_instruments(conn, settings)
        sync_listings(conn, settings)
        sync_all_days(conn)
        if not full_refresh:
            _renew_outdated(conn, settings, epoch, views=True)
        outdated = outdated_days(conn)
        loads = open_batch(conn, settings.transform_history_events)
        sync_batch_days(conn, loads)
        arguments = [*_EXCLUDED, *(["--full-refresh"] if full_refresh else [])]
        if outdated and not full_refresh:  # days that are otherwise now would fail their test
            arguments.extend(_OF_SESSIONS)
        result = _build(settings, arguments, check="all", epoch=epoch, loads=loads)
        if outdated and not full_refresh:
            anew = ["--select", *_OF_SESSIONS, *_EXCLUDED, "--full-refresh"]
            result += _build(settings, anew, check="all", epoch=epoch, loads=loads)
        remember(conn, "dbt", project_hash())
        _remember_renewed(conn, settings)
        if outdated:
            days_are_current(conn, outdated)
    return replace(result, is_whole=True)


def build_changed(settings: Settings, *, epoch: int = 0) -> BuildResult:
    """One dbt build of what the accepted loads changed; tests look at the changed rows.

    Takes the next loads into the batch. Models with the tag `on_demand` are left out. Where the project changed since
    the last build (an upgrade) everything is built. Raises TransformError naming what failed.
    """
    with connect(settings) as conn:
        if recall(conn, "dbt") != project_hash():
            return build_all(settings, epoch=epoch)
        sync_instruments(conn, settings)
        sync_listings(conn, settings)
        sync_new_calendars(conn)
        _renew_outdated(conn, settings, epoch)
        _renew_days(conn, settings, epoch)
        loads = open_batch(conn, settings.transform_history_events)
        sync_batch_days(conn, loads)
    # only tables are built, and tables are not swapped: dbt need not list every relation and what depends on it first
    arguments = ["--select", "config.materialized:incremental", *_EXCLUDED, "tag:on_demand", "--no-populate-cache"]
    return _build(settings, arguments, check="changed", epoch=epoch, loads=loads)


def build_selected(
    settings: Settings, select: Sequence[str], *, full_refresh: bool = False, epoch: int = 0
) -> BuildResult:
    """Build the models that dbt's selectors name (`["gaps", "tag:on_demand"]`), and their tests over whole tables.

    For models that the minute leaves out (tag `on_demand`); takes no load. `epoch` is that of the held lease
    "transform", 0 without one. Raises TransformError naming what failed.
    """
    # of the tests those of what is selected, and not of everything that reads a view it reads
    chosen = ["--indirect-selection", "buildable", "--select", *select]
    arguments = [*chosen, *_EXCLUDED, *(["--full-refresh"] if full_refresh else [])]
    return _build(settings, arguments, check="all", epoch=epoch)


def generate_docs(settings: Settings, target_dir: Path) -> None:
    """Write dbt's documentation as a static site with `index.html` into `target_dir`. Raises TransformError."""
    target_dir.mkdir(parents=True, exist_ok=True)
    arguments = ["docs", "generate", *common_arguments(settings), "--write-json", "--target-path", str(target_dir)]
    with dbt_runner(settings) as runner:
        done = runner.invoke(arguments)
    if not done.success:
        raise TransformError(f"dbt could not generate its documentation in {target_dir}: {done.exception}")


def _renew_outdated(conn: psycopg.Connection, settings: Settings, epoch: int, *, views: bool = False) -> None:
    """Make tables anew whose meaning changed with a setting or a file; after an upgrade its `views` first.

    What reads such a table as a view is dropped with it, and made again.
    """
    if recall(conn, "dbt") is None:
        return  # nothing was ever finished: what follows makes everything
    outdated: list[str] = []
    if recall(conn, "indicators") == OUTDATED:
        # one that is not there yet is made by what follows, after its candles
        there = conn.execute(
            "select relname from pg_class where relnamespace = 'marts'::regnamespace and relname = any(%s)",
            [[*_INDICATORS]],
        )
        outdated.extend(sorted(name for (name,) in there))
    if recall(conn, "divergence") != _divergence(settings):
        outdated.append("source_divergence")
    changed = _changed_tables(conn, settings) if views else []
    outdated.extend(name for name in changed if name not in outdated)
    if not outdated:
        return
    log.info("the order of sources, a threshold or a table changed: %s is made anew", ", ".join(outdated))
    if views:
        above = [f"+{name},config.materialized:view" for name in (*outdated, "instruments")]
        _build(
            settings, ["--select", "int_changed_ranges", *above, "--resource-type", "model"], check="all", epoch=epoch
        )
    # the views, and the tests of an upgrade, follow with everything else: they may read what is not there yet
    below = ["--resource-type", "model"] if views else []
    lower = [f"{name}+,config.materialized:incremental" for name in changed]
    anew = [*outdated, *lower] if views else [*outdated, *(f"{name}+,config.materialized:view" for name in outdated)]
    _build(settings, ["--select", *anew, *_EXCLUDED, "--full-refresh", *below], check="all", epoch=epoch)
    _remember_renewed(conn, settings)


def _changed_tables(conn: psycopg.Connection, settings: Settings) -> list[str]:
    """Tables that an older version made with other columns than they have now."""
    documented = documented_columns(settings)
    there = {name: frozenset(columns) for name, columns in conn.execute(_TABLES)}
    return sorted(name for name in documented.keys() & there.keys() - _FROM_RAW if documented[name] != there[name])


def _renew_days(conn: psycopg.Connection, settings: Settings, epoch: int) -> None:
    """Make the candles of days and the indicators anew, and what is made of them, where sessions or an instrument's
    calendar changed."""
    if recall(conn, "dbt") is None or not outdated_days(conn):
        return
    sync_all_days(conn)  # another calendar may never have been asked about these days
    outdated = outdated_days(conn)
    log.info("the sessions of an exchange or an instrument's calendar changed: days and indicators are made anew")
    _build(
        settings, ["--select", *_OF_SESSIONS, *_EXCLUDED, "tag:on_demand", "--full-refresh"], check="all", epoch=epoch
    )
    if outdated:
        days_are_current(conn, outdated)


def _remember_renewed(conn: psycopg.Connection, settings: Settings) -> None:
    remember(conn, "indicators", "current")
    remember(conn, "divergence", _divergence(settings))


def _divergence(settings: Settings) -> str:
    return str(settings.divergence_basis_points)


def _build(
    settings: Settings, arguments: list[str], *, check: str, epoch: int, loads: tuple[int, ...] = ()
) -> BuildResult:
    import orjson

    started = time.monotonic()
    variables = {
        "check": check,
        "lease_epoch": epoch,
        "loads": loads,
        "divergence_basis_points": settings.divergence_basis_points,
        "chunk_days": settings.timescale_chunk_days,
        "compress_days": settings.timescale_compress_days,
    }
    with dbt_runner(settings) as runner:
        done = runner.invoke(
            ["build", *common_arguments(settings), *arguments, "--vars", orjson.dumps(variables).decode()]
        )
    results = list(getattr(done.result, "results", None) or [])
    nodes = tuple(node_result(one) for one in results)
    if not done.success:
        raise TransformError(_explain(settings, done, results), nodes)
    return BuildResult(nodes, time.monotonic() - started, loads)


def _explain(settings: Settings, done: Any, results: list[Any]) -> str:
    wrong = [one for one in results if str(one.status) in ("error", "fail", "runtime error")]
    said = str(done.exception) if done.exception else f"{len(wrong)} of {len(results)} models and tests are wrong"
    lines = [f"dbt failed: {said}"]
    for one in wrong:
        lines.append(f"  {one.node.resource_type} {one.node.name}: {(one.message or '').strip()}")
        if compiled := getattr(one.node, "compiled_path", None):
            lines.append(f"    its SQL: {compiled}")
    if any("schema" in (one.message or "") and "sync" in (one.message or "") for one in wrong):
        lines.append("  The columns of a model changed: build everything anew with a full refresh.")
    lines.append(
        f"dbt's log: {settings.home / 'logs' / 'dbt.log'}. The loads stay accepted, and the next run takes them again."
    )
    return "\n".join(lines)
