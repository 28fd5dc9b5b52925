"""The alert: what a rule or an operation has to say, the same in the database, on a phone and for a machine.

An alert is known by its key, which comes from the data (rule, symbol, candle): the same finding, found again after a
crash or a replay, has the same key and is neither stored nor sent twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, Literal, get_args

import orjson

from include.alert_text import Measured, phone_text, subject_line
from include.events import iso

Category = Literal["market", "operations"]
Severity = Literal["info", "warning", "critical"]
Kind = Literal["opened", "escalated", "resolved"]
SEVERITIES: Final[tuple[str, ...]] = get_args(Severity)

_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Alert:
    """One alert, and what a message about it says.

    `message` is a sentence for people without the symbol in it. `candle_start` is UTC and carries its zone. `value` and
    `threshold` are in the rule's own unit (standard deviations, percent, price). `discriminator` tells alerts apart
    that share rule, symbol and candle (for example the id of a load). Raises ValueError for a time without a zone.

    `kind` is what the message tells: that it opened, became more severe, or is over. `last_candle` (UTC) is the newest
    candle that it speaks of. `symbols` are those of a grouped alert, `measures` the numbers behind it with their usual
    ranges, `spark` the last hours as a line of blocks (`include.alert_text.sparkline`). `known_as` is its key,
    where that does not follow from these (its first candle changed after it was told).
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
    kind: Kind = "opened"
    asset_class: str | None = None
    last_candle: datetime | None = None
    symbols: tuple[str, ...] = ()
    measures: tuple[Measured, ...] = ()
    spark: str = ""
    known_as: str = ""

    def __post_init__(self) -> None:
        for name in ("candle_start", "last_candle"):
            at: datetime | None = getattr(self, name)
            if at is not None and at.tzinfo is None:
                raise ValueError(f"alert {self.rule}: {name} {at} has no time zone; pass it in UTC")

    @cached_property
    def key(self) -> str:
        """64 hex digits from rule, symbol, candle and discriminator; never from a run."""
        if self.known_as:
            return self.known_as
        candle = iso(self.candle_start) if self.candle_start else ""
        return hashlib.sha256("|".join((self.rule, self.symbol or "", candle, self.discriminator)).encode()).hexdigest()

    @property
    def candle_end(self) -> datetime | None:
        """When that could be known which the message tells (UTC), from where its delay counts.

        That it opened: the alert's candle; that it became worse: the newest one. None for what no candle says:
        operations, and the end of an alert.
        """
        if self.category != "market" or self.kind == "resolved":
            return None
        start = self.candle_start if self.kind == "opened" else self.last_candle
        return start + _MINUTE if start else None

    @property
    def subject(self) -> str:
        """One line that SNS takes as an e-mail's subject: printable ASCII, at most 99 characters."""
        severity = self.severity.upper()
        said = {"opened": severity, "escalated": f"{severity}, escalated", "resolved": "RESOLVED"}[self.kind]
        return subject_line(f"{said}: {self._headline}")

    @property
    def text(self) -> str:
        """A few short lines to read on a phone; the first one says all."""
        over = self.kind == "resolved"
        return phone_text(
            {"opened": "", "escalated": "Escalated: ", "resolved": "Resolved: "}[self.kind] + self._headline,
            [self.severity, self.rule],
            candle_start=self.candle_start,
            measures=() if over else self.measures,
            symbols=self.symbols,
            spark=self.spark,
            ack=None if over else self.key,
        )

    @property
    def attributes(self) -> dict[str, str]:
        """What a subscription may filter by, as SNS message attributes: name to text, none of them empty.

        `symbols`, of a grouped alert, is a JSON list.
        """
        found = {
            "severity": self.severity, "rule": self.rule, "symbol": self.symbol, "category": self.category,
            "kind": self.kind, "asset_class": self.asset_class,
            "symbols": orjson.dumps(self.symbols).decode() if self.symbols else None,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value}

    def body(self) -> str:
        """The alert as one JSON object for machines; times as ISO 8601 in UTC, unknown values as null.

        What is known only when it is sent (`message_key`, `late`, a link to a chart) is put in then.
        """
        return orjson.dumps(
            {
                "alert_key": self.key,
                "kind": self.kind,
                "rule": self.rule,
                "category": self.category,
                "asset_class": self.asset_class,
                "symbol": self.symbol,
                "symbols": self.symbols,
                "candle_start": iso(self.candle_start) if self.candle_start else None,
                "candle_end": iso(self.candle_end) if self.candle_end else None,
                "severity": self.severity,
                "direction": self.direction,
                "value": self.value,
                "threshold": self.threshold,
                "measures": [dict(zip(("name", "value", "low", "high"), one, strict=True)) for one in self.measures],
                "sparkline": self.spark or None,
                "message": self.message,
                "subject": self.subject,
                "text": self.text,
            }
        ).decode()

    @property
    def _headline(self) -> str:
        return f"{self.symbol}: {self.message}" if self.symbol else self.message
