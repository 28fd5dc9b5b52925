"""An alert as it stands: a row of `marts.alerts`, and what happened to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from include.alerts import Alert, Severity
from include.detection.findings import Measure
from include.life.chains import Chain, Series, higher, strength

State = Literal["new", "sent", "history", "muted", "grouped"]
"""Its delivery: waits to be sent, was sent, too old to be, nobody wants it now, is told by its group."""
Status = Literal["open", "acknowledged", "resolved"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A market alert. Names are the columns of `marts.alerts`; `candle_start` is its first candle.

    `severity` is the highest of its findings, or what it was raised to. `symbols` are the members of a group, None
    where it is none. `told_by` is the alert of another rule that tells of it too. `resolved_by` is who resolved it by
    hand; `resolved_at` is in the time of the data, else.
    """

    alert_key: str
    rule: str
    scope: str
    symbol: str | None
    source: str
    direction: str
    candle_start: datetime
    last_candle: datetime
    finding_count: int
    cooldown_minutes: int
    severity: Severity
    value: float | None
    threshold: float | None
    message: str
    latest_message: str
    peak_value: float | None
    peak_threshold: float | None
    peak_candle: datetime | None
    measures: tuple[Measure, ...] = ()
    asset_class: str | None = None
    state: State = "new"
    status: Status = "open"
    group_key: str | None = None
    told_by: str | None = None
    symbols: tuple[str, ...] | None = None
    updates: int = 0
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    is_withdrawn: bool = False
    raised_to: Severity | None = None
    escalations: int = 0
    escalated_at: datetime | None = None
    sent_at: datetime | None = None

    @property
    def series(self) -> Series:
        return Series(self.rule, self.scope, self.symbol or "", self.source, self.direction)

    @property
    def ends(self) -> datetime:
        """Up to this candle (its start, included) a further finding would go on with it."""
        return self.last_candle + timedelta(minutes=self.cooldown_minutes)

    @property
    def is_kept(self) -> bool:
        """Somebody was told of it, or did something with it: it keeps its key, whatever late data say."""
        return self.state != "history" or bool(self.acknowledged_by or self.resolved_by)

    @property
    def strength(self) -> float:
        return strength(self.peak_value, self.peak_threshold)

    @property
    def chain(self) -> Chain:
        """Its findings, summed up."""
        return Chain(
            self.candle_start, self.last_candle, self.finding_count, self.cooldown_minutes, self.severity, self.value,
            self.threshold, self.message, self.latest_message, self.peak_value, self.peak_threshold,
            self.peak_candle or self.candle_start, self.measures,
        )  # fmt: skip

    def says(self, chain: Chain) -> dict[str, Any]:
        """Its columns if it is this chain."""
        return {
            "candle_start": chain.first,
            "last_candle": chain.last,
            "finding_count": chain.count,
            "cooldown_minutes": chain.cooldown_minutes,
            "severity": higher(chain.severity, self.raised_to),
            "value": chain.value,
            "threshold": chain.threshold,
            "message": chain.message,
            "latest_message": chain.latest_message,
            "peak_value": chain.peak_value,
            "peak_threshold": chain.peak_threshold,
            "peak_candle": chain.peak_candle,
            "measures": chain.measures,
            "is_withdrawn": False,
        }


def key_of(series: Series, first: datetime) -> str:
    """The key of the alert of a chain that begins with this candle."""
    return Alert(
        series.rule, "market", "info", "", symbol=series.symbol, candle_start=first, discriminator=series.source
    ).key


def begun(series: Series, chain: Chain, asset_class: str | None) -> Standing:
    """The alert of a chain, as a new one."""
    return Standing(
        alert_key=key_of(series, chain.first), rule=series.rule, scope=series.scope, symbol=series.symbol,
        source=series.source, direction=series.direction, candle_start=chain.first, last_candle=chain.last,
        finding_count=chain.count, cooldown_minutes=chain.cooldown_minutes, severity=chain.severity, value=chain.value,
        threshold=chain.threshold, message=chain.message, latest_message=chain.latest_message,
        peak_value=chain.peak_value, peak_threshold=chain.peak_threshold, peak_candle=chain.peak_candle,
        measures=chain.measures, asset_class=asset_class, state="history",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One line of `marts.alert_history`. `at` is the wall clock of whoever wrote it, UTC."""

    alert_key: str
    event: str
    at: datetime
    by: str | None = None
    note: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """By column; `asdict` would copy every detail."""
        return {name: getattr(self, name) for name in self.__slots__}


def what_happened(before: Standing | None, now: Standing, at: datetime, why: str | None = None) -> list[Event]:
    """The events between the two, for the history. `why` says what mutes it. Of what nobody was told, the end only."""

    def event(name: str, **detail: Any) -> Event:
        return Event(now.alert_key, name, at, detail=detail)

    events = []
    if before is None:
        events.append(event("opened", candle=now.candle_start, severity=now.severity, findings=now.finding_count))
        if now.state == "muted":
            events.append(event("muted", why=why))
    if now.group_key is not None and (before is None or before.group_key != now.group_key):
        events.append(event("grouped", into=now.group_key))
    if now.told_by is not None and (before is None or before.told_by != now.told_by):
        events.append(event("grouped", into=now.told_by))
    if before is not None and now.is_withdrawn and not before.is_withdrawn:
        events.append(event("withdrawn"))
    elif before is not None and now.is_kept and now.updates != before.updates:
        events.append(
            event(
                "updated", candle=now.last_candle, findings=now.finding_count, severity=now.severity,
                peak_value=now.peak_value, **({} if now.symbols is None else {"symbols": len(now.symbols)}),
            )
        )  # fmt: skip
    was = "open" if before is None else before.status
    if now.status == "resolved" and was != "resolved":
        events.append(event("resolved", at=now.resolved_at))
    elif now.status != "resolved" and was == "resolved":
        events.append(event("reopened"))
    return events
