"""The errors a person may read. Each message names the value, the place and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any


class QuantStreamError(Exception):
    """Base of all errors of the platform; the command prints its text without traceback and exits with `exit_code`."""

    exit_code = 1


class ConfigError(QuantStreamError):
    """A setting or a file of settings is wrong; the text lists every problem found."""

    exit_code = 2


class NotRunningError(QuantStreamError):
    """Something that must run does not (database, local AWS, Airflow)."""

    exit_code = 3


class LeaseHeldError(QuantStreamError):
    """Another process does the same step right now; trying again later is safe."""


class FencedError(QuantStreamError):
    """This process lost its lease to another one; what it was about to write was refused."""


class SourceError(QuantStreamError):
    """A vendor did not answer, or not with what it promises. `is_counted`: its circuit knows of it already."""

    is_counted = False


class MisfitError(SourceError):
    """A vendor's answer is not what it promises; `raw` is the answer, for the quarantine."""

    def __init__(self, message: str, raw: bytes = b"") -> None:
        super().__init__(message)
        self.raw = raw


class RefusedError(SourceError):
    """The vendor was not even asked. `detail` is what the outcome of the step says about it."""

    is_counted = True

    def __init__(self, message: str, detail: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.detail = dict(detail or {})


class BudgetSpentError(RefusedError):
    """No call is left in the vendor's budget, or it asked for a break; the text says when there will be room."""


class CircuitOpenError(RefusedError):
    """The vendor failed too often and is left alone for a while; the text says since when, why, and until when."""


class HistoryDeferredError(QuantStreamError):
    """What is left of a piece of history does not fit in the vendor's budget now; it goes on at `until` (UTC).

    What came until then is landed and stays. Not a failure: whoever asked waits and asks again.
    """

    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class StreamError(QuantStreamError):
    """The stream refused records, or no longer holds what is to be read."""


class LakeError(QuantStreamError):
    """An object of the lake is missing, cut off, or not the one that was written."""


class LakeConflictError(QuantStreamError):
    """An object with this key but other content exists already; nothing was overwritten."""


class BalanceError(QuantStreamError):
    """read != inserted + duplicate + quarantined: the load was rolled back."""


class LedgerError(QuantStreamError):
    """There is no such load, or it is not in the state that the step needs."""


class LoadRejectedError(QuantStreamError):
    """The audit rejected a load; the text names the failed expectations and where the data docs are."""


class MartsRejectedError(LoadRejectedError):
    """The audit after dbt found the marts wrong: nothing is detected from them; the text names what failed."""


class TransformError(QuantStreamError):
    """dbt could not build the models, or a test of them failed; the text names each and where its SQL is.

    `nodes` are the models and tests of the build, as far as it came (`include.transform.results.NodeResult`).
    """

    def __init__(self, message: str, nodes: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.nodes = nodes


class NotifyError(QuantStreamError):
    """SNS did not take all alerts; they wait in the outbox, in order, for the next run."""
