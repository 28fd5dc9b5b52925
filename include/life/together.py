"""One instrument, one call: when several rules point at the same instrument in the same minutes, one of them is told.

A crash is a change, a move, a far z-score and a broken range at once. Each is an alert of its own, with its own numbers
and its own end; but people are called for one of them, which names the others. Signals (severity info) are no part of
it: whoever listens to crosses wants each. Groups of many instruments are told together in the same manner.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from include.alerts import SEVERITIES
from include.life.groups import first_of


class Begun(Protocol):
    """An alert that begins; as in `marts.alerts`."""

    @property
    def alert_key(self) -> str: ...
    @property
    def rule(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def symbol(self) -> str | None: ...
    @property
    def direction(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def candle_start(self) -> datetime: ...


class Place(NamedTuple):
    """Where alerts are told together: an instrument (or portfolio; "" for groups), and the first of the minutes."""

    scope: str
    symbol: str
    begins: datetime


class Told(NamedTuple):
    """An alert that people are called for."""

    place: Place
    alert_key: str
    severity: str
    rule: str
    direction: str


def place_of(alert: Begun, within: timedelta) -> Place | None:
    """Where it is told; None for a signal, and for what is said of a source."""
    if alert.severity == "info" or alert.scope == "source":
        return None
    return Place(alert.scope, alert.symbol or "", first_of(alert.candle_start, within))


def tell_together(
    begun: Iterable[Begun], told: Iterable[Told], within: timedelta, order: Sequence[str]
) -> dict[str, str]:
    """Which of the alerts that have `begun`, and would be told, are told by which other one: key to key.

    One is told by another rule's of its place that goes the same way (or one of them no way) and is at least as severe:
    by one of those `told` already, else by the most severe that begins now, of these the one whose rule comes first in
    `order`.
    """
    tellers: dict[Place, list[Told]] = defaultdict(list)
    for one in told:
        tellers[one.place].append(one)
    places: Mapping[str, int] = {rule: place for place, rule in enumerate(order)}
    found: dict[str, str] = {}
    for alert in sorted(begun, key=lambda a: (-_rank(a.severity), places.get(a.rule, len(places)), a.alert_key)):
        place = place_of(alert, within)
        if place is None:
            continue
        teller = next((one for one in tellers[place] if _tells(one, alert)), None)
        if teller is None:
            tellers[place].append(Told(place, alert.alert_key, alert.severity, alert.rule, alert.direction))
        else:
            found[alert.alert_key] = teller.alert_key
    return found


def _tells(teller: Told, alert: Begun) -> bool:
    is_one_way = teller.direction == alert.direction or not (teller.direction and alert.direction)
    return teller.rule != alert.rule and is_one_way and _rank(teller.severity) >= _rank(alert.severity)


def named(told_by: Mapping[str, str], alerts: Mapping[str, Begun]) -> dict[str, str]:
    """What the message of each teller says behind its sentence: the rules that it tells of too."""
    rules: dict[str, list[str]] = defaultdict(list)
    for key, teller in told_by.items():
        rules[teller].append(alerts[key].rule)
    return {teller: f" (also {', '.join(dict.fromkeys(others))})" for teller, others in rules.items()}


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity)
