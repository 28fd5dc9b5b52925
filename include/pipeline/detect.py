"""Step 6: look at new and changed candles, and write down what the rules find.

Alerts, their outbox rows and the queue change in one transaction: after a crash the same candles are looked at again
and the same alerts come out, with the same keys.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import psycopg

from include.crashpoints import crash_point
from include.detection.config import Detection, load_detection
from include.detection.divergence import evaluate_closes, longest_run, to_divergence_alert
from include.detection.engine import evaluate, to_alert
from include.detection.reading import read_candles, read_closes, read_queue, settle_queue, symbols_between
from include.events import Window
from include.instruments import known_instruments
from include.settings import Settings
from include.warehouse.alerts import insert_alerts
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.outcomes import attempt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DetectReport:
    """Symbols and candles looked at, new alerts, and symbols that wait for a candle to become final."""

    symbols: int = 0
    candles: int = 0
    alerts: int = 0
    waiting: int = 0

    def __str__(self) -> str:
        waiting = f", {self.waiting} waiting for a final candle" if self.waiting else ""
        return f"{self.candles} candles of {self.symbols} symbols, {self.alerts} new alerts{waiting}"


def detect(settings: Settings, *, run_id: str | None = None) -> DetectReport:
    """Apply the rules to the candles of all queued symbols.

    Raises LeaseHeldError if another process detects right now, ConfigError if `detection.yml` is wrong, FencedError if
    another process took over; in each case nothing is written and the queue stays.
    """
    with (
        connect(settings) as conn,
        attempt(conn, "detect", run_id=run_id) as this,
        lease(conn, "detect", seconds=settings.lease_seconds) as held,
    ):
        detection, asset_classes = _rules(conn, settings)
        with conn.transaction():
            report = _detect(conn, detection, asset_classes)
            held.fence()
            crash_point("before_alert_commit")
        crash_point("after_alert_commit")
        this.row_count = report.alerts
        this.detail = asdict(report)
    log.info("detect: %s", report)
    return report


def flags(settings: Settings, window: Window) -> list[dict[str, object]]:
    """Every final candle that starts in the window and that a rule points at, whether or not it became an alert.

    One row per rule and candle, as `Finding` has it: rule, symbol, candle_start, direction, value, threshold, close,
    severity, is_start (true where the excursion begins: only those are alerts) and source. Ordered by candle, symbol,
    rule and source.
    """
    with connect(settings) as conn:
        detection, asset_classes = _rules(conn, settings)
        with conn.transaction():
            queue = symbols_between(conn, window)
            closes = read_closes(conn, queue, longest_run(detection))
            parts = chain(
                evaluate(read_candles(conn, queue), detection, asset_classes),
                evaluate_closes(closes, detection, asset_classes),
            )
            found = [asdict(finding) for part in parts for finding in part]
    return sorted(found, key=lambda row: (row["candle_start"], row["symbol"], row["rule"], row["source"]))


def _detect(conn: psycopg.Connection, detection: Detection, asset_classes: Mapping[str, str]) -> DetectReport:
    """Everything that belongs into the one transaction."""
    queue = read_queue(conn)
    if not queue:
        return DetectReport()
    candles = alerts = 0

    def counted() -> Iterator[list[tuple[Any, ...]]]:
        nonlocal candles
        for batch in read_candles(conn, queue):
            candles += sum(1 for row in batch if row[-1])
            yield batch

    for findings in evaluate(counted(), detection, asset_classes):
        alerts += insert_alerts(conn, [to_alert(finding) for finding in findings if finding.is_start])
    closes = read_closes(conn, queue, longest_run(detection))
    for findings in evaluate_closes(closes, detection, asset_classes):
        alerts += insert_alerts(conn, [to_divergence_alert(finding) for finding in findings if finding.is_start])
    settle_queue(conn, queue)
    return DetectReport(len(queue), candles, alerts, sum(1 for queued in queue if queued.wait_from is not None))


def _rules(conn: psycopg.Connection, settings: Settings) -> tuple[Detection, dict[str, str]]:
    """The rules, checked against what is traded, and the asset class of each symbol."""
    asset_classes = {one.symbol: one.asset_class for one in known_instruments(conn, settings)}
    return load_detection(settings.detection_file, asset_classes), asset_classes
