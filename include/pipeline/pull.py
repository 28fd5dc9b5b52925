"""A source's quotes of a window -> Kinesis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from include.aws import client
from include.errors import ConfigError
from include.events import Window, iso
from include.instruments import Instrument, known_instruments
from include.pipeline.sending import send
from include.settings import Settings
from include.sources import NAMES, make
from include.sources.base import Rejected
from include.sources.shocks import labels
from include.warehouse.db import connect
from include.warehouse.leases import lease
from include.warehouse.outcomes import attempt
from include.warehouse.quarantine import quarantine

_MOST_NAMED = 50


@dataclass(frozen=True, slots=True)
class PullReport:
    """What one pull brought. `missing` are the symbols asked for that nothing came of."""

    source: str
    window: Window
    asked: int
    events: int
    rejected: int
    missing: tuple[str, ...]

    def __str__(self) -> str:
        more = f", {self.rejected} rejected" if self.rejected else ""
        more += f", nothing of {len(self.missing)}" if self.missing else ""
        return f"{self.source}: {self.events} events of {self.asked} instruments{more}"


def pull(settings: Settings, source: str, window: Window, *, run_id: str | None = None) -> PullReport:
    """Ask the source for the window and put what it says into the stream, answer by answer.

    What of an answer is no event, or is too large for the stream, goes to quarantine. Safe to repeat: equal events are
    dropped later. Raises LeaseHeldError if this source is being pulled, ConfigError for a source that does not exist or
    has no instruments, SourceError if the vendor fails, StreamError if the stream does not take all.
    """
    if source not in NAMES:
        raise ConfigError(f"there is no source {source!r}; there are {', '.join(NAMES)}")
    with (
        connect(settings) as conn,
        attempt(conn, "pull", source=source, window=window, run_id=run_id) as this,
        lease(conn, f"pull {source}", seconds=settings.lease_seconds) as held,
    ):
        instruments = [one for one in known_instruments(conn, settings) if source in one.ids]
        if not instruments:
            raise ConfigError(f"no instrument has an id for {source}; give some in {settings.instruments_file}")
        kinesis, events, seen = client(settings, "kinesis"), 0, set[str]()
        rejected: list[Rejected] = []
        try:
            with held.kept():
                for batch in make(source, settings).fetch(window, instruments):
                    rejected += batch.rejected
                    sent = send(kinesis, settings.stream, batch)
                    rejected += sent.oversize
                    events += sent.count
                    seen |= {event.symbol for event in batch.events}
        finally:
            quarantine(conn, f"{source}:{iso(window.start)}/{iso(window.end)}", source, rejected)
        if source == "simulator":
            _write_labels(conn, settings.simulator_seed, instruments, window)
        missing = tuple(one.symbol for one in instruments if one.symbol not in seen)
        this.row_count = events
        this.detail |= {"asked": len(instruments), "rejected": len(rejected), "missing": missing[:_MOST_NAMED]}
    return PullReport(source, window, len(instruments), events, len(rejected), missing)


def _write_labels(conn: psycopg.Connection, seed: int, instruments: Sequence[Instrument], window: Window) -> None:
    """Note what the simulator did on purpose, so that detection can be scored."""
    symbols = {one.ids["simulator"]: one.symbol for one in instruments}
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into ops.simulator_labels (seed, symbol, shock, starts_at, ends_at, size) "
            "values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
            [
                (seed, symbols[label.symbol], label.shock, label.starts_at, label.ends_at, label.size)
                for label in labels(seed, list(symbols), window)
            ],
        )
