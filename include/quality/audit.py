"""The audit of one load: which rows are bad and why, and whether the load as a whole may come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg

from include.calendars import last_close
from include.errors import QuantStreamError
from include.events import iso
from include.instruments import Instrument, known_instruments
from include.quality.engine import LINE, Checked, Failure, check, import_great_expectations
from include.quality.rows import SET_ASIDE, LoadFacts, load_frame, read_rows, spare_closed_markets
from include.quality.site import warm_up
from include.settings import Settings

_MOST_REASONS: Final = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What loads are judged against, at `now`. Times are UTC.

    `calendars` holds each known symbol's calendar, `expected` the symbols that a source has an id for, by calendar; a
    source that is not pulled is not in it.
    """

    calendars: Mapping[str, str]
    expected: Mapping[str, Sequence[Set[str]]]
    now: datetime
    retention: timedelta
    latest_time: datetime
    max_bad_share: float
    min_symbol_share: float

    @property
    def earliest_time(self) -> datetime:
        """How old an event may be whose market never closes."""
        return self.now - self.retention

    def earliest_of(self, calendar: str) -> datetime:
        """How old an event of a market may be that closes: a quote is dated with its last price.

        The stream's retention counts from the last close. And what was the last close when that time began is not too
        old either: some vendors tell an evening's prices only hours after the close.
        """
        return min(last_close(calendar, self.now) - self.retention, last_close(calendar, self.earliest_time))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the audit found in a load.

    `bad_rows` maps a line number to the reason for its quarantine. A load with a failure of level batch is rejected,
    unless it is that of some of its sources alone: `set_aside` maps those to what they broke. Notes only tell. `lines`
    holds the line numbers of each source, `checked` Great Expectations' results.
    """

    facts: LoadFacts
    bad_rows: Mapping[int, str]
    failures: tuple[Failure, ...]
    checked: tuple[Checked, ...] = ()
    unreadable: str = ""
    set_aside: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def is_rejected(self) -> bool:
        return bool(self.unreadable) or (not self.set_aside and any(failure.rejects for failure in self.failures))

    @property
    def quarantine(self) -> dict[int, str]:
        """The bad rows and all rows of the sources that are set aside, with the reasons; a row's own comes first."""
        found = dict(self.bad_rows)
        for source, broken in self.set_aside.items():
            for line in self.lines.get(source, ()):
                own = f"{found[line]} | " if line in found else ""
                found[line] = f"{own}{SET_ASIDE}{broken}"
        return found

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
    return Limits(
        calendars={instrument.symbol: instrument.calendar for instrument in instruments},
        expected={source: _by_calendar(instruments, source) for source in settings.sources},
        now=now,
        retention=timedelta(hours=settings.stream_retention_hours),
        latest_time=now + timedelta(seconds=settings.audit_future_seconds),
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
        rows = read_rows(conn, facts, against.calendars.keys())
    except psycopg.DataError as error:
        return Verdict(facts, {}, (), unreadable=f"staging cannot compute a row of it: {str(error).strip()}")
    except psycopg.errors.UndefinedTable as error:
        raise QuantStreamError(
            f"the staging views are missing ({error.diag.message_primary}); `quantstream up` builds them with dbt"
        ) from None
    spare_closed_markets(rows, against.earliest_time, against.calendars, against.earliest_of)
    parameters = {
        "latest_time": iso(against.latest_time),
        "earliest_time": iso(against.earliest_time),
    }
    checked = [
        check(kind, f"{kind}s of load {facts.load_id}", found.frame, LINE, parameters, found)
        for kind, found in sorted(rows.kinds.items())
    ]
    bad_rows = _reasons([failure for one in checked for failure in one.failures])
    whole = load_frame(conn, rows, bad_rows.keys(), against.expected, against.min_symbol_share)
    shares = {"max_bad_share": against.max_bad_share, "min_symbol_share": against.min_symbol_share}
    checked.insert(0, check("load", f"load {facts.load_id}", whole, "part", shares))
    failures = tuple(failure for one in checked for failure in one.failures)
    aside = _set_aside(failures, rows.sources)
    return Verdict(facts, bad_rows, failures, tuple(checked), set_aside=aside, lines=rows.lines)


def preload() -> None:
    """Do what is slow once, so that a process which forks tasks afterwards saves it for each of them.

    Imports Great Expectations (seconds), validates a frame and renders a page. Touches neither warehouse nor disk.
    """
    import pandas as pd

    import_great_expectations()
    whole = {"part": "warm-up", "read_rows": 1, "present_rows": 1, "bad_share": 0.0, "repeated_share": 0.0}
    frame = pd.DataFrame([{**whole, "symbol_share": None}])
    warm_up(check("load", "warm-up", frame, "part", {"max_bad_share": 1.0, "min_symbol_share": 0.0}))


def _by_calendar(instruments: Sequence[Instrument], source: str) -> list[set[str]]:
    groups: dict[str, set[str]] = {}
    for one in instruments:
        if source in one.ids:
            groups.setdefault(one.calendar, set()).add(one.symbol)
    return list(groups.values())


def _set_aside(failures: Sequence[Failure], sources: Sequence[str]) -> dict[str, str]:
    """The sources that broke a rule on the batch, and what it was; none if the load as a whole did, or all of them."""
    broken: dict[str, list[str]] = {}
    for failure in failures:
        if failure.rejects and not failure.parts:
            return {}
        for part, observed in failure.parts if failure.rejects else ():
            broken.setdefault(part, []).append(f"{failure.rule.name}: observed {observed}; {failure.rule.meaning}")
    return {source: " | ".join(found) for source, found in broken.items()} if broken.keys() < set(sources) else {}


def _reasons(failures: list[Failure]) -> dict[int, str]:
    found: dict[int, list[str]] = {}
    for failure in failures:
        for line, reason in zip(failure.lines, failure.reasons, strict=True):
            found.setdefault(line, []).append(reason)
    return {line: " | ".join(reasons[:_MOST_REASONS]) for line, reasons in sorted(found.items())}
