"""Trained models for whoever asks them: the approved version of each, kept on disk; and decisions of people.

A model whose files are missing or damaged is said to be (an outcome of the step `models`) and left out: the rule that
wants it is silent, and everything else goes on.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final

import psycopg

from include.aws import client
from include.errors import ConfigError, LakeError
from include.lake import model_files
from include.models.artifact import Artifact, DamagedError, unpack
from include.models.detectors import Model
from include.models.learning import NAMES
from include.settings import Settings
from include.warehouse.models import TrainedModel, all_models, approved_models, decide
from include.warehouse.outcomes import record

log = logging.getLogger(__name__)

STEP: Final = "models"
_FILES: Final = ("model.npz", "model.json")
_loaded: dict[tuple[str, str], Model] = {}  # of this process: a model never changes


def load_approved(settings: Settings, conn: psycopg.Connection, names: Collection[str]) -> dict[str, Model]:
    """The approved model of each of these names that has one and can be read."""
    if not names:
        return {}
    found: dict[str, Model] = {}
    for one in approved_models(conn, names):
        try:
            found[one.name] = load(settings, one)
        except (DamagedError, LakeError) as error:
            said = f"{one.name} {one.version} cannot be used, and its rule is silent: {error}; " + _remedy(one.name)
            log.warning("models: %s", said)
            record(conn, STEP, False, error=said, detail={"name": one.name, "version": one.version})
    return found


def load(settings: Settings, one: TrainedModel) -> Model:
    """A model out of memory, from disk, or from the lake; every file is held against what was written down.

    Raises DamagedError if the lake holds something else, LakeError if it does not answer.
    """
    key = (one.name, one.sha256)
    if key not in _loaded:
        folder = settings.home / "models" / one.name / one.version
        try:
            model = unpack(one.name, *((folder / file).read_bytes() for file in _FILES), sha256=one.sha256)
        except (OSError, DamagedError):  # not here yet, or damaged here: the lake's counts
            s3 = client(settings, "s3")
            bodies = [model_files.get(s3, settings.bucket, one.s3_key + file) for file in _FILES]
            model = unpack(one.name, *bodies, sha256=one.sha256)
            _keep(folder, bodies)
        _loaded[key] = model
    return _loaded[key]


def store(settings: Settings, artifact: Artifact) -> str:
    """Put a model's files into the lake, unless they are there; returns their common key.

    Raises LakeConflictError for other content under that version, LakeError if the lake does not answer.
    """
    s3, prefix = client(settings, "s3"), model_files.prefix(artifact.name, artifact.version)
    for file, body in zip(_FILES, (artifact.arrays, artifact.json), strict=True):
        model_files.put_once(s3, settings.bucket, prefix + file, body)
    return prefix


def find_model(conn: psycopg.Connection, name: str, version: str = "") -> TrainedModel:
    """A version by its beginning; without one the approved, else the newest. Raises ConfigError if there is none."""
    if name not in NAMES:
        raise ConfigError(f"there is no model {name!r}; they are called {', '.join(NAMES)}")
    there = all_models(conn, name)
    if not there:
        raise ConfigError(f"{name} was never trained; `quantstream models train --only {name}` does it")
    found = [one for one in there if one.version.startswith(version)]
    if not version:
        found = [one for one in there if one.state == "approved"][:1] or there[:1]
    if len(found) != 1:
        what = "is not among" if not found else "is more than one of"
        raise ConfigError(f"{name} {version} {what} its versions: {', '.join(one.version for one in there[:10])}")
    return found[0]


def approve(settings: Settings, conn: psycopg.Connection, name: str, version: str) -> TrainedModel:
    """Use this version from now on, whatever its scores say; what was in use is retired.

    Raises ConfigError if there is no such version, and if its files cannot be read.
    """
    one = find_model(conn, name, version)
    try:
        load(settings, one)
    except (DamagedError, LakeError) as error:
        raise ConfigError(f"{name} {one.version} cannot be used: {error}; {_remedy(name)}") from None
    decide(conn, name, one.version, "approved", "approved by hand")
    return one


def retire(conn: psycopg.Connection, name: str, version: str = "") -> TrainedModel:
    """Use it no longer: its rule is silent until another one is approved. Raises ConfigError if there is none."""
    one = find_model(conn, name, version)
    if one.state != "approved":
        raise ConfigError(f"{name} {one.version} is {one.state}; only the approved version can be retired")
    decide(conn, name, one.version, "retired", "retired by hand")
    return one


def _keep(folder: Path, bodies: list[bytes]) -> None:
    """Put the files on disk, each whole or not at all; a full disk only costs the next process a download."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, body in zip(_FILES, bodies, strict=True):
            handle, path = tempfile.mkstemp(dir=folder)
            with os.fdopen(handle, "wb") as out:
                out.write(body)
            Path(path).replace(folder / file)
        for other in folder.parent.iterdir():  # one version of each is enough; the lake has them all
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
    except OSError as error:
        log.warning("models: %s is not kept on disk: %s", folder, error)


def _remedy(name: str) -> str:
    return f"restore it in the lake, or train another: quantstream models train --only {name}"
