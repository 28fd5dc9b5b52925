"""The isolation forest as arrays says what scikit-learn's says, without it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from include.models.forest import train_forest
from include.settings import ROOT


def test_its_score_is_that_of_scikit_learn() -> None:
    from sklearn.ensemble import IsolationForest

    random = np.random.default_rng(1)
    rows = random.normal(size=(600, 4))
    asked = np.concatenate([random.normal(size=(200, 4)) * 3, [[50.0, 0, 0, 0], [0.0, 0, 0, 0]]])
    theirs = IsolationForest(n_estimators=30, max_samples=128, random_state=5).fit(rows.astype(np.float32))
    ours = train_forest(rows, trees=30, sample=128, seed=5).score(asked)
    np.testing.assert_allclose(ours, -theirs.score_samples(asked.astype(np.float32)), atol=1e-9, rtol=0)
    assert min(ours[-2], ours[:200].mean()) > ours[-1]


def test_scoring_does_not_import_scikit_learn() -> None:
    code = (
        "import sys, include.models.artifact, include.models.judging, include.models.learning\n"
        "print([name for name in ('sklearn', 'scipy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
