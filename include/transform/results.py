"""The last word of each model and test of dbt, kept in `ops.build_results` for the mart of the audits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from include.errors import TransformError

_KEEP: Final = """
insert into ops.build_results as kept (name, kind, state, rows, seconds, built_at, failed_at, message)
select new.name, new.kind, new.state, new.rows, new.seconds, clock_timestamp(),
       case when new.message is not null then clock_timestamp() end, new.message
from unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::float8[], %s::text[])
    as new (name, kind, state, rows, seconds, message)
on conflict (name) do update set
    kind = excluded.kind, state = excluded.state, rows = excluded.rows, seconds = excluded.seconds,
    built_at = excluded.built_at, failed_at = coalesce(excluded.failed_at, kept.failed_at), message = excluded.message
"""
_FORGET: Final = "delete from ops.build_results where name <> all(%s)"


@dataclass(frozen=True, slots=True)
class NodeResult:
    """One model or test. `rows` is what a model wrote, or how many rows failed a test; None where dbt does not say.

    `message` says what went wrong; None where nothing did.
    """

    name: str
    status: str
    seconds: float
    rows: int | None
    kind: str = "model"
    message: str | None = None


def keep_results(conn: psycopg.Connection, nodes: Sequence[NodeResult], *, whole: bool = False) -> None:
    """Write down how these models and tests ended. `whole`: they are all there are, so others are forgotten."""
    if not nodes:
        return
    rows = [(one.name, one.kind, one.status, one.rows, one.seconds, one.message) for one in nodes]
    conn.execute(_KEEP, [list(column) for column in zip(*rows, strict=True)])
    if whole:
        conn.execute(_FORGET, [[one.name for one in nodes]])


@contextmanager
def failure_kept(conn: psycopg.Connection) -> Iterator[None]:
    """A build inside that fails is written down before its TransformError goes on."""
    try:
        yield
    except TransformError as error:
        keep_results(conn, error.nodes)
        raise


def node_result(result: Any) -> NodeResult:
    """What dbt says of one node of a run."""
    node, status = result.node, str(result.status)
    is_wrong = status in ("error", "fail", "runtime error")
    kind = "test" if str(node.resource_type) == "test" else "model"
    message = (result.message or "").strip() if is_wrong else None
    return NodeResult(node.name, status, float(result.execution_time), _rows(result), kind, message)


def _rows(result: Any) -> int | None:
    if result.failures is not None:
        return int(result.failures)
    affected = result.adapter_response.get("rows_affected", -1)
    return int(affected) if affected >= 0 else None
