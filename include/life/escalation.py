"""When an alert that nobody acknowledges is said again, and when it becomes more severe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from include.life.chains import higher
from include.life.config import Escalations
from include.life.standing import Standing


@dataclass(frozen=True, slots=True)
class Escalated:
    """The alert as it is said again, and its message's key: that of the alert with the number of the escalation."""

    alert: Standing
    message_key: str


def escalate(alert: Standing, now: datetime, policy: Escalations) -> Escalated | None:
    """The next escalation of an alert if it is due at `now` (UTC); however late it is, one at a time.

    Only of what was sent, is open, and that nobody acknowledged.
    """
    if alert.state != "sent" or alert.status != "open" or alert.sent_at is None:
        return None
    rule = getattr(policy, alert.severity)
    if rule is None or now < (alert.escalated_at or alert.sent_at) + timedelta(minutes=rule.after_minutes):
        return None
    again = alert.escalations - (1 if alert.raised_to else 0)  # how often it was said again as what it is now
    raised = higher(alert.severity, rule.becomes)
    if raised != alert.severity:
        alert = replace(alert, severity=raised, raised_to=raised)
    elif again >= rule.times:
        return None
    number = alert.escalations + 1
    return Escalated(replace(alert, escalations=number, escalated_at=now), f"{alert.alert_key}:escalated:{number}")
