"""What waits for the next step, whoever brought it there; and for which pulls the landing waits.

A step that died right after its commit has done its work but told nobody. Its retry finds nothing to do; these counts
tell it that the next step has.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import psycopg

from include.settings import Settings
from include.warehouse.db import connect

_PATIENCE: Final = 1 / 12  # of the cadence, after the first pull has ended: 5 s of a minute
_AT_MOST: Final = 1 / 2  # of the cadence; by then every pull has ended or was given up
_PAUSE: Final = 0.1  # seconds between two looks
_A_DAY: Final = "at > clock_timestamp() - interval '1 day'"  # so that the index on (step, at) answers


def wait_for_pulls(
    settings: Settings,
    run_id: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[str, ...]:
    """Wait until the run's pulls have ended, well or badly, but for no slow one; the sources that were not waited for.

    Slow is a source whose pull is not done a twelfth of the cadence after the first one is. One that was slow or failed
    the last time is not waited for at all. `pulls_came_late` says afterwards whether there is more to land.
    """
    patience, at_most = settings.cadence_seconds * _PATIENCE, clock() + settings.cadence_seconds * _AT_MOST
    with connect(settings) as conn:
        slow = _slow(conn, patience)
        awaited = set(settings.sources) - slow or set(settings.sources)
        while True:
            ended = _ended(conn, run_id)
            if ended:
                at_most = min(at_most, clock() + patience)
            if awaited <= ended or clock() >= at_most:
                return tuple(source for source in settings.sources if source not in ended)
            sleep(_PAUSE)


def pulls_came_late(settings: Settings, run_id: str) -> bool:
    """Whether a pull of the run ended after its landing had begun, so that its events may wait in the stream."""
    with connect(settings) as conn:
        row = conn.execute(
            "select coalesce(max(at) filter (where step = 'pull') > max(at - make_interval(secs => seconds)) filter ("  # noqa: S608
            f"where step = 'land' and ok), true) from ops.outcomes where run_id = %s and {_A_DAY}",
            [run_id],
        ).fetchone()
    return bool(row and row[0])


def loads_to_transform(settings: Settings) -> int:
    """Accepted loads, live and of history, that no transform has taken to its end yet."""
    return _count(settings, "select count(*) from ops.loads where state = 'accepted'")


def symbols_to_detect(settings: Settings) -> int:
    """Symbols with candles that detection has not judged yet."""
    return _count(settings, "select count(distinct symbol) from ops.detect_queue")


def _ended(conn: psycopg.Connection, run_id: str) -> set[str]:
    query = f"select distinct source from ops.outcomes where step = 'pull' and run_id = %s and {_A_DAY}"  # noqa: S608
    return {source for (source,) in conn.execute(query, [run_id])}


def _slow(conn: psycopg.Connection, patience: float) -> set[str]:
    """Sources whose newest pull failed or took longer than that."""
    newest = (
        "select source from (select distinct on (source) source, ok, seconds from ops.outcomes "  # noqa: S608
        f"where step = 'pull' and {_A_DAY} order by source, at desc) as newest where not ok or seconds > %s"
    )
    return {source for (source,) in conn.execute(newest, [patience])}


def _count(settings: Settings, query: str) -> int:
    with connect(settings) as conn:
        row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0
