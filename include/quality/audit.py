"""The audit of one load: which rows are bad and why, and whether the load as a whole may come in."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg

from include.errors import QuantStreamError
from include.events import iso
from include.instruments import known_instruments
from include.quality.engine import LINE, Checked, Failure, check, import_great_expectations
from include.quality.rows import LoadFacts, load_frame, read_rows
from include.quality.site import warm_up
from include.settings import Settings

_MOST_REASONS: Final = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What loads are judged against. Times are UTC; `expected` holds the symbols that a source has an id for."""

    known_symbols: Set[str]
    expected: Mapping[str, Set[str]]
    latest_time: datetime
    earliest_time: datetime
    max_bad_share: float
    min_symbol_share: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the audit found in a load.

    `bad_rows` maps a line number to the reason for its quarantine. A load with a failure of level batch is rejected;
    notes only tell. `checked` holds Great Expectations' results.
    """

    facts: LoadFacts
    bad_rows: Mapping[int, str]
    failures: tuple[Failure, ...]
    checked: tuple[Checked, ...] = ()
    unreadable: str = ""

    @property
    def is_rejected(self) -> bool:
        return bool(self.unreadable) or any(failure.rejects for failure in self.failures)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the load as a whole is rejected, with the observed values; the row rules behind it follow."""
        if self.unreadable:
            return (self.unreadable,)
        told = sorted((one for one in self.failures if one.rule.level != "note"), key=lambda one: not one.rejects)
        return tuple(str(failure) for failure in told)

    def as_json(self) -> list[dict[str, Any]]:
        """For `ops.loads.failures`."""
        if self.unreadable:
            return [{"rule": "rows_can_be_read", "level": "batch", "observed": self.unreadable}]
        return [failure.as_json() for failure in sorted(self.failures, key=lambda one: one.rule.level)]


def limits(conn: psycopg.Connection, settings: Settings, now: datetime) -> Limits:
    """The limits at the time `now` (UTC; the audit itself reads no clock)."""
    instruments = known_instruments(conn, settings)
    sources = {source for instrument in instruments for source in instrument.ids}
    return Limits(
        known_symbols={instrument.symbol for instrument in instruments},
        expected={source: {one.symbol for one in instruments if source in one.ids} for source in sources},
        latest_time=now + timedelta(seconds=settings.audit_future_seconds),
        earliest_time=now - timedelta(hours=settings.stream_retention_hours),
        max_bad_share=settings.audit_max_bad_share,
        min_symbol_share=settings.audit_min_symbol_share,
    )


def judge(conn: psycopg.Connection, facts: LoadFacts, against: Limits) -> Verdict:
    """Judge a landed or rejected load. Reads only.

    Every landed line is either good or in `bad_rows`; exact repeats are good rows (delivery is at least once), they are
    only counted. A load whose rows a staging view cannot compute is rejected too. Raises QuantStreamError if the views
    are not there.
    """
    try:
        rows = read_rows(conn, facts, against.known_symbols)
    except psycopg.DataError as error:
        return Verdict(facts, {}, (), unreadable=f"staging cannot compute a row of it: {str(error).strip()}")
    except psycopg.errors.UndefinedTable as error:
        raise QuantStreamError(
            f"the staging views are missing ({error.diag.message_primary}); `quantstream up` builds them with dbt"
        ) from None
    parameters = {
        "latest_time": iso(against.latest_time),
        "earliest_time": iso(against.earliest_time),
    }
    checked = [
        check(kind, f"{kind}s of load {facts.load_id}", frame, LINE, parameters)
        for kind, frame in sorted(rows.frames.items())
    ]
    bad_rows = _reasons([failure for one in checked for failure in one.failures])
    whole = load_frame(conn, rows, len(bad_rows), against.expected, against.min_symbol_share)
    shares = {"max_bad_share": against.max_bad_share, "min_symbol_share": against.min_symbol_share}
    checked.insert(0, check("load", f"load {facts.load_id}", whole, "part", shares))
    return Verdict(facts, bad_rows, tuple(failure for one in checked for failure in one.failures), tuple(checked))


def preload() -> None:
    """Do what is slow once, so that a process which forks tasks afterwards saves it for each of them.

    Imports Great Expectations (seconds), validates a frame and renders a page. Touches neither warehouse nor disk.
    """
    import pandas as pd

    import_great_expectations()
    whole = {"part": "warm-up", "read_rows": 1, "present_rows": 1, "bad_share": 0.0, "repeated_share": 0.0}
    frame = pd.DataFrame([{**whole, "symbol_share": None}])
    warm_up(check("load", "warm-up", frame, "part", {"max_bad_share": 1.0, "min_symbol_share": 0.0}))


def _reasons(failures: list[Failure]) -> dict[int, str]:
    found: dict[int, list[str]] = {}
    for failure in failures:
        for line, reason in zip(failure.lines, failure.reasons, strict=True):
            found.setdefault(line, []).append(reason)
    return {line: " | ".join(reasons[:_MOST_REASONS]) for line, reasons in sorted(found.items())}
