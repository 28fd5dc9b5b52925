"""How long a cycle takes: from the beginning of its pull until its alerts were sent, read off the outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, get_args

import psycopg

from include.settings import Settings

_LOOKED_AT: Final = timedelta(hours=6)
_ENOUGH: Final = 5  # cycles, to say that the cadence does not fit
_MANY: Final = 20  # cycles, of which one is 5 in 100

# The newest scheduled runs that brought something and went all the way: from the beginning of the pull to the end of
# the first `notify` after the first `transform` of live loads that began when the run's were accepted (those of sources
# in time; a slow one's come after them). A slice of history takes no live load. An outcome is stamped with its end.
_CYCLES: Final = """
with ingest as (
    select run_id, min(at - make_interval(secs => seconds)) as began
    from ops.outcomes
    where step = 'pull' and at > %(since)s and at <= %(until)s and starts_with(run_id, 'scheduled__')
    group by run_id
    order by began desc
    limit %(most)s
)
select extract(epoch from notified.at - ingest.began)::float
from ingest
cross join lateral (
    select min(o.at) as at from ops.outcomes as o
    where o.step = 'audit' and o.ok and o.run_id = ingest.run_id and o.at > ingest.began
        and (o.detail ->> 'accepted')::int > 0
) as audited
cross join lateral (
    select o.at from ops.outcomes as o
    where o.step = 'transform' and o.ok and o.at > audited.at
        and o.detail ->> 'lane' is distinct from 'history'
        and o.at - make_interval(secs => o.seconds) >= audited.at - interval '1 second'
    order by o.at limit 1
) as transformed
cross join lateral (
    select o.at from ops.outcomes as o
    where o.step = 'notify' and o.ok and o.at > transformed.at and o.at <= %(until)s
    order by o.at limit 1
) as notified
order by ingest.began desc
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the newest scheduled cycles took, from the beginning of the pull until the alerts were sent, in seconds.

    `last` is the newest, `p50` their median, `p95` what 95 of 100 kept within.
    """

    cycles: int
    last: float
    p50: float
    p95: float

    def fits(self, settings: Settings, *, enough: int = _ENOUGH) -> bool:
        """Whether the cadence leaves each cycle the time it takes; yes, as long as not `enough` were measured."""
        return self.cycles < enough or self.p95 <= settings.cadence_seconds

    def warning(self, settings: Settings) -> str:
        """What to say where it does not fit: the figure and the remedy."""
        cadences = sorted(get_args(type(settings).model_fields["cadence_seconds"].annotation))
        longer = " or ".join(str(one) for one in cadences if one > settings.cadence_seconds)
        measured = f"95 of 100 of the last {self.cycles}" if self.cycles >= _MANY else f"the slowest of {self.cycles}"
        return (
            f"a cycle takes up to {self.p95:.1f} s ({measured if self.cycles > 1 else 'the first one'}), more than the "
            f"{settings.cadence_seconds} s of QUANTSTREAM_CADENCE_SECONDS: what is new comes late, intervals may be "
            f"missed; {f'set it to {longer}, ' if longer else ''}pull fewer instruments, or give it more cores"
        )


def pace(conn: psycopg.Connection, now: datetime, *, most: int = 30) -> Pace | None:
    """The pace of the `most` newest cycles of the last hours before `now`; None if there was none."""
    rows = conn.execute(_CYCLES, {"since": now - _LOOKED_AT, "until": now, "most": most}).fetchall()
    if not rows:
        return None
    seconds = sorted(row[0] for row in rows)
    return Pace(len(seconds), rows[0][0], _share(seconds, 0.5), _share(seconds, 0.95))


def last_cycle_seconds(settings: Settings) -> float | None:
    """How long the newest scheduled cycle took that went all the way; None if there was none lately."""
    from include.warehouse.db import connect

    with connect(settings) as conn:
        found = pace(conn, datetime.now(UTC), most=_ENOUGH)
    return None if found is None else found.last


def _share(ascending: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]
