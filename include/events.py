"""The event: one thing a source said, and the envelope it travels in.

An envelope is one line of JSON with the fields of `Event`; times are ISO 8601 in UTC with microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, get_args

import orjson

Kind = Literal["quote", "trade", "bar", "action"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)


class BadEventError(ValueError):
    """A line that is no event; the text is the reason, short enough for a quarantine row."""


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span of time `[start, end)`, UTC. Subclasses of datetime (Airflow's) become plain ones."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("end", self.end)):
            if value.tzinfo is None:
                raise ValueError(f"window {name} {value} has no time zone; pass it in UTC")
            object.__setattr__(self, name, datetime.fromisoformat(value.isoformat()).astimezone(UTC))
        if self.end <= self.start:
            raise ValueError(f"window [{self.start}, {self.end}) is empty; its end must be after its start")

    @classmethod
    def minute_before(cls, moment: datetime) -> Window:
        """The last whole minute that ended by `moment`."""
        end = moment.replace(second=0, microsecond=0)
        return cls(end - timedelta(minutes=1), end)

    def minutes(self) -> list[datetime]:
        """The starts of the whole minutes that begin inside the window."""
        first = self.start.replace(second=0, microsecond=0)
        if first < self.start:
            first += timedelta(minutes=1)
        count = max(0, -(-(self.end - first) // timedelta(minutes=1)))
        return [first + timedelta(minutes=n) for n in range(count)]


@dataclass(frozen=True, slots=True)
class Event:
    """One quote, trade, bar or corporate action (a split, a dividend) as a source sent it.

    `event_time` is the vendor's time, `received_at` ours at the edge; both UTC. `vendor_id` is the vendor's own id
    where it has one, else "". (source, kind, symbol, event_time, vendor_id) is the natural key; equal keys with
    different payloads are a revision and the latest `received_at` wins. `complete_until` says: once this event is
    loaded, all events of this source before that time are expected to be loaded too (a candle that ends by then is
    final).
    """

    source: str
    kind: Kind
    symbol: str
    event_time: datetime
    vendor_id: str
    payload: dict[str, Any]
    received_at: datetime
    complete_until: datetime | None = None

    def to_json(self) -> bytes:
        """The envelope as one line of JSON, without a line end."""
        return orjson.dumps(
            {
                "source": self.source,
                "kind": self.kind,
                "symbol": self.symbol,
                "event_time": iso(self.event_time),
                "vendor_id": self.vendor_id,
                "received_at": iso(self.received_at),
                "complete_until": iso(self.complete_until) if self.complete_until else None,
                "payload": self.payload,
            }
        )


def parse_event(fields: Any) -> Event:
    """Check the envelope's fields (a decoded JSON object) and make the `Event`.

    Only the envelope is checked here; whether the payload makes sense is the audit's business.
    Raises BadEventError naming the first field that does not fit.
    """
    if not isinstance(fields, dict):
        raise BadEventError(f"not a JSON object but {type(fields).__name__}")
    text: dict[str, str] = {}
    for name in ("source", "kind", "symbol"):
        value = fields.get(name)
        if not isinstance(value, str) or not value or len(value) > 100 or "\x00" in value:
            raise BadEventError(f"{name} is {value!r:.60}; it must be a text of 1 to 100 characters")
        text[name] = value
    if text["kind"] not in KINDS:
        raise BadEventError(f"kind is {text['kind']!r:.60}; it must be one of {', '.join(KINDS)}")
    vendor_id = fields.get("vendor_id", "")
    if not isinstance(vendor_id, str) or len(vendor_id) > 200 or "\x00" in vendor_id:
        raise BadEventError(f"vendor_id is {vendor_id!r:.60}; it must be a text of at most 200 characters")
    payload = fields.get("payload")
    if not isinstance(payload, dict):
        raise BadEventError(f"payload is {payload!r:.60}; it must be a JSON object")
    complete_until = fields.get("complete_until")
    return Event(
        source=text["source"],
        kind=text["kind"],  # type: ignore[arg-type]  # checked above
        symbol=text["symbol"],
        event_time=_time(fields, "event_time"),
        vendor_id=vendor_id,
        payload=payload,
        received_at=_time(fields, "received_at"),
        complete_until=None if complete_until is None else _time(fields, "complete_until"),
    )


def iso(value: datetime) -> str:
    """`2026-01-02T03:04:05.000006Z`: UTC, always with microseconds, so equal times are equal texts."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _time(fields: dict[str, Any], name: str) -> datetime:
    value = fields.get(name)
    try:
        parsed = datetime.fromisoformat(value)  # type: ignore[arg-type]  # a wrong type raises TypeError
    except (TypeError, ValueError):
        raise BadEventError(f"{name} is {value!r:.60}; it must be an ISO 8601 time") from None
    if parsed.tzinfo is None:
        raise BadEventError(f"{name} is {value!r:.60}; it must carry its time zone")
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise BadEventError(f"{name} is {value!r:.60}; in UTC it lies outside the years 1 to 9999") from None
