"""dbt's views, tables and docs for the stack, built when the project or the warehouse's address changed."""

from __future__ import annotations

import time

from include.errors import LeaseHeldError
from include.settings import ROOT, Settings
from include.stack.layout import Layout, fingerprint

_PROJECT = ROOT / "dbt"
_MADE_BY_DBT = {"target", "logs", "dbt_packages", ".user.yml"}
_PATIENCE_SECONDS = 120.0


def up_to_date(settings: Settings) -> bool:
    """Whether the last build was of this project and these instruments, into this warehouse, and its docs are there."""
    layout = Layout(settings.home)
    note = layout.run / "models.sha256"
    built = note.exists() and note.read_text(encoding="utf-8") == _fingerprint(settings)
    return built and (layout.dbt_docs / "index.html").exists()


def build(settings: Settings) -> str:
    """Build everything once, make the docs, and remember what was built. Returns a line for the screen.

    Waits for a transform that runs. Raises LeaseHeldError if it does not end, TransformError if dbt fails.
    """
    from include.transform.runner import build_all, generate_docs
    from include.warehouse.db import connect
    from include.warehouse.leases import lease

    layout, built_from = Layout(settings.home), _fingerprint(settings)
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with connect(settings) as conn, lease(conn, "transform", seconds=settings.lease_seconds) as held:
                result = build_all(settings, epoch=held.epoch)
            break
        except LeaseHeldError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
    generate_docs(settings, layout.dbt_docs)
    (layout.run / "models.sha256").write_text(built_from, encoding="utf-8")
    return str(result)


def _fingerprint(settings: Settings) -> str:
    project = [
        path
        for path in _PROJECT.rglob("*")
        if path.is_file() and path.relative_to(_PROJECT).parts[0] not in _MADE_BY_DBT
    ]
    address = "" if settings.warehouse_dsn is None else settings.warehouse_dsn.get_secret_value()
    return fingerprint({*project, settings.instruments_file}, address)
