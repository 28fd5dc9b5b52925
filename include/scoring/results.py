"""What `quantstream score` finds out, as data: on the simulator, on NAB's series and on events in real candles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from include.scoring.match import Delays, Judged

PAGING: Final = ("warning", "critical")
"""Severities that somebody is paged for. What is `info` is a signal: looked up, not a reason to get up."""

_PRICE: Final = ("price_spike", "crash")
MEANT: Final[Mapping[str, tuple[str, ...]]] = {
    "zscore": _PRICE, "robust_zscore": _PRICE, "range_break": _PRICE, "bollinger_break": _PRICE, "move": _PRICE,
    "change": _PRICE, "vwap_deviation": _PRICE, "volatility_regime": _PRICE, "fat_finger": ("price_spike",),
    "spread_blowout": _PRICE, "volume_shock": ("volume_shock",), "seasonal": ("volume_shock",),
    "frozen_feed": ("frozen_feed",), "missing_data": ("gap",), "isolation_forest": (*_PRICE, "volume_shock"),
    "half_space_trees": (*_PRICE, "volume_shock"),
}  # fmt: skip
"""Which of the simulator's shocks a rule is meant to find. One that is not here is meant to find all of `AIMED`."""
AIMED: Final = (*_PRICE, "volume_shock", "frozen_feed", "gap")
"""All but a malformed row: that is one minute without a candle, which is no reason to alert."""


@dataclass(frozen=True, slots=True)
class RuleScore:
    """One rule, or several together. `by_kind`: recall of each kind of shock, whether it is meant to find it or not."""

    severity: str
    meant: tuple[str, ...]
    judged: Judged
    by_kind: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class KindScore:
    """One kind of shock: how many there are, how many were found by what pages somebody, and how late."""

    labels: int
    found: int
    recall: float | None
    delays: Delays | None
    delay_minutes: Sequence[float] = field(repr=False, default=())


@dataclass(frozen=True, slots=True)
class SimulatorScore:
    """The simulator's shocks of `days` from `start` on. `together`: all rules that page somebody.

    `called`: the alerts among these that are sent, one where several rules speak of an instrument at once.

    `left_out`: rules that were not judged, with the reason.
    """

    seed: int
    start: str
    days: float
    instruments: int
    candles: int
    grace_minutes: float
    aftermath_minutes: float
    kinds: Mapping[str, KindScore]
    rules: Mapping[str, RuleScore]
    together: RuleScore
    called: RuleScore
    left_out: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class NabDetector:
    """One detector on NAB's series: its score at the best threshold for all series, and at the configured one.

    `published` is NAB's own figure over its 58 series, where there is one. Thresholds are multiples of the configured.
    """

    score: float
    threshold: float
    found: int
    false: int
    as_configured: float | None = None
    false_as_configured: int | None = None
    published: float | None = None


@dataclass(frozen=True, slots=True)
class NabScores:
    """All detectors by name. `rows` and `windows` of all `series` together."""

    series: int
    rows: int
    windows: int
    rules: Mapping[str, NabDetector]
    baselines: Mapping[str, NabDetector]
    left_out: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class EventKind:
    """Events of a kind in real candles; `in_time` of them were told within two minutes, `new` by an alert of their own.

    The others of those in time were told by an alert that was open already. `delays` are of all that were told.
    """

    events: int
    told: int
    in_time: int
    new: int
    delays: Delays | None
    late: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class EventRule:
    """A rule on real candles: how many events it told of in time, alerts, and those outside of all events by day."""

    severity: str
    in_time: int
    alerts: int
    outside: int
    outside_per_instrument_day: float


@dataclass(frozen=True, slots=True)
class EventsScore:
    """Events in real candles. `instrument_days`: days with candles, summed up over instruments."""

    candles: int
    instruments: int
    instrument_days: int
    kinds: Mapping[str, EventKind]
    rules: Mapping[str, EventRule]
    seconds: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Everything; None where it was not asked for, or where `missing` says why it could not be."""

    simulator: SimulatorScore | None = None
    nab: NabScores | None = None
    events: EventsScore | None = None
    missing: str | None = None
