"""Shocks put into quiet candles on purpose, to see what a model would find. Seeded: the same rows, the same shocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from include.models.features import RECENT
from include.models.seasonal import Ints, Numbers

KINDS: Final = ("price", "volume", "spread", "turbulence")
APART: Final = 180  # rows from one shock to the next
LENGTH: Final = 5  # rows a shock is looked for in
_JUMP: Final = 12.0  # deviations of a price shock
_VOLUME: Final = 20.0  # times the volume, for three minutes
_SPREAD: Final = 15.0  # times the spread, for three minutes
_TURBULENCE: Final = 8.0  # times the moves, for five minutes


class Shocked(NamedTuple):
    """The rows with shocks in them: `kind` is the place in `KINDS`, `row` where each begins."""

    columns: dict[str, Numbers]
    kind: Ints
    row: Ints


def inject(columns: Mapping[str, Numbers], minutes: Ints, *, seed: int) -> Shocked:
    """Put a shock into every stretch of `APART` rows of one symbol, of the kinds in turn, each at a place by chance.

    What follows from a price follows from the shocked one: `volatility_20` is made again. The closes after a price
    shock stay where it took them. No shock where minutes are missing around it.
    """
    random = np.random.default_rng(seed)
    changed = {name: values.copy() for name, values in columns.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        moves = np.diff(np.log(columns["close"]), prepend=np.nan)
    kinds, rows = [], []
    for number, first in enumerate(range(0, len(minutes) - APART + 1, APART)):
        row = first + int(random.integers(2 * RECENT, APART - LENGTH - RECENT))
        side = 1.0 if random.random() < 0.5 else -1.0
        around = slice(row - RECENT, row + LENGTH)
        whole = minutes[row + LENGTH - 1] - minutes[row - RECENT] == LENGTH + RECENT - 1
        kind = (number + seed) % len(KINDS)
        column = {"volume": "volume", "spread": "spread"}.get(KINDS[kind], "close")
        if not whole or not np.isfinite(columns[column][around]).all():
            continue
        if KINDS[kind] == "price":
            moves[row] += side * _JUMP * columns["volatility_20"][row - 1]
        elif KINDS[kind] == "turbulence":
            moves[row : row + LENGTH] *= _TURBULENCE
        else:
            changed[column][row : row + 3] *= _VOLUME if column == "volume" else _SPREAD
        kinds.append(kind)
        rows.append(row)
    _follow(changed, moves)
    return Shocked(changed, np.array(kinds, dtype=np.int64), np.array(rows, dtype=np.int64))


def _follow(changed: dict[str, Numbers], moves: Numbers) -> None:
    """The closes and their volatility as these moves make them, from the first close on."""
    if not moves.size:
        return
    path = np.log(changed["close"][0]) + np.cumsum(np.where(np.isfinite(moves), moves, 0.0))
    changed["close"] = np.where(np.isfinite(changed["close"]), np.exp(path), np.nan)
    if len(moves) <= RECENT:
        return
    windows = np.lib.stride_tricks.sliding_window_view(moves, RECENT)[1:]  # the first move of all is not known
    changed["volatility_20"] = np.concatenate([changed["volatility_20"][:RECENT], windows.std(axis=1, ddof=1)])
