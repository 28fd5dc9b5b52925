"""A message as it leaves: what is known only then is put into it. A pure function of the row and the time.

The row keeps the words that were written with the alert. Sent again, a message has the same key and, perhaps, another
delay: a FIFO topic goes by the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from urllib.parse import quote

import orjson

from include.alert_text import subject_line, with_spark

CHART_SPAN: Final = timedelta(hours=4)  # what a chart or a sparkline shows before the alert's candle


class Row(Protocol):
    """A message of the outbox."""

    @property
    def outbox_id(self) -> int: ...
    @property
    def message_key(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def attributes(self) -> Mapping[str, str]: ...
    @property
    def created_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Message:
    """A message as SNS gets it. `candle_end` (UTC) is that of the alert's candle, where it has one."""

    outbox_id: int
    message_key: str
    subject: str
    body: str
    attributes: Mapping[str, str]
    candle_end: datetime | None = None


def wants_spark(row: Row) -> tuple[str, datetime] | None:
    """The instrument and candle (its start, UTC) whose last hours the message has to show; None if none, or it has."""
    alert = orjson.loads(row.body)
    start = _time(alert.get("candle_start"))
    if start is None or not alert.get("symbol") or alert.get("category") != "market" or alert.get("sparkline"):
        return None
    return None if alert.get("kind") == "resolved" else (alert["symbol"], start)


def dress(row: Row, now: datetime, *, late_after: timedelta, chart_url: str = "", spark: str = "") -> Message:
    """The message of a row that leaves at `now` (UTC), with the last hours as a line of blocks if it has none yet.

    It is late if it leaves more than `late_after` after its candle's end; without a candle, after it was written. Then
    subject, text, attributes and body say so. `chart_url` is a template with symbol, rule, start and end (UTC).
    """
    alert: dict[str, Any] = orjson.loads(row.body)
    candle_end = _time(alert.get("candle_end"))
    behind = now - (candle_end or row.created_at)
    is_late = behind > late_after
    subject, attributes = row.subject, dict(row.attributes)
    if spark and not alert.get("sparkline"):
        alert |= {"sparkline": spark, "text": with_spark(alert.get("text", ""), spark)}
    if chart := _chart(chart_url, alert):
        alert["text"] = f"{alert.get('text', '')}\n{chart}"
    if is_late:
        mark = f"LATE {_span(behind)}: "
        subject = subject_line(mark + subject)
        alert["text"] = mark + alert.get("text", "")
        attributes["late"] = "true"
    alert |= {
        "message_key": row.message_key,
        "late": is_late,
        "late_seconds": round(behind.total_seconds()) if is_late else None,
        "chart_url": chart,
        "subject": subject,
    }
    return Message(row.outbox_id, row.message_key, subject, orjson.dumps(alert).decode(), attributes, candle_end)


def _chart(template: str, alert: Mapping[str, Any]) -> str | None:
    """The link to the chart of an instrument's last hours; None for what has no instrument or no candle."""
    start = _time(alert.get("candle_start"))
    if not template or start is None or not alert.get("symbol"):
        return None
    end = _time(alert.get("candle_end")) or start + timedelta(minutes=1)
    since = start - CHART_SPAN
    known = {"symbol": alert["symbol"], "rule": alert.get("rule", ""), "start": _plain(since), "end": _plain(end)}
    return template.format_map({name: quote(str(value), safe="") for name, value in known.items()})


def _plain(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(value: object) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def _span(behind: timedelta) -> str:
    minutes = int(behind.total_seconds() // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
