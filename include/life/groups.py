"""One cause, one alert: when many instruments do the same at once, they are told together.

What begins in the same minutes, found by the same rule in the same direction, has one cause. The minutes are fixed
(with 2: 09:00 and 09:01, 09:02 and 09:03, ...), so a group does not depend on which of its members came first.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from include.alerts import Alert
from include.life.chains import higher
from include.life.standing import Standing

NAMED: Final = 5
"""How many members the sentence names; all of them are in `symbols`."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Cause(NamedTuple):
    """What the members of a group share; `begins` is the first of its minutes."""

    rule: str
    scope: str
    direction: str
    begins: datetime

    @property
    def key(self) -> str:
        """The key of the group's alert."""
        return Alert(
            self.rule, "market", "info", "", candle_start=self.begins, discriminator=f"group:{self.direction}"
        ).key


@dataclass(frozen=True, slots=True)
class Gathered:
    """A group and its members as they stand; `group` is None where they have none. `is_gone`: it had one."""

    members: list[Standing]
    group: Standing | None = None
    is_gone: bool = False


def needed(min_symbols: int, min_share: float, instruments: int) -> int:
    """How many instruments make a group where so many are known."""
    return max(min_symbols, math.ceil(min_share * instruments - 1e-9))


def cause_of(alert: Standing, within_minutes: int) -> Cause | None:
    """The cause that an alert may share with others; None for a group and for portfolios."""
    if alert.symbols is not None or alert.scope == "portfolio":
        return None
    begins = first_of(alert.candle_start, timedelta(minutes=within_minutes))
    return Cause(alert.rule, alert.scope, alert.direction, begins)


def first_of(at: datetime, width: timedelta) -> datetime:
    """The first of the fixed minutes that this one belongs to."""
    return _EPOCH + (at - _EPOCH) // width * width


def gather(
    cause: Cause, members: Sequence[Standing], before: Standing | None, fresh: Collection[str], least: int
) -> Gathered:
    """The group of these members (all alerts of one cause, settled), given the one that stands.

    `fresh` are the keys of those that nobody was told yet: in a group they are `grouped`, unless they are too old to be
    told at all. A group that was told stays as long as it has a member; one that nobody was told follows the numbers.
    """
    holding = sorted((one for one in members if not one.is_withdrawn), key=lambda one: (one.symbol or "", one.source))
    symbols = tuple(sorted({one.symbol for one in holding if one.symbol}))
    stands = len(symbols) >= least or (before is not None and before.is_kept and bool(symbols))
    if not stands:
        alone = [replace(one, group_key=None) for one in members]
        if before is not None and before.is_kept:  # nothing is left of it
            return Gathered(alone, replace(before, status="resolved", is_withdrawn=True, finding_count=0, symbols=()))
        return Gathered(alone, None, is_gone=before is not None)
    group = _group(cause, holding, symbols, before)
    joined = []
    for one in members:
        is_told_here = one.alert_key in fresh and one.state == "new" and not one.is_withdrawn
        joined.append(
            replace(
                one,
                group_key=None if one.is_withdrawn else group.alert_key,
                state="grouped" if is_told_here else one.state,
            )
        )
        if is_told_here and group.state == "history":
            group = replace(group, state="new")
    return Gathered(joined, group)


def _group(cause: Cause, holding: Sequence[Standing], symbols: tuple[str, ...], before: Standing | None) -> Standing:
    strongest = max(holding, key=lambda one: one.strength)  # of equal ones the first by symbol
    severity = holding[0].severity
    for one in holding:
        severity = higher(severity, one.severity)
    classes = {one.asset_class for one in holding}
    others = [symbol for symbol in symbols if symbol != strongest.symbol]
    more = f" and {len(others) - NAMED + 1} more" if len(others) > NAMED - 1 else ""
    head = f"{len(symbols)} instruments at once, {cause.rule} {cause.direction}".rstrip()
    others_named = f"; also {', '.join(others[: NAMED - 1])}{more}"
    message = f"{head}: {strongest.symbol}: {strongest.message}{others_named}"
    longest = max(holding, key=lambda one: one.ends)
    group = Standing(
        alert_key=cause.key, rule=cause.rule, scope=cause.scope, symbol=None, source="", direction=cause.direction,
        candle_start=min(one.candle_start for one in holding), last_candle=max(one.last_candle for one in holding),
        finding_count=sum(one.finding_count for one in holding), cooldown_minutes=longest.cooldown_minutes,
        severity=severity, value=strongest.peak_value, threshold=strongest.peak_threshold, message=message,
        latest_message=f"{head}: {strongest.symbol}: {strongest.latest_message}{others_named}",
        peak_value=strongest.peak_value, peak_threshold=strongest.peak_threshold, peak_candle=strongest.peak_candle,
        measures=strongest.measures, asset_class=classes.pop() if len(classes) == 1 else None, state="history",
        symbols=symbols,
    )  # fmt: skip
    is_over = all(one.status == "resolved" for one in holding)
    if before is None:
        return replace(group, status="resolved", resolved_at=longest.ends) if is_over else group
    now = replace(
        group, severity=higher(group.severity, before.raised_to), state=before.state, updates=before.updates,
        acknowledged_at=before.acknowledged_at, acknowledged_by=before.acknowledged_by, status=before.status,
        resolved_at=before.resolved_at, resolved_by=before.resolved_by, raised_to=before.raised_to,
        escalations=before.escalations, escalated_at=before.escalated_at, sent_at=before.sent_at,
    )  # fmt: skip
    if before.is_kept and now != before:
        now = replace(now, updates=before.updates + 1)
    if before.resolved_by is not None:
        return now
    if is_over:
        return replace(now, status="resolved", resolved_at=longest.ends)
    return replace(now, status="acknowledged" if now.acknowledged_by else "open", resolved_at=None)
