"""How good a model is, on days that it was not trained on: which shocks it would find, and how often it would cry.

Both the new model and the one in use are asked about the same rows: quiet minutes of the held-out days as they were,
and the same minutes with shocks put in. All is counted at the same rate of false alarms: to be loud wins nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from include.models.detectors import Model
from include.models.features import RECENT, Flags
from include.models.seasonal import Ints, Numbers
from include.models.shocks import KINDS, LENGTH, Shocked

RATE: Final = 0.5  # false alarms per symbol and day at which shocks are counted
CEILING: Final = 1.0  # of those at the model's own threshold: above it, no model is approved
FLOOR: Final = {
    "isolation_forest": 0.25,
    "half_space_trees": 0.25,
    "seasonal": 0.15,
}  # of the shocks, for a first model
_KEPT: Final = 200  # highest quiet rows of a symbol that are remembered
_SEES: Final = {"seasonal": ("volume", "turbulence")}  # the others look at everything


@dataclass(frozen=True, slots=True)
class Scores:
    """`recall`: share of shocks found at `RATE` false alarms, of all kinds that the model looks at; 0 to 1.

    `alarms_per_day`: quiet minutes above the model's own threshold, per symbol and day of quiet minutes.
    """

    recall: float
    recall_by_kind: Mapping[str, float]
    alarms_per_day: float
    shocks: int
    quiet_days: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "recall": round(self.recall, 4),
            "recall_by_kind": {kind: round(share, 4) for kind, share in self.recall_by_kind.items()},
            "alarms_per_day": round(self.alarms_per_day, 4), "shocks": self.shocks,
            "quiet_days": round(self.quiet_days, 2),
        }  # fmt: skip


@dataclass(slots=True)
class Judging:
    """One model's results over the symbols so far. A margin is a score less its threshold."""

    name: str
    model: Model
    quiet: list[Numbers] = field(default_factory=list)
    quiet_rows: int = 0
    alarms: int = 0
    margins: list[Numbers] = field(default_factory=list)
    kinds: list[Ints] = field(default_factory=list)

    def take(self, symbol: str, minutes: Ints, columns: Mapping[str, Numbers], quiet: Flags, shocked: Shocked) -> None:
        """Judge the held-out rows of a symbol, as they were and with shocks. `quiet`: which rows count as quiet."""
        said = self.model.judge_series(symbol, minutes, columns)
        margins = (said.scores - said.thresholds)[quiet]
        margins = margins[np.isfinite(margins)]
        self.quiet_rows += int(quiet.sum())
        self.alarms += int((margins > 0).sum())
        self.quiet.append(np.sort(margins)[-_KEPT:])
        said = self.model.judge_series(symbol, minutes, shocked.columns)
        margins = np.where(np.isnan(said.scores), -np.inf, said.scores - said.thresholds)
        chosen = np.array([bool(quiet[row - RECENT : row + LENGTH].all()) for row in shocked.row], dtype=bool)
        if chosen.any():
            row = shocked.row[chosen]
            self.margins.append(np.max([margins[row + after] for after in range(LENGTH)], axis=0))
            self.kinds.append(shocked.kind[chosen])

    def finish(self) -> Scores:
        """The scores over all symbols."""
        quiet = np.sort(np.concatenate(self.quiet)) if self.quiet else np.zeros(0)
        days = self.quiet_rows / 1440
        allowed = int(RATE * days)
        level = quiet[-allowed - 1] if len(quiet) > allowed else -np.inf
        kinds = np.concatenate(self.kinds) if self.kinds else np.zeros(0, dtype=np.int64)
        found = np.concatenate(self.margins) > level if self.margins else np.zeros(0, dtype=bool)
        seen = [n for n, kind in enumerate(KINDS) if kind in _SEES.get(self.name, KINDS)]
        chosen = np.isin(kinds, seen)
        by_kind = {KINDS[n]: float(found[kinds == n].mean()) for n in seen if (kinds == n).any()}
        recall = float(found[chosen].mean()) if chosen.any() else 0.0
        return Scores(recall, by_kind, self.alarms / days if days else 0.0, int(chosen.sum()), days)


def verdict(name: str, new: Scores, used: Scores | None) -> tuple[bool, str]:
    """Whether a new model is approved, and why. `used`: of the one in use on the same days; None: there is none."""
    found = f"it finds {new.recall:.1%} of {new.shocks:,} shocks"
    if not new.shocks:
        return False, "the held-out days have no quiet stretch in which it could be tried; hold out more days"
    if new.alarms_per_day > CEILING:
        return False, f"{new.alarms_per_day:.2f} false alarms per symbol and day, and {CEILING:g} are the most"
    if used is None:
        if new.recall < FLOOR[name]:
            return False, f"{found}, and the first model has to find {FLOOR[name]:.0%}"
        return True, f"{found}, with {new.alarms_per_day:.2f} false alarms per symbol and day; it is the first"
    if new.recall < used.recall:
        return False, f"{found}, the one in use {used.recall:.1%}"
    return True, f"{found}, the one in use {used.recall:.1%}; {new.alarms_per_day:.2f} false alarms per symbol and day"
