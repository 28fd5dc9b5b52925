"""A model as arrays: the same after reading it back, and refused if one bit differs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from include.models.artifact import Artifact, DamagedError, pack, unpack
from include.models.detectors import Model
from include.models.learning import NAMES, Learning, TrainParams
from tests.models.market import quiet

PARAMS = TrainParams(forest_trees=10, half_space_trees=25, half_space_height=8, half_space_window=1000)


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    learning = Learning(PARAMS, 48, {"equity": 1, "crypto": 1})
    for seed, (symbol, asset_class) in enumerate([("AAPL", "equity"), ("BTC-USD", "crypto")]):
        learning.take(symbol, asset_class, *quiet(7, seed))
    return {name: learning.finish(name) for name in NAMES}


def packed(name: str, model: Model, day: int = 12) -> Artifact:
    return pack(
        name, model, trained_from=datetime(2026, 1, 5, tzinfo=UTC), trained_until=datetime(2026, 1, day, tzinfo=UTC),
        data_sha256="0" * 64, params={}, scores={"recall": 1},
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_is_read_back_says_the_same(models: dict[str, Model], name: str) -> None:
    artifact = packed(name, models[name])
    again = unpack(name, artifact.arrays, artifact.json, sha256=artifact.sha256)
    minutes, columns = quiet(1, seed=9)
    columns["volume"][700:] *= 1000
    was, now = (one.judge_series("BTC-USD", minutes, columns) for one in (models[name], again))
    np.testing.assert_array_equal(was.scores, now.scores)
    assert now.is_unusual[700] and now.is_unusual[:700].sum() < 5
    assert np.isfinite(now.measures["volume"][0][700])
    assert np.isnan(again.judge_series("NEW", minutes, columns).scores).all()


def test_the_version_follows_from_arrays_and_window(models: dict[str, Model]) -> None:
    model = models["seasonal"]
    assert packed("seasonal", model).version == packed("seasonal", model).version
    assert packed("seasonal", model).version != packed("seasonal", model, day=13).version


def test_what_was_changed_is_refused(models: dict[str, Model]) -> None:
    artifact = packed("seasonal", models["seasonal"])
    other = packed("isolation_forest", models["isolation_forest"])
    bad = bytearray(artifact.arrays)
    bad[100] ^= 1
    for name, arrays, said, why in [
        ("seasonal", bytes(bad), artifact, r"model\.npz is not what was written"),
        ("seasonal", other.arrays, artifact, r"model\.npz is not what was written"),
        ("seasonal", other.arrays, other, "it is isolation_forest"),
    ]:
        with pytest.raises(DamagedError, match=why):
            unpack(name, arrays, said.json, sha256=said.sha256)
    with pytest.raises(DamagedError, match=r"model\.json is not what was written"):
        unpack("seasonal", artifact.arrays, artifact.json, sha256="0" * 64)


def test_nothing_that_runs_code_is_read() -> None:
    evil = Artifact(b"\x80\x04not a zip", {"format": 1, "name": "seasonal", "version": "0"})
    from hashlib import sha256

    evil = replace(evil, about={**evil.about, "arrays_sha256": sha256(evil.arrays).hexdigest()})
    with pytest.raises(DamagedError, match="it cannot be read"):
        unpack("seasonal", evil.arrays, evil.json, sha256=evil.sha256)
