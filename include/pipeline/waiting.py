"""What waits for the next step, whoever brought it there.

A step that died right after its commit has done its work but told nobody. Its retry finds nothing to do; these counts
tell it that the next step has.
"""

from __future__ import annotations

from include.settings import Settings
from include.warehouse.db import connect


def loads_to_transform(settings: Settings) -> int:
    """Accepted loads that no transform has taken to its end yet."""
    return _count(settings, "select count(*) from ops.loads where state = 'accepted'")


def symbols_to_detect(settings: Settings) -> int:
    """Symbols with candles that detection has not judged yet."""
    return _count(settings, "select count(*) from ops.detect_queue")


def _count(settings: Settings, query: str) -> int:
    with connect(settings) as conn:
        row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0
