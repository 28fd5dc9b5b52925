"""Trained models in the warehouse: what there is, and which one of each name detection uses (`ops.models`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

State = Literal["candidate", "approved", "rejected", "retired"]

_ROW: Final = """
select name, version, state, trained_from, trained_until, held_out_until, data_sha256, sha256, s3_key, params, scores,
    reason, created_at, approved_at
from ops.models
"""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A row. Times are UTC; the window is half open. `sha256`: of the JSON file under `s3_key`."""

    name: str
    version: str
    state: State
    trained_from: datetime
    trained_until: datetime
    held_out_until: datetime
    data_sha256: str
    sha256: str
    s3_key: str
    params: Mapping[str, Any]
    scores: Mapping[str, Any]
    reason: str
    created_at: datetime
    approved_at: datetime | None


def all_models(conn: psycopg.Connection, name: str | None = None) -> list[TrainedModel]:
    """Every model that was trained, or those of a name; by name, the newest first."""
    with conn.cursor(row_factory=class_row(TrainedModel)) as cursor:
        return cursor.execute(
            _ROW + "where %(name)s::text is null or name = %(name)s order by name, created_at desc, version",
            {"name": name},
        ).fetchall()


def approved_models(conn: psycopg.Connection, names: Collection[str]) -> list[TrainedModel]:
    """The approved version of each of these names that has one."""
    with conn.cursor(row_factory=class_row(TrainedModel)) as cursor:
        return cursor.execute(
            _ROW + "where state = 'approved' and name = any(%s) order by name", [list(names)]
        ).fetchall()


def add_model(
    conn: psycopg.Connection, *, name: str, version: str, window: tuple[datetime, datetime, datetime],
    data_sha256: str, sha256: str, s3_key: str, params: Mapping[str, Any], scores: Mapping[str, Any],
) -> bool:  # fmt: skip
    """Write down a candidate; False if that very version is there already. `window`: from, until, held out until."""
    done = conn.execute(
        """
        insert into ops.models (name, version, state, trained_from, trained_until, held_out_until, data_sha256, sha256,
            s3_key, params, scores, reason)
        values (%s, %s, 'candidate', %s, %s, %s, %s, %s, %s, %s, %s, 'trained, not decided yet')
        on conflict (name, version) do nothing
        """,
        [name, version, *window, data_sha256, sha256, s3_key, Jsonb(dict(params)), Jsonb(dict(scores))],
    )
    return done.rowcount == 1


def decide(conn: psycopg.Connection, name: str, version: str, state: State, reason: str) -> None:
    """Set what becomes of a model. One that is approved takes the place of the one before, which is retired."""
    with conn.transaction():
        if state == "approved":
            conn.execute(
                "update ops.models set state = 'retired', reason = %s, decided_at = clock_timestamp(), kept_at = null "
                "where name = %s and version <> %s and state = 'approved'",
                [f"{version} took its place", name, version],
            )
        conn.execute(
            "update ops.models set state = %(state)s, reason = %(reason)s, decided_at = clock_timestamp(), "
            "kept_at = null, "
            "approved_at = case when %(state)s = 'approved' then clock_timestamp() else approved_at end "
            "where name = %(name)s and version = %(version)s",
            {"name": name, "version": version, "state": state, "reason": reason},
        )
