"""How well the configured rules and models do: on the simulator's labelled shocks.

The simulator's market goes straight to candles and indicators, and these through the engine that detection uses; what
it finds becomes alerts, and these are held against what the simulator did on purpose. Nothing is written anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Final, NamedTuple

from include.detection.config import Detection
from include.detection.findings import Finding
from include.events import Window
from include.instruments import Instrument
from include.life.config import Grouping
from include.life.together import tell_together
from include.pipeline.score_columns import rows_of
from include.pipeline.score_findings import find, judged_rules, raise_alerts
from include.pipeline.score_market import labels_of, simulate
from include.pipeline.score_models import train_for_score
from include.scoring.chains import Raised
from include.scoring.match import MINUTE, Around, Label, delays_of, judge, spread
from include.scoring.results import AIMED, MEANT, PAGING, KindScore, RuleScore, SimulatorScore
from include.sources.shocks import NAMES

START: Final = datetime(2026, 10, 1, tzinfo=UTC)
"""Always the same days, so that the same seed gives the same scores."""
BEFORE: Final = timedelta(days=1)
"""What rules may look back at before the first day counts."""

Progress = Callable[[str, int], Callable[[], None]]
"""Told what is done and in how many steps; what comes back is called after each."""


def score_simulator(
    detection: Detection,
    instruments: Sequence[Instrument],
    *,
    seed: int,
    days: float,
    progress: Progress = lambda _what, _steps: lambda: None,
    around: Around | None = None,
) -> SimulatorScore:
    """Judge every enabled rule on the simulator's market of `days` from `START` on."""
    began, around = perf_counter(), around or Around()
    window = Window(START, START + timedelta(days=days))
    simulated = Window(START - BEFORE, window.end)
    models = train_for_score(detection, instruments, seed=seed, until=simulated.start, progress=progress)
    rules, left_out = judged_rules(detection, models)
    tick = progress("simulating", int((simulated.end - simulated.start) / timedelta(hours=1)))
    frames = simulate(seed, instruments, simulated, tick)
    tick = progress("judging", len(instruments))
    raised: list[Raised] = []
    candles = 0
    for one in instruments:
        rows = rows_of(one.symbol, frames.pop(one.symbol), one.calendar)
        found = find(rows, detection, one.asset_class, models)
        raised += raise_alerts(_inside(found, window))
        candles += sum(at >= window.start for at in rows.at)
        tick()
    labels = labels_of(seed, instruments, window)
    kinds = [name for name in NAMES if any(label.kind == name for label in labels)]
    many = len(instruments)

    def score(alerts: Sequence[Raised], severity: str, meant: Sequence[str]) -> RuleScore:
        judged = judge(alerts, labels, kinds=meant, instruments=many, days=days, around=around)
        by_kind = {
            kind: judge(alerts, labels, kinds=[kind], instruments=many, days=days, around=around).recall
            for kind in kinds
        }
        return RuleScore(severity, tuple(meant), judged, by_kind)

    paging = [one for one in raised if one.severity in PAGING]
    of_rules = {
        rule: score(
            [one for one in raised if one.rule == rule],
            detection.params(rule, "", None).severity,
            [kind for kind in MEANT.get(rule, AIMED) if kind in kinds],
        )
        for rule in rules
    }
    about = (" and ".join(PAGING), [kind for kind in AIMED if kind in kinds])
    together = score(paging, *about)
    return SimulatorScore(
        seed, f"{START:%Y-%m-%d}", days, many, candles, around.grace / MINUTE, around.aftermath / MINUTE,
        {kind: _of_kind(kind, paging, labels, around) for kind in kinds},
        of_rules, together, score(called(paging, rules, Grouping()), *about), left_out,
        round(perf_counter() - began, 1),
    )  # fmt: skip


class _Begun(NamedTuple):
    alert_key: str
    rule: str
    scope: str
    symbol: str
    direction: str
    severity: str
    candle_start: datetime


def called(alerts: Sequence[Raised], order: Sequence[str], group: Grouping) -> list[Raised]:
    """Those of the alerts that are sent where no instruments are grouped: the others are named in them."""
    begun = [
        _Begun(str(place), one.rule, "instrument", one.symbol, one.direction, one.severity, one.opened)
        for place, one in enumerate(alerts)
    ]
    told_by = tell_together(begun, (), timedelta(minutes=group.within_minutes), order)
    return [one for place, one in enumerate(alerts) if str(place) not in told_by]


def _inside(findings: Sequence[Finding], window: Window) -> list[Finding]:
    return [one for one in findings if window.start <= one.candle_start < window.end]


def _of_kind(kind: str, alerts: Sequence[Raised], labels: Sequence[Label], around: Around) -> KindScore:
    wanted = [label for label in labels if label.kind == kind]
    delays = list(delays_of(alerts, wanted, around).values())
    return KindScore(
        len(wanted), len(delays), len(delays) / len(wanted) if wanted else None, spread(delays), tuple(delays)
    )
