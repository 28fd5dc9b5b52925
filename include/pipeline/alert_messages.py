"""An alert as a message: what goes into the outbox when it opens, escalates or is over."""

from __future__ import annotations

from typing import Any

from include.alerts import Alert, Kind
from include.life.standing import Standing


def message_of(
    alert: Standing, kind: Kind = "opened", *, key: str = "", mark: str = "", category: str = "market"
) -> dict[str, Any]:
    """The row of the outbox: alert_key, message_key, kind, subject, body, attributes.

    `key` is the message's own, where it is not the alert's; `mark` is said behind the sentence.
    """
    shown = Alert(
        rule=alert.rule,
        category="operations" if category == "operations" else "market",
        severity=alert.severity,
        message=(alert.message if kind == "opened" else alert.latest_message or alert.message) + mark,
        symbol=alert.symbol,
        candle_start=alert.candle_start,
        direction=alert.direction or None,
        value=alert.value,
        threshold=alert.threshold,
        kind=kind,
        asset_class=alert.asset_class,
        last_candle=alert.last_candle if kind == "opened" else None,
        symbols=alert.symbols or (),
        measures=alert.measures,
        known_as=alert.alert_key,
    )
    return {
        "alert_key": alert.alert_key,
        "message_key": key or alert.alert_key,
        "kind": kind,
        "subject": shown.subject,
        "body": shown.body(),
        "attributes": shown.attributes,
    }
