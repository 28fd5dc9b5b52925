"""A whole cycle in one process: what the three DAGs do, in the same order, through the same functions."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Final

import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from include.errors import QuantStreamError
from include.events import Window
from include.pipeline.audit import audit
from include.pipeline.detect import detect
from include.pipeline.land import land
from include.pipeline.load import load
from include.pipeline.notify import notify
from include.pipeline.pull import pull
from include.pipeline.transform import TransformReport, transform
from include.settings import Settings

STEPS: Final[dict[str, Callable[..., object]]] = {
    "land": land,
    "load": load,
    "audit": audit,
    "transform": transform,
    "detect": detect,
    "notify": notify,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a cycle: how long it took, what it said, and the error if it failed."""

    name: str
    seconds: float
    said: str
    error: QuantStreamError | None = None


@dataclass(frozen=True, slots=True)
class Cycle:
    """All steps of one cycle, in order."""

    window: Window
    steps: tuple[Step, ...]

    @property
    def failures(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.error is not None)


def run_cycle(
    settings: Settings, window: Window, *, run_id: str | None = None, on_step: Callable[[Step], None] | None = None
) -> Cycle:
    """Pull `window` from every enabled source, then `process` it. A failed step does not stop the others."""
    runner = _Steps(on_step)
    for source in settings.sources:
        runner.run(f"pull {source}", partial(pull, settings, source, window, run_id=run_id))
    _process(settings, runner, run_id)
    return Cycle(window, tuple(runner.done))


def process(settings: Settings, *, run_id: str | None = None, only: Container[str] = STEPS) -> tuple[Step, ...]:
    """Bring what is in the stream all the way (or do `only` some of the steps, in their order)."""
    runner = _Steps(None)
    _process(settings, runner, run_id, only)
    return tuple(runner.done)


def catch_up(
    settings: Settings, *, minutes: int, until: datetime, on_step: Callable[[Step], None] | None = None
) -> Cycle:
    """Bring in the `minutes` before `until` (rounded down to the minute) at once, by the path of a single minute."""
    end = until.replace(second=0, microsecond=0)
    return run_cycle(settings, Window(end - timedelta(minutes=minutes), end), run_id="catch-up", on_step=on_step)


class _Steps:
    def __init__(self, on_step: Callable[[Step], None] | None) -> None:
        self.done: list[Step] = []
        self.on_step = on_step

    def run(self, name: str, work: Callable[[], object]) -> object:
        """Do one step; what it returned, None if it failed."""
        start = perf_counter()
        error = result = None
        try:
            result = work()
            said = str(result)
        except QuantStreamError as failed:
            said, error = str(failed), failed
        except (psycopg.Error, BotoCoreError, ClientError) as failed:  # the database or AWS went away in the middle
            said = f"{type(failed).__name__}: {str(failed).strip()}"
            error = QuantStreamError(said)
        step = Step(name, perf_counter() - start, said, error)
        self.done.append(step)
        if self.on_step is not None:
            self.on_step(step)
        return result


def _process(settings: Settings, runner: _Steps, run_id: str | None, only: Container[str] = STEPS) -> None:
    """The steps, once; and those from the transform on again for as long as it leaves accepted loads behind."""
    names = [name for name in STEPS if name in only]
    while names:
        results = {name: runner.run(name, partial(STEPS[name], settings, run_id=run_id)) for name in names}
        transformed = results.get("transform")
        if not (isinstance(transformed, TransformReport) and transformed.is_more_left):
            return
        names = names[names.index("transform") :]
