"""An alert of the market as a message: what goes into the outbox when it opens, escalates or is over."""

from __future__ import annotations

from typing import Any, Final, Literal

import orjson

from include.alerts import Alert
from include.life.standing import Standing

Kind = Literal["opened", "escalated", "resolved"]
_SAID: Final = {"opened": "", "escalated": "nobody acknowledged this: ", "resolved": "over: "}


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
        message=f"{_SAID[kind]}{alert.message if kind == 'opened' else alert.latest_message or alert.message}{mark}",
        symbol=alert.symbol,
        candle_start=alert.candle_start,
        direction=alert.direction or None,
        value=alert.value,
        threshold=alert.threshold,
        discriminator=alert.source,
    )
    body = orjson.loads(shown.body())
    body |= {"alert_key": alert.alert_key, "kind": kind}
    if alert.symbols is not None:
        body["symbols"] = alert.symbols
    return {
        "alert_key": alert.alert_key,
        "message_key": key or alert.alert_key,
        "kind": kind,
        "subject": shown.subject,
        "body": orjson.dumps(body).decode(),
        "attributes": shown.attributes,
    }
