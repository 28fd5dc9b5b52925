"""A quiet market by chance, seeded: closes, volumes, volatility and spreads of so many minutes."""

from __future__ import annotations

import numpy as np

from include.models.seasonal import Ints, Numbers

MONDAY = 20_458 * 1440
"""2026-01-05 00:00 UTC, in minutes since 1970."""


def quiet(days: float, seed: int = 0) -> tuple[Ints, dict[str, Numbers]]:
    """Every minute from Monday on."""
    random, many = np.random.default_rng(seed), int(days * 1440)
    moves = random.normal(0, 1e-3, many)
    volatility = np.full(many, np.nan)
    volatility[20:] = np.lib.stride_tricks.sliding_window_view(moves, 20)[1:].std(axis=1, ddof=1)
    columns = {
        "close": 100 * np.exp(np.cumsum(moves)), "volume": np.exp(random.normal(7, 0.4, many)),
        "volatility_20": volatility, "spread": np.exp(random.normal(1, 0.2, many)),
    }  # fmt: skip
    return MONDAY + np.arange(many), columns
