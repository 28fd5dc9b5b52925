"""From findings to alerts, in one transaction: what changed in the findings changes the alerts around it.

Alerts follow from findings alone, so any order and any pieces give the same ones. What is not a finding's business is
who was told: that is decided once for each alert, when it begins, and stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from include.detection.findings import Finding, Measure
from include.events import iso
from include.life.chains import Chain, Series, link, series_of
from include.life.config import Alerting
from include.life.following import Followed, append, can_append, follow, is_old, settle, told, with_free_key
from include.life.groups import Cause, cause_of, gather, needed
from include.life.mutes import Mute, muted_by
from include.life.standing import Standing, what_happened
from include.life.together import Place, Told, named, place_of, tell_together
from include.pipeline.alert_messages import message_of
from include.warehouse.alerts import Written
from include.warehouse.findings import Change, Judged, keep_clocks, read_clocks, read_findings, replace_findings
from include.warehouse.mutes import read_mutes
from include.warehouse.standings import (
    LONGEST,
    forget_alerts,
    queue_messages,
    read_alerts,
    read_causes,
    read_near,
    read_told,
    write_alerts,
    write_history,
)

Clocks = Mapping[tuple[str, str], datetime]
"""Up to which candle (its start, UTC) each (symbol, scope) was judged; a source has its instrument's."""


@dataclass(frozen=True, slots=True)
class Look:
    """What some rules said of spans of symbols. `clocks`: up to which candle."""

    rules: Sequence[str]
    judged: Sequence[Judged]
    findings: Sequence[Finding]
    clocks: Clocks = field(default_factory=dict)


def keep_findings(
    conn: psycopg.Connection,
    looks: Sequence[Look],
    *,
    now: datetime,
    send_from: datetime | None,
    alerting: Alerting,
    asset_classes: Mapping[str, str],
) -> Written:
    """Keep what was found, and make, change, resolve and forget the alerts that follow, with their messages.

    Alerts whose last candle starts before `send_from` (UTC; None: none does) are written down and sent to nobody, until
    they go on. `now` (UTC) is when that is. Needs the caller's transaction, RuntimeError without.
    """
    if conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        raise RuntimeError("keep_findings needs the caller's transaction: `with conn.transaction():` around it")
    changes: list[Change] = []
    found: dict[Series, list[Finding]] = defaultdict(list)
    for look in looks:
        keep_clocks(conn, look.clocks)
        changes += replace_findings(conn, look.rules, look.judged, look.findings)
        for finding in look.findings:
            found[series_of(finding)].append(finding)
    judged = {one.symbol for look in looks for one in look.judged}
    work = _Work(conn, now, send_from, alerting, asset_classes)
    work.read(read_near(conn, changes, judged))
    work.follow(changes, found)
    work.settle(read_clocks(conn, judged))
    work.catch_up()
    work.gather()
    work.mute()
    work.tell_together([rule for look in looks for rule in look.rules])
    return work.write()


def standing(row: Mapping[str, Any]) -> Standing:
    """A row of `marts.alerts`."""
    symbols = row["symbols"]
    return Standing(
        **{
            **row,
            "direction": row["direction"] or "",
            "measures": tuple(Measure(*one) for one in row["measures"]),
            "symbols": None if symbols is None else tuple(symbols),
        }
    )


def row_of(alert: Standing) -> dict[str, Any]:
    """The other way round."""
    return {name: getattr(alert, name) for name in alert.__slots__} | {"measures": [tuple(m) for m in alert.measures]}


@dataclass(slots=True)
class _Work:
    """`before` are the alerts as they were read, `after` as they are to be, both by key.

    `fresh` are the keys of new ones; `untold` those, and of old ones that nobody was told of and that are to be told.
    """

    conn: psycopg.Connection
    now: datetime
    send_from: datetime | None
    alerting: Alerting
    asset_classes: Mapping[str, str]
    before: dict[str, Standing] = field(default_factory=dict)
    after: dict[str, Standing] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    fresh: set[str] = field(default_factory=set)
    untold: set[str] = field(default_factory=set)
    why: dict[str, str] = field(default_factory=dict)
    says_too: dict[str, str] = field(default_factory=dict)

    def read(self, rows: Iterable[Mapping[str, Any]]) -> list[Standing]:
        """Know these alerts; those that are known already stay as they are by now."""
        read = [standing(row) for row in rows]
        for one in read:
            if self.before.setdefault(one.alert_key, one) is one:
                self.after[one.alert_key] = one
        return read

    def follow(self, changes: Sequence[Change], found: Mapping[Series, Sequence[Finding]]) -> None:
        """The alerts of every series that changed."""
        by_series: dict[Series, list[Standing]] = defaultdict(list)
        for one in self.before.values():
            by_series[one.series].append(one)
        near: dict[Series, list[Standing]] = {}
        anew: list[tuple[Series, datetime, datetime]] = []
        followed: list[Followed] = []
        for change in changes:
            series = Series(*change.series)
            from_candle, until_candle = change.from_candle, change.until_candle
            # of open ones all are read, wherever they are
            near[series] = old = [
                one for one in by_series[series]
                if one.candle_start <= until_candle + LONGEST and one.last_candle >= from_candle - LONGEST
            ]  # fmt: skip
            if change.is_new and can_append(old, from_candle):
                links = [link(one) for one in found[series] if from_candle <= one.candle_start <= until_candle]
                followed.append(append(series, links, old, self.asset_classes.get(series.symbol)))
            else:
                first = min([from_candle, *(one.candle_start for one in old)])
                last = max([until_candle, *(one.last_candle for one in old)])
                anew.append((series, first, last))
        links_of: dict[Series, list[Chain]] = defaultdict(list)
        for finding in read_findings(self.conn, anew):
            links_of[series_of(finding)].append(link(finding))
        for series, _, _ in anew:
            asset_class = self.asset_classes.get(series.symbol)
            followed.append(follow(series, links_of[series], near[series], asset_class))
        for series_now in followed:
            self.after.update((alert.alert_key, alert) for alert in series_now.standing)
            self._forget(series_now.gone)
        self._begin([alert for series_now in followed for alert in series_now.begun])

    def _begin(self, begun: Sequence[Standing]) -> None:
        """These are new; where an alert has that key already it goes on, or it is about another direction."""
        self.read(read_alerts(self.conn, {one.alert_key for one in begun} - self.before.keys()))
        for one in begun:
            there = self.after.get(one.alert_key)
            if there is not None and there.series == one.series:
                self.after[one.alert_key] = told(there, one.chain)
                continue
            new = with_free_key(one, () if there is None else (there.alert_key,))
            self._add(replace(new, state="history" if is_old(new, self.send_from) else "new"))

    def _forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.gone.add(key)
            del self.after[key]

    def _add(self, alert: Standing) -> None:
        self.fresh.add(alert.alert_key)
        self.untold.add(alert.alert_key)
        self.after[alert.alert_key] = alert

    def settle(self, clocks: Clocks) -> None:
        """What is over is resolved, what goes on again is open."""
        for key, alert in self.after.items():
            self.after[key] = settle(alert, clocks.get((alert.symbol or "", _clock_of(alert.scope))))

    def catch_up(self) -> None:
        """What was too old to be told and goes on now is told."""
        for key, before in self.before.items():
            now = self.after.get(key, before)
            goes_on = now.last_candle > before.last_candle and now.status == "open" and not now.is_withdrawn
            if before.state == "history" and goes_on and now.symbols is None and not is_old(now, self.send_from):
                self.untold.add(key)
                self.after[key] = replace(now, state="new")

    def gather(self) -> None:
        """The groups of all causes that an alert belongs to, or belonged to, which changed."""
        width, rule = self.alerting.group.within_minutes, self.alerting.group
        changed = [key for key in {*self.before, *self.after} if self.before.get(key) != self.after.get(key)]
        both = (of.get(key) for key in changed for of in (self.before, self.after))
        causes = sorted({cause for one in both if one is not None and (cause := cause_of(one, width)) is not None})
        if not causes:
            return
        self.read(read_causes(self.conn, causes, timedelta(minutes=width)))
        self.read(read_alerts(self.conn, [cause.key for cause in causes]))
        members: dict[Cause, list[Standing]] = defaultdict(list)
        for one in self.after.values():
            if (cause := cause_of(one, width)) is not None:
                members[cause].append(one)
        least = needed(rule.min_symbols, rule.min_share, len(self.asset_classes))
        mutes = self._mutes()
        for cause in causes:
            gathered = gather(cause, members[cause], self.after.get(cause.key), self.untold, least)
            self.after.update((one.alert_key, one) for one in gathered.members)
            if gathered.is_gone:
                self._forget([cause.key])
            if gathered.group is not None:
                self._take_group(gathered.group, gathered.members, mutes)

    def mute(self) -> None:
        """What is new and muted now is told to nobody."""
        alone = [key for key in self.untold if self.after[key].symbols is None and self.after[key].state == "new"]
        mutes = self._mutes() if alone else []
        for key in alone:
            if why := self._why_muted(self.after[key], mutes):
                self.why[key] = why
                self.after[key] = replace(self.after[key], state="muted")

    def tell_together(self, order: Sequence[str]) -> None:
        """Of what several rules say of an instrument at once, one alert is told and names the others."""
        if not self.alerting.group.rules_together:
            return
        within = timedelta(minutes=self.alerting.group.within_minutes)
        begun = [self.after[key] for key in self.untold if self.after[key].state == "new"]
        places = sorted({place for one in begun if (place := place_of(one, within)) is not None})
        rows = read_told(
            self.conn,
            places,
            within,
            [*self.untold, *self.gone, *(key for key, one in self.after.items() if one.is_withdrawn)],
        )
        told = [Told(Place(*row[:3]), *row[3:]) for row in rows]
        told_by = tell_together(begun, told, within, order)
        self.says_too = named(told_by, self.after)
        for key, teller in told_by.items():
            self.after[key] = replace(self.after[key], state="grouped", told_by=teller)

    def _mutes(self) -> list[Mute]:
        return [Mute(**row) for row in read_mutes(self.conn, self.now)]

    def _take_group(self, group: Standing, members: Sequence[Standing], mutes: Sequence[Mute]) -> None:
        before = self.before.get(group.alert_key)
        if before is None:
            self.fresh.add(group.alert_key)
        if group.state == "new" and (before is None or before.state == "history"):
            whys = {self._why_muted(one, mutes) for one in members if one.state == "grouped"}
            if None not in whys:
                group = replace(group, state="muted")
                self.why[group.alert_key] = ", ".join(sorted(why for why in whys if why))
        self.after[group.alert_key] = group

    def _why_muted(self, alert: Standing, mutes: Sequence[Mute]) -> str | None:
        return muted_by(alert, self.now, mutes, self.alerting.maintenance)

    def write(self) -> Written:
        """Everything that is not as it was; the oldest first."""
        changed = [one for key, one in self.after.items() if self.before.get(key) != one or key in self.fresh]
        changed.sort(key=lambda one: (one.candle_start, one.symbol or "", one.rule, one.alert_key))
        events, messages = [], []
        for one in changed:
            before = None if one.alert_key in self.fresh else self.before.get(one.alert_key)
            events += what_happened(before, one, self.now, why=self.why.get(one.alert_key))
            if one.state == "new" and (before is None or before.state != "new"):
                messages.append(message_of(one, mark=self.says_too.get(one.alert_key, "")))
            is_told = one.state in ("new", "sent") and not one.is_withdrawn
            if self.alerting.send_resolved and is_told and one.status == "resolved" and _was_open(before):
                messages.append(message_of(one, "resolved", key=f"{one.alert_key}:resolved:{iso(one.ends)}"))
        forget_alerts(self.conn, self.gone)
        write_alerts(self.conn, [row_of(one) for one in changed])
        write_history(self.conn, [event.row() for event in events])
        queue_messages(self.conn, messages)
        new = [self.after[key] for key in self.fresh if self.after[key].symbols is None]
        return Written(
            new=len(new),
            too_old=sum(1 for one in new if one.state == "history"),
            withdrawn=sum(1 for key in self.gone - self.fresh if self.before[key].symbols is None),
        )


def _was_open(before: Standing | None) -> bool:
    return before is None or before.status != "resolved"


def _clock_of(scope: str) -> str:
    """A source is judged by the clock of its instrument."""
    return "portfolio" if scope == "portfolio" else "instrument"
