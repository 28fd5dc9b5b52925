"""The dbt project: parsed once per process, without a connection, and aimed at the warehouse of the settings.

Parsing takes seconds and a minute has sixty; a parsed manifest is kept until a file under dbt/ changes. It names a
database in every relation, so before each run it is aimed at the one of the settings.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache, wraps
from pathlib import Path
from typing import Any, Final

import psycopg

from include.errors import NotRunningError, TransformError
from include.settings import ROOT, Settings

PROJECT: Final = ROOT / "dbt"
_FILES: Final = ("*.sql", "*.yml", "*.md")
_PLACEHOLDER: Final = "warehouse"  # the database of a manifest that was parsed without a connection

# dbt forbids two runs at once in one process: it keeps its flags, adapter and environment in globals.
_lock = threading.RLock()


def project_hash() -> str:
    """A hash over the names and contents of the project's files: what the warehouse was built from."""
    return _hash(_stamp())


def cut_tables() -> list[tuple[str, str, tuple[str, ...]]]:
    """The marts that are cut by time, as dbt_project.yml has them: name, column of the time, the rest of the key."""
    import yaml

    marts = yaml.safe_load((PROJECT / "dbt_project.yml").read_text("utf-8"))["models"]["quantstream"]["marts"]
    metas = {name: config["+meta"] for name, config in marts.items() if isinstance(config, dict)}
    return [(name, meta["cut_by"], tuple(meta["order_by"])) for name, meta in metas.items() if "cut_by" in meta]


@lru_cache(maxsize=1)
def _hash(_: object) -> str:
    digest = hashlib.sha256()
    for path in _files():
        digest.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


@contextmanager
def dbt_runner(settings: Settings) -> Iterator[Any]:
    """A `dbtRunner` with the parsed manifest, aimed at the settings' warehouse. One at a time in a process."""
    with _lock, _environment(settings):
        yield _runner(_aimed(_manifest(settings, _stamp()), _address(settings)["dbname"]))


def parse(settings: Settings) -> None:
    """Import dbt and parse the project, without a connection."""
    with _lock:
        _manifest(settings, _stamp())


def documented_columns(settings: Settings) -> dict[str, frozenset[str]]:
    """The columns of each table in `marts` that a build adds rows to, as its .yml has them."""
    with _lock:
        nodes = _manifest(settings, _stamp()).nodes.values()
        return {
            node.name: frozenset(node.columns)
            for node in nodes
            if node.resource_type == "model" and node.schema == "marts" and node.config.materialized == "incremental"
        }


def common_arguments(settings: Settings) -> list[str]:
    """What every dbt command gets: where the project is, where files go, and silence on the console."""
    return [
        "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT),
        "--target-path", str(settings.home / "dbt" / "target"), "--log-path", str(settings.home / "logs"),
        "--log-level", "none", "--log-level-file", "info", "--no-use-colors-file", "--no-version-check",
        "--no-send-anonymous-usage-stats", "--no-write-json",
    ]  # fmt: skip


def _files() -> list[Path]:
    folders = [PROJECT / "models", PROJECT / "macros", PROJECT / "tests"]
    found = (path for folder in folders for pattern in _FILES for path in folder.rglob(pattern))
    return sorted([PROJECT / "dbt_project.yml", PROJECT / "profiles.yml", *found])


def _stamp() -> tuple[tuple[str, int, int], ...]:
    """Cheap: changes whenever a file of the project was written."""
    return tuple((str(path), (stat := path.stat()).st_mtime_ns, stat.st_size) for path in _files())


@cache
def _manifests() -> dict[str, Any]:
    return {}


def _manifest(settings: Settings, stamp: object) -> Any:
    kept = _manifests()
    if kept.get("stamp") != stamp:
        # The static parser has a lock that a fork may inherit held: a task that parses anew would stand still.
        arguments = ["parse", "--no-partial-parse", "--no-static-parser", *common_arguments(settings)]
        with _environment(None):
            parsed = _runner(None).invoke(arguments)
        if parsed.result is None:
            raise TransformError(f"dbt cannot read the project in {PROJECT}:\n{parsed.exception}")
        kept.update(stamp=stamp, manifest=parsed.result, database=_PLACEHOLDER)
    return kept["manifest"]


def _aimed(manifest: Any, database: str) -> Any:
    kept = _manifests()
    if kept["database"] != database:
        relations = [*manifest.nodes.values(), *manifest.sources.values(), *manifest.unit_tests.values()]
        for relation in relations:
            relation.database = database
            if getattr(relation, "relation_name", None):
                relation.relation_name = f'"{database}".' + relation.relation_name.split(".", 1)[1]
        kept["database"] = database
    return manifest


def _runner(manifest: Any) -> Any:
    os.environ.setdefault("DO_NOT_TRACK", "1")  # before dbt is imported
    from dbt.adapters.base import impl
    from dbt.cli.main import dbtRunner
    from dbt_common.behavior_flags import BehaviorFlagRendered

    # Each run adds the adapter's flags to this list once more, and every entry costs the next run 10 ms.
    flags = impl.DEFAULT_BASE_BEHAVIOR_FLAGS
    flags[:] = {flag["name"]: flag for flag in flags}.values()
    # For each of them dbt looks through the whole stack for the name of a module that it never shows.
    BehaviorFlagRendered._default_source = staticmethod(lambda: "dbt")  # type: ignore[method-assign]
    _list_relations_whole()
    return dbtRunner(manifest=manifest)


@cache
def _list_relations_whole() -> None:
    """Unless its cache is filled beforehand dbt notes the relations of a schema when it is first asked for one of them.

    It notes them one by one, and tells another thread that asks meanwhile only of those noted so far: a table that is
    there looks absent. That thread has to wait.
    """
    from dbt.adapters.base.impl import BaseAdapter

    listed, lock = BaseAdapter.list_relations, threading.RLock()

    @wraps(listed)
    def whole(*arguments: Any, **named: Any) -> Any:
        with lock:
            return listed(*arguments, **named)

    BaseAdapter.list_relations = whole  # type: ignore[method-assign]


def _address(settings: Settings) -> dict[str, Any]:
    if settings.warehouse_dsn is None:
        raise NotRunningError("no warehouse: run `make up` (embedded Postgres), or set QUANTSTREAM_WAREHOUSE_DSN")
    return psycopg.conninfo.conninfo_to_dict(settings.warehouse_dsn.get_secret_value())


@contextmanager
def _environment(settings: Settings | None) -> Iterator[None]:
    """profiles.yml reads the address from the environment; the password appears in no argument and in no log."""
    address = _address(settings) if settings else {}
    names = {
        "QUANTSTREAM_DBT_HOST": "host", "QUANTSTREAM_DBT_PORT": "port", "QUANTSTREAM_DBT_USER": "user",
        "QUANTSTREAM_DBT_DATABASE": "dbname", "DBT_ENV_SECRET_QUANTSTREAM_DBT_PASSWORD": "password",
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({name: str(address[key]) for name, key in names.items() if address.get(key)})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
