"""Step 6: look at new and changed candles, and write down what the rules find.

Alerts, their outbox rows and the queue change in one transaction: after a crash the same candles are looked at again
and the same alerts come out, with the same keys. What came live is looked at first, all of it in one transaction;
history follows in parts, and may be left for the next run.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Final

import psycopg

from include.alerts import Alert
from include.crashpoints import crash_point
from include.detection.config import RULES, Detection, load_detection
from include.detection.divergence import RULE as DIVERGENCE
from include.detection.divergence import evaluate_closes, longest_run, to_divergence_alert
from include.detection.engine import Finding, evaluate, to_alert
from include.detection.reading import (
    Queued,
    Span,
    due_spans,
    judged_candles,
    judged_closes,
    read_candles,
    read_closes,
    read_queue,
    settle_queue,
    symbols_between,
)
from include.events import Window
from include.instruments import known_instruments
from include.settings import Settings
from include.warehouse.alerts import Written, insert_alerts, withdraw_alerts
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.outcomes import attempt

log = logging.getLogger(__name__)

PART: Final = 100_000  # minutes of history in one transaction; at least one symbol
_INSTRUMENT_RULES: Final = tuple(rule for rule in RULES if rule != DIVERGENCE)


@dataclass(frozen=True, slots=True)
class DetectReport:
    """Symbols and candles looked at, new alerts, and symbols that wait for a candle to become final.

    `too_old` of the alerts are of candles too old to send; `withdrawn` are older ones of that kind that no longer hold.
    `is_more_left`: history waits for another run.
    """

    symbols: int = 0
    candles: int = 0
    alerts: int = 0
    waiting: int = 0
    too_old: int = 0
    withdrawn: int = 0
    is_more_left: bool = False

    def __str__(self) -> str:
        old = f" (written down, too old to send: {self.too_old})" if self.too_old else ""
        withdrawn = f", {self.withdrawn} old ones withdrawn" if self.withdrawn else ""
        waiting = f", {self.waiting} waiting for a final candle" if self.waiting else ""
        more = ", more history waits" if self.is_more_left else ""
        return (
            f"{self.candles} candles of {self.symbols} symbols, {self.alerts} new alerts{old}{withdrawn}{waiting}{more}"
        )


def detect(
    settings: Settings,
    *,
    run_id: str | None = None,
    now: datetime | None = None,
    history_seconds: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> DetectReport:
    """Apply the rules to the queued candles: to all that came live, then to history.

    With `history_seconds` no part of history is begun after candles that came live (their alerts are to be sent first),
    and no further one after so many seconds; `is_more_left` says that some is left.
    Alerts of candles that are older than `alert_max_age_hours` as of `now` (UTC; the clock's, unless given) are written
    down and sent to nobody. Raises LeaseHeldError if another process detects right now, ConfigError if `detection.yml`
    is wrong, FencedError if another process took over; what was not looked at stays in the queue.
    """
    at, began = now or datetime.now(UTC), clock()
    with (
        connect(settings) as conn,
        attempt(conn, "detect", run_id=run_id) as this,
        lease(conn, "detect", seconds=settings.lease_seconds) as held,
    ):
        detection, asset_classes = _rules(conn, settings)
        max_age = timedelta(hours=settings.alert_max_age_hours)
        run = _Run(conn, detection, asset_classes, send_from=at - max_age if max_age else None)

        def commit(queue: Sequence[Queued]) -> None:
            held.renew()
            with conn.transaction():
                run.look_at(queue)
                held.fence()
                crash_point("before_alert_commit")
            crash_point("after_alert_commit")

        commit(read_queue(conn, "live"))
        parts = _parts(read_queue(conn, "history"))
        until = -math.inf if run.candles and history_seconds < math.inf else began + history_seconds
        while parts and clock() < until:
            commit(parts.pop(0))
        report = run.report(is_more_left=bool(parts))
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
            spans = symbols_between(conn, window)
            closes = read_closes(conn, spans, longest_run(detection))
            parts = chain(
                evaluate(read_candles(conn, spans), detection, asset_classes),
                evaluate_closes(closes, detection, asset_classes),
            )
            found = [asdict(finding) for part in parts for finding in part]
    return sorted(found, key=lambda row: (row["candle_start"], row["symbol"], row["rule"], row["source"]))


class _Run:
    """What one run looks at and finds, summed up over its transactions."""

    def __init__(
        self,
        conn: psycopg.Connection,
        detection: Detection,
        asset_classes: Mapping[str, str],
        *,
        send_from: datetime | None,
    ) -> None:
        self.conn, self.detection, self.asset_classes, self.send_from = conn, detection, asset_classes, send_from
        self.symbols: set[str] = set()
        self.waiting: set[str] = set()
        self.candles = self.withdrawn = 0
        self.written = Written()

    def report(self, *, is_more_left: bool) -> DetectReport:
        return DetectReport(
            len(self.symbols), self.candles, self.written.new, len(self.waiting), self.written.too_old,
            self.withdrawn, is_more_left,
        )  # fmt: skip

    def look_at(self, queue: Sequence[Queued]) -> None:
        """Everything that belongs into one transaction."""
        if not queue:
            return
        spans, length = due_spans(queue), longest_run(self.detection)
        judged = judged_candles(self.conn, spans)
        found = evaluate(self._counted(read_candles(self.conn, judged)), self.detection, self.asset_classes)
        self._write(judged, _INSTRUMENT_RULES, found, to_alert)
        judged = judged_closes(self.conn, spans, length)
        found = evaluate_closes(read_closes(self.conn, judged, length), self.detection, self.asset_classes)
        self._write(judged, [DIVERGENCE], found, to_divergence_alert)
        settle_queue(self.conn, queue)
        self.symbols.update(one.symbol for one in queue)
        self.waiting.update(one.symbol for one in queue if one.is_waiting)

    def _counted(self, batches: Iterator[list[tuple[Any, ...]]]) -> Iterator[list[tuple[Any, ...]]]:
        for batch in batches:
            self.candles += sum(1 for row in batch if row[-1])
            yield batch

    def _write(
        self,
        judged: Sequence[Span],
        rules: Sequence[str],
        found: Iterator[list[Finding]],
        to_alert: Callable[[Finding], Alert],
    ) -> None:
        keys: set[str] = set()
        for findings in found:
            alerts = [to_alert(finding) for finding in findings if finding.is_start]
            keys.update(alert.key for alert in alerts)
            written = insert_alerts(self.conn, alerts, send_from=self.send_from)
            self.written = Written(self.written.new + written.new, self.written.too_old + written.too_old)
        spans = [(one.symbol, one.from_candle, one.until) for one in judged]
        self.withdrawn += withdraw_alerts(self.conn, rules, spans, keys)


def _parts(queue: Sequence[Queued]) -> list[list[Queued]]:
    """The queue in pieces of up to `PART` minutes."""
    parts: list[list[Queued]] = []
    room = 0
    for one in queue:
        room -= one.minutes
        if room < 0 or not parts:
            parts.append([])
            room = PART - one.minutes
        parts[-1].append(one)
    return parts


def _rules(conn: psycopg.Connection, settings: Settings) -> tuple[Detection, dict[str, str]]:
    """The rules, checked against what is traded, and the asset class of each symbol."""
    asset_classes = {one.symbol: one.asset_class for one in known_instruments(conn, settings)}
    return load_detection(settings.detection_file, asset_classes), asset_classes
