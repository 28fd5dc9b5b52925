"""The audit after dbt: what the batch changed in the marts, and whether every row of its loads is accounted for.

Only the loads of the running batch (`ops.transform_batch`) and the minutes they touched
(`intermediate.int_changed_ranges`) are looked at, so a minute costs a minute. The database looks at every candle; what
is read into memory is bounded, whatever the batch.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import psycopg

from include.alerts import Alert
from include.errors import MartsRejectedError
from include.quality.engine import Checked, check
from include.quality.marts_sql import CANDLES, COUNT, KEYS_ARE_INDEXED, LEDGER, NORMALISED, REPEATED
from include.quality.predicates import breaks
from include.quality.site import Page, page_file, publish
from include.quality.suites import rules_of
from include.settings import Settings
from include.warehouse.alerts import insert_alerts
from include.warehouse.db import connect

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# Great Expectations gets so many candles at the most; of a larger batch those that break a rule, and a sample.
_SHOWN: Final = 20_000


@dataclass(frozen=True, slots=True)
class MartsAudit:
    """How many loads, candles and rows of market events were looked at."""

    loads: int = 0
    candles: int = 0
    rows: int = 0

    def __str__(self) -> str:
        return f"{self.candles} candles and {self.rows} rows of {self.loads} loads hold"


def audit_marts(settings: Settings, *, now: datetime | None = None) -> MartsAudit:
    """Check the running batch, to be called between dbt and the end of the transform. `now` (UTC) dates its page.

    Raises MartsRejectedError naming the failed expectations with what was observed, after writing the page and an
    operations alert (one per batch, however often it is tried again). The marts are left as they are.
    """
    with connect(settings) as conn:
        loads = [load_id for (load_id,) in conn.execute("select load_id from ops.transform_batch order by load_id")]
        if not loads:
            return MartsAudit()
        (count, candles), ledger = _candles(conn), _ledger(conn, loads)
        checked = [check("reconciliation", "ledger and marts", ledger, "part", {})]
        if len(candles):
            checked.append(check("candle", "changed candles", candles, "candle", {}))
        found = MartsAudit(len(loads), count, int(ledger["accepted_rows"].sum()))
        _conclude(settings, conn, found, checked, len(candles), loads, now or datetime.now(UTC))
    log.info("audit of the marts: %s", found)
    return found


def _conclude(
    settings: Settings,
    conn: psycopg.Connection,
    found: MartsAudit,
    checked: list[Checked],
    shown: int,
    loads: list[int],
    now: datetime,
) -> None:
    failures = [failure for one in checked for failure in one.failures]
    span = f"load {loads[0]}" if len(loads) == 1 else f"loads {loads[0]} to {loads[-1]}"
    looked_at = f"{found.candles} candles and {found.rows} rows of {found.loads} loads checked"
    if shown < found.candles:
        looked_at += f"; of the candles {shown} are shown here: those that break a rule, and a sample of the others"
    page = Page(
        folder="marts",
        name=f"{loads[0]}-{loads[-1]}",
        title=f"Marts after {span}",
        at=now,
        state="failed" if failures else "passed",
        summary=looked_at,
        reasons=[str(failure) for failure in failures],
    )
    try:
        publish(settings, page, checked)
    except OSError as error:
        log.warning("the data docs of the marts could not be written: %s", error)
    if not failures:
        return
    said = "\n".join(
        [
            f"the marts are wrong after {span}; nothing is detected from them:",
            *(f"  {failure}" for failure in failures),
            f"Data docs: {page_file(settings, page)} (in the Airflow UI: Browse, Data docs). "
            "The loads stay accepted; the next transform builds and checks them again.",
        ]
    )
    rules = ",".join(sorted({failure.rule.name for failure in failures}))
    alert = Alert("marts_rejected", "operations", "critical", said, discriminator=f"from load {loads[0]}: {rules}")
    with conn.transaction():
        insert_alerts(conn, [alert])
    raise MartsRejectedError(said)


def _candles(conn: psycopg.Connection) -> tuple[int, pd.DataFrame]:
    """How many candles changed, and those of them to judge: all, or of many the wrong ones and a sample."""
    (count,) = conn.execute(COUNT).fetchone() or (0,)
    wrong = [breaks(rule) for rule in rules_of("candle") if rule.level == "row"]
    if conn.execute(KEYS_ARE_INDEXED).fetchone() != (True,):
        wrong.append(REPEATED)
    query = CANDLES.format(breaks="coalesce(" + " or ".join(wrong) + ", false)")
    every = max(1, -(-count // _SHOWN))
    return count, _frame(conn, query, {"every": every, "most": 2 * _SHOWN})


def _ledger(conn: psycopg.Connection, loads: list[int]) -> pd.DataFrame:
    """One row per load: what the ledger says, what raw holds, what staging made of it, what the marts lack."""
    ledger, normalised = _frame(conn, LEDGER, {"loads": loads}), _frame(conn, NORMALISED, {"loads": loads})
    both = ledger.merge(normalised, on="load_id", how="left").fillna({"normalised_rows": 0, "keys_missing": 0})
    numbers = [column for column in both.columns if column != "part"]
    return both.astype(dict.fromkeys(numbers, "int64"))


def _frame(conn: psycopg.Connection, query: str, parameters: Any) -> pd.DataFrame:
    import pandas as pd

    cursor = conn.execute(query, parameters)
    return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()])
