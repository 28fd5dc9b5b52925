"""Step 6: look at new and changed candles, and write down what the rules find.

Findings, the alerts that follow, their messages and the queue change in one transaction: after a crash the same candles
are looked at again and the same alerts come out, with the same keys. What came live is looked at first, all of it in
one transaction; history follows in parts, and may be left for the next run.
"""

from __future__ import annotations

import gc
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from include.crashpoints import crash_point
from include.detection.config import Detection, load_detection
from include.detection.engine import columns_needed, depth, evaluate
from include.detection.findings import Finding
from include.detection.portfolios import (
    Days,
    days_to_judge,
    judged_portfolios,
    needs_days,
    read_days,
    read_portfolios,
)
from include.detection.reading import (
    Queued,
    Span,
    due_spans,
    judged_candles,
    judged_closes,
    read_queue,
    settle_queue,
    symbols_between,
)
from include.detection.rows import read_candles, read_closes
from include.detection.rule import Reads, Rows
from include.events import Window
from include.instruments import known_instruments
from include.life.chains import chains, link, series_of
from include.life.config import Alerting, load_alerting
from include.pipeline.alerting import Look, keep_findings
from include.pipeline.models import load_approved
from include.pipeline.silence import watch_silences
from include.pipeline.tending import Tended, tend_alerts
from include.settings import Settings
from include.sources import ALWAYS_OPEN
from include.transform.listings import load_positions
from include.warehouse.alerts import Written
from include.warehouse.db import connect
from include.warehouse.findings import Judged
from include.warehouse.leases import lease
from include.warehouse.outcomes import attempt

log = logging.getLogger(__name__)

_FLAG: Final = (
    "rule", "symbol", "candle_start", "direction", "value", "threshold", "close", "severity", "source", "message",
)  # fmt: skip
PART: Final = 100_000  # minutes of history in one transaction; at least one symbol
_READS: Final[tuple[Reads, ...]] = ("candles", "closes", "portfolios")


@dataclass(frozen=True, slots=True)
class DetectReport:
    """Symbols and candles looked at, new alerts, and symbols that wait for a candle to become final.

    `too_old` of the alerts are of candles too old to send; `withdrawn` are older ones of that kind that no longer hold.
    `escalated` alerts are said again, `unmuted` ones are sent since their mute is over. `is_more_left`: history waits
    for another run.
    """

    symbols: int = 0
    candles: int = 0
    alerts: int = 0
    waiting: int = 0
    too_old: int = 0
    withdrawn: int = 0
    is_more_left: bool = False
    escalated: int = 0
    unmuted: int = 0

    def __str__(self) -> str:
        old = f" (written down, too old to send: {self.too_old})" if self.too_old else ""
        withdrawn = f", {self.withdrawn} old ones withdrawn" if self.withdrawn else ""
        waiting = f", {self.waiting} waiting for a final candle" if self.waiting else ""
        again = f", {self.escalated} escalated" if self.escalated else ""
        again += f", {self.unmuted} no longer muted" if self.unmuted else ""
        more = ", more history waits" if self.is_more_left else ""
        found = f"{self.candles} candles of {self.symbols} symbols, {self.alerts} new alerts"
        return f"{found}{old}{withdrawn}{again}{waiting}{more}"


def detect(
    settings: Settings,
    *,
    run_id: str | None = None,
    now: datetime | None = None,
    history_seconds: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
    is_tending: bool = True,
) -> DetectReport:
    """Apply the rules to the queued candles: to all that came live, then to history.

    Alerts that nobody acknowledged are escalated as of `now`, and sent where a mute is over, unless not `is_tending`.

    With `history_seconds` no part of history is begun after candles that came live (their alerts are to be sent first),
    and no further one after so many seconds; `is_more_left` says that some is left.
    Alerts of candles that are older than `alert_max_age_hours` (of history: `backfill_alert_max_age_minutes`) as of
    `now` (UTC; the clock's, unless given) are written down and sent to nobody. Raises LeaseHeldError if another process
    detects right now, ConfigError if `detection.yml` or `alerting.yml` is wrong, FencedError if another process took
    over; what was not looked at stays in the queue.
    """
    at, began = now or datetime.now(UTC), clock()
    with (
        connect(settings) as conn,
        attempt(conn, "detect", run_id=run_id) as this,
        lease(conn, "detect", seconds=settings.lease_seconds) as held,
        _few_collections(),
    ):
        looking = _looking(conn, settings)
        alerting = _alerting(settings, looking.detection, looking.asset_classes)
        run = _Run(looking, alerting, now=at)

        def commit(queue: Sequence[Queued], *, is_live: bool = False) -> None:
            held.renew()
            with conn.transaction():
                run.look_at(queue, _send_from(settings, at, is_live=is_live))
                if is_live and is_tending:
                    run.tend(settings.silent_minutes)
                held.fence()
                crash_point("before_alert_commit")
            crash_point("after_alert_commit")

        commit(read_queue(conn, "live"), is_live=True)
        parts = _parts(read_queue(conn, "history"))
        until = -math.inf if run.candles and history_seconds < math.inf else began + history_seconds
        while parts and clock() < until:
            commit(parts.pop(0))
        report = run.report(is_more_left=bool(parts))
        this.row_count = report.alerts
        this.detail = asdict(report)
    log.info("detect: %s", report)
    return report


def _send_from(settings: Settings, at: datetime, *, is_live: bool) -> datetime | None:
    """From which candle on somebody is told (None: of all)."""
    ages = [timedelta(hours=settings.alert_max_age_hours)]
    if not is_live:
        ages.append(timedelta(minutes=settings.backfill_alert_max_age_minutes))
    return max((at - age for age in ages if age), default=None)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Thousands of findings become as many alerts, rows and events, and none of them is garbage before the commit.

    Measured: of a minute with 8,900 findings, walking over them again and again took a third.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def flags(settings: Settings, window: Window) -> list[dict[str, object]]:
    """Every final candle that starts in the window and that a rule points at, whether or not it became an alert.

    One row per rule and candle, as `Finding` has it: rule, symbol, candle_start, direction, value, threshold, close,
    severity, source, message; and is_start, true where no finding of the same is within its cooldown before. Ordered by
    candle, symbol, rule and source.
    """
    with connect(settings) as conn:
        looking = _looking(conn, settings)
        with conn.transaction():
            spans, found = symbols_between(conn, Window(window.start - looking.cooldown, window.end)), []
            for reads in _READS:
                judged = looking.judged(reads, spans, after=False)
                found += [one for part in looking.at(reads, judged) for one in part]
    series = defaultdict(list)
    for one in found:
        series[series_of(one)].append(link(one))
    starts = {(which, chain.first) for which, links in series.items() for chain in chains(links)}
    rows = [
        {name: getattr(one, name) for name in _FLAG} | {"is_start": (series_of(one), one.candle_start) in starts}
        for one in found
        if window.start <= one.candle_start < window.end
    ]
    return sorted(rows, key=lambda row: (row["candle_start"], row["symbol"], row["rule"], row["source"]))


def check_rules(settings: Settings) -> None:
    """Raises ConfigError listing what is wrong with `detection.yml` or `alerting.yml`, for what is traded and held."""
    with connect(settings) as conn:
        _alerting(settings, *_rules(conn, settings))


@dataclass
class _Looking:
    """What the rules say of stretches of the warehouse, with what they need to know."""

    conn: psycopg.Connection
    detection: Detection
    asset_classes: Mapping[str, str]
    candles: int = 0  # looked at so far
    models: Mapping[str, object] = field(default_factory=dict)
    clocks: dict[tuple[str, str], datetime] = field(default_factory=dict)  # the last candle seen, by symbol and scope
    days: Days = field(default_factory=dict)  # what portfolios were worth at the ends of days

    def rules(self, reads: Reads) -> list[str]:
        """The rules on such rows, enabled or not."""
        return [name for name, rule in self.detection.rules.items() if rule.reads == reads]

    @property
    def cooldown(self) -> timedelta:
        """The longest one there is."""
        values = (one for name in self.detection.enabled() for one in self.detection.variants(name))
        return timedelta(minutes=max((one.cooldown_minutes for one in values), default=0))

    def judged(self, reads: Reads, spans: Sequence[Span], *, after: bool = True) -> list[Span]:
        """What is to be judged because the spans changed; without `after` the spans alone."""
        length, columns = depth(self.detection, reads), columns_needed(self.detection, reads)
        if not spans or not columns:
            return []
        if reads == "portfolios":
            self.days = read_days(self.conn) if needs_days(columns) else {}
            changed = days_to_judge(self.conn, self.days) if after and needs_days(columns) else ()
            return judged_portfolios(self.conn, spans, max(length, 1) if after else 0, changed)
        if not after:
            return list(spans)
        return (judged_candles if reads == "candles" else judged_closes)(self.conn, spans, length)

    def at(self, reads: Reads, stretches: Sequence[Span], *, is_counted: bool = False) -> Iterator[list[Finding]]:
        """The findings of the stretches, a batch at a time. Needs a transaction."""
        columns, length = columns_needed(self.detection, reads), depth(self.detection, reads)
        if not stretches or not columns:
            return
        if reads == "candles":
            minutes = depth(self.detection, reads, "spread")
            rows = read_candles(self.conn, stretches, columns, length, sorted(ALWAYS_OPEN), minutes)
        elif reads == "closes":
            rows = read_closes(self.conn, stretches, columns, length)
        else:
            rows = read_portfolios(self.conn, stretches, columns, length, self.days)
        counted = self._counted(rows, reads) if is_counted else rows
        yield from evaluate(counted, self.detection, self.asset_classes, self.models)

    def _counted(self, batches: Iterator[Rows], reads: Reads) -> Iterator[Rows]:
        for batch in batches:
            if reads == "candles":
                self.candles += int(batch.is_new.sum())
            if reads != "closes":
                self._note_clocks(batch, "portfolio" if reads == "portfolios" else "instrument")
            yield batch

    def _note_clocks(self, batch: Rows, scope: str) -> None:
        ends = {place - 1 for place in batch.is_first.nonzero()[0].tolist() if place} | {len(batch) - 1}
        for end in ends if len(batch) else ():
            if batch.is_new[end]:
                symbol, at = (batch.symbol[end], scope), batch.at[end]
                self.clocks[symbol] = max(at, self.clocks.get(symbol, at))


class _Run:
    """What one run looks at and finds, summed up over its transactions."""

    def __init__(self, looking: _Looking, alerting: Alerting, *, now: datetime) -> None:
        self.looking, self.alerting, self.now = looking, alerting, now
        self.symbols: set[str] = set()
        self.waiting: set[str] = set()
        self.written, self.tended = Written(), Tended()

    @property
    def candles(self) -> int:
        return self.looking.candles

    def report(self, *, is_more_left: bool) -> DetectReport:
        return DetectReport(
            len(self.symbols), self.candles, self.written.new, len(self.waiting), self.written.too_old,
            self.written.withdrawn, is_more_left, self.tended.escalated, self.tended.unmuted,
        )  # fmt: skip

    def tend(self, silent_minutes: int) -> None:
        """What time does to alerts, and who fell silent."""
        self.tended = tend_alerts(self.looking.conn, now=self.now, alerting=self.alerting)
        silent = watch_silences(
            self.looking.conn, minutes=silent_minutes, always_open=sorted(ALWAYS_OPEN), now=self.now
        )
        self.written = self.written._replace(new=self.written.new + silent)

    def look_at(self, queue: Sequence[Queued], send_from: datetime | None) -> None:
        """Everything that belongs into one transaction. Of candles before `send_from` nobody is told."""
        if not queue:
            return
        conn, spans = self.looking.conn, due_spans(queue)
        looks = []
        for reads in _READS:
            judged = self.looking.judged(reads, spans)
            found = [one for part in self.looking.at(reads, judged, is_counted=True) for one in part]
            spans_of = [Judged(one.symbol, one.from_candle, one.until) for one in judged]
            looks.append(Look(self.looking.rules(reads), spans_of, found, dict(self.looking.clocks)))
            self.looking.clocks.clear()
        written = keep_findings(
            conn, looks, now=self.now, send_from=send_from, alerting=self.alerting,
            asset_classes=self.looking.asset_classes,
        )  # fmt: skip
        self.written = Written(*map(sum, zip(self.written, written, strict=True)))
        settle_queue(conn, queue)
        self.symbols.update(one.symbol for one in queue)
        self.waiting.update(one.symbol for one in queue if one.is_waiting)


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


def _looking(conn: psycopg.Connection, settings: Settings) -> _Looking:
    """The rules, with the approved models that they ask for."""
    detection, asset_classes = _rules(conn, settings)
    wanted = {
        name
        for rule in detection.enabled()
        for params in detection.variants(rule)
        if params.enabled
        for name in detection.rules[rule].models(params)
    }
    return _Looking(conn, detection, asset_classes, models=load_approved(settings, conn, wanted))


def _rules(conn: psycopg.Connection, settings: Settings) -> tuple[Detection, dict[str, str]]:
    """The rules, checked against what is traded, and the asset class of each symbol."""
    asset_classes = {one.symbol: one.asset_class for one in known_instruments(conn, settings)}
    portfolios = {str(row[0]) for row in load_positions(settings.portfolios_file)}
    return load_detection(settings.detection_file, asset_classes, portfolios), asset_classes


def _alerting(settings: Settings, detection: Detection, asset_classes: Mapping[str, str]) -> Alerting:
    """Groups, escalation and maintenance windows, checked against the rules and what is traded and held."""
    portfolios = {str(row[0]) for row in load_positions(settings.portfolios_file)}
    return load_alerting(settings.alerting_file, symbols={*asset_classes, *portfolios}, rules=list(detection.rules))
