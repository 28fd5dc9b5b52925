"""An alert as scores see it: which candles belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Raised:
    """One alert: of which rule and symbol, how severe, and its candles (their starts, UTC), the first one first."""

    rule: str
    symbol: str
    direction: str
    severity: str
    candles: tuple[datetime, ...]

    @property
    def opened(self) -> datetime:
        return self.candles[0]
