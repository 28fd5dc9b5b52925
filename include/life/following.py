"""From the chains of a series to its alerts, given the alerts that stand.

An alert of a chain has the key of its first finding. What somebody was told of keeps its key: for the question which
chain it belongs to, it counts like findings at the candles that it stands for. So late data that move the beginning of
a chain change that alert, and call nobody a second time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from include.life.chains import Chain, Series, chains
from include.life.standing import Standing, begun, key_of


@dataclass(frozen=True, slots=True)
class Followed:
    """The alerts of a series after a change: those that go on, those that begin, and keys of those to forget."""

    standing: list[Standing] = field(default_factory=list)
    begun: list[Standing] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def follow(
    series: Series, links: Iterable[Chain], before: Sequence[Standing], asset_class: str | None = None
) -> Followed:
    """The alerts of these findings (as links, in any order), given those `before` of the same series and stretch.

    What begins has the state `history` until somebody decides. A kept alert that no chain is left for is withdrawn.
    """
    made = chains(links)
    owners, orphans = _owners(made, [one for one in before if one.is_kept])
    untold = {one.alert_key: one for one in before if not one.is_kept}
    followed = Followed()
    for chain in made:
        new = begun(series, chain, asset_class)
        owner = owners.get(chain.first) or untold.pop(new.alert_key, None)
        if owner is None:
            followed.begun.append(new)
        else:
            followed.standing.append(told(owner, chain))
    for one in orphans:
        followed.standing.append(one if one.is_withdrawn else replace(one, is_withdrawn=True, finding_count=0))
    followed.gone.extend(sorted(untold))
    return followed


def told(alert: Standing, chain: Chain) -> Standing:
    """The alert, saying what this chain says; the same object if it says that already."""
    now = replace(alert, **alert.says(chain))
    if now == alert:
        return alert
    return replace(now, updates=alert.updates + 1) if alert.is_kept else now


def _owners(made: Sequence[Chain], kept: Sequence[Standing]) -> tuple[dict[datetime, Standing], list[Standing]]:
    """Whose each chain is, by its first candle, and the kept alerts that got none. The earlier alert comes first."""
    owners: dict[datetime, Standing] = {}
    orphans = []
    for one in sorted(kept, key=lambda alert: (alert.candle_start, alert.alert_key)):
        near = (c.first for c in made if c.first <= one.ends and one.candle_start <= c.ends and c.first not in owners)
        first = next(near, None)
        if first is None:
            orphans.append(one)
        else:
            owners[first] = one
    return owners, orphans


def can_append(before: Sequence[Standing], new_from: datetime) -> bool:
    """Whether findings from `new_from` on can be added to what stands, without the earlier findings.

    Only where all else lies before them and holds; `before` are the alerts of the same series and stretch.
    """
    return all(one.last_candle < new_from and not one.is_withdrawn for one in before)


def append(
    series: Series, links: Sequence[Chain], before: Sequence[Standing], asset_class: str | None = None
) -> Followed:
    """As `follow`, for new findings after all that stands: the newest alert goes on, or another one begins."""
    if not before:
        return follow(series, links, [], asset_class)
    newest = max(before, key=lambda alert: alert.last_candle)
    return follow(series, [newest.chain, *links], [newest], asset_class)


def settle(alert: Standing, clock: datetime | None) -> Standing:
    """The alert with the status that it has when its symbol is judged up to the candle `clock` (its start, UTC).

    It is over when a finding could no longer go on with it. What somebody resolved stays so.
    """
    if alert.resolved_by is not None:
        return alert
    if alert.is_withdrawn or (clock is not None and clock > alert.ends):
        return replace(alert, status="resolved", resolved_at=alert.ends)
    return replace(alert, status="acknowledged" if alert.acknowledged_by else "open", resolved_at=None)


def is_old(alert: Standing, send_from: datetime | None) -> bool:
    """Whether its last candle is too old to tell anybody (None: no candle is)."""
    return send_from is not None and alert.last_candle < send_from


def with_free_key(alert: Standing, taken: Collection[str]) -> Standing:
    """Where an alert of another direction was told under its key, since late data turned that candle round: another."""
    if alert.alert_key not in taken:
        return alert
    other = alert.series._replace(source=f"{alert.source}:{alert.direction}")
    return replace(alert, alert_key=key_of(other, alert.candle_start))
