"""Many small loads judged at once: Great Expectations takes as long for one of them as for twenty.

It only clears: a load of which there is anything to say is judged on its own, as always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import psycopg

from include.events import iso
from include.quality.audit import Limits
from include.quality.engine import LINE, check
from include.quality.rows import LoadFacts, LoadRows, load_frame, read_rows, spare_closed_markets
from include.quality.suites import rules_of

if TYPE_CHECKING:
    import pandas as pd

_LINES: Final = 2**32  # more than any load has


def all_is_well(conn: psycopg.Connection, loads: Sequence[tuple[LoadFacts, Limits]]) -> set[int]:
    """The ids of those of these landed loads that break no rule at all, each against its own limits. Reads only.

    Where the limits differ, the narrowest of all counts: a load that is right only within its own is not among them.
    """
    found: dict[int, LoadRows] = {}
    for facts, against in loads:
        try:
            rows = read_rows(conn, facts, against.calendars.keys())
        except psycopg.DataError:
            continue
        spare_closed_markets(rows, against.earliest_time, against.calendars, against.earliest_of)
        if not any(_is_tied(rows, kind) for kind in rows.kinds):
            found[facts.load_id] = rows
    times = {
        "latest_time": iso(min(against.latest_time for _, against in loads)),
        "earliest_time": iso(max(against.earliest_time for _, against in loads)),
    }
    well = set(found)
    for kind in sorted({kind for rows in found.values() for kind in rows.kinds}):
        frames = {load_id: rows.kinds[kind].frame for load_id, rows in found.items() if kind in rows.kinds}
        well -= _broken(kind, frames, times, well)
    limits = loads[0][1]
    shares = {"max_bad_share": limits.max_bad_share, "min_symbol_share": limits.min_symbol_share}
    wholes = {
        load_id: load_frame(conn, found[load_id], (), limits.expected, limits.min_symbol_share)
        for load_id in sorted(well)
    }
    return well - _broken("load", wholes, shares, well, "part")


def _broken(
    subject: str, frames: Mapping[int, pd.DataFrame], parameters: Mapping[str, Any], well: set[int], key: str = LINE
) -> set[int]:
    """The loads with a row that breaks a rule; all of them if a rule names no row."""
    import pandas as pd

    if not frames:
        return set()
    parts = [
        frame.assign(**{key: load_id * _LINES + pd.RangeIndex(len(frame)).to_numpy()})
        for load_id, frame in frames.items()
    ]
    together = pd.concat(parts, ignore_index=True)
    broken: set[int] = set()
    for failure in check(subject, f"{subject}s of {len(frames)} loads", together, key, parameters).failures:
        named = [*failure.lines, *(int(name) for name, _ in failure.parts)]
        if not named:
            return set(well)
        broken |= {name // _LINES for name in named}
    return broken


def _is_tied(rows: LoadRows, kind: str) -> bool:
    """Whether doubles cannot tell two of its numbers apart that a rule compares."""
    pairs = [rule.arguments for rule in rules_of(kind) if "column_A" in rule.arguments]
    return any(rows.kinds[kind].ties(pair["column_A"], pair["column_B"]) for pair in pairs)
