"""The alert: what a rule or an operation has to say, the same in the database, on a phone and for a machine.

An alert is known by its key, which comes from the data (rule, symbol, candle): the same finding, found again after a
crash or a replay, has the same key and is neither stored nor sent twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final, Literal, get_args

import orjson

from include.events import iso

Category = Literal["market", "operations"]
Severity = Literal["info", "warning", "critical"]
SEVERITIES: Final[tuple[str, ...]] = get_args(Severity)

SUBJECT_LIMIT: Final = 99  # SNS: less than 100 ASCII characters, no line breaks


@dataclass(frozen=True)
class Alert:
    """One alert.

    `message` is a sentence for people without the symbol in it. `candle_start` is UTC and carries its zone. `value` and
    `threshold` are in the rule's own unit (standard deviations, percent, price). `discriminator` tells alerts apart
    that share rule, symbol and candle (for example the id of a load). Raises ValueError for a time without a zone.
    """

    rule: str
    category: Category
    severity: Severity
    message: str
    symbol: str | None = None
    candle_start: datetime | None = None
    direction: str | None = None
    value: float | None = None
    threshold: float | None = None
    discriminator: str = ""

    def __post_init__(self) -> None:
        if self.candle_start is not None and self.candle_start.tzinfo is None:
            raise ValueError(f"alert {self.rule}: candle_start {self.candle_start} has no time zone; pass it in UTC")

    @cached_property
    def key(self) -> str:
        """64 hex digits from rule, symbol, candle and discriminator; never from a run."""
        candle = iso(self.candle_start) if self.candle_start else ""
        return hashlib.sha256("|".join((self.rule, self.symbol or "", candle, self.discriminator)).encode()).hexdigest()

    @property
    def subject(self) -> str:
        """One line that SNS takes as an e-mail's subject: printable ASCII, at most 99 characters."""
        line = f"{self.severity.upper()}: {self._headline}".encode("ascii", "replace").decode()
        line = " ".join("".join(char if char.isprintable() else " " for char in line).split())
        return line if len(line) <= SUBJECT_LIMIT else line[: SUBJECT_LIMIT - 3].rstrip() + "..."

    @property
    def text(self) -> str:
        """Two lines to read on a phone."""
        about = [self.severity, f"rule {self.rule}"]
        if self.candle_start:
            about.append(f"candle {iso(self.candle_start)[:16].replace('T', ' ')} UTC")
        return f"{self._headline}\n{' · '.join(about)}"

    @property
    def attributes(self) -> dict[str, str]:
        """What a subscription may filter by, as SNS message attributes: name to text, none of them empty."""
        found = {"severity": self.severity, "rule": self.rule, "symbol": self.symbol, "category": self.category}
        return {name: value for name, value in found.items() if value}

    def body(self) -> str:
        """The alert as one JSON object for machines; `candle_start` as ISO 8601 in UTC, unknown values as null."""
        return orjson.dumps(
            {
                "alert_key": self.key,
                "rule": self.rule,
                "category": self.category,
                "symbol": self.symbol,
                "candle_start": iso(self.candle_start) if self.candle_start else None,
                "severity": self.severity,
                "direction": self.direction,
                "value": self.value,
                "threshold": self.threshold,
                "message": self.message,
                "subject": self.subject,
                "text": self.text,
            }
        ).decode()

    @property
    def _headline(self) -> str:
        return f"{self.symbol}: {self.message}" if self.symbol else self.message
