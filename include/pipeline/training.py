"""Train the models on an explicit window, score them on the days after it, and approve what is not worse.

The window `[start, end)` is cut in two: models learn from `[start, end - holdout)` alone, and the new one and the one
in use are scored on `[end - holdout, end)`. A symbol is in memory at a time; what is kept of it is bounded.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg

from include.errors import ConfigError, LakeError, QuantStreamError
from include.events import Window
from include.instruments import known_instruments
from include.models.artifact import DamagedError, pack
from include.models.detectors import Model
from include.models.features import features
from include.models.judging import Judging, Scores, verdict
from include.models.learning import NAMES, Learning, TrainParams, is_quiet
from include.models.seasonal import Baseline, TooShortError, buckets_for
from include.models.shocks import inject
from include.pipeline.history_request import parse_moment
from include.pipeline.keepsakes import keep_models
from include.pipeline.models import STEP, load, store
from include.pipeline.training_rows import Held, candles_range, new_digest, read_rows, symbols_held
from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.leases import Lease, lease
from include.warehouse.models import State, add_model, all_models, approved_models, decide
from include.warehouse.outcomes import attempt

log = logging.getLogger(__name__)

DAYS: Final = 35  # of a window that nobody named: four weeks to learn from, one to be scored on
HOLDOUT_DAYS: Final = 7
FEWEST: Final = 1_000  # candles of a symbol in the training window

Progress = Callable[[str], None]


class NotEnoughError(QuantStreamError):
    """The window holds too little to learn from; the text says where there are candles."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What became of one model. `is_new` is false where this very version was there already."""

    name: str
    version: str
    state: State
    reason: str
    scores: Mapping[str, Any]
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class TrainReport:
    """The models, how many symbols and candles they learned from, and the symbols that were left out (and why)."""

    models: tuple[Trained, ...]
    symbols: int
    candles: int
    left_out: Mapping[str, str]


def train_models(
    settings: Settings,
    start: datetime,
    end: datetime,
    *,
    holdout_days: int = HOLDOUT_DAYS,
    names: Sequence[str] = NAMES,
    params: TrainParams | None = None,
    progress: Progress = lambda _: None,
    run_id: str | None = None,
) -> TrainReport:
    """Train, score, store and decide on these models; the window is half open, UTC.

    Raises ConfigError for a window or a name that is none, NotEnoughError if it holds too few candles, LeaseHeldError
    if a training runs already, LakeError if the lake does not take the files. Training again gives the same versions.
    """
    until = end - timedelta(days=holdout_days)
    _check(start, until, end, holdout_days, names)
    params = params or TrainParams()
    with (
        connect(settings) as conn,
        attempt(conn, STEP, window=Window(start, end), run_id=run_id) as this,
        lease(conn, "model_training", seconds=settings.lease_seconds) as held,
        held.kept(),
    ):
        classes = {one.symbol: one.asset_class for one in known_instruments(conn, settings)}
        chosen, left_out = _symbols(conn, start, until, classes)
        buckets = _buckets(max(start, last_midnight(min(one.first for one in chosen))), until)
        run = _Run(settings, conn, held, (start, until, end), params, progress)
        run.learn(chosen, classes, buckets)
        trained = run.decide(names, chosen)
        report = TrainReport(trained, len(chosen), sum(one.candles for one in chosen), left_out)
        this.row_count = report.candles
        this.detail = {
            "symbols": report.symbols, "left_out": dict(left_out),
            "models": {one.name: {"version": one.version, "state": one.state, "reason": one.reason} for one in trained},
        }  # fmt: skip
    keep_models(settings)
    for one in report.models:
        log.info("models: %s %s %s: %s", one.name, one.version, one.state, one.reason)
    return report


class _Run:
    """One training: what was read, learned and scored."""

    def __init__(
        self, settings: Settings, conn: psycopg.Connection, held: Lease, window: tuple[datetime, datetime, datetime],
        params: TrainParams, progress: Progress,
    ) -> None:  # fmt: skip
        self.settings, self.conn, self.held, self.params, self.progress = settings, conn, held, params, progress
        self.start, self.until, self.end = window
        self.learning = Learning(params, 0, {})
        self.data_sha256 = ""

    def learn(self, chosen: Sequence[Held], classes: Mapping[str, str], buckets: int) -> None:
        self.learning = Learning(self.params, buckets, Counter(classes[one.symbol] for one in chosen))
        digest = new_digest()
        for number, one in enumerate(chosen, 1):
            rows = read_rows(self.conn, one.symbol, self.start, self.until)
            rows.add_to(digest, one.symbol)
            quiet = self.learning.take(one.symbol, classes[one.symbol], rows.minutes, rows.columns)
            self.progress(f"{number} of {len(chosen)}: {one.symbol}, {one.candles:,} candles, {quiet:,} of them quiet")
        self.data_sha256 = digest.hexdigest()

    def decide(self, names: Sequence[str], chosen: Sequence[Held]) -> tuple[Trained, ...]:
        models: dict[str, Model] = {}
        for name in names:
            self.progress(f"training {name}")
            try:
                models[name] = self.learning.finish(name)
            except ValueError as error:
                raise NotEnoughError(f"{name}: {error}; choose a longer one") from None
        used = self._in_use(names)
        scores = self._score(
            {**{("new", n): m for n, m in models.items()}, **{("used", n): m for n, m in used.items()}}
        )
        return tuple(self._keep(name, models[name], scores["new", name], scores.get(("used", name))) for name in names)

    def _in_use(self, names: Sequence[str]) -> dict[str, Model]:
        """The approved models, to be scored on the same days. One that cannot be read is none: it is of no use."""
        found = {}
        for one in approved_models(self.conn, names):
            try:
                found[one.name] = load(self.settings, one)
            except (DamagedError, LakeError) as error:
                self.progress(f"{one.name} {one.version}, which is in use, cannot be read: {error}")
        return found

    def _score(self, models: Mapping[tuple[str, str], Model]) -> dict[tuple[str, str], Scores]:
        judges = {key: Judging(key[1], model) for key, model in models.items()}
        learning = self.learning
        for number, symbol in enumerate(learning.symbols):
            minutes, columns = read_rows(self.conn, symbol, self.until, self.end)
            if not len(minutes):
                continue
            medians, scales = learning.tables[number]
            baseline, of = Baseline((symbol,), medians[None], scales[None]), np.zeros(len(minutes), dtype=np.int64)
            quiet = is_quiet(features(columns, minutes, np.arange(len(minutes)) == 0, baseline, of))
            shocked = inject(columns, minutes, seed=self.params.seed + number)
            for judging in judges.values():
                judging.take(symbol, minutes, columns, quiet, shocked)
            self.progress(f"scored on {symbol}, {len(minutes):,} candles that were held out")
        return {key: judging.finish() for key, judging in judges.items()}

    def _keep(self, name: str, model: Model, new: Scores, used: Scores | None) -> Trained:
        scores: dict[str, Any] = new.as_dict() | {"in_use": None if used is None else used.as_dict()}
        params = self.params.model_dump() | {"held_out_until": f"{self.end:%Y-%m-%dT%H:%M:%SZ}"}
        artifact = pack(
            name, model, trained_from=self.start, trained_until=self.until, data_sha256=self.data_sha256,
            params=params, scores=new.as_dict(),
        )  # fmt: skip
        there = {one.version: one for one in all_models(self.conn, name)}.get(artifact.version)
        if there is not None:
            return Trained(name, there.version, there.state, there.reason, there.scores, is_new=False)
        key = store(self.settings, artifact)
        is_better, reason = verdict(name, new, used)
        state: State = "approved" if is_better else "rejected" if new.shocks else "candidate"
        with self.conn.transaction():
            add_model(
                self.conn, name=name, version=artifact.version, window=(self.start, self.until, self.end),
                data_sha256=self.data_sha256, sha256=artifact.sha256, s3_key=key, params=params, scores=scores,
            )  # fmt: skip
            if state != "candidate":
                decide(self.conn, name, artifact.version, state, reason)
            self.held.fence()
        return Trained(name, artifact.version, state, reason, scores)


def _check(start: datetime, until: datetime, end: datetime, holdout_days: int, names: Sequence[str]) -> None:
    """Refuse what can be no training. Raises ConfigError."""
    if unknown := [name for name in names if name not in NAMES]:
        raise ConfigError(f"there is no model {', '.join(unknown)}; they are called {', '.join(NAMES)}")
    if holdout_days < 1:
        raise ConfigError(f"holdout of {holdout_days} days: hold out one day at least, to score the models on")
    if start >= end:
        raise ConfigError(f"the window ends ({end:%Y-%m-%d %H:%M}) before it begins ({start:%Y-%m-%d %H:%M})")
    try:
        buckets_for((until - start) / timedelta(days=1))
    except TooShortError as error:
        raise ConfigError(
            f"the window from {start:%Y-%m-%d} to {end:%Y-%m-%d}, {holdout_days} days of it held out: {error}"
        ) from None


def _buckets(first: datetime, until: datetime) -> int:
    """How fine the seasonal baseline can be with candles from `first` on. Raises NotEnoughError."""
    try:
        return buckets_for((until - first) / timedelta(days=1))
    except TooShortError as error:
        raise NotEnoughError(f"there are candles from {first:%Y-%m-%d} on, up to {until:%Y-%m-%d}: {error}") from None


def _symbols(
    conn: psycopg.Connection, start: datetime, until: datetime, classes: Mapping[str, str]
) -> tuple[list[Held], dict[str, str]]:
    """The symbols to learn from, and those left out with the reason. Raises NotEnoughError if none is left."""
    there = symbols_held(conn, start, until)
    left_out = {one.symbol: f"{one.candles:,} candles; {FEWEST:,} are needed" for one in there if one.candles < FEWEST}
    left_out |= {one.symbol: "not among the instruments" for one in there if one.symbol not in classes}
    chosen = [one for one in there if one.symbol not in left_out]
    if not chosen:
        known = candles_range(conn)
        where = "there are no candles at all: quantstream backfill brings some"
        if known is not None:
            where = f"there are candles from {known[0]:%Y-%m-%d %H:%M} to {known[1]:%Y-%m-%d %H:%M} UTC"
        said = f"no symbol has {FEWEST:,} final candles from {start:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
        raise NotEnoughError(f"{said}; {where}")
    return chosen, left_out


def last_midnight(before: datetime) -> datetime:
    """The last midnight (UTC) at or before a time of any zone, as a plain `datetime`: Airflow gives one of its own."""
    utc = before.astimezone(UTC)
    return datetime(utc.year, utc.month, utc.day, tzinfo=UTC)


def train_as_asked(
    settings: Settings, asked: Mapping[str, Any], ends_at: datetime, *, run_id: str | None = None
) -> str:
    """Train as a run's params say (`from`, `to`, `holdout_days`, `models`); `ends_at` stands in for `to`.

    Returns what became of each model, a line for each. Raises as `train_models` does.
    """
    end = parse_moment("to", asked["to"]) if asked.get("to") else last_midnight(ends_at)
    start = parse_moment("from", asked["from"]) if asked.get("from") else end - timedelta(days=DAYS)
    report = train_models(
        settings, start, end, holdout_days=int(asked.get("holdout_days") or HOLDOUT_DAYS),
        names=list(asked.get("models") or NAMES), progress=log.info, run_id=run_id,
    )  # fmt: skip
    return "\n".join(f"{one.name} {one.version} {one.state}: {one.reason}" for one in report.models)
