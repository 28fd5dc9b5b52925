"""Who is not told about what: mutes that somebody set, and maintenance windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from include.life.config import Maintenance
from include.life.standing import Standing


@dataclass(frozen=True, slots=True)
class Mute:
    """Nobody is told in `[from_at, until_at)` (UTC) about what it matches; None matches everything."""

    mute_id: int
    symbol: str | None
    rule: str | None
    asset_class: str | None
    severity: str | None
    from_at: datetime
    until_at: datetime
    reason: str | None = None
    made_by: str = ""

    def matches(self, alert: Standing) -> bool:
        return all(
            wanted is None or wanted == found
            for wanted, found in (
                (self.symbol, alert.symbol),
                (self.rule, alert.rule),
                (self.asset_class, alert.asset_class),
                (self.severity, alert.severity),
            )
        )


def muted_by(alert: Standing, at: datetime, mutes: Iterable[Mute], windows: Iterable[Maintenance]) -> str | None:
    """What keeps the alert from being told at this moment (UTC), in words; None if nothing does."""
    for mute in mutes:
        if mute.from_at <= at < mute.until_at and mute.matches(alert):
            return f"mute {mute.mute_id}" + (f" ({mute.reason})" if mute.reason else "")
    for window in windows:
        if window.holds(at) and _concerns(window, alert):
            return f"maintenance: {window.name}"
    return None


def _concerns(window: Maintenance, alert: Standing) -> bool:
    return (
        (window.symbols is None or alert.symbol in window.symbols)
        and (window.asset_classes is None or alert.asset_class in window.asset_classes)
        and (window.rules is None or alert.rule in window.rules)
    )
