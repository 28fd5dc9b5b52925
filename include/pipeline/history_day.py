"""A source's part in a run of `market_backfill`: its window day by day, and when to come back if it has to wait."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from include.errors import HistoryDeferredError, LeaseHeldError, LoadRejectedError, QuantStreamError
from include.events import Window, iso
from include.pipeline.history_request import HistoryRequest, days_of
from include.settings import Settings

if TYPE_CHECKING:
    from include.pipeline.backfill import BackfillReport

log = logging.getLogger(__name__)

_SOON: Final = timedelta(seconds=20)  # whoever holds a lease works on a piece of a day


def bring_history(
    settings: Settings,
    source: str,
    window: Window,
    request: HistoryRequest,
    *,
    run_id: str | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[BackfillReport]:
    """Fetch, land, load and audit the window, one UTC day after the other; what is there already is not asked for.

    Returns what was done in each. Raises HistoryDeferredError saying when to go on, if the vendor's budget or another
    process is in the way; LoadRejectedError after the operations alert about it was sent; SourceError if the vendor
    failed.
    """
    from include.pipeline.backfill import backfill

    reports = []
    for day in days_of(window):
        log.info("%s: %s to %s", source, iso(day.start), iso(day.end))
        try:
            report = backfill(
                settings, source, day, kind=request.kind, symbols=request.symbols or None,
                reprocess=request.reprocess, gaps=request.gaps, run_id=run_id,
            )  # fmt: skip
        except LeaseHeldError as held:
            raise HistoryDeferredError(str(held), clock() + _SOON) from held
        except LoadRejectedError:
            _alert(settings, run_id)
            raise
        reports.append(report)
    return reports


def _alert(settings: Settings, run_id: str | None) -> None:
    from include.pipeline.notify import notify

    with suppress(QuantStreamError):  # what cannot be sent now stays in the outbox
        notify(settings, run_id=run_id)
