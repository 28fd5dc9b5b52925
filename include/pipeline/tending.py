"""What time does to alerts: a mute ends, and what nobody acknowledges is said again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import psycopg

from include.life.config import Alerting
from include.life.escalation import escalate
from include.life.mutes import Mute, muted_by
from include.life.standing import Event
from include.pipeline.alert_messages import message_of
from include.pipeline.alerting import row_of, standing
from include.warehouse.mutes import read_mutes
from include.warehouse.standings import queue_messages, read_waiting, write_alerts, write_history


class Tended(NamedTuple):
    """How many alerts are sent since their mute is over, and how many are said again."""

    unmuted: int = 0
    escalated: int = 0


def tend_alerts(conn: psycopg.Connection, *, now: datetime, alerting: Alerting) -> Tended:
    """Send what is open still and no longer muted, and escalate what is due at `now` (UTC), each once.

    Part of the caller's transaction. Nothing is said of an alert that is muted now.
    """
    waiting = read_waiting(conn)
    if not waiting:
        return Tended()
    mutes = [Mute(**row) for row in read_mutes(conn, now)]
    changed, events, messages = [], [], []
    unmuted = 0
    for row in waiting:
        category = row.pop("category")
        alert = standing(row)
        if muted_by(alert, now, mutes, alerting.maintenance):
            continue
        if alert.state == "muted":
            unmuted += 1
            alert = replace(alert, state="grouped" if alert.group_key else "new")
            events.append(Event(alert.alert_key, "unmuted", now))
            if alert.state == "new":
                messages.append(message_of(alert, mark=" (was muted until now, and is still open)", category=category))
        elif again := escalate(alert, now, alerting.escalation):
            alert = again.alert
            detail = {"severity": alert.severity, "number": alert.escalations}
            events.append(Event(alert.alert_key, "escalated", now, detail=detail))
            messages.append(message_of(alert, "escalated", key=again.message_key, category=category))
        else:
            continue
        changed.append(row_of(alert))
    write_alerts(conn, changed)
    write_history(conn, [event.row() for event in events])
    queue_messages(conn, messages)
    return Tended(unmuted, len(changed) - unmuted)
