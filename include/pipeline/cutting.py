"""The switch of a whole warehouse between Postgres's partitions and TimescaleDB's hypertables, and back."""

from __future__ import annotations

from collections.abc import Callable

from include.settings import Settings
from include.transform.project import cut_tables
from include.warehouse.cutting import CutTable, install_timescale, to_hypertables, to_partitions
from include.warehouse.db import connect
from include.warehouse.grants import grant_roles


def enable_timescale(
    settings: Settings, *, progress: Callable[[str, int], object] | None = None
) -> tuple[str, dict[str, int]]:
    """Turn every large table into a hypertable; TimescaleDB's version, and the rows of each table that was turned.

    As the warehouse's owner. Safe to repeat: it goes on where it died, and sets the compression anew. Raises
    ConfigError where the server has no TimescaleDB, NotRunningError if there is no server.
    """
    with connect(settings, role="owner") as conn:
        version = install_timescale(conn)
    grant_roles(settings)  # the functions of TimescaleDB are the pipeline's to call
    with connect(settings, role="owner") as conn:
        done = to_hypertables(
            conn, _marts(), chunk_days=settings.timescale_chunk_days, compress_days=settings.timescale_compress_days,
            progress=progress,
        )  # fmt: skip
    return version, done


def disable_timescale(settings: Settings, *, progress: Callable[[str, int], object] | None = None) -> dict[str, int]:
    """Turn every hypertable back into a partitioned table; the rows of each. The extension stays. Safe to repeat."""
    with connect(settings, role="owner") as conn:
        return to_partitions(conn, _marts(), progress=progress)


def _marts() -> list[CutTable]:
    return [CutTable(f"marts.{name}", column, order_by) for name, column, order_by in cut_tables()]
