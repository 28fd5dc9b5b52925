"""Scores as pictures: what each rule finds and says for nothing, how late, and NAB's scale."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from include.scoring.results import PAGING, NabScores, Scores, SimulatorScore

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI: Final = 100
_OURS, _THEIRS, _WRONG, _GREY = "#1e88e5", "#9e9e9e", "#ef5350", "#eceff1"


def draw(scores: Scores) -> dict[str, bytes]:
    """PNGs by name (without the ending). Needs no display."""
    found: dict[str, bytes] = {}
    if scores.simulator:
        found["scores-rules"] = _png(_rules(scores.simulator))
        found["scores-delays"] = _png(_delays(scores.simulator))
    if scores.nab:
        found["scores-nab"] = _png(_nab(scores.nab))
    return found


def _figure(height: float, panels: int, **more: Any) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.8, height), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False, **more)[0])


def _rules(score: SimulatorScore) -> Figure:
    """Recall by rule and kind of shock as a map, false alerts beside it."""
    names, kinds = list(score.rules), list(score.kinds)
    figure, (left, right) = _figure(1.6 + 0.32 * len(names), 2, sharey=True, width_ratios=[1.6, 1])
    recall = np.array(
        [[_number(score.rules[name].by_kind.get(kind)) for kind in kinds] for name in names], dtype=np.float64
    ).reshape(len(names), len(kinds))
    left.imshow(recall, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    for row, name in enumerate(names):
        for column, kind in enumerate(kinds):
            value = recall[row, column]
            weight = "bold" if kind in score.rules[name].meant else None
            if not np.isnan(value):
                colour = "white" if value > 0.6 else "#37474f"
                left.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, weight=weight, size=9)
    left.set_xticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
    left.set_yticks(range(len(names)), names)
    left.set_title("recall by rule (bold: what it is meant to find)", loc="left", fontsize=11)
    wrong = [score.rules[name].judged.wrong_per_instrument_day for name in names]
    colours = [_WRONG if score.rules[name].severity in PAGING else _THEIRS for name in names]
    right.barh(range(len(names)), wrong, color=colours)
    right.axvline(1.0, color="#37474f", linewidth=1, linestyle=":")
    right.set_xscale("symlog", linthresh=0.1)
    right.set_xlim(0, max(10.0, *(1.5 * one for one in wrong)) if wrong else 1)
    right.set_title("false alerts per instrument and day (grey: info)", loc="left", fontsize=11)
    _plain(right)
    return figure


def _delays(score: SimulatorScore) -> Figure:
    """How many minutes each kind of shock took to be found."""
    kinds = {kind: one for kind, one in score.kinds.items() if one.delay_minutes}
    figure, panels = _figure(3.2, max(len(kinds), 1), sharey=True)
    for panel, (kind, one) in zip(panels, kinds.items(), strict=False):
        longest = int(max(one.delay_minutes)) + 1
        shares = np.full(len(one.delay_minutes), 1 / len(one.delay_minutes))
        panel.hist(one.delay_minutes, bins=[0.5 + n for n in range(longest + 1)], weights=shares, color=_OURS)
        panel.set_title(f"{kind.replace('_', ' ')} ({one.found} of {one.labels})", loc="left", fontsize=10)
        panel.set_xlabel("minutes")
        panel.set_ylim(0, 1)
        _plain(panel)
    panels[0].set_ylabel("share of those found")
    return figure


def _nab(score: NabScores) -> Figure:
    """All detectors on NAB's scale, the best on top."""
    everyone: Mapping[str, Any] = {**score.rules, **score.baselines}
    names = sorted(everyone, key=lambda name: everyone[name].score)
    figure, (panel,) = _figure(1.4 + 0.34 * len(names), 1)
    colours = [_THEIRS if name in score.baselines else _OURS for name in names]
    panel.barh(names, [everyone[name].score for name in names], color=colours)
    label: str | None = "published over all 58 series"
    for place, name in enumerate(names):
        if everyone[name].published is not None:
            panel.plot(everyone[name].published, place, "D", color="#37474f", markersize=6, label=label)
            label = None
    label = "at the configured threshold"
    for place, name in enumerate(names):
        if everyone[name].as_configured is not None and everyone[name].as_configured >= 0:
            panel.plot(everyone[name].as_configured, place, "o", color="#ff8f00", markersize=6, label=label)
            label = None
    panel.set_xlim(0, 100)
    panel.set_title(
        f"NAB, standard profile, {score.series} series with {score.windows} windows (grey: NAB's own detectors)",
        loc="left", fontsize=11,
    )  # fmt: skip
    panel.legend(loc="lower right", fontsize=9, frameon=False)
    _plain(panel)
    return figure


def _plain(panel: Axes) -> None:
    panel.grid(color=_GREY, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _png(figure: Figure) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    return drawn.getvalue()
