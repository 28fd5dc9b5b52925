"""By how much a vendor is behind the market. Known here without importing the sources, because DAG files ask."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from include.settings import Settings

QUARTER_HOUR: Final = timedelta(minutes=15)
"""What US exchanges ask of those who pass their prices on without a contract."""

_POLYGON: Final = {"basic": QUARTER_HOUR, "starter": QUARTER_HOUR, "advanced": timedelta()}
_ALPHA_VANTAGE: Final = {"free": timedelta(), "premium": QUARTER_HOUR}  # free: the last day's, nothing of the session


def delay(source: str, settings: Settings) -> timedelta:
    """How long after a minute of the session its prices of shares are there to be pulled; zero for most."""
    if source == "polygon":
        return _POLYGON[settings.polygon_plan]
    if source == "alphavantage":
        return _ALPHA_VANTAGE[settings.alphavantage_plan]
    return timedelta()
