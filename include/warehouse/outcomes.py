"""One row in `ops.outcomes` per attempt of anything that can fail: since when a feed fails is a question for SQL."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import psycopg
from psycopg.pq import TransactionStatus

from include.events import Window

log = logging.getLogger(__name__)

_INSERT: Final = """
insert into ops.outcomes (step, source, window_start, window_end, ok, row_count, seconds, run_id, error, detail)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb)
"""
_LONGEST_ERROR: Final = 2000
# What may carry a secret in the text of an error: the user part of an address, `name=value`, a header, an AWS key id.
_SECRETS: Final = [
    (re.compile(r"(?<=://)[^\s/@]+@"), "***@"),
    (
        re.compile(
            r"(?i)\b((?:[\w-]*(?:password|passwd|secret|token|api[-_]?key|signature))[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;]+"
        ),
        r"\1***",
    ),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}"), r"\1***"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "***"),
]


@dataclass(slots=True)
class Attempt:
    """What the block of `attempt` may say about itself before it ends."""

    row_count: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def record(
    conn: psycopg.Connection,
    step: str,
    ok: bool,
    *,
    source: str | None = None,
    window: Window | None = None,
    row_count: int | None = None,
    seconds: float | None = None,
    run_id: str | None = None,
    error: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Write one row. Inside a transaction of `conn` it is part of it and goes with it; `attempt` outlives a rollback.

    `error` is cleaned of secrets and cut to 2,000 characters; values in `detail` that JSON does not know become text.
    """
    conn.execute(
        _INSERT,
        [
            step,
            source,
            window.start if window else None,
            window.end if window else None,
            ok,
            row_count,
            seconds,
            run_id,
            None if error is None else without_secrets(error),
            _json(detail or {}),
        ],
    )


@contextmanager
def attempt(
    conn: psycopg.Connection,
    step: str,
    *,
    source: str | None = None,
    window: Window | None = None,
    run_id: str | None = None,
    detail: dict[str, Any] | None = None,
) -> Iterator[Attempt]:
    """Time the block and write its row: success, or failure with the error's text; the error goes on.

    The row is committed even where the block's transaction rolled back or its connection broke: unless `conn` is idle
    and whole, a second connection writes it. If the warehouse itself is gone, the log says so and the block's own error
    goes on.
    """
    address = (conn.info.dsn, conn.info.password)  # a closed connection no longer knows them
    this = Attempt(detail=dict(detail or {}))
    started = time.monotonic()
    failure: BaseException | None = None
    try:
        yield this
    except BaseException as error:
        failure = error
        raise
    finally:
        said = None if failure is None else f"{type(failure).__name__}: {failure}"
        fields: dict[str, Any] = {
            "source": source, "window": window, "row_count": this.row_count, "run_id": run_id, "error": said,
            "seconds": time.monotonic() - started, "detail": this.detail,
        }  # fmt: skip
        try:
            _record_committed(conn, address, step, failure is None, fields)
        except psycopg.Error:
            if failure is None:
                raise
            log.warning("the outcome of %s could not be written; it was: %s", step, without_secrets(said or ""))


def without_secrets(text: str) -> str:
    """The text with passwords, keys and tokens replaced by ***, without NUL, at most 2,000 characters."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    text = text.replace("\x00", "\\0").encode(errors="replace").decode()
    return text if len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 3] + "..."


def _record_committed(
    conn: psycopg.Connection, address: tuple[str, str], step: str, ok: bool, fields: dict[str, Any]
) -> None:
    if not conn.closed and conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        try:
            record(conn, step, ok, **fields)
            return
        except psycopg.OperationalError:
            pass  # it broke unnoticed
    with psycopg.connect(address[0], password=address[1], autocommit=True, connect_timeout=10) as other:
        record(other, step, ok, **fields)


def _json(detail: dict[str, Any]) -> str:
    text = orjson.dumps(detail, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    return text.replace("\\u0000", "\\ufffd")  # Postgres' jsonb takes no NUL
