"""Two detectors that NAB publishes scores of, to hold ours against on the same series.

Anomaly scores by row, from 0 to 1. Parameters are those that NAB tuned for them.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from include.scoring.nab import Numbers

PUBLISHED: Final = {"windowed Gaussian": 39.6, "Bayesian changepoint": 17.7}
"""NAB's own results by the standard profile, over all of its 58 series."""


def windowed_gaussian(values: Numbers, window: int = 6400, step: int = 100) -> Numbers:
    """1 less the tail probability of each value among those before it.

    The window grows to `window` values; from then on it moves on by `step` at a time.
    """
    sums, squares = np.cumsum(np.append(0.0, values)), np.cumsum(np.append(0.0, values**2))
    scores = np.zeros(len(values))
    for row in range(1, len(values)):
        until = row if row <= window else window + (row - window) // step * step
        since = max(0, until - window)
        mean = (sums[until] - sums[since]) / (until - since)
        variance = (squares[until] - squares[since]) / (until - since) - mean**2
        deviation = math.sqrt(variance) if variance > 1e-12 * mean**2 else 1e-6
        scores[row] = 1.0 - 0.5 * math.erfc(abs(values[row] - mean) / deviation / math.sqrt(2.0))
    return scores


def bayesian_changepoint(values: Numbers, longest: int = 500, expected: float = 250.0) -> Numbers:
    """Online changepoint detection by Adams and MacKay (2007): by how much the likeliest run grows shorter.

    Runs of up to `longest` rows are told apart; a change is expected every `expected` rows. Values are Student's t.
    """
    alpha = 0.1 + 0.5 * np.arange(longest + 1)
    kappa = 1.0 + np.arange(longest + 1)
    height = np.array([math.lgamma(a + 0.5) - math.lgamma(a) for a in alpha]) - 0.5 * np.log(2 * math.pi * alpha)
    mean, beta = np.zeros(1), np.full(1, 0.001)
    runs = np.ones(1)  # probability of each length of the run before this row
    scores, before = np.zeros(len(values)), 1
    for row, value in enumerate(values):
        known = len(runs)
        square = beta * (kappa[:known] + 1) / (alpha[:known] * kappa[:known])
        distance = (value - mean) ** 2
        log = height[:known] - 0.5 * np.log(square) - (alpha[:known] + 0.5) * np.log1p(
            distance / square / (2 * alpha[:known])
        )  # fmt: skip
        likely = runs * np.exp(log - log.max())
        grown = np.concatenate([[likely.sum() / expected], likely * (1 - 1 / expected)])
        grown /= grown.sum()
        beta = np.concatenate([[0.001], beta + kappa[:known] * distance / (2 * (kappa[:known] + 1))])[: longest + 1]
        mean = np.concatenate([[0.0], (kappa[:known] * mean + value) / (kappa[:known] + 1)])[: longest + 1]
        now = int(grown.argmax())
        scores[row] = 1 - now / before if now < before else 0.0
        runs, before = grown[: longest + 1], now
    return scores
