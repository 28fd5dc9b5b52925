"""A model on disk: arrays in an .npz file, and a JSON file that says what they are and what they were made of.

Arrays alone: nothing in them runs when they are read (`allow_pickle=False`), and they read the same in ten years. The
version is a hash of the arrays and of what they were trained on, so the same training gives the same version.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from importlib.metadata import version as installed
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from include.models.detectors import Group, Model, Outliers, Seasonal
from include.models.features import FEATURES
from include.models.forest import Forest
from include.models.seasonal import QUANTITIES, Baseline
from include.models.trees import HalfSpaceTrees

Arrays = dict[str, npt.NDArray[Any]]

_FORMAT: Final = 1
_SCORERS: Final[dict[str, type[Forest] | type[HalfSpaceTrees]]] = {
    "isolation_forest": Forest,
    "half_space_trees": HalfSpaceTrees,
}


class DamagedError(ValueError):
    """The files are not a model, or not the one that was asked for; the text says why."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """The two files of a model. `about` is what the JSON file says; `version` is among it."""

    arrays: bytes
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.about["name"])

    @property
    def version(self) -> str:
        return str(self.about["version"])

    @property
    def json(self) -> bytes:
        return orjson.dumps(dict(self.about), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)

    @property
    def sha256(self) -> str:
        """Of the JSON file, which holds the arrays' own: who trusts it may trust both."""
        return hashlib.sha256(self.json).hexdigest()


def pack(
    name: str, model: Model, *, trained_from: datetime, trained_until: datetime, data_sha256: str,
    params: Mapping[str, Any], scores: Mapping[str, Any],
) -> Artifact:  # fmt: skip
    """A model as files. The window is half open, UTC; `scores` are no part of the version."""
    arrays = _arrays(model)
    about: dict[str, Any] = {
        "format": _FORMAT, "name": name, "trained_from": f"{trained_from:%Y-%m-%dT%H:%M:%SZ}",
        "trained_until": f"{trained_until:%Y-%m-%dT%H:%M:%SZ}", "data_sha256": data_sha256, "params": dict(params),
        "features": list(FEATURES), "symbols": list(model.baseline.symbols),
    }  # fmt: skip
    about["version"] = _version(arrays, about)
    body = io.BytesIO()
    np.savez_compressed(body, allow_pickle=False, **arrays)
    about |= {
        "arrays_sha256": hashlib.sha256(body.getvalue()).hexdigest(),
        "libraries": {one: installed(one) for one in ("numpy", "scikit-learn")},
        "scores": dict(scores),
    }
    return Artifact(body.getvalue(), about)


def unpack(name: str, arrays: bytes, json: bytes, *, sha256: str) -> Model:
    """The model of two files. `sha256`: what the JSON file's must be. Raises DamagedError if anything does not fit."""
    if hashlib.sha256(json).hexdigest() != sha256:
        raise DamagedError("model.json is not what was written")
    try:
        about = orjson.loads(json)
        if hashlib.sha256(arrays).hexdigest() != about["arrays_sha256"]:
            raise DamagedError("model.npz is not what was written")
        if (about["format"], about["name"]) != (_FORMAT, name):
            raise DamagedError(f"it is {about['name']} in format {about['format']}; wanted is {name} in {_FORMAT}")
        if name in _SCORERS and about["features"] != list(FEATURES):
            raise DamagedError("it was trained on other features than this release has; train it again")
        with np.load(io.BytesIO(arrays), allow_pickle=False) as found:
            return _model(name, {key: found[key] for key in found.files})
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"it cannot be read: {error}") from error


def _arrays(model: Model) -> Arrays:
    found: Arrays = {
        "baseline/symbols": np.array(model.baseline.symbols, dtype=np.str_),
        "baseline/medians": model.baseline.medians,
        "baseline/scales": model.baseline.scales,
    }
    if isinstance(model, Seasonal):
        return found | {"thresholds": model.thresholds}
    found |= {"group_of": model.group_of, "groups": np.array(list(model.groups), dtype=np.str_)}
    for asset_class, group in model.groups.items():
        for name in ("median", "low", "high", "threshold"):
            found[f"{asset_class}/{name}"] = np.asarray(getattr(group, name))
        for one in fields(group.scorer):  # type: ignore[arg-type]  # a Forest or HalfSpaceTrees
            found[f"{asset_class}/scorer/{one.name}"] = np.asarray(getattr(group.scorer, one.name))
    return found


def _model(name: str, arrays: Arrays) -> Model:
    symbols = tuple(map(str, arrays["baseline/symbols"]))
    baseline = Baseline(symbols, arrays["baseline/medians"], arrays["baseline/scales"])
    if baseline.medians.shape != baseline.scales.shape or baseline.medians.shape[:2] != (len(symbols), len(QUANTITIES)):
        raise DamagedError("its baseline is not of its symbols")
    if name == "seasonal":
        return Seasonal(baseline, arrays["thresholds"])
    groups = {}
    for asset_class in map(str, arrays["groups"]):
        kind = _SCORERS[name]
        parts: dict[str, Any] = {one.name: arrays[f"{asset_class}/scorer/{one.name}"] for one in fields(kind)}
        scorer = kind(**{key: part if part.ndim else part.item() for key, part in parts.items()})
        plain = {key: arrays[f"{asset_class}/{key}"] for key in ("median", "low", "high")}
        groups[asset_class] = Group(scorer, **plain, threshold=float(arrays[f"{asset_class}/threshold"]))
    return Outliers(baseline, groups, arrays["group_of"])


def _version(arrays: Arrays, about: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(orjson.dumps(dict(about), option=orjson.OPT_SORT_KEYS))
    for key, array in sorted(arrays.items()):
        digest.update(f"{key} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
